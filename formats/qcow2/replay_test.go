package qcow2

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// onDisk makes an image on a toy disk and opens it.
func onDisk(t testing.TB, p CreateParams, cfg Config, d enginetest.DiskConfig) (*enginetest.Disk, *engine.Ref) {
	t.Helper()
	d.Growable, d.Discard = true, true
	disk, file := d.Open(t)
	if err := Format(ctx, file, nil, p); err != nil {
		t.Fatal(err)
	}
	return disk, openOn(t, file, cfg)
}

func openOn(t testing.TB, file *engine.Ref, cfg Config) *engine.Ref {
	t.Helper()
	h, err := ReadHeader(ctx, file, false)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(ctx, Parts{Header: h, File: file, Write: true, Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	return engine.NewRef(m, engine.OpenFlags{Write: true, Discard: true})
}

// checkClean wants no finding of our own checker.
func checkClean(t testing.TB, r *engine.Ref) error {
	t.Helper()
	var lines []string
	res, err := r.Node().(engine.Checker).Check(ctx, engine.CheckOptions{Report: func(s string) { lines = append(lines, s) }})
	if err != nil {
		return err
	}
	if res.Corruptions+res.Leaks+res.CheckErrors > 0 {
		return fmt.Errorf("check: %+v\n%v", res, lines)
	}
	return nil
}

// TestReplay runs random histories by both planes, with snapshots made and deleted under traffic.
func TestReplay(t *testing.T) {
	runs := 25
	if testing.Short() {
		runs = 1
	}
	small := DefaultConfig()
	small.L2CacheBytes, small.RefcountCacheBytes = 0, 0
	small.PassDiscardRequest = true
	slow := DefaultConfig()
	slow.FastWrites = false
	scratchDir = t.TempDir()
	plain := enginetest.DiskConfig{}
	blocks := enginetest.DiskConfig{FUA: true, Limits: engine.Limits{RequestAlign: 512, MemAlign: 64, MaxTransfer: 16 << 10}}
	const size = 400<<10 + 512*3
	for _, c := range []struct {
		name   string
		change func(p *CreateParams)
		cfg    Config
		resize int64
		disk   enginetest.DiskConfig
	}{
		{"64k", func(*CreateParams) {}, DefaultConfig(), 0, plain},
		{"512", func(p *CreateParams) { p.ClusterSize = 512 }, small, 512, plain},
		{"4k", func(p *CreateParams) { p.ClusterSize = 4096 }, small, 4096, plain},
		{"4k slow writes", func(p *CreateParams) { p.ClusterSize = 4096 }, slow, 4096, plain},
		{"4k lazy", func(p *CreateParams) { p.ClusterSize, p.Lazy = 4096, true }, small, 4096, plain},
		{"v2 4k", func(p *CreateParams) { p.ClusterSize, p.Version = 4096, 2 }, DefaultConfig(), 0, plain},
		{"extended", func(p *CreateParams) { p.ClusterSize, p.ExtendedL2 = 16384, true }, small, 16384, plain},
		{"512k", func(p *CreateParams) { p.ClusterSize = 512 << 10 }, small, 0, plain},
		{"preallocated", func(p *CreateParams) { p.ClusterSize, p.Prealloc = 4096, engine.PreallocMetadata }, DefaultConfig(), 0, plain},
		{"4k over blocks", func(p *CreateParams) { p.ClusterSize = 4096 }, small, 4096, blocks},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := params(size)
			c.change(&p)
			var sum engine.PathStats
			hc := enginetest.HistoryConfig{Size: size, Batches: 25, Depth: 12, MaxLen: 96 << 10}
			if c.resize > 0 {
				hc.Size = size &^ (c.resize - 1)
				p.Size = hc.Size
				hc.ResizeUnit, hc.MaxSize = c.resize, size*2
			}
			enginetest.Replay(t, enginetest.ReplayConfig{
				HistoryConfig: hc,
				Build: func(t testing.TB, seed uint64) *enginetest.Graph {
					d := c.disk
					d.Queue = enginetest.QueueBehaviour{Shuffle: true, Short: 0.02, Seed: seed}
					disk, r := onDisk(t, p, c.cfg, d)
					m := r.Node().(*Image)
					t.Cleanup(func() { r.Close() })
					var mu sync.Mutex
					live := 0
					return &enginetest.Graph{
						Root: r,
						Disturb: func(seed uint64) {
							mu.Lock()
							defer mu.Unlock()
							switch {
							case seed%7 == 3 && p.Version > 2:
								// Writes go in place no more as long as a bitmap watches them.
								err := m.RemoveBitmap(ctx, "b")
								if errors.Is(err, engine.ErrNotFound) {
									err = m.AddBitmap(ctx, "b", 0, false)
								}
								if err != nil {
									t.Errorf("bitmap: %v", err)
								}
							case live < 3 && seed%2 == 0:
								if err := m.CreateSnapshot(ctx, engine.Snapshot{Name: "s", Icount: -1}); err != nil {
									t.Errorf("snapshot: %v", err)
								}
								live++
							case live > 0:
								if err := m.DeleteSnapshot(ctx, "s"); err != nil {
									t.Errorf("delete snapshot: %v", err)
								}
								live--
							}
						},
						After: func() error {
							if err := checkClean(t, r); err != nil {
								return err
							}
							if err := r.Close(); err != nil {
								return err
							}
							if seed%5 > 0 {
								return nil
							}
							return peerCheck(disk)
						},
					}
				},
				Seed: 1, Runs: runs,
				Polled: func(s engine.PathStats) {
					sum.Direct, sum.Pieces = sum.Direct+s.Direct, sum.Pieces+s.Pieces
					sum.Zeroed, sum.Slow = sum.Zeroed+s.Zeroed, sum.Slow+s.Slow
				},
			})
			t.Logf("ways taken: %+v", sum)
			if sum.Direct == 0 || sum.Zeroed == 0 || sum.Slow == 0 {
				t.Error("a way was not taken")
			}
		})
	}
}

// scratchDir is TestReplay's: its trials have no folders of their own.
var scratchDir string

// peerCheck lets qemu-img check what is on a toy disk, where it is installed.
func peerCheck(disk *enginetest.Disk) error {
	dir := filepath.Join(scratchDir, fmt.Sprintf("%p", disk))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "a.qcow2")
	if err := os.WriteFile(path, disk.Bytes(), 0o644); err != nil {
		return err
	}
	return imgCheck(path, false)
}
