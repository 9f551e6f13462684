package nvme

import "fmt"

// LBAFormat is an LBA format descriptor. NVM Command Set 1.0d §4.1.5.1, figure 98
type LBAFormat struct {
	MS    uint16 // metadata bytes per block
	LBADS uint8  // data bytes per block, as a power of two
	RP    uint8
}

// DataSize is the data size of a block in bytes, 0 when the format is not available.
func (f LBAFormat) DataSize() uint32 {
	if f.LBADS < 9 || f.LBADS > 31 {
		return 0
	}
	return 1 << f.LBADS
}

// IdentifyNamespace is the Identify Namespace data structure of the NVM command set. Raw keeps what has no field.
// NVM Command Set 1.0d §4.1.5.1, figure 97
type IdentifyNamespace struct {
	NSZE     uint64
	NCAP     uint64
	NUSE     uint64
	NSFEAT   uint8
	NLBAF    uint8
	FLBAS    uint8
	MC       uint8
	DPC      uint8
	DPS      uint8
	NMIC     uint8
	RESCAP   uint8
	FPI      uint8
	DLFEAT   uint8
	NAWUN    uint16
	NAWUPF   uint16
	NACWU    uint16
	NABSN    uint16
	NABO     uint16
	NABSPF   uint16
	NOIOB    uint16
	NVMCAP   Uint128
	NPWG     uint16
	NPWA     uint16
	NPDG     uint16
	NPDA     uint16
	NOWS     uint16
	MSSRL    uint16
	MCL      uint32
	MSRC     uint8
	NULBAF   uint8
	ANAGRPID uint32
	NSATTR   uint8
	NVMSETID uint16
	ENDGID   uint16
	NGUID    [16]byte
	EUI64    [8]byte
	LBAF     [64]LBAFormat
	VS       []byte // vendor specific bytes
	Raw      []byte
}

// ParseIdentifyNamespace decodes the 4096 bytes of CNS 00h. b is kept.
func ParseIdentifyNamespace(b []byte) (*IdentifyNamespace, error) {
	if len(b) < IdentifySize {
		return nil, fmt.Errorf("identify namespace data of %d bytes", len(b))
	}
	u16, u32, u64 := le.Uint16, le.Uint32, le.Uint64
	n := &IdentifyNamespace{
		NSZE: u64(b), NCAP: u64(b[8:]), NUSE: u64(b[16:]), NSFEAT: b[24], NLBAF: b[25], FLBAS: b[26], MC: b[27],
		DPC: b[28], DPS: b[29], NMIC: b[30], RESCAP: b[31], FPI: b[32], DLFEAT: b[33], NAWUN: u16(b[34:]),
		NAWUPF: u16(b[36:]), NACWU: u16(b[38:]), NABSN: u16(b[40:]), NABO: u16(b[42:]), NABSPF: u16(b[44:]),
		NOIOB: u16(b[46:]), NVMCAP: uint128(b[48:]), NPWG: u16(b[64:]), NPWA: u16(b[66:]), NPDG: u16(b[68:]),
		NPDA: u16(b[70:]), NOWS: u16(b[72:]), MSSRL: u16(b[74:]), MCL: u32(b[76:]), MSRC: b[80], NULBAF: b[82],
		ANAGRPID: u32(b[92:]), NSATTR: b[99], NVMSETID: u16(b[100:]), ENDGID: u16(b[102:]),
		NGUID: [16]byte(b[104:120]), EUI64: [8]byte(b[120:128]), VS: b[384:4096], Raw: b[:IdentifySize],
	}
	for i := range n.LBAF {
		f := b[128+4*i:]
		n.LBAF[i] = LBAFormat{MS: u16(f), LBADS: f[2], RP: f[3] & 3}
	}
	return n, nil
}

// FormatIndex is the LBA format in use: FLBAS bits 3:0, with bits 6:5 above them where more than 16 formats exist.
func (n *IdentifyNamespace) FormatIndex() int {
	i := int(n.FLBAS & 0xf)
	if n.NLBAF >= 16 {
		i |= int(n.FLBAS>>5&3) << 4
	}
	return i
}

// Format is the LBA format in use.
func (n *IdentifyNamespace) Format() LBAFormat { return n.LBAF[n.FormatIndex()] }

// Extended says that metadata follows each block's data in the data buffer.
func (n *IdentifyNamespace) Extended() bool { return n.FLBAS&(1<<4) != 0 && n.Format().MS != 0 }

// ProtectionType is the end-to-end protection type, 0 for none.
func (n *IdentifyNamespace) ProtectionType() uint8 { return n.DPS & 7 }

// ProtectionFirst says that protection information is the first 8 bytes of the metadata, not the last.
func (n *IdentifyNamespace) ProtectionFirst() bool { return n.DPS&(1<<3) != 0 }

// ReadsZeroes says that a deallocated block reads as zeroes. NVM Command Set 1.0d §4.1.5.1, "DLFEAT"
func (n *IdentifyNamespace) ReadsZeroes() bool { return n.DLFEAT&7 == 1 }

// ParseNamespaceList decodes CNS 02h or 10h: up to 1024 identifiers in ascending order, 0 ends the list.
func ParseNamespaceList(b []byte) []uint32 {
	var ids []uint32
	for i := 0; i+4 <= min(len(b), IdentifySize); i += 4 {
		id := le.Uint32(b[i:])
		if id == 0 {
			break
		}
		ids = append(ids, id)
	}
	return ids
}

// ParseControllerList decodes CNS 12h or 13h.
func ParseControllerList(b []byte) []uint16 {
	if len(b) < 2 {
		return nil
	}
	n := min(int(le.Uint16(b)), len(b)/2-1, 2047)
	ids := make([]uint16, n)
	for i := range ids {
		ids[i] = le.Uint16(b[2+2*i:])
	}
	return ids
}

// NamespaceDescriptor is one identifier of a namespace. NVMe Base 2.0d §5.17.2.3, figure 277
type NamespaceDescriptor struct {
	NIDT uint8 // 1 EUI64, 2 NGUID, 3 UUID, 4 CSI
	NID  []byte
}

// ParseNamespaceDescriptors decodes CNS 03h.
func ParseNamespaceDescriptors(b []byte) ([]NamespaceDescriptor, error) {
	var out []NamespaceDescriptor
	for off := 0; off+4 <= len(b) && b[off+1] != 0; {
		n := int(b[off+1])
		if off+4+n > len(b) {
			return out, fmt.Errorf("namespace descriptor at %#x: %d bytes beyond the end", off, n)
		}
		out = append(out, NamespaceDescriptor{NIDT: b[off], NID: b[off+4 : off+4+n]})
		off += 4 + n
	}
	return out, nil
}
