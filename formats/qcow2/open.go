package qcow2

import (
	"context"
	"errors"
	"sync"

	"github.com/blkbench/blkbench/engine"
)

// Parts are what an Image is put together from; it owns the children from then on, also when New fails.
type Parts struct {
	Header  *Header
	File    *engine.Ref
	Data    *engine.Ref // the external data file, where the header wants one
	Backing *engine.Ref // nil: none, or left closed
	Write   bool
	Check   bool // tolerate what the checker repairs
	NoIO    bool // guest data will not be read
	Config  Config
}

// New opens an image.
func New(ctx context.Context, p Parts) (*Image, error) {
	m, err := load(ctx, p)
	if err == nil {
		return m, nil
	}
	for _, r := range []*engine.Ref{p.Data, p.Backing, p.File} {
		if r != nil {
			err = errors.Join(err, r.Close())
		}
	}
	return nil, err
}

func load(ctx context.Context, p Parts) (*Image, error) {
	h := p.Header
	if err := h.Validate(p.Check); err != nil {
		return nil, err
	}
	m := &Image{geometry: h.geometry(), file: p.File, data: p.File, cfg: p.Config, hdr: *h, writable: p.Write, domain: p.File.Domain()}
	m.cond = sync.NewCond(&m.mu)
	m.l1Dirty = make(map[int64]struct{})
	m.size.Store(int64(h.Size))
	m.backing.Store(p.Backing)
	if err := m.checkOpen(&p); err != nil {
		return nil, err
	}
	if p.Data != nil {
		m.data = p.Data
	}
	m.blind = h.CryptMethod != CryptNone || (m.dataFile && p.Data == nil)
	m.sizeCaches()
	if err := m.loadTables(ctx); err != nil {
		return nil, err
	}
	if err := m.loadSnapshots(ctx, p.Check); err != nil {
		return nil, err
	}
	if err := m.loadBitmaps(ctx, p.Check); err != nil {
		return nil, err
	}
	if m.writable {
		m.noteTables()
		if err := m.openForWriting(ctx, &p); err != nil {
			return nil, err
		}
	}
	m.describe()
	return m, nil
}

// checkOpen refuses what cannot be read or written as asked.
func (m *Image) checkOpen(p *Parts) error {
	h := &m.hdr
	switch {
	case h.CryptMethod == CryptAES && !p.NoIO:
		return engine.Errf(engine.ErrUnsupported, "the image is encrypted (encrypt.format=aes)")
	case h.CryptMethod == CryptLUKS && !p.NoIO:
		return engine.Errf(engine.ErrUnsupported, "the image is encrypted (encrypt.format=luks)")
	case h.Incompatible&IncompatCorrupt != 0 && p.Write && !p.Check:
		return engine.Errf(engine.ErrCorrupt, "qcow2: Image is corrupt; cannot be opened read/write")
	case m.dataFile && p.Data == nil && !p.NoIO:
		return engine.Errf(engine.ErrOption, "'data-file' is required for this image")
	case !m.dataFile && p.Data != nil:
		return engine.Errf(engine.ErrOption, "'data-file' can only be set for images with an external data file")
	}
	return nil
}

// sizeCaches turns bytes into counts; there is always room for what one operation holds.
func (m *Image) sizeCaches() {
	m.cache.limit = int(max(4, m.cfg.L2CacheBytes/m.sliceBytes()))
	m.cache.dirty = make(map[int64]*slice)
	m.refs = refState{
		dirty: make(map[int64]struct{}), blocks: make(map[int64]*refBlock),
		limit: int(max(4, m.cfg.RefcountCacheBytes>>m.clusterBits)),
	}
}

// loadTables reads the L1 and the refcount table.
func (m *Image) loadTables(ctx context.Context) error {
	end := m.file.Size() + m.clusterSize
	if l1 := int64(m.hdr.L1TableOffset) + 8*int64(m.hdr.L1Size); m.hdr.L1Size > 0 && l1 > end {
		return engine.Errf(engine.ErrCorrupt, "the L1 table ends at %#x, past the end of the file", l1)
	}
	if rt := int64(m.hdr.RefcountTableOffset) + int64(m.hdr.RefcountTableClusters)<<m.clusterBits; rt > end {
		return engine.Errf(engine.ErrCorrupt, "the refcount table ends at %#x, past the end of the file", rt)
	}
	l1, err := m.readWords(ctx, int64(m.hdr.L1TableOffset), int64(m.hdr.L1Size))
	if err != nil {
		return err
	}
	m.index.Store(newIndex(&m.geometry, l1))
	m.file.Event(engine.EventReftableLoad)
	m.refs.table, err = m.readWords(ctx, int64(m.hdr.RefcountTableOffset), int64(m.hdr.RefcountTableClusters)<<m.clusterBits/8)
	return err
}

// readWords reads a table of n 64-bit words.
func (m *Image) readWords(ctx context.Context, hostOff, n int64) ([]uint64, error) {
	words := make([]uint64, n)
	buf := make([]byte, min(8*n, 1<<20))
	for at := int64(0); at < n; {
		b := buf[:min(int64(len(buf)), 8*(n-at))]
		if err := m.readFile(ctx, b, hostOff+8*at); err != nil {
			return nil, err
		}
		for ; len(b) > 0; b, at = b[8:], at+1 {
			words[at] = be.Uint64(b)
		}
	}
	return words, nil
}

// openForWriting does what a writer owes: unknown autoclear bits go, and refcounts that a crash left behind are made right.
func (m *Image) openForWriting(ctx context.Context, p *Parts) error {
	m.lazy = m.hdr.Compatible&CompatLazyRefcounts != 0
	if l := m.cfg.LazyRefcounts; l != nil {
		m.lazy = *l && m.version >= 3
	}
	m.updateTracking()
	if p.Check {
		return nil
	}
	m.mu.Lock()
	err := m.setAutoclear(ctx, ^autoclearKnown, false)
	if err == nil && m.bitmaps.ext.Count == 0 && m.hdr.Extension(ExtBitmaps) != nil {
		// The bitmaps cannot be believed any more: nothing keeps their clusters from being reused.
		err = m.rewriteHeader(ctx, func(h *Header) { h.SetExtension(ExtBitmaps, nil) })
	}
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if m.hdr.Incompatible&IncompatDirty == 0 {
		return nil
	}
	res, err := m.Check(ctx, engine.CheckOptions{FixErrors: true, FixLeaks: true})
	if err != nil {
		return err
	}
	if res.Corruptions > 0 || res.CheckErrors > 0 {
		return engine.Errf(engine.ErrCorrupt, "Could not repair dirty image: %d errors are left", res.Corruptions+res.CheckErrors)
	}
	return nil
}

// errBlind is what guest data answers when an image was opened for its metadata only.
var errBlind = engine.Errf(engine.ErrUnsupported, "the image was opened for its metadata only")

// mayFastWrite reports whether the image's make lets writes go in place through Map.
func (m *Image) mayFastWrite() bool {
	return m.writable && m.cfg.FastWrites && m.crypt == nil && !m.broken.Load()
}

// beforeChange is called by every verb that changes guest content.
func (m *Image) beforeChange(ctx context.Context) error {
	if err := m.checkWritable(); err != nil {
		return err
	}
	if m.blind {
		return errBlind
	}
	if m.bitmaps.tracking.Load() && !m.bitmaps.inUse.Load() {
		return m.markBitmaps(ctx)
	}
	return nil
}

// describe fills Info.
func (m *Image) describe() {
	below := m.file.Info()
	m.info = engine.Info{Driver: "qcow2", Filename: below.Filename, Limits: engine.Limits{
		RequestAlign: 1, MemAlign: below.Limits.MemAlign, OptTransfer: uint32(m.clusterSize), ClusterSize: uint32(m.clusterSize),
	}}
	if m.writable {
		m.info.Caps = engine.CapWritable | engine.CapDiscard | engine.CapZero | engine.CapUnmapZero
	}
	m.detail = m.newDetail()
	m.info.Detail, m.info.Notes = m.detail, m.notes
}
