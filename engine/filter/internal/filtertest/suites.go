// Package filtertest runs the conformance suites over a filter: over children of several kinds, in both planes.
package filtertest

import (
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// Filter says how a filter is put over a child, and what it does not do.
type Filter struct {
	Over func(t testing.TB, child *engine.Ref) engine.Node
	// Opaque: the polled plane goes through the blocking methods, which allocate.
	Opaque bool
	// NoResize: the size stays.
	NoResize bool
	// NoGrow: a filter over a growable child does not grow.
	NoGrow bool
	// Flags of the reference; Write and Discard are set.
	Flags engine.OpenFlags
}

func (f Filter) open(cfg enginetest.DiskConfig) func(t testing.TB, size int64) *engine.Ref {
	return func(t testing.TB, size int64) *engine.Ref {
		cfg.Size = size
		_, child := cfg.Open(t)
		flags := f.Flags
		flags.Write, flags.Discard = true, true
		return engine.NewRef(f.Over(t, child), flags)
	}
}

// Suites runs the suites of nodes and queues, and histories; fewer of them with -short.
func Suites(t *testing.T, f Filter) {
	all := enginetest.DiskConfig{Discard: true, Zero: true, FUA: true}
	growing, blocks := all, all
	growing.Growable = true
	blocks.Limits = engine.Limits{RequestAlign: 512, MemAlign: 64, MaxTransfer: 64 << 10, MaxZero: 32 << 10, MaxDiscard: 16 << 10, DiscardAlign: 4096}
	resize := int64(1)
	if f.NoResize {
		resize = 0
	}
	nodes := map[string]enginetest.NodeConfig{
		"plain":  {Open: f.open(enginetest.DiskConfig{}), Writable: true, Size: 1<<20 + 77},
		"blocks": {Open: f.open(blocks), Writable: true, Size: 1<<20 + 512},
	}
	if testing.Short() {
		nodes = map[string]enginetest.NodeConfig{"plain": nodes["plain"]}
	} else if !f.NoGrow {
		nodes["growable"] = enginetest.NodeConfig{Open: f.open(growing), Writable: true, Growable: true, ResizeUnit: resize}
	}
	for name, cfg := range nodes {
		t.Run("node/"+name, func(t *testing.T) { enginetest.Node(t, cfg) })
	}
	runs := 5
	if testing.Short() {
		runs = 1
	}
	lively := all
	lively.Queue = enginetest.QueueBehaviour{Shuffle: true, Short: 0.2, Seed: 1}
	t.Run("queue", func(t *testing.T) {
		enginetest.Queue(t, enginetest.QueueConfig{Open: f.open(lively), Size: 1<<20 + 77, NoLeaf: true, Allocates: f.Opaque})
	})
	t.Run("replay", func(t *testing.T) {
		enginetest.Replay(t, enginetest.ReplayConfig{
			HistoryConfig: enginetest.HistoryConfig{Size: 96 << 10, Batches: 20, Depth: 8, MaxLen: 32 << 10},
			Build: func(t testing.TB, seed uint64) *enginetest.Graph {
				cfg := all
				cfg.Queue = enginetest.QueueBehaviour{Shuffle: true, Seed: seed}
				ref := f.open(cfg)(t, 96<<10)
				t.Cleanup(func() { ref.Close() })
				return &enginetest.Graph{Root: ref}
			},
			Seed: 1, Runs: runs,
		})
	})
}
