package file

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// fresh opens a new file of zeroes.
func fresh(t testing.TB, dir string, size int64, flags engine.OpenFlags) *engine.Ref {
	t.Helper()
	f, err := os.CreateTemp(dir, "image")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	return mustOpen(t, f.Name(), flags)
}

// again closes a file and opens it with other flags.
func again(flags engine.OpenFlags) func(testing.TB, *engine.Ref) *engine.Ref {
	return func(t testing.TB, ref *engine.Ref) *engine.Ref {
		t.Helper()
		path := ref.Info().Filename
		if err := ref.Close(); err != nil {
			t.Fatal(err)
		}
		return mustOpen(t, path, flags)
	}
}

func nodeConfig(dir func(t testing.TB) string, flags engine.OpenFlags) enginetest.NodeConfig {
	reading := flags
	reading.Write, reading.Discard = false, false
	return enginetest.NodeConfig{
		Open:   func(t testing.TB, size int64) *engine.Ref { return fresh(t, dir(t), size, flags) },
		Reopen: again(flags), ReadOnly: again(reading),
		Size: 512<<10 + 77, ResizeUnit: 1, Writable: true, Growable: true,
	}
}

func TestNode(t *testing.T) {
	eachCache(t, func(t *testing.T, dir string, flags engine.OpenFlags) {
		enginetest.Node(t, nodeConfig(func(testing.TB) string { return dir }, flags))
	})
}

func TestNodeOfBlockDevice(t *testing.T) {
	enginetest.Long(t)
	for name, direct := range map[string]bool{"cached": false, "direct": true} {
		t.Run(name, func(t *testing.T) {
			enginetest.Node(t, enginetest.NodeConfig{
				Open: func(t testing.TB, size int64) *engine.Ref {
					t.Helper()
					return openDevice(t, loop(t, size), direct)
				},
				Size: 512 << 10, SizeUnit: 512, Writable: true,
			})
		})
	}
}

func openDevice(t testing.TB, dev string, direct bool) *engine.Ref {
	t.Helper()
	flags := rw()
	flags.Cache.Direct = direct
	ref, err := tryOpen(t, newEnv(filepath.Clean(dev)), dev, flags)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestQueue(t *testing.T) {
	for _, aio := range []string{engineRing, engineThreads, enginePsync} {
		t.Run(aio, func(t *testing.T) {
			eachCache(t, func(t *testing.T, dir string, flags engine.OpenFlags) {
				flags.AIO = aio
				enginetest.Queue(t, enginetest.QueueConfig{
					Open: func(t testing.TB, size int64) *engine.Ref { return fresh(t, dir, size, flags) }, Size: 512<<10 + 77,
				})
			})
		})
	}
}

func TestQueueOfBlockDevice(t *testing.T) {
	enginetest.Long(t)
	for name, direct := range map[string]bool{"cached": false, "direct": true} {
		t.Run(name, func(t *testing.T) {
			dev := loop(t, 512<<10)
			enginetest.Queue(t, enginetest.QueueConfig{
				Open: func(t testing.TB, size int64) *engine.Ref {
					t.Helper()
					ref := openDevice(t, dev, direct)
					if err := ref.WriteZeroes(ctx, 0, size, 0); err != nil {
						t.Fatal(err)
					}
					return ref
				},
				Size: 512 << 10,
			})
		})
	}
}
