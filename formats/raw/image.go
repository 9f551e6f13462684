package raw

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// Image is a raw image, or a window of one.
type Image struct {
	file   *engine.Ref
	offset int64 // bytes in file where the image starts
	size   int64 // bytes; negative: up to the end of file
	info   engine.Info
}

// Config is what an Image is made from.
type Config struct {
	Offset int64 // bytes in the child where the image starts
	Size   int64 // bytes; negative: what is left of the child
	// Growable: the user is a format driver that writes past the end.
	Growable bool
}

// New puts an image over file, which it owns from then on.
func New(file *engine.Ref, c Config) (*Image, error) {
	total := file.Size()
	switch {
	case c.Offset < 0:
		return nil, engine.Errf(engine.ErrOption, "offset %d is negative", c.Offset)
	case c.Offset > total:
		return nil, engine.Errf(engine.ErrOption, "Offset (%d) cannot be greater than size of the containing file (%d)", c.Offset, sectors(total))
	case c.Size >= 0 && c.Size > total-c.Offset:
		return nil, engine.Errf(engine.ErrOption,
			"The sum of offset (%d) and size (%d) has to be smaller or equal to the actual size of the containing file (%d)",
			c.Offset, c.Size, sectors(total))
	}
	m := &Image{file: file, offset: c.Offset, size: c.Size}
	below := file.Info()
	m.info = engine.Info{Driver: "raw", Filename: below.Filename, Caps: below.Caps, Limits: below.Limits}
	if !c.Growable || c.Size >= 0 {
		m.info.Caps &^= engine.CapGrowable
	}
	if !file.Writable() {
		m.info.Caps &^= engine.CapWritable
	}
	if align := int64(below.Limits.RequestAlign); align > 1 && c.Offset%align != 0 {
		// The child's Ref does the read-modify-write.
		m.info.Limits.RequestAlign, m.info.Limits.DiscardAlign, m.info.Limits.ZeroAlign = 1, 1, 1
	}
	return m, nil
}

// sectors is a size as QEMU's messages have it: whole sectors.
func sectors(n int64) int64 { return (n + 511) &^ 511 }

// Info is the child's but for the name.
func (m *Image) Info() engine.Info { return m.info }

// Size returns the size in bytes.
func (m *Image) Size() int64 {
	if m.size >= 0 {
		return m.size
	}
	return max(0, m.file.Size()-m.offset)
}

// ReadAt fills p from off; what lies past the end is zeroes, also where the child goes on after a window.
func (m *Image) ReadAt(ctx context.Context, p []byte, off int64) error {
	n := min(int64(len(p)), max(0, min(m.Size(), m.file.Size()-m.offset)-off))
	clear(p[n:])
	if n == 0 {
		return nil
	}
	return m.file.ReadAt(ctx, p[:n], off+m.offset)
}

// WriteAt writes p at off. Of a last block that is not whole it writes what is inside: what follows is not the image's.
func (m *Image) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	if !m.info.Caps.Has(engine.CapGrowable) {
		p = p[:min(int64(len(p)), max(0, m.Size()-off))]
	}
	return m.file.WriteAt(ctx, p, off+m.offset, flags)
}

// Flush flushes the child.
func (m *Image) Flush(ctx context.Context) error { return m.file.Flush(ctx) }

// Discard deallocates in the child.
func (m *Image) Discard(ctx context.Context, off, n int64) error {
	return m.file.Discard(ctx, off+m.offset, n)
}

// WriteZeroes zeroes in the child.
func (m *Image) WriteZeroes(ctx context.Context, off, n int64, flags engine.WriteFlags) error {
	return m.file.WriteZeroes(ctx, off+m.offset, n, flags)
}

// Resize changes the size of the child.
func (m *Image) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	if m.size >= 0 {
		return engine.Errf(engine.ErrUnsupported, "cannot resize fixed-size raw disks")
	}
	if size > (1<<63-1)-m.offset {
		return engine.Errf(engine.ErrRange, "disk size too large for the chosen offset")
	}
	return m.file.Resize(ctx, size+m.offset, o)
}

// CopyFrom lets the child copy in the kernel.
func (m *Image) CopyFrom(ctx context.Context, src engine.Node, srcOff, off, n int64, reflink bool) error {
	c, ok := m.file.Node().(engine.Copier)
	if !ok || !m.file.Writable() {
		return engine.Errf(engine.ErrUnsupported, "driver %s does not copy", m.file.Info().Driver)
	}
	// Both sides are peeled down to what the kernel knows.
	for {
		r, ok := src.(interface {
			Below(off, n int64) (engine.Node, int64, bool)
		})
		if !ok {
			break
		}
		node, at, ok := r.Below(srcOff, n)
		if !ok {
			return engine.Errf(engine.ErrUnsupported, "the source is no plain range of a file")
		}
		src, srcOff = node, at
	}
	return c.CopyFrom(ctx, src, srcOff, off+m.offset, n, reflink)
}

// Below returns the node and the offset that a range of the image is at.
func (m *Image) Below(off, n int64) (engine.Node, int64, bool) {
	if off < 0 || off+n > m.Size() {
		return nil, 0, false
	}
	return m.file.Node(), off + m.offset, true
}

// Extents are the child's, shifted; a raw image is allocated wherever it is.
func (m *Image) Extents(ctx context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	end := max(0, m.file.Size()-m.offset)
	if off >= end {
		return append(dst, engine.Extent{Off: off, Len: n, Flags: engine.ExtentZero | engine.ExtentAllocated | engine.ExtentEOF}), nil
	}
	first := len(dst)
	dst, err := m.file.Extents(ctx, off+m.offset, min(n, end-off), dst)
	if err != nil {
		return dst, err
	}
	for i := first; i < len(dst); i++ {
		e := &dst[i]
		e.Off -= m.offset
		e.Flags |= engine.ExtentAllocated | engine.ExtentOffset
		e.HostOff, e.File, e.Depth = e.Off+m.offset, m.file, 0
	}
	return dst, nil
}

// AllocatedSize returns the bytes of storage that the child takes.
func (m *Image) AllocatedSize(ctx context.Context) (int64, error) { return m.file.AllocatedSize(ctx) }

// Children names the child.
func (m *Image) Children() []engine.Child { return []engine.Child{{Name: "file", Ref: m.file}} }

// Close closes the child.
func (m *Image) Close() error { return m.file.Close() }

// Flat is an Image that a Path walks through.
type Flat struct{ *Image }

// Stage is the shift.
func (f Flat) Stage() engine.Stage { return engine.Stage{Child: f.file, Shift: f.offset} }
