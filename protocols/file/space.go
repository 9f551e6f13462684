package file

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

const (
	punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	zero  = unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE
	// stepMax bounds one system call, so that a cancelled context is noticed, bytes.
	stepMax = 4 << 30
)

// unsupported tells "cannot" from "failed".
func unsupported(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENODEV) ||
		errors.Is(err, unix.ENOTTY)
}

// fallocate is one call with its EINTR.
func (n *Node) fallocate(mode uint32, off, length int64) error {
	_, err := retry(func() (int, error) { return 0, unix.Fallocate(n.rangeFD, mode, off, length) })
	return err
}

// inSteps calls f over a range, at most stepMax at a time.
func inSteps(ctx context.Context, off, length int64, f func(off, length int64) error) error {
	for length > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		step := min(length, stepMax)
		if err := f(off, step); err != nil {
			return err
		}
		off, length = off+step, length-step
	}
	return nil
}

// Discard deallocates: a hole in a file, BLKDISCARD on a device. Where the storage cannot, nothing happens.
func (n *Node) Discard(ctx context.Context, off, length int64) error {
	if n.noPunch.Load() {
		return nil
	}
	err := inSteps(ctx, off, length, func(off, length int64) error {
		if n.device {
			return blkRange(n.rangeFD, unix.BLKDISCARD, off, length)
		}
		return n.fallocate(punch, off, length)
	})
	if err != nil && unsupported(err) {
		n.noPunch.Store(true)
		return nil
	}
	return err
}

// blkRange is an ioctl that takes a range of a block device.
func blkRange(fd int, req uint, off, length int64) error {
	r := [2]uint64{uint64(off), uint64(length)}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(&r)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// WriteZeroes makes a range read as zeroes without sending them, and extends a file that ends before its
// end. Without MayUnmap the range stays, or becomes, allocated.
func (n *Node) WriteZeroes(ctx context.Context, off, length int64, flags engine.WriteFlags) error {
	err := inSteps(ctx, off, length, func(off, length int64) error {
		if n.device {
			return n.zeroDevice(off, length, flags)
		}
		return n.zeroFile(off, length, flags)
	})
	if err != nil || flags&engine.FUA == 0 {
		return err
	}
	return n.Flush(ctx)
}

func (n *Node) zeroFile(off, length int64, flags engine.WriteFlags) error {
	if flags&engine.MayUnmap != 0 {
		err := n.try(&n.noPunch, punch, off, length)
		if err == nil {
			return n.extend(off + length)
		}
		if !errors.Is(err, engine.ErrUnsupported) {
			return err
		}
	}
	err := n.try(&n.noZero, zero, off, length)
	if errors.Is(err, engine.ErrUnsupported) {
		// A hole that is filled again reads as zeroes and is allocated.
		if err = n.try(&n.noPunch, punch, off, length); err == nil {
			err = n.try(&n.noAllocate, 0, off, length)
		}
	}
	if err != nil {
		return err
	}
	return n.extend(off + length)
}

func (n *Node) zeroDevice(off, length int64, flags engine.WriteFlags) error {
	if flags&engine.MayUnmap != 0 {
		err := n.try(&n.noPunch, punch, off, length)
		if !errors.Is(err, engine.ErrUnsupported) {
			return err
		}
	}
	if flags&engine.NoFallback != 0 && !n.info.Caps.Has(engine.CapZero) {
		return engine.Errf(engine.ErrUnsupported, "the device writes zeroes only as data")
	}
	if n.noZero.Load() {
		return engine.Errf(engine.ErrUnsupported, "write zeroes")
	}
	err := blkRange(n.rangeFD, unix.BLKZEROOUT, off, length)
	if err != nil && unsupported(err) {
		n.noZero.Store(true)
		return engine.Errf(engine.ErrUnsupported, "write zeroes: %w", err)
	}
	return err
}

// try is a fallocate that is not tried again once the file system has said that it cannot.
func (n *Node) try(not *atomic.Bool, mode uint32, off, length int64) error {
	if not.Load() {
		return engine.Errf(engine.ErrUnsupported, "fallocate mode %#x", mode)
	}
	err := n.fallocate(mode, off, length)
	if err != nil && unsupported(err) {
		not.Store(true)
		return engine.Errf(engine.ErrUnsupported, "fallocate mode %#x: %w", mode, err)
	}
	return err
}

// extend makes a file reach to end, with a hole.
func (n *Node) extend(end int64) error {
	if n.device || end <= n.size.Load() {
		return nil
	}
	n.resizing.Lock()
	defer n.resizing.Unlock()
	if end <= n.endNow() { // another write has
		n.extended(end)
		return nil
	}
	if err := unix.Ftruncate(n.fd, end); err != nil {
		return err
	}
	n.extended(end)
	return nil
}

// Resize changes the size of a file. A device keeps the size it has: asking for less is granted without
// Exact.
func (n *Node) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	old := n.size.Load()
	if n.device {
		switch { // the words are QEMU's
		case size != old && o.Exact:
			return engine.Errf(engine.ErrUnsupported, "Cannot resize device files")
		case size > old:
			return engine.Errf(engine.ErrUnsupported, "Cannot grow device files")
		}
		return nil
	}
	n.resizing.Lock()
	defer n.resizing.Unlock()
	if err := n.needResize(); err != nil {
		return err
	}
	old = n.endNow()
	if size <= old && o.Prealloc != engine.PreallocOff && o.Prealloc != "" {
		if size < old {
			return engine.Errf(engine.ErrUnsupported, "Cannot use preallocation for shrinking files")
		}
		return nil
	}
	if err := n.provide(ctx, old, size, o.Prealloc); err != nil {
		if size > old {
			err = errors.Join(err, n.shrinkBack(old))
			n.size.Store(old)
		}
		return err
	}
	n.size.Store(size)
	return nil
}

// shrinkBack undoes a growth that did not succeed.
func (n *Node) shrinkBack(size int64) error {
	if err := unix.Ftruncate(n.fd, size); err != nil {
		return fmt.Errorf("back to %d bytes: %w", size, err)
	}
	return nil
}

// provide makes the file size bytes long, old having been its length.
func (n *Node) provide(ctx context.Context, old, size int64, mode engine.Prealloc) error {
	switch mode {
	case engine.PreallocOff, "":
		return unix.Ftruncate(n.fd, size)
	case engine.PreallocFalloc:
		err := n.fallocate(0, old, size-old)
		if err != nil && unsupported(err) {
			return n.fill(ctx, old, size)
		}
		return err
	case engine.PreallocFull:
		return n.fill(ctx, old, size)
	case engine.PreallocMetadata:
	}
	return engine.Errf(engine.ErrUnsupported, "Unsupported preallocation mode: %s", mode)
}

// fill writes zeroes, so that the storage provides and initialises every block.
func (n *Node) fill(ctx context.Context, old, size int64) error {
	align := int64(max(1, n.info.Limits.RequestAlign))
	buf := aligned(1 << 20)
	for at := old &^ (align - 1); at < size; {
		step := min(int64(len(buf)), size-at)
		if at < old || step < align { // blocks that begin or end inside are not for O_DIRECT: a hole serves
			at = min(size, at+align)
			if err := unix.Ftruncate(n.fd, at); err != nil {
				return err
			}
			continue
		}
		step &^= align - 1
		if err := n.WriteAt(ctx, buf[:step], at, 0); err != nil {
			return err
		}
		at += step
	}
	if err := unix.Ftruncate(n.fd, size); err != nil {
		return err
	}
	return unix.Fsync(n.fd)
}

// isUnsupported reports an error of kind ErrUnsupported.
func isUnsupported(err error) bool { return errors.Is(err, engine.ErrUnsupported) }
