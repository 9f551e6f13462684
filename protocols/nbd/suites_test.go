package nbd

import (
	"fmt"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// peer is a server that the suites run over.
type peer struct {
	name   string
	start  func(t testing.TB, size int64) string // a URI
	unit   int64                                 // sizes are multiples of it
	slow   bool                                  // left out of short runs
	alloc  bool                                  // no CAN_MULTI_CONN, or a server in this process
	resize int64                                 // 0: sizes are fixed
}

// Of memory, nbdkit tells zeroes from data by the part of a page that is asked about: its extents differ with the range, but for this allocator.
var servers = []peer{
	{"memory", func(t testing.TB, size int64) string {
		return uri(nbdkit(t, "memory", "allocator=malloc", fmt.Sprint(size)), "")
	}, 1, false, false, 0},
	{"simple replies", func(t testing.TB, size int64) string {
		return uri(nbdkit(t, "--no-sr", "memory", "allocator=malloc", fmt.Sprint(size)), "")
	}, 1, true, false, 0},
	{"tcp", func(t testing.TB, size int64) string {
		port := freePort(t)
		nbdkitArgs(t, scratch(t), "-i", "127.0.0.1", "-p", fmt.Sprint(port), "memory", "allocator=malloc", fmt.Sprint(size))
		return fmt.Sprintf("nbd://127.0.0.1:%d/", port)
	}, 1, true, false, 0},
	{"file", func(t testing.TB, size int64) string {
		name := scratch(t) + "/disk"
		file(t, name, size)
		return uri(nbdkit(t, "file", name), "")
	}, 1, true, false, 0},
	{"block sizes", func(t testing.TB, size int64) string {
		return uri(nbdkit(t, "--filter=blocksize-policy", "memory", "allocator=malloc", fmt.Sprint(size), "blocksize-minimum=4k", "blocksize-preferred=16k",
			"blocksize-maximum=64k", "blocksize-error-policy=error"), "")
	}, 4096, true, false, 0},
	{"one connection", func(t testing.TB, size int64) string {
		return uri(nbdkit(t, "--filter=multi-conn", "memory", "allocator=malloc", fmt.Sprint(size), "multi-conn-mode=disable"), "")
	}, 1, true, true, 0},
	{"extended headers", func(t testing.TB, size int64) string {
		return (&fake{kind: wire.Extended, size: uint64(size)}).start(t)
	}, 1, false, true, 1},
	{"pieces out of order", func(t testing.TB, size int64) string {
		return (&fake{kind: wire.Structured, size: uint64(size)}).start(t)
	}, 1, true, true, 1},
	{"our own, memory", ourMemory, 1, true, true, 0},
	{"our own, file", ourFile, 1, true, true, 0},
	{"qemu-nbd", func(t testing.TB, size int64) string {
		name := scratch(t) + "/disk"
		file(t, name, size)
		return uri(qemuNBD(t, "-f", "raw", "-x", "disk", "--shared=0", "--discard=unmap", name), "disk")
	}, 512, true, false, 0},
	{"nbd-server", func(t testing.TB, size int64) string {
		return uri(nbdServer(t, size, ""), "disk")
	}, 512, true, false, 0},
}

func each(t *testing.T, run func(t *testing.T, s peer)) {
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
	each(t, func(t *testing.T, s peer) {
		cfg := enginetest.NodeConfig{
			Open:   func(t testing.TB, size int64) *engine.Ref { t.Helper(); return mustOpen(t, s.start(t, size), true) },
			Reopen: again(true), ReadOnly: again(false), Size: 512 << 10, SizeUnit: s.unit, Writable: true, ResizeUnit: s.resize,
		}
		if s.unit == 1 {
			cfg.Size += 77
		}
		enginetest.Node(t, cfg)
	})
}

func TestQueue(t *testing.T) {
	each(t, func(t *testing.T, s peer) {
		cfg := enginetest.QueueConfig{
			Open: func(t testing.TB, size int64) *engine.Ref { t.Helper(); return mustOpen(t, s.start(t, size), true) },
			Size: 512 << 10, Allocates: s.alloc,
		}
		if s.unit == 1 {
			cfg.Size += 77
		}
		enginetest.Queue(t, cfg)
	})
}

// TestQueueHeld: the same over a server that answers when it is told to.
func TestQueueHeld(t *testing.T) {
	for _, multi := range []bool{true, false} {
		if testing.Short() && !multi {
			continue
		}
		t.Run(fmt.Sprintf("multi=%v", multi), func(t *testing.T) {
			open := func(t testing.TB, size int64, held chan struct{}) *engine.Ref {
				t.Helper()
				f := &fake{kind: wire.Structured, size: uint64(size), held: held, flags: everything}
				if !multi {
					f.flags &^= wire.CanMultiConn
				}
				return mustOpen(t, f.start(t), true)
			}
			enginetest.Queue(t, enginetest.QueueConfig{
				Open: func(t testing.TB, size int64) *engine.Ref { t.Helper(); return open(t, size, nil) },
				Held: func(t testing.TB, size int64) (*engine.Ref, func(n int)) {
					t.Helper()
					held := make(chan struct{}, 1<<16)
					return open(t, size, held), func(n int) {
						for range n {
							held <- struct{}{}
						}
					}
				},
				Size: 256 << 10, Allocates: true,
			})
		})
	}
}
