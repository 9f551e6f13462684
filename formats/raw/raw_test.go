package raw_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

var ctx = context.Background()

func env() *engine.Env {
	return &engine.Env{Registry: engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver())}
}

// TestWindow: offset and size cut a window out of a file; nothing outside it is touched.
func TestWindow(t *testing.T) {
	disk, ref := enginetest.DiskConfig{Size: 1 << 20, Discard: true, Zero: true, Limits: engine.Limits{RequestAlign: 512}}.Open(t)
	disk.Fill(bytes.Repeat([]byte{9}, 1<<20), 0)
	m, err := raw.New(ref, raw.Config{Offset: 4096, Size: 8192})
	if err != nil {
		t.Fatal(err)
	}
	r := engine.NewRef(raw.Flat{Image: m}, engine.OpenFlags{Write: true, Discard: true})
	if err := r.WriteAt(ctx, bytes.Repeat([]byte{1}, 8192), 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteZeroes(ctx, 512, 1024, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteAt(ctx, []byte{1}, 8192, 0); !errors.Is(err, engine.ErrRange) {
		t.Fatalf("past the window: %v", err)
	}
	if err := r.Resize(ctx, 4096, engine.ResizeOptions{}); !errors.Is(err, engine.ErrUnsupported) {
		t.Fatalf("resizing a window: %v", err)
	}
	want := bytes.Repeat([]byte{9}, 1<<20)
	copy(want[4096:], bytes.Repeat([]byte{1}, 8192))
	clear(want[4096+512 : 4096+512+1024])
	if !bytes.Equal(disk.Bytes(), want) {
		t.Fatal("the file is not what it should be")
	}
	ext, err := r.Extents(ctx, 0, 8192, nil)
	if err != nil || len(ext) != 1 || ext[0].Off != 0 || ext[0].Len != 8192 || ext[0].HostOff != 4096 {
		t.Fatalf("extents %+v, %v", ext, err)
	}
}

// TestReplay runs histories over a window by both planes.
func TestReplay(t *testing.T) {
	for _, probed := range []bool{false, true} {
		enginetest.Replay(t, enginetest.ReplayConfig{
			HistoryConfig: enginetest.HistoryConfig{Size: 96 << 10, Batches: 20, Depth: 8, MaxLen: 32 << 10},
			Build: func(t testing.TB, seed uint64) *enginetest.Graph {
				_, ref := enginetest.DiskConfig{
					Size: 128 << 10, Discard: true, Zero: true, Queue: enginetest.QueueBehaviour{Shuffle: true, Seed: seed},
				}.Open(t)
				m, err := raw.New(ref, raw.Config{Offset: 5000, Size: 96 << 10})
				if err != nil {
					t.Fatal(err)
				}
				var n engine.Node = raw.Flat{Image: m}
				if probed {
					n = raw.NewProbed(m, func([]byte) string { return "raw" })
				}
				r := engine.NewRef(n, engine.OpenFlags{Write: true, Discard: true})
				t.Cleanup(func() { r.Close() })
				return &enginetest.Graph{Root: r}
			},
			Seed: 1, Runs: 10,
		})
	}
}

// TestProbed: an image whose format was guessed does not take the header of another format into its first sector; one whose format was
// given does.
func TestProbed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 512)
	copy(head, "QFI\xfb\x00\x00\x00\x03")
	for _, format := range []string{"", "raw"} {
		r, err := env().OpenName(ctx, path, format, engine.OpenFlags{Write: true})
		if err != nil {
			t.Fatal(err)
		}
		guessed := format == ""
		if err := r.WriteAt(ctx, []byte("harmless"), 100, 0); err != nil {
			t.Fatal(err)
		}
		err = r.WriteAt(ctx, head, 0, 0)
		if guessed != errors.Is(err, engine.ErrPermission) {
			t.Fatalf("format %q: a header at once: %v", format, err)
		}
		// Bit by bit: the second write completes the magic.
		err = errors.Join(r.WriteAt(ctx, make([]byte, 512), 0, 0), r.WriteAt(ctx, head[4:8], 4, 0), r.WriteAt(ctx, head[:4], 0, 0))
		if guessed != errors.Is(err, engine.ErrPermission) {
			t.Fatalf("format %q: a header in parts: %v", format, err)
		}
		if guessed && !strings.Contains(strings.Join(r.Info().Notes, "\n"), "probing guessed raw") {
			t.Fatalf("notes: %q", r.Info().Notes)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCreate makes images of a size, rounded up to sectors.
func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.raw")
	e := env()
	for _, pre := range []string{"off", "falloc", "full"} {
		target, err := opts.ParseName(path)
		if err != nil {
			t.Fatal(err)
		}
		co, err := opts.ParseKeyval("preallocation=" + pre)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Create(ctx, "raw", target, path, 1<<20+1, co, engine.OpenFlags{}); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil || st.Size() != 1<<20+512 {
			t.Fatalf("preallocation=%s: %v, %v", pre, st, err)
		}
	}
}
