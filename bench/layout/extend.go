package layout

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
)

// extend makes a file as long as its extent needs. A job that reads, or
// overwrites, gets all of it written; one that only writes gets an empty file
// and the space fallocate= asks for.
func (l *Layout) extend(ctx context.Context, f *File, o Options) error {
	j := l.job
	full := j.RW.Kind.Reads() || j.RW.Kind.Writes() && j.Files.Overwrite && !j.Files.Append
	fresh := full || j.RW.Kind.Writes() && !j.Files.Append
	flags := 0
	if fresh {
		if err := replace(f.Name); err != nil {
			return err
		}
		flags = os.O_TRUNC
	}
	fd, err := l.open(f, flags)
	if err != nil {
		return err
	}
	defer fd.Close()
	size := f.End()
	if !fills(j) {
		if err := fallocate(fd, j.Files.Fallocate, size); err != nil {
			return err
		}
	}
	if full {
		if err := l.write(ctx, fd, f, size, o); err != nil {
			if ctx.Err() != nil {
				err = errors.Join(err, replace(f.Name)) // a part of a file would pass for all of it
			}
			return err
		}
	}
	st, err := fd.Stat()
	if err != nil {
		return err
	}
	f.Real = st.Size()
	if full && fills(j) {
		block := minBlock(j)
		f.Size = max(0, f.Real-f.Offset) / block * block
	}
	return fd.Close()
}

// replace deletes a file that is about to be made anew, so that nothing of its
// old allocation stays. A symbolic link is kept: O_TRUNC empties what it names.
func replace(name string) error {
	st, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !st.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(name)
}

// open opens a file for laying out, and makes it, with the folders above it,
// where that is allowed.
func (l *Layout) open(f *File, flags int) (*os.File, error) {
	if _, err := os.Stat(f.Name); errors.Is(err, fs.ErrNotExist) && AmongDevices(f.Name) {
		return nil, errors.New("there is no such device, and no file is made among devices")
	}
	if l.job.Files.AllowCreate {
		flags |= os.O_CREATE
		if strings.ContainsRune(f.Name, '/') {
			if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
				return nil, err
			}
		}
	} else if f.Real == 0 {
		if _, err := os.Stat(f.Name); err != nil {
			return nil, errors.New("it is not there, and allow_file_create=0 forbids making it")
		}
	}
	return os.OpenFile(f.Name, os.O_WRONLY|flags, 0o644)
}

// AmongDevices reports whether a name lies in the file system of /dev, where a file in the place of a device that is not there would fill
// the memory and look like that device to the next run. fio makes it.
func AmongDevices(name string) bool {
	var dev, root, there unix.Stat_t
	if unix.Stat("/dev", &dev) != nil || unix.Stat("/", &root) != nil || unix.Stat(existingParent(name), &there) != nil {
		return false
	}
	return dev.Dev != root.Dev && there.Dev == dev.Dev
}

// fallocate reserves space. Only native may fail without a word: it is a wish.
func fallocate(fd *os.File, how fiojob.Fallocate, size int64) error {
	n := int(fd.Fd())
	switch how {
	case fiojob.FallocateNative:
		err := ignoringEINTR(func() error { return unix.Fallocate(n, 0, 0, size) })
		if errors.Is(err, unix.ENOSPC) {
			return os.NewSyscallError("fallocate", err)
		}
		return nil
	case fiojob.FallocateKeep:
		return os.NewSyscallError("fallocate", ignoringEINTR(func() error { return unix.Fallocate(n, unix.FALLOC_FL_KEEP_SIZE, 0, size) }))
	case fiojob.FallocatePosix:
		return posixFallocate(fd, size)
	case fiojob.FallocateTruncate:
		return fd.Truncate(size)
	case fiojob.FallocateNone:
	}
	return nil
}

// posixFallocate is posix_fallocate(3): where the file system cannot reserve
// space, a byte is written into each of its blocks.
func posixFallocate(fd *os.File, size int64) error {
	err := ignoringEINTR(func() error { return unix.Fallocate(int(fd.Fd()), 0, 0, size) })
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return os.NewSyscallError("fallocate", err)
	}
	return touchBlocks(fd, size)
}

func touchBlocks(fd *os.File, size int64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(fd.Fd()), &st); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	info, err := fd.Stat()
	if err != nil {
		return err
	}
	step := max(st.Bsize, 512)
	for off := info.Size() / step * step; off < size; off += step {
		// Only blocks behind the old end are empty for sure.
		if at := min(off+step, size) - 1; at >= info.Size() {
			if _, err := fd.WriteAt([]byte{0}, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// chunk is how much is written at once, more or less.
const chunk = 1 << 20

// write fills a file with size bytes, or until the device is full.
func (l *Layout) write(ctx context.Context, fd *os.File, f *File, size int64, o Options) error {
	fill := fills(l.job)
	block := max(l.job.Block.Size[fiojob.Write].Max, 512)
	buf := make([]byte, max(block, chunk/block*block))
	data, err := l.content(f)
	if err != nil {
		return err
	}
	if !fill {
		if err := fd.Truncate(size); err != nil {
			return err
		}
	}
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buf[:min(int64(len(buf)), size-off)]
		for b := int64(0); b < int64(len(part)); b += block {
			data.Prepare(part[b:min(b+block, int64(len(part)))], off+b)
		}
		n, err := fd.WriteAt(part, off)
		off += int64(n)
		if fill && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) {
			break
		}
		if err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(f.Name, off, size)
		}
	}
	if l.job.Files.CreateFsync {
		return fd.Sync()
	}
	return nil
}

// content is what files are filled with: what the job itself would write, new in
// each block.
func (l *Layout) content(f *File) (*gen.Data, error) {
	b := &l.job.Buffer
	c := gen.Content{
		Seed: l.seed ^ hashName(f.Name), Zero: b.Zero, Refill: true,
		CompressPercent: float64(b.Compress), CompressChunk: int(b.CompressChunk), DedupePercent: float64(b.Dedupe),
	}
	if !b.Pattern.IsZero() {
		p, err := gen.ParsePat("0x"+hexOf(b.Pattern.Bytes), nil)
		if err != nil {
			return nil, err
		}
		c.Pattern = p
	}
	return gen.NewData(c)
}
