package nbd

import (
	"fmt"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// server is one that the suites run over.
type server struct {
	name  string
	start func(t testing.TB, size int64) string // a URI
	unit  int64                                 // sizes are multiples of it
	slow  bool                                  // left out of short runs
}

// Of memory, nbdkit tells zeroes from data by the part of a page that is asked about: its extents differ with the range, but for this allocator.
var servers = []server{
	{"memory", func(t testing.TB, size int64) string {
		return uri(nbdkit(t, "memory", "allocator=malloc", fmt.Sprint(size)), "")
	}, 1, false},
	{"simple replies", func(t testing.TB, size int64) string {
		return uri(nbdkit(t, "--no-sr", "memory", "allocator=malloc", fmt.Sprint(size)), "")
	}, 1, true},
	{"file", func(t testing.TB, size int64) string {
		name := scratch(t) + "/disk"
		file(t, name, size)
		return uri(nbdkit(t, "file", name), "")
	}, 1, true},
	{"block sizes", func(t testing.TB, size int64) string {
		return uri(nbdkit(t, "--filter=blocksize-policy", "memory", "allocator=malloc", fmt.Sprint(size), "blocksize-minimum=4k", "blocksize-preferred=16k",
			"blocksize-maximum=64k", "blocksize-error-policy=error"), "")
	}, 4096, true},
	{"qemu-nbd", func(t testing.TB, size int64) string {
		name := scratch(t) + "/disk"
		file(t, name, size)
		return uri(qemuNBD(t, "-f", "raw", "-x", "disk", "--shared=0", "--discard=unmap", name), "disk")
	}, 512, true},
	{"nbd-server", func(t testing.TB, size int64) string {
		return uri(nbdServer(t, size, ""), "disk")
	}, 512, true},
}

func each(t *testing.T, run func(t *testing.T, s server)) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			if s.slow && testing.Short() {
				t.Skip("one server does in short runs")
			}
			run(t, s)
		})
	}
}

func again(write bool) func(testing.TB, *engine.Ref) *engine.Ref {
	return func(t testing.TB, ref *engine.Ref) *engine.Ref {
		t.Helper()
		name := ref.Info().Filename
		if err := ref.Close(); err != nil {
			t.Fatal(err)
		}
		return mustOpen(t, name, write)
	}
}

func TestNode(t *testing.T) {
	each(t, func(t *testing.T, s server) {
		cfg := enginetest.NodeConfig{
			Open:   func(t testing.TB, size int64) *engine.Ref { t.Helper(); return mustOpen(t, s.start(t, size), true) },
			Reopen: again(true), ReadOnly: again(false), Size: 512 << 10, SizeUnit: s.unit, Writable: true,
		}
		if s.unit == 1 {
			cfg.Size += 77
		}
		enginetest.Node(t, cfg)
	})
}
