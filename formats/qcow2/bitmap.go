package qcow2

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
)

// bitmapState is what is known of persistent bitmaps. The list changes under the image's mu; the bits under mu here, which is a leaf.
type bitmapState struct {
	ext      BitmapExtension // Count is 0 when the image has none
	list     []*bitmap
	onDisk   []BitmapRecord // what the directory on the disk says
	tracking atomic.Bool    // a bitmap is enabled: writes are noted
	inUse    atomic.Bool    // the disk says that bitmaps are in use

	mu sync.Mutex
}

// bitmap is a persistent dirty bitmap.
type bitmap struct {
	rec     BitmapRecord
	stale   bool    // in use when it was opened, or with extra data that is not known: cannot be used, only removed
	bits    *bitset // nil until needed
	changed bool    // bits or record differ from the disk
}

func (b *bitmap) granularity() int64 { return 1 << b.rec.GranularityBits }

func (b *bitmap) enabled() bool { return b.rec.Flags&BitmapAuto != 0 && !b.stale }

func (b *bitmap) detail() BitmapDetail {
	d := BitmapDetail{Name: b.rec.Name, Granularity: b.granularity(), Flags: []string{}}
	if b.rec.Flags&BitmapInUse != 0 {
		d.Flags = append(d.Flags, "in-use")
	}
	if b.rec.Flags&BitmapAuto != 0 {
		d.Flags = append(d.Flags, "auto")
	}
	return d
}

// track notes that a range was written.
func (b *bitmapState) track(off, n int64) {
	if !b.tracking.Load() || n <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.list {
		if x.enabled() && x.bits != nil {
			x.bits.set(off>>x.rec.GranularityBits, (off+n-1)>>x.rec.GranularityBits+1)
			x.changed = true
		}
	}
}

// loadBitmaps reads the bitmap directory, where the image says that it can be believed.
func (m *Image) loadBitmaps(ctx context.Context, tolerant bool) error {
	e := m.hdr.Extension(ExtBitmaps)
	if e == nil {
		if m.hdr.Autoclear&AutoclearBitmaps != 0 && !tolerant {
			return engine.Errf(engine.ErrCorrupt, "the bitmaps bit is set, and there is no bitmaps extension")
		}
		return nil
	}
	if m.hdr.Autoclear&AutoclearBitmaps == 0 {
		m.notes = append(m.notes, "a program lacking bitmap support modified this file, so all bitmaps are now considered inconsistent")
		return nil
	}
	x, err := ParseBitmapExtension(e.Data, m.clusterMask)
	if err != nil {
		return err
	}
	if int64(x.DirectoryOffset+x.DirectorySize) > m.file.Size()+m.clusterSize {
		return engine.Errf(engine.ErrCorrupt, "the bitmap directory ends past the end of the file")
	}
	buf := make([]byte, x.DirectorySize)
	if err := m.readFile(ctx, buf, int64(x.DirectoryOffset)); err != nil {
		return err
	}
	list, err := ParseBitmapDirectory(buf, int(x.Count), m.clusterMask)
	if err != nil {
		if tolerant {
			m.bitmaps.ext, m.bitmaps.onDisk = x, list
			return nil
		}
		return err
	}
	m.bitmaps.ext, m.bitmaps.onDisk = x, slices.Clone(list)
	for _, r := range list {
		stale := r.Flags&BitmapInUse != 0 || (len(r.Extra) > 0 && r.Flags&BitmapExtraCompatible == 0)
		m.bitmaps.list = append(m.bitmaps.list, &bitmap{rec: r, stale: stale})
	}
	return nil
}

// updateTracking follows a change of the list or of flags: enabled bitmaps must see every write. mu is held.
func (m *Image) updateTracking() {
	on := m.writable && slices.ContainsFunc(m.bitmaps.list, (*bitmap).enabled)
	if !on {
		m.bitmaps.inUse.Store(false)
	}
	m.fastWrite.Store(m.mayFastWrite() && !on)
	m.bitmaps.tracking.Store(on)
}

// markBitmaps says on the disk that enabled bitmaps are being changed, before the first change. The gate is held.
func (m *Image) markBitmaps(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bitmaps.inUse.Load() {
		return nil
	}
	if err := m.markInUse(ctx, (*bitmap).enabled); err != nil {
		return err
	}
	m.bitmaps.inUse.Store(true)
	return nil
}

// markInUse loads bitmaps and sets their in-use flag in the directory on the disk. mu is held.
func (m *Image) markInUse(ctx context.Context, which func(*bitmap) bool) error {
	disk := slices.Clone(m.bitmaps.onDisk)
	for _, b := range m.bitmaps.list {
		if !which(b) {
			continue
		}
		if err := m.loadBits(ctx, b); err != nil {
			return err
		}
		for i := range disk {
			if disk[i].Name == b.rec.Name {
				disk[i].Flags |= BitmapInUse
			}
		}
		b.changed = true
	}
	if len(disk) == 0 {
		return nil
	}
	if err := m.file.WriteAt(ctx, MarshalBitmapDirectory(disk), int64(m.bitmaps.ext.DirectoryOffset), 0); err != nil {
		return err
	}
	if err := m.file.Flush(ctx); err != nil {
		return err
	}
	m.bitmaps.onDisk = disk
	return nil
}

// Bitmaps lists the persistent bitmaps.
func (m *Image) Bitmaps() []engine.Bitmap {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []engine.Bitmap
	for _, b := range m.bitmaps.list {
		list = append(list, engine.Bitmap{Name: b.rec.Name, Granularity: b.granularity(), Enabled: b.enabled(), Inconsistent: b.stale})
	}
	return list
}

// DefaultGranularity is what a bitmap gets when nothing is said, in bytes.
func (m *Image) DefaultGranularity() int64 { return min(64<<10, max(4<<10, m.clusterSize)) }

// changeBitmaps runs a verb on the list and stores the result. No write runs meanwhile.
func (m *Image) changeBitmaps(ctx context.Context, verb func(ctx context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	m.gate.Lock()
	defer m.gate.Unlock()
	if err := m.checkWritable(); err != nil {
		return err
	}
	if !m.writable {
		return &engine.Error{Kind: engine.ErrReadOnly, Len: -1}
	}
	m.mu.Lock()
	err := verb(ctx)
	if err == nil {
		err = m.saveBitmaps(ctx)
	}
	m.updateTracking()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	// A bitmap that was just enabled sees every write from now on: those that go in place end here.
	return m.domain.SyncPaths(ctx)
}

// findBitmap returns a bitmap that can be used. mu is held.
func (m *Image) findBitmap(name string) (*bitmap, error) {
	for _, b := range m.bitmaps.list {
		if b.rec.Name != name {
			continue
		}
		if b.stale {
			return nil, engine.Errf(engine.ErrCorrupt, "Bitmap '%s' is inconsistent and cannot be used", name)
		}
		return b, nil
	}
	return nil, engine.Errf(engine.ErrNotFound, "Dirty bitmap '%s' not found", name)
}

// AddBitmap makes an empty bitmap. Granularity 0 is the default.
func (m *Image) AddBitmap(ctx context.Context, name string, granularity int64, disabled bool) error {
	if granularity == 0 {
		granularity = m.DefaultGranularity()
	}
	var bits uint8
	for ; int64(1)<<bits < granularity; bits++ {
	}
	switch {
	case m.version < 3:
		return engine.Errf(engine.ErrUnsupported, "Cannot store dirty bitmaps in qcow2 v2 files")
	case granularity != 1<<bits || bits < minGranularityBits || bits > maxGranularityBits:
		return engine.Errf(engine.ErrOption, "Granularity must be power of 2 and at least %d", 1<<minGranularityBits)
	case name == "":
		return engine.Errf(engine.ErrOption, "Bitmap name cannot be empty")
	case len(name) > maxBitmapName:
		return engine.Errf(engine.ErrOption, "Name length exceeds maximum (%d characters)", maxBitmapName)
	}
	return m.changeBitmaps(ctx, func(context.Context) error {
		for _, b := range m.bitmaps.list {
			if b.rec.Name == name {
				return engine.Errf(engine.ErrExist, "Bitmap already exists: %s", name)
			}
		}
		if len(m.bitmaps.list) >= maxBitmaps {
			return engine.Errf(engine.ErrNoSpace, "Maximum number of persistent bitmaps is already reached")
		}
		b := &bitmap{rec: BitmapRecord{Type: bitmapTypeDirty, GranularityBits: bits, Name: name}, changed: true}
		if !disabled {
			b.rec.Flags |= BitmapAuto
		}
		b.bits = m.emptyBits(b)
		m.bitmaps.list = append(m.bitmaps.list, b)
		return nil
	})
}

// RemoveBitmap removes a bitmap, also an inconsistent one.
func (m *Image) RemoveBitmap(ctx context.Context, name string) error {
	return m.changeBitmaps(ctx, func(context.Context) error {
		for i, b := range m.bitmaps.list {
			if b.rec.Name == name {
				m.bitmaps.list = slices.Delete(slices.Clone(m.bitmaps.list), i, i+1)
				return nil
			}
		}
		return engine.Errf(engine.ErrNotFound, "Dirty bitmap '%s' not found", name)
	})
}

// ClearBitmap clears all bits.
func (m *Image) ClearBitmap(ctx context.Context, name string) error {
	return m.withBitmap(ctx, name, func(b *bitmap) { b.bits = m.emptyBits(b) })
}

// EnableBitmap lets a bitmap record writes; DisableBitmap stops it.
func (m *Image) EnableBitmap(ctx context.Context, name string) error {
	return m.withBitmap(ctx, name, func(b *bitmap) { b.rec.Flags |= BitmapAuto })
}

// DisableBitmap stops a bitmap from recording.
func (m *Image) DisableBitmap(ctx context.Context, name string) error {
	return m.withBitmap(ctx, name, func(b *bitmap) { b.rec.Flags &^= BitmapAuto })
}

func (m *Image) withBitmap(ctx context.Context, name string, f func(b *bitmap)) error {
	return m.changeBitmaps(ctx, func(ctx context.Context) error {
		b, err := m.findBitmap(name)
		if err != nil {
			return err
		}
		if err := m.loadBits(ctx, b); err != nil {
			return err
		}
		f(b)
		b.changed = true
		return nil
	})
}

// DirtyRanges calls f for every range of guest bytes that a bitmap has set, in order.
func (m *Image) DirtyRanges(ctx context.Context, name string, f func(off, n int64) error) error {
	m.mu.Lock()
	b, err := m.findBitmap(name)
	if err == nil {
		err = m.loadBits(ctx, b)
	}
	type span struct{ off, n int64 }
	var spans []span
	if err == nil {
		size := m.Size()
		b.bits.each(func(from, to int64) {
			off := from << b.rec.GranularityBits
			spans = append(spans, span{off, min(to<<b.rec.GranularityBits, size) - off})
		})
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	for _, s := range spans {
		if err := f(s.off, s.n); err != nil {
			return err
		}
	}
	return nil
}

// MergeBitmap adds what a bitmap of src, which may be this image, has set.
func (m *Image) MergeBitmap(ctx context.Context, name string, src engine.Bitmapper, srcName string) error {
	if src.Size() != m.Size() {
		return engine.Errf(engine.ErrUnsupported, "Bitmaps are of different sizes (destination size is %d, source size is %d) and can't be merged", m.Size(), src.Size())
	}
	type span struct{ off, n int64 }
	var spans []span
	if err := src.DirtyRanges(ctx, srcName, func(off, n int64) error {
		spans = append(spans, span{off, n})
		return nil
	}); err != nil {
		return err
	}
	return m.withBitmap(ctx, name, func(b *bitmap) {
		for _, s := range spans {
			b.bits.set(s.off>>b.rec.GranularityBits, (s.off+s.n-1)>>b.rec.GranularityBits+1)
		}
	})
}
