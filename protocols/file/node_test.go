package file

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

var ctx = context.Background()

func rw() engine.OpenFlags { return engine.OpenFlags{Write: true, Discard: true} }

// eachCache runs a test with and without the page cache.
func eachCache(t *testing.T, f func(t *testing.T, dir string, flags engine.OpenFlags)) {
	places(t, func(t *testing.T, dir string) {
		t.Run("cached", func(t *testing.T) { f(t, dir, rw()) })
		t.Run("direct", func(t *testing.T) {
			flags := rw()
			flags.Cache.Direct = true
			f(t, dir, flags)
		})
	})
}

func TestReadsWhatTheFileHolds(t *testing.T) {
	eachCache(t, func(t *testing.T, dir string, flags engine.OpenFlags) {
		path, content := makeFile(t, dir, 1<<20+1234)
		ref := mustOpen(t, path, flags)
		if ref.Size() != int64(len(content)) {
			t.Errorf("size %d, want %d", ref.Size(), len(content))
		}
		for _, r := range [][2]int{{0, 4096}, {4096, 65536}, {1, 1}, {511, 2}, {1000, 500000}, {1 << 20, 1234}, {0, 1<<20 + 1234}} {
			p := make([]byte, r[1])
			if err := ref.ReadAt(ctx, p, int64(r[0])); err != nil {
				t.Fatalf("%d+%d: %v", r[0], r[1], err)
			}
			if !bytes.Equal(p, content[r[0]:r[0]+r[1]]) {
				t.Errorf("%d+%d differs from the file", r[0], r[1])
			}
		}
		if err := ref.ReadAt(ctx, make([]byte, 2), ref.Size()-1); !errors.Is(err, engine.ErrRange) {
			t.Errorf("read over the end: %v, want ErrRange", err)
		}
		// The node itself gives zeroes there, which is what an aligned read of an unaligned end needs.
		p := randomBytes(4096, 2)
		if err := ref.Node().ReadAt(ctx, aligned(4096), 1<<20); err != nil {
			t.Fatal(err)
		}
		if flags.Cache.Direct {
			return
		}
		if err := ref.Node().ReadAt(ctx, p, 1<<20); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p[:1234], content[1<<20:]) || !engine.IsZero(p[1234:]) {
			t.Error("the tail is not what the file holds, then zeroes")
		}
	})
}

func TestWritesArriveAndGrowTheFile(t *testing.T) {
	eachCache(t, func(t *testing.T, dir string, flags engine.OpenFlags) {
		path, content := makeFile(t, dir, 65536)
		ref := mustOpen(t, path, flags)
		write := func(off, n int, wf engine.WriteFlags) {
			t.Helper()
			p := randomBytes(n, uint64(off))
			if err := ref.WriteAt(ctx, p, int64(off), wf); err != nil {
				t.Fatal(err)
			}
			if off+n > len(content) {
				content = append(content, make([]byte, off+n-len(content))...)
			}
			copy(content[off:], p)
			if ref.Size() != int64(len(content)) {
				t.Errorf("after a write of %d+%d: size %d, want %d", off, n, ref.Size(), len(content))
			}
		}
		write(0, 4096, 0)
		write(4096, 8192, engine.FUA)
		write(100, 1, 0)
		write(65000, 1000, engine.FUA)
		write(200000, 3000, 0)
		if err := ref.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, content) {
			t.Error("the file differs from what was written")
		}
	})
}

func TestZeroesAndHoles(t *testing.T) {
	eachCache(t, func(t *testing.T, dir string, flags engine.OpenFlags) {
		const size, slack = 1 << 20, 16384 // the file system's own blocks count too
		path, content := makeFile(t, dir, size)
		ref := mustOpen(t, path, flags)
		if err := ref.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		full := blocksOf(t, path)
		check := func(what string, off, n int) {
			t.Helper()
			clear(content[off : off+n])
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, content) {
				t.Errorf("%s: the file is not what it should be", what)
			}
		}
		if err := ref.WriteZeroes(ctx, 65536, 65536, 0); err != nil {
			t.Fatal(err)
		}
		check("write zeroes", 65536, 65536)
		if got := blocksOf(t, path); got < full {
			t.Errorf("zeroes that stay allocated: %d bytes are, of %d", got, full)
		}
		if err := ref.WriteZeroes(ctx, 262144, 131072, engine.MayUnmap|engine.FUA); err != nil {
			t.Fatal(err)
		}
		check("write zeroes, may unmap", 262144, 131072)
		if got := blocksOf(t, path); got > full-131072+slack {
			t.Errorf("zeroes that may be unmapped: %d bytes are allocated, of %d", got, full)
		}
		if err := ref.Discard(ctx, 524288, 131072); err != nil {
			t.Fatal(err)
		}
		check("discard", 524288, 131072)
		if got := blocksOf(t, path); got > full-2*131072+slack {
			t.Errorf("after a discard: %d bytes are allocated, of %d", got, full)
		}
		if err := ref.WriteZeroes(ctx, 3, 4099, 0); err != nil {
			t.Fatal(err)
		}
		check("unaligned zeroes", 3, 4099)

		want := []engine.Extent{{Off: 0, Len: 262144}, {Off: 262144, Len: 131072}, {Off: 393216, Len: 131072}, {Off: 524288, Len: 131072}, {Off: 655360, Len: 393216}}
		got := allExtents(t, ref)
		// Zeroes that were made without data may show as a hole or as data; they are not in this comparison.
		var seen []engine.Extent
		for _, e := range got {
			if e.Off >= 262144 {
				seen = append(seen, e)
			}
		}
		if len(seen) != 4 {
			t.Fatalf("extents from 256 KiB on: %+v, want %+v", seen, want[1:])
		}
		for i, e := range seen {
			hole := i%2 == 0
			if e.Off != want[i+1].Off || e.Len != want[i+1].Len || (e.Flags&engine.ExtentZero != 0) != hole ||
				(e.Flags&engine.ExtentData != 0) == hole || e.HostOff != e.Off {
				t.Errorf("extent %d: %+v, want %+v, hole %v", i, e, want[i+1], hole)
			}
		}
	})
}

func allExtents(t *testing.T, ref *engine.Ref) []engine.Extent {
	t.Helper()
	var all []engine.Extent
	for off := int64(0); off < ref.Size(); {
		got, err := ref.Extents(ctx, off, ref.Size()-off, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got {
			if k := len(all); k > 0 && all[k-1].Flags == e.Flags {
				all[k-1].Len += e.Len
			} else {
				all = append(all, e)
			}
			off = e.Off + e.Len
		}
	}
	return all
}

func TestZeroesBeyondTheEndGrowTheFile(t *testing.T) {
	places(t, func(t *testing.T, _ string) {
		for name, flags := range map[string]engine.WriteFlags{"allocate": 0, "may unmap": engine.MayUnmap} {
			path, content := makeFile(t, t.TempDir(), 10000)
			ref := mustOpen(t, path, rw())
			if err := ref.WriteZeroes(ctx, 8192, 100000, flags); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := slices.Concat(content[:8192], make([]byte, 100000))
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: the file is not what it should be: %d bytes, error %v", name, len(got), err)
			}
			if ref.Size() != 108192 {
				t.Errorf("%s: size %d, want 108192", name, ref.Size())
			}
		}
	})
}

func TestManyExtentsComeInSeveralCalls(t *testing.T) {
	dir := inMemory(t)
	path := filepath.Join(dir, "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	const pieces = 1000
	for i := range int64(pieces) {
		if _, err := f.WriteAt([]byte("data"), i*8192); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(pieces*8192), f.Close()); err != nil {
		t.Fatal(err)
	}
	ref := mustOpen(t, path, engine.OpenFlags{})
	got := allExtents(t, ref)
	if len(got) != 2*pieces {
		t.Fatalf("%d extents, want %d", len(got), 2*pieces)
	}
	for i, e := range got {
		if e.Off != int64(i)*4096 || e.Len != 4096 || (e.Flags&engine.ExtentData != 0) != (i%2 == 0) {
			t.Fatalf("extent %d: %+v", i, e)
		}
	}
}

func TestResize(t *testing.T) {
	eachCache(t, func(t *testing.T, dir string, flags engine.OpenFlags) {
		path, content := makeFile(t, dir, 10000)
		ref := mustOpen(t, path, flags)
		for _, c := range []struct {
			size     int64
			mode     engine.Prealloc
			provided bool
		}{
			{50001, engine.PreallocOff, false},
			{200000, engine.PreallocFalloc, true},
			{400001, engine.PreallocFull, true},
			{5000, engine.PreallocOff, false},
			{5000, engine.PreallocFull, false},
			{1 << 20, engine.PreallocOff, false},
		} {
			before := blocksOf(t, path)
			old := ref.Size()
			if err := ref.Resize(ctx, c.size, engine.ResizeOptions{Prealloc: c.mode, Exact: true}); err != nil {
				t.Fatalf("to %d with %s: %v", c.size, c.mode, err)
			}
			content = append(content[:min(old, c.size)], make([]byte, max(0, c.size-old))...)
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, content) || ref.Size() != c.size {
				t.Errorf("to %d with %s: content or size %d wrong, error %v", c.size, c.mode, ref.Size(), err)
			}
			if grown := blocksOf(t, path) - before; c.provided != (grown >= (c.size-old)/4096*4096 && c.size > old) {
				t.Errorf("to %d with %s: %d more bytes are allocated", c.size, c.mode, grown)
			}
		}
		if err := ref.Resize(ctx, 100, engine.ResizeOptions{Prealloc: engine.PreallocFull}); !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("shrinking with preallocation: %v", err)
		}
		if err := ref.Resize(ctx, 1<<30, engine.ResizeOptions{Prealloc: engine.PreallocMetadata}); !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("preallocation=metadata: %v", err)
		}
		if ref.Size() != 1<<20 {
			t.Errorf("after refusals: size %d", ref.Size())
		}
	})
}

// A growth that runs out of space leaves the file as it was.
func TestFailedGrowthIsUndone(t *testing.T) {
	dir := t.TempDir()
	out, err := run(t, "mount", "-t", "tmpfs", "-o", "size=1m", "small", dir)
	requires(t, err == nil, "the right to mount: "+out)
	t.Cleanup(func() { mustRun(t, "umount", dir) })
	path, _ := makeFile(t, dir, 10000)
	ref := mustOpen(t, path, rw())
	for _, mode := range []engine.Prealloc{engine.PreallocFalloc, engine.PreallocFull} {
		if err := ref.Resize(ctx, 2<<20, engine.ResizeOptions{Prealloc: mode}); !errors.Is(err, engine.ErrNoSpace) {
			t.Fatalf("%s of more than there is: %v, want ErrNoSpace", mode, err)
		}
		if st, err := os.Stat(path); err != nil || st.Size() != 10000 || ref.Size() != 10000 {
			t.Errorf("sizes %d and %d after the failure of %s, want 10000", st.Size(), ref.Size(), mode)
		}
	}
	if err := ref.WriteAt(ctx, make([]byte, 2<<20), 0, 0); !errors.Is(err, engine.ErrNoSpace) {
		t.Errorf("write of more than there is: %v, want ErrNoSpace", err)
	}
}

func TestReadOnly(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 8192)
	ref := mustOpen(t, path, engine.OpenFlags{})
	if ref.Writable() {
		t.Error("writable though opened for reading")
	}
	if err := ref.WriteAt(ctx, make([]byte, 512), 0, 0); !errors.Is(err, engine.ErrReadOnly) {
		t.Errorf("write: %v, want ErrReadOnly", err)
	}
	if err := ref.Flush(ctx); err != nil {
		t.Errorf("flush: %v", err)
	}
	// A program that runs cannot be written to.
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, newEnv(), exe, rw()); !errors.Is(err, unix.ETXTBSY) {
		t.Errorf("writing to a running program: %v, want ETXTBSY", err)
	}
	flags := rw()
	flags.AutoReadOnly = true
	if ref := mustOpen(t, exe, flags); ref.Writable() {
		t.Error("auto-read-only gives a writable running program")
	}
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		dir:                          unix.EISDIR,
		fifo:                         engine.ErrUnsupported,
		"/dev/null":                  engine.ErrUnsupported,
		filepath.Join(dir, "absent"): engine.ErrNotFound,
	} {
		if _, err := tryOpen(t, newEnv(), path, rw()); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

func TestDirectNeedsAFileSystemThatHasIt(t *testing.T) {
	flags := engine.OpenFlags{Cache: engine.Cache{Direct: true}}
	if _, err := tryOpen(t, newEnv(), "/proc/self/status", flags); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("O_DIRECT in /proc: %v, want ErrUnsupported", err)
	}
}

func TestAlignmentIsWhatTheKernelTakes(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 1<<20)
	flags := rw()
	flags.Cache.Direct = true
	ref := mustOpen(t, path, flags)
	lim := ref.Info().Limits
	n := ref.Node().(*Node)
	takes := func(p []byte, off int64) bool {
		_, err := unix.Pread(n.fd, p, off)
		return err == nil
	}
	buf := aligned(16384)
	if !takes(buf[lim.MemAlign:][:lim.RequestAlign], int64(lim.RequestAlign)) {
		t.Errorf("the kernel does not take %d and %d", lim.RequestAlign, lim.MemAlign)
	}
	if lim.RequestAlign > 1 && takes(buf[:lim.RequestAlign/2], 0) {
		t.Errorf("the kernel takes less than %d bytes", lim.RequestAlign)
	}
	request, memory := probeAlign(n.fd, 0)
	if request < lim.RequestAlign || memory > 4096 || !takes(buf[memory%4096:][:request], int64(request)) {
		t.Errorf("tried out: %d and %d, the kernel says %d and %d", request, memory, lim.RequestAlign, lim.MemAlign)
	}
	if cached := mustOpen(t, path, engine.OpenFlags{ForceShare: true}); cached.Info().Limits.RequestAlign != 1 {
		t.Errorf("through the cache: alignment %d, want 1", cached.Info().Limits.RequestAlign)
	}
}

func TestFlushFailureStays(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 4096)
	other, _ := makeFile(t, t.TempDir(), 4096)
	n := mustOpen(t, path, rw()).Node().(*Node)
	n.flushFailed(unix.EIO)
	for range 2 {
		if err := n.Flush(ctx); !errors.Is(err, unix.EIO) {
			t.Errorf("flush after a failure: %v, want EIO", err)
		}
	}
	flags := rw()
	flags.Cache.Direct = true
	n = mustOpen(t, other, flags).Node().(*Node)
	n.flushFailed(unix.EIO) // nothing was cached that could be lost
	if err := n.Flush(ctx); err != nil {
		t.Errorf("flush of a direct file: %v", err)
	}
}

func TestCopyInsideTheKernel(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		path, content := makeFile(t, dir, 300000)
		src := mustOpen(t, path, engine.OpenFlags{})
		target := filepath.Join(dir, "copy")
		if err := os.WriteFile(target, make([]byte, 10), 0o600); err != nil {
			t.Fatal(err)
		}
		dst := mustOpen(t, target, rw())
		n := dst.Node().(*Node)
		if err := n.CopyFrom(ctx, src.Node(), 1000, 5000, 200000, false); err != nil {
			t.Fatal(err)
		}
		want := append(make([]byte, 5000), content[1000:201000]...)
		if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, want) || dst.Size() != 205000 {
			t.Errorf("the copy differs, or has the wrong size: %d, error %v", dst.Size(), err)
		}
		err := n.CopyFrom(ctx, src.Node(), 0, 0, 65536, true)
		if err != nil && !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("reflink: %v", err)
		}
	})
}
