package wire

import "math/bits"

// BlockSizes are the constraints of an export in bytes. proto.md "Block size constraints"
type BlockSizes struct {
	Min, Pref, Max uint32
}

// Validate checks what the protocol says of them: minimum a power of two of at most 64 KiB, preferred a power of two of at least 512
// and the minimum, at most 32 MiB, maximum the largest number or a multiple of the minimum and not below the preferred (a smaller one
// is met: where the export itself is smaller).
func (s BlockSizes) Validate() error {
	switch {
	case bits.OnesCount32(s.Min) != 1, s.Min > 64<<10:
		return malformed("minimum block size %d is no power of two up to 64 KiB", s.Min)
	case bits.OnesCount32(s.Pref) != 1, s.Pref < 512, s.Pref < s.Min, s.Pref > 32<<20:
		return malformed("preferred block size %d is no power of two from %d to 32 MiB", s.Pref, max(512, s.Min))
	case s.Max < s.Min:
		return malformed("maximum block size %d is below the minimum %d", s.Max, s.Min)
	case s.Max != 1<<32-1 && s.Max%s.Min != 0:
		return malformed("maximum block size %d is no multiple of the minimum %d", s.Max, s.Min)
	}
	return nil
}

// AppendInfoExport appends the data of an INFO reply: size and flags.
func AppendInfoExport(b []byte, e Export) []byte {
	b = be.AppendUint16(b, uint16(InfoExport))
	b = be.AppendUint64(b, e.Size)
	return be.AppendUint16(b, uint16(e.Flags))
}

// AppendInfoBlockSize appends the data of an INFO reply: block sizes.
func AppendInfoBlockSize(b []byte, s BlockSizes) []byte {
	b = be.AppendUint16(b, uint16(InfoBlockSize))
	b = be.AppendUint32(b, s.Min)
	b = be.AppendUint32(b, s.Pref)
	return be.AppendUint32(b, s.Max)
}

// AppendInfoText appends the data of an INFO reply: a name or a description.
func AppendInfoText(b []byte, i Info, text string) []byte {
	return append(be.AppendUint16(b, uint16(i)), text...)
}

// InfoItem is the data of an INFO reply: what Info says which field holds. A view.
type InfoItem struct {
	Info   Info
	Export Export
	Blocks BlockSizes
	Text   []byte
}

// ParseInfo reads the data of an INFO reply. A fact that is not known is no error and has no fields.
func ParseInfo(b []byte) (InfoItem, error) {
	if len(b) < 2 {
		return InfoItem{}, malformed("information of %d bytes", len(b))
	}
	it := InfoItem{Info: Info(be.Uint16(b))}
	b = b[2:]
	var err error
	switch it.Info {
	case InfoExport:
		if len(b) != ExportNameSize {
			return it, malformed("INFO_EXPORT of %d bytes", len(b))
		}
		it.Export, err = ParseExport(b)
	case InfoBlockSize:
		if len(b) != 12 {
			return it, malformed("INFO_BLOCK_SIZE of %d bytes", len(b))
		}
		it.Blocks = BlockSizes{be.Uint32(b), be.Uint32(b[4:]), be.Uint32(b[8:])}
		err = it.Blocks.Validate()
	case InfoName, InfoDescription:
		it.Text, err = b, ValidString(b)
	}
	return it, err
}
