package mem

import (
	"context"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// OpenQueue opens the polled plane: requests are done as they are submitted and wait to be polled.
func (n *Node) OpenQueue(_ context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	return &queue{node: n, done: engine.NewDoneRing(cfg.Depth)}, nil
}

// queue completes requests in the order of submission.
type queue struct {
	node *Node
	done engine.DoneRing
}

func (q *queue) Supports(op engine.Op) bool { return op <= engine.OpNop }

func (q *queue) Submit(reqs []*engine.Request) int {
	n := q.done.Room(len(reqs))
	for _, r := range reqs[:n] {
		q.do(r)
		q.done.Push(r)
	}
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

func (q *queue) Poll(done []*engine.Request) int { return q.done.Pop(done) }

func (q *queue) Wait(time.Duration) error { return nil }

func (q *queue) Close() error { return nil }
