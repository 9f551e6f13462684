package qcow2

import (
	"context"
	"errors"
	"math"

	"github.com/blkbench/blkbench/engine"
)

// Measure says how large a file gets: Required with dataBytes of guest data in whole clusters, FullyAllocated with all of the guest size,
// Bitmaps what persistent bitmaps add.
type Measure struct {
	Required       int64 `json:"required"`
	FullyAllocated int64 `json:"fully-allocated"`
	Bitmaps        int64 `json:"bitmaps,omitempty"`
}

// measure is the driver's answer to `measure`.
func measure(ctx context.Context, r *engine.MeasureRequest) (engine.Measurement, error) {
	o := new(CreateOptions)
	if err := errors.Join(r.Opts.Bind(o), r.Opts.Unused()); err != nil {
		return engine.Measurement{}, &engine.Error{Kind: engine.ErrOption, Len: -1, Cause: err}
	}
	all, err := o.Params(r.Size)
	switch {
	case err != nil && errors.Is(err, engine.ErrUnsupported): // encryption, which has a header of its own
		return engine.Measurement{}, err
	case all.Version < 3 && all.RefcountBits != 16:
		return engine.Measurement{}, engine.Errf(engine.ErrOption,
			"Different refcount widths than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)")
	}
	// As in QEMU nothing else decides the size, a data file neither: what is in either file counts.
	p := CreateParams{
		Version: 3, Size: r.Size, ClusterSize: all.ClusterSize, RefcountBits: all.RefcountBits, ExtendedL2: all.ExtendedL2, Prealloc: all.Prealloc,
	}
	var data int64
	switch {
	case r.Data == nil:
	case all.BackingFile != "":
		data = math.MaxInt64 // what the backing file holds is not looked at: nothing can be left out
	default:
		if data, err = r.Data(ctx, p.ClusterSize); err != nil {
			return engine.Measurement{}, err
		}
	}
	m, err := MeasureImage(p, data)
	if err != nil {
		return engine.Measurement{}, err
	}
	out := engine.Measurement{Required: m.Required, FullyAllocated: m.FullyAllocated, Bitmaps: -1}
	if src, ok := r.Source.(*Image); ok && all.Version >= 3 && src.version >= 3 {
		out.Bitmaps = src.MeasureBitmaps(p.ClusterSize)
	}
	return out, nil
}

// MeasureImage computes the sizes of a new image; data is how many guest bytes will be stored, in whole clusters of the image.
func MeasureImage(p CreateParams, data int64) (Measure, error) {
	if err := p.Validate(); err != nil {
		return Measure{}, err
	}
	h := p.header()
	g := h.geometry()
	size := (p.Size + g.clusterMask) &^ g.clusterMask
	if g.l1Entries(uint64(size))*8 > maxL1Bytes {
		return Measure{}, engine.Errf(engine.ErrRange, "The image size is too large (try using a larger cluster size)")
	}
	full := g.metadataBytes(size) + size
	if p.DataFile != "" {
		full = g.metadataBytes(size)
		data, size = 0, 0
	}
	required := full - size + min(data, size)
	if p.Prealloc == engine.PreallocFalloc || p.Prealloc == engine.PreallocFull {
		required = full
	}
	return Measure{Required: required, FullyAllocated: full}, nil
}

// metadataBytes is the metadata of an image of size guest bytes, all of it allocated: header, L1, L2, and refcounts of everything.
func (g *geometry) metadataBytes(size int64) int64 {
	entries := g.clusters(size)
	tables := (entries + 1<<g.l2Bits - 1) >> g.l2Bits
	tableBytes := (tables << g.clusterBits)
	l1 := (tables*8 + g.clusterMask) &^ g.clusterMask
	fixed := g.clusterSize + l1 + tableBytes
	// Refcount blocks and table count themselves as well.
	total := (fixed + size) >> g.clusterBits
	blocks, table, last, n := int64(0), int64(0), int64(-1), int64(0)
	for n != last {
		last = n
		blocks = (total + table + blocks + 1<<g.refBlockBits - 1) >> g.refBlockBits
		table = g.clusters(blocks * 8)
		n = total + blocks + table
	}
	return fixed + (blocks+table)<<g.clusterBits
}

// MeasureBitmaps says what copies of the image's bitmaps would take in an image with clusters of the given size, in bytes.
func (m *Image) MeasureBitmaps(clusterSize int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.bitmaps.list) == 0 {
		return 0
	}
	up := func(n int64) int64 { return (n + clusterSize - 1) / clusterSize * clusterSize }
	var total, dir int64
	for _, b := range m.bitmaps.list {
		if b.stale {
			continue
		}
		bytes := up((bitsFor(m.Size(), b) + 7) / 8)
		total += bytes + up(bytes/clusterSize*8)
		dir += (bitmapHeadLen + int64(len(b.rec.Name)) + 7) &^ 7
	}
	return total + up(dir)
}
