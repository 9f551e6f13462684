package copyonread_test

import (
	"bytes"
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/compress"
	"github.com/blkbench/blkbench/engine/filter/copyonread"
	"github.com/blkbench/blkbench/engine/filter/internal/filtertest"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

var ctx = context.Background()

func TestSuites(t *testing.T) {
	filtertest.Suites(t, filtertest.Filter{Opaque: true, Over: func(_ testing.TB, child *engine.Ref) engine.Node { return copyonread.New(child) }})
}

func env() *engine.Env {
	return &engine.Env{
		Registry:   engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver(), copyonread.Driver(), compress.Driver()),
		References: engine.ReferencesAllow,
	}
}

func open(t *testing.T, options string) *engine.Ref {
	t.Helper()
	tree, err := opts.ParseImageOpts(options)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := env().Open(ctx, tree, engine.OpenFlags{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func create(t *testing.T, path string, size int64) {
	t.Helper()
	target, err := opts.ParseName(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := env().Create(ctx, "qcow2", target, path, size, opts.NewTree(), engine.OpenFlags{}); err != nil {
		t.Fatal(err)
	}
}

// TestCopies: a cluster that was read once is the image's own, and what was not read is not; reads and writes at once keep what was
// written.
func TestCopies(t *testing.T) {
	dir := t.TempDir()
	base, top := filepath.Join(dir, "base"), filepath.Join(dir, "top")
	create(t, base, 4<<20)
	create(t, top, 4<<20)
	low := open(t, "driver=qcow2,file.driver=file,file.filename="+base)
	want := bytes.Repeat([]byte{6}, 4<<20)
	if err := low.WriteAt(ctx, want[:3<<20], 0, 0); err != nil {
		t.Fatal(err)
	}
	clear(want[3<<20:])
	if err := low.Close(); err != nil {
		t.Fatal(err)
	}
	options := "driver=qcow2,file.driver=file,file.filename=" + top + ",backing.driver=qcow2,backing.file.driver=file,backing.file.filename=" + base
	tree, err := opts.ParseImageOpts(options)
	if err != nil {
		t.Fatal(err)
	}
	outer := opts.NewTree()
	if err := outer.Set("driver", "copy-on-read"); err != nil {
		t.Fatal(err)
	}
	if err := outer.Set("file", tree); err != nil {
		t.Fatal(err)
	}
	ref, err := env().Open(ctx, outer, engine.OpenFlags{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := ref.ReadAt(ctx, make([]byte, 512), 100_000); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		off int64
		own bool
	}{{0, false}, {65536, true}, {131071, true}, {131072, false}} {
		ext, err := ref.Extents(ctx, c.off, 1, nil)
		if err != nil || (ext[0].Depth == 0 && ext[0].Flags&engine.ExtentAllocated != 0) != c.own {
			t.Fatalf("at %d: %+v, %v, want own %t", c.off, ext, err, c.own)
		}
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for off := int64(i) * 16384; off+4096 <= int64(len(want)); off += 65536 {
				if err := ref.WriteAt(ctx, bytes.Repeat([]byte{byte(i + 1)}, 4096), off, 0); err != nil {
					t.Error(err)
				}
				copy(want[off:], bytes.Repeat([]byte{byte(i + 1)}, 4096))
			}
		})
		wg.Go(func() {
			p := make([]byte, 30000)
			for off := int64(i) * 7000; off+int64(len(p)) < int64(len(want)); off += 50000 {
				if err := ref.ReadAt(ctx, p, off); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := make([]byte, len(want))
	if err := ref.ReadAt(ctx, got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("content differs (%v)", err)
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	// Without the backing file it is all there.
	ref = open(t, "driver=qcow2,file.driver=file,file.filename="+top)
	defer ref.Close()
	if err := ref.ReadAt(ctx, got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("content without the backing file differs (%v)", err)
	}
}

// TestCompress: what is written over the compress filter is stored compressed, at any alignment.
func TestCompress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	create(t, path, 1<<20+512)
	ref := open(t, "driver=compress,file.driver=qcow2,file.file.driver=file,file.file.filename="+path)
	want := bytes.Repeat([]byte("compressible "), (1<<20+512)/13+1)[:1<<20+512]
	if err := ref.WriteAt(ctx, want, 0, 0); err != nil {
		t.Fatal(err)
	}
	copy(want[70_000:], "and a part of it changed")
	if err := ref.WriteAt(ctx, want[70_000:70_024], 70_000, engine.FUA); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if err := ref.ReadAt(ctx, got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("content differs (%v)", err)
	}
	for off := int64(0); off < int64(len(want)); {
		ext, err := ref.Extents(ctx, off, int64(len(want))-off, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ext {
			if off += e.Len; e.Flags&engine.ExtentCompressed == 0 {
				t.Errorf("%+v is not compressed", e)
			}
		}
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	if tree, err := opts.ParseImageOpts("driver=compress,file.driver=raw,file.file.filename=" + path); err != nil {
		t.Fatal(err)
	} else if _, err := env().Open(ctx, tree, engine.OpenFlags{Write: true}); err == nil || err.Error() == "" {
		t.Fatal("compressing raw is accepted")
	}
}

// TestCompressSuite: the waist reads what small writes leave of a cluster.
func TestCompressSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("a file with small clusters for each sentence")
	}
	enginetest.Node(t, enginetest.NodeConfig{
		Open: func(t testing.TB, size int64) *engine.Ref {
			path := filepath.Join(t.TempDir(), "a")
			target, err := opts.ParseName(path)
			if err != nil {
				t.Fatal(err)
			}
			co := opts.NewTree()
			if err := co.Set("cluster_size", "4096"); err != nil {
				t.Fatal(err)
			}
			e := env()
			if err := e.Create(ctx, "qcow2", target, path, size, co, engine.OpenFlags{}); err != nil {
				t.Fatal(err)
			}
			tree, err := opts.ParseImageOpts("driver=compress,file.driver=qcow2,file.file.driver=file,file.file.filename=" + path)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := e.Open(ctx, tree, engine.OpenFlags{Write: true, Discard: true})
			if err != nil {
				t.Fatal(err)
			}
			return ref
		},
		Writable: true, SizeUnit: 512, ResizeUnit: 512, Size: 256 << 10,
	})
}
