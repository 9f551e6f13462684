package file

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// CopyFrom copies a range of another file inside the kernel, or shares its blocks (reflink). It is of kind
// ErrUnsupported where the file systems cannot.
func (n *Node) CopyFrom(ctx context.Context, src engine.Node, srcOff, off, length int64, reflink bool) error {
	from, ok := src.(*Node)
	if !ok || from.device || n.device {
		return engine.Errf(engine.ErrUnsupported, "copy inside the kernel: not two files")
	}
	if reflink {
		return n.clone(from, srcOff, off, length)
	}
	if n.noCopy.Load() {
		return engine.Errf(engine.ErrUnsupported, "copy_file_range")
	}
	err := inSteps(ctx, 0, length, func(at, step int64) error {
		in, out := srcOff+at, off+at
		for end := out + step; out < end; {
			k, err := retry(func() (int, error) { return unix.CopyFileRange(from.fd, &in, n.fd, &out, int(end-out), 0) })
			if err != nil {
				return err
			}
			if k == 0 { // the source ends here: the rest reads as zeroes
				return n.zeroFile(out, end-out, engine.MayUnmap)
			}
			n.extended(out)
		}
		return nil
	})
	if err != nil && (unsupported(err) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL)) {
		n.noCopy.Store(true)
		return engine.Errf(engine.ErrUnsupported, "copy_file_range: %w", err)
	}
	return err
}

// clone shares the blocks of a range, all or nothing.
//
// Source: ioctl_ficlonerange(2).
func (n *Node) clone(from *Node, srcOff, off, length int64) error {
	if n.noClone.Load() {
		return engine.Errf(engine.ErrUnsupported, "reflink")
	}
	err := unix.IoctlFileCloneRange(n.fd, &unix.FileCloneRange{
		Src_fd: int64(from.fd), Src_offset: uint64(srcOff), Src_length: uint64(length), Dest_offset: uint64(off),
	})
	switch {
	case err == nil:
		n.extended(off + length)
		return nil
	case errors.Is(err, unix.EINVAL): // this range does not fit the blocks; another may
		return engine.Errf(engine.ErrUnsupported, "reflink: %w", err)
	case unsupported(err), errors.Is(err, unix.EXDEV):
		n.noClone.Store(true)
		return engine.Errf(engine.ErrUnsupported, "reflink: %w", err)
	}
	return err
}
