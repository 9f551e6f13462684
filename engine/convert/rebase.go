package convert

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// RebaseOptions say what Rebase does.
type RebaseOptions struct {
	Top      *engine.Ref
	Old, New *engine.Ref // what Top shows now where it has nothing of its own, and what it will show; nil: zeroes
	Tuning
}

// Rebase copies to Top what it has not of its own and what the new backing file would show differently. The reference itself is the
// caller's to change, when all is copied and flushed.
func Rebase(ctx context.Context, o RebaseOptions) (Stats, error) {
	window := func(r *engine.Ref) *side {
		if r == nil {
			return newSide(1)
		}
		return newSide(1, Source{Ref: r, Len: o.Top.Size()})
	}
	before, after := window(o.Old), window(o.New)
	j := &job{sides: []*side{before, after}, target: o.Top, tune: o.Tuning, total: o.Top.Size(), zeroSpans: false}
	cluster := int64(o.Top.Info().Limits.ClusterSize)
	j.tune.settle(2, cluster)
	r := &rebasing{job: j, top: &cursor{side: newSide(1, Source{Ref: o.Top, Len: -1})}, cluster: max(cluster, sector)}
	for k := range r.below {
		r.below[k] = &cursor{side: j.sides[k]}
	}
	unit := int(min(r.cluster, int64(j.tune.Chunk)))
	j.judge = func(c *chunk, bufs [2][]byte, dst []span) ([]span, error) {
		for k := range bufs {
			if c.need&(1<<k) == 0 {
				clear(bufs[k])
			}
		}
		return differing(dst, bufs[0], bufs[1], unit), nil
	}
	return j.run(ctx, r.plan)
}

// rebasing is a run of Rebase.
type rebasing struct {
	*job
	top     *cursor
	below   [2]*cursor
	cluster int64
}

// plan makes chunks of what the top leaves to its backing file and what is not zeroes on both sides.
func (r *rebasing) plan(ctx context.Context) error {
	for off := int64(0); off < r.total; {
		s, err := r.top.run(ctx, off)
		if err != nil {
			return &Error{Phase: Mapping, Off: off, Err: err}
		}
		n := min(s.n, r.total-off)
		if s.stored() {
			r.skip(n)
			off += n
			continue
		}
		var need uint8
		for k, cur := range r.below {
			b, err := cur.run(ctx, off)
			if err != nil {
				return &Error{Phase: Mapping, Off: off, Side: k, Err: err}
			}
			n = min(n, b.n)
			if !b.zero() {
				need |= 1 << k
			}
		}
		if need == 0 {
			r.skip(n)
			off += n
			continue
		}
		n = min(n, int64(r.tune.Chunk)-off%int64(r.tune.Chunk))
		if !r.send(ctx, chunk{off: off, n: n, kind: chunkMove, need: need}) {
			return ctx.Err()
		}
		off += n
	}
	return nil
}
