package qcow2_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/formats/qcow2"
)

// TestCopyFrom copies clusters from another file inside the kernel, over clusters of every kind.
func TestCopyFrom(t *testing.T) {
	const size = 1<<20 + 512*3
	e := env(engine.ReferencesAllow)
	for _, options := range []string{"", "cluster_size=4k", "extended_l2=on,cluster_size=16k", "compat=0.10"} {
		t.Run(options, func(t *testing.T) {
			dir := t.TempDir()
			path, from := filepath.Join(dir, "a.qcow2"), filepath.Join(dir, "from")
			source := make([]byte, size+4096)
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := range source {
				source[i] = byte(rnd.Uint32())
			}
			if err := errors.Join(os.WriteFile(from, source, 0o644), make1(t, e, "qcow2", path, options, size)); err != nil {
				t.Fatal(err)
			}
			src, err := e.OpenName(ctx, from, "file", engine.OpenFlags{})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			ref, err := e.OpenName(ctx, path, "qcow2", engine.OpenFlags{Write: true, Discard: true})
			if err != nil {
				t.Fatal(err)
			}
			defer ref.Close()
			m := ref.Node().(*qcow2.Image)
			cluster := int64(ref.Info().Limits.ClusterSize)
			want := make([]byte, size)
			write := func(v byte, off, n int64) {
				t.Helper()
				if err := ref.WriteAt(ctx, bytes.Repeat([]byte{v}, int(n)), off, 0); err != nil {
					t.Fatal(err)
				}
				copy(want[off:], bytes.Repeat([]byte{v}, int(n)))
			}
			// Shared, compressed, in place, zero, and unallocated clusters; the end is a part of one.
			write(1, 0, 256<<10)
			if err := m.CreateSnapshot(ctx, engine.Snapshot{Name: "s", Icount: -1}); err != nil {
				t.Fatal(err)
			}
			write(2, 300<<10, 100<<10)
			if err := ref.WriteAt(ctx, bytes.Repeat([]byte{3}, 128<<10), 512<<10, engine.Compressed); err != nil {
				t.Fatal(err)
			}
			copy(want[512<<10:], bytes.Repeat([]byte{3}, 128<<10))
			if err := ref.WriteZeroes(ctx, 700<<10, 100<<10, 0); err != nil {
				t.Fatal(err)
			}
			for i, c := range [][2]int64{{0, 64 << 10}, {192 << 10, 512 << 10}, {size &^ (cluster - 1), size}, {0, size}} {
				off, n := c[0]&^(cluster-1), c[1]-c[0]&^(cluster-1)
				if c[1] != size {
					n &^= cluster - 1
				}
				err := m.CopyFrom(ctx, src.Node(), off+int64(i)*1024, off, n, false)
				if errors.Is(err, engine.ErrUnsupported) {
					t.Skipf("requires copy_file_range in %s: %v", dir, err)
				}
				if err != nil {
					t.Fatal(err)
				}
				copy(want[off:off+n], source[off+int64(i)*1024:])
				got := make([]byte, size)
				if err := ref.ReadAt(ctx, got, 0); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("after copy %d: %v, equal %t", i, err, bytes.Equal(got, want))
				}
			}
			if err := m.CopyFrom(ctx, src.Node(), 0, 512, cluster, false); !errors.Is(err, engine.ErrUnsupported) {
				t.Errorf("a part of a cluster: %v", err)
			}
			if err := ref.Resize(ctx, size+cluster&^511, engine.ResizeOptions{}); err != nil && options != "compat=0.10" {
				t.Fatal(err)
			}
			tail := make([]byte, ref.Size()-size)
			if len(tail) > 0 {
				if err := ref.ReadAt(ctx, tail, size); err != nil || !engine.IsZero(tail) {
					t.Errorf("what was behind the end: %v, zero %t", err, engine.IsZero(tail))
				}
			}
			var lines []string
			res, err := m.Check(ctx, engine.CheckOptions{Report: func(s string) { lines = append(lines, s) }})
			if err != nil || res.Corruptions+res.Leaks+res.CheckErrors > 0 {
				t.Errorf("check: %+v, %v\n%v", res, err, lines)
			}
		})
	}
}

// TestSizeOfTheBackingFile: without a size of its own, an image is as large as the backing file that its options name.
func TestSizeOfTheBackingFile(t *testing.T) {
	dir := t.TempDir()
	e := env(engine.ReferencesNone) // which is about names inside images
	base, top := filepath.Join(dir, "base"), filepath.Join(dir, "top")
	if err := os.WriteFile(base, make([]byte, 300<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := make1(t, e, "qcow2", top, "backing_file=base,backing_fmt=raw", -1); err != nil {
		t.Fatal(err)
	}
	r, err := e.OpenName(ctx, top, "qcow2", engine.OpenFlags{NoBacking: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Size() != 300<<10 {
		t.Errorf("%d bytes", r.Size())
	}
	if n, err := r.AllocatedSize(ctx); err != nil || n < 4096 || n > 1<<20 {
		t.Errorf("allocated: %d bytes, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := make1(t, e, "qcow2", top, "backing_file=absent,backing_fmt=raw", -1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a backing file that is not there: %v", err)
	}
	if err := make1(t, e, "qcow2", top, "backing_file=absent,backing_fmt=raw", 1<<20); err != nil {
		t.Errorf("with a size nobody looks: %v", err)
	}
}
