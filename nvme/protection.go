package nvme

import (
	"encoding/binary"
	"fmt"
)

// Protection information: 8 bytes of a block's metadata, the guard over the data (and the metadata before it), an
// application tag and a reference tag, big-endian. NVM Command Set 1.0d §5.2, figure 108

// ProtectionSize is the size of the 16-bit guard format.
const ProtectionSize = 8

// Protection describes how a namespace keeps protection information.
type Protection struct {
	Type         uint8 // 1 to 3
	BlockSize    int
	MetadataSize int
	First        bool // in the first 8 bytes of the metadata, else in the last
	Extended     bool // metadata behind each block's data, else in a buffer of its own
}

// Protection is how the namespace keeps protection information, false when it keeps none.
func (n *Namespace) Protection() (Protection, bool) {
	return Protection{
		Type: n.Identity.ProtectionType(), BlockSize: int(n.BlockSize), MetadataSize: int(n.MetadataSize),
		First: n.Identity.ProtectionFirst(), Extended: n.Extended,
	}, n.Identity.ProtectionType() != 0 && n.MetadataSize >= ProtectionSize
}

// crcTable is for the CRC-16/T10-DIF: polynomial 0x8bb7, not reflected. SBC-3 §4.22.4
var crcTable = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x8bb7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

func crcT10(crc uint16, p []byte) uint16 {
	for _, b := range p {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^b]
	}
	return crc
}

// block finds block i's data and metadata in the buffers.
func (p Protection) block(i int, data, meta []byte) (block, blockMeta []byte) {
	if p.Extended {
		b := data[i*(p.BlockSize+p.MetadataSize):][:p.BlockSize+p.MetadataSize]
		return b[:p.BlockSize], b[p.BlockSize:]
	}
	return data[i*p.BlockSize:][:p.BlockSize], meta[i*p.MetadataSize:][:p.MetadataSize]
}

// tuple is where the 8 bytes are, and the guard of what it covers.
func (p Protection) tuple(block, meta []byte) (tuple []byte, guard uint16) {
	guard = crcT10(0, block)
	if p.First {
		return meta[:ProtectionSize], guard
	}
	at := p.MetadataSize - ProtectionSize
	return meta[at:], crcT10(guard, meta[:at])
}

// reference is the reference tag of block i: it counts up except in type 3.
func (p Protection) reference(initial uint32, i int) uint32 {
	if p.Type == 3 {
		return initial
	}
	return initial + uint32(i)
}

// Generate fills in the protection information of count blocks.
func (p Protection) Generate(count int, data, meta []byte, refTag uint32, appTag uint16) {
	for i := range count {
		block, m := p.block(i, data, meta)
		t, guard := p.tuple(block, m)
		binary.BigEndian.PutUint16(t, guard)
		binary.BigEndian.PutUint16(t[2:], appTag)
		binary.BigEndian.PutUint32(t[4:], p.reference(refTag, i))
	}
}

// Check verifies the protection information of count blocks and names the first that is wrong. An application tag of
// 0xffff (in type 3 together with the reference tag 0xffffffff) switches a block's checks off.
// NVM Command Set 1.0d §5.2.3
func (p Protection) Check(count int, data, meta []byte, refTag uint32, appTag, appMask uint16) error {
	for i := range count {
		block, m := p.block(i, data, meta)
		t, guard := p.tuple(block, m)
		app, ref := binary.BigEndian.Uint16(t[2:]), binary.BigEndian.Uint32(t[4:])
		if app == 0xffff && (p.Type != 3 || ref == 0xffffffff) {
			continue
		}
		if g := binary.BigEndian.Uint16(t); g != guard {
			return fmt.Errorf("block %d: guard %#04x, want %#04x", i, g, guard)
		}
		if app&appMask != appTag&appMask {
			return fmt.Errorf("block %d: application tag %#04x, want %#04x under mask %#04x", i, app, appTag, appMask)
		}
		if want := p.reference(refTag, i); p.Type != 3 && ref != want {
			return fmt.Errorf("block %d: reference tag %#x, want %#x", i, ref, want)
		}
	}
	return nil
}
