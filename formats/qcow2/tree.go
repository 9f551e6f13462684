package qcow2

import (
	"context"
	"errors"

	"github.com/blkbench/blkbench/engine"
)

var errStop = errors.New("far enough")

// walkTree calls f for every host range that an L1 table refers to: its L2 tables, and what they refer to, in a fixed order. Tables are
// read from the disk: metadata is written back. mu is held.
func (m *Image) walkTree(ctx context.Context, l1 []uint64, f func(cluster, n int64) error) error {
	buf := make([]byte, m.clusterSize)
	for i, w := range l1 {
		off := L1Entry(w).Offset()
		if off == 0 {
			continue
		}
		if off&m.clusterMask != 0 {
			return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "L2 table offset %#x unaligned (L1 index: %#x)", off, i))
		}
		if err := m.readFile(ctx, buf, off); err != nil {
			return err
		}
		if err := m.walkTable(ctx, buf, f); err != nil {
			return err
		}
		if err := f(off>>m.clusterBits, 1); err != nil {
			return err
		}
	}
	return nil
}

func (m *Image) walkTable(ctx context.Context, buf []byte, f func(cluster, n int64) error) error {
	var from, n int64
	for i := range 1 << m.l2Bits {
		e := L2Entry(be.Uint64(buf[8*m.entryWords*i:]))
		var cluster, count int64
		switch {
		case e.Compressed():
			off, length := m.compressedRange(e)
			cluster = off >> m.clusterBits
			count = (off+length-1)>>m.clusterBits - cluster + 1
		case e.Offset() == 0:
			continue
		case e.Offset()&m.clusterMask != 0:
			return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "Cluster allocation offset %#x unaligned (L2 index: %#x)", e.Offset(), i))
		default:
			cluster, count = e.Offset()>>m.clusterBits, 1
		}
		if n > 0 && from+n == cluster {
			n += count
			continue
		}
		if n > 0 {
			if err := f(from, n); err != nil {
				return err
			}
		}
		from, n = cluster, count
	}
	if n == 0 {
		return nil
	}
	return f(from, n)
}

// addTree adds delta to the refcount of everything that an L1 table refers to, up to limit changes (all when negative), and returns how
// many changes it made. mu is held.
func (m *Image) addTree(ctx context.Context, l1 []uint64, delta, limit int64) (done int64, err error) {
	err = m.walkTree(ctx, l1, func(cluster, n int64) error {
		for k := range n {
			if done == limit {
				return errStop
			}
			if err := m.addRef(ctx, cluster+k, delta); err != nil {
				return err
			}
			done++
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return done, err
}

// refreshFlags sets the copied flags of the active tables from the refcounts; references that are about to go do not count. qcow2.txt
// "Snapshots". mu is held.
func (m *Image) refreshFlags(ctx context.Context) error {
	pending := make(refCounts)
	for _, list := range [][]pendingFree{m.frees, m.written, m.draining} {
		for _, f := range list {
			for k := range f.n {
				pending.add(f.cluster+k, 1)
			}
		}
	}
	single := func(hostOff int64) (bool, error) {
		n, err := m.refcount(ctx, hostOff>>m.clusterBits)
		return n-pending.at(hostOff>>m.clusterBits) == 1, err
	}
	l1 := m.index.Load().l1
	for i := range l1 {
		e := L1Entry(l1[i])
		if e.Offset() == 0 {
			continue
		}
		one, err := single(e.Offset())
		if err != nil {
			return err
		}
		if one != e.Copied() {
			m.setL1(int64(i), e^bitCopied)
		}
		first := int64(i) * m.slicesPerTable()
		for no := first; no < first+m.slicesPerTable(); no++ {
			if err := m.refreshSlice(ctx, no, single); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Image) refreshSlice(ctx context.Context, no int64, single func(hostOff int64) (bool, error)) error {
	s, err := m.slice(ctx, no)
	if err != nil || s == nil {
		return err
	}
	for i := range 1 << m.sliceBits {
		e, bm := m.at(s, i)
		if e.Compressed() || e.Offset() == 0 {
			continue
		}
		one, err := single(e.Offset())
		if err != nil {
			return err
		}
		if one != e.Copied() {
			m.set(s, i, e^bitCopied, bm)
		}
	}
	return nil
}

// appendFree is append that joins ranges that go on from one another.
func appendFree(list []pendingFree, f pendingFree) []pendingFree {
	if k := len(list); k > 0 {
		if last := &list[k-1]; last.cluster+last.n == f.cluster && last.class == f.class {
			last.n += f.n
			return list
		}
	}
	return append(list, f)
}
