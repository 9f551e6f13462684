package qcow2

import (
	"context"
	"math/bits"

	"github.com/blkbench/blkbench/engine"
)

// maxAllocBytes is the most that one allocation covers: enough for long writes, and little enough for a buffer.
const maxAllocBytes = 4 << 20

// WriteAt writes p at off.
func (m *Image) WriteAt(ctx context.Context, p []byte, off int64, _ engine.WriteFlags) error {
	m.gate.RLock()
	defer m.gate.RUnlock()
	if err := m.beforeChange(ctx); err != nil {
		return err
	}
	defer m.bitmaps.track(off, int64(len(p)))
	for len(p) > 0 {
		n, err := m.writeSome(ctx, p, off)
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// writeSome writes the first part of p and returns its length. The gate is held.
func (m *Image) writeSome(ctx context.Context, p []byte, off int64) (int64, error) {
	r, err := m.lookup(ctx, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	if r.kind == kindNormal && r.copied {
		if err := m.checkForeign(ctx, r); err != nil {
			return 0, err
		}
		if m.crypt == nil || (off|r.n)&511 == 0 {
			return r.n, m.writeData(ctx, p[:r.n], r.hostOff, off)
		}
		return r.n, m.modifyData(ctx, p[:r.n], r.hostOff, off)
	}
	n := min(int64(len(p)), maxAllocBytes)
	return m.writeAlloc(ctx, off, n, func(pl *plan) error { return m.fill(ctx, pl, p[:pl.end-off]) })
}

// modifyData writes parts of encrypted sectors.
func (m *Image) modifyData(ctx context.Context, p []byte, hostOff, guestOff int64) error {
	lead := guestOff & 511
	buf := make([]byte, (lead+int64(len(p))+511)&^511)
	if err := m.readData(ctx, buf, hostOff-lead, guestOff-lead); err != nil {
		return err
	}
	copy(buf[lead:], p)
	return m.writeData(ctx, buf, hostOff-lead, guestOff-lead)
}

// checkForeign refuses a write in place that would go over metadata.
func (m *Image) checkForeign(ctx context.Context, r run) error {
	if !r.foreign {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for at := r.hostOff &^ m.clusterMask; at < r.hostOff+r.n; at += m.clusterSize {
		if m.isMetadata(at >> m.clusterBits) {
			return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "Preventing invalid write on metadata (overlaps with a table at %#x)", at))
		}
	}
	return nil
}

// plan is what an allocating write does: the clusters it holds, where they go, and which edges are filled.
type plan struct {
	guest    guestRange // clusters in flight
	first    int64      // guest offset of the first cluster
	host     int64      // host offset of the first cluster
	fresh    int64      // clusters allocated by it; 0 when the host clusters were there
	from, to int64      // guest bytes that are written, edges included
	off, end int64      // guest bytes that the caller writes
	blank    bool       // the host clusters lie past the end of the file: what is not written reads as zeroes
}

// writeAlloc writes the first part of [off, off+n), which needs metadata to change, and returns its length; fill stores what the plan says,
// edges included. The gate is held.
func (m *Image) writeAlloc(ctx context.Context, off, n int64, fill func(pl *plan) error) (int64, error) {
	mctx := context.WithoutCancel(ctx)
	m.mu.Lock()
	pl, ready, err := m.planWrite(mctx, off, n)
	m.mu.Unlock()
	if err != nil || !ready {
		return 0, err // somebody else allocated it: look again
	}
	err = fill(&pl)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		err = m.publish(mctx, &pl)
	}
	if err != nil && pl.fresh > 0 {
		err = m.undoAlloc(mctx, pl.host>>m.clusterBits, pl.fresh, err)
	}
	m.land(pl.guest)
	return pl.end - off, err
}

// planWrite chooses the clusters that a write of [off, off+n) starts with, and marks them in flight. ready is false when no metadata has
// to change after all. mu is held.
func (m *Image) planWrite(ctx context.Context, off, n int64) (pl plan, ready bool, err error) {
	first := off >> m.clusterBits
	m.await(guestRange{first, first + 1})
	s, err := m.sliceForWrite(ctx, m.sliceOf(off))
	if err != nil {
		return pl, false, err
	}
	i := m.inSlice(off)
	e, bm := m.at(s, i)
	sub := int((off & m.clusterMask) >> m.subBits)
	k := m.classify(e, bm, sub)
	end := off + n
	pl = plan{first: first << m.clusterBits, off: off}
	switch {
	case k == kindInvalid:
		return pl, false, nil // lookup says it with its place
	case k == kindNormal && e.Copied():
		return pl, false, nil
	case k != kindCompressed && e.Copied() && (e.Offset() != 0 || m.dataFile):
		// The host cluster is there: the write fills it.
		pl.host, pl.guest = e.Offset(), guestRange{first, first + 1}
		if pl.host&m.clusterMask != 0 {
			return pl, false, m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "Preallocated cluster offset %#x unaligned (guest offset: %#x)", pl.host, off))
		}
		pl.end = min(end, pl.first+m.clusterSize)
		if m.extended {
			// Up to the next allocated subcluster: that one is written in place, maybe by somebody else at this very moment.
			if next := bits.TrailingZeros32(bm.Allocated() >> sub); sub+next < subCount {
				pl.end = min(pl.end, pl.first+int64(sub+next)<<m.subBits)
			}
		}
	case m.dataFile:
		pl.host, pl.guest = pl.first, guestRange{first, first + 1}
		pl.guest.to = m.extendRun(s, i, first, end)
		pl.end = min(end, pl.guest.to<<m.clusterBits)
		pl.blank = pl.host >= m.data.Size() && m.data.Info().Caps.Has(engine.CapGrowable)
	default:
		want := m.extendRun(s, i, first, end) - first
		c, got, err := m.allocRun(ctx, want)
		if err != nil {
			return pl, false, err
		}
		pl.host, pl.fresh, pl.guest = c<<m.clusterBits, got, guestRange{first, first + got}
		pl.end = min(end, (first+got)<<m.clusterBits)
		pl.blank = pl.host >= m.data.Size() && m.data.Info().Caps.Has(engine.CapGrowable)
	}
	m.edges(&pl, s, i)
	m.inFlight = append(m.inFlight, pl.guest)
	return pl, true, nil
}

// extendRun returns the guest cluster behind those from first on that need a new host cluster, up to end, within the slice.
func (m *Image) extendRun(s *slice, i int, first, end int64) int64 {
	last := (end + m.clusterMask) >> m.clusterBits
	c := first + 1
	for i++; c < last && i*m.entryWords < len(s.words); i, c = i+1, c+1 {
		e, _ := m.at(s, i)
		if !e.Compressed() && e.Copied() {
			break
		}
		if m.isInFlight(guestRange{c, c + 1}) {
			break
		}
	}
	return c
}

// edges widens what is written to whole allocation units. Where the first or last cluster has content of its own that moves, it is
// copied: from the first allocated subcluster to the last.
func (m *Image) edges(pl *plan, s *slice, i int) {
	unit := int64(1) << m.subBits
	pl.from = pl.off &^ (unit - 1)
	pl.to = (pl.end + unit - 1) &^ (unit - 1)
	if pl.fresh == 0 || !m.extended {
		return
	}
	e, bm := m.at(s, i)
	pl.from = min(pl.from, m.contentFrom(pl.first, e, bm))
	e, bm = m.at(s, i+int(pl.fresh)-1)
	pl.to = max(pl.to, m.contentTo((pl.guest.to-1)<<m.clusterBits, e, bm))
}

// contentFrom returns the guest offset where a cluster's own content starts; contentTo where it ends.
func (m *Image) contentFrom(first int64, e L2Entry, bm Subclusters) int64 {
	switch {
	case e.Compressed():
		return first
	case bm.Allocated() == 0:
		return first + m.clusterSize
	}
	lowest := int64(bits.TrailingZeros32(bm.Allocated()))
	return first + lowest<<m.subBits
}

func (m *Image) contentTo(first int64, e L2Entry, bm Subclusters) int64 {
	switch {
	case e.Compressed():
		return first + m.clusterSize
	case bm.Allocated() == 0:
		return first
	}
	top := int64(bits.Len32(bm.Allocated()))
	return first + top<<m.subBits
}

// fill writes the data and its edges. No lock but the gate is held.
func (m *Image) fill(ctx context.Context, pl *plan, p []byte) error {
	head, tail := pl.off-pl.from, pl.to-pl.end
	if m.crypt == nil {
		if head > 0 && pl.blank && m.rangeReadsZero(ctx, pl.from, pl.off) {
			pl.from, head = pl.off, 0
		}
		if tail > 0 && pl.blank && m.rangeReadsZero(ctx, pl.end, pl.to) {
			pl.to, tail = pl.end, 0
		}
	}
	hostOff := pl.host + (pl.from - pl.first)
	if head == 0 && tail == 0 {
		return m.writeData(ctx, p, hostOff, pl.from)
	}
	buf := make([]byte, pl.to-pl.from)
	m.file.Event(engine.EventCowRead)
	if err := m.readOld(ctx, buf[:head], pl.from); err != nil {
		return err
	}
	copy(buf[head:], p)
	if err := m.readOld(ctx, buf[head+int64(len(p)):], pl.end); err != nil {
		return err
	}
	m.file.Event(engine.EventCowWrite)
	return m.writeData(ctx, buf, hostOff, pl.from)
}

// readOld reads guest content for an edge; past the virtual size it is zeroes.
func (m *Image) readOld(ctx context.Context, p []byte, off int64) error {
	n := min(int64(len(p)), max(0, m.Size()-off))
	clear(p[n:])
	return m.ReadAt(ctx, p[:n], off)
}

// rangeReadsZero reports whether guest bytes [from, to) are known to read as zeroes.
func (m *Image) rangeReadsZero(ctx context.Context, from, to int64) bool {
	for to = min(to, m.Size()); from < to; {
		r, err := m.lookup(ctx, from, to-from)
		if err != nil || !m.readsZero(r, from) {
			return false
		}
		from += r.n
	}
	return true
}

// publish enters what was written into the L2 tables and lets the old clusters go. mu is held.
func (m *Image) publish(ctx context.Context, pl *plan) error {
	s, err := m.sliceForWrite(ctx, m.sliceOf(pl.first))
	if err != nil {
		return err
	}
	// What the edges left out because it reads as zeroes anyway belongs to the units that are written.
	unit := int64(1) << m.subBits
	from, to := pl.from&^(unit-1), (pl.to+unit-1)&^(unit-1)
	host := uint64(pl.host)
	for c := pl.guest.from; c < pl.guest.to; c++ {
		start := c << m.clusterBits
		i := m.inSlice(start)
		e, bm := m.at(s, i)
		var nbm Subclusters
		if m.extended {
			lo := int(max(0, from-start) >> m.subBits)
			hi := int(min(m.clusterSize, to-start) >> m.subBits)
			touched := Subclusters(subRange(lo, hi))
			if e.Compressed() {
				bm = 0
			}
			nbm = (bm | touched) &^ (touched << 32)
		}
		m.set(s, i, L2Entry(host|bitCopied), nbm)
		if pl.fresh > 0 {
			m.freeEntry(e, freeOther)
		}
		host += uint64(m.clusterSize)
	}
	return nil
}

// freeEntry lets go what an entry referred to.
func (m *Image) freeEntry(e L2Entry, class freeClass) {
	switch {
	case e.Compressed():
		off, n := m.compressedRange(e)
		first := off >> m.clusterBits
		m.free(pendingFree{first, (off+n-1)>>m.clusterBits - first + 1, class})
	case e.Offset() != 0 && !m.dataFile:
		m.free(pendingFree{e.Offset() >> m.clusterBits, 1, class})
	}
}

// isInFlight reports whether a guest range overlaps one that is being written. mu is held.
func (m *Image) isInFlight(g guestRange) bool {
	for _, f := range m.inFlight {
		if f.from < g.to && g.from < f.to {
			return true
		}
	}
	return false
}

// await waits until nothing in the range is in flight. mu is held, and given up while waiting.
func (m *Image) await(g guestRange) {
	for m.isInFlight(g) {
		m.cond.Wait()
	}
}

// land takes a range out of flight. mu is held.
func (m *Image) land(g guestRange) {
	for i, f := range m.inFlight {
		if f == g {
			m.inFlight[i] = m.inFlight[len(m.inFlight)-1]
			m.inFlight = m.inFlight[:len(m.inFlight)-1]
			break
		}
	}
	m.cond.Broadcast()
}
