package qcow2

import "github.com/blkbench/blkbench/engine"

// Detail is what `info` prints of an image: the format-specific part, with the names of `qemu-img info --output=json`.
type Detail struct {
	Compat          string         `json:"compat"`
	CompressionType string         `json:"compression-type"`
	LazyRefcounts   *bool          `json:"lazy-refcounts,omitempty"`
	Bitmaps         []BitmapDetail `json:"bitmaps,omitempty"`
	RefcountBits    int            `json:"refcount-bits"`
	Corrupt         *bool          `json:"corrupt,omitempty"`
	ExtendedL2      *bool          `json:"extended-l2,omitempty"`
	DataFile        string         `json:"data-file,omitempty"`
	DataFileRaw     *bool          `json:"data-file-raw,omitempty"`
	Encrypt         *EncryptDetail `json:"encrypt,omitempty"`

	// What the generic part of info needs besides.
	ClusterSize   int64             `json:"-"`
	Encrypted     bool              `json:"-"`
	Dirty         bool              `json:"-"` // dirty-flag
	BackingFile   string            `json:"-"` // as the image says it
	BackingFormat string            `json:"-"`
	Snapshots     []engine.Snapshot `json:"-"`
}

// EncryptDetail names the method.
type EncryptDetail struct {
	Format string `json:"format"`
}

// BitmapDetail describes a bitmap.
type BitmapDetail struct {
	Flags       []string `json:"flags"`
	Name        string   `json:"name"`
	Granularity int64    `json:"granularity"`
}

// Detail describes the image as it is now.
func (m *Image) Detail() *Detail {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newDetail()
}

// Describe is Detail for `info`.
func (m *Image) Describe() engine.Description {
	d := m.Detail()
	return engine.Description{ClusterSize: d.ClusterSize, Encrypted: d.Encrypted, Dirty: d.Dirty, Specific: d}
}

func (m *Image) newDetail() *Detail {
	h := &m.hdr
	d := &Detail{
		Compat: "0.10", CompressionType: "zlib", RefcountBits: 1 << h.RefcountOrder, ClusterSize: m.clusterSize,
		Encrypted: h.CryptMethod != CryptNone, Dirty: h.Incompatible&IncompatDirty != 0,
		BackingFile: h.BackingFile, BackingFormat: h.Text(ExtBackingFormat), DataFile: h.Text(ExtDataFile),
	}
	switch h.CryptMethod {
	case CryptAES:
		d.Encrypt = &EncryptDetail{"aes"}
	case CryptLUKS:
		d.Encrypt = &EncryptDetail{"luks"}
	}
	for i := range m.snaps {
		d.Snapshots = append(d.Snapshots, m.snaps[i].engine())
	}
	if m.version < 3 {
		return d
	}
	d.Compat = "1.1"
	if h.CompressionType == compressionZstd {
		d.CompressionType = "zstd"
	}
	lazy, corrupt, extended := h.Compatible&CompatLazyRefcounts != 0, h.Incompatible&IncompatCorrupt != 0, m.extended
	d.LazyRefcounts, d.Corrupt, d.ExtendedL2 = &lazy, &corrupt, &extended
	if m.dataFile {
		raw := h.Autoclear&AutoclearDataRaw != 0
		d.DataFileRaw = &raw
	}
	for _, b := range m.bitmaps.list {
		d.Bitmaps = append(d.Bitmaps, b.detail())
	}
	return d
}

// engine gives a record the engine's words.
func (r *SnapshotRecord) engine() engine.Snapshot {
	return engine.Snapshot{
		ID: r.ID, Name: r.Name, VMStateSize: int64(r.VMStateSize), DateSec: int64(r.DateSec), DateNsec: int32(r.DateNsec),
		VMClockNsec: int64(r.VMClockNsec), Icount: int64(r.Icount), DiskSize: int64(r.DiskSize),
	}
}
