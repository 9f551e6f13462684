package enginetest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/blkbench/blkbench/engine"
)

// mutant is a disk with one fault: a member that is not nil takes the place of the method.
type mutant struct {
	*Disk
	info    func() engine.Info
	size    func() int64
	read    func(ctx context.Context, p []byte, off int64) error
	write   func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error
	zero    func(off, n int64, f engine.WriteFlags) error
	discard func(off, n int64) error
	resize  func(size int64) error
	extents func(off, n int64, dst []engine.Extent) []engine.Extent
	flush   func() error
	close   func() error
}

func (m *mutant) Info() engine.Info {
	if m.info != nil {
		return m.info()
	}
	return m.Disk.Info()
}

func (m *mutant) Size() int64 {
	if m.size != nil {
		return m.size()
	}
	return m.Disk.Size()
}

func (m *mutant) ReadAt(ctx context.Context, p []byte, off int64) error {
	if m.read != nil {
		return m.read(ctx, p, off)
	}
	return m.Disk.ReadAt(ctx, p, off)
}

func (m *mutant) WriteAt(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
	if m.write != nil {
		return m.write(ctx, p, off, f)
	}
	return m.Disk.WriteAt(ctx, p, off, f)
}

func (m *mutant) WriteZeroes(ctx context.Context, off, n int64, f engine.WriteFlags) error {
	if m.zero != nil {
		return m.zero(off, n, f)
	}
	return m.Disk.WriteZeroes(ctx, off, n, f)
}

func (m *mutant) Discard(ctx context.Context, off, n int64) error {
	if m.discard != nil {
		return m.discard(off, n)
	}
	return m.Disk.Discard(ctx, off, n)
}

func (m *mutant) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	if m.resize != nil {
		return m.resize(size)
	}
	return m.Disk.Resize(ctx, size, o)
}

func (m *mutant) Extents(ctx context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	if m.extents != nil {
		return m.extents(off, n, dst), nil
	}
	return m.Disk.Extents(ctx, off, n, dst)
}

func (m *mutant) Flush(ctx context.Context) error {
	if m.flush != nil {
		return m.flush()
	}
	return m.Disk.Flush(ctx)
}

func (m *mutant) Close() error {
	if m.close != nil {
		return m.close()
	}
	return m.Disk.Close()
}

// convicted runs one check over a subject with a fault, on a thread of its own, and wants it to fail. A check that hangs has failed as well.
func convicted[R any](t *testing.T, checks []check[R], sentence string, begin func(t testing.TB) R) {
	t.Helper()
	at := slices.IndexFunc(checks, func(c check[R]) bool { return c.sentence == sentence })
	if at < 0 {
		t.Fatalf("the suite has no check %q", sentence)
	}
	tr := &trial{TB: t}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- tr.run(func() error { checks[at].run(begin(tr)); return nil })
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Errorf("%q does not find it", sentence)
		} else {
			t.Log(err)
		}
	case <-time.After(time.Second):
		t.Log("hangs")
	}
}

// nodeMutants are faults, each with the sentence of the suite that must find it.
var nodeMutants = []struct {
	fault, sentence string
	growable        bool
	align           uint32
	mutate          func(m *mutant)
}{
	{fault: "reads one byte of the past", sentence: "reads at any alignment", mutate: func(m *mutant) {
		m.read = func(ctx context.Context, p []byte, off int64) error {
			err := m.Disk.ReadAt(ctx, p, off)
			if len(p) > 4096 {
				p[4096]++
			}
			return err
		}
	}},
	{fault: "reads beyond its buffer", sentence: "memory around buffers", mutate: func(m *mutant) {
		m.read = func(ctx context.Context, p []byte, off int64) error {
			err := m.Disk.ReadAt(ctx, p, off)
			if q := p[:cap(p)]; len(q) == len(p) {
				q = unsafeBeyond(p)
				q[len(p)] = 0
			}
			return err
		}
	}},
	{fault: "writes change their buffer", sentence: "memory around buffers", mutate: func(m *mutant) {
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			err := m.Disk.WriteAt(ctx, p, off, f)
			p[0] ^= 1
			return err
		}
	}},
	{fault: "writes keep their buffer", sentence: "memory around buffers", mutate: func(m *mutant) {
		var last []byte
		var at int64
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			last, at = p, off
			return m.Disk.WriteAt(ctx, p, off, f)
		}
		m.read = func(ctx context.Context, p []byte, off int64) error {
			if last != nil {
				m.Fill(last, at)
			}
			return m.Disk.ReadAt(ctx, p, off)
		}
	}},
	{fault: "loses the last byte of a write", sentence: "writes change what they name", mutate: func(m *mutant) {
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			if len(p) > 1 && len(p) < 4096 {
				p = p[:len(p)-1] // at least one is left
			}
			return m.Disk.WriteAt(ctx, p, off, f)
		}
	}},
	{fault: "touches the byte after a write", sentence: "writes change what they name", mutate: func(m *mutant) {
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			if off+int64(len(p)) < m.Size() {
				m.Fill([]byte{0}, off+int64(len(p)))
			}
			return m.Disk.WriteAt(ctx, p, off, f)
		}
	}},
	{fault: "takes no request of the largest size", sentence: "every aligned request", align: 512, mutate: func(m *mutant) {
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			if len(p) == 64<<10 {
				return errors.New("too long")
			}
			return m.Disk.WriteAt(ctx, p, off, f)
		}
	}},
	{fault: "the last byte can not be written", sentence: "both ends", mutate: func(m *mutant) {
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			if end := off + int64(len(p)); end == m.Size() && len(p) > 1 {
				p = p[:len(p)-1]
			}
			return m.Disk.WriteAt(ctx, p, off, f)
		}
	}},
	{fault: "reads on past its end", sentence: "outside is out of range", mutate: func(m *mutant) {
		m.size = func() int64 { return m.Disk.Size() + 4096 }
		m.read = func(_ context.Context, p []byte, _ int64) error { clear(p); return nil }
		m.write = func(context.Context, []byte, int64, engine.WriteFlags) error { return nil }
	}},
	{fault: "shows garbage beyond an unaligned end", sentence: "an unaligned end", align: 512, mutate: func(m *mutant) {
		m.read = func(ctx context.Context, p []byte, off int64) error {
			err := m.Disk.ReadAt(ctx, p, off)
			if beyond := off + int64(len(p)) - m.Size(); beyond > 0 {
				p[len(p)-1] = 1
			}
			return err
		}
	}},
	{fault: "grows by whole blocks", sentence: "writes past the end grow", growable: true, align: 512, mutate: func(m *mutant) {
		m.resize = func(int64) error { return nil }
	}},
	{fault: "does not clear what a growth skips", sentence: "writes past the end grow", growable: true, mutate: func(m *mutant) {
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			old := m.Size()
			err := m.Disk.WriteAt(ctx, p, off, f)
			if off > old {
				m.Fill([]byte{0xEE}, old)
			}
			return err
		}
	}},
	{fault: "loses growth beside growth", sentence: "growth by many", growable: true, mutate: func(m *mutant) {
		looked, wrote, grown := newRendezvous(), newRendezvous(), newRendezvous()
		var furthest atomic.Int64
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			end := off + int64(len(p))
			old := m.Size()
			for x := furthest.Load(); end > x && !furthest.CompareAndSwap(x, end); x = furthest.Load() {
			}
			looked.meet(8)
			last := furthest.Load()
			err := m.Disk.WriteAt(ctx, p, off, f)
			wrote.meet(8)
			if end < last {
				<-grown.all // the others cut off what the furthest has written
			}
			if end > old {
				_ = m.Disk.Resize(ctx, end, engine.ResizeOptions{})
			}
			if end == last {
				grown.meet(1)
			}
			return err
		}
	}},
	{fault: "says that data is zeroes", sentence: "extents agree with contents", mutate: func(m *mutant) {
		m.extents = func(off, n int64, dst []engine.Extent) []engine.Extent {
			return append(dst, engine.Extent{Off: off, Len: n, Flags: engine.ExtentZero})
		}
	}},
	{fault: "leaves a gap between extents", sentence: "extents agree with contents", mutate: func(m *mutant) {
		m.extents = func(off, n int64, dst []engine.Extent) []engine.Extent {
			return append(dst, engine.Extent{Off: off, Len: 1, Flags: engine.ExtentData}, engine.Extent{Off: off + 2, Len: n - 2, Flags: engine.ExtentData})
		}
	}},
	{fault: "names the wrong place", sentence: "extents agree with contents", mutate: func(m *mutant) {
		m.extents = func(off, n int64, dst []engine.Extent) []engine.Extent {
			return append(dst, engine.Extent{Off: off, Len: n, Flags: engine.ExtentData | engine.ExtentOffset, HostOff: off + 512})
		}
	}},
	{fault: "writes over dst", sentence: "extents agree with contents", mutate: func(m *mutant) {
		m.extents = func(off, n int64, dst []engine.Extent) []engine.Extent {
			if len(dst) > 0 {
				dst[0].Off++
			}
			return append(dst, engine.Extent{Off: off, Len: n, Flags: engine.ExtentData})
		}
	}},
	{fault: "tells of a part what it does not tell of the whole", sentence: "extents agree with contents", mutate: func(m *mutant) {
		m.extents = func(off, n int64, dst []engine.Extent) []engine.Extent {
			e := engine.Extent{Off: off, Len: n, Flags: engine.ExtentData}
			if off > 0 {
				e.Flags |= engine.ExtentAllocated
			}
			return append(dst, e)
		}
	}},
	{fault: "zeroes one byte less", sentence: "zeroes", mutate: func(m *mutant) {
		m.zero = func(off, n int64, f engine.WriteFlags) error {
			if n == 1 {
				return nil
			}
			return m.Disk.WriteZeroes(bg, off, n-1, f)
		}
	}},
	{fault: "zeroes one byte more", sentence: "zeroes", mutate: func(m *mutant) {
		m.zero = func(off, n int64, f engine.WriteFlags) error {
			return m.Disk.WriteZeroes(bg, off, min(n+1, m.Size()-off), f)
		}
	}},
	{fault: "zeroes nothing when it may not fall back", sentence: "zeroes without fallback", mutate: func(m *mutant) {
		m.zero = func(off, n int64, f engine.WriteFlags) error {
			if f&engine.NoFallback != 0 {
				return nil
			}
			return m.Disk.WriteZeroes(bg, off, n, f)
		}
	}},
	{fault: "discards the block after", sentence: "discards", mutate: func(m *mutant) {
		m.discard = func(off, n int64) error { return m.Disk.Discard(bg, off, min(n+4096, m.Size()-off)) }
	}},
	{fault: "has lost updates", sentence: "neighbours in one block", mutate: func(m *mutant) {
		together := newRendezvous()
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			start, end := off&^511, min((off+int64(len(p))+511)&^511, m.Size())
			b := make([]byte, end-start)
			if err := m.Disk.ReadAt(ctx, b, start); err != nil {
				return err
			}
			together.meet(4)
			copy(b[off-start:], p)
			return m.Disk.WriteAt(ctx, b, start, f)
		}
	}},
	{fault: "mixes up calls", sentence: "many at once", mutate: func(m *mutant) {
		var shared [1 << 17]byte
		together := newRendezvous()
		m.read = func(ctx context.Context, p []byte, off int64) error {
			if len(p) > len(shared) {
				return m.Disk.ReadAt(ctx, p, off)
			}
			err := m.Disk.ReadAt(ctx, shared[:len(p)], off)
			together.meet(2)
			copy(p, shared[:])
			return err
		}
	}},
	{fault: "info changes", sentence: "info makes sense and stays", mutate: func(m *mutant) {
		wrote := false
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			wrote = true
			return m.Disk.WriteAt(ctx, p, off, f)
		}
		m.info = func() engine.Info {
			i := m.Disk.Info()
			if wrote {
				i.Limits.OptTransfer = 4096
			}
			return i
		}
	}},
	{fault: "alignment is no power of two", sentence: "info makes sense and stays", mutate: func(m *mutant) {
		m.info = func() engine.Info {
			i := m.Disk.Info()
			i.Limits.MemAlign = 48
			return i
		}
	}},
	{fault: "is not of the size", sentence: "new nodes are zeroes", mutate: func(m *mutant) {
		m.size = func() int64 { return m.Disk.Size() - 1 }
	}},
	{fault: "starts with something", sentence: "new nodes are zeroes", mutate: func(m *mutant) { m.Fill([]byte{1}, 5000) }},
	{fault: "shows old data after growing again", sentence: "resizing", growable: true, mutate: func(m *mutant) {
		m.resize = func(size int64) error {
			err := m.Disk.Resize(bg, size, engine.ResizeOptions{})
			if size > 100 {
				m.Fill([]byte{1}, size-1)
			}
			return err
		}
	}},
	{fault: "panics far out", sentence: "huge offsets", growable: true, mutate: func(m *mutant) {
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			if off > 1<<40 {
				panic("far out")
			}
			return m.Disk.WriteAt(ctx, p, off, f)
		}
	}},
	{fault: "has its own word for a context that is over", sentence: "cancelled calls", mutate: func(m *mutant) {
		m.read = func(ctx context.Context, p []byte, off int64) error {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			return m.Disk.ReadAt(ctx, p, off)
		}
	}},
	{fault: "leaves garbage when it is cancelled", sentence: "cancelled calls", mutate: func(m *mutant) {
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			if err := ctx.Err(); err != nil {
				m.Fill([]byte{0x11, 0x22}, off)
				return err
			}
			return m.Disk.WriteAt(ctx, p, off, f)
		}
	}},
	{fault: "can not be closed", sentence: "closed", mutate: func(m *mutant) {
		m.close = func() error { return errors.New("no") }
	}},
	{fault: "refuses durable writes", sentence: "flags", mutate: func(m *mutant) {
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			if f&engine.FUA != 0 {
				return errors.New("no")
			}
			return m.Disk.WriteAt(ctx, p, off, f)
		}
	}},
	{fault: "a flush fails where it is for reading", sentence: "read only", mutate: func(m *mutant) {
		m.flush = func() error { return errors.New("no") }
	}},
	{fault: "forgets what came after the last flush but one", sentence: "what is flushed stays", mutate: func(m *mutant) {
		m.flush = func() error { m.Fill(make([]byte, 512), 0); return nil }
	}},
	{fault: "goes wrong after a while", sentence: "random histories", mutate: func(m *mutant) {
		var count atomic.Int64
		m.write = func(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
			if count.Add(1) > 20 {
				return nil
			}
			return m.Disk.WriteAt(ctx, p, off, f)
		}
	}},
}

func TestNodeSuiteFindsFaults(t *testing.T) {
	Long(t)
	for _, c := range nodeMutants {
		t.Run(c.fault, func(t *testing.T) {
			if raceEnabled && (c.sentence == "many at once" || c.sentence == "growth by many") {
				t.Skip("the fault is a race")
			}
			disk := DiskConfig{Discard: true, Zero: true, FUA: true, Growable: c.growable}
			if c.align > 0 {
				disk.Limits = engine.Limits{RequestAlign: c.align, MemAlign: 4, MaxTransfer: 64 << 10}
			}
			cfg := NodeConfig{Size: 256<<10 + 77, Writable: true, Growable: c.growable, Open: func(t testing.TB, size int64) *engine.Ref {
				disk.Size = size
				m := &mutant{Disk: NewDisk(t, disk)}
				c.mutate(m)
				return engine.NewRef(m, engine.OpenFlags{Write: true, Discard: true})
			}}
			if c.growable {
				cfg.ResizeUnit = 1
			}
			convicted(t, cfg.checks(), c.sentence, cfg.begin)
		})
	}
}

// rendezvous makes a fault that is a race happen: the first n callers wait for each other, later ones pass. The check that has to find the
// fault calls from n goroutines at least and waits for none of them, so that nobody waits in vain.
type rendezvous struct {
	inside atomic.Int64
	all    chan struct{}
}

func newRendezvous() *rendezvous { return &rendezvous{all: make(chan struct{})} }

func (r *rendezvous) meet(n int64) {
	if r.inside.Add(1) == n {
		close(r.all)
	}
	<-r.all
}

// unsafeBeyond is p and the byte after it.
func unsafeBeyond(p []byte) []byte { return unsafe.Slice(unsafe.SliceData(p), len(p)+1) }
