package qcow2

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// WriteZeroes makes the range read as zeroes: whole subclusters by a flag, the rest as data. Version 2 has no flag: there clusters are
// unmapped where no backing file would show, and else written.
func (m *Image) WriteZeroes(ctx context.Context, off, n int64, flags engine.WriteFlags) error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	if err := m.beforeChange(ctx); err != nil {
		return err
	}
	defer m.bitmaps.track(off, n)
	if m.version < 3 && m.backing.Load() != nil {
		if flags&engine.NoFallback != 0 {
			return engine.Errf(engine.ErrUnsupported, "version 2 has no zero clusters")
		}
		return m.writeZeroData(ctx, off, n)
	}
	if m.rawData() {
		// The data file must read the same without the mapping. qcow2.txt "Header", autoclear bit 1.
		if err := m.data.WriteZeroes(ctx, off, n, flags); err != nil {
			return err
		}
	}
	unit := int64(1) << m.subBits
	end := off + n
	for off < end {
		next := (off + unit) &^ (unit - 1)
		stop := end &^ (unit - 1)
		if end == m.Size() {
			stop = end
		}
		var err error
		switch {
		case off&(unit-1) == 0 && off < stop:
			next = stop
			err = m.zeroRange(ctx, off, next, flags)
		default:
			next = min(next, end)
			err = m.zeroEdge(ctx, off, next, flags)
		}
		if err != nil {
			return err
		}
		off = next
	}
	return nil
}

func (m *Image) rawData() bool {
	return m.dataFile && m.hdr.Autoclear&AutoclearDataRaw != 0
}

// zeroEdge zeroes a part of a subcluster. Where nothing but zeroes is left of the subcluster then, it becomes a zero subcluster as a whole.
func (m *Image) zeroEdge(ctx context.Context, off, end int64, flags engine.WriteFlags) error {
	whole, err := m.zeroBlank(ctx, off, end, flags&engine.MayUnmap != 0)
	if err != nil || whole {
		return err
	}
	if flags&engine.NoFallback != 0 {
		return engine.Errf(engine.ErrUnsupported, "%#x+%d is a part of a cluster with data", off, end-off)
	}
	return m.writeZeroData(ctx, off, end-off)
}

// zeroBlank flags the subcluster of [off, end) as zero when it is not allocated and the rest of it reads as zeroes. Its cluster is in
// flight meanwhile, so that no write comes in between.
func (m *Image) zeroBlank(ctx context.Context, off, end int64, unmap bool) (done bool, err error) {
	unit := int64(1) << m.subBits
	first, last := off&^(unit-1), min((end+unit-1)&^(unit-1), m.Size())
	c := off >> m.clusterBits
	g := guestRange{c, c + 1}
	m.mu.Lock()
	m.await(g)
	m.inFlight = append(m.inFlight, g)
	m.mu.Unlock()
	r, err := m.lookup(ctx, off, end-off)
	done = err == nil && r.kind != kindNormal && r.kind != kindCompressed && m.extentsZero(ctx, first, off) && m.extentsZero(ctx, end, last)
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.land(g)
	if !done || m.version < 3 { // version 2 gets here without a backing file only: it reads as zeroes already
		return done, err
	}
	s, err := m.sliceForWrite(context.WithoutCancel(ctx), m.sliceOf(off))
	if err != nil {
		return false, err
	}
	if m.extended {
		sub := int((off & m.clusterMask) >> m.subBits)
		return m.zeroSubclusters(s, m.inSlice(off), sub, sub+1), nil
	}
	m.zeroCluster(s, m.inSlice(off), unmap)
	return true, nil
}

// extentsZero reports whether [from, to) is known to read as zeroes, here or below.
func (m *Image) extentsZero(ctx context.Context, from, to int64) bool {
	for from < to {
		part, err := m.Extents(ctx, from, to-from, nil)
		if err != nil {
			return false
		}
		for _, e := range part {
			if e.Flags&engine.ExtentZero == 0 {
				return false
			}
			from += e.Len
		}
	}
	return true
}

func (m *Image) writeZeroData(ctx context.Context, off, n int64) error {
	buf := make([]byte, min(n, 1<<20))
	for n > 0 {
		k, err := m.writeSome(ctx, buf[:min(n, int64(len(buf)))], off)
		if err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// zeroRange flags whole subclusters as zero, but for parts of compressed clusters, which are written.
func (m *Image) zeroRange(ctx context.Context, off, end int64, flags engine.WriteFlags) error {
	if m.version < 3 {
		return m.discardClusters(ctx, off, end, freeRequest, true)
	}
	for off < end {
		var err error
		if off, err = m.zeroUnits(context.WithoutCancel(ctx), off, end, flags&engine.MayUnmap != 0); err != nil {
			return err
		}
		if off >= end {
			return nil
		}
		if flags&engine.NoFallback != 0 {
			return engine.Errf(engine.ErrUnsupported, "a part of a compressed cluster at %#x cannot be flagged as zero", off)
		}
		n := min(end, off&^m.clusterMask+m.clusterSize) - off
		if err := m.writeZeroData(ctx, off, n); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// zeroUnits flags whole subclusters as zero and returns how far it came: to the end, or to a part of a compressed cluster. The last
// subcluster may reach past the virtual size. The gate is held.
func (m *Image) zeroUnits(ctx context.Context, off, end int64, unmap bool) (int64, error) {
	unit := int64(1) << m.subBits
	m.mu.Lock()
	defer m.mu.Unlock()
	for off < end {
		cluster := off >> m.clusterBits
		m.await(guestRange{cluster, cluster + 1})
		s, err := m.sliceForWrite(ctx, m.sliceOf(off))
		if err != nil {
			return off, err
		}
		sliceEnd := (m.sliceOf(off) + 1) << (m.clusterBits + m.sliceBits)
		for off < min(end, sliceEnd) {
			start := off &^ m.clusterMask
			if c := off >> m.clusterBits; m.isInFlight(guestRange{c, c + 1}) {
				break // the outer loop waits for it
			}
			stop := min(start+m.clusterSize, (end+unit-1)&^(unit-1))
			if off == start && stop == start+m.clusterSize {
				m.zeroCluster(s, m.inSlice(off), unmap)
			} else if !m.zeroSubclusters(s, m.inSlice(off), int((off-start)>>m.subBits), int((stop-start)>>m.subBits)) {
				return off, nil
			}
			off = stop
		}
	}
	return off, nil
}

// zeroCluster flags a whole cluster; its host cluster stays reserved unless unmap is set or it was compressed.
func (m *Image) zeroCluster(s *slice, i int, unmap bool) {
	e, bm := m.at(s, i)
	ne, nbm := e|bitZero, Subclusters(0)
	if m.extended {
		ne, nbm = e, subAllZero
	}
	hosted := e.Offset() != 0 || (m.dataFile && e.Copied())
	drop := e.Compressed() || (unmap && hosted)
	if drop {
		ne = bitZero
		if m.extended {
			ne = 0
		}
	}
	if ne == e && nbm == bm {
		return
	}
	m.set(s, i, ne, nbm)
	if drop {
		m.freeEntry(e, freeRequest)
	}
}

// zeroSubclusters flags subclusters [from, to) of an entry; false when it is compressed.
func (m *Image) zeroSubclusters(s *slice, i, from, to int) bool {
	e, bm := m.at(s, i)
	if e.Compressed() {
		return false
	}
	mask := Subclusters(subRange(from, to))
	if nbm := bm&^mask | mask<<32; nbm != bm {
		m.set(s, i, e, nbm)
	}
	return true
}
