package qcow2

import (
	"context"
	"errors"

	"github.com/blkbench/blkbench/engine"
)

// maxExtents is how many runs one call describes at most.
const maxExtents = 1024

// Extents describes a range. What this image leaves to its backing file is described as the backing file has it, one layer deeper; flags
// are those of the layer at Depth, so Allocated at depth 1 means that the backing file decides.
func (m *Image) Extents(ctx context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	start := len(dst)
	for n > 0 && len(dst)-start < maxExtents {
		r, err := m.lookup(ctx, off, n)
		if err != nil {
			return dst, err
		}
		e := engine.Extent{Off: off, Len: r.n, Flags: engine.ExtentAllocated}
		switch r.kind {
		case kindNormal:
			e.Flags |= engine.ExtentData
			if m.crypt == nil {
				e.Flags |= engine.ExtentOffset
				e.HostOff, e.File = r.hostOff, m.data
			}
			if m.preallocated(ctx) {
				if dst, r.n, err = m.recurse(ctx, e, dst, start); err != nil {
					return dst, err
				}
				off, n = off+r.n, n-r.n
				continue
			}
		case kindCompressed:
			e.Flags |= engine.ExtentData | engine.ExtentCompressed
		case kindZeroAlloc:
			e.Flags |= engine.ExtentZero
			if m.crypt == nil {
				e.Flags |= engine.ExtentOffset
				e.HostOff, e.File = r.hostOff, m.data
			}
		case kindZeroPlain:
			e.Flags |= engine.ExtentZero
		default:
			if dst, r.n, err = m.below(ctx, off, r, dst, start); err != nil {
				return dst, err
			}
			off, n = off+r.n, n-r.n
			continue
		}
		dst = m.appendExtent(dst, start, e)
		off, n = off+r.n, n-r.n
	}
	return dst, nil
}

// below describes unallocated bytes.
func (m *Image) below(ctx context.Context, off int64, r run, dst []engine.Extent, start int) ([]engine.Extent, int64, error) {
	b, n := m.backing.Load(), r.n
	if b == nil || off >= b.Size() {
		e := engine.Extent{Off: off, Len: n, Flags: engine.ExtentZero}
		if r.kind == kindUnallocatedAlloc && m.crypt == nil {
			e.Flags |= engine.ExtentOffset
			e.HostOff, e.File = r.hostOff, m.data
		}
		if b != nil {
			e.Flags |= engine.ExtentEOF
		}
		return m.appendExtent(dst, start, e), n, nil
	}
	part, err := b.Extents(ctx, off, min(n, b.Size()-off), nil)
	if err != nil {
		return dst, 0, err
	}
	done := int64(0)
	for _, e := range part {
		e.Depth++
		dst = m.appendExtent(dst, start, e)
		done += e.Len
	}
	return dst, done, nil
}

// recurse asks the file about a range that may have been allocated without having been written.
func (m *Image) recurse(ctx context.Context, e engine.Extent, dst []engine.Extent, start int) ([]engine.Extent, int64, error) {
	left := m.data.Size() - e.HostOff
	if left <= 0 {
		e.Flags |= engine.ExtentZero
		return m.appendExtent(dst, start, e), e.Len, nil
	}
	part, err := m.data.Extents(ctx, e.HostOff, min(e.Len, left), nil)
	if err != nil {
		return dst, 0, err
	}
	done := int64(0)
	for _, p := range part {
		q := e
		q.Off, q.HostOff, q.Len = e.Off+done, e.HostOff+done, p.Len
		if p.Flags&engine.ExtentZero != 0 {
			q.Flags |= engine.ExtentZero
		}
		dst = m.appendExtent(dst, start, q)
		done += p.Len
	}
	return dst, done, nil
}

// appendExtent joins runs that go on from one another.
func (m *Image) appendExtent(dst []engine.Extent, start int, e engine.Extent) []engine.Extent {
	if len(dst) > start {
		l := &dst[len(dst)-1]
		if l.Flags == e.Flags && l.Depth == e.Depth && l.File == e.File &&
			(e.Flags&engine.ExtentOffset == 0 || l.HostOff+l.Len == e.HostOff) {
			l.Len += e.Len
			return dst
		}
	}
	return append(dst, e)
}

// preallocated guesses whether clusters were allocated without data: when the refcounts count clearly more than the file has. Asked once.
func (m *Image) preallocated(ctx context.Context) bool {
	if m.dataFile {
		return false
	}
	m.prealloc.once.Do(func() {
		m.prealloc.metadata = m.detectPrealloc(ctx)
	})
	return m.prealloc.metadata
}

// allocatedSize is how many bytes of storage the file takes, counted where it does not know itself.
func (m *Image) allocatedSize(ctx context.Context) (int64, error) {
	if n, err := m.file.AllocatedSize(ctx); !errors.Is(err, engine.ErrUnsupported) {
		return n, err
	}
	size := m.file.Size()
	var stored int64
	for off := int64(0); off < size; {
		part, err := m.file.Extents(ctx, off, size-off, nil)
		if err != nil {
			return 0, err
		}
		for _, e := range part {
			if e.Flags&engine.ExtentData != 0 {
				stored += e.Len
			}
			off += e.Len
		}
	}
	return stored, nil
}

func (m *Image) detectPrealloc(ctx context.Context) bool {
	stored, err := m.allocatedSize(ctx)
	if err != nil {
		return false
	}
	size := m.file.Size()
	stored >>= m.clusterBits
	threshold := max(stored*10/9, stored+2)
	m.mu.Lock()
	defer m.mu.Unlock()
	end, counted := m.clusters(size), int64(0)
	for c := int64(0); c < end && counted < threshold; {
		b, err := m.refBlock(ctx, c>>m.refBlockBits)
		if err != nil {
			return false
		}
		next := (c>>m.refBlockBits + 1) << m.refBlockBits
		for ; b != nil && c < min(end, next) && counted < threshold; c++ {
			if refGet(b.raw, m.refOrder, int(c&(1<<m.refBlockBits-1))) != 0 {
				counted++
			}
		}
		c = next
	}
	return counted >= threshold
}
