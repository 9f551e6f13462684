package null

import (
	"context"
	"math"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// OpenQueue opens the polled plane.
func (n *Node) OpenQueue(_ context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	if n.o.Latency == 0 && n.o.Jitter == 0 {
		return &instant{node: n, done: engine.NewDoneRing(cfg.Depth)}, nil
	}
	return &delayed{node: n, due: make([]item, 0, cfg.Depth), delays: newDelays(&n.o)}, nil
}

// instant completes requests in the order of submission, at the next Poll.
type instant struct {
	node *Node
	done engine.DoneRing
}

func (q *instant) Supports(engine.Op) bool { return true }

func (q *instant) Submit(reqs []*engine.Request) int {
	n := q.done.Room(len(reqs))
	for _, r := range reqs[:n] {
		q.node.finish(r)
		q.done.Push(r)
	}
	return n
}

// finish sets the result of a request.
func (n *Node) finish(r *engine.Request) {
	r.Res = 0
	if r.Op <= engine.OpWrite {
		r.Res = int32(r.Len)
		if n.o.ReadZeroes && r.Op == engine.OpRead {
			clear(dma.Bytes(r.Buf, int(r.Len)))
		}
	}
}

func (q *instant) Kick() error { return nil }

func (q *instant) Poll(done []*engine.Request) int { return q.done.Pop(done) }

func (q *instant) Wait(time.Duration) error { return nil }

func (q *instant) Close() error { return nil }

// delayed completes each request after its latency: a heap by due time.
type delayed struct {
	node   *Node
	due    []item
	delays *delays
}

type item struct {
	at int64
	r  *engine.Request
}

func (q *delayed) Supports(engine.Op) bool { return true }

func (q *delayed) Submit(reqs []*engine.Request) int {
	n := min(len(reqs), cap(q.due)-len(q.due))
	now := engine.Now()
	for _, r := range reqs[:n] {
		q.push(item{now + q.delays.next(), r})
	}
	return n
}

func (q *delayed) Kick() error { return nil }

func (q *delayed) Poll(done []*engine.Request) int {
	if len(q.due) == 0 {
		return 0
	}
	now, n := engine.Now(), 0
	for n < len(done) && len(q.due) > 0 && q.due[0].at <= now {
		r := q.pop()
		q.node.finish(r)
		done[n] = r
		n++
	}
	return n
}

// spin is the last stretch of a wait, which is spent looking: a sleep ends late by the timer slack.
const spin = 60 * time.Microsecond

func (q *delayed) Wait(limit time.Duration) error {
	end := int64(math.MaxInt64)
	if limit >= 0 {
		end = engine.Now() + int64(limit)
	}
	if len(q.due) > 0 {
		end = min(end, q.due[0].at)
	}
	for {
		left := time.Duration(end - engine.Now())
		switch {
		case left <= 0:
			return nil
		case left > spin:
			time.Sleep(min(left-spin, time.Hour))
		}
	}
}

func (q *delayed) Close() error { return nil }

func (q *delayed) push(it item) {
	q.due = append(q.due, it)
	for i := len(q.due) - 1; i > 0; {
		up := (i - 1) / 2
		if q.due[up].at <= q.due[i].at {
			return
		}
		q.due[i], q.due[up] = q.due[up], q.due[i]
		i = up
	}
}

func (q *delayed) pop() *engine.Request {
	r := q.due[0].r
	last := len(q.due) - 1
	q.due[0] = q.due[last]
	q.due[last].r = nil
	q.due = q.due[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			return r
		}
		if c+1 < last && q.due[c+1].at < q.due[c].at {
			c++
		}
		if q.due[i].at <= q.due[c].at {
			return r
		}
		q.due[i], q.due[c] = q.due[c], q.due[i]
		i = c
	}
}
