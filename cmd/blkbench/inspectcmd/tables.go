package inspectcmd

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/formats/qcow2"
)

// region is a table of any length. Refcount blocks and L2 tables, of which there are many, are a cluster each and kept as their offsets.
type region struct {
	off, n int64 // bytes
	what   string
	bad    bool // outside the file, or over another one: it is not read
}

func (r region) end() int64 { return r.off + r.n }

// qcow2Image is the walk through the tables: first those that the header and the lists lead to, then those that these lead to, then what the
// L2 tables say of the data. Each step sorts what it has found, so that overlaps are neighbours.
type qcow2Image struct {
	*image
	h         *qcow2.Header
	layout    qcow2.Layout
	cluster   int64
	regions   []region
	refblocks []int64
	l2        []int64 // of the active L1 and of all snapshots
	active    []int64 // of the active L1
	mapped    int64   // guest bytes that the active L1 leads to
}

func (q *qcow2Image) walk() error {
	h := q.h
	q.claim(0, q.cluster, "the header")
	q.claim(int64(h.RefcountTableOffset), int64(h.RefcountTableClusters)*q.cluster, "the refcount table")
	q.claim(int64(h.L1TableOffset), 8*int64(h.L1Size), "the L1 table")
	l1s, err := q.snapshots()
	if err != nil {
		return err
	}
	if err := q.bitmaps(); err != nil {
		return err
	}
	q.settle()
	if err := q.refcounts(); err != nil {
		return err
	}
	if err := q.l1(int64(h.L1TableOffset), int64(h.L1Size)); err != nil {
		return err
	}
	q.active = slices.Clone(q.l2)
	for _, s := range l1s {
		if err := q.l1(s.off, s.n/8); err != nil {
			return err
		}
	}
	q.settleClusters()
	for _, off := range q.l2 {
		if err := q.l2Table(off); err != nil {
			return err
		}
	}
	q.report.MappedSize = &q.mapped
	q.amplification()
	return nil
}

// claim notes a table.
func (q *qcow2Image) claim(off, n int64, what string) {
	r := &q.report
	m := region{off: off, n: n, what: what}
	switch {
	case off < 0 || n < 0 || off > 1<<62 || n > 1<<62:
		r.grave("range", "%s at %#x of %d bytes makes no range", what, off, n)
		return
	case n == 0:
		return
	case off >= q.size:
		r.grave("truncated", "%s at %#x is past the end of the file (%#x)", what, off, q.size)
		m.bad = true
	case off+n > q.size+q.cluster:
		r.grave("truncated", "%s ends at %#x, past the end of the file (%#x)", what, off+n, q.size)
	}
	q.regions = append(q.regions, m)
}

// settle sorts the regions and finds those that overlap; of two the earlier one stands.
func (q *qcow2Image) settle() {
	slices.SortStableFunc(q.regions, func(a, b region) int { return cmp.Compare(a.off, b.off) })
	last := -1 // the region that reaches furthest
	for i := range q.regions {
		m := &q.regions[i]
		if last >= 0 && q.regions[last].end() > m.off {
			q.report.grave("overlap", "%s at %#x overlaps %s at %#x", m.what, m.off, q.regions[last].what, q.regions[last].off)
			m.bad = true
		}
		if last < 0 || m.end() > q.regions[last].end() {
			last = i
		}
	}
}

// readable reports whether the table that was claimed at off may be read.
func (q *qcow2Image) readable(off int64) bool {
	i, found := slices.BinarySearchFunc(q.regions, off, func(m region, off int64) int { return cmp.Compare(m.off, off) })
	return found && !q.regions[i].bad
}

// over returns the region that a range overlaps, nil when there is none.
func (q *qcow2Image) over(off, n int64) *region {
	i, _ := slices.BinarySearchFunc(q.regions, off, func(m region, off int64) int { return cmp.Compare(m.off, off) })
	for _, near := range []int{i - 1, i} {
		if near >= 0 && near < len(q.regions) && q.regions[near].off < off+n && off < q.regions[near].end() {
			return &q.regions[near]
		}
	}
	return nil
}

// pointer checks where a table entry leads to; at is the entry's own place.
func (q *qcow2Image) pointer(off, at int64, what string) bool {
	switch {
	case off == 0:
		return false
	case off%q.cluster != 0:
		q.report.grave("alignment", "the entry at %#x: %s at %#x is not aligned to clusters", at, what, off)
		return false
	case off >= q.size:
		q.report.grave("truncated", "the entry at %#x: %s at %#x is past the end of the file (%#x)", at, what, off, q.size)
		return false
	}
	return true
}

// entries calls visit with every entry of a table that is not zero.
func (q *qcow2Image) entries(off, n int64, visit func(e uint64, at int64)) error {
	return q.scan(off, n, 8, func(b []byte, at int64) {
		for ; len(b) >= 8; b, at = b[8:], at+8 {
			if e := be.Uint64(b); e != 0 {
				visit(e, at)
			}
		}
	})
}

// refcounts collects the refcount blocks; their content is for `check`.
func (q *qcow2Image) refcounts() error {
	const mask = 1<<63 - 512
	off := int64(q.h.RefcountTableOffset)
	if !q.readable(off) {
		return nil
	}
	return q.entries(off, int64(q.h.RefcountTableClusters)*q.cluster, func(e uint64, at int64) {
		if block := int64(e & mask); q.pointer(block, at, "a refcount block") {
			q.refblocks = append(q.refblocks, block)
		}
	})
}

// l1 collects the L2 tables of an L1. Snapshots share them with one another; one L1 has each once.
func (q *qcow2Image) l1(off, entries int64) error {
	if !q.readable(off) {
		return nil
	}
	var mine []int64
	err := q.entries(off, 8*entries, func(w uint64, at int64) {
		e := qcow2.L1Entry(w)
		if r := e.Reserved(); r != 0 {
			q.report.grave("reserved", "the L1 entry at %#x has reserved bits %#x", at, r)
		}
		if q.pointer(e.Offset(), at, "an L2 table") {
			mine = append(mine, e.Offset())
		}
	})
	if err != nil {
		return err
	}
	q.once(mine, "an L1 table has the L2 table at %#x twice")
	q.l2 = append(q.l2, mine...)
	slices.Sort(q.l2)
	q.l2 = slices.Compact(q.l2)
	return nil
}

// once sorts offsets and says which are there more than once.
func (q *qcow2Image) once(list []int64, format string) {
	slices.Sort(list)
	for i := 1; i < len(list); i++ {
		if list[i] == list[i-1] {
			q.report.grave("overlap", format, list[i])
		}
	}
}

// settleClusters finds refcount blocks and L2 tables that overlap anything. What lies over a longer table is not read.
func (q *qcow2Image) settleClusters() {
	q.once(q.refblocks, "the refcount table has the block at %#x twice")
	keep := func(what string) func(off int64) bool {
		return func(off int64) bool {
			m := q.over(off, q.cluster)
			if m != nil {
				q.report.grave("overlap", "%s at %#x overlaps %s at %#x", what, off, m.what, m.off)
			}
			return m != nil
		}
	}
	q.refblocks = slices.DeleteFunc(slices.Compact(q.refblocks), keep("a refcount block"))
	q.l2 = slices.DeleteFunc(q.l2, keep("an L2 table"))
	q.l2 = slices.DeleteFunc(q.l2, func(off int64) bool {
		_, both := slices.BinarySearch(q.refblocks, off)
		if both {
			q.report.grave("overlap", "an L2 table at %#x overlaps a refcount block", off)
		}
		return both
	})
}

// l2Table looks at what the entries of an L2 table lead to.
func (q *qcow2Image) l2Table(off int64) error {
	size := q.layout.EntryBytes()
	external := q.h.Incompatible&qcow2.IncompatDataFile != 0
	_, active := slices.BinarySearch(q.active, off)
	return q.scan(off, q.cluster, size, func(b []byte, at int64) {
		for ; int64(len(b)) >= size; b, at = b[size:], at+size {
			e := qcow2.L2Entry(be.Uint64(b))
			switch {
			case e.Compressed():
				q.data(q.layout.CompressedRange(e))
			case e.Offset() == 0:
				continue
			case !external && q.pointer(e.Offset(), at, "guest data"):
				q.data(e.Offset(), q.cluster)
			}
			if active {
				q.mapped += q.cluster
			}
		}
	})
}

// data checks that guest data is inside the file, and is no metadata. The last cluster may be cut.
func (q *qcow2Image) data(off, n int64) {
	if off >= q.size {
		q.report.grave("truncated", "compressed guest data at %#x is past the end of the file (%#x)", off, q.size)
		return
	}
	if m := q.over(off, n); m != nil {
		q.report.grave("overlap", "guest data at %#x overlaps %s at %#x", off, m.what, m.off)
	}
	for c := off &^ (q.cluster - 1); c < off+n; c += q.cluster {
		if _, table := slices.BinarySearch(q.l2, c); table {
			q.report.grave("overlap", "guest data at %#x overlaps an L2 table", off)
		}
		if _, block := slices.BinarySearch(q.refblocks, c); block {
			q.report.grave("overlap", "guest data at %#x overlaps a refcount block", off)
		}
	}
}

// maxAmplification is how many guest bytes a stored byte may stand for. Deflate makes a thousand of one at most.
const maxAmplification = 1100

func (q *qcow2Image) amplification() {
	stored := max(q.report.AllocatedSize, q.cluster)
	if q.h.Incompatible&qcow2.IncompatDataFile == 0 && q.mapped/maxAmplification > stored {
		q.report.grave("amplification", "%d bytes of guest data come from %d stored bytes", q.mapped, stored)
	}
}

// snapshots reads the snapshot table, and claims the L1 tables of all.
func (q *qcow2Image) snapshots() ([]region, error) {
	h := q.h
	if h.SnapshotCount == 0 {
		return nil, nil
	}
	b, err := q.read(int64(h.SnapshotsOffset), qcow2.MaxSnapshotTable)
	if err != nil {
		return nil, err
	}
	list, used, err := qcow2.ParseSnapshots(b, int(h.SnapshotCount), h.Size)
	switch {
	case err == nil:
	case errors.Is(err, engine.ErrCorrupt), errors.Is(err, engine.ErrRange):
		q.report.grave("snapshot", "of %d snapshots the table holds %d: %v", h.SnapshotCount, len(list), err)
	default:
		q.report.grave("snapshot", "of %d snapshots the table holds %d before it ends", h.SnapshotCount, len(list))
	}
	q.claim(int64(h.SnapshotsOffset), int64(used), "the snapshot table")
	const maxL1Entries = 32 << 20 / 8
	var l1s []region
	for i := range list {
		s := &list[i]
		q.report.Snapshots = append(q.report.Snapshots, Snapshot{s.ID, s.Name, s.VMStateSize})
		what := fmt.Sprintf("the L1 table of snapshot %d", i+1)
		m := region{off: int64(s.L1TableOffset), n: 8 * int64(s.L1Size), what: what}
		switch {
		case s.L1Size > maxL1Entries || s.L1TableOffset > 1<<62:
			q.report.grave("snapshot", "%s at %#x has %d entries", what, s.L1TableOffset, s.L1Size)
		case q.pointer(m.off, int64(h.SnapshotsOffset), what):
			q.claim(m.off, m.n, what)
			l1s = append(l1s, m)
		}
	}
	return l1s, nil
}

// bitmaps reads the bitmap directory and claims the tables.
func (q *qcow2Image) bitmaps() error {
	e := q.h.Extension(qcow2.ExtBitmaps)
	if e == nil {
		return nil
	}
	x, err := qcow2.ParseBitmapExtension(e.Data, q.cluster-1)
	if err != nil {
		q.report.grave("bitmap", "%v", err)
		return nil
	}
	q.claim(int64(x.DirectoryOffset), int64(x.DirectorySize), "the bitmap directory")
	b, err := q.read(int64(x.DirectoryOffset), int64(x.DirectorySize))
	if err != nil {
		return err
	}
	list, err := qcow2.ParseBitmapDirectory(b, int(x.Count), q.cluster-1)
	if err != nil {
		q.report.grave("bitmap", "%v", err)
	}
	for i := range list {
		q.report.Bitmaps = append(q.report.Bitmaps, list[i].Name)
		q.claim(int64(list[i].TableOffset), 8*int64(list[i].TableSize), fmt.Sprintf("the table of bitmap %d", i+1))
	}
	return nil
}
