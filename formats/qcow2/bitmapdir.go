package qcow2

import "github.com/blkbench/blkbench/engine"

// Flags of a bitmap. qcow2.txt "Bitmap directory".
const (
	BitmapInUse           uint32 = 1 << 0
	BitmapAuto            uint32 = 1 << 1
	BitmapExtraCompatible uint32 = 1 << 2
	bitmapReserved               = ^(BitmapInUse | BitmapAuto | BitmapExtraCompatible)
)

const (
	bitmapTypeDirty    = 1
	minGranularityBits = 9
	maxGranularityBits = 31
	bitmapHeadLen      = 24 // bytes
)

// BitmapExtension is the content of the bitmaps header extension. qcow2.txt "Bitmaps extension".
type BitmapExtension struct {
	Count           uint32
	DirectorySize   uint64 // bytes
	DirectoryOffset uint64
}

// ParseBitmapExtension reads the extension's data.
func ParseBitmapExtension(b []byte, clusterMask int64) (x BitmapExtension, err error) {
	if len(b) != 24 {
		return x, engine.Errf(engine.ErrCorrupt, "bitmaps_ext: Invalid extension length")
	}
	x = BitmapExtension{be.Uint32(b), be.Uint64(b[8:]), be.Uint64(b[16:])}
	switch {
	case be.Uint32(b[4:]) != 0:
		return x, engine.Errf(engine.ErrCorrupt, "bitmaps_ext: Reserved field is not zero")
	case x.Count == 0:
		return x, engine.Errf(engine.ErrCorrupt, "found bitmaps extension with zero bitmaps")
	case x.Count > maxBitmaps:
		return x, engine.Errf(engine.ErrRange, "bitmaps_ext: image has %d bitmaps, exceeding the QEMU supported maximum of %d", x.Count, maxBitmaps)
	case x.DirectoryOffset&uint64(clusterMask) != 0 || x.DirectoryOffset == 0 || x.DirectoryOffset > 1<<62:
		return x, engine.Errf(engine.ErrCorrupt, "bitmaps_ext: invalid bitmap directory offset")
	case x.DirectorySize > maxBitmapDirectory:
		return x, engine.Errf(engine.ErrRange, "bitmaps_ext: bitmap directory size (%d) exceeds the maximum supported size (%d)",
			x.DirectorySize, maxBitmapDirectory)
	}
	return x, nil
}

// Marshal writes the extension's data.
func (x BitmapExtension) Marshal() []byte {
	b := be.AppendUint32(nil, x.Count)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint64(b, x.DirectorySize)
	return be.AppendUint64(b, x.DirectoryOffset)
}

// BitmapRecord is an entry of the bitmap directory.
type BitmapRecord struct {
	TableOffset     uint64
	TableSize       uint32 // entries
	Flags           uint32
	Type            uint8
	GranularityBits uint8
	Name            string
	Extra           []byte
}

// ParseBitmapDirectory reads a directory of count entries that takes all of b.
func ParseBitmapDirectory(b []byte, count int, clusterMask int64) ([]BitmapRecord, error) {
	var list []BitmapRecord
	seen := make(map[string]bool)
	for i := range count {
		if len(b) < bitmapHeadLen {
			return list, engine.Errf(engine.ErrCorrupt, "bitmap directory ends inside entry %d", i)
		}
		r := BitmapRecord{
			TableOffset: be.Uint64(b), TableSize: be.Uint32(b[8:]), Flags: be.Uint32(b[12:]), Type: b[16], GranularityBits: b[17],
		}
		nameLen, extra := int(be.Uint16(b[18:])), uint64(be.Uint32(b[20:]))
		n := bitmapHeadLen + extra + uint64(nameLen)
		if n > uint64(len(b)) {
			return list, engine.Errf(engine.ErrCorrupt, "bitmap directory ends inside entry %d", i)
		}
		if extra > 0 {
			r.Extra = append([]byte(nil), b[bitmapHeadLen:bitmapHeadLen+extra]...)
		}
		r.Name = string(b[bitmapHeadLen+extra : n])
		if err := r.validate(clusterMask); err != nil {
			return list, err
		}
		if seen[r.Name] {
			return list, engine.Errf(engine.ErrCorrupt, "bitmap directory has two bitmaps called '%s'", r.Name)
		}
		seen[r.Name] = true
		list = append(list, r)
		b = b[min((n+7)&^7, uint64(len(b))):]
	}
	if len(b) != 0 {
		return list, engine.Errf(engine.ErrCorrupt, "bitmap directory has %d bytes behind its last entry", len(b))
	}
	return list, nil
}

func (r *BitmapRecord) validate(clusterMask int64) error {
	switch {
	case len(r.Name) == 0 || len(r.Name) > maxBitmapName:
		return engine.Errf(engine.ErrCorrupt, "bitmap name of %d bytes", len(r.Name))
	case r.TableSize == 0 || r.TableSize > maxBitmapTable:
		return engine.Errf(engine.ErrCorrupt, "bitmap '%s': table of %d entries", r.Name, r.TableSize)
	case r.TableOffset == 0 || r.TableOffset&uint64(clusterMask) != 0 || r.TableOffset > 1<<62:
		return engine.Errf(engine.ErrCorrupt, "bitmap '%s': table offset %#x", r.Name, r.TableOffset)
	case r.GranularityBits < minGranularityBits || r.GranularityBits > maxGranularityBits:
		return engine.Errf(engine.ErrUnsupported, "bitmap '%s': granularity of 2^%d bytes", r.Name, r.GranularityBits)
	case r.Flags&bitmapReserved != 0 || r.Type != bitmapTypeDirty:
		return engine.Errf(engine.ErrUnsupported, "bitmap '%s': type %d, flags %#x", r.Name, r.Type, r.Flags)
	}
	return nil
}

// maxBitmapTable is the most entries of a bitmap table, as QEMU has it.
const maxBitmapTable = 0x8000000

// MarshalBitmapDirectory writes a directory.
func MarshalBitmapDirectory(list []BitmapRecord) []byte {
	var b []byte
	for i := range list {
		r := &list[i]
		start := len(b)
		b = be.AppendUint64(b, r.TableOffset)
		b = be.AppendUint32(b, r.TableSize)
		b = be.AppendUint32(b, r.Flags)
		b = append(b, r.Type, r.GranularityBits)
		b = be.AppendUint16(b, uint16(len(r.Name)))
		b = be.AppendUint32(b, uint32(len(r.Extra)))
		b = append(b, r.Extra...)
		b = append(b, r.Name...)
		b = append(b, make([]byte, -(len(b)-start)&7)...)
	}
	return b
}

// bitmapEntry is an entry of a bitmap table. qcow2.txt "Bitmap table".
type bitmapEntry uint64

func (e bitmapEntry) offset() int64 { return int64(e & offsetMask) }

func (e bitmapEntry) ones() bool { return e&offsetMask == 0 && e&1 != 0 }

func (e bitmapEntry) valid(clusterMask int64) bool {
	reserved := ^uint64(offsetMask) &^ 1
	if e.offset() != 0 {
		reserved |= 1
	}
	return uint64(e)&reserved == 0 && e.offset()&clusterMask == 0
}
