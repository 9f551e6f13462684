package qcow2

import (
	"context"
	"fmt"

	"github.com/blkbench/blkbench/engine"
)

// Check counts every reference and compares with the refcounts. What it can repair it repairs where asked. Findings are reported in
// QEMU's words. No write runs meanwhile.
func (m *Image) Check(ctx context.Context, o engine.CheckOptions) (engine.CheckResult, error) {
	m.gate.Lock()
	defer m.gate.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &checker{m: m, o: o, want: make(refCounts)}
	err := c.run(ctx)
	return c.res, err
}

// refCounts holds references by cluster, in pages, so that memory follows what refers and not the size of the file.
type refCounts map[int64]*[refPage]uint32

const refPage = 4096

func (r refCounts) add(cluster int64, n uint32) {
	p := r[cluster/refPage]
	if p == nil {
		p = new([refPage]uint32)
		r[cluster/refPage] = p
	}
	if v := p[cluster%refPage] + n; v >= n {
		p[cluster%refPage] = v
	}
}

func (r refCounts) at(cluster int64) uint64 {
	if p := r[cluster/refPage]; p != nil {
		return uint64(p[cluster%refPage])
	}
	return 0
}

// checker is one run. mu and the gate are held throughout.
type checker struct {
	m       *Image
	o       engine.CheckOptions
	res     engine.CheckResult
	want    refCounts
	last    int64 // the highest cluster with a reference
	fileEnd int64
	rebuild bool              // the refcount structure itself is damaged
	tables  map[int64]*l2Used // by offset
	flags   []flagFix         // wrong copied flags in the active tables
	drops   []entryRef        // zero clusters whose reserved host cluster is impossible
	doneL2  int64
}

// l2Used is how an L2 table is referred to.
type l2Used struct {
	weight  uint32 // by how many L1 tables
	l1Index int64  // of the active L1 table; negative when only snapshots have it
}

// entryRef names an L2 entry: the slice and the index in it.
type entryRef struct {
	no int64
	i  int
}

type flagFix struct {
	l1   int64 // L1 index, when at least 0; else entry
	at   entryRef
	copd bool // what the flag should be
}

func (c *checker) say(format string, args ...any) {
	if c.o.Report != nil {
		c.o.Report(fmt.Sprintf(format, args...))
	}
}

func (c *checker) corrupt(format string, args ...any) {
	c.res.Corruptions++
	c.say(format, args...)
}

func (c *checker) run(ctx context.Context) error {
	m := c.m
	if m.writable {
		if err := m.commit(ctx); err != nil {
			return err
		}
	}
	c.fileEnd = m.file.Size()
	c.res.TotalClusters = m.clusters(m.Size())
	c.tables = make(map[int64]*l2Used)
	if err := c.count(ctx); err != nil {
		return err
	}
	c.checkBlocks()
	if c.res.CheckErrors > 0 {
		return nil // not everything was counted: nothing can be said, and nothing repaired
	}
	if err := c.compare(ctx); err != nil {
		return err
	}
	if err := c.repairEntries(ctx); err != nil {
		return err
	}
	c.res.ImageEndOffset = (c.last + 1) << m.clusterBits
	if !m.writable || (!c.o.FixErrors && !c.o.FixLeaks) {
		return nil
	}
	if err := m.commit(ctx); err != nil {
		return err
	}
	if c.res.Corruptions > 0 || c.res.CheckErrors > 0 {
		return nil
	}
	if err := m.clearIncompatible(ctx, IncompatDirty|IncompatCorrupt); err != nil {
		return err
	}
	m.broken.Store(false)
	return nil
}

// inc counts references to the clusters that [hostOff, hostOff+n) touches.
func (c *checker) inc(hostOff, n int64, weight uint32) {
	m := c.m
	if n <= 0 {
		return
	}
	if hostOff+n-c.fileEnd >= m.clusterSize || hostOff < 0 || hostOff > 1<<56 {
		c.corrupt("ERROR: counting reference for region exceeding the end of the file by one cluster or more: offset %#x size %#x", hostOff, n)
		return
	}
	for k := hostOff >> m.clusterBits; k <= (hostOff+n-1)>>m.clusterBits; k++ {
		c.want.add(k, weight)
		c.last = max(c.last, k)
	}
}

// count walks everything that refers to clusters.
func (c *checker) count(ctx context.Context) error {
	m := c.m
	c.inc(0, m.clusterSize, 1)
	c.inc(int64(m.hdr.RefcountTableOffset), int64(m.hdr.RefcountTableClusters)<<m.clusterBits, 1)
	if err := c.countL1(int64(m.hdr.L1TableOffset), m.index.Load().l1, true); err != nil {
		return err
	}
	if err := c.countSnapshots(ctx); err != nil {
		return err
	}
	for i := range m.draining {
		f := &m.draining[i]
		c.inc(f.cluster<<m.clusterBits, f.n<<m.clusterBits, 1)
	}
	if e := m.hdr.Extension(ExtCrypto); e != nil && len(e.Data) >= 16 {
		c.inc(int64(be.Uint64(e.Data)), int64(be.Uint64(e.Data[8:])), 1)
	}
	if err := c.countBitmaps(ctx); err != nil {
		return err
	}
	// Active tables in the order of the guest, for the statistics; then those that only snapshots have.
	for i := range m.index.Load().l1 {
		off := m.index.Load().entry(int64(i)).Offset()
		if u := c.tables[off]; u != nil && u.l1Index == int64(i) {
			if err := c.countL2(ctx, off, u); err != nil {
				return err
			}
		}
	}
	for off, u := range c.tables {
		if u.l1Index < 0 {
			if err := c.countL2(ctx, off, u); err != nil {
				return err
			}
		}
	}
	return nil
}

// countL1 counts an L1 table and the L2 tables that it leads to.
func (c *checker) countL1(hostOff int64, l1 []uint64, active bool) error {
	m := c.m
	c.inc(hostOff, int64(len(l1))*8, 1)
	for i, w := range l1 {
		e := L1Entry(w)
		if e.Reserved() != 0 {
			c.corrupt("ERROR found L1 entry with reserved bits set: %x", w)
		}
		off := e.Offset()
		if off == 0 {
			continue
		}
		if off&m.clusterMask != 0 {
			c.corrupt("ERROR l2_offset=%x: Table is not cluster aligned; L1 entry corrupted", off)
			continue
		}
		c.inc(off, m.clusterSize, 1)
		u := c.tables[off]
		if u == nil {
			u = &l2Used{l1Index: -1}
			c.tables[off] = u
		}
		u.weight++
		if active && u.l1Index < 0 {
			u.l1Index = int64(i)
		}
	}
	return nil
}

func (c *checker) countSnapshots(ctx context.Context) error {
	m := c.m
	if m.hdr.SnapshotCount > 0 {
		c.inc(int64(m.hdr.SnapshotsOffset), m.snapLen, 1)
	}
	for i := range m.snaps {
		s := &m.snaps[i]
		if s.L1TableOffset&uint64(m.clusterMask) != 0 || s.L1TableOffset > 1<<56 {
			c.corrupt("ERROR snapshot %s (%s) l1_offset=%#x: L1 table is not cluster aligned; snapshot table entry corrupted", s.ID, s.Name, s.L1TableOffset)
			continue
		}
		if uint64(s.L1Size)*8 > maxL1Bytes {
			c.corrupt("ERROR snapshot %s (%s) l1_size=%#x: L1 table is too large; snapshot table entry corrupted", s.ID, s.Name, s.L1Size)
			continue
		}
		l1, err := m.readWords(ctx, int64(s.L1TableOffset), int64(s.L1Size))
		if err != nil {
			return err
		}
		if err := c.countL1(int64(s.L1TableOffset), l1, false); err != nil {
			return err
		}
	}
	return nil
}

// countL2 counts what an L2 table refers to, once for each L1 table that has it.
func (c *checker) countL2(ctx context.Context, off int64, u *l2Used) error {
	m := c.m
	buf, done := scratch(m.clusterSize)
	defer done()
	if err := m.readFile(ctx, buf, off); err != nil {
		c.res.CheckErrors++
		c.say("ERROR: I/O error in check_refcounts_l2: %v", err)
		return nil
	}
	c.doneL2++
	if c.o.Progress != nil {
		c.o.Progress(c.doneL2, int64(len(c.tables)))
	}
	active := u.l1Index >= 0
	next := int64(0)
	entries := 1 << m.l2Bits
	for i := range entries {
		var e L2Entry
		var bm Subclusters
		if m.extended {
			e, bm = L2Entry(be.Uint64(buf[16*i:])), Subclusters(be.Uint64(buf[16*i+8:]))
		} else {
			e = L2Entry(be.Uint64(buf[8*i:]))
		}
		if e == 0 && bm.Allocated() == 0 {
			continue
		}
		if e.Compressed() {
			c.countCompressed(e, bm, i, u)
			continue
		}
		hostOff := e.Offset()
		if hostOff == 0 && (!m.dataFile || !e.Copied()) {
			if bm.Allocated() != 0 {
				c.corrupt("ERROR: Unallocated cluster with non-zero subcluster allocation map; L2 entry %x", uint64(e))
			}
			continue
		}
		c.countStandard(e, bm, i, u)
		if active {
			if next != 0 && hostOff != next {
				c.res.Fragmented++
			}
			next = hostOff + m.clusterSize
			c.res.Allocated++
		}
	}
	return nil
}

func (c *checker) countCompressed(e L2Entry, bm Subclusters, i int, u *l2Used) {
	m := c.m
	switch {
	case e.Copied():
		c.corrupt("ERROR: coffset=%#x: Copied flag must never be set for compressed clusters", uint64(e)&(1<<m.csizeShift-1))
	case m.dataFile:
		c.corrupt("ERROR compressed cluster %d with data file, entry=%x", i, uint64(e))
		return
	case bm != 0:
		c.corrupt("ERROR compressed cluster %d with non-zero subcluster allocation bitmap, entry=%x", i, uint64(e))
		return
	}
	off, n := m.compressedRange(e)
	c.inc(off, n, u.weight)
	if u.l1Index >= 0 {
		c.res.Allocated++
		c.res.CompressedCount++
		c.res.Fragmented++ // by nature
	}
}

func (c *checker) countStandard(e L2Entry, bm Subclusters, i int, u *l2Used) {
	m := c.m
	hostOff := e.Offset()
	if uint64(e)&l2Reserved != 0 || (m.extended && e.Zero()) {
		c.corrupt("ERROR found l2 entry with reserved bits set: %x", uint64(e))
	}
	if !bm.Valid() {
		c.corrupt("ERROR offset=%x: Allocated cluster with corrupted subcluster allocation bitmap", hostOff)
		return
	}
	if hostOff&m.clusterMask != 0 {
		holdsData := !e.Zero()
		if m.extended {
			holdsData = bm.Allocated() != 0
		}
		if !holdsData && c.o.FixErrors && u.l1Index >= 0 {
			c.say("Repairing offset=%x: Preallocated cluster is not properly aligned; L2 entry corrupted.", hostOff)
			c.res.CorruptionsFixed++
			c.drops = append(c.drops, c.ref(u, i))
			return
		}
		c.corrupt("ERROR offset=%x: Cluster is not properly aligned; L2 entry corrupted.", hostOff)
		return
	}
	if !m.dataFile {
		c.inc(hostOff, m.clusterSize, u.weight)
	}
}

func (c *checker) ref(u *l2Used, i int) entryRef {
	m := c.m
	return entryRef{u.l1Index<<(m.l2Bits-m.sliceBits) + int64(i>>m.sliceBits), i & (1<<m.sliceBits - 1)}
}

func (c *checker) countBitmaps(ctx context.Context) error {
	m := c.m
	if m.bitmaps.ext.Count == 0 {
		return nil
	}
	x := m.bitmaps.ext
	c.inc(int64(x.DirectoryOffset), int64(x.DirectorySize), 1)
	for _, r := range m.bitmaps.onDisk {
		c.inc(int64(r.TableOffset), int64(r.TableSize)*8, 1)
		table, err := m.readWords(ctx, int64(r.TableOffset), int64(r.TableSize))
		if err != nil {
			return err
		}
		for _, w := range table {
			e := bitmapEntry(w)
			if !e.valid(m.clusterMask) {
				c.corrupt("ERROR bitmap '%s': table entry %x", r.Name, w)
				continue
			}
			if e.offset() != 0 {
				c.inc(e.offset(), m.clusterSize, 1)
			}
		}
	}
	return nil
}

// checkBlocks counts the refcount blocks; each must be aligned, inside the file and referenced once.
func (c *checker) checkBlocks() {
	m := c.m
	if m.hdr.RefcountTableClusters == 0 {
		c.corrupt("ERROR: no refcount table")
		c.rebuild = true
		return
	}
	for no, w := range m.refs.table {
		if w == 0 {
			continue
		}
		off := int64(w & offsetMask)
		switch {
		case w&^offsetMask != 0:
			c.corrupt("ERROR refcount table entry %d has reserved bits set", no)
			c.rebuild = true
		case off&m.clusterMask != 0:
			c.corrupt("ERROR refcount block %d is not cluster aligned; refcount table entry corrupted", no)
			c.rebuild = true
		case off >= c.fileEnd:
			c.corrupt("ERROR refcount block %d is outside image", no)
			c.rebuild = true
		default:
			c.inc(off, m.clusterSize, 1)
			if n := c.want.at(off >> m.clusterBits); n != 1 {
				c.say("ERROR refcount block %d refcount=%d", no, n)
				c.res.Corruptions++
				c.rebuild = true
			}
		}
	}
}
