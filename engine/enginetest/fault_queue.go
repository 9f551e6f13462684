package enginetest

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// faultyQueue is the polled plane of a fault device.
type faultyQueue struct {
	engine.Queue
	f     *Fault
	depth int
	out   int                        // requests taken and not given back
	ready []*engine.Request          // completed here
	late  []lateRequest              // held back
	cut   map[*engine.Request]uint32 // shortened: what the length was
}

type lateRequest struct {
	at int64
	r  *engine.Request
}

// Supports asks the queue below.
func (q *faultyQueue) Supports(op engine.Op) bool {
	s, ok := q.Queue.(engine.QueueOps)
	return op <= engine.OpWrite || (ok && s.Supports(op))
}

func (q *faultyQueue) Submit(reqs []*engine.Request) int {
	for i, r := range reqs {
		if q.out == q.depth {
			return i
		}
		act, fires := q.f.hit(r.Op, r.Off, int64(r.Len))
		switch {
		case !fires:
			if q.Queue.Submit(reqs[i:i+1]) == 0 {
				return i // it will be counted again: faults by number belong to queues that are deep enough
			}
		case act.errno != 0:
			r.Res = -int32(act.errno)
			q.ready = append(q.ready, r)
		case act.lost && r.Op != engine.OpRead:
			r.Res = 0
			if r.Op == engine.OpWrite {
				r.Res = int32(r.Len)
			}
			q.ready = append(q.ready, r)
		case act.slow > 0:
			q.late = append(q.late, lateRequest{engine.Now() + int64(act.slow), r})
		case act.cut && r.Op <= engine.OpWrite && act.short < r.Len:
			q.shorten(r, act.short)
		default:
			if q.Queue.Submit(reqs[i:i+1]) == 0 {
				return i
			}
		}
		q.out++
	}
	return len(reqs)
}

// shorten lets only the first n bytes of a request happen.
func (q *faultyQueue) shorten(r *engine.Request, n uint32) {
	if n == 0 {
		r.Res = 0
		q.ready = append(q.ready, r)
		return
	}
	if q.cut == nil {
		q.cut = make(map[*engine.Request]uint32)
	}
	q.cut[r] = r.Len
	r.Len = n
	if q.Queue.Submit([]*engine.Request{r}) == 0 {
		r.Len = q.cut[r]
		delete(q.cut, r)
		r.Res = -int32(unix.EAGAIN)
		q.ready = append(q.ready, r)
	}
}

func (q *faultyQueue) Poll(done []*engine.Request) int {
	now := engine.Now()
	kept := q.late[:0]
	for _, l := range q.late {
		if l.at > now || q.Queue.Submit([]*engine.Request{l.r}) == 0 {
			kept = append(kept, l)
		}
	}
	q.late = kept
	n := copy(done, q.ready)
	q.ready = append(q.ready[:0], q.ready[n:]...)
	if n < len(done) {
		k := q.Queue.Poll(done[n:])
		for _, r := range done[n : n+k] {
			if full, ok := q.cut[r]; ok {
				r.Len = full
				delete(q.cut, r)
			}
		}
		n += k
	}
	q.out -= n
	return n
}

func (q *faultyQueue) Wait(limit time.Duration) error {
	if len(q.ready) > 0 {
		return nil
	}
	for _, l := range q.late {
		left := time.Duration(l.at - engine.Now())
		if limit < 0 || left < limit {
			limit = max(left, 0)
		}
	}
	return q.Queue.Wait(limit)
}
