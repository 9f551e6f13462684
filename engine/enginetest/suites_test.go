package enginetest

import (
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// toyNodes are the nodes that the suites are tested with.
func toyNodes() map[string]NodeConfig {
	disk := func(cfg DiskConfig) func(t testing.TB, size int64) *engine.Ref {
		return func(t testing.TB, size int64) *engine.Ref {
			cfg.Size = size
			_, ref := cfg.Open(t)
			return ref
		}
	}
	all := DiskConfig{Discard: true, Zero: true, FUA: true}
	growable, blocks := all, all
	growable.Growable = true
	blocks.Limits = engine.Limits{RequestAlign: 512, MemAlign: 64, MaxTransfer: 64 << 10, MaxZero: 32 << 10, MaxDiscard: 16 << 10, DiscardAlign: 4096}
	growing := blocks
	growing.Growable = true
	readOnly := all
	readOnly.ReadOnly = true
	return map[string]NodeConfig{
		"plain":     {Open: disk(DiskConfig{}), Writable: true, Size: 1<<20 + 77},
		"growable":  {Open: disk(growable), Writable: true, Growable: true, ResizeUnit: 1},
		"blocks":    {Open: disk(blocks), Writable: true, Size: 1<<20 + 512},
		"growing":   {Open: disk(growing), Writable: true, Growable: true, ResizeUnit: 1, Size: 1<<20 + 3},
		"read only": {Open: disk(readOnly), Size: 100_000},
		"shuffle": {
			Open: func(t testing.TB, size int64) *engine.Ref {
				const block = 4096
				size = (size + block - 1) / block * block
				room := 2 * size
				_, data := DiskConfig{Size: 4 * room}.Open(t)
				s := NewShuffle(t, ShuffleConfig{Size: room, Block: block, Data: data})
				s.size.Store(size)
				return engine.NewRef(s, engine.OpenFlags{Write: true, Discard: true})
			},
			Writable: true, SizeUnit: 4096, ResizeUnit: 4096,
		},
	}
}

func TestNodeSuite(t *testing.T) {
	for name, cfg := range toyNodes() {
		t.Run(name, func(t *testing.T) { Node(t, cfg) })
	}
}

func TestQueueSuite(t *testing.T) {
	disk := func(cfg DiskConfig) func(t testing.TB, size int64) *engine.Ref {
		return func(t testing.TB, size int64) *engine.Ref {
			cfg.Size = size
			_, ref := cfg.Open(t)
			return ref
		}
	}
	all := DiskConfig{Discard: true, Zero: true, FUA: true}
	lively, small, plain, blocks := all, all, all, all
	lively.Queue = QueueBehaviour{Shuffle: true, Short: 0.2, Seed: 1}
	small.Queue = QueueBehaviour{Room: 3, Shuffle: true}
	plain.Queue = QueueBehaviour{NoEvents: true, Ops: []engine.Op{}}
	blocks.Limits = engine.Limits{RequestAlign: 4096, MemAlign: 512, MaxTransfer: 16 << 10}
	held := func(t testing.TB, size int64) (*engine.Ref, func(int)) {
		cfg := all
		cfg.Size, cfg.Queue = size, QueueBehaviour{Manual: true}
		d, ref := cfg.Open(t)
		return ref, d.Release
	}
	for name, cfg := range map[string]QueueConfig{
		"simple": {Open: disk(all), Held: held, Size: 1<<20 + 77},
		"lively": {Open: disk(lively), Size: 1<<20 + 77},
		"small":  {Open: disk(small), Room: 3},
		"plain":  {Open: disk(plain), Depth: 1},
		"blocks": {Open: disk(blocks), Depth: 33},
		"mapped": {Open: toyNodes()["shuffle"].Open},
	} {
		t.Run(name, func(t *testing.T) { Queue(t, cfg) })
	}
}

// toyMapper opens shuffles; with blocks of 4 KiB and a backing child of half the size that reads as zeroes.
func toyMapper(fresh bool, miss int) func(t testing.TB, size int64) *engine.Ref {
	return func(t testing.TB, size int64) *engine.Ref {
		const block = 4096
		_, data := DiskConfig{Size: 2*size + SpareBlocks*block}.Open(t)
		_, backing := DiskConfig{Size: size / 2}.Open(t)
		s := NewShuffle(t, ShuffleConfig{Size: size, Block: block, Data: data, Backing: backing, Fresh: fresh, Miss: miss})
		return engine.NewRef(s, engine.OpenFlags{Write: true, Discard: true})
	}
}

func moveBlocks(_ testing.TB, ref *engine.Ref, seed uint64) {
	s := ref.Node().(*Shuffle)
	for i := range uint64(4) {
		s.Move(int64((seed*7 + i) % uint64(len(s.table))))
	}
}

func TestMapperSuite(t *testing.T) {
	for name, cfg := range map[string]MapperConfig{
		"shuffle": {Open: toyMapper(false, 0), Disturb: moveBlocks},
		"fresh":   {Open: toyMapper(true, 0)},
		"misses":  {Open: toyMapper(false, 300), Disturb: moveBlocks, Misses: true},
	} {
		cfg.Cut = 4096 // only blocks in places that follow each other make a run
		t.Run(name, func(t *testing.T) { Mapper(t, cfg) })
	}
}
