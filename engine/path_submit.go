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
	parked   bool  // among the timers, or stalled
}

// Submit takes requests in order; fewer than all means that Depth is reached (or that the graph is being exchanged).
func (p *Path) Submit(reqs []*Request) int {
	if graphGen.Load() != p.gen {
		if p.inFlight > 0 {
			return 0
		}
		if err := p.regenerate(); err != nil {
			return p.failAll(reqs, err)
		}
	}
	room := p.cfg.Depth - p.inFlight
	if len(reqs) > room {
		reqs = reqs[:room]
	}
	if len(reqs) == 0 {
		return 0
	}
	if p.graced && p.member.active.Load() == 0 {
		p.goBusy()
	}
	p.inFlight += len(reqs)
	size := p.root.st.node.Size()
	for _, r := range reqs {
		r.lane, r.walk = 0, 0
		r.reset()
		p.submit(r, size)
	}
	for _, l := range p.leaves {
		p.push(l)
	}
	return len(reqs)
}

func (p *Path) failAll(reqs []*Request, err error) int {
	reqs = reqs[:min(len(reqs), p.cfg.Depth-p.inFlight)]
	for _, r := range reqs {
		r.lane, r.walk = 0, 0
		r.Fail(err)
		p.finish(r)
	}
	p.inFlight += len(reqs)
	return len(reqs)
}

func (p *Path) submit(r *Request, size int64) {
	if uint64(r.Off)+uint64(r.Len) > uint64(size) && !p.mayPass(r, size) {
		return
	}
	if !p.simple {
		p.startWalk(r)
		return
	}
	if r.Op == OpNop && p.stages[0].kind != stageLeaf {
		p.nop(r)
		return
	}
	st := &p.stages[0]
	off, n := r.Off, int64(r.Len)
	for st.kind == stageMap {
		if r.Op > OpWrite {
			p.slowWhole(r, st)
			return
		}
		m, ok := st.mapper.Map(r.Op, off, n)
		if !ok {
			if n == int64(r.Len) {
				p.slowWhole(r, st)
			} else {
				p.startWalk(r)
			}
			return
		}
		if m.Len < n || (m.NeedFlush && r.Flags&FUA != 0) {
			p.startWalk(r)
			return
		}
		if m.Kind == MapZero {
			p.stats.Zeroed++
			clear(dma.Bytes(r.Buf, int(r.Len)))
			r.Res = int32(r.Len)
			p.finish(r)
			return
		}
		off = m.Off
		st = &p.stages[st.children[m.Child]]
	}
	for st.kind == stageFilter { // simple: only shifts
		off += st.filter.Shift
		st = &p.stages[st.next]
		if st.kind == stageMap {
			p.startWalk(r)
			return
		}
	}
	if st.kind != stageLeaf || !p.leafTakes(st.leaf, r, off) {
		if off != r.Off {
			p.startWalk(r)
			return
		}
		p.slowWhole(r, st)
		return
	}
	if off != r.Off {
		r.savedOff, r.Off = r.Off, off
		r.lane |= laneMoved
	}
	p.stats.Direct++
	p.toLeaf(st.leaf, r)
}

// leafTakes reports whether a whole request may go to the leaf as it is.
func (p *Path) leafTakes(l *leaf, r *Request, off int64) bool {
	if !l.ops[r.Op] || r.Len > l.maxIO {
		return false
	}
	switch r.Op {
	case OpNop, OpFlush:
		return true
	case OpDiscard:
		return l.ref.Writable() && l.ref.flags.Discard && (uint64(off)|uint64(r.Len))&l.mask == 0
	case OpZero:
		return l.ref.Writable() && (uint64(off)|uint64(r.Len))&l.mask == 0
	case OpRead, OpWrite:
	}
	if (uint64(off)|uint64(r.Len))&l.mask != 0 || r.Buf.Offset()&l.memMask != 0 {
		return false
	}
	if r.Op == OpWrite {
		fua := r.Flags&FUA != 0
		if !l.ref.Writable() || (fua && !l.ref.st.info.Caps.Has(CapFUA)) || (!fua && l.ref.flags.Cache.WriteThrough) {
			return false
		}
		return l.mask == 0 || !l.ref.st.locks.blocks(off, int64(r.Len))
	}
	return true
}

// mayPass decides about a request that reaches past the end: growable nodes take writes through the slow lane, all else is an error.
// It reports whether the walk should go on.
func (p *Path) mayPass(r *Request, size int64) bool {
	if r.Op == OpFlush || r.Op == OpNop {
		return true
	}
	if r.Op == OpWrite && r.Off >= 0 && p.root.st.info.Caps.Has(CapGrowable) {
		return true
	}
	r.Fail(p.root.wrap(r.Op.String(), r.Off, int64(r.Len), Errf(ErrRange, "the end is at %#x", size)))
	p.finish(r)
	return false
}

// nop goes through the stages without data and completes.
func (p *Path) nop(r *Request) {
	r.Res = 0
	p.finish(r)
}

// slowWhole sends a request to the slow lane as it is.
func (p *Path) slowWhole(r *Request, st *stage) {
	p.stats.Slow++
	r.ref = st.ref
	p.lane.send(r)
}

func (p *Path) toLeaf(l *leaf, r *Request) {
	r.lane |= laneLeaf
	if p.colour != 0 {
		r.lane |= laneColour
	}
	p.atLeaf[p.colour]++
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
			w.parked = true
			p.stalled.push(i)
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
	off, n := r.Off+int64(w.cursor), int64(r.Len-w.cursor)
	st := &p.stages[0]
	needFlush := false
	for {
		switch st.kind {
		case stageFilter:
			at, held := p.admit(st, w, r.Op, n)
			if held {
				p.hold(i, at)
				return false
			}
			if st.belowMap {
				n = min(n, w.credit)
			}
			off += st.filter.Shift
			st = &p.stages[st.next]
			continue
		case stageMap:
			m, ok := st.mapper.Map(r.Op, off, n)
			if !ok {
				p.piece(i, w, r, st, off, n, true)
				return true
			}
			n = min(n, m.Len)
			if m.Kind == MapZero {
				p.stats.Zeroed++
				clear(dma.Bytes(r.Buf.Add(w.cursor), int(n)))
				w.cursor += uint32(n)
				return true
			}
			needFlush = needFlush || m.NeedFlush
			off = m.Off
			st = &p.stages[st.children[m.Child]]
			continue
		case stageOpaque:
			p.piece(i, w, r, st, off, n, true)
			return true
		case stageLeaf:
			slow := needFlush && r.Flags&FUA != 0
			n = min(n, int64(st.leaf.maxIO))
			p.piece(i, w, r, st, off, n, slow)
			return true
		}
	}
}

// admit asks a filter's admitter: once per request above the mappers, once per run below one, where what is let through is kept as
// credit, since a deeper mapper may cut the run.
func (p *Path) admit(st *stage, w *walk, op Op, n int64) (int64, bool) {
	switch {
	case st.filter.Admit == nil:
		return 0, false
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
	return at, at > now
}

// piece sends one run on its way.
func (p *Path) piece(i uint32, w *walk, r *Request, st *stage, off, n int64, slow bool) {
	q := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	q.Off, q.Len, q.Op, q.Flags = off, uint32(n), r.Op, r.Flags
	q.Buf = r.Buf.Add(w.cursor)
	q.lane, q.walk = lanePiece, i+1
	q.reset()
	w.cursor += uint32(n)
	w.credit = max(0, w.credit-n)
	w.pieces++
	if slow || st.kind != stageLeaf || !p.leafTakes(st.leaf, q, off) {
		p.slowWhole(q, st)
		return
	}
	p.stats.Pieces++
	p.toLeaf(st.leaf, q)
}

// advanceWhole handles flush, discard, zeroes and nops of graphs with filters: admitted stage by stage, then done by the first node that
// is not a filter.
func (p *Path) advanceWhole(i uint32) {
	w := &p.walks[i]
	r := w.req
	st, off := &p.stages[0], r.Off
	for st.kind == stageFilter {
		if r.Op != OpFlush {
			if at, held := p.admit(st, w, r.Op, int64(r.Len)); held {
				p.hold(i, at)
				return
			}
		}
		off += st.filter.Shift
		st = &p.stages[st.next]
	}
	w.cursor = r.Len
	if r.Op == OpNop {
		p.endWalk(i)
		return
	}
	if len(p.free) == 0 {
		w.cursor, w.parked = 0, true
		p.stalled.push(i)
		return
	}
	q := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	q.Off, q.Len, q.Op, q.Flags, q.Buf = off, r.Len, r.Op, r.Flags, 0
	q.lane, q.walk = lanePiece, i+1
	q.reset()
	w.pieces++
	if st.kind == stageLeaf && p.leafTakes(st.leaf, q, off) {
		p.stats.Pieces++
		p.toLeaf(st.leaf, q)
		return
	}
	p.slowWhole(q, st)
}
