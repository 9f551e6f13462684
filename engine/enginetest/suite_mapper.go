package enginetest

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// MapperConfig says what the suite of [Mapper] is run over.
type MapperConfig struct {
	// Open makes a new node of size bytes that reads as zeroes and is a Mapper, and a reference to it for reading and writing, with
	// discarding. The suite closes it.
	Open func(t testing.TB, size int64) *engine.Ref
	// Disturb, where there is one, moves or shares what is mapped (a snapshot, a resizing there and back); it is called beside traffic.
	Disturb func(t testing.TB, ref *engine.Ref, seed uint64)
	Size    int64 // bytes; 0 means 1 MiB
	// Cut is where runs may end although the next one goes on: at multiples of it; 0: nowhere.
	Cut int64
	// SlowWrites and Misses say that a write, or any look-up, may always be left to the blocking node.
	SlowWrites, Misses bool
}

// Mapper verifies that a node keeps to the contract of [engine.Mapper].
func Mapper(t *testing.T, cfg MapperConfig) {
	t.Helper()
	Long(t)
	for _, c := range cfg.checks() {
		t.Run(c.sentence, func(t *testing.T) { watch(c.sentence, func() { c.run(cfg.begin(t)) }) })
	}
}

func (c MapperConfig) checks() []check[*mapperRun] {
	return []check[*mapperRun]{
		{"what is mapped is what is read", (*mapperRun).agrees},
		{"what is written where it maps is written", (*mapperRun).writes},
		{"runs are as long as they can be", (*mapperRun).lengths},
		{"no allocation", (*mapperRun).allocations},
		{"from any thread at once", (*mapperRun).threads},
		{"mappings stay true for a grace period", (*mapperRun).grace},
	}
}

type mapperRun struct {
	testing.TB
	cfg  MapperConfig
	ref  *engine.Ref
	m    engine.Mapper
	size int64
	rng  *rand.Rand
}

func (c MapperConfig) begin(t testing.TB) *mapperRun {
	if c.Size == 0 {
		c.Size = 1 << 20
	}
	r := &mapperRun{TB: t, cfg: c, ref: c.Open(t, c.Size), size: c.Size, rng: rand.New(rand.NewPCG(1, 7))}
	t.Cleanup(func() {
		if err := r.ref.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	m, ok := r.ref.Node().(engine.Mapper)
	if !ok {
		t.Fatalf("%T is no Mapper", r.ref.Node())
	}
	r.m = m
	return r
}

func (r *mapperRun) ok(what string, err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

// mix gives the node runs of all kinds.
func (r *mapperRun) mix(rounds int) {
	r.Helper()
	for i := range rounds {
		off := r.rng.Int64N(r.size)
		n := 1 + r.rng.Int64N(min(r.size-off, 60<<10))
		switch p := make([]byte, n); i % 5 {
		case 3:
			r.ok("write zeroes", r.ref.WriteZeroes(bg, off, n, engine.MayUnmap))
		case 4:
			r.ok("discard", r.ref.Discard(bg, off, n))
		default:
			pattern(p, off, uint64(i)+1)
			r.ok("write", r.ref.WriteAt(bg, p, off, 0))
		}
	}
}

// ask looks a range up and wants an answer that can be.
func (r *mapperRun) ask(op engine.Op, off, n int64) (engine.Mapping, bool) {
	r.Helper()
	m, ok := r.m.Map(op, off, n)
	switch {
	case !ok:
	case m.Len <= 0 || m.Len > n:
		r.Fatalf("Map(%s, %#x, %d) is %d bytes long", op, off, n, m.Len)
	case m.Kind == engine.MapZero && op == engine.OpWrite:
		r.Fatalf("Map(write, %#x, %d) leads to zeroes", off, n)
	case m.Kind == engine.MapData && r.child(m) == nil:
		r.Fatalf("Map(%s, %#x, %d) leads to child %d: there are %d", op, off, n, m.Child, len(r.m.Children()))
	}
	return m, ok
}

func (r *mapperRun) child(m engine.Mapping) *engine.Ref {
	list := r.m.Children()
	if int(m.Child) >= len(list) {
		return nil
	}
	return list[m.Child].Ref
}

// through reads what a mapping leads to.
func (r *mapperRun) through(m engine.Mapping) []byte {
	r.Helper()
	p := make([]byte, m.Len)
	if m.Kind == engine.MapZero {
		return p
	}
	c := r.child(m)
	if n := min(m.Len, c.Size()-m.Off); n > 0 {
		r.ok("read of the child", c.ReadAt(bg, p[:n], m.Off))
	}
	return p
}

func (r *mapperRun) read(off, n int64) []byte {
	r.Helper()
	p := make([]byte, n)
	r.ok("read", r.ref.ReadAt(bg, p, off))
	return p
}

// ranges calls f for ranges of all sizes, and at both ends.
func (r *mapperRun) ranges(f func(off, n int64)) {
	for range 300 {
		off := r.rng.Int64N(r.size)
		f(off, 1+r.rng.Int64N(r.size-off))
	}
	for _, c := range [][2]int64{{0, 1}, {0, r.size}, {r.size - 1, 1}, {r.size / 2, r.size - r.size/2}} {
		f(c[0], c[1])
	}
}

// agrees: whatever is answered for reading is what the blocking node reads, in every state of the node.
func (r *mapperRun) agrees() {
	data, zero := 0, 0
	for round := range 4 {
		r.ranges(func(off, n int64) {
			m, ok := r.ask(engine.OpRead, off, n)
			if !ok {
				return
			}
			if m.Kind == engine.MapZero {
				zero++
			} else {
				data++
			}
			if got, want := r.through(m), r.read(off, m.Len); !bytes.Equal(got, want) {
				r.Fatalf("Map(read, %#x, %d) = %+v: %s", off, n, m, differ(got, want, off))
			}
		})
		r.mix(20)
		if round == 2 && r.cfg.Disturb != nil {
			r.cfg.Disturb(r.TB, r.ref, 1)
		}
	}
	if data == 0 || zero == 0 {
		r.Fatalf("%d look-ups lead to data, %d to zeroes: the check has seen nothing", data, zero)
	}
}

// writes: what is written to the place that is answered for a write is what the node reads, there and nowhere else.
func (r *mapperRun) writes() {
	r.mix(30)
	want := r.read(0, r.size)
	mapped := 0
	r.ranges(func(off, n int64) {
		m, ok := r.ask(engine.OpWrite, off, min(n, 40<<10))
		if !ok {
			return
		}
		mapped++
		p := want[off : off+m.Len]
		pattern(p, off, uint64(mapped)+100)
		tok := r.ref.Domain().Enter()
		r.ok("write to the child", r.child(m).WriteAt(bg, p, m.Off, 0))
		r.ref.Domain().Exit(tok)
	})
	if got := r.read(0, r.size); !bytes.Equal(got, want) {
		r.Fatalf("after %d writes to children: %s", mapped, differ(got, want, 0))
	}
	if mapped == 0 && !r.cfg.SlowWrites {
		r.Fatal("no write is answered")
	}
}

// lengths: a run that is cut off by the question goes on when more is asked for, and one that ends by itself is followed by another kind
// of run or another place.
func (r *mapperRun) lengths() {
	if r.cfg.Misses {
		r.mix(30)
		r.ranges(func(off, n int64) { r.ask(engine.OpRead, off, n) })
		return
	}
	r.mix(30)
	for _, op := range []engine.Op{engine.OpRead, engine.OpWrite} {
		r.ranges(func(off, n int64) {
			m, ok := r.ask(op, off, n)
			if !ok {
				return
			}
			if k := 1 + r.rng.Int64N(m.Len); true {
				if part, ok := r.ask(op, off, k); !ok || part.Len != k || part.Off != m.Off || part.Kind != m.Kind || part.Child != m.Child {
					r.Fatalf("Map(%s, %#x, %d) = %+v, and %+v, %t for %d bytes", op, off, n, m, part, ok, k)
				}
			}
			end := off + m.Len
			if m.Len == n || (r.cfg.Cut > 0 && end%r.cfg.Cut == 0) {
				return
			}
			next, ok := r.ask(op, end, n-m.Len)
			switch {
			case !ok || next.Kind != m.Kind:
			case m.Kind == engine.MapZero, next.Child == m.Child && next.Off == m.Off+m.Len && next.NeedFlush == m.NeedFlush:
				r.Fatalf("Map(%s, %#x, %d) = %+v ends at %#x, where it goes on: %+v", op, off, n, m, end, next)
			}
		})
	}
}

// allocations: a look-up allocates nothing.
func (r *mapperRun) allocations() {
	r.mix(30)
	for _, op := range []engine.Op{engine.OpRead, engine.OpWrite} {
		off := int64(0)
		if k := testing.AllocsPerRun(1000, func() {
			r.m.Map(op, off, min(4096, r.size-off))
			if off += 4096; off >= r.size {
				off = 0
			}
		}); k > 0 {
			r.Errorf("%v allocations for a look-up (%s)", k, op)
		}
	}
}

// threads: look-ups from many goroutines beside writes. Each block holds one number over and over, and what a reader gets through a
// mapping is one of those that it may have.
func (r *mapperRun) threads() {
	const block = 4096
	blocks := r.size / block
	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	for w := range int64(2) {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 8))
			for i := range 300 {
				b := rng.Int64N(blocks)/2*2 + w
				if b >= blocks {
					continue
				}
				var err error
				switch i % 8 {
				case 6:
					err = r.ref.Discard(bg, b*block, block)
				case 7:
					err = r.ref.WriteZeroes(bg, b*block, block, engine.MayUnmap)
				default:
					err = r.ref.WriteAt(bg, bytes.Repeat([]byte{byte(b), byte(b >> 8), byte(1 + i), 1}, block/4), b*block, 0)
				}
				if err != nil {
					r.Errorf("writer: %v", err)
					return
				}
			}
		})
	}
	for k := range 3 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(k), 9))
			for !stop.Load() && !r.Failed() {
				r.readThrough(rng.Int64N(blocks), block)
			}
		})
	}
	if r.cfg.Disturb != nil {
		for i := range uint64(6) {
			r.cfg.Disturb(r.TB, r.ref, i)
		}
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	for b := range blocks {
		r.readThrough(b, block)
	}
}

// readThrough looks a block up and reads it as a Path would: inside a grace period.
func (r *mapperRun) readThrough(b, block int64) {
	tok := r.ref.Domain().Enter()
	defer r.ref.Domain().Exit(tok)
	m, ok := r.m.Map(engine.OpRead, b*block, block)
	if !ok || m.Kind == engine.MapZero {
		return
	}
	child := r.m.Children()[m.Child].Ref
	p := make([]byte, max(0, min(m.Len, child.Size()-m.Off))) // beyond the child's end are zeroes
	if len(p) == 0 {
		return
	}
	if err := child.ReadAt(bg, p, m.Off); err != nil {
		r.Errorf("reader: %v", err)
		return
	}
	for i := 0; i+4 <= len(p); i += 4 {
		if p[i+3] != 0 && (p[i] != byte(b) || p[i+1] != byte(b>>8)) {
			r.Errorf("block %d reads what belongs to block %d", b, int64(p[i])|int64(p[i+1])<<8)
			return
		}
	}
}

// grace: while somebody who looked before is still at it, a place that was mapped keeps its content, or what is written to its own range,
// and is not given to others.
func (r *mapperRun) grace() {
	const run = 64 << 10
	old := make([]byte, run)
	pattern(old, 0, 1)
	seen := 0
	for round := range 4 {
		r.ok("write", r.ref.WriteAt(bg, old, 0, 0))
		tok := r.ref.Domain().Enter()
		held := map[int64]engine.Mapping{}
		for off := int64(0); off < run; {
			m, ok := r.ask(engine.OpRead, off, run-off)
			if !ok || m.Kind == engine.MapZero {
				off += 512
				continue
			}
			held[off] = m
			off += m.Len
		}
		seen += len(held)
		r.ok("discard", r.ref.Discard(bg, 0, run))
		if round%2 == 1 {
			r.ok("write zeroes", r.ref.WriteZeroes(bg, 0, run, engine.MayUnmap))
		}
		if r.cfg.Disturb != nil {
			r.cfg.Disturb(r.TB, r.ref, uint64(round))
		}
		// Others want space.
		for i := range int64(6) {
			p := make([]byte, run)
			pattern(p, run, uint64(10*round)+uint64(i)+2)
			if off := run * (1 + (int64(round)*6+i)%(r.size/run-1)); off+run <= r.size {
				r.ok("write", r.ref.WriteAt(bg, p, off, 0))
			}
		}
		for off, m := range held {
			got, now := r.through(m), r.read(off, m.Len)
			for i, v := range got {
				if v != old[off+int64(i)] && v != now[i] {
					r.ref.Domain().Exit(tok)
					r.Fatalf("the place of %#x is in other hands while somebody reads there: %s", off, differ(got, old[off:], off))
				}
			}
		}
		r.ref.Domain().Exit(tok)
	}
	if seen == 0 {
		r.Fatal("nothing is mapped that was written")
	}
	r.ok("grace period", r.ref.Domain().Synchronize(bg))
}
