package qcow2

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
)

// slice is a part of an L2 table in memory, in the machine's byte order. Words change under mu and are read by anybody.
type slice struct {
	no     int64 // counted over the image
	words  []uint64
	seq    atomic.Uint32 // extended entries: odd while an entry's two words are being changed
	used   atomic.Uint32 // looked at since the clock's hand passed
	lo, hi int           // words [lo, hi) differ from the disk; under mu
	// foreign: an entry leads to metadata; no write goes in place without a look.
	foreign bool
}

func (s *slice) dirty() bool { return s.hi > s.lo }

func (s *slice) mark(lo, hi int) {
	if !s.dirty() {
		s.lo, s.hi = lo, hi
		return
	}
	s.lo, s.hi = min(s.lo, lo), max(s.hi, hi)
}

const pageSlices = 512

type dirPage [pageSlices]atomic.Pointer[slice]

// index is what look-ups start from: the L1 table and a directory of the slices in memory. It is replaced as a whole when the L1 table
// moves; pages are shared between old and new.
type index struct {
	l1    []uint64 // atomic
	pages []atomic.Pointer[dirPage]
}

func newIndex(g *geometry, l1 []uint64) *index {
	n := int64(len(l1)) * g.slicesPerTable()
	return &index{l1: l1, pages: make([]atomic.Pointer[dirPage], (n+pageSlices-1)/pageSlices)}
}

// slice returns the slice when it is in memory.
func (x *index) slice(no int64) *slice {
	page := uint64(no) / pageSlices
	if page >= uint64(len(x.pages)) {
		return nil
	}
	p := x.pages[page].Load()
	if p == nil {
		return nil
	}
	return p[uint64(no)%pageSlices].Load()
}

func (x *index) entry(i int64) L1Entry {
	if uint64(i) >= uint64(len(x.l1)) {
		return 0
	}
	return L1Entry(atomic.LoadUint64(&x.l1[i]))
}

func (x *index) put(s *slice) {
	slot := &x.pages[s.no/pageSlices]
	p := slot.Load()
	if p == nil {
		p = new(dirPage)
		slot.Store(p)
	}
	p[s.no%pageSlices].Store(s)
}

func (x *index) drop(no int64) {
	if p := x.pages[no/pageSlices].Load(); p != nil {
		p[no%pageSlices].Store(nil)
	}
}

// l2Cache decides which slices stay in memory. Under mu.
type l2Cache struct {
	limit int // slices
	ring  []*slice
	hand  int
	dirty map[int64]*slice
}

// slice returns the slice of a number, from memory or from the disk; nil when there is no L2 table. mu is held. The slice stays valid
// until the next call that may load another.
func (m *Image) slice(ctx context.Context, no int64) (*slice, error) {
	x := m.index.Load()
	if s := x.slice(no); s != nil {
		if s.used.Load() == 0 {
			s.used.Store(1)
		}
		return s, nil
	}
	e := x.entry(m.l1Index(no))
	if e.Offset() == 0 {
		return nil, nil
	}
	if e.Offset()&m.clusterMask != 0 {
		return nil, m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "L2 table offset %#x unaligned (L1 index: %#x)", e.Offset(), m.l1Index(no)))
	}
	m.file.Event(engine.EventL2Load)
	buf := make([]byte, m.sliceBytes())
	if err := m.readFile(ctx, buf, m.sliceHost(e, no)); err != nil {
		return nil, err
	}
	s := &slice{no: no, words: make([]uint64, len(buf)/8)}
	for i := range s.words {
		s.words[i] = be.Uint64(buf[8*i:])
	}
	if err := m.insert(ctx, s); err != nil {
		return nil, err
	}
	return s, nil
}

// sliceHost returns where a slice is in the file.
func (m *Image) sliceHost(e L1Entry, no int64) int64 {
	return e.Offset() + (no&(m.slicesPerTable()-1))*m.sliceBytes()
}

// insert makes room for a slice and publishes it.
func (m *Image) insert(ctx context.Context, s *slice) error {
	c := &m.cache
	for len(c.ring) >= c.limit {
		// With half of the slices clean, the hand finds one within a few steps.
		if 2*len(c.dirty) >= c.limit || !m.evict() {
			if err := m.writeBack(ctx); err != nil {
				return err
			}
		}
	}
	s.foreign = m.leadsToMetadata(s)
	s.used.Store(1)
	c.ring = append(c.ring, s)
	m.index.Load().put(s)
	return nil
}

// evict drops a slice that is clean and was not used lately; false when all are dirty.
func (m *Image) evict() bool {
	c := &m.cache
	for range 2 * len(c.ring) {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		s := c.ring[c.hand]
		if !s.dirty() && s.used.Swap(0) == 0 {
			m.index.Load().drop(s.no)
			c.ring[c.hand] = c.ring[len(c.ring)-1]
			c.ring[len(c.ring)-1] = nil
			c.ring = c.ring[:len(c.ring)-1]
			return true
		}
		c.hand++
	}
	return false
}

// forget drops all slices that keep refuses; they are clean. mu is held.
func (m *Image) forget(keep func(no int64) bool) {
	c := &m.cache
	c.ring = slices.DeleteFunc(c.ring, func(s *slice) bool {
		if keep(s.no) {
			return false
		}
		m.index.Load().drop(s.no)
		delete(c.dirty, s.no)
		return true
	})
	c.hand = 0
}

// set changes an entry of a slice and publishes it at once. The generation moves first: who sees the entry sees that it is not durable
// (Map's NeedFlush). mu is held.
func (m *Image) set(s *slice, i int, e L2Entry, bm Subclusters) {
	m.dirtyGen.Add(1)
	if m.extended {
		s.seq.Add(1)
		atomic.StoreUint64(&s.words[2*i], uint64(e))
		atomic.StoreUint64(&s.words[2*i+1], uint64(bm))
		s.seq.Add(1)
		s.mark(2*i, 2*i+2)
	} else {
		atomic.StoreUint64(&s.words[i], uint64(e))
		s.mark(i, i+1)
	}
	m.cache.dirty[s.no] = s
}

// at returns entry i of a slice. mu is held.
func (m *Image) at(s *slice, i int) (L2Entry, Subclusters) {
	if m.extended {
		return L2Entry(s.words[2*i]), Subclusters(s.words[2*i+1])
	}
	return L2Entry(s.words[i]), 0
}

// setL1 changes an L1 entry. mu is held.
func (m *Image) setL1(i int64, e L1Entry) {
	m.dirtyGen.Add(1)
	atomic.StoreUint64(&m.index.Load().l1[i], uint64(e))
	m.l1Dirty[i/64] = struct{}{}
}

// sliceForWrite returns a slice whose table may be changed in place: a missing table is made, a shared one copied. mu is held.
func (m *Image) sliceForWrite(ctx context.Context, no int64) (*slice, error) {
	i := m.l1Index(no)
	e := m.index.Load().entry(i)
	switch {
	case e.Offset() == 0:
		if err := m.newTable(ctx, i); err != nil {
			return nil, err
		}
	case !e.Copied():
		if err := m.copyTable(ctx, i, e); err != nil {
			return nil, err
		}
	}
	return m.slice(ctx, no)
}

// newTable makes an empty L2 table for L1 entry i.
func (m *Image) newTable(ctx context.Context, i int64) error {
	m.file.Event(engine.EventL2AllocWrite)
	c, err := m.allocContiguous(ctx, 1)
	if err != nil {
		return err
	}
	hostOff := c << m.clusterBits
	if m.slicesPerTable() > 1 {
		// Slices are loaded from the disk one by one: the table must be there.
		err = m.file.WriteAt(ctx, make([]byte, m.clusterSize), hostOff, 0)
	} else {
		s := &slice{no: i, words: make([]uint64, m.sliceBytes()/8)}
		if err = m.insert(ctx, s); err == nil {
			s.mark(0, len(s.words))
			m.cache.dirty[s.no] = s
		}
	}
	if err != nil {
		return m.undoAlloc(ctx, c, 1, err)
	}
	m.noteMetadata(c)
	m.setL1(i, L1Entry(uint64(hostOff)|bitCopied))
	return nil
}

// copyTable gives L1 entry i an L2 table of its own; the old one is shared with a snapshot.
func (m *Image) copyTable(ctx context.Context, i int64, old L1Entry) error {
	if old.Offset()&m.clusterMask != 0 {
		return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "L2 table offset %#x unaligned (L1 index: %#x)", old.Offset(), i))
	}
	first := i * m.slicesPerTable()
	for no := first; no < first+m.slicesPerTable(); no++ {
		if s := m.cache.dirty[no]; s != nil {
			if err := m.writeBack(ctx); err != nil {
				return err
			}
			break
		}
	}
	m.file.Event(engine.EventL2AllocCowRead)
	buf := make([]byte, m.clusterSize)
	if err := m.readFile(ctx, buf, old.Offset()); err != nil {
		return err
	}
	c, err := m.allocContiguous(ctx, 1)
	if err != nil {
		return err
	}
	m.file.Event(engine.EventL2AllocWrite)
	if err := m.file.WriteAt(ctx, buf, c<<m.clusterBits, 0); err != nil {
		return m.undoAlloc(ctx, c, 1, err)
	}
	m.noteMetadata(c)
	m.setL1(i, L1Entry(uint64(c<<m.clusterBits)|bitCopied))
	m.free(pendingFree{old.Offset() >> m.clusterBits, 1, freeOther})
	return nil
}

// writeBack writes changed metadata to the file in the order of doc.go; the last step is not flushed. What was freed before moves on to
// written. mu is held.
func (m *Image) writeBack(ctx context.Context) error {
	if !m.lazy || m.hdr.Incompatible&IncompatDirty == 0 {
		if err := m.writeRefs(ctx); err != nil {
			return err
		}
	}
	if len(m.cache.dirty) > 0 || len(m.l1Dirty) > 0 {
		if err := m.barrier(ctx); err != nil {
			return err
		}
	}
	if len(m.cache.dirty) > 0 {
		if err := m.writeSlices(ctx); err != nil {
			return err
		}
		if len(m.l1Dirty) > 0 {
			if err := m.barrier(ctx); err != nil {
				return err
			}
		}
	}
	if err := m.writeL1(ctx); err != nil {
		return err
	}
	m.written = append(m.written, m.frees...)
	m.frees = nil
	return nil
}

// writeSlices writes the changed parts of slices, in the order of the file.
func (m *Image) writeSlices(ctx context.Context) error {
	x := m.index.Load()
	list := make([]*slice, 0, len(m.cache.dirty))
	for _, s := range m.cache.dirty {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *slice) int {
		return int(min(1, max(-1, x.entry(m.l1Index(a.no)).Offset()-x.entry(m.l1Index(b.no)).Offset()+a.no-b.no)))
	})
	buf := make([]byte, 0, m.sliceBytes())
	for _, s := range list {
		e := x.entry(m.l1Index(s.no))
		// Whole sectors, so that a device need not read.
		lo, hi := s.lo&^63, min((s.hi+63)&^63, len(s.words))
		buf = buf[:0]
		for _, w := range s.words[lo:hi] {
			buf = be.AppendUint64(buf, w)
		}
		m.file.Event(engine.EventL2Update)
		if err := m.file.WriteAt(ctx, buf, m.sliceHost(e, s.no)+int64(8*lo), 0); err != nil {
			return err
		}
		s.lo, s.hi = 0, 0
		delete(m.cache.dirty, s.no)
	}
	return nil
}

// writeL1 writes the changed sectors of the L1 table.
func (m *Image) writeL1(ctx context.Context) error {
	x := m.index.Load()
	for sector := range m.l1Dirty {
		from, to := sector*64, min((sector+1)*64, int64(len(x.l1)))
		buf := make([]byte, 0, 512)
		for _, w := range x.l1[from:to] {
			buf = be.AppendUint64(buf, w)
		}
		m.file.Event(engine.EventL1Update)
		if err := m.file.WriteAt(ctx, buf, int64(m.hdr.L1TableOffset)+8*from, 0); err != nil {
			return err
		}
		delete(m.l1Dirty, sector)
	}
	return nil
}
