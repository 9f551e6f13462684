package qcow2

import (
	"fmt"
	"math/bits"
)

// Bits of L1 and L2 entries. qcow2.txt "Cluster mapping".
const (
	bitCopied     = 1 << 63
	bitCompressed = 1 << 62
	bitZero       = 1
	offsetMask    = 0x00ff_ffff_ffff_fe00
	l1Reserved    = 0x7f00_0000_0000_01ff
	l2Reserved    = 0x3f00_0000_0000_01fe
)

// L1Entry leads to an L2 table.
type L1Entry uint64

// Offset returns where the L2 table is in the file; 0 when there is none.
func (e L1Entry) Offset() int64 { return int64(e & offsetMask) }

// Copied reports whether the table is referenced once, so that it may be changed in place.
func (e L1Entry) Copied() bool { return e&bitCopied != 0 }

// Reserved returns the bits that must be zero.
func (e L1Entry) Reserved() uint64 { return uint64(e & l1Reserved) }

func (e L1Entry) String() string {
	return fmt.Sprintf("l1{table %#x copied %t}", e.Offset(), e.Copied())
}

// L2Entry describes a guest cluster.
type L2Entry uint64

// Compressed reports whether the entry is a compressed cluster descriptor.
func (e L2Entry) Compressed() bool { return e&bitCompressed != 0 }

// Copied reports whether the cluster is referenced once, so that it may be written in place.
func (e L2Entry) Copied() bool { return e&bitCopied != 0 }

// Offset returns the host cluster of a standard descriptor.
func (e L2Entry) Offset() int64 { return int64(e & offsetMask) }

// Zero reports the zero flag of a standard descriptor without subclusters.
func (e L2Entry) Zero() bool { return e&bitZero != 0 }

// Subclusters is the allocation bitmap of an extended entry: bits 0-31 allocated, 32-63 zero. qcow2.txt "Extended L2 Entries".
type Subclusters uint64

const (
	subAllAllocated Subclusters = 0xffff_ffff
	subAllZero      Subclusters = 0xffff_ffff << 32
	subCount                    = 32
)

// Allocated and Zero are the two halves; bit n is subcluster n.
func (s Subclusters) Allocated() uint32 { return uint32(s) }

// Zero is the half of the zero bits.
func (s Subclusters) Zero() uint32 { return uint32(s >> 32) }

// Valid reports whether no subcluster is both allocated and zero.
func (s Subclusters) Valid() bool { return s.Allocated()&s.Zero() == 0 }

// subRange returns the mask of subclusters [from, to).
func subRange(from, to int) uint32 {
	return uint32((uint64(1)<<to - 1) &^ (uint64(1)<<from - 1))
}

// kind says what a cluster or subcluster reads as and what stands behind it.
type kind uint8

const (
	kindUnallocated      kind = iota // from the backing file, no host cluster
	kindUnallocatedAlloc             // from the backing file; a host cluster is reserved
	kindZeroPlain                    // zeroes, no host cluster
	kindZeroAlloc                    // zeroes; a host cluster is reserved
	kindNormal                       // data in a host cluster
	kindCompressed
	kindInvalid
)

var kindNames = [...]string{"unallocated", "unallocated (reserved)", "zero", "zero (reserved)", "normal", "compressed", "invalid"}

func (k kind) String() string { return kindNames[k] }

func (k kind) hasHost() bool {
	return k == kindNormal || k == kindZeroAlloc || k == kindUnallocatedAlloc
}

// classify says what subcluster sub of an entry is; without extended entries sub is 0 and bm is ignored.
func (g *geometry) classify(e L2Entry, bm Subclusters, sub int) kind {
	if e.Compressed() {
		return kindCompressed
	}
	host := e.Offset() != 0 || (g.dataFile && e.Copied())
	if g.extended {
		alloc, zero := uint32(bm)>>sub&1 != 0, uint64(bm)>>(32+sub)&1 != 0
		switch {
		case alloc && (zero || !host):
			return kindInvalid
		case alloc:
			return kindNormal
		case zero && host:
			return kindZeroAlloc
		case zero:
			return kindZeroPlain
		case host:
			return kindUnallocatedAlloc
		}
		return kindUnallocated
	}
	switch {
	case e.Zero() && g.version < 3:
		return kindInvalid
	case e.Zero() && host:
		return kindZeroAlloc
	case e.Zero():
		return kindZeroPlain
	case host:
		return kindNormal
	}
	return kindUnallocated
}

// compressedRange returns where the sectors of a compressed cluster are. qcow2.txt "Compressed Clusters Descriptor".
func (g *geometry) compressedRange(e L2Entry) (hostOff, length int64) {
	hostOff = int64(uint64(e) & (1<<g.csizeShift - 1))
	sectors := int64(uint64(e)>>g.csizeShift&(1<<(g.clusterBits-8)-1)) + 1
	return hostOff, sectors*512 - hostOff&511
}

// compressedEntry makes the descriptor of n bytes at hostOff.
func (g *geometry) compressedEntry(hostOff, n int64) L2Entry {
	sectors := (hostOff+n-1)/512 - hostOff/512
	return L2Entry(uint64(hostOff) | uint64(sectors)<<g.csizeShift | bitCompressed)
}

// entryString prints an entry for diagnostics.
func (g *geometry) entryString(e L2Entry, bm Subclusters) string {
	switch {
	case e.Compressed():
		off, n := g.compressedRange(e)
		return fmt.Sprintf("l2{compressed %#x+%d}", off, n)
	case g.extended:
		return fmt.Sprintf("l2{host %#x copied %t allocated %d zero %d}", e.Offset(), e.Copied(),
			bits.OnesCount32(bm.Allocated()), bits.OnesCount32(bm.Zero()))
	}
	return fmt.Sprintf("l2{%s host %#x copied %t}", g.classify(e, 0, 0), e.Offset(), e.Copied())
}
