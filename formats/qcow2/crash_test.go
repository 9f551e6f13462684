package qcow2

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// crasher drives an image through a random history.
type crasher struct {
	*enginetest.CrashRun
	rnd   *rand.Rand
	p     CreateParams
	next  int
	snaps []string
}

// history does things to the image and closes it.
func (c *crasher) history(steps int) {
	for range steps {
		c.step()
	}
	c.Do("close", true, nil, c.Root.Close)
}

func (c *crasher) step() {
	off := c.rnd.Int64N(c.Size()) &^ 511
	n := min(c.Size()-off, 512*(1+c.rnd.Int64N(60)))
	unit := c.p.ClusterSize
	switch k := c.rnd.IntN(24); {
	case k < 10:
		c.Write(off, n, engine.WriteFlags(c.rnd.IntN(6)/5)*engine.FUA)
	case k < 12:
		c.Zero(off, n, engine.WriteFlags(c.rnd.IntN(2))*engine.MayUnmap)
	case k < 14:
		c.Discard(off&^(unit-1), min(c.Size(), (off+n+unit-1)&^(unit-1))-off&^(unit-1))
	case k < 16:
		off &^= unit - 1
		c.Write(off, min(c.Size()-off, unit), engine.Compressed)
	case k < 19:
		c.Flush()
	default:
		c.verb(k)
	}
}

func (c *crasher) verb(k int) {
	m := c.Root.Node().(*Image)
	switch {
	case k < 20 && len(c.snaps) < 2:
		c.next++
		name := fmt.Sprint("s", c.next)
		c.snaps = append(c.snaps, name)
		c.Do("snapshot "+name, true, func(s *enginetest.CrashState) { s.Saved[name] = s.Sectors.Now() },
			func() error { return m.CreateSnapshot(ctx, engine.Snapshot{Name: name, Icount: -1}) })
	case k < 21 && len(c.snaps) > 0:
		name := c.snaps[0]
		c.snaps = c.snaps[1:]
		c.Do("delete "+name, true, func(s *enginetest.CrashState) { delete(s.Saved, name) },
			func() error { return m.DeleteSnapshot(ctx, name) })
	case k < 22 && c.p.Version > 2:
		c.Do("bitmap", false, nil, func() error {
			if err := m.RemoveBitmap(ctx, "b"); err != nil && !errors.Is(err, engine.ErrNotFound) {
				return err
			}
			return m.AddBitmap(ctx, "b", 0, c.rnd.IntN(2) == 0)
		})
	case k < 23:
		c.Do("reopen", true, nil, func() error {
			file := m.file.Clone(m.file.Flags())
			if err := c.Root.Close(); err != nil {
				return err
			}
			c.Root = openOn(c.TB, file, m.cfg)
			return nil
		})
	}
}

// crashTest is a history over an image of 256 KiB.
func crashTest(p CreateParams, cfg Config, history func(r *enginetest.CrashRun)) enginetest.CrashTest {
	images := 0
	return enginetest.CrashTest{
		Device: enginetest.DiskConfig{Growable: true, Discard: true},
		Open: func(t testing.TB, file *engine.Ref) *engine.Ref {
			if err := Format(ctx, file, nil, p); err != nil {
				t.Fatal(err)
			}
			return openOn(t, file, cfg)
		},
		History: history,
		Verify: func(t testing.TB, img enginetest.Image, s *enginetest.CrashState) error {
			images++
			return verifyCrash(t, img.Data, s, p.Version, images%40 == 0)
		},
		PerMoment: 3,
	}
}

// TestCrash cuts the power at every moment of random histories. What is left has leaks at the most (or the dirty bit), reads as what was
// flushed or written since, and is clean after the next writer has opened it.
func TestCrash(t *testing.T) {
	histories, steps := 4, 40
	if testing.Short() {
		histories, steps = 1, 8
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
				cuts += enginetest.EachCrash(t, crashTest(p, c.cfg, func(r *enginetest.CrashRun) {
					(&crasher{CrashRun: r, rnd: rand.New(rand.NewPCG(uint64(h), uint64(p.ClusterSize))), p: p}).history(steps)
				}))
			}
		})
	}
	t.Logf("%d images", cuts)
}

// TestCrashOfFastWrites: durable writes by a Path are durable when they complete, whichever way they took: over mappings that were
// not on the disk yet, too.
func TestCrashOfFastWrites(t *testing.T) {
	p, steps := params(256<<10), 60
	if p.ClusterSize = 4096; testing.Short() {
		steps = 15
	}
	for name, fua := range map[string]bool{"with FUA": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			arena, err := dma.New(dma.Config{Size: 64 << 10, NoHuge: true})
			if err != nil {
				t.Fatal(err)
			}
			defer arena.Close()
			buf, err := arena.Alloc(64 << 10)
			if err != nil {
				t.Fatal(err)
			}
			var direct uint64
			c := crashTest(p, DefaultConfig(), func(r *enginetest.CrashRun) {
				path, err := engine.OpenPath(ctx, r.Root, engine.PathConfig{Poller: engine.NewPoller(), Depth: 1, Arenas: []*dma.Arena{arena}})
				if err != nil {
					r.Fatal(err)
				}
				r.Through = func(_ context.Context, b []byte, off int64, flags engine.WriteFlags) error {
					copy(dma.Bytes(buf, len(b)), b)
					q := &engine.Request{Op: engine.OpWrite, Off: off, Len: uint32(len(b)), Buf: buf, Flags: flags}
					path.Submit([]*engine.Request{q})
					if err := path.Drain(); err != nil {
						return err
					}
					return q.Err()
				}
				rnd := rand.New(rand.NewPCG(3, 4))
				for range steps {
					off := rnd.Int64N(r.Size()/4) &^ 511 // a part, so that most of it is mapped soon
					r.Write(off, min(r.Size()-off, 512*(1+rnd.Int64N(16))), engine.WriteFlags(rnd.IntN(2))*engine.FUA)
					if rnd.IntN(8) == 0 {
						r.Flush()
					}
				}
				s := path.Stats()
				direct = s.Direct + s.Pieces
				r.Do("close", true, nil, func() error { return errors.Join(path.Close(), r.Root.Close()) })
			})
			c.Device.FUA = fua
			enginetest.EachCrash(t, c)
			if direct == 0 {
				t.Error("no write went in place")
			}
		})
	}
}

// verifyCrash opens what a power cut has left.
func verifyCrash(t testing.TB, img []byte, s *enginetest.CrashState, version int, peer bool) error {
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
		return s.Sectors.Verify(b)
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
	for name, want := range s.Saved {
		err := m.ApplySnapshot(ctx, name)
		if name == s.Going && errors.Is(err, engine.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("snapshot %s: %w", name, err)
		}
		b := make([]byte, r.Size())
		if err := r.ReadAt(ctx, b, 0); err != nil {
			return err
		}
		if err := want.Verify(b); err != nil {
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
		if !strings.Contains(l, "OFLAG_COPIED") && !strings.HasPrefix(l, "Leaked") {
			return false
		}
	}
	return version < 3
}
