package enginetest

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

var replays = flag.Int("replays", 0, "histories of each kind in the model replay; 0: 20, or 4 with -short")

func replayRuns() int {
	switch {
	case *replays > 0:
		return *replays
	case testing.Short():
		return 4
	}
	return 20
}

// TestReplay runs random histories over random graphs of three layers and more, by both planes.
func TestReplay(t *testing.T) {
	runs := replayRuns()
	for _, c := range []struct {
		name string
		cfg  RandomConfig
	}{
		{"plain", RandomConfig{Layers: 3}},
		{"misses", RandomConfig{Layers: 3, Miss: 300, Short: 0.2}},
		{"delays", RandomConfig{Layers: 4, Miss: 50, Short: 0.1, Clock: true}},
		{"shallow", RandomConfig{Layers: 1, Short: 0.2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Size = 200 << 10
			if c.name == "shallow" {
				c.cfg.Size += 1000
			}
			var sum engine.PathStats
			Replay(t, ReplayConfig{
				HistoryConfig: HistoryConfig{Size: c.cfg.Size, Batches: 30, Depth: 12, MaxLen: 64 << 10},
				Build:         func(t testing.TB, seed uint64) *Graph { return RandomGraph(t, seed, c.cfg) },
				Seed:          1,
				Runs:          runs,
				Polled:        func(s engine.PathStats) { addStats(&sum, s) },
			})
			t.Logf("ways taken: %+v", sum)
			if !testing.Short() {
				assertWays(t, sum, c.cfg)
			}
		})
	}
}

func addStats(sum *engine.PathStats, s engine.PathStats) {
	sum.Direct += s.Direct
	sum.Pieces += s.Pieces
	sum.Zeroed += s.Zeroed
	sum.Slow += s.Slow
	sum.Resent += s.Resent
	sum.Waited += s.Waited
	sum.Regens += s.Regens
}

// assertWays fails when the histories did not take the ways that they are for.
func assertWays(t *testing.T, s engine.PathStats, cfg RandomConfig) {
	t.Helper()
	for name, taken := range map[string]bool{
		"direct": s.Direct > 0 || cfg.Clock,
		"pieces": s.Pieces > 0 || cfg.Layers < 2,
		"zeroed": s.Zeroed > 0 || cfg.Layers < 2,
		"slow":   s.Slow > 0,
		"resent": s.Resent > 0 || cfg.Short == 0,
		"waited": s.Waited > 0 || !cfg.Clock,
		"regens": s.Regens > 0 || cfg.Layers < 2,
	} {
		if !taken {
			t.Errorf("no request was %s: %s", name, fmt.Sprintf("%+v", s))
		}
	}
}

// toyShuffle builds a shuffle over a disk, or over what put makes of it.
func toyShuffle(t testing.TB, seed uint64, put func(*engine.Ref) *engine.Ref) *Graph {
	cfg := DiskConfig{
		Size: 128<<10 + SpareBlocks*4096, Limits: engine.Limits{RequestAlign: 512, MemAlign: 512},
		Queue: QueueBehaviour{Shuffle: true, Room: 3, Seed: seed},
	}
	_, leaf := cfg.Open(t)
	if put != nil {
		leaf = put(leaf)
	}
	s := NewShuffle(t, ShuffleConfig{Size: 128 << 10, Block: 4096, Data: leaf, Miss: 100, Fresh: true, Seed: seed})
	ref := engine.NewRef(s, engine.OpenFlags{Write: true, Discard: true})
	t.Cleanup(func() {
		if err := ref.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Graph{Root: ref, Disturb: func(n uint64) { s.Move(int64(n % 32)) }}
}

// TestReplayResize changes the size between the batches: what is cut off and grown again reads as zeroes.
func TestReplayResize(t *testing.T) {
	Long(t)
	Replay(t, ReplayConfig{
		HistoryConfig: HistoryConfig{
			Size: 128 << 10, Batches: 40, Depth: 8, MaxLen: 32 << 10, ResizeUnit: 4096, MaxSize: 128 << 10,
			Weights: [7]int{40, 40, 2, 4, 4, 12, 4},
		},
		Build: func(t testing.TB, seed uint64) *Graph { return toyShuffle(t, seed, nil) },
		Seed:  1000,
		Runs:  replayRuns(),
	})
}

// TestReplayFaults has a leaf that fails some of its operations: what failed is as it was or as it should be, byte for byte, the rest is
// as it should be, and nobody waits for ever.
func TestReplayFaults(t *testing.T) {
	Long(t)
	failed := 0
	Replay(t, ReplayConfig{
		HistoryConfig: HistoryConfig{Size: 128 << 10, Batches: 40, Depth: 8, MaxLen: 32 << 10},
		Build: func(t testing.TB, seed uint64) *Graph {
			rng := rand.New(rand.NewPCG(seed, 6))
			text := "flush#2=EIO once"
			for range 4 {
				text += fmt.Sprintf("; write#%d=EIO once; read#%d=EIO once", 1+rng.IntN(80), 1+rng.IntN(80))
			}
			f := NewFaults(t, text)
			g := toyShuffle(t, seed, f.Over)
			g.MayFail = func(err error) bool { return errors.Is(err, unix.EIO) }
			g.After = func() error {
				failed += int(f.Fired())
				return nil
			}
			return g
		},
		Seed: 2000,
		Runs: replayRuns(),
	})
	if failed == 0 {
		t.Error("nothing failed")
	}
}
