package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// Node is a file or a block device of the host.
type Node struct {
	fd      int
	rangeFD int // for zeroing and discarding
	given   int // a descriptor that was opened already, while the node is opened; else negative
	info    engine.Info
	opt     Options
	flags   engine.OpenFlags
	env     *engine.Env // may be nil
	device  bool
	claimed uint64 // device number, 0 if none
	locks   lockState
	locked  bool // locks are taken; under resizing once the node is open
	size    atomic.Int64
	// lost is set for good when a flush fails: the kernel reports such a failure once and marks the pages
	// clean, so that a later success would mean nothing.
	lost atomic.Pointer[error]
	// noPunch and noZero remember that the file system does not have them.
	noPunch, noZero, noAllocate, noCopy, noClone atomic.Bool
	// resizing excludes changes of the size from one another.
	resizing sync.Mutex
}

// Info says what the file is.
func (n *Node) Info() engine.Info { return n.info }

// Size is the file's size in bytes, as of the open or as extended since.
func (n *Node) Size() int64 { return n.size.Load() }

// FD is the descriptor, for what needs one; it is the node's.
func (n *Node) FD() int { return n.fd }

// ReadAt fills p from off; what lies beyond the end of the file reads as zeroes.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := retry(func() (int, error) { return unix.Pread(n.fd, p, off) })
		if err != nil {
			return err
		}
		if k < len(p) && (k == 0 || off+int64(k) >= n.endNow()) {
			clear(p[k:])
			return nil
		}
		p, off = p[k:], off+int64(k)
	}
	return nil
}

// endNow is the end of the file as the kernel has it, which others may have moved.
func (n *Node) endNow() int64 {
	var st unix.Stat_t
	if n.device || unix.Fstat(n.fd, &st) != nil {
		return n.size.Load()
	}
	return st.Size
}

// WriteAt writes p at off, and extends a file that ends before its end.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	rw := 0
	if flags&engine.FUA != 0 {
		rw = int(n.rwFlags(flags))
	}
	for len(p) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := n.pwrite(p, off, rw)
		switch {
		case err != nil:
			return err
		case k == 0:
			return engine.Errf(engine.ErrNoSpace, "nothing written")
		}
		p, off = p[k:], off+int64(k)
		n.extended(off)
	}
	return nil
}

func (n *Node) pwrite(p []byte, off int64, rw int) (int, error) {
	if rw == 0 {
		return retry(func() (int, error) { return unix.Pwrite(n.fd, p, off) })
	}
	iov := [1][]byte{p}
	return retry(func() (int, error) { return unix.Pwritev2(n.fd, iov[:], off, rw) })
}

// extended notes that the file reaches to end.
func (n *Node) extended(end int64) {
	for size := n.size.Load(); end > size && !n.size.CompareAndSwap(size, end); {
		size = n.size.Load()
	}
}

// Flush makes what was written durable. After a failure every later one fails as well.
func (n *Node) Flush(context.Context) error { return n.flush(unix.Fdatasync) }

func (n *Node) flush(call func(fd int) error) error {
	if n.flags.Cache.NoFlush {
		return nil
	}
	if err := n.lost.Load(); err != nil {
		return *err
	}
	_, err := retry(func() (int, error) { return 0, call(n.fd) })
	if err != nil && !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EINVAL) {
		n.flushFailed(err)
	}
	return err
}

// flushFailed records that data was lost, unless nothing was cached that could be.
func (n *Node) flushFailed(cause error) {
	if n.flags.Cache.Direct {
		return
	}
	err := fmt.Errorf("an earlier flush failed, data may be lost: %w", cause)
	n.lost.CompareAndSwap(nil, &err)
}

// SyncRange starts or awaits the writing back of a cached range.
func (n *Node) SyncRange(_ context.Context, off, length int64, o engine.SyncRangeFlags) error {
	flags := 0
	for _, f := range [...]struct {
		on   bool
		flag int
	}{
		{o.WaitBefore, unix.SYNC_FILE_RANGE_WAIT_BEFORE},
		{o.Write, unix.SYNC_FILE_RANGE_WRITE},
		{o.WaitAfter, unix.SYNC_FILE_RANGE_WAIT_AFTER},
	} {
		if f.on {
			flags |= f.flag
		}
	}
	_, err := retry(func() (int, error) { return 0, unix.SyncFileRange(n.fd, off, length, flags) })
	return err
}

// Close gives the file back, and its locks: these would otherwise last as long as a ring that is being torn
// down knows the file. What was written is the kernel's to write out, see Flush.
func (n *Node) Close() error {
	var err error
	if n.fd >= 0 {
		err = errors.Join(n.setLocks(0, 0), unix.Close(n.fd))
		n.fd = -1
	}
	n.disclaim()
	return err
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		k, err := call()
		if !errors.Is(err, unix.EINTR) {
			return k, err
		}
	}
}

// preadAll fills p, or says io.EOF.
func preadAll(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		k, err := retry(func() (int, error) { return unix.Pread(fd, p, off) })
		if err != nil {
			return err
		}
		if k == 0 {
			return io.EOF
		}
		p, off = p[k:], off+int64(k)
	}
	return nil
}

// pageSize is an alignment that suits every device, bytes.
const pageSize = 4096

// aligned returns n bytes of memory at a multiple of pageSize.
func aligned(n int) []byte {
	b := make([]byte, n+pageSize)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (pageSize - 1))
	return b[skip : skip+n : skip+n]
}
