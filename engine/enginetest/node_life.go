package enginetest

import (
	"bytes"
	"math/rand/v2"
	"sync"

	"github.com/blkbench/blkbench/engine"
)

// calls are all ways to use a reference.
func calls(ref *engine.Ref) map[string]func() error {
	p := make([]byte, 512)
	return map[string]func() error{
		"read":         func() error { return ref.ReadAt(bg, p, 0) },
		"extents":      func() error { _, err := ref.Extents(bg, 0, 512, nil); return err },
		"write":        func() error { return ref.WriteAt(bg, p, 0, 0) },
		"write zeroes": func() error { return ref.WriteZeroes(bg, 0, 512, 0) },
		"discard":      func() error { return ref.Discard(bg, 0, 512) },
		"flush":        func() error { return ref.Flush(bg) },
	}
}

// closed: after the close every call says so; closing again is no error.
func (r *nodeRun) closed() {
	r.ok("close", r.ref.Close())
	for name, call := range calls(r.ref) {
		r.refused(name, call(), engine.ErrClosed)
	}
	if r.cfg.ResizeUnit > 0 {
		r.refused("resize", r.ref.Resize(bg, 0, engine.ResizeOptions{}), engine.ErrClosed)
	}
	r.ok("second close", r.ref.Close())
}

// clones: a node is open as long as one reference is.
func (r *nodeRun) clones() {
	r.fill(1)
	first := r.ref
	r.ref = first.Clone(first.Flags())
	r.ok("close", first.Close())
	r.refused("read", first.ReadAt(bg, make([]byte, 1), 0), engine.ErrClosed)
	r.checkAll()
	if r.cfg.Writable {
		r.fill(2)
		r.checkAll()
		r.ok("flush", r.ref.Flush(bg))
	}
}

// readOnly: writes are refused through a reference that is for reading, and by a node that was opened for it; flushing is no error.
func (r *nodeRun) readOnly() {
	r.fill(1)
	if r.cfg.Writable {
		r.ok("flush", r.ref.Flush(bg))
	}
	old := r.ref
	if r.cfg.ReadOnly != nil && r.cfg.Writable {
		r.ref = r.cfg.ReadOnly(r.TB, old)
		if r.ref.Info().Caps.Has(engine.CapWritable) {
			r.Error("opened for reading, and says CapWritable")
		}
	} else {
		r.ref = old.Clone(engine.OpenFlags{})
		r.ok("close", old.Close())
	}
	for name, call := range calls(r.ref) {
		switch err := call(); name {
		case "read", "extents", "flush":
			r.ok(name, err)
		default:
			r.refused(name, err, engine.ErrReadOnly)
		}
	}
	if r.cfg.ResizeUnit > 0 {
		r.refused("resize", r.ref.Resize(bg, 0, engine.ResizeOptions{}), engine.ErrReadOnly)
	}
	r.checkAll()
}

// durable: what was flushed, or written with FUA, is there when the node is opened again.
func (r *nodeRun) durable() {
	r.fill(1)
	r.ok("flush", r.ref.Flush(bg))
	r.write(5000, 3000, engine.FUA, 2)
	r.ok("write zeroes", r.ref.WriteZeroes(bg, 20000, 10000, engine.FUA|engine.MayUnmap))
	clear(r.want[20000:30000])
	if r.cfg.Reopen != nil {
		r.ref = r.cfg.Reopen(r.TB, r.ref)
		r.checkAll()
		r.write(r.size()/2, 1000, 0, 3)
		r.ref = r.cfg.Reopen(r.TB, r.ref) // a close is enough for everybody but a power cut
	}
	r.checkAll()
}

// manyAtOnce: calls from many goroutines, each in a range of its own, do not disturb one another.
func (r *nodeRun) manyAtOnce() {
	const workers = 6
	r.fill(1)
	part := r.size() / workers
	var wg sync.WaitGroup
	for w := range int64(workers) {
		wg.Go(func() {
			want := bytes.Clone(r.want[w*part : (w+1)*part])
			rng := rand.New(rand.NewPCG(uint64(w), 6))
			for i := range 60 {
				off := rng.Int64N(part)
				n := 1 + rng.Int64N(min(part-off, 40<<10))
				p := want[off : off+n]
				var err error
				switch rng.IntN(6) {
				case 0, 1:
					p = bytes.Clone(p)
					pattern(p, off, uint64(i)+2)
					if err = r.ref.WriteAt(bg, p, w*part+off, 0); !r.cfg.Forgets {
						copy(want[off:], p)
					}
				case 2:
					err = r.ref.WriteZeroes(bg, w*part+off, n, engine.MayUnmap)
					clear(p)
				case 3:
					if err = r.ref.Flush(bg); err == nil {
						_, err = r.ref.Extents(bg, w*part+off, n, nil)
					}
				default:
					got := make([]byte, n)
					if err = r.ref.ReadAt(bg, got, w*part+off); err == nil && !bytes.Equal(got, p) {
						r.Errorf("worker %d: %s", w, differ(got, p, w*part+off))
						return
					}
				}
				if err != nil {
					r.Errorf("worker %d: %v", w, err)
					return
				}
			}
			copy(r.want[w*part:], want)
		})
	}
	wg.Wait()
	r.checkAll()
}

// neighbours: writers of bytes that share blocks and clusters lose nothing of one another.
func (r *nodeRun) neighbours() {
	const writers, rounds = 4, 40
	span := min(r.size(), 256<<10)
	chunk := span / rounds
	var wg sync.WaitGroup
	buf := make([]byte, span)
	pattern(buf, 0, 3)
	for w := range int64(writers) {
		wg.Go(func() {
			for i := range int64(rounds) {
				from := i*chunk + w*chunk/writers
				to := i*chunk + (w+1)*chunk/writers
				if err := r.ref.WriteAt(bg, buf[from:to], from, 0); err != nil {
					r.Errorf("write: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	r.note(buf[:rounds*chunk], 0)
	r.checkAll()
}

// history: random histories, compared with a model.
func (r *nodeRun) history() {
	if r.cfg.Forgets {
		return
	}
	hc := HistoryConfig{Size: r.size(), Batches: 40, Depth: 6, MaxLen: 64 << 10, ResizeUnit: r.cfg.ResizeUnit, MaxSize: 2 * r.size()}
	for seed := range uint64(2) {
		r.open(r.cfg.Size)
		cfg := &ReplayConfig{HistoryConfig: hc}
		p := &replayer{g: &Graph{Root: r.ref}, cfg: cfg, model: newModel(r.want)}
		h := hc.Random(seed)
		err := p.batches(h, p.blockingBatch)
		if err == nil {
			err = p.whole(p.blockingBatch)
		}
		if err != nil {
			r.Fatalf("seed %d: %v", seed, err)
		}
		r.want = p.model.now
		r.scan()
	}
}
