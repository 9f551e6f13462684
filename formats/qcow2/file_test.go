package qcow2

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// fileNode is a regular file as a node.
type fileNode struct{ f *os.File }

func (n *fileNode) Info() engine.Info {
	return engine.Info{
		Driver: "file", Filename: n.f.Name(),
		Caps: engine.CapWritable | engine.CapGrowable | engine.CapDiscard,
	}
}

func (n *fileNode) Size() int64 {
	st, err := n.f.Stat()
	if err != nil {
		return 0
	}
	return st.Size()
}

func (n *fileNode) ReadAt(_ context.Context, p []byte, off int64) error {
	k, err := n.f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		clear(p[k:])
		return nil
	}
	return err
}

func (n *fileNode) WriteAt(_ context.Context, p []byte, off int64, _ engine.WriteFlags) error {
	_, err := n.f.WriteAt(p, off)
	return err
}

func (n *fileNode) Flush(context.Context) error { return nil }

func (n *fileNode) Discard(_ context.Context, off, length int64) error {
	return unix.Fallocate(int(n.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
}

func (n *fileNode) Resize(_ context.Context, size int64, o engine.ResizeOptions) error {
	old := n.Size()
	if err := n.f.Truncate(size); err != nil {
		return err
	}
	if size > old && (o.Prealloc == engine.PreallocFalloc || o.Prealloc == engine.PreallocFull) {
		return unix.Fallocate(int(n.f.Fd()), 0, old, size-old)
	}
	return nil
}

func (n *fileNode) Extents(_ context.Context, off, length int64, dst []engine.Extent) ([]engine.Extent, error) {
	end, size := off+length, n.Size()
	for off < end {
		data, err := unix.Seek(int(n.f.Fd()), off, unix.SEEK_DATA)
		if err != nil || data > end {
			data = end
		}
		if data > off {
			dst = append(dst, engine.Extent{Off: off, Len: data - off, Flags: engine.ExtentZero | engine.ExtentOffset, HostOff: off})
			off = data
			continue
		}
		hole, err := unix.Seek(int(n.f.Fd()), off, unix.SEEK_HOLE)
		if err != nil {
			hole = size
		}
		hole = min(hole, end)
		dst = append(dst, engine.Extent{Off: off, Len: hole - off, Flags: engine.ExtentData | engine.ExtentOffset, HostOff: off})
		off = hole
	}
	return dst, nil
}

func (n *fileNode) AllocatedSize(context.Context) (int64, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(n.f.Fd()), &st)
	return st.Blocks * 512, err
}

func (n *fileNode) Close() error { return n.f.Close() }

// openFile opens a regular file as a node; create truncates it.
func openFile(t testing.TB, path string, write, create bool) *engine.Ref {
	t.Helper()
	mode := os.O_RDONLY
	if write {
		mode = os.O_RDWR
	}
	if create {
		mode |= os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, mode, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	return engine.NewRef(&fileNode{f}, engine.OpenFlags{Write: write, Discard: true})
}

// memNode is a file in memory.
type memNode struct{ data []byte }

func (n *memNode) Info() engine.Info {
	return engine.Info{Driver: "memory", Caps: engine.CapWritable | engine.CapGrowable | engine.CapDiscard}
}
func (n *memNode) Size() int64 { return int64(len(n.data)) }

func (n *memNode) ReadAt(_ context.Context, p []byte, off int64) error {
	clear(p[copy(p, n.data[min(off, n.Size()):]):])
	return nil
}

func (n *memNode) WriteAt(_ context.Context, p []byte, off int64, _ engine.WriteFlags) error {
	if end := off + int64(len(p)); end > n.Size() {
		n.data = append(n.data, make([]byte, end-n.Size())...)
	}
	copy(n.data[off:], p)
	return nil
}

func (n *memNode) Flush(context.Context) error { return nil }

func (n *memNode) Discard(ctx context.Context, off, length int64) error {
	return n.WriteAt(ctx, make([]byte, min(length, n.Size()-off)), off, 0)
}

func (n *memNode) Resize(_ context.Context, size int64, _ engine.ResizeOptions) error {
	if size <= n.Size() {
		n.data = n.data[:size:size]
		return nil
	}
	n.data = append(n.data, make([]byte, size-n.Size())...)
	return nil
}

func (n *memNode) Extents(_ context.Context, off, length int64, dst []engine.Extent) ([]engine.Extent, error) {
	return append(dst, engine.Extent{Off: off, Len: length, Flags: engine.ExtentData}), nil
}
func (n *memNode) Close() error { return nil }
