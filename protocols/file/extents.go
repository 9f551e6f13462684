package file

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// extentsMax is how many extents one call lists.
const extentsMax = 256

// Extents lists data and holes as the file system knows them. What it does not know is data.
func (n *Node) Extents(ctx context.Context, off, length int64, dst []engine.Extent) ([]engine.Extent, error) {
	end, limit := off+length, len(dst)+extentsMax
	for off < end && len(dst) < limit {
		if err := ctx.Err(); err != nil {
			return dst, err
		}
		e, err := n.extent(off, end)
		if err != nil {
			return dst, err
		}
		dst = append(dst, e)
		off += e.Len
	}
	return dst, nil
}

// extent is the run that starts at off and ends by end.
//
// Source: lseek(2) "Seeking file data and holes".
func (n *Node) extent(off, end int64) (engine.Extent, error) {
	data := engine.Extent{
		Off: off, Len: end - off, HostOff: off,
		Flags: engine.ExtentData | engine.ExtentAllocated | engine.ExtentOffset,
	}
	if n.device {
		return data, nil
	}
	if size := n.size.Load(); off >= size {
		hole := data
		hole.Flags = engine.ExtentZero | engine.ExtentEOF
		return hole, nil
	} else if end > size {
		end = size
		data.Len = end - off
	}
	next, err := unix.Seek(n.fd, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // no data up to the end of the file
		next = end
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTSUP):
		return data, nil
	case err != nil:
		return data, err
	}
	if next > off {
		hole := data
		hole.Len = min(next, end) - off
		hole.Flags = engine.ExtentZero | engine.ExtentAllocated | engine.ExtentOffset
		return hole, nil
	}
	next, err = unix.Seek(n.fd, off, unix.SEEK_HOLE)
	if err != nil || next <= off { // truncated by somebody else in between
		return data, nil //nolint:nilerr // data is what is known then
	}
	data.Len = min(next, end) - off
	return data, nil
}

// AllocatedSize returns the bytes of storage that the file system has given to the file; a device has none of it.
func (n *Node) AllocatedSize(context.Context) (int64, error) {
	var st unix.Stat_t
	_, err := retry(func() (int, error) { return 0, unix.Fstat(n.fd, &st) })
	return st.Blocks * 512, err // stat(2) "st_blocks": units of 512 bytes
}
