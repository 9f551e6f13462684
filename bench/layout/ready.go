package layout

import (
	"context"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
)

func (l *Layout) ready(ctx context.Context, f *File) error {
	j := l.job
	if j.Files.WriteHint == fiojob.HintNotSet && !j.Files.PreRead && !j.Files.Invalidate {
		return nil
	}
	fd, err := os.Open(f.Name)
	if err != nil {
		return err
	}
	defer fd.Close()
	if hint := j.Files.WriteHint; hint != fiojob.HintNotSet {
		if err := setWriteHint(fd, uint64(hint)); err != nil {
			return err
		}
	}
	if j.Files.PreRead {
		return preRead(ctx, fd, f.Extent)
	}
	if j.Files.Invalidate {
		return invalidate(fd, f.Extent)
	}
	return nil
}

// setWriteHint is fcntl(2) F_SET_RW_HINT. The hint is the inode's, so that it
// holds for the engine's descriptor, too.
func setWriteHint(fd *os.File, hint uint64) error {
	_, _, errno := unix.Syscall(unix.SYS_FCNTL, fd.Fd(), unix.F_SET_RW_HINT, uintptr(unsafe.Pointer(&hint)))
	if errno != 0 {
		return os.NewSyscallError("fcntl F_SET_RW_HINT", errno)
	}
	return nil
}

// preRead brings the extent into the page cache.
func preRead(ctx context.Context, fd *os.File, e Extent) error {
	buf := make([]byte, chunk)
	for off := e.Offset; off < e.End(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := fd.ReadAt(buf[:min(chunk, e.End()-off)], off)
		off += int64(n)
		if errors.Is(err, io.EOF) {
			return nil // a job that writes may find its file shorter
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// invalidate drops the extent from the page cache. Pages that are not written
// back yet stay: that is what create_fsync is for.
func invalidate(fd *os.File, e Extent) error {
	err := ignoringEINTR(func() error { return unix.Fadvise(int(fd.Fd()), e.Offset, e.Size, unix.FADV_DONTNEED) })
	return os.NewSyscallError("fadvise", err)
}

func hashName(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64()
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
