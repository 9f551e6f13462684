package qcow2

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// CreateParams say what a new image is like. [CreateOptions] is how a user spells them.
type CreateParams struct {
	Version       int // 2 or 3
	Size          int64
	ClusterSize   int64
	RefcountBits  int
	Lazy          bool
	ExtendedL2    bool
	Zstd          bool
	BackingFile   string
	BackingFormat string
	DataFile      string
	DataFileRaw   bool
	Prealloc      engine.Prealloc
}

// Validate checks what goes together and what does not; the words are QEMU's, which scripts know.
func (p *CreateParams) Validate() error {
	bad := func(msg string) error { return engine.Errf(engine.ErrOption, "%s", msg) }
	switch {
	case p.ClusterSize < 1<<minClusterBits || p.ClusterSize > 1<<maxClusterBits || p.ClusterSize&(p.ClusterSize-1) != 0:
		return bad("Cluster size must be a power of two between 512 and 2048k")
	case p.ExtendedL2 && p.ClusterSize < 1<<14:
		return bad("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes")
	case p.Version < 3 && p.ExtendedL2:
		return bad("Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)")
	case p.BackingFile != "" && p.Prealloc != engine.PreallocOff && !p.ExtendedL2:
		return bad("Backing file and preallocation can only be used at the same time if extended_l2 is on")
	case p.BackingFormat != "" && p.BackingFile == "":
		return bad("Backing format cannot be used without backing file")
	case p.Version < 3 && p.Lazy:
		return bad("Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)")
	case p.RefcountBits < 1 || p.RefcountBits > 64 || p.RefcountBits&(p.RefcountBits-1) != 0:
		return bad("Refcount width must be a power of two and may not exceed 64 bits")
	case p.Version < 3 && p.RefcountBits != 16:
		return bad("Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)")
	case p.DataFileRaw && p.DataFile == "":
		return bad("data-file-raw requires data-file")
	case p.DataFileRaw && p.BackingFile != "":
		return bad("Backing file and data-file-raw cannot be used at the same time")
	case p.Version < 3 && p.DataFile != "":
		return bad("External data files are only supported with compatibility level 1.1 and above (use version=v3 or greater)")
	case p.Version < 3 && p.Zstd:
		return bad("Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)")
	case len(p.BackingFile) > maxBackingName:
		return bad("Backing file name too long")
	case p.Size < 0:
		return bad("Image creation needs a size parameter")
	}
	return nil
}

// header makes the header of an image without guest data: cluster 0, a refcount table and a refcount block.
func (p *CreateParams) header() *Header {
	h := &Header{
		Version: uint32(p.Version), HeaderLength: headerLenV2, BackingFile: p.BackingFile,
		RefcountTableOffset: uint64(p.ClusterSize), RefcountTableClusters: 1, RefcountOrder: 4,
	}
	for p.ClusterSize>>h.ClusterBits > 1 {
		h.ClusterBits++
	}
	if p.BackingFormat != "" {
		h.SetExtension(ExtBackingFormat, []byte(p.BackingFormat))
	}
	if p.Version < 3 {
		return h
	}
	h.HeaderLength = headerLenNow
	for h.RefcountOrder = 0; 1<<h.RefcountOrder < p.RefcountBits; h.RefcountOrder++ {
	}
	if p.Lazy {
		h.Compatible |= CompatLazyRefcounts
	}
	if p.ExtendedL2 {
		h.Incompatible |= IncompatExtendedL2
	}
	if p.Zstd {
		h.Incompatible |= IncompatCompression
		h.CompressionType = compressionZstd
	}
	if p.DataFile != "" {
		h.Incompatible |= IncompatDataFile
		h.SetExtension(ExtDataFile, []byte(p.DataFile))
		if p.DataFileRaw {
			h.Autoclear |= AutoclearDataRaw
		}
	}
	h.SetExtension(ExtFeatureNames, appendFeatureNames(nil, knownFeatures))
	return h
}

// Format writes a new image into file, which is empty or whose content no longer matters. data is the external data file where there is
// one. Both stay open and the caller's.
func Format(ctx context.Context, file, data *engine.Ref, p CreateParams) error {
	p.Size = (p.Size + 511) &^ 511
	if p.DataFileRaw && p.Prealloc == engine.PreallocOff {
		p.Prealloc = engine.PreallocMetadata // what is not mapped would read as zeroes whatever the data file holds
	}
	if err := p.Validate(); err != nil {
		return err
	}
	h := p.header()
	g := h.geometry()
	if g.l1Entries(uint64(p.Size))*8 > maxL1Bytes {
		return engine.Errf(engine.ErrRange, "Image size too large for file format (try using a larger cluster size)")
	}
	b, err := h.Marshal()
	if err != nil {
		// The feature names are the only thing that can be left out.
		h.SetExtension(ExtFeatureNames, nil)
		if b, err = h.Marshal(); err != nil {
			return err
		}
	}
	first := make([]byte, 3*g.clusterSize)
	copy(first, b)
	be.PutUint64(first[g.clusterSize:], uint64(2*g.clusterSize))
	for c := range 3 {
		refSet(first[2*g.clusterSize:], g.refOrder, c, 1)
	}
	if err := file.WriteAt(ctx, first, 0, 0); err != nil {
		return err
	}
	parts := Parts{Header: h, File: file.Clone(file.Flags()), Write: true, Config: DefaultConfig()}
	if data != nil {
		parts.Data = data.Clone(data.Flags())
	}
	m, err := New(ctx, parts)
	if err != nil {
		return err
	}
	if err := m.Resize(ctx, p.Size, engine.ResizeOptions{Prealloc: p.Prealloc, Exact: true}); err != nil {
		_ = m.Close()
		return err
	}
	return m.Close()
}

// DefaultConfig is how an image is opened where nothing else is said.
func DefaultConfig() Config {
	return Config{
		L2CacheBytes: 32 << 20, RefcountCacheBytes: 8 << 20, PassDiscardSnap: true, FastWrites: true, CompressionWindow: zlibWindow,
		CompressionLevel: 0,
	}
}
