package qcow2

import (
	"encoding/binary"
	"errors"

	"github.com/blkbench/blkbench/engine"
)

// Magic is the first word of an image.
const Magic = 0x514649fb

// Header lengths, bytes. qcow2.txt "Header".
const (
	headerLenV2  = 72
	headerLenV3  = 104 // the least for version 3
	headerLenNow = 112 // what new images have: up to and with the compression type, padded
)

// Limits beyond the format's own, as QEMU has them: they bound what an image can make a reader allocate.
const (
	minClusterBits     = 9
	maxClusterBits     = 21
	maxL1Bytes         = 32 << 20
	maxRefTableBytes   = 8 << 20
	maxSnapshots       = 65536
	maxSnapshotTable   = 64 << 20
	maxSnapshotExtra   = 1024
	maxBackingName     = 1023
	maxBitmaps         = 65535
	maxBitmapDirectory = 1024 * maxBitmaps
	maxBitmapName      = 1023
)

// Extension types. qcow2.txt "Header extensions".
const (
	ExtEnd           uint32 = 0
	ExtBackingFormat uint32 = 0xe2792aca
	ExtFeatureNames  uint32 = 0x6803f857
	ExtBitmaps       uint32 = 0x23852875
	ExtCrypto        uint32 = 0x0537be77
	ExtDataFile      uint32 = 0x44415441
)

// Encryption methods. qcow2.txt "Header".
const (
	CryptNone uint32 = 0
	CryptAES  uint32 = 1
	CryptLUKS uint32 = 2
)

// Extension is a header extension as it is on disk; unknown ones are kept byte for byte.
type Extension struct {
	Type uint32
	Data []byte
}

// Header is the content of the first cluster.
type Header struct {
	Version               uint32
	BackingOffset         uint64
	BackingSize           uint32
	ClusterBits           uint32
	Size                  uint64 // guest bytes
	CryptMethod           uint32
	L1Size                uint32 // entries
	L1TableOffset         uint64
	RefcountTableOffset   uint64
	RefcountTableClusters uint32
	SnapshotCount         uint32
	SnapshotsOffset       uint64
	Incompatible          uint64
	Compatible            uint64
	Autoclear             uint64
	RefcountOrder         uint32
	HeaderLength          uint32
	CompressionType       uint8
	Unknown               []byte // header bytes that this version of the format does not define

	Extensions  []Extension
	BackingFile string
}

// errShort says that ParseHeader needs more of the first cluster.
var errShort = errors.New("header reaches further")

// be reads and writes the numbers of the format. qcow2.txt "General".
var be = binary.BigEndian

// ParseHeader reads the header, its extensions and the backing file's name from b, the start of the image: at least 512 bytes or the whole
// file. It answers errShort when more of the first cluster is needed. tolerant accepts features that are not known.
func ParseHeader(b []byte, tolerant bool) (*Header, error) {
	if len(b) < headerLenV2 || be.Uint32(b) != Magic {
		return nil, engine.Errf(engine.ErrFormat, "Image is not in qcow2 format")
	}
	h := &Header{
		Version: be.Uint32(b[4:]), BackingOffset: be.Uint64(b[8:]), BackingSize: be.Uint32(b[16:]), ClusterBits: be.Uint32(b[20:]),
		Size: be.Uint64(b[24:]), CryptMethod: be.Uint32(b[32:]), L1Size: be.Uint32(b[36:]), L1TableOffset: be.Uint64(b[40:]),
		RefcountTableOffset: be.Uint64(b[48:]), RefcountTableClusters: be.Uint32(b[56:]), SnapshotCount: be.Uint32(b[60:]),
		SnapshotsOffset: be.Uint64(b[64:]), RefcountOrder: 4, HeaderLength: headerLenV2,
	}
	if h.Version != 2 && h.Version != 3 {
		return nil, engine.Errf(engine.ErrUnsupported, "Unsupported qcow2 version %d", h.Version)
	}
	if h.ClusterBits < minClusterBits || h.ClusterBits > maxClusterBits {
		return nil, engine.Errf(engine.ErrUnsupported, "Unsupported cluster size: 2^%d", h.ClusterBits)
	}
	if h.Version >= 3 {
		if err := h.parseV3(b); err != nil {
			return nil, err
		}
	}
	clusterSize := uint64(1) << h.ClusterBits
	if h.BackingOffset > clusterSize {
		return nil, engine.Errf(engine.ErrCorrupt, "Invalid backing file offset")
	}
	if err := h.parseExtensions(b); err != nil {
		return nil, err
	}
	if unknown := h.Incompatible &^ incompatKnown; unknown != 0 && !tolerant {
		var names []FeatureName
		if e := h.Extension(ExtFeatureNames); e != nil {
			names = parseFeatureNames(e.Data)
		}
		return nil, engine.Errf(engine.ErrUnsupported, "Unsupported qcow2 feature(s): %s", unknownFeatures(unknown, names))
	}
	if h.BackingOffset != 0 {
		if uint64(h.BackingSize) > min(maxBackingName, clusterSize-h.BackingOffset) {
			return nil, engine.Errf(engine.ErrCorrupt, "Backing file name too long")
		}
		end := h.BackingOffset + uint64(h.BackingSize)
		if end > uint64(len(b)) {
			return nil, errShort
		}
		h.BackingFile = string(b[h.BackingOffset:end])
	}
	return h, nil
}

// parseV3 reads what version 3 added. qcow2.txt "Header", "Additional fields".
func (h *Header) parseV3(b []byte) error {
	if len(b) < headerLenV3 {
		return engine.Errf(engine.ErrFormat, "qcow2 header too short")
	}
	h.Incompatible, h.Compatible, h.Autoclear = be.Uint64(b[72:]), be.Uint64(b[80:]), be.Uint64(b[88:])
	h.RefcountOrder, h.HeaderLength = be.Uint32(b[96:]), be.Uint32(b[100:])
	if h.HeaderLength < headerLenV3 {
		return engine.Errf(engine.ErrFormat, "qcow2 header too short")
	}
	if uint64(h.HeaderLength) > uint64(1)<<h.ClusterBits {
		return engine.Errf(engine.ErrFormat, "qcow2 header exceeds cluster size")
	}
	if int(h.HeaderLength) > len(b) {
		return errShort
	}
	if h.HeaderLength > headerLenV3 {
		h.CompressionType = b[104]
	}
	if h.HeaderLength > headerLenNow {
		h.Unknown = append([]byte(nil), b[headerLenNow:h.HeaderLength]...)
	}
	return nil
}

// parseExtensions walks the extension area, which ends with an end mark, the backing file's name or the cluster.
func (h *Header) parseExtensions(b []byte) error {
	end := uint64(1) << h.ClusterBits
	if h.BackingOffset != 0 {
		end = h.BackingOffset
	}
	for at := uint64(h.HeaderLength); at < end; {
		if at+8 > end {
			return nil // no room for another extension: QEMU reads on into the name, there is nothing to find
		}
		if at+8 > uint64(len(b)) {
			return errShort
		}
		typ, n := be.Uint32(b[at:]), uint64(be.Uint32(b[at+4:]))
		at += 8
		if typ == ExtEnd {
			return nil
		}
		if n > end-at {
			return engine.Errf(engine.ErrCorrupt, "Header extension too large")
		}
		if at+n > uint64(len(b)) {
			return errShort
		}
		h.Extensions = append(h.Extensions, Extension{typ, append([]byte(nil), b[at:at+n]...)})
		at += (n + 7) &^ 7
	}
	return nil
}

// Extension returns the extension of a type, nil when there is none.
func (h *Header) Extension(typ uint32) *Extension {
	for i := range h.Extensions {
		if h.Extensions[i].Type == typ {
			return &h.Extensions[i]
		}
	}
	return nil
}

// SetExtension replaces or adds an extension; nil data removes it. New ones go before the feature name table, which is the longest and
// the least needed.
func (h *Header) SetExtension(typ uint32, data []byte) {
	if e := h.Extension(typ); e != nil && data != nil {
		e.Data = data
		return
	}
	kept := h.Extensions[:0:0]
	added := data == nil
	for _, e := range h.Extensions {
		if e.Type == typ {
			continue
		}
		if e.Type == ExtFeatureNames && !added {
			kept, added = append(kept, Extension{typ, data}), true
		}
		kept = append(kept, e)
	}
	if !added {
		kept = append(kept, Extension{typ, data})
	}
	h.Extensions = kept
}

// Text returns the string of a string extension, empty when there is none. qcow2.txt "String header extensions".
func (h *Header) Text(typ uint32) string {
	if e := h.Extension(typ); e != nil {
		return string(e.Data)
	}
	return ""
}

// Marshal writes header, extensions and the backing file's name, and sets BackingOffset and BackingSize. It fails when they do not fit the
// first cluster.
func (h *Header) Marshal() ([]byte, error) {
	b := make([]byte, h.HeaderLength)
	if h.Version >= 3 {
		be.PutUint64(b[72:], h.Incompatible)
		be.PutUint64(b[80:], h.Compatible)
		be.PutUint64(b[88:], h.Autoclear)
		be.PutUint32(b[96:], h.RefcountOrder)
		be.PutUint32(b[100:], h.HeaderLength)
		if h.HeaderLength > headerLenV3 {
			b[104] = h.CompressionType
		}
		if h.HeaderLength > headerLenNow {
			copy(b[headerLenNow:], h.Unknown)
		}
	}
	for _, e := range h.Extensions {
		b = be.AppendUint32(b, e.Type)
		b = be.AppendUint32(b, uint32(len(e.Data)))
		b = append(b, e.Data...)
		b = append(b, make([]byte, -len(e.Data)&7)...)
	}
	b = append(b, make([]byte, 8)...) // end mark
	h.BackingOffset, h.BackingSize = 0, 0
	if h.BackingFile != "" {
		h.BackingOffset, h.BackingSize = uint64(len(b)), uint32(len(h.BackingFile))
		b = append(b, h.BackingFile...)
	}
	if len(b) > 1<<h.ClusterBits {
		return nil, engine.Errf(engine.ErrNoSpace, "header, extensions and backing file name take %d bytes: more than a cluster", len(b))
	}
	be.PutUint32(b[0:], Magic)
	be.PutUint32(b[4:], h.Version)
	be.PutUint64(b[8:], h.BackingOffset)
	be.PutUint32(b[16:], h.BackingSize)
	be.PutUint32(b[20:], h.ClusterBits)
	be.PutUint64(b[24:], h.Size)
	be.PutUint32(b[32:], h.CryptMethod)
	be.PutUint32(b[36:], h.L1Size)
	be.PutUint64(b[40:], h.L1TableOffset)
	be.PutUint64(b[48:], h.RefcountTableOffset)
	be.PutUint32(b[56:], h.RefcountTableClusters)
	be.PutUint32(b[60:], h.SnapshotCount)
	be.PutUint64(b[64:], h.SnapshotsOffset)
	return b, nil
}

// Validate checks what can be checked without I/O. tolerant leaves to the checker what it can repair.
func (h *Header) Validate(tolerant bool) error {
	clusterMask := uint64(1)<<h.ClusterBits - 1
	switch {
	case h.RefcountOrder > 6:
		return engine.Errf(engine.ErrUnsupported, "Reference count entry width too large; may not exceed 64 bits")
	case h.CryptMethod > CryptLUKS:
		return engine.Errf(engine.ErrUnsupported, "Unsupported encryption method %d", h.CryptMethod)
	case h.Incompatible&IncompatExtendedL2 != 0 && h.ClusterBits < 14:
		return engine.Errf(engine.ErrCorrupt, "extended L2 entries need clusters of at least 16 KiB")
	case h.Size > 1<<63-1-clusterMask:
		return engine.Errf(engine.ErrRange, "Image size %#x is too large", h.Size)
	case uint64(h.L1Size)*8 > maxL1Bytes:
		return engine.Errf(engine.ErrRange, "Active L1 table too large")
	case h.L1TableOffset&clusterMask != 0 || h.L1TableOffset > 1<<62:
		return engine.Errf(engine.ErrCorrupt, "Active L1 table offset invalid")
	case uint64(h.RefcountTableClusters)<<h.ClusterBits > maxRefTableBytes:
		return engine.Errf(engine.ErrRange, "Reference count table too large")
	case h.RefcountTableOffset&clusterMask != 0 || h.RefcountTableOffset > 1<<62:
		return engine.Errf(engine.ErrCorrupt, "Reference count table offset invalid")
	case h.RefcountTableClusters == 0 && !tolerant:
		return engine.Errf(engine.ErrCorrupt, "Image does not contain a reference count table")
	case h.SnapshotCount > maxSnapshots && !tolerant:
		return engine.Errf(engine.ErrRange, "Snapshot table too large")
	case h.SnapshotsOffset&clusterMask != 0 || h.SnapshotsOffset > 1<<62:
		return engine.Errf(engine.ErrCorrupt, "Snapshot table offset invalid")
	}
	g := h.geometry()
	if uint64(h.L1Size) < g.l1Entries(h.Size) {
		return engine.Errf(engine.ErrCorrupt, "L1 table is too small")
	}
	return h.validateFeatures()
}

func (h *Header) validateFeatures() error {
	compressed := h.Incompatible&IncompatCompression != 0
	switch {
	case h.CompressionType > compressionZstd:
		return engine.Errf(engine.ErrUnsupported, "unknown compression type: %d", h.CompressionType)
	case compressed && h.CompressionType == compressionZlib:
		return engine.Errf(engine.ErrCorrupt, "compression type bit is set, but the type is the default (zlib)")
	case !compressed && h.CompressionType != compressionZlib:
		return engine.Errf(engine.ErrCorrupt, "compression type %d without the compression type bit", h.CompressionType)
	case h.Autoclear&AutoclearDataRaw != 0 && h.Incompatible&IncompatDataFile == 0:
		return nil // the bit means nothing without a data file
	}
	return nil
}
