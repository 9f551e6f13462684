package enginetest

import (
	"bytes"
	"errors"
	"math/rand/v2"

	"github.com/blkbench/blkbench/engine"
)

func isAny(err error, kinds ...error) bool {
	for _, k := range kinds {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// refused wants an error of a kind that names operation, driver and node.
func (r *nodeRun) refused(what string, err, kind error) {
	r.Helper()
	var e *engine.Error
	if !errors.Is(err, kind) || !errors.As(err, &e) || e.Op == "" || e.Driver != r.ref.Info().Driver {
		r.Errorf("%s: %v, want %v with operation and driver", what, err, kind)
	}
}

// outside: ranges that are not inside the node are refused, and change nothing.
func (r *nodeRun) outside() {
	r.fill(1)
	size := r.size()
	p := make([]byte, 4096)
	for _, off := range []int64{-1, -4096, -1 << 62, size - 4095, size, size + 1, size + 1<<30, 1<<63 - 1, 1<<63 - 4096} {
		r.refused("read", r.ref.ReadAt(bg, p, off), engine.ErrRange)
		_, err := r.ref.Extents(bg, off, 4096, nil)
		r.refused("extents", err, engine.ErrRange)
		if !r.cfg.Writable || (r.cfg.Growable && off > 0 && off < 1<<62) {
			continue
		}
		r.refused("write", r.ref.WriteAt(bg, p, off, 0), engine.ErrRange)
		r.refused("discard", r.ref.Discard(bg, off, 4096), engine.ErrRange)
		r.refused("write zeroes", r.ref.WriteZeroes(bg, off, 4096, 0), engine.ErrRange)
	}
	_, err := r.ref.Extents(bg, 0, -1, nil)
	r.refused("extents of a negative length", err, engine.ErrRange)
	r.checkAll()
}

// huge: an offset that no storage has is an error or works; it is never a panic, and leaves what is there.
func (r *nodeRun) huge() {
	if !r.cfg.Growable {
		r.refused("read", r.ref.ReadAt(bg, make([]byte, 1), 1<<62), engine.ErrRange)
		return
	}
	r.fill(1)
	for _, off := range []int64{1 << 62, 1<<63 - 1<<31, 1<<63 - 1<<30 - 4096} {
		err := r.ref.WriteAt(bg, make([]byte, 4096), off, 0)
		if err == nil {
			if r.ref.Size() != off+4096 {
				r.Fatalf("after a write at %#x the size is %d", off, r.ref.Size())
			}
			r.ok("resize", r.ref.Resize(bg, r.size(), engine.ResizeOptions{Exact: true}))
		}
		r.checkAll()
	}
}

// nothing: an empty range is no error wherever it is inside the node, and changes nothing.
func (r *nodeRun) nothing() {
	r.fill(1)
	for _, off := range []int64{0, 1, r.size() / 2, r.size()} {
		r.ok("read", r.ref.ReadAt(bg, nil, off))
		out, err := r.ref.Extents(bg, off, 0, nil)
		if r.ok("extents", err); len(out) != 0 {
			r.Errorf("extents of nothing: %+v", out)
		}
		if r.cfg.Writable {
			r.ok("write", r.ref.WriteAt(bg, nil, off, engine.FUA))
			r.ok("write zeroes", r.ref.WriteZeroes(bg, off, 0, engine.FUA|engine.MayUnmap))
			r.ok("discard", r.ref.Discard(bg, off, 0))
		}
	}
	r.checkAll()
}

// around are offsets and lengths at and beside the units that matter.
func (r *nodeRun) around() [][2]int64 {
	var out [][2]int64
	units := []int64{512, 4096, 65536, int64(r.lim.RequestAlign), int64(r.lim.ClusterSize), int64(r.lim.MaxTransfer)}
	for _, u := range units {
		if u <= 1 || u >= r.size()/2 {
			continue
		}
		for _, d := range []int64{-1, 0, 1} {
			for _, n := range []int64{1, 2, u - 1, u, u + 1, 2*u - 1} {
				out = append(out, [2]int64{u + d, max(1, min(n, r.size()-u-d))})
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 5))
	for range 40 {
		off := rng.Int64N(r.size())
		out = append(out, [2]int64{off, 1 + rng.Int64N(min(r.size()-off, 200<<10))})
	}
	return out
}

// readAnywhere: any offset, length and memory does.
func (r *nodeRun) readAnywhere() {
	r.fill(1)
	for i, c := range r.around() {
		g := newGuarded(int(c[1]), int(r.lim.MemAlign), i%3)
		r.ok("read", r.ref.ReadAt(bg, g.p, c[0]))
		r.compare(g.p, c[0])
	}
	r.checkAll()
}

// writeAnywhere: a write changes its range and nothing else, at any offset and length and from any memory.
func (r *nodeRun) writeAnywhere() {
	r.fill(1)
	for i, c := range r.around() {
		g := newGuarded(int(c[1]), int(r.lim.MemAlign), i%3)
		pattern(g.p, c[0], uint64(i)+2)
		r.ok("write", r.ref.WriteAt(bg, g.p, c[0], 0))
		r.note(g.p, c[0])
		r.check(c[0], c[1])
	}
	r.checkAll()
	// And over what was not written before.
	r.open(r.cfg.Size)
	for i, c := range r.around() {
		r.write(c[0], c[1], 0, uint64(i)+2)
	}
	r.checkAll()
}

// memoryAround: reads fill their buffer and nothing else; writes neither change nor keep it.
func (r *nodeRun) memoryAround() {
	r.fill(1)
	for _, n := range []int{1, 511, 512, 4096, 5000, 65536} {
		for _, skew := range []int{0, 1} {
			g := newGuarded(n, 4096, skew)
			r.ok("read", r.ref.ReadAt(bg, g.p, 4096))
			if !g.intact() {
				r.Fatalf("a read of %d bytes changes memory around its buffer", n)
			}
			if !r.cfg.Writable {
				continue
			}
			pattern(g.p, 4096, uint64(n))
			before := bytes.Clone(g.p)
			r.ok("write", r.ref.WriteAt(bg, g.p, 4096, 0))
			if !g.intact() || !bytes.Equal(g.p, before) {
				r.Fatalf("a write of %d bytes changes memory", n)
			}
			r.note(before, 4096)
			clear(g.p) // the caller's again
			r.check(4096, int64(n))
		}
	}
}

// aligned: the node takes every request that its limits allow, with memory that just fits.
func (r *nodeRun) aligned() {
	r.fill(1)
	align := int64(r.lim.RequestAlign)
	most := r.size() / align * align
	if r.lim.MaxTransfer != 0 {
		most = min(most, int64(r.lim.MaxTransfer)/align*align)
	}
	for i, c := range [][2]int64{{0, align}, {align, align}, {align, 3 * align}, {0, most}, {r.size()/align*align - most, most}} {
		off, n := c[0], c[1]
		if off+n > r.size() {
			continue
		}
		g := newGuarded(int(n), 4096, int(r.lim.MemAlign)%4096)
		pattern(g.p, off, uint64(i)+2)
		r.ok("write", blocking(r.ref, func(node engine.Node) error { return node.WriteAt(bg, g.p, off, 0) }))
		r.note(g.p, off)
		clear(g.p)
		r.ok("read", blocking(r.ref, func(node engine.Node) error { return node.ReadAt(bg, g.p, off) }))
		r.compare(g.p, off)
		if !g.intact() {
			r.Fatalf("memory around %d bytes at %#x is changed", n, off)
		}
	}
	r.checkAll()
}

// bothEnds: the first and the last byte, and all in one call.
func (r *nodeRun) bothEnds() {
	r.fill(1)
	size := r.size()
	for i, c := range [][2]int64{{0, 1}, {size - 1, 1}, {0, 2}, {size - 2, 2}, {size - 4097, 4097}, {0, size}} {
		if r.cfg.Writable {
			r.write(c[0], c[1], 0, uint64(i)+2)
		}
		r.check(c[0], c[1])
	}
	r.checkAll()
}

// unalignedEnd: nodes may end anywhere. The last block, read whole, is zeroes beyond the end; a write into it keeps the size.
func (r *nodeRun) unalignedEnd() {
	align := int64(r.lim.RequestAlign)
	for _, size := range []int64{1, 511, 513, 4095, 4097, 65536 + 1000, 128<<10 + 1} {
		r.open(size)
		r.fill(1)
		r.checkAll()
		last := (size - 1) / align * align
		block := newGuarded(int(align), int(r.lim.MemAlign), 0)
		r.ok("read", blocking(r.ref, func(n engine.Node) error { return n.ReadAt(bg, block.p, last) }))
		if r.compare(block.p[:size-last], last); !engine.IsZero(block.p[size-last:]) || !block.intact() {
			r.Fatalf("size %d: what lies beyond the end is not zeroes", size)
		}
		if !r.cfg.Writable {
			continue
		}
		tail := min(size, 700)
		r.write(size-tail, tail, 0, 2)
		r.write(size-1, 1, engine.FUA, 3)
		r.checkAll()
		r.ok("write zeroes", r.ref.WriteZeroes(bg, size/2, size-size/2, engine.MayUnmap))
		clear(r.want[size/2:])
		r.checkAll()
		r.ok("discard", r.ref.Discard(bg, 0, size))
		r.settle(0, make([]byte, size))
		r.checkAll()
		r.scan()
	}
}

// flags: all that a write may carry.
func (r *nodeRun) flags() {
	for i, f := range []engine.WriteFlags{engine.FUA, engine.FUA | engine.FlushMetadata, engine.FlushMetadata} {
		r.write(4096, 8192, f, uint64(i)+1)
		r.write(100, 700, f, uint64(i)+1)
		r.check(0, 16384)
	}
	cw, ok := r.ref.Node().(engine.CompressedWriter)
	n := int64(max(4096, r.lim.ClusterSize))
	p := bytes.Repeat([]byte("compressible "), int(n))[:n]
	if !ok {
		r.refused("compressed write", r.ref.WriteAt(bg, p, 0, engine.Compressed), engine.ErrUnsupported)
		r.checkAll()
		return
	}
	_ = cw
	err := r.ref.WriteAt(bg, p, 0, engine.Compressed)
	if err == nil {
		r.note(p, 0)
	} else if !errors.Is(err, engine.ErrUnsupported) {
		r.Errorf("compressed write: %v", err)
	}
	r.checkAll()
	r.write(n/2, 512, 0, 9)
	r.checkAll()
}
