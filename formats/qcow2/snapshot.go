package qcow2

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/blkbench/blkbench/engine"
)

// loadSnapshots reads the snapshot table.
func (m *Image) loadSnapshots(ctx context.Context, tolerant bool) error {
	count := int(m.hdr.SnapshotCount)
	if count == 0 {
		return nil
	}
	off := int64(m.hdr.SnapshotsOffset)
	size := min(max(0, m.file.Size()-off), maxSnapshotTable)
	for n := min(size, 64<<10); ; n = min(size, n*4) {
		b := make([]byte, n)
		if err := m.readFile(ctx, b, off); err != nil {
			return err
		}
		list, used, err := ParseSnapshots(b, min(count, maxSnapshots), m.hdr.Size)
		if errors.Is(err, errShort) {
			if n < size {
				continue
			}
			err = engine.Errf(engine.ErrCorrupt, "snapshot table ends past the end of the file")
		}
		if err != nil && !tolerant {
			return err
		}
		m.snaps, m.snapLen = list, int64(used)
		return nil
	}
}

// Snapshots lists the internal snapshots.
func (m *Image) Snapshots(context.Context) ([]engine.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []engine.Snapshot
	for i := range m.snaps {
		list = append(list, m.snaps[i].engine())
	}
	return list, nil
}

// findSnapshot searches IDs first, then names.
func (m *Image) findSnapshot(idOrName string) (int, error) {
	for i := range m.snaps {
		if m.snaps[i].ID == idOrName {
			return i, nil
		}
	}
	for i := range m.snaps {
		if m.snaps[i].Name == idOrName {
			return i, nil
		}
	}
	return 0, engine.Errf(engine.ErrNotFound, "no snapshot '%s'", idOrName)
}

// newSnapshotID is one more than the greatest number among the IDs.
func (m *Image) newSnapshotID() string {
	var top uint64
	for i := range m.snaps {
		if n, err := strconv.ParseUint(m.snaps[i].ID, 10, 64); err == nil {
			top = max(top, n)
		}
	}
	return strconv.FormatUint(top+1, 10)
}

// structural runs a verb that rebuilds references. No write runs meanwhile. The dirty bit is set first, where the version has one, so
// that refcounts and copied flags need not change in step with one another on the disk; it is cleared when all is durable. drain waits for
// writes that Paths had under way with the flags of before, while no other write can pass the gate.
func (m *Image) structural(ctx context.Context, drain bool, verb func(ctx context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	m.gate.Lock()
	defer m.gate.Unlock()
	if err := m.beforeChange(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	err := m.runStructural(ctx, verb)
	m.mu.Unlock()
	if drain {
		err = errors.Join(err, m.domain.SyncPaths(ctx))
	}
	return err
}

func (m *Image) runStructural(ctx context.Context, verb func(ctx context.Context) error) error {
	if err := m.commit(ctx); err != nil {
		return err
	}
	if m.version >= 3 {
		if err := m.setIncompatible(ctx, IncompatDirty); err != nil {
			return err
		}
	}
	err := verb(ctx)
	if m.broken.Load() {
		return err
	}
	if err != nil {
		if ferr := m.refreshFlags(ctx); ferr != nil {
			// The flags are not known to be right: the dirty bit stays, and the next writer repairs.
			return errors.Join(err, ferr, m.commit(ctx))
		}
	}
	return errors.Join(err, m.commitAll(ctx))
}

// commitAll is commit with the refcounts, also where they are lazy, and clears the dirty bit. mu is held.
func (m *Image) commitAll(ctx context.Context) error {
	if err := m.commit(ctx); err != nil {
		return err
	}
	if err := m.writeRefs(ctx); err != nil {
		return err
	}
	if err := m.barrier(ctx); err != nil {
		return err
	}
	return m.clearIncompatible(ctx, IncompatDirty)
}

// CreateSnapshot saves the present content under a name. The ID is chosen when s has none.
func (m *Image) CreateSnapshot(ctx context.Context, s engine.Snapshot) error {
	if m.dataFile {
		return engine.Errf(engine.ErrUnsupported, "images with an external data file have no snapshots")
	}
	return m.structural(ctx, true, func(ctx context.Context) error { return m.createSnapshot(ctx, s) })
}

func (m *Image) createSnapshot(ctx context.Context, s engine.Snapshot) error {
	if len(m.snaps) >= maxSnapshots {
		return engine.Errf(engine.ErrNoSpace, "there are %d snapshots already", len(m.snaps))
	}
	if s.ID == "" {
		s.ID = m.newSnapshotID()
	}
	if len(s.ID) > 0xffff || len(s.Name) > 0xffff {
		return engine.Errf(engine.ErrRange, "snapshot name too long")
	}
	l1 := m.index.Load().l1
	if done, err := m.addTree(ctx, l1, 1, -1); err != nil {
		return errors.Join(err, m.undoTree(ctx, l1, done))
	}
	rec := SnapshotRecord{
		L1Size: uint32(len(l1)), ID: s.ID, Name: s.Name, DateSec: uint32(s.DateSec), DateNsec: uint32(s.DateNsec),
		VMClockNsec: uint64(s.VMClockNsec), VMStateSize: uint64(s.VMStateSize), DiskSize: uint64(m.Size()), Icount: uint64(s.Icount),
	}
	err := m.refreshFlags(ctx)
	var c, n int64
	if err == nil {
		c, n, err = m.storeL1(ctx, l1)
	}
	if err == nil {
		rec.L1TableOffset = uint64(c << m.clusterBits)
		err = m.storeSnapshots(ctx, append(slices.Clip(m.snaps), rec))
	}
	if err == nil {
		return nil
	}
	if n > 0 {
		err = m.undoAlloc(ctx, c, n, err)
	}
	done := int64(1) << 62
	return errors.Join(err, m.undoTree(ctx, l1, done))
}

// undoTree takes back the first done references that addTree added.
func (m *Image) undoTree(ctx context.Context, l1 []uint64, done int64) error {
	if _, err := m.addTree(ctx, l1, -1, done); err != nil {
		return err
	}
	return m.refreshFlags(ctx)
}

// storeL1 writes a copy of an L1 table for a snapshot, durably with all that it leads to.
func (m *Image) storeL1(ctx context.Context, l1 []uint64) (cluster, n int64, err error) {
	n = max(1, m.clusters(int64(len(l1))*8))
	if cluster, err = m.allocContiguous(ctx, n); err != nil {
		return 0, 0, err
	}
	words := make([]uint64, n<<m.clusterBits/8)
	for i, w := range l1 {
		words[i] = w &^ bitCopied
	}
	if err = m.writeWords(ctx, words, cluster<<m.clusterBits); err == nil {
		err = m.commit(ctx)
	}
	return cluster, n, err
}

// storeSnapshots writes a snapshot table and switches to it.
func (m *Image) storeSnapshots(ctx context.Context, list []SnapshotRecord) error {
	b := MarshalSnapshots(list)
	if len(b) > maxSnapshotTable {
		return engine.Errf(engine.ErrNoSpace, "the snapshot table would exceed %d MiB", maxSnapshotTable>>20)
	}
	var c int64
	n := m.clusters(int64(len(b)))
	if n > 0 {
		var err error
		if c, err = m.allocContiguous(ctx, n); err != nil {
			return err
		}
		if err = m.file.WriteAt(ctx, b, c<<m.clusterBits, 0); err == nil {
			if err = m.writeRefs(ctx); err == nil {
				err = m.file.Flush(ctx)
			}
		}
		if err != nil {
			return m.undoAlloc(ctx, c, n, err)
		}
	}
	oldOffset, oldLen := int64(m.hdr.SnapshotsOffset), m.snapLen
	if err := m.switchHeader(ctx, func(h *Header) {
		h.SnapshotsOffset, h.SnapshotCount = uint64(c<<m.clusterBits), uint32(len(list))
	}); err != nil {
		return m.undoAlloc(ctx, c, n, err)
	}
	m.snaps, m.snapLen = list, int64(len(b))
	if oldLen == 0 {
		return nil
	}
	// Nobody reads a snapshot table but at open: no grace period.
	return m.freeNow(ctx, &pendingFree{oldOffset >> m.clusterBits, m.clusters(oldLen), freeSnapshot})
}

// DeleteSnapshot removes a snapshot and gives back what only it used.
func (m *Image) DeleteSnapshot(ctx context.Context, idOrName string) error {
	return m.structural(ctx, false, func(ctx context.Context) error {
		i, err := m.findSnapshot(idOrName)
		if err != nil {
			return err
		}
		rec := m.snaps[i]
		l1, err := m.snapshotL1(ctx, &rec)
		if err != nil {
			return err
		}
		if err := m.storeSnapshots(ctx, slices.Delete(slices.Clone(m.snaps), i, i+1)); err != nil {
			return err
		}
		// From here on errors leave leaks only; the flags are refreshed in any case.
		err = m.walkTree(ctx, l1, func(cluster, n int64) error {
			return m.freeNow(ctx, &pendingFree{cluster, n, freeSnapshot})
		})
		if len(l1) > 0 {
			f := pendingFree{int64(rec.L1TableOffset) >> m.clusterBits, m.clusters(int64(len(l1)) * 8), freeSnapshot}
			err = errors.Join(err, m.freeNow(ctx, &f))
		}
		return errors.Join(err, m.refreshFlags(ctx))
	})
}

// ApplySnapshot makes the content that of a snapshot.
func (m *Image) ApplySnapshot(ctx context.Context, idOrName string) error {
	if m.dataFile {
		return engine.Errf(engine.ErrUnsupported, "images with an external data file have no snapshots")
	}
	return m.structural(ctx, false, func(ctx context.Context) error {
		i, err := m.findSnapshot(idOrName)
		if err != nil {
			return err
		}
		err = m.applySnapshot(ctx, &m.snaps[i])
		m.bitmaps.track(0, m.Size())
		return err
	})
}

func (m *Image) applySnapshot(ctx context.Context, rec *SnapshotRecord) error {
	l1, err := m.snapshotL1(ctx, rec)
	if err != nil {
		return err
	}
	size, oldSize := int64(rec.DiskSize), m.Size()
	if size != oldSize {
		if err := m.bitmapsMayResize(ctx); err != nil {
			return err
		}
	}
	if done, err := m.addTree(ctx, l1, 1, -1); err != nil {
		_, uerr := m.addTree(ctx, l1, -1, done)
		return errors.Join(err, uerr)
	}
	undo := func(err error) error {
		_, uerr := m.addTree(ctx, l1, -1, 1<<62)
		return errors.Join(err, uerr)
	}
	c, n, err := m.storeL1(ctx, l1)
	if err != nil {
		if n > 0 {
			err = m.undoAlloc(ctx, c, n, err)
		}
		return undo(err)
	}
	oldL1, oldOffset := m.index.Load().l1, int64(m.hdr.L1TableOffset)
	if err := m.switchHeader(ctx, func(h *Header) {
		h.L1TableOffset, h.L1Size, h.Size = uint64(c<<m.clusterBits), uint32(len(l1)), uint64(size)
	}); err != nil {
		return undo(m.undoAlloc(ctx, c, n, err))
	}
	active := make([]uint64, len(l1))
	for i, w := range l1 {
		active[i] = w &^ bitCopied
		if off := L1Entry(w).Offset(); off != 0 {
			m.noteMetadata(off >> m.clusterBits)
		}
	}
	m.forget(func(int64) bool { return false })
	m.index.Store(newIndex(&m.geometry, active))
	m.size.Store(size)
	if size != oldSize {
		if err := m.resizeBitmaps(ctx, size); err != nil {
			return err
		}
	}
	m.dirtyGen.Add(1)
	// What was active may still be read or written by who looked before.
	err = m.walkTree(ctx, oldL1, func(cluster, n int64) error {
		m.written = appendFree(m.written, pendingFree{cluster, n, freeSnapshot})
		return nil
	})
	if oldOffset != 0 {
		m.written = appendFree(m.written, pendingFree{oldOffset >> m.clusterBits, m.clusters(int64(len(oldL1)) * 8), freeSnapshot})
	}
	return errors.Join(err, m.refreshFlags(ctx))
}

// OpenSnapshot makes the node read a snapshot's content from now on.
func (m *Image) OpenSnapshot(ctx context.Context, idOrName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writable {
		return engine.Errf(engine.ErrUnsupported, "a snapshot is opened for reading only")
	}
	i, err := m.findSnapshot(idOrName)
	if err != nil {
		return err
	}
	rec := &m.snaps[i]
	l1, err := m.snapshotL1(ctx, rec)
	if err != nil {
		return err
	}
	m.forget(func(int64) bool { return false })
	m.index.Store(newIndex(&m.geometry, l1))
	m.size.Store(int64(rec.DiskSize))
	return nil
}

// snapshotL1 reads the L1 table of a snapshot.
func (m *Image) snapshotL1(ctx context.Context, rec *SnapshotRecord) ([]uint64, error) {
	switch {
	case uint64(rec.L1Size)*8 > maxL1Bytes:
		return nil, engine.Errf(engine.ErrCorrupt, "Snapshot L1 table too large")
	case rec.L1TableOffset&uint64(m.clusterMask) != 0 || rec.L1TableOffset > 1<<56:
		return nil, engine.Errf(engine.ErrCorrupt, "Snapshot L1 table offset invalid")
	case rec.DiskSize > 1<<62 || uint64(rec.L1Size) < m.l1Entries(rec.DiskSize):
		return nil, engine.Errf(engine.ErrCorrupt, "snapshot '%s': the L1 table is too small for %d bytes", rec.Name, rec.DiskSize)
	}
	return m.readWords(ctx, int64(rec.L1TableOffset), int64(rec.L1Size))
}
