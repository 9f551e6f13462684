package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// maxTransfer is the most that one read or write moves: whole alignments below what the kernel takes
// (MAX_RW_COUNT), bytes.
const maxTransfer = 1 << 30

// measure finds out size, alignments and abilities of what was opened.
func (n *Node) measure() error {
	size, err := sizeOf(n.fd, n.device)
	if err != nil {
		return err
	}
	n.size.Store(size)
	lim := &n.info.Limits
	lim.MaxTransfer, lim.OptTransfer = maxTransfer, 1<<20
	lim.RequestAlign, lim.MemAlign = 1, 1
	caps := engine.CapGrowable
	if n.device {
		caps = engine.CapBlockDevice
		n.measureDevice()
	}
	if n.flags.Write {
		caps |= engine.CapWritable | engine.CapFUA | engine.CapDiscard | engine.CapZero | engine.CapUnmapZero
	}
	if n.device {
		q := queueOf(n.rdev())
		if q.number("discard_max_bytes") == 0 {
			caps &^= engine.CapDiscard
			n.noPunch.Store(true)
		}
		if q.number("write_zeroes_max_bytes") == 0 {
			caps &^= engine.CapZero | engine.CapUnmapZero
		}
		lim.DiscardAlign = uint32(q.number("discard_granularity"))
	}
	if n.flags.Cache.Direct {
		lim.RequestAlign, lim.MemAlign = directAlign(n.fd, lim.LogicalBlock)
	}
	lim.DiscardAlign = max(lim.DiscardAlign, lim.RequestAlign)
	lim.ZeroAlign = max(lim.RequestAlign, lim.LogicalBlock, 1)
	n.info.Caps |= caps
	return nil
}

// sizeOf is the size of a file, or of a block device, which fstat does not know.
func sizeOf(fd int, device bool) (int64, error) {
	if device {
		var size uint64
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size)))
		if errno != 0 {
			return 0, fmt.Errorf("size of the device: %w", errno)
		}
		return int64(size), nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, err
	}
	return st.Size, nil
}

// rdev is the number of the block device.
func (n *Node) rdev() uint64 {
	var st unix.Stat_t
	if unix.Fstat(n.fd, &st) != nil {
		return 0
	}
	return st.Rdev
}

func (n *Node) measureDevice() {
	lim := &n.info.Limits
	if b, err := unix.IoctlGetInt(n.fd, unix.BLKSSZGET); err == nil {
		lim.LogicalBlock = uint32(b)
	}
	if b, err := unix.IoctlGetInt(n.fd, unix.BLKPBSZGET); err == nil {
		lim.PhysicalBlock = uint32(b)
	}
}

// directAlign is what O_DIRECT needs of offsets and lengths, and of addresses. The kernel says so since
// Linux 6.1; before, it is tried.
func directAlign(fd int, logical uint32) (request, memory uint32) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err == nil && st.Mask&unix.STATX_DIOALIGN != 0 && st.Dio_offset_align != 0 {
		return max(st.Dio_offset_align, 1), max(st.Dio_mem_align, 1)
	}
	return probeAlign(fd, logical)
}

// probeAlign reads with growing alignments until the kernel takes one. Where it cannot be told, such as in
// an empty file, 4096 is right everywhere.
func probeAlign(fd int, logical uint32) (request, memory uint32) {
	const most = pageSize
	buf := aligned(2 * most)
	takes := func(p []byte) bool {
		return preadAll(fd, p, 0) == nil
	}
	request, memory = most, most
	for a := max(logical, 512); a <= most; a *= 2 {
		if takes(buf[:a]) {
			request = a
			break
		}
	}
	for a := uint32(512); a < most; a *= 2 {
		if takes(buf[a : a+request]) {
			memory = a
			break
		}
	}
	return request, memory
}

// sysfs is a folder of attributes.
type sysfs string

// queueOf is the request queue of a block device, or of the disk that a partition is on.
func queueOf(rdev uint64) sysfs {
	dir := devDir(rdev)
	if _, err := os.Stat(filepath.Join(dir, "queue")); err == nil {
		return sysfs(filepath.Join(dir, "queue"))
	}
	return sysfs(filepath.Join(dir, "..", "queue"))
}

// devDir is the folder of a block device, its symbolic links resolved, so that ".." is the disk of a
// partition.
func devDir(rdev uint64) string {
	dir := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(rdev), unix.Minor(rdev))
	if path, err := filepath.EvalSymlinks(dir); err == nil {
		return path
	}
	return dir
}

// text is an attribute, or empty.
func (s sysfs) text(name string) string {
	b, err := os.ReadFile(filepath.Join(string(s), name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number is an attribute, or 0.
func (s sysfs) number(name string) uint64 {
	v, err := strconv.ParseUint(s.text(name), 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// readEnds reads what the signatures need of both ends of a device.
func readEnds(fd int, size int64) (*disk, error) {
	d := &disk{size: size, head: make([]byte, min(size, headLen)), tail: make([]byte, min(size, tailLen))}
	if err := preadAll(fd, d.head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := preadAll(fd, d.tail, size-int64(len(d.tail))); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return d, nil
}

// pollable says why completions of this file cannot be polled for; nil if they can.
func (n *Node) pollable() error {
	if !n.flags.Cache.Direct {
		return errors.New("only I/O that bypasses the page cache (direct=1) can be")
	}
	var st unix.Stat_t
	if err := unix.Fstat(n.fd, &st); err != nil {
		return err
	}
	dev := st.Dev
	if n.device {
		dev = st.Rdev
	}
	if queueOf(dev).text("io_poll") != "1" {
		return errors.New("the device has no queues for it (queue/io_poll in sysfs)")
	}
	return nil
}

// nowait reports whether the file system can read without blocking (FMODE_NOWAIT); tmpfs cannot. It is
// tried, with a read of as little as can be.
func (n *Node) nowait() bool {
	iov := [1][]byte{aligned(int(max(n.info.Limits.RequestAlign, 1)))}
	_, err := retry(func() (int, error) { return unix.Preadv2(n.fd, iov[:], 0, unix.RWF_NOWAIT) })
	return !errors.Is(err, unix.EOPNOTSUPP)
}
