package enginetest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/blkbench/blkbench/engine"
)

// zeroes: a range reads as zeroes after WriteZeroes, whatever its alignment and flags, and the rest as before.
func (r *nodeRun) zeroes() {
	for i, flags := range []engine.WriteFlags{0, engine.MayUnmap, engine.FUA, engine.FUA | engine.MayUnmap} {
		r.fill(uint64(i) + 1)
		for _, c := range r.around()[i:] {
			r.ok("write zeroes", r.ref.WriteZeroes(bg, c[0], c[1], flags))
			clear(r.want[c[0] : c[0]+c[1]])
			r.check(c[0], c[1])
		}
		r.checkAll()
		r.write(4096, 4096, 0, 9)
		r.checkAll()
	}
}

// zeroesOnly: with NoFallback there are zeroes or ErrUnsupported, and the rest is as before.
func (r *nodeRun) zeroesOnly() {
	r.fill(1)
	cluster := int64(max(r.lim.ClusterSize, r.lim.ZeroAlign, r.lim.RequestAlign, 4096))
	for _, c := range [][2]int64{{0, cluster}, {cluster, 2 * cluster}, {1, 1}, {511, 4099}, {0, r.size()}} {
		c[1] = min(c[1], r.size()-c[0])
		if c[1] <= 0 {
			continue
		}
		err := r.ref.WriteZeroes(bg, c[0], c[1], engine.NoFallback|engine.MayUnmap)
		switch {
		case err == nil:
			clear(r.want[c[0] : c[0]+c[1]])
		case errors.Is(err, engine.ErrUnsupported):
			r.settle(c[0], make([]byte, c[1]))
		default:
			r.Fatalf("write zeroes without fallback at %#x+%d: %v", c[0], c[1], err)
		}
		r.checkAll()
	}
}

// discards: a discarded range reads as the extents say; what lies outside is as before.
func (r *nodeRun) discards() {
	r.fill(1)
	for _, c := range r.around() {
		r.ok("discard", r.ref.Discard(bg, c[0], c[1]))
		r.loose(c[0], c[1])
	}
	r.checkAll()
	r.scan()
	r.ok("discard of everything", r.ref.Discard(bg, 0, r.size()))
	r.loose(0, r.size())
	r.scan()
	r.fill(2)
	r.checkAll()
}

// loose wants from then on what a range reads as.
func (r *nodeRun) loose(off, n int64) {
	if !r.cfg.Forgets {
		r.ok("read", r.ref.ReadAt(bg, r.want[off:off+n], off))
	}
}

// extents: runs follow each other from the offset asked, at least one; dst is appended to; zeroes are zeroes, and data is where it is said
// to be; a part of the range is described as the whole is.
func (r *nodeRun) extents() {
	r.scan()
	if r.cfg.Writable {
		for i := range int64(8) {
			off := i * r.size() / 8
			r.write(off, min(r.size()/16+i, r.size()-off), 0, uint64(i)+1)
		}
		r.scan()
		r.ok("write zeroes", r.ref.WriteZeroes(bg, r.size()/4, r.size()/8, engine.MayUnmap))
		clear(r.want[r.size()/4 : r.size()/4+r.size()/8])
		r.ok("discard", r.ref.Discard(bg, r.size()/2, r.size()/8))
		r.loose(r.size()/2, r.size()/8)
	}
	whole := r.scan()
	at := func(off int64) engine.Extent {
		for _, e := range whole {
			if off < e.Off+e.Len {
				return e
			}
		}
		return engine.Extent{}
	}
	rng := rand.New(rand.NewPCG(2, 5))
	for range 50 {
		off := rng.Int64N(r.size())
		n := 1 + rng.Int64N(r.size()-off)
		mark := engine.Extent{Off: -7}
		out, err := r.ref.Extents(bg, off, n, []engine.Extent{mark})
		if r.ok("extents", err); out[0] != mark {
			r.Fatalf("extents at %#x+%d change what was in dst", off, n)
		}
		for _, e := range out[1:] {
			w := at(e.Off)
			if e.Flags != w.Flags || e.Depth != w.Depth || e.File != w.File ||
				(e.Flags&engine.ExtentOffset != 0 && e.Flags&engine.ExtentCompressed == 0 && e.HostOff-e.Off != w.HostOff-w.Off) {
				r.Fatalf("asked for %#x+%d: %+v, asked for all: %+v", off, n, e, w)
			}
		}
	}
}

// scan asks for the extents of the whole node, step by step, and compares them with its content.
func (r *nodeRun) scan() []engine.Extent {
	r.Helper()
	var all []engine.Extent
	for off := int64(0); off < r.size(); {
		out, err := r.ref.Extents(bg, off, r.size()-off, nil)
		r.ok("extents", err)
		for _, e := range out {
			if e.Off != off || e.Len <= 0 || e.Len > r.size()-off {
				r.Fatalf("extent %+v: want one from %#x on", e, off)
			}
			r.extentHolds(e)
			off += e.Len
		}
		all = append(all, out...)
	}
	return all
}

func (r *nodeRun) extentHolds(e engine.Extent) {
	r.Helper()
	p := make([]byte, e.Len)
	r.ok("read", r.ref.ReadAt(bg, p, e.Off))
	if e.Flags&engine.ExtentZero != 0 && !engine.IsZero(p) {
		r.Fatalf("extent %+v does not read as zeroes", e)
	}
	if e.Flags&(engine.ExtentData|engine.ExtentZero) == engine.ExtentData|engine.ExtentZero {
		r.Fatalf("extent %+v is data and zeroes", e)
	}
	if e.Flags&engine.ExtentOffset == 0 || e.Flags&engine.ExtentData == 0 || e.Flags&engine.ExtentCompressed != 0 || r.cfg.Transforms {
		return
	}
	file := e.File
	if file == nil {
		file = r.ref
	}
	q := make([]byte, e.Len)
	if n := min(e.Len, max(0, file.Size()-e.HostOff)); n > 0 {
		r.ok("read of the extent's file", file.ReadAt(bg, q[:n], e.HostOff))
	}
	if !bytes.Equal(p, q) {
		r.Fatalf("extent %+v: %s", e, differ(q, p, e.Off))
	}
}

// resizeTo changes the size where the node can; what is added must read as zeroes.
func (r *nodeRun) resizeTo(size int64, exact bool) {
	r.Helper()
	if r.cfg.ResizeUnit == 0 {
		return
	}
	r.ok("resize", r.ref.Resize(bg, size, engine.ResizeOptions{Exact: exact}))
	r.want = append(r.want[:min(size, r.size())], make([]byte, max(0, size-r.size()))...)
}

// resizing: content up to the smaller size stays, what is added is zeroes, also where data was before; impossible sizes are refused.
func (r *nodeRun) resizing() {
	if r.cfg.ResizeUnit == 0 || !r.cfg.Writable {
		r.fill(1)
		if err := r.ref.Resize(bg, r.size()/2, engine.ResizeOptions{Exact: true}); err == nil {
			r.Error("a node of a fixed size is resized")
		}
		r.checkAll()
		return
	}
	unit := r.cfg.ResizeUnit
	r.fill(1)
	old := r.size()
	for i, size := range []int64{old + unit, old / 2 / unit * unit, old / unit * unit, unit, 0, 3 * unit, old + 5*unit} {
		r.resizeTo(size, true)
		r.checkAll()
		if size > 1 {
			r.write(size/2, size-size/2, 0, uint64(i)+2)
			r.checkAll()
			r.scan()
		}
	}
	for _, size := range []int64{-1, -1 << 63, 1<<63 - 1} {
		r.refused("resize", r.ref.Resize(bg, size, engine.ResizeOptions{Exact: true}), engine.ErrRange)
	}
	r.checkAll()
}

// growth: a write past the end extends the node to its last byte, and what lies between reads as zeroes.
func (r *nodeRun) growth() {
	r.open(r.cfg.SizeUnit)
	r.fill(1)
	for i, c := range [][2]int64{{1000, 1}, {1001, 511}, {4096, 4096}, {100_000, 7}, {90_000, 20_000}, {300_001, 5000}} {
		r.write(c[0], c[1], engine.WriteFlags(i%2)*engine.FUA, uint64(i)+2)
		r.checkAll()
	}
	for i, c := range [][2]int64{{310_000, 10_001}, {400_000, 65536}, {500_000, 1}} {
		r.ok("write zeroes", r.ref.WriteZeroes(bg, c[0], c[1], engine.WriteFlags(i%2)*engine.MayUnmap))
		r.note(make([]byte, c[1]), c[0])
		r.checkAll()
	}
	r.scan()
}

// growthByMany: writers that extend the node at once lose nothing of one another.
func (r *nodeRun) growthByMany() {
	const writers, run = 8, 3001
	var wg sync.WaitGroup
	start := r.size()
	buf := make([]byte, writers*run)
	pattern(buf, start, 7)
	for i := range int64(writers) {
		wg.Go(func() {
			for at := i * run; at < (i+1)*run; at += 1000 {
				end := min(at+1000, (i+1)*run)
				if err := r.ref.WriteAt(bg, buf[at:end], start+at, 0); err != nil {
					r.Errorf("write: %v", err)
				}
			}
		})
	}
	wg.Wait()
	r.note(buf, start)
	r.checkAll()
}
