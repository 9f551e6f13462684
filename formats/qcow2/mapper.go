package qcow2

import (
	"math/bits"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
)

// run is a stretch of guest bytes of one kind.
type run struct {
	n       int64   // bytes
	hostOff int64   // of the first byte, for kinds with a host cluster
	entry   L2Entry // kindCompressed: the descriptor; else the first entry
	kind    kind
	copied  bool
	foreign bool // the slice leads to metadata somewhere
}

// Map answers from memory. Reads are answered for all but compressed clusters, writes for allocated clusters that are referenced once.
func (m *Image) Map(op engine.Op, off, n int64) (engine.Mapping, bool) {
	if m.crypt != nil || m.blind || (op == engine.OpWrite && !m.fastWrite.Load()) {
		return engine.Mapping{}, false
	}
	if !m.extended {
		if hostOff, ok := m.findPlain(op, off, n); ok {
			mp := engine.Mapping{Off: hostOff, Len: n, Child: m.dataChild(), Kind: engine.MapData}
			if op == engine.OpWrite {
				mp.NeedFlush = m.dirtyGen.Load() != m.cleanGen.Load()
			}
			return mp, true
		}
	}
	r, ok := m.find(off, n)
	if !ok {
		return engine.Mapping{}, false
	}
	if op == engine.OpWrite {
		if r.kind != kindNormal || !r.copied || r.foreign {
			return engine.Mapping{}, false
		}
		return engine.Mapping{
			Off: r.hostOff, Len: r.n, Child: m.dataChild(), Kind: engine.MapData, NeedFlush: m.dirtyGen.Load() != m.cleanGen.Load(),
		}, true
	}
	switch r.kind {
	case kindNormal:
		return engine.Mapping{Off: r.hostOff, Len: r.n, Child: m.dataChild(), Kind: engine.MapData}, true
	case kindCompressed, kindInvalid:
		return engine.Mapping{}, false
	case kindUnallocated, kindUnallocatedAlloc, kindZeroPlain, kindZeroAlloc:
	}
	if left := m.belowLeft(r.kind, off); left > 0 {
		return engine.Mapping{Off: off, Len: min(r.n, left), Child: childBacking, Kind: engine.MapData}, true
	}
	// Zeroes of all kinds make one run.
	for r.n < n {
		next, ok := m.find(off+r.n, n-r.n)
		if !ok || next.kind == kindNormal || next.kind == kindCompressed || next.kind == kindInvalid || m.belowLeft(next.kind, off+r.n) > 0 {
			break
		}
		r.n += next.n
	}
	return engine.Mapping{Len: r.n, Kind: engine.MapZero}, true
}

// belowLeft returns how many bytes the backing file has from off on, where the kind is one that shows it.
func (m *Image) belowLeft(k kind, off int64) int64 {
	if k != kindUnallocated && k != kindUnallocatedAlloc {
		return 0
	}
	b := m.backing.Load()
	if b == nil {
		return 0
	}
	return b.Size() - off
}

func (m *Image) dataChild() uint16 {
	if m.dataFile {
		return childData
	}
	return childFile
}

// findPlain is find for what is asked most: a range inside one normal cluster. False says nothing. Entries are not extended.
func (m *Image) findPlain(op engine.Op, off, n int64) (hostOff int64, ok bool) {
	within := off & m.clusterMask
	s := m.index.Load().slice(off >> ((m.clusterBits + m.sliceBits) & 63))
	if s == nil || within+n > m.clusterSize {
		return 0, false
	}
	i := uint64(off) >> (m.clusterBits & 63) & (uint64(len(s.words)) - 1) // a power of two
	e := atomic.LoadUint64(&s.words[i])
	hostOff = int64(e &^ bitCopied)
	if hostOff == 0 || hostOff&(m.clusterMask|^offsetMask) != 0 ||
		(op == engine.OpWrite && (s.foreign || e&bitCopied == 0)) || (m.dataFile && hostOff+within != off) {
		return 0, false
	}
	if s.used.Load() == 0 {
		s.used.Store(1)
	}
	return hostOff + within, true
}

// find looks a run up in memory: no lock, no I/O, no allocation. It is at most n bytes and within one slice.
func (m *Image) find(off, n int64) (run, bool) {
	x := m.index.Load()
	no := m.sliceOf(off)
	s := x.slice(no)
	if s == nil {
		if x.entry(m.l1Index(no)).Offset() != 0 {
			return run{}, false
		}
		per := int64(1) << (m.clusterBits + m.l2Bits)
		end := (off/per + 1) * per
		for end < off+n && x.entry(end/per).Offset() == 0 && x.slice(m.sliceOf(end)) == nil {
			end += per
		}
		return run{kind: kindUnallocated, n: min(n, end-off)}, true
	}
	if s.used.Load() == 0 {
		s.used.Store(1)
	}
	if m.extended {
		return m.findExtended(s, off, n)
	}
	i, within := m.inSlice(off), off&m.clusterMask
	first := atomic.LoadUint64(&s.words[i])
	e := L2Entry(first)
	r := run{kind: m.classify(e, 0, 0), entry: e, copied: e.Copied(), foreign: s.foreign, n: m.clusterSize - within}
	words := s.words[i+1:]
	switch r.kind {
	case kindNormal, kindZeroAlloc:
		r.hostOff = e.Offset() + within
		if e.Offset()&m.clusterMask != 0 || (m.dataFile && r.hostOff != off) {
			r.kind = kindInvalid
			break
		}
		for j := range words {
			first += uint64(m.clusterSize)
			if r.n >= n || atomic.LoadUint64(&words[j]) != first {
				break
			}
			r.n += m.clusterSize
		}
	case kindUnallocated, kindZeroPlain:
		for j := range words {
			if r.n >= n || m.classify(L2Entry(atomic.LoadUint64(&words[j])), 0, 0) != r.kind {
				break
			}
			r.n += m.clusterSize
		}
	case kindUnallocatedAlloc, kindCompressed, kindInvalid:
	}
	r.n = min(r.n, n)
	return r, true
}

// findExtended is find for extended L2 entries, whose two words are read under the slice's sequence number.
func (m *Image) findExtended(s *slice, off, n int64) (run, bool) {
	seq := s.seq.Load()
	if seq&1 != 0 {
		return run{}, false
	}
	i, within := m.inSlice(off), off&m.clusterMask
	sub := int(within >> m.subBits)
	subSize := int64(1) << m.subBits
	e, bm := L2Entry(atomic.LoadUint64(&s.words[2*i])), Subclusters(atomic.LoadUint64(&s.words[2*i+1]))
	r := run{kind: m.classify(e, bm, sub), entry: e, copied: e.Copied(), foreign: s.foreign}
	switch r.kind {
	case kindCompressed, kindInvalid:
		r.n = m.clusterSize - within
	default:
		if r.kind.hasHost() {
			r.hostOff = e.Offset() + within
			if e.Offset()&m.clusterMask != 0 || (m.dataFile && r.hostOff != off) {
				r.kind = kindInvalid
			}
		}
		subs := subRunLen(r.kind, bm, sub)
		r.n = int64(subs)*subSize - within&(subSize-1)
		want := uint64(e)
		for j := i + 1; subs+sub == subCount && r.n < n && 2*j < len(s.words); j++ {
			if r.kind.hasHost() {
				want += uint64(m.clusterSize)
			}
			e2, bm2 := L2Entry(atomic.LoadUint64(&s.words[2*j])), Subclusters(atomic.LoadUint64(&s.words[2*j+1]))
			if uint64(e2) != want || m.classify(e2, bm2, 0) != r.kind {
				break
			}
			sub, subs = 0, subRunLen(r.kind, bm2, 0)
			r.n += int64(subs) * subSize
		}
	}
	r.n = min(r.n, n)
	return r, s.seq.Load() == seq
}

// subRunLen returns how many subclusters from sub on are of a kind.
func subRunLen(k kind, bm Subclusters, sub int) int {
	var same uint32
	switch k {
	case kindNormal:
		same = bm.Allocated()
	case kindZeroPlain, kindZeroAlloc:
		same = bm.Zero()
	default:
		same = ^(bm.Allocated() | bm.Zero())
	}
	return max(1, min(subCount-sub, bits.TrailingZeros32(^(same>>sub))))
}

// leadsToMetadata reports whether an entry of a slice would let guest writes go to metadata.
func (m *Image) leadsToMetadata(s *slice) bool {
	if m.dataFile || !m.writable {
		return false
	}
	for i := 0; i < len(s.words); i += m.entryWords {
		e := L2Entry(s.words[i])
		if e.Copied() && !e.Compressed() && m.isMetadata(e.Offset()>>m.clusterBits) {
			return true
		}
	}
	return false
}
