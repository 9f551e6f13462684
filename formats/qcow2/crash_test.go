package qcow2

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// logged is one thing that happened to a file.
type logged struct {
	off   int64
	data  []byte // nil: a flush, or a change of size
	flush bool
	size  int64 // of a change of size; -1 otherwise
}

// logNode is a file in memory that remembers everything that was done to it.
type logNode struct {
	data []byte
	log  []logged
}

func (n *logNode) Info() engine.Info {
	return engine.Info{Driver: "log", Caps: engine.CapWritable | engine.CapGrowable | engine.CapDiscard}
}
func (n *logNode) Size() int64 { return int64(len(n.data)) }

func (n *logNode) ReadAt(_ context.Context, p []byte, off int64) error {
	clear(p[copy(p, n.data[min(off, n.Size()):]):])
	return nil
}

func (n *logNode) WriteAt(_ context.Context, p []byte, off int64, _ engine.WriteFlags) error {
	n.log = append(n.log, logged{off: off, data: bytes.Clone(p), size: -1})
	n.data = place(n.data, off, p)
	return nil
}

func place(b []byte, off int64, p []byte) []byte {
	if end := off + int64(len(p)); end > int64(len(b)) {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[off:], p)
	return b
}

func (n *logNode) Flush(context.Context) error {
	n.log = append(n.log, logged{flush: true, size: -1})
	return nil
}

func (n *logNode) Discard(ctx context.Context, off, length int64) error {
	return n.WriteAt(ctx, make([]byte, min(length, n.Size()-off)), off, 0)
}

func (n *logNode) Resize(_ context.Context, size int64, _ engine.ResizeOptions) error {
	n.log = append(n.log, logged{size: size})
	n.data = resized(n.data, size)
	return nil
}

func resized(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func (n *logNode) Extents(_ context.Context, off, length int64, dst []engine.Extent) ([]engine.Extent, error) {
	return append(dst, engine.Extent{Off: off, Len: length, Flags: engine.ExtentData}), nil
}
func (n *logNode) Close() error { return nil }

// sectors is what each guest sector may contain: the numbers of writes, the last being the present. 0 is zeroes.
type sectors [][]uint64

func (s sectors) change(from, to int64, id uint64) {
	for i := from; i < to; i++ {
		s[i] = append(s[i], id)
	}
}

func (s sectors) settle() {
	for i := range s {
		s[i] = s[i][len(s[i])-1:]
	}
}

func sectorData(id uint64, sector int64) []byte {
	b := make([]byte, 512)
	if id == 0 {
		return b
	}
	for i := 0; i < 512; i += 16 {
		binary.LittleEndian.PutUint64(b[i:], id)
		binary.LittleEndian.PutUint64(b[i+8:], uint64(sector))
	}
	return b
}

// verify wants every sector to be one of what it may be, whole.
func (s sectors) verify(content []byte) error {
	for i := range s {
		got := content[512*i : 512*i+512]
		id := binary.LittleEndian.Uint64(got)
		if !slices.Contains(s[i], id) || !bytes.Equal(got, sectorData(id, int64(i))) {
			return fmt.Errorf("sector %d has write %d (%x…), want one of %v", i, id, got[:24], s[i])
		}
	}
	return nil
}

// crashOp is what the guest or the control plane did, and which part of the log it made.
type crashOp struct {
	name     string
	from, to int // of the log
	change   func(s sectors) sectors
	durable  bool // all is durable when it has returned
	snap     string
	drop     string
}

// crashRun drives an image and notes what it did.
type crashRun struct {
	t    testing.TB
	rnd  *rand.Rand
	node *logNode
	r    *engine.Ref
	size int64
	unit int64
	ops  []crashOp
	next uint64
	snap []string
}

func (c *crashRun) do(op crashOp, f func() error) {
	c.t.Helper()
	op.from = len(c.node.log)
	if err := f(); err != nil {
		c.t.Fatalf("%s: %v", op.name, err)
	}
	op.to = len(c.node.log)
	c.ops = append(c.ops, op)
}

func (c *crashRun) step(bitmaps bool) {
	m := c.r.Node().(*Image)
	n := c.size / 512
	from := c.rnd.Int64N(n)
	to := min(n, from+1+c.rnd.Int64N(60))
	c.next++
	id := c.next
	write := func(s sectors) sectors { s.change(from, to, id); return s }
	zero := func(s sectors) sectors { s.change(from, to, 0); return s }
	payload := func() []byte {
		var b []byte
		for i := from; i < to; i++ {
			b = append(b, sectorData(id, i)...)
		}
		return b
	}
	switch k := c.rnd.IntN(24); {
	case k < 10:
		c.do(crashOp{name: "write", change: write}, func() error { return c.r.WriteAt(ctx, payload(), from*512, 0) })
	case k < 12:
		c.do(crashOp{name: "zero", change: zero}, func() error {
			return c.r.WriteZeroes(ctx, from*512, (to-from)*512, engine.WriteFlags(c.rnd.IntN(2))*engine.MayUnmap)
		})
	case k < 14:
		from, to = from&^(c.unit/512-1), min(n, (to+c.unit/512-1)&^(c.unit/512-1))
		c.do(crashOp{name: "discard", change: zero}, func() error { return c.r.Discard(ctx, from*512, (to-from)*512) })
	case k < 16:
		from &^= c.unit/512 - 1
		to = min(n, from+c.unit/512)
		c.do(crashOp{name: "compressed", change: write}, func() error { return c.r.WriteAt(ctx, payload(), from*512, engine.Compressed) })
	case k < 19:
		c.do(crashOp{name: "flush", durable: true}, func() error { return c.r.Flush(ctx) })
	case k < 20 && len(c.snap) < 2:
		name := fmt.Sprint("s", c.next)
		c.do(crashOp{name: "snapshot " + name, durable: true, snap: name}, func() error {
			return m.CreateSnapshot(ctx, engine.Snapshot{Name: name, Icount: -1})
		})
		c.snap = append(c.snap, name)
	case k < 21 && len(c.snap) > 0:
		name := c.snap[0]
		c.snap = c.snap[1:]
		c.do(crashOp{name: "delete " + name, durable: true, drop: name}, func() error { return m.DeleteSnapshot(ctx, name) })
	case k < 22 && bitmaps:
		c.do(crashOp{name: "bitmap"}, func() error {
			if err := m.RemoveBitmap(ctx, "b"); err != nil && !errors.Is(err, engine.ErrNotFound) {
				return err
			}
			return m.AddBitmap(ctx, "b", 0, c.rnd.IntN(2) == 0)
		})
	case k < 23:
		c.do(crashOp{name: "reopen", durable: true}, func() error {
			file := engine.NewRef(c.node, engine.OpenFlags{Write: true, Discard: true})
			if err := c.r.Close(); err != nil {
				return err
			}
			cfg := c.r.Node().(*Image).cfg
			c.r = openOn(c.t, file, cfg)
			return nil
		})
	}
}

// TestCrash cuts the power at every moment of random histories. What is left has leaks at the most (or the dirty bit), reads as what was
// flushed or written since, and is clean after the next writer has opened it.
func TestCrash(t *testing.T) {
	histories, perCut := 6, 2
	if testing.Short() {
		histories, perCut = 1, 1
	}
	small := DefaultConfig()
	small.L2CacheBytes, small.RefcountCacheBytes = 0, 0
	small.PassDiscardRequest = true
	cuts := 0
	for _, c := range []struct {
		name   string
		change func(p *CreateParams)
		cfg    Config
	}{
		{"512", func(p *CreateParams) { p.ClusterSize = 512 }, DefaultConfig()},
		{"512 small cache", func(p *CreateParams) { p.ClusterSize = 512 }, small},
		{"4k", func(p *CreateParams) { p.ClusterSize = 4096 }, small},
		{"4k lazy", func(p *CreateParams) { p.ClusterSize, p.Lazy = 4096, true }, small},
		{"v2 1k", func(p *CreateParams) { p.ClusterSize, p.Version = 1024, 2 }, small},
		{"16k extended", func(p *CreateParams) { p.ClusterSize, p.ExtendedL2 = 16384, true }, small},
		{"4k 64 bits zstd", func(p *CreateParams) { p.ClusterSize, p.RefcountBits, p.Zstd = 4096, 64, true }, DefaultConfig()},
	} {
		t.Run(c.name, func(t *testing.T) {
			for h := range histories {
				p := params(256 << 10)
				c.change(&p)
				node := &logNode{}
				file := engine.NewRef(node, engine.OpenFlags{Write: true, Discard: true})
				if err := Format(ctx, file, nil, p); err != nil {
					t.Fatal(err)
				}
				base := bytes.Clone(node.data)
				node.log = nil
				run := &crashRun{
					t: t, rnd: rand.New(rand.NewPCG(uint64(h), uint64(p.ClusterSize))), node: node, r: openOn(t, file, c.cfg),
					size: p.Size, unit: p.ClusterSize,
				}
				for range 45 {
					run.step(p.Version > 2)
				}
				run.do(crashOp{name: "close", durable: true}, run.r.Close)
				cuts += cutEverywhere(t, run, base, p, perCut)
			}
		})
	}
	t.Logf("%d cuts", cuts)
}

// cutEverywhere reconstructs the file after each entry of the log, with what was not flushed there in part.
func cutEverywhere(t *testing.T, run *crashRun, base []byte, p CreateParams, perCut int) int {
	durable := base
	now := make(sectors, p.Size/512)
	for i := range now {
		now[i] = []uint64{0}
	}
	snaps := map[string][][]uint64{}
	var pending []logged
	op, count := 0, 0
	rnd := rand.New(rand.NewPCG(1, 2))
	for k := 0; k <= len(run.node.log); k++ {
		// Operations that have returned before this moment.
		for ; op < len(run.ops) && run.ops[op].to <= k; op++ {
			o := &run.ops[op]
			if o.change != nil {
				now = o.change(now)
			}
			if o.durable {
				now.settle()
			}
			if o.snap != "" {
				snaps[o.snap] = slices.Clone(now)
			}
			delete(snaps, o.drop)
		}
		may := now
		gone := ""
		if op < len(run.ops) && run.ops[op].from < k {
			gone = run.ops[op].drop
			if run.ops[op].change != nil {
				may = make(sectors, len(now))
				for i := range now {
					may[i] = slices.Clone(now[i])
				}
				may = run.ops[op].change(may)
			}
		}
		for range perCut {
			img := survivors(durable, pending, rnd)
			count++
			if err := verifyCrash(t, img, may, snaps, gone, p.Version, count%40 == 0); err != nil {
				name := "the end"
				if op < len(run.ops) {
					name = run.ops[op].name
				}
				path := filepath.Join(os.TempDir(), "crash.qcow2")
				_ = os.WriteFile(path, img, 0o644)
				t.Fatalf("cut %d, in or before %s (log %d..%d of %d): %v\nimage in %s", k, name, run.ops[min(op, len(run.ops)-1)].from,
					run.ops[min(op, len(run.ops)-1)].to, len(run.node.log), err, path)
			}
		}
		if k == len(run.node.log) {
			break
		}
		if e := run.node.log[k]; e.flush {
			for _, w := range pending {
				durable = w.apply(durable)
			}
			durable, pending = bytes.Clone(durable), nil
		} else {
			pending = append(pending, e)
		}
	}
	return count
}

func (e *logged) apply(b []byte) []byte {
	if e.size >= 0 {
		return resized(b, e.size)
	}
	return place(b, e.off, e.data)
}

// survivors is what the disk has: of each write that was not flushed all sectors, some, or none.
func survivors(durable []byte, pending []logged, rnd *rand.Rand) []byte {
	img := bytes.Clone(durable)
	mood := rnd.IntN(3)
	for _, w := range pending {
		whole := rnd.IntN(4)
		if w.size >= 0 {
			if whole > 0 {
				img = w.apply(img)
			}
			continue
		}
		for at := int64(0); at < int64(len(w.data)); {
			n := min(512-(w.off+at)%512, int64(len(w.data))-at)
			if whole == 0 && rnd.IntN(3) != mood || whole == 1 {
				img = place(img, w.off+at, w.data[at:at+n])
			}
			at += n
		}
	}
	return img
}

// verifyCrash opens what a power cut has left.
func verifyCrash(t testing.TB, img []byte, may sectors, snaps map[string][][]uint64, gone string, version int, peer bool) error {
	disk := enginetest.NewDisk(t, enginetest.DiskConfig{Growable: true, Discard: true, Size: int64(len(img))})
	disk.Fill(img, 0)
	open := func(write, check bool) (*engine.Ref, *Image, error) {
		file := engine.NewRef(disk, engine.OpenFlags{Write: write, Discard: true})
		h, err := ReadHeader(ctx, file, false)
		if err != nil {
			return nil, nil, err
		}
		// The disk outlives the image.
		m, err := New(ctx, Parts{Header: h, File: file.Clone(file.Flags()), Write: write, Check: check, Config: DefaultConfig()})
		if err != nil {
			return nil, nil, err
		}
		return engine.NewRef(m, engine.OpenFlags{Write: write}), m, nil
	}
	content := func(r *engine.Ref) error {
		b := make([]byte, r.Size())
		if err := r.ReadAt(ctx, b, 0); err != nil {
			return err
		}
		return may.verify(b)
	}
	r, m, err := open(false, false)
	if err != nil {
		return fmt.Errorf("open for reading: %w", err)
	}
	dirty := m.hdr.Incompatible&IncompatDirty != 0
	var lines []string
	res, err := m.Check(ctx, engine.CheckOptions{Report: func(s string) { lines = append(lines, s) }})
	switch {
	case err != nil:
		return err
	case res.CheckErrors > 0, res.Corruptions > 0 && !dirty && !onlyFlags(version, lines):
		return fmt.Errorf("check %+v dirty %t: %v", res, dirty, lines)
	}
	if err := content(r); err != nil {
		return fmt.Errorf("for reading: %w", err)
	}
	if err := r.Close(); err != nil {
		return err
	}
	if peer && !dirty && res.Corruptions == 0 {
		path := filepath.Join(t.TempDir(), "crash.qcow2")
		if err := os.WriteFile(path, img, 0o644); err != nil {
			return err
		}
		if err := imgCheck(path, true); err != nil {
			return err
		}
		os.Remove(path)
	}
	// The next writer.
	r, m, err = open(true, true)
	if err != nil {
		return fmt.Errorf("open for checking: %w", err)
	}
	if _, err := m.Check(ctx, engine.CheckOptions{FixErrors: true, FixLeaks: true}); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	if err := checkClean(t, r); err != nil {
		return fmt.Errorf("after repair: %w", err)
	}
	if err := content(r); err != nil {
		return fmt.Errorf("after repair: %w", err)
	}
	for name, want := range snaps {
		err := m.ApplySnapshot(ctx, name)
		if name == gone && errors.Is(err, engine.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("snapshot %s: %w", name, err)
		}
		b := make([]byte, r.Size())
		if err := r.ReadAt(ctx, b, 0); err != nil {
			return err
		}
		if err := sectors(want).verify(b); err != nil {
			return fmt.Errorf("snapshot %s: %w", name, err)
		}
	}
	if err := r.Close(); err != nil {
		return err
	}
	r, _, err = open(false, false)
	if err != nil {
		return err
	}
	defer r.Close()
	return checkClean(t, r)
}

// onlyFlags: version 2 has no dirty bit, so that a snapshot that was cut short can leave copied flags behind the refcounts.
func onlyFlags(version int, lines []string) bool {
	for _, l := range lines {
		if !bytes.Contains([]byte(l), []byte("OFLAG_COPIED")) && !bytes.HasPrefix([]byte(l), []byte("Leaked")) {
			return false
		}
	}
	return version < 3
}
