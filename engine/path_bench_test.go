package engine

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine/dma"
)

// idleLeaf is a leaf that does nothing: what is submitted is complete. It is the least that a queue can be, so what a Path costs over
// it is the Path's own.
type idleLeaf struct {
	size int64
	lim  Limits
	caps Caps
}

func (l *idleLeaf) Info() Info {
	return Info{Driver: "idle", Caps: l.caps | CapWritable, Limits: l.lim}
}
func (l *idleLeaf) Size() int64                                              { return l.size }
func (l *idleLeaf) ReadAt(context.Context, []byte, int64) error              { return nil }
func (l *idleLeaf) WriteAt(context.Context, []byte, int64, WriteFlags) error { return nil }
func (l *idleLeaf) Flush(context.Context) error                              { return nil }
func (l *idleLeaf) Close() error                                             { return nil }
func (l *idleLeaf) OpenQueue(_ context.Context, cfg QueueConfig) (Queue, error) {
	return newIdleQueue(cfg.Depth), nil
}

func (l *idleLeaf) Extents(_ context.Context, off, n int64, dst []Extent) ([]Extent, error) {
	return append(dst, Extent{Off: off, Len: n, Flags: ExtentZero}), nil
}

type idleQueue struct {
	ring       []*Request
	head, tail int
}

func newIdleQueue(depth int) *idleQueue {
	n := 1
	for n < depth {
		n *= 2
	}
	return &idleQueue{ring: make([]*Request, n)}
}

func (q *idleQueue) Submit(reqs []*Request) int {
	n := min(len(reqs), len(q.ring)-(q.tail-q.head))
	for _, r := range reqs[:n] {
		r.Res = int32(r.Len)
		q.ring[q.tail&(len(q.ring)-1)] = r
		q.tail++
	}
	return n
}
func (q *idleQueue) Kick() error { return nil }
func (q *idleQueue) Poll(done []*Request) int {
	n := min(len(done), q.tail-q.head)
	for i := range done[:n] {
		done[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.head += n
	return n
}
func (q *idleQueue) Wait(time.Duration) error { return nil }
func (q *idleQueue) Close() error             { return nil }
func (q *idleQueue) Supports(op Op) bool      { return op == OpNop }

// tableMapper maps 64 KiB clusters through two levels of tables, as a qcow2 image does.
type tableMapper struct {
	idleLeaf
	child *Ref
	l1    []*[8192]atomic.Uint64
}

func newTableMapper(child *Ref) *tableMapper {
	m := &tableMapper{idleLeaf: idleLeaf{size: child.Size()}, child: child}
	for c := int64(0); c<<16 < m.size; c++ {
		if c%8192 == 0 {
			m.l1 = append(m.l1, new([8192]atomic.Uint64))
		}
		m.l1[c/8192][c%8192].Store(uint64(c<<16) | 1)
	}
	return m
}

func (m *tableMapper) Info() Info        { return Info{Driver: "table", Caps: CapWritable} }
func (m *tableMapper) Children() []Child { return []Child{{Name: "file", Ref: m.child}} }
func (m *tableMapper) Map(_ Op, off, n int64) (Mapping, bool) {
	c := off >> 16
	e := m.l1[c/8192][c%8192].Load()
	if e&1 == 0 {
		return Mapping{}, false
	}
	in := off & (1<<16 - 1)
	return Mapping{Off: int64(e&^1) + in, Len: min(n, 1<<16-in)}, true
}

// OpenQueue hides the leaf's.
func (m *tableMapper) OpenQueue() {}

type shiftFilter struct {
	idleLeaf
	child *Ref
	shift int64
	admit Admitter
}

func (f *shiftFilter) Stage() Stage { return Stage{Child: f.child, Shift: f.shift, Admit: f.admit} }
func (f *shiftFilter) OpenQueue()   {}

// bed is a graph open for polling, and requests for it.
type bed struct {
	path  *Path
	arena *dma.Arena
	reqs  []*Request
	done  []*Request
}

const (
	bedBatch = 32
	bedSize  = 1 << 30
)

func newBed(tb testing.TB, root *Ref) *bed {
	tb.Helper()
	runtime.LockOSThread()
	tb.Cleanup(runtime.UnlockOSThread)
	a, err := dma.New(dma.Config{Size: bedBatch * 4096, NoHuge: true})
	if err != nil {
		tb.Fatal(err)
	}
	p, err := OpenPath(tb.Context(), root, PathConfig{Poller: NewPoller(), Depth: bedBatch, Arenas: []*dma.Arena{a}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
		a.Close()
	})
	b := &bed{path: p, arena: a, done: make([]*Request, bedBatch)}
	slab := make([]Request, bedBatch)
	buf, err := a.Alloc(bedBatch * 4096)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range slab {
		slab[i].Buf = buf.Add(uint32(i * 4096))
		b.reqs = append(b.reqs, &slab[i])
	}
	return b
}

// batch sends one batch of random 4 KiB reads and takes its completions.
func (b *bed) batch(seed uint64) uint64 {
	for _, r := range b.reqs {
		seed = seed*6364136223846793005 + 1442695040888963407
		r.Off, r.Len, r.Op = int64(seed>>34)&^4095, 4096, OpRead
	}
	drive(b.path, b.reqs, b.done)
	return seed
}

func drive(q Queue, reqs, done []*Request) {
	for sent := 0; sent < len(reqs); {
		sent += q.Submit(reqs[sent:])
	}
	_ = q.Kick()
	for got := 0; got < len(reqs); {
		got += q.Poll(done)
	}
}

func idleRef(align uint32) *Ref {
	l := &idleLeaf{size: bedSize, lim: Limits{RequestAlign: align, MemAlign: align}}
	return newRef(l, OpenFlags{Write: true}, NewDomain())
}

// layersOver puts n layers over a leaf: mappers and filters by turns.
func layersOver(ref *Ref, n int) *Ref {
	for i := range n {
		var node Node
		if i%2 == 0 {
			node = newTableMapper(ref)
		} else {
			node = &shiftFilter{idleLeaf: idleLeaf{size: ref.Size()}, child: ref}
		}
		ref = newRef(node, OpenFlags{Write: true}, ref.st.domain)
	}
	return ref
}

var bedLayers = []struct {
	name   string
	layers int
	align  uint32
}{
	{"leaf", 0, 1}, {"leaf-512", 0, 512}, {"mapper", 1, 1}, {"three-layers", 2, 512}, {"five-layers", 4, 512},
}

// BenchmarkPath measures a Path over a leaf that does nothing, in batches of 32; "queue" is the leaf without a Path, so the difference
// is the engine's own cost. ns/req is per request.
func BenchmarkPath(b *testing.B) {
	b.Run("queue", func(b *testing.B) {
		bed := newBed(b, idleRef(1))
		q := newIdleQueue(64)
		seed := uint64(1)
		b.ReportAllocs()
		for b.Loop() {
			for _, r := range bed.reqs {
				seed = seed*6364136223846793005 + 1442695040888963407
				r.Off, r.Len, r.Op = int64(seed>>34)&^4095, 4096, OpRead
			}
			drive(q, bed.reqs, bed.done)
		}
		perRequest(b)
	})
	for _, l := range bedLayers {
		b.Run(l.name, func(b *testing.B) {
			bed := newBed(b, layersOver(idleRef(l.align), l.layers))
			seed := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				seed = bed.batch(seed)
			}
			perRequest(b)
		})
	}
}

func perRequest(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/bedBatch, "ns/req")
}

// TestPathAllocatesNothing asserts what the benchmark reports.
func TestPathAllocatesNothing(t *testing.T) {
	for _, l := range bedLayers {
		t.Run(l.name, func(t *testing.T) {
			bed := newBed(t, layersOver(idleRef(l.align), l.layers))
			seed := uint64(1)
			if n := testing.AllocsPerRun(100, func() { seed = bed.batch(seed) }); n != 0 {
				t.Errorf("%v allocations in a batch of %d", n, bedBatch)
			}
			want := fmt.Sprint(l.layers + 1)
			if got := fmt.Sprint(len(bed.path.Flattened())); got != want {
				t.Errorf("%s stages, want %s: %v", got, want, bed.path.Flattened())
			}
			if s := bed.path.Stats(); s.Direct == 0 || s.Slow != 0 || s.Pieces != 0 {
				t.Errorf("requests did not go straight to the leaf: %+v", s)
			}
		})
	}
}
