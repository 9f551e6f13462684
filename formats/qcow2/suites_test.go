package qcow2

import (
	"errors"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// setup is a way to make and to open images.
type setup struct {
	change func(p *CreateParams)
	cfg    func(c *Config)
	disk   enginetest.DiskConfig
}

func setups() map[string]setup {
	thrifty := func(c *Config) { c.L2CacheBytes, c.RefcountCacheBytes, c.PassDiscardRequest = 0, 0, true }
	blocks := enginetest.DiskConfig{Limits: engine.Limits{RequestAlign: 512, MemAlign: 64, MaxTransfer: 64 << 10, DiscardAlign: 4096}}
	return map[string]setup{
		"64k":              {},
		"512 small caches": {change: func(p *CreateParams) { p.ClusterSize = 512 }, cfg: thrifty},
		"4k over blocks":   {change: func(p *CreateParams) { p.ClusterSize = 4096 }, disk: blocks},
		"extended":         {change: func(p *CreateParams) { p.ClusterSize, p.ExtendedL2 = 16384, true }, disk: enginetest.DiskConfig{FUA: true}},
		"slow writes":      {cfg: func(c *Config) { c.FastWrites = false }},
		"preallocated":     {change: func(p *CreateParams) { p.ClusterSize, p.Prealloc = 4096, engine.PreallocMetadata }},
		"v2":               {change: func(p *CreateParams) { p.Version = 2 }},
	}
}

// open makes an image on a disk of its own.
func (v setup) open(q enginetest.QueueBehaviour) func(t testing.TB, size int64) *engine.Ref {
	return func(t testing.TB, size int64) *engine.Ref {
		t.Helper()
		d := v.disk
		d.Growable, d.Discard, d.Queue = true, true, q
		_, file := d.Open(t)
		p, cfg := params(size), DefaultConfig()
		if v.change != nil {
			v.change(&p)
		}
		if v.cfg != nil {
			v.cfg(&cfg)
		}
		if err := Format(ctx, file, nil, p); err != nil {
			t.Fatal(err)
		}
		return openOn(t, file, cfg)
	}
}

// again closes an image, checks what it left, and opens that.
func again(write bool) func(t testing.TB, ref *engine.Ref) *engine.Ref {
	return func(t testing.TB, ref *engine.Ref) *engine.Ref {
		t.Helper()
		m := ref.Node().(*Image)
		file := m.file.Clone(m.file.Flags())
		if err := ref.Close(); err != nil {
			t.Fatal(err)
		}
		if write {
			ref = openOn(t, file, m.cfg)
			if err := checkClean(t, ref); err != nil {
				t.Error(err)
			}
			return ref
		}
		h, err := ReadHeader(ctx, file, false)
		if err != nil {
			t.Fatal(err)
		}
		if m, err = New(ctx, Parts{Header: h, File: file, Config: m.cfg}); err != nil {
			t.Fatal(err)
		}
		return engine.NewRef(m, engine.OpenFlags{})
	}
}

func TestNode(t *testing.T) {
	for name, v := range setups() {
		t.Run(name, func(t *testing.T) {
			enginetest.Node(t, enginetest.NodeConfig{
				Open: v.open(enginetest.QueueBehaviour{}), Reopen: again(true), ReadOnly: again(false),
				Size: 512<<10 + 512, SizeUnit: 512, ResizeUnit: 512, Writable: true,
			})
		})
	}
}

func TestQueue(t *testing.T) {
	for name, v := range setups() {
		t.Run(name, func(t *testing.T) {
			enginetest.Queue(t, enginetest.QueueConfig{
				Open: v.open(enginetest.QueueBehaviour{Shuffle: true, Short: 0.1}), Size: 512<<10 + 512, Allocates: name == "slow writes",
			})
		})
	}
}

// snapshots makes and deletes a snapshot by turns.
func snapshots(t testing.TB, ref *engine.Ref, seed uint64) {
	m := ref.Node().(*Image)
	err := m.DeleteSnapshot(ctx, "s")
	if seed%2 == 0 || errors.Is(err, engine.ErrNotFound) {
		err = m.CreateSnapshot(ctx, engine.Snapshot{Name: "s", Icount: -1})
	}
	if err != nil {
		t.Error(err)
	}
}

func TestMapper(t *testing.T) {
	for name, v := range setups() {
		p := params(1 << 20)
		if v.change != nil {
			v.change(&p)
		}
		slice := max(min(p.ClusterSize, 64<<10)/8*p.ClusterSize, p.ClusterSize)
		if p.ExtendedL2 {
			slice /= 2
		}
		t.Run(name, func(t *testing.T) {
			enginetest.Mapper(t, enginetest.MapperConfig{
				Open: v.open(enginetest.QueueBehaviour{Shuffle: true}), Disturb: snapshots, Size: 1 << 20,
				Cut: slice, SlowWrites: name == "slow writes", Misses: name == "512 small caches",
			})
		})
	}
}
