package convert

import (
	"context"
	"errors"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/blkbench/blkbench/engine"
)

// ZeroMode says what becomes of ranges that read as zeroes.
type ZeroMode uint8

// The modes.
const (
	ZeroSkip  ZeroMode = iota // the target reads as zeroes already
	ZeroWrite                 // zeroes are written by the cheapest means
	ZeroData                  // zeroes are written as data: the target gets fully allocated
)

// Options say what Copy does.
type Options struct {
	Sources []Source // each is filled up to a whole sector of 512 bytes, and the next goes on there
	Target  *engine.Ref
	Offset  int64 // bytes, where the copy starts in the target

	Zeroes ZeroMode
	// Sparse is how many bytes of zeroes within data count as a hole; 0: data is written as it is.
	Sparse int64
	// Layered: only what the topmost layer of the source decides is copied; the rest is left to the target's backing file, which is
	// BackingSize bytes long.
	Layered     bool
	Layers      int   // how many of the topmost layers count; 0: one
	Allocated   bool  // what no such layer has allocated is left, even if it is known to read as zeroes
	BackingSize int64 // negative: without end

	Compressed bool
	InOrder    bool
	CopyRange  bool // try to copy inside the kernel, or to share blocks
	// Salvage is told of what cannot be read and becomes zeroes; nil: a read error ends the copy. Calls do not overlap.
	Salvage func(off int64, err error)
	Tuning
}

// zeroStep is how much one request for zeroes covers, in bytes: what a Request's length can say, in whole clusters.
const zeroStep = 1 << 30

// Copy copies the sources, one behind the other, to the target. It ends early, with nothing in flight, when ctx does.
func Copy(ctx context.Context, o Options) (Stats, error) {
	src := newSide(sector, o.Sources...)
	j := &job{
		sides: []*side{src}, target: o.Target, shift: o.Offset, tune: o.Tuning, total: src.size, salvage: o.Salvage,
		inOrder: o.InOrder, zeroSpans: o.Zeroes == ZeroWrite,
	}
	if o.Sparse > 0 {
		j.zeroFlags = engine.MayUnmap
	}
	lim := o.Target.Info().Limits
	cluster := int64(lim.ClusterSize)
	if o.Compressed {
		if cluster == 0 {
			return Stats{}, engine.Errf(engine.ErrUnsupported, "driver %s does not write compressed", o.Target.Info().Driver)
		}
		j.pack = &packing{cluster: cluster, sparse: o.Sparse > 0}
		j.tune.Movers = 1 // it reads for packers, which are one per core
	}
	if o.CopyRange && !o.Compressed {
		if c, ok := o.Target.Node().(engine.Copier); ok {
			j.copier = &copier{job: j, node: c}
			j.inOrder = false // nobody allocates in the order of the writes
		}
	}
	if j.inOrder {
		j.tune.Movers = 1
	}
	j.tune.settle(1, cluster)
	unit := scanUnit(o.Sparse, cluster)
	j.judge = func(c *chunk, bufs [2][]byte, dst []span) ([]span, error) {
		if o.Sparse == 0 {
			return append(dst, span{0, int(c.n), false}), nil
		}
		return scan(dst, bufs[0], c.off+j.shift, unit, int(min(o.Sparse, 1<<30))), nil
	}
	p := &copyPlan{job: j, o: &o, cluster: max(1, cluster), pace: pace{rate: o.Rate}}
	return j.run(ctx, p.plan)
}

// scanUnit is the granule in which zeroes are looked for: a target with clusters gains nothing from less than one, up to a point.
func scanUnit(sparse, cluster int64) int {
	unit := int64(1) << (bits.Len64(uint64(max(sparse, 512))) - 1)
	return int(max(min(unit, 1<<30), min(cluster, 64<<10)))
}

// copyPlan makes the chunks of a copy.
type copyPlan struct {
	*job
	o       *Options
	cluster int64
	pace    pace
	seq     uint64
}

// class is what a planner does with a run.
type class uint8

const (
	classData class = iota
	classZero
	classLeave
)

// classify says what becomes of a run at off, and may shorten it.
func (p *copyPlan) classify(off int64, s *status) class {
	if p.o.Layered {
		beyond := p.o.BackingSize >= 0 && off+p.shift >= p.o.BackingSize
		if b := p.o.BackingSize - p.shift; p.o.BackingSize >= 0 && !beyond && off+s.n > b {
			s.n = b - off
		}
		stored := s.flags&engine.ExtentAllocated != 0 && s.depth < max(1, p.o.Layers)
		switch {
		case s.zero() && (stored || (s.depth == 0 && !p.o.Allocated)):
			if beyond && p.o.Zeroes != ZeroData {
				return classLeave // nothing is below that could show
			}
			return classZero
		case stored:
			return classData
		}
		if beyond {
			// The source's backing file is longer than the target's.
			return classData
		}
		return classLeave
	}
	if s.zero() {
		return classZero
	}
	return classData
}

// bridge is how long a hole may be that is read along with the data around it, in bytes: a request costs more.
const bridge = 64 << 10

// plan walks the source.
func (p *copyPlan) plan(ctx context.Context) error {
	cur := &cursor{side: p.sides[0]}
	var open chunk // data that is being collected
	for off := int64(0); off < p.total; {
		s, err := cur.run(ctx, off)
		if err != nil {
			return &Error{Phase: Mapping, Off: off, Err: err}
		}
		s.n = min(s.n, p.total-off)
		k := p.classify(off, &s)
		if p.pack != nil {
			k = p.wholeClusters(off, &s, k)
		}
		if k == classZero && p.o.Zeroes == ZeroData {
			k = classData
		}
		gap := k == classZero && p.o.Zeroes == ZeroSkip && p.o.Sparse > 0 && s.n < bridge && open.n > 0
		if k == classData || gap {
			if err := p.collect(ctx, &open, off, s.n); err != nil {
				return err
			}
			off += s.n
			continue
		}
		if err := p.flush(ctx, &open); err != nil {
			return err
		}
		if k == classLeave || p.o.Zeroes == ZeroSkip {
			p.skip(s.n)
		} else if err := p.zeroes(ctx, off, s.n); err != nil {
			return err
		}
		off += s.n
	}
	return p.flush(ctx, &open)
}

// wholeClusters makes runs of whole clusters of the target, as a compressed write has it: what is less becomes data.
func (p *copyPlan) wholeClusters(off int64, s *status, k class) class {
	left := p.cluster - (off+p.shift)%p.cluster
	switch {
	case s.n >= p.total-off:
	case s.n < left:
		s.n = min(left, p.total-off)
		return classData
	default:
		s.n = left + (s.n-left)/p.cluster*p.cluster
	}
	return k
}

// collect adds a run of data to the open chunk and sends what is full. Chunks end at multiples of their size in the target.
func (p *copyPlan) collect(ctx context.Context, open *chunk, off, n int64) error {
	size := int64(p.tune.Chunk)
	for n > 0 {
		if open.n == 0 {
			*open = chunk{off: off, kind: chunkMove, need: 1}
		}
		step := min(n, size-(off+p.shift)%size)
		open.n += step
		off, n = off+step, n-step
		if (off+p.shift)%size == 0 {
			if err := p.flush(ctx, open); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *copyPlan) flush(ctx context.Context, open *chunk) error {
	if open.n == 0 {
		return nil
	}
	if err := p.pace.wait(ctx, open.n); err != nil {
		return err
	}
	err := p.emit(ctx, *open)
	open.n = 0
	return err
}

func (p *copyPlan) zeroes(ctx context.Context, off, n int64) error {
	for n > 0 {
		step := min(n, zeroStep-(off+p.shift)%zeroStep)
		if err := p.emit(ctx, chunk{off: off, n: step, kind: chunkZero}); err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}

func (p *copyPlan) emit(ctx context.Context, c chunk) error {
	c.seq = p.seq
	p.seq++
	if !p.send(ctx, c) {
		return ctx.Err()
	}
	return nil
}

// pace holds a planner to a rate.
type pace struct {
	rate int64 // bytes per second; 0: none
	at   int64 // when the next byte may go, ns
}

func (p *pace) wait(ctx context.Context, n int64) error {
	if p.rate <= 0 {
		return nil
	}
	now := engine.Now()
	p.at = max(p.at, now)
	due := p.at - now
	p.at += int64(float64(n) / float64(p.rate) * 1e9)
	if due <= 0 {
		return nil
	}
	t := time.NewTimer(time.Duration(due))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// copier copies chunks inside the kernel until it turns out that it cannot.
type copier struct {
	*job
	node   engine.Copier
	cannot atomic.Bool
}

func (c *copier) wants() bool { return c != nil && !c.cannot.Load() }

// copy runs on a goroutine of its own.
func (c *copier) copy(s *slot) {
	sd := c.sides[0]
	for at := int64(0); at < s.n; {
		i, n := sd.at(s.off + at)
		if i < 0 {
			s.err = errGoOn
			return
		}
		n = min(n, s.n-at)
		p := &sd.parts[i]
		from, to := s.off+at-p.from+p.off, s.off+at+c.shift
		err := c.node.CopyFrom(c.ctx, p.ref.Node(), from, to, n, true)
		if errors.Is(err, engine.ErrUnsupported) {
			err = c.node.CopyFrom(c.ctx, p.ref.Node(), from, to, n, false)
		}
		if errors.Is(err, engine.ErrUnsupported) {
			c.cannot.Store(true)
			s.err = errGoOn
			return
		}
		if err != nil {
			s.phase, s.err = Writing, err
			return
		}
		c.copied.Add(n)
		at += n
	}
	s.phase = Writing
}
