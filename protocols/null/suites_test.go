package null_test

import (
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/protocols/null"
)

func openWith(o null.Options) func(testing.TB, int64) *engine.Ref {
	return func(_ testing.TB, size int64) *engine.Ref {
		o := o
		o.Size = size
		return engine.NewRef(null.New(o, true), engine.OpenFlags{Write: true, Discard: true})
	}
}

func TestNode(t *testing.T) {
	enginetest.Node(t, enginetest.NodeConfig{
		Open: openWith(null.Options{ReadZeroes: true}), Size: 1<<20 + 77, Writable: true, Forgets: true,
	})
}

// Latency reaches the blocking plane, where a context can end it.
func TestNodeWithLatency(t *testing.T) {
	enginetest.Node(t, enginetest.NodeConfig{
		Open: openWith(null.Options{ReadZeroes: true, Latency: 1000}), Size: 1<<20 + 77, Writable: true, Forgets: true,
	})
}

func TestQueue(t *testing.T) {
	for name, o := range map[string]null.Options{
		"instant": {ReadZeroes: true},
		"delayed": {ReadZeroes: true, Latency: 20_000, Jitter: 20_000, Shape: "exp", Seed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			enginetest.Queue(t, enginetest.QueueConfig{Open: openWith(o), Size: 1<<20 + 77, Forgets: true})
		})
	}
}
