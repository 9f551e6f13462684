package qcow2

// geometry is what follows from the header and never changes while an image is open.
type geometry struct {
	version      uint32
	clusterBits  uint32
	clusterSize  int64
	clusterMask  int64
	extended     bool   // extended L2 entries
	entryWords   int    // 64-bit words per L2 entry: 1, or 2 when extended
	l2Bits       uint32 // log2 of the entries of an L2 table
	sliceBits    uint32 // log2 of the entries of an L2 slice
	subBits      uint32 // log2 of the allocation unit in bytes: a subcluster, or a cluster
	refOrder     uint32 // log2 of the bits of a refcount
	refBlockBits uint32 // log2 of the refcounts of a refcount block
	refMax       uint64 // the greatest refcount
	csizeShift   uint32 // where the sector count of a compressed descriptor starts
	dataFile     bool   // guest data is in an external file, at its guest offset
}

// maxSliceBytes is the most of an L2 table that is read and written at once.
const maxSliceBytes = 64 << 10

func (h *Header) geometry() geometry {
	g := geometry{
		version: h.Version, clusterBits: h.ClusterBits, clusterSize: 1 << h.ClusterBits, clusterMask: 1<<h.ClusterBits - 1,
		extended: h.Incompatible&IncompatExtendedL2 != 0, dataFile: h.Incompatible&IncompatDataFile != 0,
		refOrder: h.RefcountOrder, refBlockBits: h.ClusterBits + 3 - h.RefcountOrder,
		refMax: 1<<(1<<h.RefcountOrder) - 1, csizeShift: 62 - (h.ClusterBits - 8),
		entryWords: 1, l2Bits: h.ClusterBits - 3, subBits: h.ClusterBits,
	}
	if g.extended {
		g.entryWords, g.l2Bits, g.subBits = 2, h.ClusterBits-4, h.ClusterBits-5
	}
	g.sliceBits = g.l2Bits
	for 8*g.entryWords<<g.sliceBits > maxSliceBytes {
		g.sliceBits--
	}
	return g
}

// l1Entries returns how many L1 entries cover size guest bytes.
func (g *geometry) l1Entries(size uint64) uint64 {
	per := g.clusterBits + g.l2Bits
	return size>>per + min(1, size&(1<<per-1))
}

// clusters returns how many clusters hold n bytes.
func (g *geometry) clusters(n int64) int64 { return (n + g.clusterMask) >> g.clusterBits }

// slicesPerTable returns how many slices an L2 table is read in.
func (g *geometry) slicesPerTable() int64 { return 1 << (g.l2Bits - g.sliceBits) }

// sliceBytes returns the bytes of a slice on disk.
func (g *geometry) sliceBytes() int64 { return int64(8*g.entryWords) << g.sliceBits }

// sliceOf returns the number of the slice that maps a guest offset, counted over the whole image.
func (g *geometry) sliceOf(guestOff int64) int64 { return guestOff >> (g.clusterBits + g.sliceBits) }

// inSlice returns the index of the guest cluster's entry in its slice.
func (g *geometry) inSlice(guestOff int64) int {
	return int(guestOff>>g.clusterBits) & (1<<g.sliceBits - 1)
}

// l1Index returns the L1 index of a slice.
func (g *geometry) l1Index(slice int64) int64 { return slice >> (g.l2Bits - g.sliceBits) }
