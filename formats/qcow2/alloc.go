package qcow2

import (
	"context"
	"errors"

	"github.com/blkbench/blkbench/engine"
)

// maxHostCluster is the first cluster that entries cannot name: 56 bits of offset.
func (m *Image) maxHostCluster() int64 { return 1 << (56 - m.clusterBits) }

// allocRun takes up to want free clusters that follow each other, the first ones there are. mu is held.
func (m *Image) allocRun(ctx context.Context, want int64) (cluster, got int64, err error) {
	m.file.Event(engine.EventClusterAlloc)
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
	m.file.Event(engine.EventClusterAlloc)
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
	m.file.Event(engine.EventRefblockAlloc)
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
	m.file.Event(engine.EventReftableGrow)
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
	m.file.Event(engine.EventRefblockAllocWriteBlocks)
	for _, b := range m.refs.blocks {
		if err := m.writeBlock(ctx, b); err != nil {
			return err
		}
	}
	m.file.Event(engine.EventRefblockAllocWriteTable)
	if err := m.writeWords(ctx, m.refs.table, start<<m.clusterBits); err != nil {
		return err
	}
	if err := m.file.Flush(ctx); err != nil {
		return err
	}
	m.file.Event(engine.EventRefblockAllocSwitchTable)
	return m.switchHeader(ctx, func(h *Header) {
		h.RefcountTableOffset, h.RefcountTableClusters, h.RefcountOrder = uint64(start<<m.clusterBits), uint32(clusters), m.refOrder
	})
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
