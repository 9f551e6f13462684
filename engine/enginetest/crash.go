package enginetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// SectorSize is the unit in which a power cut tears writes, in bytes.
const SectorSize = 512

// Crash is a device whose power can be cut at any moment of its history: it records every write and flush. What a completed flush (or FUA)
// covers is there after the cut. Of every other write any subset of its sectors is, and of two writes to one sector either: not only a
// tail of the history is lost.
type Crash struct {
	mu   sync.Mutex
	now  []byte // what readers see
	base []byte // the content at the start
	log  []crashEvent
}

type crashEvent struct {
	off   int64
	data  []byte // a write; zeroes where it zeroed or discarded
	fua   bool
	flush bool
}

// maxCrash bounds the size of a crash device: its history is in memory.
const maxCrash = 1 << 30

// NewCrash makes a device with a content, which grows when it is written past its end.
func NewCrash(content []byte) *Crash {
	return &Crash{now: append([]byte(nil), content...), base: append([]byte(nil), content...)}
}

// Ref is a writable reference to the device.
func (c *Crash) Ref() *engine.Ref {
	return engine.NewRef((*crashNode)(c), engine.OpenFlags{Write: true, Discard: true})
}

// Cuts is how many moments there are: after so many events.
func (c *Crash) Cuts() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.log) + 1
}

func overlay(img []byte, off int64, data []byte) []byte {
	if end := off + int64(len(data)); end > int64(len(img)) {
		img = append(img, make([]byte, end-int64(len(img)))...)
	}
	copy(img[off:], data)
	return img
}

// EachCut goes through the moments in order. image makes what is on the device after a cut there; each seed loses other sectors. durable is
// what must be there whatever the seed: the content as of the last flush. Both are the caller's to keep.
func (c *Crash) EachCut(visit func(cut int, image func(seed uint64) []byte)) {
	c.mu.Lock()
	log := c.log
	durable := append([]byte(nil), c.base...)
	c.mu.Unlock()
	var pending []crashEvent
	for cut := 0; ; cut++ {
		visit(cut, func(seed uint64) []byte { return tear(durable, pending, seed) })
		if cut == len(log) {
			return
		}
		switch e := log[cut]; {
		case e.flush:
			for _, p := range pending {
				durable = overlay(durable, p.off, p.data)
			}
			pending = pending[:0]
		case e.fua:
			// Older writes below it that were never flushed may still arrive late, or not at all: only sectors of its own are safe.
			durable = overlay(durable, e.off, e.data)
			pending = without(pending, e.off, int64(len(e.data)))
		default:
			pending = append(pending, e)
		}
	}
}

// without takes a range out of pending writes: a durable write came after them.
func without(pending []crashEvent, off, n int64) []crashEvent {
	var out []crashEvent
	for _, p := range pending {
		end, stop := p.off+int64(len(p.data)), off+n
		if end <= off || stop <= p.off {
			out = append(out, p)
			continue
		}
		if p.off < off {
			out = append(out, crashEvent{off: p.off, data: p.data[:off-p.off]})
		}
		if end > stop {
			out = append(out, crashEvent{off: stop, data: p.data[stop-p.off:]})
		}
	}
	return out
}

// tear puts some of the pending writes over the durable content. Seeds 0 and 1 are the ends: nothing arrived, everything did.
func tear(durable []byte, pending []crashEvent, seed uint64) []byte {
	img := append([]byte(nil), durable...)
	rng := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	order := make([]int, len(pending))
	for i := range order {
		order[i] = i
	}
	keep := [...]float64{0.5, 0.9, 0.1, 0.99}[seed%4]
	switch seed {
	case 0:
		keep = 0
	case 1:
		keep = 1
	default:
		rng.Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
	}
	for _, i := range order {
		p := pending[i]
		whole := seed > 1 && rng.IntN(2) == 0 // some writes arrive or fail as one
		arrives := rng.Float64() < keep
		for at := int64(0); at < int64(len(p.data)); {
			n := min(SectorSize-(p.off+at)%SectorSize, int64(len(p.data))-at)
			if !whole {
				arrives = keep == 1 || rng.Float64() < keep
			}
			if arrives {
				img = overlay(img, p.off+at, p.data[at:at+n])
			}
			at += n
		}
	}
	return img
}

// EachCrash runs a history on a crash device and looks at what every cut could leave: seeds images a cut.
func EachCrash(t *testing.T, content []byte, seeds int, history func(t *testing.T, ref *engine.Ref), check func(t *testing.T, cut int, image []byte)) {
	t.Helper()
	c := NewCrash(content)
	ref := c.Ref()
	history(t, ref)
	if t.Failed() {
		return
	}
	c.EachCut(func(cut int, image func(uint64) []byte) {
		for seed := range uint64(seeds) {
			if t.Failed() {
				return
			}
			check(t, cut, image(seed))
			if t.Failed() {
				t.Logf("cut %d of %d, seed %d", cut, c.Cuts(), seed)
			}
		}
	})
}

// crashNode is the node's face of a Crash.
type crashNode Crash

func (n *crashNode) Info() engine.Info {
	return engine.Info{
		Driver: "crash", Filename: "crash",
		Caps: engine.CapWritable | engine.CapGrowable | engine.CapFUA | engine.CapDiscard | engine.CapZero | engine.CapUnmapZero,
	}
}

func (n *crashNode) Size() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return int64(len(n.now))
}

func (n *crashNode) ReadAt(_ context.Context, p []byte, off int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := 0
	if off < int64(len(n.now)) {
		k = copy(p, n.now[off:])
	}
	clear(p[k:])
	return nil
}

func (n *crashNode) WriteAt(_ context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	return n.write(crashEvent{off: off, data: append([]byte(nil), p...), fua: flags&engine.FUA != 0})
}

func (n *crashNode) write(e crashEvent) error {
	if e.off+int64(len(e.data)) > maxCrash {
		return engine.Errf(engine.ErrNoSpace, "a crash device holds at most %d bytes", maxCrash)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = overlay(n.now, e.off, e.data)
	n.log = append(n.log, e)
	return nil
}

func (n *crashNode) WriteZeroes(_ context.Context, off, length int64, flags engine.WriteFlags) error {
	if length > maxCrash {
		return engine.Errf(engine.ErrNoSpace, "a crash device holds at most %d bytes", maxCrash)
	}
	return n.write(crashEvent{off: off, data: make([]byte, length), fua: flags&engine.FUA != 0})
}

func (n *crashNode) Discard(ctx context.Context, off, length int64) error {
	return n.WriteZeroes(ctx, off, length, 0)
}

func (n *crashNode) Flush(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, crashEvent{flush: true})
	return nil
}

func (n *crashNode) Extents(_ context.Context, off, length int64, dst []engine.Extent) ([]engine.Extent, error) {
	return append(dst, engine.Extent{Off: off, Len: length, Flags: engine.ExtentData | engine.ExtentAllocated}), nil
}

func (n *crashNode) Resize(_ context.Context, size int64, _ engine.ResizeOptions) error {
	if size > maxCrash {
		return fmt.Errorf("size %d: %w", size, engine.ErrNoSpace)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if size < int64(len(n.now)) {
		n.now = n.now[:size]
		return nil
	}
	n.now = append(n.now, make([]byte, size-int64(len(n.now)))...)
	return nil
}

func (n *crashNode) Close() error { return nil }
