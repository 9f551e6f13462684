package qcow2

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// emptyBits makes the bits of a bitmap for the present size.
func (m *Image) emptyBits(b *bitmap) *bitset { return newBitset(bitsFor(m.Size(), b), m.clusterSize) }

func bitsFor(size int64, b *bitmap) int64 {
	return size>>b.rec.GranularityBits + min(1, size&(b.granularity()-1))
}

// loadBits reads the bits of a bitmap. mu is held.
func (m *Image) loadBits(ctx context.Context, b *bitmap) error {
	if b.bits != nil {
		return nil
	}
	s := m.emptyBits(b)
	if int64(b.rec.TableSize) != s.pageCount() {
		return engine.Errf(engine.ErrCorrupt, "bitmap '%s': table of %d entries, want %d", b.rec.Name, b.rec.TableSize, s.pageCount())
	}
	table, err := m.readWords(ctx, int64(b.rec.TableOffset), int64(b.rec.TableSize))
	if err != nil {
		return err
	}
	for i, w := range table {
		e := bitmapEntry(w)
		switch {
		case !e.valid(m.clusterMask):
			return engine.Errf(engine.ErrCorrupt, "bitmap '%s': table entry %d is %#x", b.rec.Name, i, w)
		case e.ones():
			s.ones[int64(i)] = true
		case e.offset() != 0:
			p := make([]byte, m.clusterSize)
			if err := m.readFile(ctx, p, e.offset()); err != nil {
				return err
			}
			s.pages[int64(i)] = p
		}
	}
	m.bitmaps.mu.Lock()
	b.bits = s
	m.bitmaps.mu.Unlock()
	return nil
}

// storeBitmaps saves what was tracked; called at the end.
func (m *Image) storeBitmaps(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.bitmaps.list {
		if b.changed {
			return m.saveBitmaps(ctx)
		}
	}
	return nil
}

// saveBitmaps writes changed bitmaps and the directory to new places, switches to them by the header, and frees the old ones. mu is held.
func (m *Image) saveBitmaps(ctx context.Context) error {
	var fresh []pendingFree // what to give back when it goes wrong
	fail := func(err error) error {
		for _, f := range fresh {
			err = m.undoAlloc(ctx, f.cluster, f.n, err)
		}
		return err
	}
	records := make([]BitmapRecord, 0, len(m.bitmaps.list))
	kept := make(map[uint64]bool) // tables that stay in use
	for _, b := range m.bitmaps.list {
		rec := b.rec
		if b.changed {
			var err error
			if rec, err = m.writeBits(ctx, b, &fresh); err != nil {
				return fail(err)
			}
		}
		kept[rec.TableOffset] = true
		records = append(records, rec)
	}
	x := BitmapExtension{Count: uint32(len(records))}
	var data []byte
	if len(records) > 0 {
		dir := MarshalBitmapDirectory(records)
		c, err := m.allocContiguous(ctx, m.clusters(int64(len(dir))))
		if err != nil {
			return fail(err)
		}
		fresh = append(fresh, pendingFree{c, m.clusters(int64(len(dir))), freeOther})
		if err := m.file.WriteAt(ctx, dir, c<<m.clusterBits, 0); err != nil {
			return fail(err)
		}
		x.DirectoryOffset, x.DirectorySize = uint64(c<<m.clusterBits), uint64(len(dir))
		data = x.Marshal()
	}
	if err := m.writeRefs(ctx); err != nil {
		return fail(err)
	}
	if err := m.file.Flush(ctx); err != nil {
		return fail(err)
	}
	if err := m.rewriteHeader(ctx, func(h *Header) {
		h.SetExtension(ExtBitmaps, data)
		h.Autoclear &^= AutoclearBitmaps
		if data != nil {
			h.Autoclear |= AutoclearBitmaps
		}
	}); err != nil {
		return fail(err)
	}
	old, oldExt := m.bitmaps.onDisk, m.bitmaps.ext
	m.bitmaps.onDisk, m.bitmaps.ext = records, x
	m.bitmaps.inUse.Store(false)
	for i, b := range m.bitmaps.list {
		b.rec, b.changed = records[i], false
	}
	return m.freeBitmaps(ctx, old, oldExt, kept)
}

// writeBits writes the bits and the table of a bitmap and returns its record.
func (m *Image) writeBits(ctx context.Context, b *bitmap, fresh *[]pendingFree) (BitmapRecord, error) {
	s := b.bits
	table := make([]uint64, max(1, s.pageCount()))
	for no := range s.ones {
		if (no+1)*s.pageBits <= s.bits {
			table[no] = 1
			continue
		}
		p := s.page(no) // the unused bits at the end are zero
		for i := s.bits - no*s.pageBits; i < s.pageBits; i++ {
			p[i/8] &^= 1 << (i % 8)
		}
	}
	for no, p := range s.pages {
		if engine.IsZero(p) {
			continue
		}
		c, err := m.allocContiguous(ctx, 1)
		if err != nil {
			return b.rec, err
		}
		*fresh = append(*fresh, pendingFree{c, 1, freeOther})
		if err := m.file.WriteAt(ctx, p, c<<m.clusterBits, 0); err != nil {
			return b.rec, err
		}
		table[no] = uint64(c << m.clusterBits)
	}
	n := m.clusters(int64(len(table)) * 8)
	c, err := m.allocContiguous(ctx, n)
	if err != nil {
		return b.rec, err
	}
	*fresh = append(*fresh, pendingFree{c, n, freeOther})
	if err := m.writeWords(ctx, table, c<<m.clusterBits); err != nil {
		return b.rec, err
	}
	rec := b.rec
	rec.TableOffset, rec.TableSize = uint64(c<<m.clusterBits), uint32(len(table))
	rec.Flags &^= BitmapInUse
	return rec, nil
}

// freeBitmaps gives the old directory and the tables that are no longer used back. Nobody reads them but here: no grace period.
func (m *Image) freeBitmaps(ctx context.Context, old []BitmapRecord, ext BitmapExtension, kept map[uint64]bool) error {
	if ext.Count == 0 {
		return nil
	}
	for i := range old {
		r := &old[i]
		if kept[r.TableOffset] {
			continue
		}
		table, err := m.readWords(ctx, int64(r.TableOffset), int64(r.TableSize))
		if err != nil {
			return err
		}
		for _, w := range table {
			if e := bitmapEntry(w); e.offset() != 0 {
				if err := m.freeNow(ctx, &pendingFree{e.offset() >> m.clusterBits, 1, freeOther}); err != nil {
					return err
				}
			}
		}
		if err := m.freeNow(ctx, &pendingFree{int64(r.TableOffset) >> m.clusterBits, m.clusters(int64(r.TableSize) * 8), freeOther}); err != nil {
			return err
		}
	}
	return m.freeNow(ctx, &pendingFree{int64(ext.DirectoryOffset) >> m.clusterBits, m.clusters(int64(ext.DirectorySize)), freeOther})
}

// bitmapsMayResize prepares the bitmaps for another size: all are loaded, and marked as in use until they are saved. mu is held.
func (m *Image) bitmapsMayResize(ctx context.Context) error {
	for _, b := range m.bitmaps.list {
		if b.stale {
			return engine.Errf(engine.ErrUnsupported, "Cannot resize: bitmap '%s' is inconsistent", b.rec.Name)
		}
	}
	if len(m.bitmaps.list) == 0 {
		return nil
	}
	return m.markInUse(ctx, func(*bitmap) bool { return true })
}

// resizeBitmaps gives the bitmaps a new size and saves them. mu is held.
func (m *Image) resizeBitmaps(ctx context.Context, size int64) error {
	if len(m.bitmaps.list) == 0 {
		return nil
	}
	m.bitmaps.mu.Lock()
	for _, b := range m.bitmaps.list {
		b.bits.resize(bitsFor(size, b))
	}
	m.bitmaps.mu.Unlock()
	return m.saveBitmaps(ctx)
}
