package engine

import "github.com/blkbench/blkbench/engine/dma"

// walk is the cursor of a request that is more than one piece, waits, or is observed.
type walk struct {
	req      *Request
	cursor   uint32 // bytes handed on
	pieces   int32  // under way
	res      int32  // the first error, as Res
	err      error
	started  int64
	credit   int64 // bytes that an admitter below a mapper has let through and that are not used yet
	admitted uint8 // stages that have let the whole request through
	asked    uint8 // stages that want to be asked again
	parked   bool  // among the timers, or stalled
}

// Submit takes requests in order; fewer than all means that Depth is reached, or that the graph is being exchanged and what is in
// flight has to end first.
func (p *Path) Submit(reqs []*Request) int {
	if room := p.cfg.Depth - p.inFlight; len(reqs) > room {
		reqs = reqs[:room]
	}
	if len(reqs) == 0 {
		return 0
	}
	if p.graced && !p.leaf.busy {
		p.goBusy()
	}
	// After goBusy, so that a child whose exchange is not seen here stays until this Path is quiescent.
	if graphGen.Load() != p.gen {
		if p.inFlight > 0 {
			return 0
		}
		if err := p.flattenAnew(); err != nil {
			return p.failAll(reqs, err)
		}
	}
	p.inFlight += len(reqs)
	size := p.root.st.node.Size()
	rest := reqs
	if l := p.lone; l != nil && len(l.batch) == 0 {
		if rest = reqs[p.submitHead(l, reqs, size):]; len(rest) == 0 {
			return len(reqs)
		}
	}
	for _, r := range rest {
		r.begin(0)
		p.submit(r, size)
	}
	for _, l := range p.leaves {
		p.push(l)
	}
	return len(reqs)
}

// flattenAnew follows a change of the graph, with nothing in flight.
func (p *Path) flattenAnew() error {
	if err := p.regenerate(); err != nil {
		return err
	}
	switch {
	case !p.graced:
		p.goIdle()
	case !p.leaf.busy:
		p.goBusy()
	}
	return nil
}

// begin forgets what an earlier use of a request has left.
func (r *Request) begin(lane uint8) {
	r.lane, r.walk, r.tries = lane, 0, 0
	r.reset()
}

// submitHead is what submit does, for the reads and nops at the head of a batch when the graph is one leaf: they go to its queue as they
// are, without being copied. It returns how many it dealt with.
func (p *Path) submitHead(l *leaf, reqs []*Request, size int64) int {
	n := 0
	for _, r := range reqs {
		if r.Op == OpNop && l.ops[OpNop] {
			r.begin(p.leaf.colour)
			n++
			continue
		}
		length := int64(r.Len)
		if r.Op != OpRead || length == 0 || r.Off < 0 || r.Off > size-length ||
			(uint64(r.Off)|uint64(r.Len))&l.mask|r.Buf.Offset()&l.memMask != 0 || r.Len > l.maxIO {
			break
		}
		r.begin(p.leaf.colour)
		n++
	}
	if n == 0 {
		return 0
	}
	p.stats.Direct += uint64(n)
	p.leaf.n[p.leaf.colour&1] += int32(n)
	if taken := l.q.Submit(reqs[:n]); taken < n {
		l.batch = append(l.batch, reqs[taken:n]...)
	}
	return n
}

func (p *Path) failAll(reqs []*Request, err error) int {
	p.inFlight += len(reqs)
	for _, r := range reqs {
		r.lane, r.walk = 0, 0
		r.Fail(err)
		p.ready.Push(r)
	}
	return len(reqs)
}

// submit sends a read or write that is one run on its way without a walk; all else is handed on.
func (p *Path) submit(r *Request, size int64) {
	n := int64(r.Len)
	if r.Op > OpWrite || n == 0 || r.Off < 0 || r.Off > size-n || !p.simple {
		p.submitOther(r, size)
		return
	}
	off, flags := r.Off, r.Flags
	st := &p.stages[0]
	for {
		if r.Op == OpWrite && st.rules != 0 {
			if st.rules&ruleSlow != 0 {
				break
			}
			flags |= FUA
		}
		if st.kind == stageMap {
			m, ok := st.mapper.Map(r.Op, off, n)
			if !ok {
				break
			}
			if m.Len != n || m.Kind != MapData || (m.NeedFlush && flags&FUA != 0) || int(m.Child) >= len(st.children) {
				if m.Kind == MapZero && m.Len == n && r.Op == OpRead {
					p.zeroWhole(r)
				} else {
					p.startWalk(r)
				}
				return
			}
			below := st.children[m.Child]
			if below < 0 {
				break
			}
			off, st = m.Off, &p.stages[below]
			continue
		}
		if st.kind == stageFilter {
			if st.belowMap && off > st.ref.Size()-n {
				break
			}
			off, st = off+st.filter.Shift, &p.stages[st.next]
			continue
		}
		if st.kind == stageLeaf && st.takes(r, off, flags) {
			if off != r.Off {
				r.savedOff, r.Off = r.Off, off
				r.lane |= laneMoved
			}
			if flags != r.Flags {
				r.Flags = flags
				r.lane |= laneFUA
			}
			p.stats.Direct++
			p.toLeaf(st.leaf, r)
			return
		}
		break
	}
	// The blocking methods of this stage's node do it, or for a write those of the first mapper's, which the walk knows.
	if off == r.Off && flags == r.Flags && (r.Op == OpRead || !st.belowMap) {
		p.slow(r, st)
		return
	}
	p.startWalk(r)
}

// submitOther decides about what is no plain read or write inside the node.
func (p *Path) submitOther(r *Request, size int64) {
	n, root := int64(r.Len), &p.stages[0]
	if r.Op > OpNop {
		r.Fail(p.root.wrap("request", r.Off, n, Errf(ErrUnsupported, "operation %d", r.Op)))
		p.ready.Push(r)
		return
	}
	if r.Op != OpFlush && r.Op != OpNop {
		if r.Off < 0 || r.Off > size-n {
			p.pastEnd(r, size)
			return
		}
		if n == 0 {
			if r.Op == OpWrite && r.Flags&FUA != 0 {
				p.slow(r, root)
				return
			}
			p.ready.Push(r)
			return
		}
	}
	if !p.simple {
		p.startWalk(r)
		return
	}
	st, off := root, r.Off
	for st.kind == stageFilter && st.passesOther(r) {
		off, st = off+st.filter.Shift, &p.stages[st.next]
	}
	switch {
	case st.kind == stageLeaf && st.takesOther(r, off):
		if off != r.Off {
			r.savedOff, r.Off = r.Off, off
			r.lane |= laneMoved
		}
		p.stats.Direct++
		p.toLeaf(st.leaf, r)
	case r.Op == OpNop:
		p.ready.Push(r)
	case off == r.Off || r.Op == OpFlush:
		p.slow(r, st)
	default:
		p.startWalk(r)
	}
}

// pastEnd decides about a request that is not inside the node: growable nodes take writes through the slow lane, all else is an error.
func (p *Path) pastEnd(r *Request, size int64) {
	if (r.Op == OpWrite || r.Op == OpZero) && r.Off >= 0 && p.root.st.info.Caps.Has(CapGrowable) {
		p.slow(r, &p.stages[0])
		return
	}
	r.Fail(p.root.wrap(r.Op.String(), r.Off, int64(r.Len), Errf(ErrRange, "the end is at %#x", size)))
	p.ready.Push(r)
}

// zeroWhole completes a read of zeroes in place.
func (p *Path) zeroWhole(r *Request) {
	p.stats.Zeroed++
	p.zero(r, r.Buf, r.Len)
	p.ready.Push(r)
}

// zero fills a buffer with zeroes and sets the result.
func (p *Path) zero(r *Request, h dma.Handle, n uint32) bool {
	b := dma.Bytes(h, int(n))
	if b == nil {
		r.Fail(errNoBuffer(h))
		return false
	}
	clear(b)
	r.Res = int32(n)
	return true
}

func errNoBuffer(h dma.Handle) error {
	return Errf(ErrClosed, "buffer %#x is in no open arena", uint64(h))
}

// slow sends a request to the slow lane, to the blocking methods of a stage's node. Below a mapper it goes on using a look-up.
func (p *Path) slow(r *Request, st *stage) {
	p.stats.Slow++
	r.ref = st.ref
	if st.belowMap {
		p.holdMaps()
		r.lane |= laneMapped | p.maps.colour
		p.maps.n[p.maps.colour]++
	}
	p.lane.send(r)
}

func (p *Path) toLeaf(l *leaf, r *Request) {
	r.lane |= p.leaf.colour
	p.leaf.n[p.leaf.colour&1]++
	l.batch = append(l.batch, r)
}

// resume goes on with a walk that was parked.
func (p *Path) resume(i uint32) {
	p.walks[i].parked = false
	p.advance(i)
}

// hold parks a walk until a time.
func (p *Path) hold(i uint32, at int64) {
	p.walks[i].parked = true
	p.stats.Waited++
	p.timers.push(at, i)
}

// stall parks a walk until a piece is free.
func (p *Path) stall(i uint32) {
	p.walks[i].parked = true
	p.stalled.push(i)
}

func (p *Path) startWalk(r *Request) {
	i := p.freeWalks[len(p.freeWalks)-1]
	p.freeWalks = p.freeWalks[:len(p.freeWalks)-1]
	w := &p.walks[i]
	*w = walk{req: r}
	if !p.simple {
		w.started = Now()
	}
	r.walk = i + 1
	p.advance(i)
}

// advance hands on as much of a walk as can be: until it is all under way, an admitter holds it back, or no piece is free.
func (p *Path) advance(i uint32) {
	w := &p.walks[i]
	r := w.req
	if r.Op > OpWrite {
		p.advanceWhole(i)
		return
	}
	for w.cursor < r.Len && w.res == 0 {
		if len(p.free) == 0 {
			p.stall(i)
			return
		}
		if !p.step(i, w, r) {
			return // held back
		}
	}
	if w.pieces == 0 {
		p.endWalk(i)
	}
}

// step hands on one run of a read or write. False means that an admitter holds the walk back.
func (p *Path) step(i uint32, w *walk, r *Request) bool {
	run := run{off: r.Off + int64(w.cursor), n: int64(r.Len - w.cursor), flags: r.Flags}
	st := &p.stages[0]
	for {
		if r.Op == OpWrite && st.rules != 0 {
			if st.rules&ruleSlow != 0 {
				p.piece(i, w, r, st, run, true)
				return true
			}
			run.flags |= FUA
		}
		switch st.kind {
		case stageFilter:
			if st.belowMap && run.off > st.ref.Size()-run.n {
				p.piece(i, w, r, st, run, true)
				return true
			}
			if at, held := p.admit(st, w, r.Op, run.n); held {
				p.hold(i, at)
				return false
			}
			if st.belowMap && st.filter.Admit != nil {
				run.n, run.credited = min(run.n, w.credit), true
			}
			run.off += st.filter.Shift
			st = &p.stages[st.next]
		case stageMap:
			if !st.belowMap {
				run.top, run.topOff, run.topFlags = st, run.off, run.flags
			}
			m, ok := st.mapper.Map(r.Op, run.off, run.n)
			if ok {
				ok = m.Len > 0 && int(m.Child) < len(st.children) && (m.Kind == MapData || r.Op == OpRead)
			}
			if !ok {
				p.piece(i, w, r, st, run, true)
				return true
			}
			run.n = min(run.n, m.Len)
			if m.Kind == MapZero {
				p.zeroRun(w, r, run)
				return true
			}
			below := st.children[m.Child]
			if below < 0 || (m.NeedFlush && run.flags&FUA != 0) {
				p.piece(i, w, r, st, run, true)
				return true
			}
			run.off, st = m.Off, &p.stages[below]
		case stageOpaque:
			p.piece(i, w, r, st, run, true)
			return true
		case stageLeaf:
			run.n = min(run.n, int64(st.leaf.maxIO))
			p.piece(i, w, r, st, run, false)
			return true
		}
	}
}

// run is a part of a request on its way down.
type run struct {
	off, n   int64
	flags    WriteFlags
	credited bool // uses an admitter's credit

	// The first mapper it came to, and what it was there.
	top      *stage
	topOff   int64
	topFlags WriteFlags
}

// admit asks a filter's admitter: once per request above the mappers, once per run below one, where what is let through is kept as
// credit, since a deeper mapper may cut the run. A regulator that holds a request back is asked again.
func (p *Path) admit(st *stage, w *walk, op Op, n int64) (int64, bool) {
	switch {
	case st.filter.Admit == nil:
		return 0, false
	case w.asked&st.admitBit != 0:
		return p.admitAgain(st, w, op, n)
	case st.belowMap:
		if w.credit > 0 {
			return 0, false
		}
		w.credit = n
	case w.admitted&st.admitBit != 0:
		return 0, false
	}
	w.admitted |= st.admitBit
	now := Now()
	at := st.filter.Admit.Admit(op, n, now)
	if at > now && st.again != nil {
		w.asked |= st.admitBit
	}
	return at, at > now
}

func (p *Path) admitAgain(st *stage, w *walk, op Op, n int64) (int64, bool) {
	if st.belowMap {
		n = w.credit // what was asked for
	}
	now := Now()
	at := st.again.Again(op, n, now)
	if at <= now {
		w.asked &^= st.admitBit
	}
	return at, at > now
}

// withdraw tells the regulators that a walk was held back by and will not ask again.
func (p *Path) withdraw(w *walk) {
	for i := range p.stages {
		if st := &p.stages[i]; st.again != nil && w.asked&st.admitBit != 0 {
			n := int64(w.req.Len)
			if st.belowMap {
				n = w.credit
			}
			st.again.Withdraw(w.req.Op, n)
		}
	}
}

// take moves a walk on over a run.
func (w *walk) take(run run) {
	w.cursor += uint32(run.n)
	if run.credited {
		w.credit -= run.n
	}
}

// zeroRun completes a run of zeroes in place.
func (p *Path) zeroRun(w *walk, r *Request, run run) {
	p.stats.Zeroed++
	if !p.zero(r, r.Buf.Add(w.cursor), uint32(run.n)) {
		w.res, w.err = r.Res, r.err
	}
	w.take(run)
}

// newPiece takes a piece from the slab; there is one.
func (p *Path) newPiece(i uint32, w *walk, r *Request) *Request {
	q := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	q.Op, q.lane, q.tries, q.walk = r.Op, lanePiece, 0, i+1
	q.reset()
	w.pieces++
	return q
}

// piece sends one run on its way: to the stage's leaf, or to its blocking methods. A write that no leaf takes goes to those of the first
// mapper, its look-ups forgotten: they would be in use where no SyncPaths waits for them (see grace.go). An admitter between that mapper
// and here is asked once more by them.
func (p *Path) piece(i uint32, w *walk, r *Request, st *stage, run run, slow bool) {
	q := p.newPiece(i, w, r)
	q.Off, q.Len, q.Flags, q.Buf = run.off, uint32(run.n), run.flags, r.Buf.Add(w.cursor)
	w.take(run)
	if slow || !st.takes(q, run.off, run.flags) {
		if r.Op == OpWrite && run.top != nil {
			st, q.Off, q.Flags = run.top, run.topOff, run.topFlags
		}
		p.slow(q, st)
		return
	}
	p.stats.Pieces++
	p.toLeaf(st.leaf, q)
}

// advanceWhole handles flush, discard, zeroes and nops: admitted stage by stage, then done by the first node that is not a filter, or
// that has its own word on the operation.
func (p *Path) advanceWhole(i uint32) {
	w := &p.walks[i]
	r := w.req
	st, off := &p.stages[0], r.Off
	for st.kind == stageFilter && st.passesOther(r) {
		if r.Op != OpFlush {
			if at, held := p.admit(st, w, r.Op, int64(r.Len)); held {
				p.hold(i, at)
				return
			}
		}
		off += st.filter.Shift
		st = &p.stages[st.next]
	}
	fast := st.kind == stageLeaf && st.takesOther(r, off)
	if r.Op == OpNop && !fast {
		w.cursor = r.Len
		p.endWalk(i)
		return
	}
	if len(p.free) == 0 {
		p.stall(i)
		return
	}
	q := p.newPiece(i, w, r)
	q.Off, q.Len, q.Flags, q.Buf = off, r.Len, r.Flags, 0
	w.cursor = r.Len
	if fast {
		p.stats.Pieces++
		p.toLeaf(st.leaf, q)
		return
	}
	p.slow(q, st)
}
