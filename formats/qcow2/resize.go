package qcow2

import (
	"context"
	"errors"

	"github.com/blkbench/blkbench/engine"
)

// Resize changes the virtual size. Growing enlarges the L1 table and preallocates; shrinking unmaps what lies beyond and shortens the L1
// table's use.
func (m *Image) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	if size&511 != 0 {
		return engine.Errf(engine.ErrAlign, "The new size must be a multiple of 512")
	}
	m.gate.Lock()
	defer m.gate.Unlock()
	if err := m.beforeChange(ctx); err != nil {
		return err
	}
	switch {
	case m.l1EntriesFor(size)*8 > maxL1Bytes:
		return engine.Errf(engine.ErrRange, "Image size too large for file format (try using a larger cluster size)")
	case len(m.snaps) > 0 && m.version < 3:
		return engine.Errf(engine.ErrUnsupported, "Can't resize a v2 image which has snapshots")
	}
	m.mu.Lock()
	err := m.bitmapsMayResize(ctx)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	old := m.Size()
	if size < old {
		if o.Prealloc != "" && o.Prealloc != engine.PreallocOff {
			return engine.Errf(engine.ErrUnsupported, "Preallocation can't be used for shrinking an image")
		}
		err = m.shrink(ctx, old, size)
	} else {
		err = m.grow(ctx, old, size, o)
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	err = m.resizeBitmaps(ctx, size)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.Flush(ctx)
}

func (m *Image) l1EntriesFor(size int64) int64 { return int64(m.l1Entries(uint64(size))) }

func (m *Image) grow(ctx context.Context, old, size int64, o engine.ResizeOptions) error {
	if o.Prealloc == "" {
		o.Prealloc = engine.PreallocOff
	}
	m.mu.Lock()
	err := m.growL1(ctx, m.l1EntriesFor(size))
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if m.dataFile && m.data.Size() < size {
		pre := o.Prealloc
		if pre == engine.PreallocMetadata {
			pre = engine.PreallocOff
		}
		if err := m.data.Resize(ctx, size, engine.ResizeOptions{Prealloc: pre}); err != nil {
			return err
		}
	}
	if o.Prealloc != engine.PreallocOff {
		if err := m.preallocate(ctx, old, size, o.Prealloc); err != nil {
			return err
		}
	}
	if o.ReadZero {
		if err := m.zeroTail(ctx, old, size); err != nil {
			return err
		}
	}
	// What shows up must not be the backing file's content behind the old end.
	if b := m.backing.Load(); b != nil && b.Size() > old && size > old {
		if err := m.zeroNew(ctx, old, min(size, (b.Size()+m.clusterMask)&^m.clusterMask)); err != nil {
			return err
		}
	}
	return m.setSize(ctx, size)
}

// zeroTail zeroes what the last cluster holds behind the old end: an image that was once longer has data there, which QEMU shows again.
func (m *Image) zeroTail(ctx context.Context, old, size int64) error {
	end := min(size, (old+m.clusterMask)&^m.clusterMask)
	if old >= end {
		return nil
	}
	r, err := m.lookup(ctx, old, end-old)
	if err != nil || (r.kind != kindNormal && r.kind != kindCompressed) {
		return err
	}
	return m.writeZeroData(ctx, old, end-old)
}

// zeroNew makes [from, to), which lies past the old end, read as zeroes over a backing file.
func (m *Image) zeroNew(ctx context.Context, from, to int64) error {
	if m.version < 3 {
		return m.writeZeroData(ctx, from, to-from)
	}
	edge := min((from+m.clusterMask)&^m.clusterMask, to)
	if err := m.writeZeroData(ctx, from, edge-from); err != nil {
		return err
	}
	if edge < to {
		_, err := m.zeroUnits(context.WithoutCancel(ctx), edge, to, false)
		return err
	}
	return nil
}

// setSize makes a new size durable, after the metadata that it needs.
func (m *Image) setSize(ctx context.Context, size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.writeBack(ctx); err != nil {
		return err
	}
	if err := m.barrier(ctx); err != nil {
		return err
	}
	if err := m.switchHeader(ctx, func(h *Header) { h.Size = uint64(size) }); err != nil {
		return err
	}
	m.size.Store(size)
	return nil
}

// growL1 moves the L1 table to a longer place. mu is held.
func (m *Image) growL1(ctx context.Context, entries int64) error {
	x := m.index.Load()
	if entries <= int64(len(x.l1)) {
		return nil
	}
	m.file.Event(engine.EventL1GrowAllocTable)
	c, err := m.allocContiguous(ctx, m.clusters(entries*8))
	if err != nil {
		return err
	}
	l1 := make([]uint64, entries)
	copy(l1, x.l1)
	if err := m.switchL1(ctx, l1, c<<m.clusterBits); err != nil {
		return m.undoAlloc(ctx, c, m.clusters(entries*8), err)
	}
	return nil
}

// switchL1 writes an L1 table to a place of its own and makes it the active one; the old one is freed. mu is held.
func (m *Image) switchL1(ctx context.Context, l1 []uint64, hostOff int64) error {
	// All that the table leads to must be on the disk before the header leads to the table.
	if err := m.writeBack(ctx); err != nil {
		return err
	}
	table := make([]uint64, m.clusters(int64(len(l1))*8)<<m.clusterBits/8)
	copy(table, l1)
	m.file.Event(engine.EventL1GrowWriteTable)
	if err := m.writeWords(ctx, table, hostOff); err != nil {
		return err
	}
	if err := m.writeRefs(ctx); err != nil {
		return err
	}
	if err := m.barrier(ctx); err != nil {
		return err
	}
	m.file.Event(engine.EventL1GrowActivateTable)
	oldOffset, oldBytes := int64(m.hdr.L1TableOffset), int64(m.hdr.L1Size)*8
	if err := m.switchHeader(ctx, func(h *Header) {
		h.L1TableOffset, h.L1Size = uint64(hostOff), uint32(len(l1))
	}); err != nil {
		return err
	}
	x := m.index.Load()
	nx := newIndex(&m.geometry, l1)
	for i := range min(len(x.pages), len(nx.pages)) {
		nx.pages[i].Store(x.pages[i].Load())
	}
	m.index.Store(nx)
	m.dirtyGen.Add(1)
	if oldOffset != 0 {
		m.free(pendingFree{oldOffset >> m.clusterBits, m.clusters(oldBytes), freeOther})
	}
	return nil
}

// preallocate maps [from, to) to clusters past the end of the file, without writing them.
func (m *Image) preallocate(ctx context.Context, from, to int64, mode engine.Prealloc) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.dataFile {
		// Only what was never written reads as zeroes.
		hint := m.refs.hint
		m.refs.hint = max(hint, m.clusters(m.file.Size()))
		defer func() { m.refs.hint = min(hint, m.refs.hint) }()
	}
	for off := from &^ m.clusterMask; off < to; {
		s, err := m.sliceForWrite(ctx, m.sliceOf(off))
		if err != nil {
			return err
		}
		i := m.inSlice(off)
		e, bm := m.at(s, i)
		if off < from || e != 0 || bm != 0 {
			off += m.clusterSize
			continue
		}
		first := off >> m.clusterBits
		want := m.extendRun(s, i, first, to) - first
		host, got := off, want
		if !m.dataFile {
			c, n, err := m.allocRun(ctx, want)
			if err != nil {
				return err
			}
			host, got = c<<m.clusterBits, n
			// The file first: entries must not lead past its end.
			if err := m.extendFile(ctx, host+got<<m.clusterBits, mode); err != nil {
				return m.undoAlloc(ctx, c, n, err)
			}
		}
		for j := range got {
			m.set(s, i+int(j), L2Entry(uint64(host+j<<m.clusterBits)|bitCopied), 0)
		}
		off += got << m.clusterBits
	}
	return nil
}

// extendFile makes the file at least end bytes long.
func (m *Image) extendFile(ctx context.Context, end int64, mode engine.Prealloc) error {
	if end <= m.file.Size() {
		return nil
	}
	if mode == engine.PreallocMetadata {
		mode = engine.PreallocOff
	}
	return m.file.Resize(ctx, end, engine.ResizeOptions{Prealloc: mode})
}

// shrink unmaps everything from size on, and then makes the new size durable: a crash in between has unmapped a part of what was given up.
func (m *Image) shrink(ctx context.Context, old, size int64) error {
	from := (size + m.clusterMask) &^ m.clusterMask
	if err := m.discardClusters(ctx, from, (old+m.clusterMask)&^m.clusterMask, freeAlways, true); err != nil {
		return err
	}
	if err := m.dropTables(ctx, m.l1EntriesFor(size)); err != nil {
		return err
	}
	if err := m.setSize(ctx, size); err != nil {
		return err
	}
	if m.dataFile {
		return m.data.Resize(ctx, size, engine.ResizeOptions{})
	}
	return m.trimFile(ctx)
}

// dropTables lets L2 tables from L1 entry keep on go.
func (m *Image) dropTables(ctx context.Context, keep int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.writeBack(ctx); err != nil {
		return err
	}
	m.forget(func(no int64) bool { return m.l1Index(no) < keep })
	x := m.index.Load()
	m.file.Event(engine.EventL1ShrinkWriteTable)
	m.file.Event(engine.EventL1ShrinkFreeL2Clusters)
	for i := keep; i < int64(len(x.l1)); i++ {
		if e := x.entry(i); e.Offset() != 0 {
			m.setL1(i, 0)
			m.free(pendingFree{e.Offset() >> m.clusterBits, 1, freeOther})
		}
	}
	return nil
}

// trimFile cuts the file behind the last cluster in use, as soon as nobody can be reading there: after a grace period, or at Close.
func (m *Image) trimFile(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.commit(ctx); err != nil {
		return err
	}
	m.trim = true
	m.domain.Defer(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.closed && len(m.draining) == 0 {
			_ = m.trimNow(context.Background()) // a longer file is no harm; Close tries again
		}
	})
	return nil
}

// trimNow cuts the file. mu is held.
func (m *Image) trimNow(ctx context.Context) error {
	if !m.trim {
		return nil
	}
	if err := m.writeRefs(ctx); err != nil {
		return err
	}
	last, err := m.lastUsed(ctx)
	if err != nil {
		return err
	}
	m.trim = false
	if end := (last + 1) << m.clusterBits; end < m.file.Size() {
		if err := m.file.Resize(ctx, end, engine.ResizeOptions{}); err != nil && !errors.Is(err, engine.ErrUnsupported) {
			return err
		}
	}
	return nil
}

// lastUsed returns the last cluster with a refcount. mu is held.
func (m *Image) lastUsed(ctx context.Context) (int64, error) {
	per := int64(1) << m.refBlockBits
	for no := int64(len(m.refs.table)) - 1; no >= 0; no-- {
		b, err := m.refBlock(ctx, no)
		if err != nil {
			return 0, err
		}
		if b == nil {
			continue
		}
		for i := per - 1; i >= 0; i-- {
			if refGet(b.raw, m.refOrder, int(i)) != 0 {
				return no*per + i, nil
			}
		}
	}
	return 0, engine.Errf(engine.ErrCorrupt, "no cluster is counted")
}
