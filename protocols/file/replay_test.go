package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// Random histories by both planes of the engine, in every way that a file can be opened.
func TestReplay(t *testing.T) {
	runs := 8
	if testing.Short() {
		runs = 2
	}
	eachWish(t, func(t *testing.T, dir string, w wish) {
		const size = 200<<10 + 700 // the end is aligned to nothing
		var sum engine.PathStats
		enginetest.Replay(t, enginetest.ReplayConfig{
			HistoryConfig: enginetest.HistoryConfig{
				Size: size, Batches: 25, Depth: 12, MaxLen: 64 << 10, ResizeUnit: 512, MaxSize: 400 << 10,
			},
			Seed: 1, Runs: runs,
			Build: func(t testing.TB, seed uint64) *enginetest.Graph {
				content := randomBytes(size, seed)
				path := filepath.Join(dir, "image")
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
				ref := mustOpen(t, path, engine.OpenFlags{Write: true, Discard: true, Cache: w.cache, Leaf: w.leaf})
				return &enginetest.Graph{Root: ref, Content: content}
			},
			Polled: func(s engine.PathStats) { sum.Direct += s.Direct; sum.Slow += s.Slow },
		})
		if sum.Direct == 0 {
			t.Errorf("nothing went to the queue: %+v", sum)
		}
	})
}

// What reaches the kernel is seen by strace: the cache modes differ in nothing else.
func TestPeerStraceSeesTheCacheModes(t *testing.T) {
	enginetest.Require(t, "strace")
	if path := os.Getenv("FILE_TEST_CHILD"); path != "" {
		cacheModeChild(t, path)
		return
	}
	for name, want := range map[string]map[string]bool{ // pattern: whether it is there
		"writeback":    {"O_DIRECT": false, "RWF_DSYNC": false, "fdatasync(": true},
		"none":         {"O_DIRECT": true, "RWF_DSYNC": false, "fdatasync(": true},
		"writethrough": {"O_DIRECT": false, "RWF_DSYNC": true, "fdatasync(": true},
		"directsync":   {"O_DIRECT": true, "RWF_DSYNC": true, "fdatasync(": true},
		"unsafe":       {"O_DIRECT": false, "RWF_DSYNC": false, "fdatasync(": false},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := makeFile(t, t.TempDir(), 65536)
			t.Setenv("FILE_TEST_CHILD", path)
			t.Setenv("FILE_TEST_CACHE", name)
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			out, err := run(t, "strace", "-f", "-q", "-e", "trace=fcntl,openat,pwrite64,pwritev2,fdatasync,fsync",
				exe, "-test.run=^TestPeerStraceSeesTheCacheModes$")
			requires(t, err == nil, "the right to trace: "+out)
			for pattern, there := range want {
				if strings.Contains(out, pattern) != there {
					t.Errorf("%s: %v, want %v, in\n%s", pattern, !there, there, out)
				}
			}
		})
	}
}

func cacheModeChild(t *testing.T, path string) {
	flags := rw()
	flags.Cache = engine.CacheModes[os.Getenv("FILE_TEST_CACHE")]
	ref := mustOpen(t, path, flags)
	if err := ref.WriteAt(ctx, aligned(4096), 4096, 0); err != nil {
		t.Fatal(err)
	}
	if err := ref.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}
