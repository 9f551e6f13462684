package mem

import (
	"context"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// OpenQueue opens the polled plane: requests are done as they are submitted and wait to be polled.
func (n *Node) OpenQueue(_ context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	return &queue{node: n, done: make([]*engine.Request, cfg.Depth)}, nil
}

// queue completes requests in the order of submission.
//
// Invariant: the requests taken and not yet polled are the n from head on, round the end of done.
type queue struct {
	node    *Node
	done    []*engine.Request
	head, n int
}

func (q *queue) Supports(op engine.Op) bool { return op <= engine.OpNop }

func (q *queue) Submit(reqs []*engine.Request) int {
	n := min(len(reqs), len(q.done)-q.n)
	for _, r := range reqs[:n] {
		q.do(r)
	}
	at := q.head + q.n
	if at >= len(q.done) {
		at -= len(q.done)
	}
	k := copy(q.done[at:], reqs[:n])
	copy(q.done, reqs[k:n])
	q.n += n
	return n
}

func (q *queue) do(r *engine.Request) {
	r.Res = 0
	switch r.Op {
	case engine.OpRead:
		q.node.read(dma.Bytes(r.Buf, int(r.Len)), r.Off)
		r.Res = int32(r.Len)
	case engine.OpWrite:
		q.node.store(dma.Bytes(r.Buf, int(r.Len)), r.Off)
		r.Res = int32(r.Len)
	case engine.OpDiscard, engine.OpZero:
		q.node.zero(r.Off, int64(r.Len))
	case engine.OpFlush, engine.OpNop:
	}
}

func (q *queue) Kick() error { return nil }

func (q *queue) Poll(done []*engine.Request) int {
	n := min(len(done), q.n)
	k := copy(done[:n], q.done[q.head:])
	copy(done[k:n], q.done)
	if q.head += n; q.head >= len(q.done) {
		q.head -= len(q.done)
	}
	q.n -= n
	return n
}

func (q *queue) Wait(time.Duration) error { return nil }

func (q *queue) Close() error { return nil }
