package engine

import (
	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/dma"
)

// Poll collects completions of the leaves and of the slow lane, goes on with walks, and puts finished requests into done.
func (p *Path) Poll(done []*Request) int {
	if p.inFlight == 0 || len(done) == 0 {
		return 0
	}
	if p.graced && !p.leaf.busy {
		p.goBusy()
	}
	n := 0
	if !p.ready.Empty() {
		n = p.ready.Pop(done)
	}
	if p.timers.len() > 0 {
		p.wakeTimers()
	}
	for _, l := range p.leaves {
		n = p.pollLeaf(l, done, n)
	}
	if !p.lane.idle() && p.lane.pending() {
		p.pollLane()
	}
	for !p.stalled.empty() && len(p.free) > 0 {
		p.resume(p.stalled.pop())
	}
	for _, l := range p.leaves {
		if len(l.batch) > 0 {
			p.push(l)
		}
	}
	if !p.ready.Empty() {
		n += p.ready.Pop(done[n:])
	}
	p.inFlight -= n
	if p.graced {
		if p.inFlight == 0 {
			p.goIdle()
		} else {
			p.quiesce()
		}
	}
	return n
}

// pollLeaf takes one leaf's completions. Requests that are whole go straight into done; when that is full the rest waits in the leaf.
func (p *Path) pollLeaf(l *leaf, done []*Request, n int) int {
	for {
		room := done[n:]
		if len(room) == 0 {
			return n
		}
		k := l.q.Poll(room)
		kept := 0
		for kept < k && p.whole(room[kept]) {
			kept++
		}
		for _, r := range room[kept:k] {
			if p.whole(r) || p.leafDone(l, r) {
				room[kept] = r
				kept++
			}
		}
		n += kept
		if k < len(room) {
			return n
		}
	}
}

// whole takes a request of the caller's back that went to the leaf in one piece and succeeded; false for all others.
func (p *Path) whole(r *Request) bool {
	if r.lane&(lanePiece|laneShort|laneFUA) != 0 || r.Res != int32(r.Len) || r.Op == OpFlush {
		return false
	}
	p.leaf.n[r.lane&laneColour]--
	if r.lane&laneMoved != 0 {
		r.Off = r.savedOff
	}
	return true
}

// leafDone handles everything at a leaf but whole requests that succeeded, and reports whether the caller's request is complete.
func (p *Path) leafDone(l *leaf, r *Request) bool {
	if r.Res >= 0 && r.Op <= OpWrite && uint32(r.Res) < r.Len && p.resend(l, r) {
		return false // still at the leaf, under its colour
	}
	p.leaf.n[r.lane&laneColour]--
	r.lane &^= laneColour
	if r.Op == OpFlush {
		p.flushed(l, r)
	}
	if r.Res < 0 {
		p.nameError(l, r)
	}
	if r.lane&lanePiece != 0 {
		p.endPiece(r)
		return false
	}
	r.undo()
	return true
}

// flushed tells every reference to the node of a flush that failed, and this Path of one that failed elsewhere.
func (p *Path) flushed(l *leaf, r *Request) {
	var err error
	if r.Res < 0 {
		if err = r.err; err == nil {
			err = unix.Errno(-r.Res)
		}
	}
	if err = l.ref.flushed(err); err != nil && r.Res >= 0 {
		r.Fail(err)
	}
}

// undo gives the caller's fields back.
func (r *Request) undo() {
	if r.lane&laneShort != 0 {
		r.Buf, r.Len = r.savedBuf, r.savedLen
		if r.Res >= 0 {
			r.Res = int32(r.Len)
		}
	}
	if r.lane&(laneMoved|laneShort) != 0 {
		r.Off = r.savedOff
	}
	if r.lane&laneFUA != 0 {
		r.Flags &^= FUA
	}
	r.lane &^= laneUndo
}

// nameError gives a leaf's error the words that the blocking plane would have.
func (p *Path) nameError(l *leaf, r *Request) {
	if r.err == nil {
		r.err = unix.Errno(-r.Res)
	}
	r.err = l.ref.wrap(r.Op.String(), r.Off, int64(r.Len), r.err)
}

// maxTries is how often a transfer that moves nothing is sent again.
const maxTries = 3

// resend sends the rest of a short transfer again. What lies beyond the end of the leaf reads as zeroes. It reports whether the request
// is at the leaf again; else it is complete.
func (p *Path) resend(l *leaf, r *Request) bool {
	moved := uint32(r.Res)
	if r.Op == OpRead && r.Off+int64(moved) >= l.ref.Size() {
		p.stats.Zeroed++
		if b := dma.Bytes(r.Buf.Add(moved), int(r.Len-moved)); b != nil {
			clear(b)
		}
		r.Res = int32(r.Len)
		return false
	}
	moved &^= uint32(l.mask)
	if moved == 0 {
		if r.tries++; r.tries > maxTries {
			r.Fail(Errf(ErrIO, "%d of %d bytes moved", r.Res, r.Len))
			return false
		}
	} else {
		r.tries = 0
	}
	p.stats.Resent++
	if r.lane&(lanePiece|laneShort) == 0 {
		if r.lane&laneMoved == 0 {
			r.savedOff = r.Off
		}
		r.savedBuf, r.savedLen = r.Buf, r.Len
		r.lane |= laneShort
	}
	r.Off, r.Buf, r.Len, r.Res = r.Off+int64(moved), r.Buf.Add(moved), r.Len-moved, 0
	l.batch = append(l.batch, r)
	return true
}

// pollLane takes what the slow lane has finished.
func (p *Path) pollLane() {
	for r := p.lane.take(); r != nil; {
		next := r.next
		r.next, r.ref = nil, nil
		if r.lane&laneMapped != 0 {
			p.maps.n[r.lane&laneColour]--
			r.lane &^= laneMapped | laneColour
		}
		if r.lane&lanePiece != 0 {
			p.endPiece(r)
		} else {
			p.ready.Push(r)
		}
		r = next
	}
}

// endPiece takes a finished piece back, and ends its walk with the last one.
func (p *Path) endPiece(r *Request) {
	i := r.walk - 1
	w := &p.walks[i]
	w.pieces--
	if r.Res < 0 && w.res == 0 {
		w.res, w.err = r.Res, r.err
	}
	r.err = nil
	p.free = append(p.free, r)
	if w.pieces == 0 && !w.parked && (w.res != 0 || w.cursor >= w.req.Len) {
		p.endWalk(i)
	}
}

// endWalk completes a request that was walked.
func (p *Path) endWalk(i uint32) {
	w := &p.walks[i]
	r := w.req
	switch {
	case w.res < 0:
		r.Res, r.err = w.res, w.err
	case r.Op <= OpWrite:
		r.Res = int32(r.Len)
	default:
		r.Res = 0
	}
	if !p.simple {
		if w.asked != 0 {
			p.withdraw(w)
		}
		p.observe(w, r)
	}
	w.req, w.err = nil, nil
	p.freeWalks = append(p.freeWalks, i)
	r.walk = 0
	p.ready.Push(r)
}

// observe tells the filters above the first mapper that the request passed; those whose blocking methods were called know already. Below
// a mapper, a filter that observes is opaque (see flatten).
func (p *Path) observe(w *walk, r *Request) {
	off := r.Off
	for st := &p.stages[0]; st.kind == stageFilter; st = &p.stages[st.next] {
		if !st.passesOther(r) || (r.Op == OpWrite && st.rules&ruleSlow != 0) {
			return
		}
		if st.filter.Observe != nil {
			st.filter.Observe.Observe(r.Op, off, int64(r.Len), w.started, Now(), r.Err())
		}
		off += st.filter.Shift
	}
}

func (p *Path) wakeTimers() {
	now := Now()
	for {
		at, ok := p.timers.first()
		if !ok || at > now {
			return
		}
		p.resume(p.timers.pop())
	}
}

// execute runs a slow-lane request; called on a worker.
func (r *Request) execute(l *slowLane) {
	var p []byte
	if r.Op <= OpWrite && r.Len > 0 {
		if p = dma.Bytes(r.Buf, int(r.Len)); p == nil {
			r.Fail(errNoBuffer(r.Buf))
			return
		}
	}
	var err error
	switch r.Op {
	case OpRead:
		err = r.ref.readTail(l.ctx, p, r.Off)
	case OpWrite:
		err = r.ref.WriteAt(l.ctx, p, r.Off, r.Flags)
	case OpFlush:
		err = r.ref.Flush(l.ctx)
	case OpDiscard:
		err = r.ref.Discard(l.ctx, r.Off, int64(r.Len))
	case OpZero:
		err = r.ref.WriteZeroes(l.ctx, r.Off, int64(r.Len), r.Flags)
	default:
		err = Errf(ErrUnsupported, "%s", r.Op)
	}
	if err != nil {
		r.Fail(err)
		return
	}
	r.Res = 0
	if r.Op <= OpWrite {
		r.Res = int32(r.Len)
	}
}
