package file

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mounted makes a file system on a loop device and mounts it.
func mounted(t *testing.T, kind string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("makes file systems in the long run only")
	}
	dev, dir := loop(t, 400<<20), t.TempDir()
	out, err := run(t, "mkfs."+kind, "-q", dev)
	requires(t, err == nil, "mkfs."+kind+": "+out)
	err = unix.Mount(dev, dir, kind, 0, "")
	requires(t, err == nil, kind+" in this kernel")
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestExtentSizeHint: new files ask XFS for QEMU's megabyte, or for what the options say.
func TestExtentSizeHint(t *testing.T) {
	path := mounted(t, "xfs") + "/image"
	for options, want := range map[string]uint32{"": 1 << 20, "extent_size_hint=64k": 64 << 10, "extent_size_hint=0": 0} {
		if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
			t.Fatal(err)
		}
		if err := makeImage(t, path, 1<<20, options); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		var a fsxattr
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocGetXattr, uintptr(unsafe.Pointer(&a)))
		unix.Close(fd)
		if e != 0 || a.extsize != want || (a.xflags&fsXflagExtSize != 0) != (want > 0) {
			t.Errorf("%q: the hint is %d (flags %#x, errno %d), want %d", options, a.extsize, a.xflags, e, want)
		}
	}
}

// TestNoCOW: the attribute is set where Btrfs takes it.
func TestNoCOW(t *testing.T) {
	path := mounted(t, "btrfs") + "/image"
	for options, want := range map[string]bool{"": false, "nocow=on": true} {
		if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
			t.Fatal(err)
		}
		if err := makeImage(t, path, 1<<20, options); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
		unix.Close(fd)
		if err != nil || (flags&fsNoCOW != 0) != want {
			t.Errorf("%q: flags %#x, %v", options, flags, err)
		}
	}
}

// TestReflinkSharesBlocks copies by sharing, on a file system that can.
func TestReflinkSharesBlocks(t *testing.T) {
	dir := mounted(t, "xfs")
	const n = 8 << 20
	from, content := makeFile(t, dir, n)
	src := mustOpen(t, from, rw())
	defer src.Close()
	dst := fresh(t, dir, 0, rw())
	defer dst.Close()
	if err := src.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := dst.Node().(*Node).CopyFrom(ctx, src.Node(), 0, 0, n, true); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, n)
	if err := dst.ReadAt(ctx, got, 0); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(content) {
		t.Error("the copy differs")
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	before := st.Bfree
	if err := dst.Node().(*Node).CopyFrom(ctx, src.Node(), 0, n, n, true); err != nil {
		t.Fatal(err)
	}
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if took := (int64(before) - int64(st.Bfree)) * st.Bsize; took > n/2 {
		t.Errorf("the second copy took %d bytes", took)
	}
}
