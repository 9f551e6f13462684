package mem

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
)

// chunkSize is the unit of allocation, in bytes.
const chunkSize = 64 << 10

// maxSize bounds the table of chunks: 1 PiB is 128 GiB of table at worst, taken only as far as it is used.
const maxSize = 1 << 50

// Options of the driver.
type Options struct {
	Size int64 `opt:"size" kind:"size" default:"64M" min:"0" max:"1P" help:"size of the target"`
}

// Driver is the entry for a registry.
func Driver() engine.Driver {
	d := engine.Driver{Name: "mem", Kind: engine.KindProtocol, Help: "data in memory, gone when it is closed"}
	return engine.Define(d, func(_ context.Context, r *engine.OpenRequest, o *Options) (engine.Node, error) {
		return New(o.Size, r.Flags.Write), nil
	}, func(context.Context, *engine.CreateRequest, *engine.NoOptions) error { return nil })
}

// Node is a target in memory.
//
// A chunk is published by an atomic pointer; its bytes are written under the chunk's stripe of locks, so that two requests for one sector
// leave one of the two contents.
type Node struct {
	write   bool
	size    atomic.Int64
	mu      sync.RWMutex // the table's shape: held for reading by data calls
	table   map[int64]*chunk
	stripes [64]sync.RWMutex
}

type chunk struct{ data [chunkSize]byte }

// New makes a target of a size in bytes.
func New(size int64, write bool) *Node {
	n := &Node{write: write, table: make(map[int64]*chunk)}
	n.size.Store(size)
	return n
}

// Info says what the target can do.
func (n *Node) Info() engine.Info {
	caps := engine.CapVolatile | engine.CapDiscard | engine.CapZero | engine.CapUnmapZero | engine.CapFUA
	if n.write {
		caps |= engine.CapWritable
	}
	return engine.Info{Driver: "mem", Filename: "mem://", Caps: caps, Limits: engine.Limits{}}
}

// Size is the size in bytes.
func (n *Node) Size() int64 { return n.size.Load() }

// each calls f for the part of every chunk in a range: its number, the offset in it, and how many bytes.
func each(off, length int64, f func(i, at, n int64)) {
	for length > 0 {
		i, at := off/chunkSize, off%chunkSize
		n := min(length, chunkSize-at)
		f(i, at, n)
		off, length = off+n, length-n
	}
}

func (n *Node) chunk(i int64) *chunk {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.table[i]
}

func (n *Node) makeChunk(i int64) *chunk {
	if c := n.chunk(i); c != nil {
		return c
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.table[i]
	if c == nil {
		c = new(chunk)
		n.table[i] = c
	}
	return c
}

func (n *Node) stripe(i int64) *sync.RWMutex { return &n.stripes[uint64(i)%uint64(len(n.stripes))] }

// ReadAt copies what is there; zeroes elsewhere.
func (n *Node) ReadAt(_ context.Context, p []byte, off int64) error {
	n.read(p, off)
	return nil
}

func (n *Node) read(p []byte, off int64) {
	each(off, int64(len(p)), func(i, at, k int64) {
		l := n.stripe(i)
		l.RLock()
		if c := n.chunk(i); c != nil {
			copy(p[:k], c.data[at:])
		} else {
			clear(p[:k])
		}
		l.RUnlock()
		p = p[k:]
	})
}

// WriteAt stores p.
func (n *Node) WriteAt(_ context.Context, p []byte, off int64, _ engine.WriteFlags) error {
	n.store(p, off)
	return nil
}

func (n *Node) store(p []byte, off int64) {
	each(off, int64(len(p)), func(i, at, k int64) {
		l := n.stripe(i)
		l.Lock()
		copy(n.makeChunk(i).data[at:], p[:k])
		l.Unlock()
		p = p[k:]
	})
}

// Discard gives whole chunks back and zeroes the rest.
func (n *Node) Discard(_ context.Context, off, length int64) error {
	n.zero(off, length)
	return nil
}

// WriteZeroes makes the range read as zeroes.
func (n *Node) WriteZeroes(_ context.Context, off, length int64, _ engine.WriteFlags) error {
	n.zero(off, length)
	return nil
}

// zero walks the chunks that exist where those are fewer than the range has.
func (n *Node) zero(off, length int64) {
	n.mu.RLock()
	few := int64(len(n.table)) < length/chunkSize
	var have []int64
	if few {
		for i := range n.table {
			have = append(have, i)
		}
	}
	n.mu.RUnlock()
	one := func(i, at, k int64) {
		l := n.stripe(i)
		l.Lock()
		defer l.Unlock()
		c := n.chunk(i)
		switch {
		case c == nil:
		case k == chunkSize:
			n.mu.Lock()
			delete(n.table, i)
			n.mu.Unlock()
		default:
			clear(c.data[at : at+k])
		}
	}
	if !few {
		each(off, length, one)
		return
	}
	for _, i := range have {
		from, to := max(off, i*chunkSize), min(off+length, (i+1)*chunkSize)
		if from < to {
			one(i, from-i*chunkSize, to-from)
		}
	}
}

// Flush has nothing to do.
func (n *Node) Flush(context.Context) error { return nil }

// Extents tells chunks that exist from those that do not.
func (n *Node) Extents(_ context.Context, off, length int64, dst []engine.Extent) ([]engine.Extent, error) {
	const most = 1024
	start := len(dst)
	n.mu.RLock()
	defer n.mu.RUnlock()
	if len(n.table) == 0 {
		return append(dst, engine.Extent{Off: off, Len: length, Flags: engine.ExtentAllocated | engine.ExtentZero}), nil
	}
	steps := 0
	for length > 0 && len(dst)-start < most && steps < 1<<16 {
		steps++
		k := min(length, chunkSize-off%chunkSize)
		flags := engine.ExtentAllocated | engine.ExtentZero
		if n.table[off/chunkSize] != nil {
			flags = engine.ExtentAllocated | engine.ExtentData
		}
		if last := len(dst) - 1; last >= start && dst[last].Flags == flags {
			dst[last].Len += k
		} else {
			dst = append(dst, engine.Extent{Off: off, Len: k, Flags: flags})
		}
		off, length = off+k, length-k
	}
	return dst, nil
}

// Resize changes the size; what lies beyond a smaller one is forgotten.
func (n *Node) Resize(_ context.Context, size int64, _ engine.ResizeOptions) error {
	if size > maxSize {
		return engine.Errf(engine.ErrRange, "size %d: want at most %d", size, int64(maxSize))
	}
	if old := n.size.Load(); size < old {
		n.zero(size, old-size)
	}
	n.size.Store(size)
	return nil
}

// Close forgets the data.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.table)
	return nil
}
