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
	if p.graced {
		p.quiesce()
	}
	n := p.takeReady(done)
	if p.timers.len() > 0 {
		p.wakeTimers()
	}
	for _, l := range p.leaves {
		n = p.pollLeaf(l, done, n)
	}
	if p.lane.pending() {
		for r := p.lane.take(); r != nil; {
			next := r.next
			r.next, r.ref = nil, nil
			p.complete(r)
			r = next
		}
	}
	for !p.stalled.empty() && len(p.free) > 0 {
		p.resume(p.stalled.pop())
	}
	if p.readyHead < len(p.ready) {
		n += p.takeReady(done[n:])
	}
	p.inFlight -= n
	if p.inFlight == 0 && p.graced {
		p.goIdle()
	}
	return n
}

// pollLeaf takes one leaf's completions. Requests that are whole go straight into done.
func (p *Path) pollLeaf(l *leaf, done []*Request, n int) int {
	for {
		room := done[n:]
		if len(room) == 0 {
			return n // the caller's slice is full: the rest waits in the leaf
		}
		k := l.q.Poll(room)
		if k == 0 {
			break
		}
		got := room[:k]
		kept := 0
		for _, r := range got {
			p.atLeaf[r.lane&laneColour]--
			r.lane &^= laneLeaf | laneColour
			if r.lane&lanePiece == 0 && (r.Res == int32(r.Len) || r.Res < 0 || r.Op > OpWrite) {
				if r.lane&laneMoved != 0 {
					r.Off, r.lane = r.savedOff, r.lane&^laneMoved
				}
				if r.Res < 0 {
					p.nameError(l, r)
				}
				room[kept] = r
				kept++
				continue
			}
			p.completeAtLeaf(l, r)
		}
		n += kept
		if k < len(room) {
			break
		}
	}
	p.push(l)
	return n
}

// nameError gives a leaf's errno the words that the blocking plane would have.
func (p *Path) nameError(l *leaf, r *Request) {
	if r.err == nil {
		r.err = l.ref.wrap(r.Op.String(), r.Off, int64(r.Len), unix.Errno(-r.Res))
	} else {
		r.err = l.ref.wrap(r.Op.String(), r.Off, int64(r.Len), r.err)
	}
}

// completeAtLeaf handles pieces and short transfers.
func (p *Path) completeAtLeaf(l *leaf, r *Request) {
	if r.Res < 0 {
		p.nameError(l, r)
	} else if r.Op <= OpWrite && uint32(r.Res) < r.Len {
		p.resend(l, r)
		return
	}
	p.complete(r)
}

// resend sends the rest of a short transfer again, as a blocking call that knows about the end of a file.
func (p *Path) resend(l *leaf, r *Request) {
	p.stats.Resent++
	moved := uint32(r.Res)
	if r.lane&lanePiece != 0 {
		r.Off, r.Buf, r.Len = r.Off+int64(moved), r.Buf.Add(moved), r.Len-moved
		r.Res = 0
		r.ref = l.ref
		p.lane.send(r)
		return
	}
	// A whole request keeps its own fields: the rest becomes a piece of a walk.
	leafOff := r.Off
	if r.lane&laneMoved != 0 {
		r.Off, r.lane = r.savedOff, r.lane&^laneMoved
	}
	if len(p.free) == 0 {
		r.Fail(l.ref.wrap(r.Op.String(), leafOff, int64(r.Len), Errf(ErrIO, "short transfer of %d bytes", moved)))
		p.finish(r)
		return
	}
	i := p.freeWalks[len(p.freeWalks)-1]
	p.freeWalks = p.freeWalks[:len(p.freeWalks)-1]
	p.walks[i] = walk{req: r, cursor: r.Len, pieces: 1, admitted: 0xff}
	r.walk = i + 1
	q := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	q.Off, q.Len, q.Op, q.Flags, q.Buf = leafOff+int64(moved), r.Len-moved, r.Op, r.Flags, r.Buf.Add(moved)
	q.lane, q.walk = lanePiece, i+1
	q.reset()
	q.ref = l.ref
	p.lane.send(q)
}

// complete ends a piece, or a whole request that came through the slow lane.
func (p *Path) complete(r *Request) {
	if r.lane&lanePiece == 0 {
		p.finish(r)
		return
	}
	i := r.walk - 1
	w := &p.walks[i]
	w.pieces--
	if r.Res < 0 && w.res == 0 {
		w.res, w.err = r.Res, r.err
	}
	r.err = nil
	p.free = append(p.free, r)
	if w.pieces > 0 {
		return
	}
	if !w.parked && (w.res != 0 || w.cursor >= w.req.Len) {
		p.endWalk(i)
	}
}

// endWalk completes a request that was walked.
func (p *Path) endWalk(i uint32) {
	w := &p.walks[i]
	r := w.req
	if w.res < 0 {
		r.Res, r.err = w.res, w.err
	} else if r.Op <= OpWrite {
		r.Res = int32(r.Len)
	} else {
		r.Res = 0
	}
	if !p.simple {
		p.observe(w, r)
	}
	w.req, w.err = nil, nil
	p.freeWalks = append(p.freeWalks, i)
	r.walk = 0
	p.finish(r)
}

// observe tells the filters above the first mapper; below one, a filter that observes is opaque (see flatten).
func (p *Path) observe(w *walk, r *Request) {
	off := r.Off
	for st := &p.stages[0]; st.kind == stageFilter; st = &p.stages[st.next] {
		if st.filter.Observe != nil {
			st.filter.Observe.Observe(r.Op, off, int64(r.Len), w.started, Now(), r.Err())
		}
		off += st.filter.Shift
	}
}

func (p *Path) finish(r *Request) { p.ready = append(p.ready, r) }

func (p *Path) takeReady(done []*Request) int {
	n := copy(done, p.ready[p.readyHead:])
	p.readyHead += n
	if p.readyHead == len(p.ready) {
		p.ready, p.readyHead = p.ready[:0], 0
	}
	return n
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
	if r.Op <= OpWrite {
		if p = dma.Bytes(r.Buf, int(r.Len)); p == nil && r.Len > 0 {
			r.Fail(Errf(ErrClosed, "buffer %#x is in no open arena", uint64(r.Buf)))
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
