package qcow2

import (
	"context"
	"errors"
	"slices"

	"github.com/blkbench/blkbench/engine"
)

// Amend changes options of an existing image, those that AmendOptions lists. The image must not be in use by Paths.
func (m *Image) Amend(ctx context.Context, r *engine.CreateRequest, _ bool, progress func(done, total int64)) error {
	var o AmendOptions
	if err := r.Opts.Bind(&o); err != nil {
		return &engine.Error{Kind: engine.ErrOption, Len: -1, Cause: err}
	}
	if err := r.Opts.Unused(); err != nil {
		return &engine.Error{Kind: engine.ErrOption, Len: -1, Cause: err}
	}
	c := AmendParams{Size: r.Size, RefcountBits: o.RefcountBits, BackingFile: o.BackingFile, BackingFormat: o.BackingFmt, DataFile: o.DataFile}
	switch o.Compat {
	case "0.10", "v2":
		c.Version = 2
	case "1.1", "v3":
		c.Version = 3
	}
	if o.LazyRefcounts.Given {
		c.Lazy = &o.LazyRefcounts.On
	}
	if o.DataFileRaw.Given {
		c.DataFileRaw = &o.DataFileRaw.On
	}
	if o.Encrypt != nil && o.Encrypt.Len() > 0 {
		return engine.Errf(engine.ErrUnsupported, "encrypted images cannot be amended")
	}
	return m.AmendTo(ctx, c, progress)
}

// AmendParams say what is to change; zero values and nil leave things as they are, Size is left alone when negative.
type AmendParams struct {
	Version       int
	Size          int64
	RefcountBits  int
	Lazy          *bool
	BackingFile   *string
	BackingFormat *string
	DataFile      *string
	DataFileRaw   *bool
}

// AmendTo changes an image step by step; each step leaves a consistent image. An upgrade comes first, a downgrade last.
func (m *Image) AmendTo(ctx context.Context, c AmendParams, progress func(done, total int64)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	if !m.writable {
		return &engine.Error{Kind: engine.ErrReadOnly, Len: -1}
	}
	if err := m.checkAmend(&c); err != nil {
		return err
	}
	type step struct {
		wanted bool
		run    func(ctx context.Context) error
	}
	all := []step{
		{c.Version == 3 && m.version == 2, m.upgrade},
		{c.RefcountBits != 0 && c.RefcountBits != 1<<m.refOrder, func(ctx context.Context) error { return m.changeRefWidth(ctx, c.RefcountBits) }},
		{true, func(ctx context.Context) error { return m.amendNames(ctx, &c) }},
		{c.Lazy != nil, func(ctx context.Context) error { return m.setLazy(ctx, *c.Lazy) }},
		{c.Size >= 0 && c.Size != m.Size(), func(ctx context.Context) error {
			return m.Resize(ctx, c.Size, engine.ResizeOptions{Prealloc: engine.PreallocOff, Exact: true})
		}},
		{c.Version == 2 && m.version == 3, m.downgrade},
	}
	steps := slices.DeleteFunc(all, func(s step) bool { return !s.wanted })
	for i, s := range steps {
		if err := s.run(ctx); err != nil {
			return err
		}
		progress(int64(i+1), int64(len(steps)))
	}
	return nil
}

func (m *Image) checkAmend(c *AmendParams) error {
	version := int(m.version)
	if c.Version != 0 {
		version = c.Version
	}
	bits := 1 << m.refOrder
	if c.RefcountBits != 0 {
		bits = c.RefcountBits
	}
	switch {
	case bits < 1 || bits > 64 || bits&(bits-1) != 0:
		return engine.Errf(engine.ErrOption, "Refcount width must be a power of two and may not exceed 64 bits")
	case version < 3 && bits != 16:
		return engine.Errf(engine.ErrOption, "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)")
	case version < 3 && c.Lazy != nil && *c.Lazy:
		return engine.Errf(engine.ErrOption, "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)")
	case c.DataFile != nil && !m.dataFile:
		return engine.Errf(engine.ErrOption, "data-file can only be set for images that use an external data file")
	case c.DataFileRaw != nil && *c.DataFileRaw && !m.rawData():
		return engine.Errf(engine.ErrOption, "data-file-raw cannot be set on existing images")
	}
	return nil
}

// upgrade makes a version 2 image version 3.
func (m *Image) upgrade(ctx context.Context) error {
	return m.exclusively(ctx, func(ctx context.Context) error {
		if err := m.commit(ctx); err != nil {
			return err
		}
		if err := m.completeSnapshots(ctx); err != nil {
			return err
		}
		err := m.rewriteHeader(ctx, func(h *Header) {
			h.Version, h.HeaderLength, h.RefcountOrder = 3, headerLenNow, 4
			h.SetExtension(ExtFeatureNames, appendFeatureNames(nil, knownFeatures))
		})
		if err == nil {
			m.version = 3
		}
		return err
	})
}

// completeSnapshots rewrites the snapshot table with the extra data that version 3 wants. mu is held.
func (m *Image) completeSnapshots(ctx context.Context) error {
	if !slices.ContainsFunc(m.snaps, func(r SnapshotRecord) bool { return r.extraLen < 16 }) {
		return nil
	}
	list := slices.Clone(m.snaps)
	for i := range list {
		list[i].extraLen = 24
	}
	return m.storeSnapshots(ctx, list)
}

// exclusively runs f with the gate and mu held.
func (m *Image) exclusively(ctx context.Context, f func(ctx context.Context) error) error {
	m.gate.Lock()
	defer m.gate.Unlock()
	if err := m.checkWritable(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return f(context.WithoutCancel(ctx))
}

// setLazy sets or clears the lazy refcounts bit.
func (m *Image) setLazy(ctx context.Context, on bool) error {
	return m.exclusively(ctx, func(ctx context.Context) error {
		if on == (m.hdr.Compatible&CompatLazyRefcounts != 0) {
			return nil
		}
		if err := m.commitAll(ctx); err != nil {
			return err
		}
		err := m.rewriteHeader(ctx, func(h *Header) {
			h.Compatible &^= CompatLazyRefcounts
			if on {
				h.Compatible |= CompatLazyRefcounts
			}
		})
		if err == nil {
			m.lazy = on
		}
		return err
	})
}

// amendNames changes references to other files.
func (m *Image) amendNames(ctx context.Context, c *AmendParams) error {
	if c.BackingFile != nil || c.BackingFormat != nil {
		name, format := m.BackingName()
		if c.BackingFile != nil {
			name = *c.BackingFile
		}
		if c.BackingFormat != nil {
			format = *c.BackingFormat
		}
		if err := m.ChangeBacking(ctx, name, format); err != nil {
			return err
		}
	}
	if c.DataFile == nil && c.DataFileRaw == nil {
		return nil
	}
	return m.exclusively(ctx, func(ctx context.Context) error {
		return m.rewriteHeader(ctx, func(h *Header) {
			if c.DataFile != nil {
				var data []byte
				if *c.DataFile != "" {
					data = []byte(*c.DataFile)
				}
				h.SetExtension(ExtDataFile, data)
			}
			if c.DataFileRaw != nil && !*c.DataFileRaw {
				h.Autoclear &^= AutoclearDataRaw
			}
		})
	})
}

// changeRefWidth makes a refcount structure of another width.
func (m *Image) changeRefWidth(ctx context.Context, bits int) error {
	return m.exclusively(ctx, func(ctx context.Context) error {
		if err := m.commitAll(ctx); err != nil {
			return err
		}
		counts, last, err := m.collectRefs(ctx)
		if err != nil {
			return err
		}
		old, oldRefs, h := m.geometry, m.refs, m.hdr
		for h.RefcountOrder = 0; 1<<h.RefcountOrder < bits; h.RefcountOrder++ {
		}
		m.geometry = h.geometry() // the header follows with the switch
		back := func(err error) error {
			m.geometry, m.refs = old, oldRefs
			return err
		}
		if over := counts.over(m.refMax); len(over) > 0 {
			return back(engine.Errf(engine.ErrUnsupported, "Cannot decrease refcount entry width to %d bits: cluster %d has a refcount of %d",
				bits, sortedFirst(over), over[sortedFirst(over)]))
		}
		if _, err := m.replaceRefs(ctx, counts, max(last+1, m.clusters(m.file.Size()))); err != nil {
			return back(err)
		}
		return nil
	})
}

func sortedFirst(over map[int64]uint32) int64 {
	first := int64(-1)
	for k := range over {
		if first < 0 || k < first {
			first = k
		}
	}
	return first
}

// collectRefs reads all refcounts but those of the refcount structure itself, and the last cluster in use. What waits for a grace period
// stays counted. mu is held.
func (m *Image) collectRefs(ctx context.Context) (refCounts, int64, error) {
	counts, last := make(refCounts), int64(0)
	per := int64(1) << m.refBlockBits
	for no := range int64(len(m.refs.table)) {
		b, err := m.refBlock(ctx, no)
		if err != nil {
			return nil, 0, err
		}
		if b == nil {
			continue
		}
		for i := range per {
			n := refGet(b.raw, m.refOrder, int(i))
			if n == 0 {
				continue
			}
			if n > 1<<32-1 {
				return nil, 0, engine.Errf(engine.ErrUnsupported, "cluster %d has a refcount of %d", no*per+i, n)
			}
			last = no*per + i
			counts.add(last, uint32(n))
		}
	}
	drop := func(cluster int64) {
		if p := counts[cluster/refPage]; p != nil && p[cluster%refPage] > 0 {
			p[cluster%refPage]--
		}
	}
	for no := range m.refs.table {
		if off := int64(m.refs.table[no] & offsetMask); off != 0 {
			drop(off >> m.clusterBits)
		}
	}
	for k := range int64(m.hdr.RefcountTableClusters) {
		drop(int64(m.hdr.RefcountTableOffset)>>m.clusterBits + k)
	}
	return counts, last, nil
}

// downgrade makes a version 3 image version 2, which has no zero clusters, no features, no bitmaps and 16-bit refcounts only.
func (m *Image) downgrade(ctx context.Context) error {
	switch {
	case m.refOrder != 4:
		return engine.Errf(engine.ErrUnsupported, "compat=0.10 requires refcount_bits=16")
	case m.hdr.Incompatible&^IncompatDirty != 0:
		return engine.Errf(engine.ErrUnsupported, "Cannot downgrade an image with incompatible features set")
	case len(m.Bitmaps()) > 0:
		return engine.Errf(engine.ErrUnsupported, "Cannot downgrade an image with persistent bitmaps")
	}
	for i := range m.snaps {
		if int64(m.snaps[i].DiskSize) != m.Size() {
			return engine.Errf(engine.ErrUnsupported, "Internal snapshots prevent downgrade of image")
		}
	}
	if err := m.setLazy(ctx, false); err != nil {
		return err
	}
	if err := m.structural(ctx, false, m.expandZeroes); err != nil {
		return err
	}
	return m.exclusively(ctx, func(ctx context.Context) error {
		if err := m.commitAll(ctx); err != nil {
			return err
		}
		err := m.rewriteHeader(ctx, func(h *Header) {
			h.Version, h.HeaderLength = 2, headerLenV2
			h.Incompatible, h.Compatible, h.Autoclear, h.Unknown = 0, 0, 0, nil
			h.SetExtension(ExtFeatureNames, nil)
			h.SetExtension(ExtBitmaps, nil)
		})
		if err == nil {
			m.version = 2
		}
		return err
	})
}

// expandZeroes replaces zero clusters in all L2 tables: by nothing where no backing file would show, else by clusters of zeroes. Tables are
// changed where they are, shared or not. mu is held, all is written back.
func (m *Image) expandZeroes(ctx context.Context) error {
	tables := make(map[int64]bool)
	add := func(l1 []uint64) {
		for _, w := range l1 {
			if off := L1Entry(w).Offset(); off != 0 {
				tables[off] = true
			}
		}
	}
	add(m.index.Load().l1)
	for i := range m.snaps {
		l1, err := m.snapshotL1(ctx, &m.snaps[i])
		if err != nil {
			return err
		}
		add(l1)
	}
	m.forget(func(int64) bool { return false })
	var err error
	for _, off := range sortedKeys(tables) {
		if err = m.expandTable(ctx, off); err != nil {
			break
		}
	}
	return errors.Join(err, m.refreshFlags(ctx))
}

func (m *Image) expandTable(ctx context.Context, off int64) error {
	if off&m.clusterMask != 0 {
		return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "L2 table offset %#x unaligned", off))
	}
	refs, err := m.refcount(ctx, off>>m.clusterBits)
	if err != nil {
		return err
	}
	buf := make([]byte, m.clusterSize)
	if err := m.readFile(ctx, buf, off); err != nil {
		return err
	}
	backed := m.hdr.BackingFile != ""
	var drops []pendingFree
	changed := false
	for i := range 1 << m.l2Bits {
		e := L2Entry(be.Uint64(buf[8*i:]))
		if e.Compressed() || !e.Zero() {
			continue
		}
		changed = true
		if e.Offset() != 0 {
			drops = append(drops, pendingFree{e.Offset() >> m.clusterBits, 1, freeOther})
		}
		ne := uint64(0)
		if backed {
			c, _, err := m.allocRun(ctx, 1)
			if err != nil {
				return err
			}
			if refs > 1 {
				if err := m.addRef(ctx, c, int64(refs-1)); err != nil {
					return err
				}
			}
			if err := m.file.WriteZeroes(ctx, c<<m.clusterBits, m.clusterSize, 0); err != nil {
				return err
			}
			ne = uint64(c << m.clusterBits)
			if refs == 1 {
				ne |= bitCopied
			}
		}
		be.PutUint64(buf[8*i:], ne)
	}
	if !changed {
		return nil
	}
	if err := m.commit(ctx); err != nil { // the clusters before the table that leads to them
		return err
	}
	if err := m.file.WriteAt(ctx, buf, off, 0); err != nil {
		return err
	}
	for range refs {
		m.written = append(m.written, drops...)
	}
	return nil
}
