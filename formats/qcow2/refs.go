package qcow2

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// errRefOverflow: a refcount would exceed what its width holds.
var errRefOverflow = engine.Errf(engine.ErrRange, "refcount overflow: consider a greater refcount_bits")

// refState is the refcount side in memory. All under mu.
type refState struct {
	table  []uint64 // offsets of refcount blocks
	dirty  map[int64]struct{}
	blocks map[int64]*refBlock
	limit  int   // blocks in memory
	hint   int64 // no cluster below is free
}

type refBlock struct {
	no     int64
	host   int64 // bytes
	raw    []byte
	lo, hi int // bytes [lo, hi) differ from the disk
	used   bool
}

func (b *refBlock) dirty() bool { return b.hi > b.lo }

// refBlock returns a refcount block; nil when it does not exist, so that all it would count is free. mu is held.
func (m *Image) refBlock(ctx context.Context, no int64) (*refBlock, error) {
	if b := m.refs.blocks[no]; b != nil {
		b.used = true
		return b, nil
	}
	if no >= int64(len(m.refs.table)) {
		return nil, nil
	}
	hostOff := int64(m.refs.table[no] &^ 511 &^ (1 << 63))
	if hostOff == 0 {
		return nil, nil
	}
	if hostOff&m.clusterMask != 0 {
		return nil, m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "Refblock offset %#x unaligned (reftable index: %#x)", hostOff, no))
	}
	m.file.Event(engine.EventRefblockLoad)
	b := &refBlock{no: no, host: hostOff, raw: make([]byte, m.clusterSize), used: true}
	if err := m.readFile(ctx, b.raw, hostOff); err != nil {
		return nil, err
	}
	if err := m.keepBlock(ctx, b); err != nil {
		return nil, err
	}
	return b, nil
}

// keepBlock puts a block into the cache and makes room for it. Refcounts in memory may reach the disk at any time: they only go down
// after what referred to the cluster is gone from the disk.
func (m *Image) keepBlock(ctx context.Context, b *refBlock) error {
	for len(m.refs.blocks) >= m.refs.limit {
		var victim *refBlock
		for _, v := range m.refs.blocks {
			if v.used {
				v.used = false
				continue
			}
			victim = v
			if !v.dirty() {
				break
			}
		}
		if victim == nil {
			continue
		}
		if err := m.writeBlock(ctx, victim); err != nil {
			return err
		}
		delete(m.refs.blocks, victim.no)
	}
	m.refs.blocks[b.no] = b
	return nil
}

func (m *Image) writeBlock(ctx context.Context, b *refBlock) error {
	if !b.dirty() {
		return nil
	}
	lo, hi := b.lo&^511, min((b.hi+511)&^511, len(b.raw))
	m.file.Event(engine.EventRefblockUpdatePart)
	if err := m.file.WriteAt(ctx, b.raw[lo:hi], b.host+int64(lo), 0); err != nil {
		return err
	}
	b.lo, b.hi = 0, 0
	return nil
}

// writeRefs writes changed refcount blocks, then table entries that lead to new ones. mu is held.
func (m *Image) writeRefs(ctx context.Context) error {
	for _, b := range m.refs.blocks {
		if err := m.writeBlock(ctx, b); err != nil {
			return err
		}
	}
	if len(m.refs.dirty) == 0 {
		return nil
	}
	if err := m.file.Flush(ctx); err != nil {
		return err
	}
	for sector := range m.refs.dirty {
		buf := make([]byte, 0, 512)
		for _, w := range m.refs.table[sector*64 : sector*64+64] {
			buf = be.AppendUint64(buf, w)
		}
		m.file.Event(engine.EventRefblockAllocHookup)
		if err := m.file.WriteAt(ctx, buf, int64(m.hdr.RefcountTableOffset)+512*sector, 0); err != nil {
			return err
		}
		delete(m.refs.dirty, sector)
	}
	return nil
}

// refcount returns how often a cluster is referenced. mu is held.
func (m *Image) refcount(ctx context.Context, cluster int64) (uint64, error) {
	b, err := m.refBlock(ctx, cluster>>m.refBlockBits)
	if b == nil || err != nil {
		return 0, err
	}
	return refGet(b.raw, m.refOrder, int(cluster&(1<<m.refBlockBits-1))), nil
}

// setRef stores a refcount in a block in memory.
func (m *Image) setRef(b *refBlock, cluster int64, v uint64) {
	i := int(cluster & (1<<m.refBlockBits - 1))
	refSet(b.raw, m.refOrder, i, v)
	lo, hi := refBytes(m.refOrder, i)
	if b.dirty() {
		lo, hi = min(lo, b.lo), max(hi, b.hi)
	}
	b.lo, b.hi = lo, hi
}

// addRef changes the refcount of a cluster. mu is held.
func (m *Image) addRef(ctx context.Context, cluster, delta int64) error {
	b, err := m.refBlock(ctx, cluster>>m.refBlockBits)
	if err != nil {
		return err
	}
	if b == nil {
		if delta < 0 {
			return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "cluster %#x is freed and was not counted", cluster<<m.clusterBits))
		}
		// A reference to a cluster that the refcounts know nothing of: make the block, and count.
		if _, err := m.addBlock(ctx, cluster>>m.refBlockBits, -1); err != nil {
			return err
		}
		return m.addRef(ctx, cluster, delta)
	}
	v := refGet(b.raw, m.refOrder, int(cluster&(1<<m.refBlockBits-1)))
	switch {
	case delta < 0 && v < uint64(-delta):
		return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "cluster %#x is freed and its refcount is %d", cluster<<m.clusterBits, v))
	case delta > 0 && v > m.refMax-uint64(delta):
		return errRefOverflow
	}
	v += uint64(delta)
	m.setRef(b, cluster, v)
	if v == 0 {
		m.refs.hint = min(m.refs.hint, cluster)
		m.packed.forget(cluster)
		delete(m.tables, cluster)
	}
	return nil
}

// writeWords writes a table of 64-bit words.
func (m *Image) writeWords(ctx context.Context, words []uint64, hostOff int64) error {
	buf := make([]byte, 0, min(len(words)*8, 1<<20))
	for len(words) > 0 {
		n := min(len(words), cap(buf)/8)
		buf = buf[:0]
		for _, w := range words[:n] {
			buf = be.AppendUint64(buf, w)
		}
		if err := m.file.WriteAt(ctx, buf, hostOff, 0); err != nil {
			return err
		}
		words, hostOff = words[n:], hostOff+int64(8*n)
	}
	return nil
}
