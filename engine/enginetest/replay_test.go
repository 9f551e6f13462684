package enginetest

import (
	"fmt"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// TestReplay runs random histories over random graphs of three layers and more, by both planes.
func TestReplay(t *testing.T) {
	runs := 60
	if testing.Short() {
		runs = 10
	}
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
			assertWays(t, sum, c.cfg)
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
