package enginetest

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// faultyQueue is the polled plane under faults. It takes as many requests as it was opened for, decides about each once, and hands on
// what the queue below takes.
//
// Invariant: inFlight requests are in waiting (not handed on yet), in slots by their turn (at the child) or in ended (never handed on).
type faultyQueue struct {
	n        *faulty
	child    engine.Queue
	depth    int
	inFlight int
	below    int               // at the child
	waiting  []held            // to be handed on, in order, when their time has come
	ended    []ending          // complete, at a time
	cut      []cut             // at the child with a smaller length
	batch    []*engine.Request // scratch
}

type held struct {
	r  *engine.Request
	at int64 // of the engine's clock
}

type ending struct {
	r   *engine.Request
	res int32
}

type cut struct {
	r   *engine.Request
	len uint32
}

// OpenQueue implements engine.QueueOpener.
func (n *faulty) OpenQueue(ctx context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	o, ok := n.child.Node().(engine.QueueOpener)
	if !ok {
		return nil, engine.Errf(engine.ErrUnsupported, "driver %s has no polled plane", n.child.Info().Driver)
	}
	q, err := o.OpenQueue(ctx, cfg)
	if err != nil {
		return nil, err
	}
	d := cfg.Depth
	return &faultyQueue{
		n: n, child: q, depth: d, waiting: make([]held, 0, d), ended: make([]ending, 0, d), cut: make([]cut, 0, d),
		batch: make([]*engine.Request, 0, d),
	}, nil
}

var faultOf = [...]FaultOp{
	engine.OpRead: FaultRead, engine.OpWrite: FaultWrite, engine.OpFlush: FaultFlush, engine.OpDiscard: FaultDiscard, engine.OpZero: FaultZero,
}

// Supports implements engine.QueueOps.
func (q *faultyQueue) Supports(op engine.Op) bool {
	if op <= engine.OpWrite {
		return true
	}
	o, ok := q.child.(engine.QueueOps)
	return ok && o.Supports(op)
}

// Submit implements engine.Queue.
func (q *faultyQueue) Submit(reqs []*engine.Request) int {
	n := min(len(reqs), q.depth-q.inFlight)
	for _, r := range reqs[:n] {
		q.take(r)
	}
	q.inFlight += n
	q.hand(engine.Now())
	return n
}

func (q *faultyQueue) take(r *engine.Request) {
	if int(r.Op) >= len(faultOf) {
		q.waiting = append(q.waiting, held{r, 0})
		return
	}
	rule, hit := q.n.f.decide(faultOf[r.Op], r.Off, int64(r.Len))
	switch {
	case !hit:
		q.waiting = append(q.waiting, held{r, 0})
	case rule.Effect == FaultSlow:
		q.waiting = append(q.waiting, held{r, engine.Now() + int64(rule.Delay)})
	case rule.Effect == FaultLost:
		res := int32(0)
		if r.Op <= engine.OpWrite {
			res = int32(r.Len)
		}
		q.ended = append(q.ended, ending{r, res})
	case rule.Effect == FaultShort:
		unit := int64(max(1, q.n.child.Info().Limits.RequestAlign))
		k := rule.N / unit * unit
		switch {
		case k >= int64(r.Len):
		case k == 0:
			q.ended = append(q.ended, ending{r, 0})
			return
		default:
			q.cut = append(q.cut, cut{r, r.Len})
			r.Len = uint32(k)
		}
		q.waiting = append(q.waiting, held{r, 0})
	default:
		q.ended = append(q.ended, ending{r, -int32(rule.Errno)})
	}
}

// hand gives the child what is due at a time, in order.
func (q *faultyQueue) hand(now int64) {
	q.batch = q.batch[:0]
	for _, h := range q.waiting {
		if h.at <= now {
			q.batch = append(q.batch, h.r)
		}
	}
	if len(q.batch) == 0 {
		return
	}
	taken := q.child.Submit(q.batch)
	q.below += taken
	kept := q.waiting[:0]
	for _, h := range q.waiting {
		if h.at <= now && taken > 0 {
			taken--
			continue
		}
		kept = append(kept, h)
	}
	clear(q.waiting[len(kept):])
	q.waiting = kept
}

// Kick implements engine.Queue.
func (q *faultyQueue) Kick() error {
	q.hand(engine.Now())
	return q.child.Kick()
}

// Poll implements engine.Queue.
func (q *faultyQueue) Poll(done []*engine.Request) int {
	if len(q.waiting) > 0 {
		q.hand(engine.Now())
		if q.child.Kick() != nil {
			return 0 // the owner's next Kick says so
		}
	}
	n := 0
	for n < len(done) && len(q.ended) > 0 {
		e := q.ended[0]
		q.ended = q.ended[:copy(q.ended, q.ended[1:])]
		if e.r.Res = e.res; e.res < 0 {
			e.r.Fail(unix.Errno(-e.res))
		}
		done[n] = e.r
		n++
	}
	k := q.child.Poll(done[n:])
	for _, r := range done[n : n+k] {
		q.restore(r)
	}
	q.below -= k
	q.inFlight -= n + k
	return n + k
}

// restore gives a request that was cut its length back.
func (q *faultyQueue) restore(r *engine.Request) {
	for i, c := range q.cut {
		if c.r == r {
			r.Len = c.len
			last := len(q.cut) - 1
			q.cut[i] = q.cut[last]
			q.cut = q.cut[:last]
			return
		}
	}
}

// Wait implements engine.Queue. A request that is held back waits for the engine's clock, which may be moved by hand: it is looked at
// every millisecond.
func (q *faultyQueue) Wait(limit time.Duration) error {
	if err := q.Kick(); err != nil {
		return err
	}
	if len(q.ended) > 0 {
		return nil
	}
	if len(q.waiting) == 0 {
		return q.child.Wait(limit)
	}
	step := time.Millisecond
	if limit >= 0 {
		step = min(step, limit)
	}
	if q.below > 0 {
		return q.child.Wait(step)
	}
	return sleepFor(step)
}

// sleepFor sleeps without allocating.
func sleepFor(d time.Duration) error {
	ts := unix.NsecToTimespec(int64(d))
	if err := unix.Nanosleep(&ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	return nil
}

// Close implements engine.Queue. What is held back goes at once.
func (q *faultyQueue) Close() error {
	done := make([]*engine.Request, max(1, q.depth))
	for q.inFlight > 0 {
		for i := range q.waiting {
			q.waiting[i].at = 0
		}
		if q.Poll(done) == 0 {
			if err := q.Wait(time.Millisecond); err != nil {
				return err
			}
		}
	}
	return q.child.Close()
}
