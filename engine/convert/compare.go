package convert

import (
	"context"
	"math"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
)

// CompareOptions say what Compare does.
type CompareOptions struct {
	A, B *engine.Ref
	// Strict: the allocation has to be the same too.
	Strict bool
	Tuning
}

// Difference is the first place where two images are not alike.
type Difference struct {
	Found bool
	Off   int64 // bytes, of the sector
	// Status: the content may be the same, but not the allocation.
	Status bool
}

// sector is the granule in which differences are told, in bytes.
const sector = 512

// Compare looks for the first difference. The shorter image counts as if zeroes followed it.
func Compare(ctx context.Context, o CompareOptions) (Difference, Stats, error) {
	a, b := newSide(1, Source{Ref: o.A, Len: -1}), newSide(1, Source{Ref: o.B, Len: -1})
	j := &job{sides: []*side{a, b}, tune: o.Tuning, total: max(a.size, b.size)}
	j.tune.settle(2, 0)
	c := &comparison{job: j, strict: o.Strict, a: &cursor{side: a}, b: &cursor{side: b}}
	c.at.Store(math.MaxInt64)
	j.judge = c.judge
	s, err := j.run(ctx, c.plan)
	d := Difference{Found: c.at.Load() != math.MaxInt64}
	if d.Found {
		d.Off = c.at.Load()
		d.Status = c.status.Load() == d.Off+1
	}
	return d, s, err
}

// comparison is a run of Compare.
type comparison struct {
	*job
	strict bool
	a, b   *cursor
	at     atomic.Int64 // the first difference known
	status atomic.Int64 // where the allocation differs, + 1
}

// differ notes a difference.
func (c *comparison) differ(off int64) {
	for {
		old := c.at.Load()
		if old <= off || c.at.CompareAndSwap(old, off) {
			return
		}
	}
}

// plan makes chunks of what is not zeroes on both sides, up to the first difference known.
func (c *comparison) plan(ctx context.Context) error {
	p := pace{rate: c.tune.Rate}
	common := min(c.sides[0].size, c.sides[1].size)
	for off := int64(0); off < c.total && off < c.at.Load(); {
		var st [2]status
		for k, cur := range []*cursor{c.a, c.b} {
			var err error
			if st[k], err = cur.run(ctx, off); err != nil {
				return &Error{Phase: Mapping, Off: off, Side: k, Err: err}
			}
		}
		n := min(st[0].n, st[1].n, c.total-off)
		if c.strict && off < common && st[0].flags != st[1].flags {
			c.status.Store(off + 1)
			c.differ(off)
			return nil
		}
		var need uint8
		for k := range st {
			if !st[k].zero() {
				need |= 1 << k
			}
		}
		if need == 0 {
			c.skip(n)
			off += n
			continue
		}
		n = min(n, int64(c.tune.Chunk)-off%int64(c.tune.Chunk))
		if err := p.wait(ctx, n); err != nil {
			return err
		}
		if !c.send(ctx, chunk{off: off, n: n, kind: chunkMove, need: need}) {
			return ctx.Err()
		}
		off += n
	}
	return nil
}

// judge compares what was read.
func (c *comparison) judge(ch *chunk, bufs [2][]byte, dst []span) ([]span, error) {
	switch {
	case ch.off >= c.at.Load():
	case ch.need == 3:
		if !equal(bufs[0], bufs[1]) {
			for at := 0; ; at += sector {
				end := min(at+sector, len(bufs[0]))
				if !equal(bufs[0][at:end], bufs[1][at:end]) {
					c.differ(ch.off + int64(at))
					break
				}
			}
		}
	default:
		p := bufs[ch.need>>1]
		if !engine.IsZero(p) {
			for at := 0; ; at += sector {
				if !engine.IsZero(p[at:min(at+sector, len(p))]) {
					c.differ(ch.off + int64(at))
					break
				}
			}
		}
	}
	return dst, nil
}

func equal(a, b []byte) bool { return string(a) == string(b) }
