package mem_test

import (
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/protocols/mem"
)

func open(_ testing.TB, size int64) *engine.Ref {
	return engine.NewRef(mem.New(size, true), engine.OpenFlags{Write: true, Discard: true})
}

func TestNode(t *testing.T) {
	enginetest.Node(t, enginetest.NodeConfig{Open: open, Size: 1<<20 + 77, Writable: true, ResizeUnit: 1})
}

func TestQueue(t *testing.T) {
	enginetest.Queue(t, enginetest.QueueConfig{Open: open, Size: 1<<20 + 77})
}
