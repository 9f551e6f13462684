package qcow2

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// Discard deallocates the whole clusters of a range. What is discarded reads as zeroes: by the zero flag where a backing file or data was
// there, which version 2 does not have.
func (m *Image) Discard(ctx context.Context, off, n int64) error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	if err := m.beforeChange(ctx); err != nil {
		return err
	}
	if m.version < 3 && m.backing.Load() != nil {
		return nil // it would bring the backing file's content to light
	}
	from, to := (off+m.clusterMask)&^m.clusterMask, (off+n)&^m.clusterMask
	if off+n == m.Size() {
		to = off + n
	}
	if from >= to {
		return nil
	}
	defer m.bitmaps.track(from, to-from)
	if m.rawData() {
		// The mapping of a raw data file stays as it is.
		if !m.cfg.PassDiscardRequest {
			return nil
		}
		return m.data.WriteZeroes(ctx, from, to-from, engine.MayUnmap)
	}
	return m.discardClusters(ctx, from, to, freeRequest, false)
}

// discardClusters unmaps the clusters that [off, end) touches. full leaves them unallocated, whatever they read as then. The gate is held.
func (m *Image) discardClusters(ctx context.Context, off, end int64, class freeClass, full bool) error {
	ctx = context.WithoutCancel(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	backed := m.backing.Load() != nil
	for off < end {
		no := m.sliceOf(off)
		sliceEnd := (no + 1) << (m.clusterBits + m.sliceBits)
		if m.index.Load().entry(m.l1Index(no)).Offset() == 0 && (full || !backed) {
			// Nothing is mapped by this table, and nothing shows from below.
			per := int64(1) << (m.clusterBits + m.l2Bits)
			off = (off/per + 1) * per
			continue
		}
		cluster := off >> m.clusterBits
		m.await(guestRange{cluster, cluster + 1})
		s, err := m.sliceForWrite(ctx, no)
		if err != nil {
			return err
		}
		for off < min(end, sliceEnd) {
			c := off >> m.clusterBits
			if m.isInFlight(guestRange{c, c + 1}) {
				break
			}
			if err := m.discardCluster(ctx, s, m.inSlice(off), off, class, full, backed); err != nil {
				return err
			}
			off = (c + 1) << m.clusterBits
		}
	}
	return nil
}

func (m *Image) discardCluster(ctx context.Context, s *slice, i int, off int64, class freeClass, full, backed bool) error {
	e, bm := m.at(s, i)
	hosted := e.Compressed() || e.Offset() != 0 || (m.dataFile && e.Copied())
	ne, nbm := L2Entry(0), Subclusters(0)
	switch {
	case full:
	case !hosted && !backed:
		return nil // it reads as zeroes, flagged or not
	case m.extended:
		nbm = subAllZero
	case m.version >= 3:
		ne = bitZero
	}
	if ne == e && nbm == bm {
		return nil
	}
	m.set(s, i, ne, nbm)
	if m.dataFile {
		if hosted && m.cfg.PassDiscardRequest {
			return m.data.Discard(ctx, off, m.clusterSize)
		}
		return nil
	}
	m.freeEntry(e, class)
	return nil
}
