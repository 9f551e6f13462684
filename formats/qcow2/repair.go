package qcow2

import (
	"context"
	"slices"

	"github.com/blkbench/blkbench/engine"
)

// compare holds the refcounts against what was counted, and repairs them.
func (c *checker) compare(ctx context.Context) error {
	m := c.m
	if c.rebuild {
		if c.o.FixErrors && m.writable {
			return c.rebuildRefs(ctx)
		}
		return nil // the refcounts cannot be believed: every difference would be a finding
	}
	per, end := int64(1)<<m.refBlockBits, m.clusters(c.fileEnd)
	// Blocks that exist, and those that the references need.
	need := make(map[int64]bool)
	for no, w := range m.refs.table {
		if w != 0 {
			need[int64(no)] = true
		}
	}
	for page := range c.want {
		for no := page * refPage >> m.refBlockBits; no <= (page*refPage+refPage-1)>>m.refBlockBits; no++ {
			need[no] = true
		}
	}
	for _, no := range sortedKeys(need) {
		b, err := m.refBlock(ctx, no)
		if err != nil {
			c.res.CheckErrors++
			c.say("ERROR: can't get refcount block %d: %v", no, err)
			continue
		}
		for i := int64(0); i < per; i++ {
			k := no*per + i
			have := uint64(0)
			if b != nil {
				have = refGet(b.raw, m.refOrder, int(i))
			}
			want := c.want.at(k)
			if k >= end && want == 0 {
				// Counted, and past the end of the file: no space is lost, and there is no finding. But the file may grow over it.
				if have > 0 && c.fixes(have, 0) {
					if err := m.addRef(ctx, k, -int64(have)); err != nil {
						return err
					}
				}
				continue
			}
			if have > 0 {
				c.last = max(c.last, k)
			}
			if have != want {
				if err := c.differs(ctx, k, have, want); err != nil {
					return err
				}
				if b == nil && c.fixes(have, want) {
					b = m.refs.blocks[no]
				}
			} else if have == 0 && k&(refPage-1) == 0 && c.want[k/refPage] == nil && b == nil {
				i += refPage - 1
			}
		}
	}
	return c.checkCopied(ctx)
}

func (c *checker) fixes(have, want uint64) bool {
	return c.m.writable && ((have > want && c.o.FixLeaks) || (have < want && c.o.FixErrors))
}

// differs reports a cluster whose refcount is wrong, and sets it right where asked.
func (c *checker) differs(ctx context.Context, k int64, have, want uint64) error {
	m := c.m
	fix := c.fixes(have, want)
	word := "ERROR"
	switch {
	case fix:
		word = "Repairing"
	case have > want:
		word = "Leaked"
	}
	c.say("%s cluster %d refcount=%d reference=%d", word, k, have, want)
	count, fixed := &c.res.Corruptions, &c.res.CorruptionsFixed
	if have > want {
		count, fixed = &c.res.Leaks, &c.res.LeaksFixed
	}
	if !fix {
		*count++
		return nil
	}
	if want > m.refMax {
		*count++
		c.say("ERROR cluster %d: %d references do not fit %d bits", k, want, 1<<m.refOrder)
		return nil
	}
	if err := m.addRef(ctx, k, int64(want-have)); err != nil {
		return err
	}
	*fixed++
	return nil
}

func sortedKeys(set map[int64]bool) []int64 {
	keys := make([]int64, 0, len(set))
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// checkCopied holds the copied flags of the active tables against the refcounts. qcow2.txt "Cluster mapping", bit 63.
func (c *checker) checkCopied(ctx context.Context) error {
	m := c.m
	l1 := m.index.Load().l1
	for i := range l1 {
		e := L1Entry(l1[i])
		off := e.Offset()
		if off == 0 || off&m.clusterMask != 0 || off >= c.fileEnd+m.clusterSize {
			continue
		}
		n, err := m.refcount(ctx, off>>m.clusterBits)
		if err != nil {
			c.res.CheckErrors++
			continue
		}
		if (n == 1) != e.Copied() {
			c.wrongFlag(flagFix{l1: int64(i), copd: n == 1}, "L2 cluster: l1_index=%d l1_entry=%x refcount=%d", i, uint64(e), n)
		}
		if err := c.checkCopiedL2(ctx, off, int64(i)); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) checkCopiedL2(ctx context.Context, off, l1Index int64) error {
	m := c.m
	buf, done := scratch(m.clusterSize)
	defer done()
	if err := m.readFile(ctx, buf, off); err != nil {
		c.res.CheckErrors++
		return nil
	}
	for i := range 1 << m.l2Bits {
		e := L2Entry(be.Uint64(buf[8*m.entryWords*i:]))
		if e.Compressed() || (e.Offset() == 0 && !m.dataFile) || e.Offset()&m.clusterMask != 0 {
			continue
		}
		n := uint64(1)
		if !m.dataFile {
			if e.Offset() >= c.fileEnd+m.clusterSize {
				continue
			}
			var err error
			if n, err = m.refcount(ctx, e.Offset()>>m.clusterBits); err != nil {
				c.res.CheckErrors++
				continue
			}
		} else if e.Offset() == 0 {
			continue
		}
		if (n == 1) != e.Copied() {
			c.wrongFlag(flagFix{l1: -1, at: c.ref(&l2Used{l1Index: l1Index}, i), copd: n == 1}, "data cluster: l2_entry=%x refcount=%d", uint64(e), n)
		}
	}
	return nil
}

func (c *checker) wrongFlag(f flagFix, format string, args ...any) {
	if c.o.FixErrors && c.m.writable {
		c.say("Repairing OFLAG_COPIED "+format, args...)
		c.res.CorruptionsFixed++
		c.flags = append(c.flags, f)
		return
	}
	c.corrupt("ERROR OFLAG_COPIED "+format, args...)
}

// repairEntries changes the entries that were found wrong.
func (c *checker) repairEntries(ctx context.Context) error {
	m := c.m
	for _, f := range c.flags {
		if f.l1 >= 0 {
			e := m.index.Load().entry(f.l1) &^ bitCopied
			if f.copd {
				e |= bitCopied
			}
			m.setL1(f.l1, e)
			continue
		}
		s, err := m.slice(ctx, f.at.no)
		if err != nil || s == nil {
			return err
		}
		e, bm := m.at(s, f.at.i)
		e &^= bitCopied
		if f.copd {
			e |= bitCopied
		}
		m.set(s, f.at.i, e, bm)
	}
	for _, at := range c.drops {
		s, err := m.slice(ctx, at.no)
		if err != nil || s == nil {
			return err
		}
		e, bm := m.at(s, at.i)
		m.set(s, at.i, e&bitZero, bm)
	}
	return nil
}

// rebuildRefs makes a new refcount structure behind everything that is in use.
func (c *checker) rebuildRefs(ctx context.Context) error {
	m := c.m
	c.say("Rebuilding refcount structure")
	// Old blocks and the old table are no longer referred to: count anew without them.
	fixed := c.res.Corruptions
	c.res = engine.CheckResult{TotalClusters: c.res.TotalClusters, CorruptionsFixed: c.res.CorruptionsFixed}
	c.want, c.tables, c.drops, c.last = make(refCounts), make(map[int64]*l2Used), nil, 0
	clusters := m.hdr.RefcountTableClusters
	m.hdr.RefcountTableClusters = 0
	err := c.count(ctx)
	m.hdr.RefcountTableClusters = clusters
	if err != nil {
		return err
	}
	c.res.CorruptionsFixed += max(0, fixed-c.res.Corruptions)
	for k, n := range c.want.over(m.refMax) {
		c.corrupt("ERROR cluster %d: %d references do not fit %d bits", k, n, 1<<m.refOrder)
	}
	last, err := m.replaceRefs(ctx, c.want, max(c.last+1, m.clusters(c.fileEnd)))
	if err != nil {
		return err
	}
	c.last, c.rebuild = last, false
	return c.checkCopied(ctx)
}

// over lists the clusters whose count exceeds a maximum.
func (r refCounts) over(limit uint64) map[int64]uint32 {
	list := make(map[int64]uint32)
	for page, p := range r {
		for i, n := range p {
			if uint64(n) > limit {
				list[page*refPage+int64(i)] = n
			}
		}
	}
	return list
}

// replaceRefs makes a new refcount structure that says what want says, at cluster start and behind, where nothing is in use, and switches
// to it. It returns the last cluster in use. Counts that do not fit become the greatest there is. mu is held.
func (m *Image) replaceRefs(ctx context.Context, want refCounts, start int64) (last int64, err error) {
	need := map[int64]bool{}
	for page := range want {
		for no := page * refPage >> m.refBlockBits; no <= (page*refPage+refPage-1)>>m.refBlockBits; no++ {
			need[no] = true
		}
	}
	var tableClusters int64
	for {
		n := int64(len(need))
		for no := start >> m.refBlockBits; no <= (start+tableClusters+n-1)>>m.refBlockBits; no++ {
			need[no] = true
		}
		top := int64(0)
		for no := range need {
			top = max(top, no)
		}
		t := top*8>>m.clusterBits + 1
		if t == tableClusters && int64(len(need)) == n {
			break
		}
		tableClusters = t
	}
	if tableClusters<<m.clusterBits > maxRefTableBytes {
		return 0, engine.Errf(engine.ErrNoSpace, "the refcount table would exceed %d MiB", maxRefTableBytes>>20)
	}
	old := m.refs
	m.refs = refState{
		table: make([]uint64, tableClusters<<m.clusterBits/8), dirty: make(map[int64]struct{}), blocks: make(map[int64]*refBlock), limit: old.limit,
	}
	if err := m.fillRefs(ctx, want, sortedKeys(need), start, tableClusters); err != nil {
		m.refs = old
		return 0, err
	}
	for _, w := range old.table {
		if c := int64(w&offsetMask) >> m.clusterBits; w != 0 && want.at(c) == 0 {
			delete(m.tables, c)
		}
	}
	return start + tableClusters + int64(len(need)) - 1, nil
}

func (m *Image) fillRefs(ctx context.Context, want refCounts, blocks []int64, start, tableClusters int64) error {
	for j, no := range blocks {
		if err := m.keepNewBlock(ctx, no, start+tableClusters+int64(j)); err != nil {
			return err
		}
	}
	for _, page := range sortedPages(want) {
		for i, n := range want[page] {
			if n == 0 {
				continue
			}
			if err := m.addRef(ctx, page*refPage+int64(i), int64(min(uint64(n), m.refMax))); err != nil {
				return err
			}
		}
	}
	for j := range tableClusters + int64(len(blocks)) {
		if err := m.addRef(ctx, start+j, 1); err != nil {
			return err
		}
	}
	if err := m.switchRefTable(ctx, start, tableClusters); err != nil {
		return err
	}
	clear(m.refs.dirty)
	return nil
}

func sortedPages(r refCounts) []int64 {
	keys := make([]int64, 0, len(r))
	for k := range r {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
