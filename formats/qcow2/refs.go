package qcow2

import (
	"context"
	"errors"

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

// maxHostCluster is the first cluster that entries cannot name: 56 bits of offset.
func (m *Image) maxHostCluster() int64 { return 1 << (56 - m.clusterBits) }

// allocRun takes up to want free clusters that follow each other, the first ones there are. mu is held.
func (m *Image) allocRun(ctx context.Context, want int64) (cluster, got int64, err error) {
	if err := m.beforeAlloc(ctx); err != nil {
		return 0, 0, err
	}
	per := int64(1) << m.refBlockBits
	for c := m.refs.hint; ; {
		if c >= m.maxHostCluster() {
			return 0, 0, engine.Errf(engine.ErrNoSpace, "no host cluster below 64 PiB is free")
		}
		no := c >> m.refBlockBits
		b, err := m.refBlock(ctx, no)
		if err != nil {
			return 0, 0, err
		}
		if b == nil {
			// All that the block would count is free: it lives in the first cluster itself.
			if again, err := m.addBlock(ctx, no, c); err != nil {
				return 0, 0, err
			} else if again {
				continue
			}
			c++
			m.refs.hint = c
			continue
		}
		i := refFree(b.raw, m.refOrder, int(c&(per-1)), int(per))
		c = no*per + int64(i)
		if i == int(per) {
			m.refs.hint = c
			continue
		}
		if m.isMetadata(c) {
			return 0, 0, m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "free cluster %#x is in use by metadata", c<<m.clusterBits))
		}
		for got < want && i < int(per) && refGet(b.raw, m.refOrder, i) == 0 &&
			(got == 0 || !m.isMetadata(c+got)) {
			m.setRef(b, c+got, 1)
			got, i = got+1, i+1
		}
		m.refs.hint = c + got
		return c, got, nil
	}
}

// allocContiguous takes n free clusters that follow each other. mu is held.
func (m *Image) allocContiguous(ctx context.Context, n int64) (int64, error) {
	if n == 1 {
		c, _, err := m.allocRun(ctx, 1)
		return c, err
	}
	if err := m.beforeAlloc(ctx); err != nil {
		return 0, err
	}
	for c := m.refs.hint; ; {
		if c+n >= m.maxHostCluster() {
			return 0, engine.Errf(engine.ErrNoSpace, "no %d host clusters in a row are free", n)
		}
		used, err := m.firstUsed(ctx, c, n)
		if err != nil {
			return 0, err
		}
		if used >= 0 {
			c = used + 1
			continue
		}
		// The blocks that count the run, and themselves, follow it.
		blocks := m.missingBlocks(c, n)
		for k := int64(-1); k != int64(len(blocks)); blocks = m.missingBlocks(c, n+k) {
			k = int64(len(blocks))
		}
		k := int64(len(blocks))
		if used, err = m.firstUsed(ctx, c+n, k); err != nil {
			return 0, err
		} else if used >= 0 {
			c = used + 1
			continue
		}
		if last := (c + n + k - 1) >> m.refBlockBits; last >= int64(len(m.refs.table)) {
			if err := m.growRefTable(ctx, last); err != nil {
				return 0, err
			}
			c = m.refs.hint
			continue
		}
		for j, no := range blocks {
			if err := m.keepNewBlock(ctx, no, c+n+int64(j)); err != nil {
				return 0, err
			}
		}
		for j := range n + k {
			if err := m.addRef(ctx, c+j, 1); err != nil {
				return 0, err
			}
		}
		if c == m.refs.hint {
			m.refs.hint = c + n + k
		}
		return c, nil
	}
}

// firstUsed returns the last cluster in [c, c+n) that is not free, -1 when all are.
func (m *Image) firstUsed(ctx context.Context, c, n int64) (int64, error) {
	per := int64(1) << m.refBlockBits
	for at := c + n - 1; at >= c; {
		b, err := m.refBlock(ctx, at>>m.refBlockBits)
		if err != nil {
			return 0, err
		}
		if b == nil {
			at = at&^(per-1) - 1
			continue
		}
		for low := max(c, at&^(per-1)); at >= low; at-- {
			if refGet(b.raw, m.refOrder, int(at&(per-1))) != 0 || m.isMetadata(at) {
				return at, nil
			}
		}
	}
	return -1, nil
}

// missingBlocks lists the refcount blocks that [c, c+n) needs and that do not exist.
func (m *Image) missingBlocks(c, n int64) []int64 {
	var list []int64
	for no := c >> m.refBlockBits; no <= (c+n-1)>>m.refBlockBits; no++ {
		if no >= int64(len(m.refs.table)) || m.refs.table[no]&^511 == 0 {
			list = append(list, no)
		}
	}
	return list
}

// addBlock makes refcount block no at cluster at; negative: somewhere. It answers again when the table had to grow, which may have taken
// the cluster.
func (m *Image) addBlock(ctx context.Context, no, at int64) (again bool, err error) {
	if no >= int64(len(m.refs.table)) {
		return true, m.growRefTable(ctx, no)
	}
	if at < 0 {
		if at, _, err = m.allocRun(ctx, 1); err != nil {
			return false, err
		}
		if m.refs.table[no]&^511 != 0 {
			return true, m.addRef(ctx, at, -1) // allocRun made it on its way
		}
		return false, m.keepNewBlock(ctx, no, at)
	}
	if err := m.keepNewBlock(ctx, no, at); err != nil {
		return false, err
	}
	return false, m.addRef(ctx, at, 1)
}

// keepNewBlock makes an empty block in memory and enters it into the table.
func (m *Image) keepNewBlock(ctx context.Context, no, at int64) error {
	b := &refBlock{no: no, host: at << m.clusterBits, raw: make([]byte, m.clusterSize), hi: int(m.clusterSize), used: true}
	if err := m.keepBlock(ctx, b); err != nil {
		return err
	}
	m.refs.table[no] = uint64(b.host)
	m.refs.dirty[no/64] = struct{}{}
	m.noteMetadata(at)
	return nil
}

// growRefTable makes the table long enough for block need, half as long again where that is allowed. The new table and the blocks that
// count it go behind everything that the old one could count. mu is held.
func (m *Image) growRefTable(ctx context.Context, need int64) error {
	perCluster := m.clusterSize / 8
	start := int64(len(m.refs.table)) << m.refBlockBits
	want := max(need+1, int64(len(m.refs.table))*3/2, 1)
	var tableClusters, blocks int64
	for {
		t := (want + perCluster - 1) / perCluster
		firstBlock, lastBlock := start>>m.refBlockBits, (start+t+blocks-1)>>m.refBlockBits
		k := lastBlock - firstBlock + 1
		if t == tableClusters && k == blocks && lastBlock < t*perCluster {
			break
		}
		tableClusters, blocks = t, k
		want = max(want, lastBlock+1)
	}
	if tableClusters*m.clusterSize > maxRefTableBytes {
		want = maxRefTableBytes / 8
		tableClusters = maxRefTableBytes >> m.clusterBits
		blocks = (start+tableClusters+8)>>m.refBlockBits - start>>m.refBlockBits + 1
		if need >= want || (start+tableClusters+blocks-1)>>m.refBlockBits >= want {
			return engine.Errf(engine.ErrNoSpace, "the refcount table would exceed %d MiB", maxRefTableBytes>>20)
		}
	}
	oldOffset, oldClusters := int64(m.hdr.RefcountTableOffset), int64(m.hdr.RefcountTableClusters)
	oldTable := m.refs.table
	m.refs.table = make([]uint64, tableClusters*perCluster)
	copy(m.refs.table, oldTable)
	back := func(err error) error {
		for no := range m.refs.blocks {
			if no >= int64(len(oldTable)) {
				delete(m.refs.blocks, no)
			}
		}
		for sector := range m.refs.dirty {
			if sector*64 >= int64(len(oldTable)) {
				delete(m.refs.dirty, sector)
			}
		}
		m.refs.table = oldTable
		return err
	}
	first := start >> m.refBlockBits
	for j := range blocks {
		if err := m.keepNewBlock(ctx, first+j, start+tableClusters+j); err != nil {
			return back(err)
		}
	}
	for j := range tableClusters + blocks {
		if err := m.addRef(ctx, start+j, 1); err != nil {
			return back(err)
		}
	}
	if err := m.switchRefTable(ctx, start, tableClusters); err != nil {
		return back(err)
	}
	clear(m.refs.dirty)
	for j := range oldClusters {
		if err := m.addRef(ctx, oldOffset>>m.clusterBits+j, -1); err != nil {
			return err
		}
	}
	return nil
}

// switchRefTable writes all blocks and the table at cluster start, then the header.
func (m *Image) switchRefTable(ctx context.Context, start, clusters int64) error {
	for _, b := range m.refs.blocks {
		if err := m.writeBlock(ctx, b); err != nil {
			return err
		}
	}
	if err := m.writeWords(ctx, m.refs.table, start<<m.clusterBits); err != nil {
		return err
	}
	if err := m.file.Flush(ctx); err != nil {
		return err
	}
	return m.switchHeader(ctx, func(h *Header) {
		h.RefcountTableOffset, h.RefcountTableClusters, h.RefcountOrder = uint64(start<<m.clusterBits), uint32(clusters), m.refOrder
	})
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

// undoAlloc gives clusters back that nothing refers to yet, and returns the error that made it necessary. mu is held.
func (m *Image) undoAlloc(ctx context.Context, cluster, n int64, cause error) error {
	for j := range n {
		if err := m.addRef(ctx, cluster+j, -1); err != nil {
			return errors.Join(cause, err)
		}
	}
	return cause
}

// freeClass says which of the pass-discard options a freed range falls under.
type freeClass uint8

const (
	freeRequest freeClass = iota
	freeSnapshot
	freeOther
	freeAlways
)

// pendingFree is a host range that loses one reference when the disk says so and a grace period has passed.
type pendingFree struct {
	cluster, n int64
	class      freeClass
}

// maxPending is how many clusters may wait before the metadata is written back to get at them.
const maxPending = 16384

// free notes that clusters lose a reference. What referred to them is changed already. mu is held.
func (m *Image) free(f pendingFree) {
	m.frees = appendFree(m.frees, f)
}

// release hands the first n written frees, which are durable now, to the grace period. mu is held.
func (m *Image) release(n int) {
	n = min(n, len(m.written))
	if n == 0 {
		return
	}
	m.draining = append(m.draining, m.written[:n]...)
	m.written = append([]pendingFree(nil), m.written[n:]...)
	count := len(m.draining)
	m.domain.Defer(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.closed {
			return
		}
		count = min(count, len(m.draining))
		for i := range m.draining[:count] {
			// An error leaves the rest counted: a leak, which check finds.
			if err := m.freeNow(context.Background(), &m.draining[i]); err != nil {
				break
			}
		}
		m.draining = m.draining[count:]
	})
}

// freeNow takes the reference away. mu is held.
func (m *Image) freeNow(ctx context.Context, f *pendingFree) error {
	pass := f.class == freeAlways ||
		(f.class == freeRequest && m.cfg.PassDiscardRequest) ||
		(f.class == freeSnapshot && m.cfg.PassDiscardSnap) ||
		(f.class == freeOther && m.cfg.PassDiscardOther)
	for f.n > 0 {
		// The stretch that ends up free is deallocated at once. f shrinks as it goes: after an error nothing is taken away twice.
		start, freed := f.cluster, int64(0)
		for f.n > 0 {
			if err := m.addRef(ctx, f.cluster, -1); err != nil {
				return err
			}
			f.cluster, f.n = f.cluster+1, f.n-1
			if v, err := m.refcount(ctx, f.cluster-1); err != nil || v != 0 {
				break
			}
			freed++
		}
		if pass && freed > 0 {
			// Deallocating is a kindness: that it does not work changes nothing.
			if end := min((start+freed)<<m.clusterBits, m.file.Size()); end > start<<m.clusterBits {
				_ = m.file.Discard(ctx, start<<m.clusterBits, end-start<<m.clusterBits)
			}
		}
	}
	return nil
}

// beforeAlloc gets at pending space when there is much of it, and sets the dirty bit where refcounts are lazy.
func (m *Image) beforeAlloc(ctx context.Context) error {
	if m.lazy && m.hdr.Incompatible&IncompatDirty == 0 {
		if err := m.setIncompatible(ctx, IncompatDirty); err != nil {
			return err
		}
	}
	var pending int64
	for i := range m.frees {
		pending += m.frees[i].n
	}
	if pending < maxPending && len(m.frees) < 1024 {
		return nil
	}
	if err := m.writeBack(ctx); err != nil {
		return err
	}
	if err := m.barrier(ctx); err != nil {
		return err
	}
	m.release(len(m.written))
	return nil
}
