package verify

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"

	"github.com/cespare/xxhash/v2"
)

// Kind is a way to check blocks, numbered as in block headers.
type Kind uint8

// The kinds, with fio's names. Meta has a header and no checksum, Pattern
// neither, and Null checks nothing.
const (
	None Kind = iota
	CRC32C
	XXHash
	CRC32
	CRC64
	CRC16
	CRC7
	MD5
	SHA1
	SHA256
	SHA512
	SHA3x224
	SHA3x256
	SHA3x384
	SHA3x512
	Meta
	Pattern
	Null
	kinds
)

var kindNames = [kinds]string{
	"none", "crc32c", "xxhash", "crc32", "crc64", "crc16", "crc7", "md5", "sha1", "sha256", "sha512",
	"sha3-224", "sha3-256", "sha3-384", "sha3-512", "meta", "pattern", "null",
}

var kindLengths = [kinds]int{0, 4, 8, 4, 8, 2, 1, 16, 20, 32, 64, 28, 32, 48, 64, 0, 0, 0}

func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// KindByName finds a kind by fio's name; crc32c-intel is crc32c.
func KindByName(name string) (Kind, bool) {
	if name == "crc32c-intel" {
		return CRC32C, true
	}
	for k, n := range kindNames {
		if n == name && k != int(None) {
			return Kind(k), true
		}
	}
	return None, false
}

// Header says whether blocks of this kind have a header.
func (k Kind) Header() bool { return k != None && k < Pattern }

// maxDigest is the longest checksum.
const maxDigest = 64

// digester computes checksums of a kind without allocating.
type digester struct {
	kind Kind
	h    hash.Hash // for the cryptographic kinds
	sum  uint64    // running value of the others
	xx   xxhash.Digest
	out  [maxDigest]byte
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	crc64ISO   = crc64.MakeTable(crc64.ISO)
)

func newDigester(k Kind) *digester {
	d := &digester{kind: k}
	switch k {
	case MD5:
		d.h = md5.New()
	case SHA1:
		d.h = sha1.New()
	case SHA256:
		d.h = sha256.New()
	case SHA512:
		d.h = sha512.New()
	case SHA3x224:
		d.h = sha3.New224()
	case SHA3x256:
		d.h = sha3.New256()
	case SHA3x384:
		d.h = sha3.New384()
	case SHA3x512:
		d.h = sha3.New512()
	default: // no state
	}
	return d
}

// of is the checksum of two parts of a block, valid until the next call.
func (d *digester) of(a, b []byte) []byte {
	d.start()
	d.add(a)
	d.add(b)
	return d.finish()
}

func (d *digester) start() {
	d.sum = 0
	switch {
	case d.h != nil:
		d.h.Reset()
	case d.kind == XXHash:
		d.xx.Reset()
	}
}

func (d *digester) add(p []byte) {
	if len(p) == 0 {
		return
	}
	switch d.kind {
	case CRC32C:
		d.sum = uint64(crc32.Update(uint32(d.sum), castagnoli, p))
	case CRC32:
		d.sum = uint64(crc32.Update(uint32(d.sum), crc32.IEEETable, p))
	case CRC64:
		d.sum = crc64.Update(d.sum, crc64ISO, p)
	case CRC16:
		d.sum = uint64(updateCRC16(uint16(d.sum), p))
	case CRC7:
		d.sum = uint64(updateCRC7(uint8(d.sum), p))
	case XXHash:
		_, _ = d.xx.Write(p) // never fails
	default:
		if d.h != nil {
			d.h.Write(p)
		}
	}
}

func (d *digester) finish() []byte {
	n := kindLengths[d.kind]
	if d.h != nil {
		return d.h.Sum(d.out[:0])
	}
	if d.kind == XXHash {
		d.sum = d.xx.Sum64()
	}
	binary.LittleEndian.PutUint64(d.out[:], d.sum)
	return d.out[:n]
}

// crc16Table is CRC-16/ARC: x^16 + x^15 + x^2 + 1, lowest bit first.
var crc16Table = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i)
		for range 8 {
			c = c>>1 ^ c&1*0xa001
		}
		t[i] = c
	}
	return t
}()

func updateCRC16(c uint16, p []byte) uint16 {
	for _, b := range p {
		c = c>>8 ^ crc16Table[uint8(c)^b]
	}
	return c
}

// crc7Table is CRC-7/MMC: x^7 + x^3 + 1, highest bit first, in the upper seven
// bits of a byte.
var crc7Table = func() (t [256]uint8) {
	for i := range t {
		c := uint8(i)
		for range 8 {
			c = c<<1 ^ c>>7*0x12
		}
		t[i] = c
	}
	return t
}()

func updateCRC7(c uint8, p []byte) uint8 {
	for _, b := range p {
		c = crc7Table[c^b]
	}
	return c
}
