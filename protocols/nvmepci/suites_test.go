package nvmepci_test

import (
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/nvme/nvmetest"
)

// namespaces are the kinds that the suites run over.
var namespaces = map[string]nvmetest.NamespaceConfig{
	"512":      {BlockSize: 512},
	"4096":     {BlockSize: 4096},
	"boundary": {BlockSize: 512, NOIOB: 16},
}

// fresh serves a new controller with one namespace of size bytes, and opens it.
func fresh(cfg nvmetest.NamespaceConfig) func(testing.TB, int64) *engine.Ref {
	return func(t testing.TB, size int64) *engine.Ref {
		t.Helper()
		cfg.Blocks = uint64(size) / uint64(cfg.BlockSize)
		_, name := serve(t, nvmetest.Config{Namespaces: []nvmetest.NamespaceConfig{cfg}})
		return open(t, name(1), true)
	}
}

func TestNodeSuite(t *testing.T) {
	for name, ns := range namespaces {
		t.Run(name, func(t *testing.T) {
			enginetest.Node(t, enginetest.NodeConfig{Open: fresh(ns), Size: 512 << 10, SizeUnit: 4096, Writable: true})
		})
	}
}

func TestQueueSuite(t *testing.T) {
	for name, ns := range namespaces {
		t.Run(name, func(t *testing.T) {
			enginetest.Queue(t, enginetest.QueueConfig{
				Open: fresh(ns), Size: 512 << 10, Arena: dma.Config{Shared: true}, Allocates: true,
			})
		})
	}
}
