package delay

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/internal/filtertest"
)

func TestSuites(t *testing.T) {
	filtertest.Suites(t, filtertest.Filter{Over: func(_ testing.TB, child *engine.Ref) engine.Node {
		return New(child, OpenOptions{Distribution: "exponential", Latency: 5 * time.Microsecond, Ops: "all"})
	}})
}

// TestDistributions: mean and spread of what is drawn are those that were asked for.
func TestDistributions(t *testing.T) {
	const mean, spread, count = 1e6, 2e5, 200000
	for name, want := range map[string]struct{ dev, least, most float64 }{
		"fixed":       {0, mean, mean},
		"uniform":     {spread / math.Sqrt(3), mean - spread, mean + spread},
		"normal":      {spread, 0, math.Inf(1)},
		"exponential": {mean, 0, math.Inf(1)},
	} {
		n := &Node{o: OpenOptions{Distribution: name, Latency: mean, Spread: spread, Seed: 7}}
		var sum, squares float64
		for range count {
			v := float64(n.Admit(engine.OpRead, 0, 0))
			if v < want.least || v > want.most {
				t.Fatalf("%s: %f", name, v)
			}
			sum, squares = sum+v, squares+v*v
		}
		m := sum / count
		dev := math.Sqrt(max(0, squares/count-m*m))
		if math.Abs(m-mean) > mean/100 || math.Abs(dev-want.dev) > mean/100 {
			t.Errorf("%s: mean %.0f, deviation %.0f; want %.0f and %.0f", name, m, dev, mean, want.dev)
		}
	}
}

// TestOps: only the requests that are named wait.
func TestOps(t *testing.T) {
	n := &Node{o: OpenOptions{Distribution: "fixed", Latency: 5, Ops: "write"}}
	for op, want := range map[engine.Op]int64{engine.OpRead: 10, engine.OpWrite: 15, engine.OpZero: 15, engine.OpDiscard: 15} {
		if got := n.Admit(op, 0, 10); got != want {
			t.Errorf("%s: at %d, want %d", op, got, want)
		}
	}
	if a := testing.AllocsPerRun(100, func() { n.Admit(engine.OpWrite, 0, 0) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

// TestBlocking: the blocking plane waits, and stops waiting when its context ends.
func TestBlocking(t *testing.T) {
	_, child := enginetest.DiskConfig{Size: 4096}.Open(t)
	ref := engine.NewRef(New(child, OpenOptions{Distribution: "fixed", Latency: 20 * time.Millisecond, Ops: "all"}), engine.OpenFlags{})
	defer ref.Close()
	start := time.Now()
	if err := ref.ReadAt(t.Context(), make([]byte, 512), 0); err != nil || time.Since(start) < 20*time.Millisecond {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ref.ReadAt(over, make([]byte, 512), 0); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestCheck: spreads that make no sense are refused.
func TestCheck(t *testing.T) {
	for _, o := range []OpenOptions{{Distribution: "fixed", Spread: 1}, {Distribution: "exponential", Spread: 1}, {Distribution: "uniform", Latency: 1, Spread: 2}} {
		if o.check() == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
