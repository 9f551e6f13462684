package preallocate_test

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
	"github.com/blkbench/blkbench/engine/filter/internal/filtertest"
	"github.com/blkbench/blkbench/engine/filter/preallocate"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

var ctx = context.Background()

func over(t testing.TB, child *engine.Ref, o preallocate.OpenOptions) *preallocate.Node {
	n, err := preallocate.New(child, o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSuites(t *testing.T) {
	filtertest.Suites(t, filtertest.Filter{Over: func(t testing.TB, child *engine.Ref) engine.Node {
		return over(t, child, preallocate.OpenOptions{Align: 4096, Size: 1 << 20})
	}})
}

func env() *engine.Env {
	return &engine.Env{Registry: engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver(), preallocate.Driver())}
}

func open(t testing.TB, options string) *engine.Ref {
	t.Helper()
	tree, err := opts.ParseImageOpts(options)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := env().Open(ctx, tree, engine.OpenFlags{Write: true, Discard: true})
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func length(t testing.TB, path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// TestGrowth: the file runs ahead of what shows, and is as long as what was written in the end.
func TestGrowth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ref := open(t, "driver=preallocate,prealloc-align=1M,prealloc-size=4M,file.driver=file,file.filename="+path)
	p := bytes.Repeat([]byte{5}, 64<<10)
	for off := int64(0); off < 8<<20; off += int64(len(p)) {
		if err := ref.WriteAt(ctx, p, off, 0); err != nil {
			t.Fatal(err)
		}
		if ref.Size() != off+int64(len(p)) {
			t.Fatalf("the size is %d after a write up to %d", ref.Size(), off+int64(len(p)))
		}
		if length(t, path) < 4<<20 {
			t.Fatalf("the file has %d bytes", length(t, path))
		}
	}
	n := ref.Node().(*preallocate.Node)
	// 64 KiB + 4 MiB, up to a MiB: 5 MiB at once; then from 5 MiB on 10 MiB.
	if n.Extended() != 2 || length(t, path) != 10<<20 {
		t.Fatalf("extended %d times, to %d bytes", n.Extended(), length(t, path))
	}
	if err := ref.WriteZeroes(ctx, 8<<20, 1<<20, 0); err != nil || ref.Size() != 9<<20 {
		t.Fatalf("zeroes into the preallocation: %v, size %d", err, ref.Size())
	}
	if err := ref.ReadAt(ctx, p, 9<<20); !errors.Is(err, engine.ErrRange) {
		t.Fatalf("what does not show is read: %v", err)
	}
	if err := ref.ReadAt(ctx, p, 9<<20-int64(len(p))); err != nil || !engine.IsZero(p) {
		t.Fatalf("zeroes: %v", err)
	}
	if err := ref.Resize(ctx, 10<<20, engine.ResizeOptions{Prealloc: engine.PreallocFalloc}); err != nil || ref.Size() != 10<<20 {
		t.Fatalf("falloc: %v, size %d", err, ref.Size())
	}
	if err := ref.Resize(ctx, 3<<20, engine.ResizeOptions{}); err != nil || length(t, path) != 3<<20 {
		t.Fatalf("shrinking: %v, %d bytes", err, length(t, path))
	}
	if err := ref.WriteAt(ctx, p, 3<<20, 0); err != nil {
		t.Fatal(err)
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	if length(t, path) != 3<<20+64<<10 {
		t.Fatalf("%d bytes are left", length(t, path))
	}
}

// TestNoRoom: where preallocating fails, writes go on without.
func TestNoRoom(t *testing.T) {
	disk, child := enginetest.DiskConfig{Size: 0, Growable: true, Zero: true, Limits: engine.Limits{RequestAlign: 512}}.Open(t)
	ref := engine.NewRef(over(t, child, preallocate.OpenOptions{Align: 512, Size: 1 << 40}), engine.OpenFlags{Write: true})
	p := bytes.Repeat([]byte{7}, 4096)
	for off := int64(0); off < 64<<10; off += 4096 {
		if err := ref.WriteAt(ctx, p, off, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	if got := disk.Bytes(); len(got) != 64<<10 || !bytes.Equal(got[60<<10:], p) {
		t.Fatalf("%d bytes", len(got))
	}
}

// TestOptions: what cannot be is refused.
func TestOptions(t *testing.T) {
	tree, err := opts.ParseImageOpts("driver=preallocate,prealloc-align=1000,file.filename=/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env().Open(ctx, tree, engine.OpenFlags{}); err == nil || !strings.Contains(err.Error(), "not aligned to 512") {
		t.Fatal(err)
	}
	_, child := enginetest.DiskConfig{Size: 4096, Limits: engine.Limits{RequestAlign: 4096}}.Open(t)
	if _, err := preallocate.New(child, preallocate.OpenOptions{Align: 512}); err == nil || !strings.Contains(err.Error(), "request alignment (4096)") {
		t.Fatal(err)
	}
	child.Close()
}

// TestBelowQcow2: an image grows over the filter, is read back, and its file is cut to what it has.
func TestBelowQcow2(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.qcow2")
	target, err := opts.ParseName(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := env().Create(ctx, "qcow2", target, path, 64<<20, opts.NewTree(), engine.OpenFlags{}); err != nil {
		t.Fatal(err)
	}
	ref := open(t, "driver=qcow2,file.driver=preallocate,file.prealloc-size=8M,file.file.driver=file,file.file.filename="+path)
	p := bytes.Repeat([]byte{3}, 1<<20)
	for off := int64(0); off < 16<<20; off += 1 << 20 {
		if err := ref.WriteAt(ctx, p, off, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	if n := length(t, path); n > 17<<20 {
		t.Fatalf("the file has %d bytes", n)
	}
	ref = open(t, "driver=qcow2,file.driver=file,file.filename="+path)
	defer ref.Close()
	got := make([]byte, 1<<20)
	if err := ref.ReadAt(ctx, got, 15<<20); err != nil || !bytes.Equal(got, p) {
		t.Fatalf("read back: %v", err)
	}
	res, err := ref.Node().(engine.Checker).Check(ctx, engine.CheckOptions{})
	if err != nil || res.Corruptions+res.Leaks+res.CheckErrors != 0 {
		t.Fatalf("check: %+v, %v", res, err)
	}
}
