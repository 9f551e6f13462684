package file

import (
	"context"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// create makes a file of the size asked for, empty of whatever it held, or checks that a device has that
// size. A file that somebody uses is left as it is.
func create(ctx context.Context, r *engine.CreateRequest, c *CreateOptions) error {
	o := &Options{}
	if err := r.Target.Bind(o); err != nil {
		return err
	}
	size := max(r.Size, 0)
	var st unix.Stat_t
	if err := unix.Stat(o.Filename, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK {
		return createOnDevice(o, r, size)
	}
	fd, err := retry(func() (int, error) {
		return unix.Open(o.Filename, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOCTTY, 0o644)
	})
	if err != nil {
		return err
	}
	if err := unix.Close(fd); err != nil {
		return err
	}
	flags := r.Flags
	flags.Write, flags.AutoReadOnly = true, false
	n, err := Open(o, flags, r.Env)
	if err != nil {
		return err
	}
	return errors.Join(n.create(ctx, o, c, size), n.Close())
}

func (n *Node) create(ctx context.Context, o *Options, c *CreateOptions, size int64) error {
	perm := engine.PermWrite | engine.PermResize
	if err := n.lockAtOpen(o.Locking, perm, engine.PermAll&^engine.PermResize, nil); err != nil {
		return err
	}
	if err := n.Resize(ctx, 0, engine.ResizeOptions{Exact: true}); err != nil {
		return err
	}
	if c.NoCOW {
		noCOW(n.fd)
	}
	if c.ExtentSizeHint > 0 {
		extentSizeHint(n.fd, c.ExtentSizeHint)
	}
	return n.Resize(ctx, size, engine.ResizeOptions{Exact: true, Prealloc: c.Preallocation})
}

// remove deletes a regular file; a device stays.
func remove(_ context.Context, target *opts.Tree) error {
	name, _ := target.String("filename")
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return err
	}
	return unix.Unlink(name)
}

// createOnDevice checks that the device is large enough, and may be written to.
func createOnDevice(o *Options, r *engine.CreateRequest, size int64) error {
	flags := r.Flags
	flags.Write, flags.AutoReadOnly = true, false
	n, err := Open(o, flags, r.Env)
	if err != nil {
		return err
	}
	defer n.Close()
	if n.Size() < size {
		return engine.Errf(engine.ErrNoSpace, "the device has %d bytes, the image needs %d", n.Size(), size)
	}
	return nil
}

// File attributes that unix does not name. Source: Linux include/uapi/linux/fs.h.
const (
	fsNoCOW        = 0x00800000 // FS_NOCOW_FL
	fsXflagExtSize = 0x00000800 // FS_XFLAG_EXTSIZE
	fsIocGetXattr  = 0x801c581f
	fsIocSetXattr  = 0x401c5820
)

// noCOW sets the attribute on an empty file. Other file systems than Btrfs refuse or ignore it; as in QEMU
// that is no error.
func noCOW(fd int) {
	if flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|fsNoCOW)
	}
}

// fsxattr is the argument of the extent size hint. Source: fs.h "struct fsxattr".
type fsxattr struct {
	xflags, extsize, nextents, projid, cowextsize uint32
	_                                             [8]byte
}

// extentSizeHint asks the file system (XFS) to allocate in units of n bytes; refused, it stays a hint.
func extentSizeHint(fd int, n uint64) {
	a := fsxattr{}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocGetXattr, uintptr(unsafe.Pointer(&a))); e != 0 {
		return
	}
	a.xflags |= fsXflagExtSize
	a.extsize = uint32(min(n, 1<<31))
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocSetXattr, uintptr(unsafe.Pointer(&a)))
}
