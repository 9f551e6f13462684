package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest"
)

func TestDeviceIsDescribed(t *testing.T) {
	dev := loop(t, 8<<20)
	ref, err := tryOpen(t, newEnv(dev), dev, rw())
	if err != nil {
		t.Fatal(err)
	}
	info := ref.Info()
	if ref.Size() != 8<<20 || info.Driver != "host_device" || info.Limits.LogicalBlock != 512 ||
		!info.Caps.Has(engine.CapBlockDevice|engine.CapWritable|engine.CapDiscard) || info.Caps.Has(engine.CapGrowable) {
		t.Errorf("size %d, %+v", ref.Size(), info)
	}
	if err := ref.WriteAt(ctx, make([]byte, 4096), ref.Size()-512, 0); !errors.Is(err, engine.ErrRange) {
		t.Errorf("write over the end: %v, want ErrRange", err)
	}
	for size, want := range map[int64]error{8 << 20: nil, 4 << 20: engine.ErrUnsupported, 16 << 20: engine.ErrUnsupported} {
		if err := ref.Resize(ctx, size, engine.ResizeOptions{Exact: true}); !errors.Is(err, want) {
			t.Errorf("resize to %d: %v, want %v", size, err, want)
		}
	}
	if err := ref.Resize(ctx, 4<<20, engine.ResizeOptions{}); err != nil {
		t.Errorf("resize to less, not exactly: %v", err)
	}
}

func TestDeviceZeroesAndDiscards(t *testing.T) {
	enginetest.Long(t)
	for name, direct := range map[string]bool{"cached": false, "direct": true} {
		t.Run(name, func(t *testing.T) {
			const size = 8 << 20
			dev := loop(t, size)
			flags := rw()
			flags.Cache.Direct = direct
			ref, err := tryOpen(t, newEnv(dev), dev, flags)
			if err != nil {
				t.Fatal(err)
			}
			content := randomBytes(size, 3)
			if err := ref.WriteAt(ctx, content, 0, engine.FUA); err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct {
				off, n int64
				flags  engine.WriteFlags
				trim   bool
			}{
				{1 << 20, 1 << 20, 0, false},
				{2 << 20, 1 << 20, engine.MayUnmap, false},
				{3 << 20, 1 << 20, engine.NoFallback, false},
				{4<<20 + 1000, 5000, 0, false},
				{5 << 20, 1 << 20, 0, true},
			} {
				if step.trim {
					err = ref.Discard(ctx, step.off, step.n)
				} else {
					err = ref.WriteZeroes(ctx, step.off, step.n, step.flags)
				}
				if err != nil {
					t.Fatalf("%+v: %v", step, err)
				}
				clear(content[step.off : step.off+step.n]) // a loop device reads zeroes after a discard
			}
			got := make([]byte, size)
			if err := ref.ReadAt(ctx, got, 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, content) {
				t.Error("the device is not what it should be")
			}
			if ext, err := ref.Extents(ctx, 0, size, nil); err != nil || len(ext) != 1 || ext[0].Flags&engine.ExtentData == 0 {
				t.Errorf("extents %+v, error %v, want data only", ext, err)
			}
		})
	}
}

func TestDeviceThroughTheQueue(t *testing.T) {
	enginetest.Long(t)
	for _, w := range wishes {
		t.Run(w.name, func(t *testing.T) {
			const size = 4 << 20
			dev := loop(t, size)
			lock(t)
			ref, err := tryOpen(t, newEnv(dev), dev, engine.OpenFlags{Write: true, Discard: true, Cache: w.cache, Leaf: w.leaf})
			if err != nil {
				t.Fatal(err)
			}
			arena, err := dma.New(dma.Config{Size: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer arena.Close()
			buf, err := arena.Alloc(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			path, err := engine.OpenPath(ctx, ref, engine.PathConfig{
				Poller: engine.NewPoller(), Depth: 8, Arenas: []*dma.Arena{arena}, Poll: w.poll,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer path.Close()
			do := func(op engine.Op, off int64, n int, flags engine.WriteFlags) {
				t.Helper()
				r := &engine.Request{Op: op, Off: off, Len: uint32(n), Buf: buf, Flags: flags}
				if path.Submit([]*engine.Request{r}) != 1 {
					t.Fatal("not taken")
				}
				done := make([]*engine.Request, 1)
				for path.Poll(done) == 0 {
					if err := path.Wait(-1); err != nil {
						t.Fatal(err)
					}
				}
				if err := r.Err(); err != nil {
					t.Fatalf("%s: %v", op, err)
				}
			}
			content := randomBytes(1<<20, 5)
			copy(arena.Bytes(buf, 1<<20), content)
			do(engine.OpWrite, 0, 1<<20, 0)
			do(engine.OpZero, 65536, 65536, 0)
			do(engine.OpZero, 262144, 65536, engine.MayUnmap|engine.FUA)
			do(engine.OpDiscard, 524288, 65536, 0)
			do(engine.OpFlush, 0, 0, 0)
			for _, off := range []int{65536, 262144, 524288} {
				clear(content[off : off+65536])
			}
			clear(arena.Bytes(buf, 1<<20))
			do(engine.OpRead, 0, 1<<20, 0)
			if !bytes.Equal(arena.Bytes(buf, 1<<20), content) {
				t.Error("the device is not what it should be")
			}
		})
	}
}

func refused(t *testing.T, dev string, allow []string, words ...string) {
	t.Helper()
	ref, err := newEnv(allow...).OpenName(ctx, dev, "file", rw())
	if err == nil {
		ref.Close()
		t.Fatalf("%s was opened for writing", dev)
	}
	if !errors.Is(err, engine.ErrConsent) {
		t.Errorf("%v is not ErrConsent", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestWritingToADeviceNeedsItsName(t *testing.T) {
	dev := loop(t, 64<<20)
	refused(t, dev, nil, dev, "nothing was recognised", "--allow-destroy="+dev)
	refused(t, dev, []string{"/dev/null", "/dev/absent", filepath.Base(dev)}, "--allow-destroy="+dev)
	mustRun(t, "mkfs.ext4", "-q", "-F", dev)
	refused(t, dev, nil, "ext2/3/4 file system at 0x438", "--allow-destroy="+dev)
	if ref, err := tryOpen(t, newEnv(), dev, engine.OpenFlags{ForceShare: true}); err != nil {
		t.Errorf("reading needs no consent: %v", err)
	} else if ref.Writable() {
		t.Error("writable without consent")
	}
	// Another name of the same device is its name too.
	link := filepath.Join(t.TempDir(), "disk")
	if err := os.Symlink(dev, link); err != nil {
		t.Fatal(err)
	}
	for _, allow := range []string{dev, link} {
		for _, name := range []string{dev, link} {
			ref, err := newEnv(allow).OpenName(ctx, name, "file", rw())
			if err != nil {
				t.Errorf("%s with %s allowed: %v", name, allow, err)
				continue
			}
			if err := ref.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	// Nothing was written by any of this.
	if out := mustRun(t, "e2fsck", "-f", "-n", dev); strings.Contains(out, "WARNING") {
		t.Errorf("the file system has suffered: %s", out)
	}
}

func TestMountedDevicesAreNeverWrittenTo(t *testing.T) {
	dev := loop(t, 64<<20)
	mustRun(t, "mkfs.ext4", "-q", "-F", dev)
	dir := filepath.Join(t.TempDir(), "a mount") // blanks are escaped in mountinfo
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "mount", dev, dir)
	requires(t, err == nil, "the right to mount: "+out)
	defer mustRun(t, "umount", dir)
	refused(t, dev, []string{dev}, dev+" is mounted at "+dir, "cannot be overridden")
}

func TestSwapIsNeverWrittenTo(t *testing.T) {
	dev := loop(t, 16<<20)
	mustRun(t, "mkswap", "-q", dev)
	refused(t, dev, nil, "swap area at 0xff6")
	out, err := run(t, "swapon", dev)
	requires(t, err == nil, "the right to swap: "+out)
	defer mustRun(t, "swapoff", dev)
	refused(t, dev, []string{dev}, "swap space", "cannot be overridden")
}

func TestDiskOfAMountedPartitionIsNeverWrittenTo(t *testing.T) {
	dev := loop(t, 64<<20)
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mbr := make([]byte, 512)
	copy(mbr[0x1be:], "\x00\x00\x00\x00\x83\x00\x00\x00"+le32(2048)+le32(100000))
	copy(mbr[0x1fe:], "\x55\xaa")
	if _, err := f.WriteAt(mbr, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	refused(t, dev, nil, "MBR partition table at 0x1fe")
	_, err = run(t, "losetup", "-c", dev)
	if err == nil {
		// Add the partition as partx(8) does, which reads no table.
		err = addPartition(int(f.Fd()), 1, 2048*512, 100000*512)
	}
	if errors.Is(err, unix.EBUSY) { // the kernel was faster
		err = nil
	}
	requires(t, err == nil, "partitions on loop devices")
	t.Cleanup(func() {
		f, err := os.Open(dev)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := deletePartition(int(f.Fd()), 1); err != nil {
			t.Error(err)
		}
	})
	part := dev + "p1"
	_, err = os.Stat(part)
	requires(t, err == nil, part)
	mustRun(t, "mkfs.ext4", "-q", "-F", part)
	dir := t.TempDir()
	out, err := run(t, "mount", part, dir)
	requires(t, err == nil, "the right to mount: "+out)
	refused(t, dev, []string{dev}, part+" is mounted at "+dir)
	refused(t, part, []string{part}, part+" is mounted at "+dir)
	mustRun(t, "umount", dir)
	refused(t, part, []string{dev}, "ext2/3/4") // the disk's name is not the partition's
	if _, err := tryOpen(t, newEnv(part), part, rw()); err != nil {
		t.Errorf("not mounted any more, and named: %v", err)
	}
}

func TestTheRootDiskIsNeverWrittenTo(t *testing.T) {
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err != nil {
		t.Fatal(err)
	}
	for rdev, name := range relatives(st.Dev) {
		var dev unix.Stat_t
		requires(t, unix.Stat(name, &dev) == nil && dev.Rdev == rdev, "a device file of the root file system")
		if err := inUse(name, rdev); !errors.Is(err, engine.ErrConsent) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

func TestADeviceIsClaimed(t *testing.T) {
	dev := loop(t, 8<<20)
	env := newEnv(dev)
	first, err := env.OpenName(ctx, dev, "file", engine.OpenFlags{Write: true, ForceShare: false})
	if err != nil {
		t.Fatal(err)
	}
	exclusively := func() error {
		fd, err := unix.Open(dev, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	if err := exclusively(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("another exclusive open: %v, want EBUSY", err)
	}
	// This process may open it again; the claim lasts as long as the last.
	refused(t, dev, nil) // not without its name, though
	second, err := env.OpenName(ctx, `json:{"driver":"host_device","filename":"`+dev+`","locking":"off"}`, "file", engine.OpenFlags{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := exclusively(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("exclusive open after the first has closed: %v, want EBUSY", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if err := exclusively(); err != nil {
		t.Errorf("exclusive open after both have closed: %v", err)
	}
	// And the other way round.
	fd, err := unix.Open(dev, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, dev, []string{dev}, "in use by another program")
	unix.Close(fd)
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"/plain": "/plain", `/a\040b`: "/a b", `/a\134b`: `/a\b`, `/a\04`: `/a\04`, `\011\012`: "\t\n", `\8`: `\8`, "": "",
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// blkpg is the argument of BLKPG. Source: Linux include/uapi/linux/blkpg.h.
type blkpg struct {
	op, flags, datalen int32
	_                  int32
	data               *blkpgPartition
}

type blkpgPartition struct {
	start, length int64
	pno           int32
	_             [64 + 64 + 4]byte
}

func addPartition(fd int, pno int32, start, length int64) error {
	return partition(fd, 1, &blkpgPartition{start: start, length: length, pno: pno})
}

func deletePartition(fd int, pno int32) error {
	return partition(fd, 2, &blkpgPartition{pno: pno})
}

func partition(fd int, op int32, p *blkpgPartition) error {
	a := &blkpg{op: op, datalen: int32(unsafe.Sizeof(*p)), data: p}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKPG, uintptr(unsafe.Pointer(a))); errno != 0 {
		return errno
	}
	return nil
}

func TestDeviceUnderAnotherIsNeverWrittenTo(t *testing.T) {
	dev := loop(t, 8<<20)
	name := "blkbench-test-" + filepath.Base(dev)
	out, err := run(t, "dmsetup", "create", name, "--table", "0 8192 linear "+dev+" 0")
	if err != nil {
		t.Skipf("requires a kernel with the device mapper: %s", out) // a property of the machine, not a peer
	}
	defer mustRun(t, "dmsetup", "remove", name)
	refused(t, dev, []string{dev}, "is built on it", "cannot be overridden")
}
