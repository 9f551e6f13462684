package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	magic      = "blkbVRF1"
	headerSize = 64 // without the checksum of the block
	crcAt      = 60
)

// Header is what a block says about itself.
type Header struct {
	Kind     Kind
	Job      uint32
	Seed     uint64
	Off      int64
	Len      uint32
	Sequence uint64
	Time     int64 // Unix nanoseconds
}

// size is how long the header is with the checksum behind it.
func (h *Header) size() int { return headerSize + kindLengths[h.Kind] }

// put writes the fixed part; the checksum is the caller's.
func (h *Header) put(b []byte) {
	b = b[:headerSize]
	le := binary.LittleEndian
	copy(b, magic)
	b[8], b[9] = byte(h.Kind), byte(kindLengths[h.Kind])
	le.PutUint16(b[10:], uint16(h.size()))
	le.PutUint32(b[12:], h.Job)
	le.PutUint64(b[16:], h.Seed)
	le.PutUint64(b[24:], uint64(h.Off))
	le.PutUint32(b[32:], h.Len)
	le.PutUint32(b[36:], 0)
	le.PutUint64(b[40:], h.Sequence)
	le.PutUint64(b[48:], uint64(h.Time))
	le.PutUint32(b[56:], 0)
	le.PutUint32(b[crcAt:], crc32.Checksum(b[:crcAt], castagnoli))
}

// Errors of ParseHeader.
var (
	errNoMagic   = errors.New("no header")
	errHeaderSum = errors.New("header checksum is wrong")
)

// ParseHeader reads a header and says what is wrong with it. A header with a
// good checksum of its own may still say what no header of ours would.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return Header{}, errNoMagic
	}
	le := binary.LittleEndian
	if crc32.Checksum(b[:crcAt], castagnoli) != le.Uint32(b[crcAt:]) {
		return Header{}, errHeaderSum
	}
	h := Header{
		Kind: Kind(b[8]), Job: le.Uint32(b[12:]), Seed: le.Uint64(b[16:]), Off: int64(le.Uint64(b[24:])),
		Len: le.Uint32(b[32:]), Sequence: le.Uint64(b[40:]), Time: int64(le.Uint64(b[48:])),
	}
	if !h.Kind.Header() || int(b[9]) != kindLengths[h.Kind] || int(le.Uint16(b[10:])) != h.size() {
		return Header{}, fmt.Errorf("header names check %d with %d bytes", b[8], b[9])
	}
	return h, nil
}
