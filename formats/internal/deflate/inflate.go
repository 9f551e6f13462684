package deflate

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"sync"
)

// ErrCorrupt says that the input is no valid stream, or is one that ends before the destination is full.
var ErrCorrupt = errors.New("deflate: corrupt stream")

// A table entry is 32 bits: the bits to consume in bits 0-7, and
//
//	one or two literals   entryLiteral, how many in bits 24-25, their values in bits 8-15 and 16-23
//	a length or distance  the extra bits in bits 8-12, the base in bits 13-28
//	the end of the block  entryEnd
//	a longer code word    entrySub, the place of its table in bits 13-28, the bits that index it in bits 8-12
//
// Zero is a code word that there is not.
const (
	entryLiteral = 1 << 31
	entryEnd     = 1 << 30
	entrySub     = 1 << 29
)

const (
	litLenBits = 11
	distBits   = 8
	litLenSize = 1 << 13 // of 286 symbols at most 143 subtables of 16
	distSize   = 1 << 12 // of 30 symbols at most 15 subtables of 128
)

type inflater struct {
	litLen [litLenSize]uint32
	dist   [distSize]uint32
	fixed  bool // the tables are those of fixed blocks

	lens [litLenSyms + 2 + 32 + maxMatch]uint8
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// Inflate fills dst from the stream that src starts with. What the stream has besides, and what follows it, is ignored.
func Inflate(dst, src []byte) error {
	d := inflaters.Get().(*inflater)
	err := d.inflate(dst, src)
	inflaters.Put(d)
	return err
}

// bitReader holds what is read and not used yet; bits above n are undefined in the fast loop and zero elsewhere.
type bitReader struct {
	src []byte
	pos int
	buf uint64
	n   uint // valid bits
	pad uint // of them, bits beyond the end of src
}

// need makes at least k bits valid, k ≤ 48; beyond the end of src they are zero.
func (b *bitReader) need(k uint) {
	for b.n < k {
		if b.pos < len(b.src) {
			b.buf |= uint64(b.src[b.pos]) << b.n
			b.pos++
		} else {
			b.pad += 8
		}
		b.n += 8
	}
}

func (b *bitReader) take(k uint) uint32 {
	b.need(k)
	v := uint32(b.buf & (1<<k - 1))
	b.drop(k)
	return v
}

func (b *bitReader) drop(k uint) {
	b.buf >>= k
	b.n -= k
}

// over reports whether more bits were used than there are.
func (b *bitReader) over() bool { return b.pad > b.n }

func (d *inflater) inflate(dst, src []byte) error {
	b := bitReader{src: src}
	at := 0
	for at < len(dst) {
		last, kind := b.take(1), b.take(2)
		var err error
		switch kind {
		case blockStored:
			at, err = stored(&b, dst, at)
		case blockFixed:
			if !d.fixed {
				if !buildLitLen(&d.litLen, fixedLitLen[:]) || !buildDist(&d.dist, fixedDist[:]) {
					return ErrCorrupt
				}
				d.fixed = true
			}
			at, err = d.block(&b, dst, at)
		case blockDynamic:
			d.fixed = false
			if !d.readTables(&b) {
				return ErrCorrupt
			}
			at, err = d.block(&b, dst, at)
		default:
			err = ErrCorrupt
		}
		if err != nil {
			return err
		}
		if b.over() || (last != 0 && at < len(dst)) {
			return ErrCorrupt
		}
	}
	return nil
}

// stored copies a stored block. RFC 1951 §3.2.4.
func stored(b *bitReader, dst []byte, at int) (int, error) {
	b.drop(b.n & 7)
	n, inverse := b.take(16), b.take(16)
	if n != inverse^0xffff || b.over() {
		return at, ErrCorrupt
	}
	for n > 0 && b.n > 0 && at < len(dst) {
		dst[at] = byte(b.take(8))
		at++
		n--
	}
	k := copy(dst[at:], b.src[b.pos:min(len(b.src), b.pos+int(n))])
	b.pos += k
	at += k
	if k < int(n) && at < len(dst) {
		return at, ErrCorrupt
	}
	return at, nil
}

// readTables reads the codes of a dynamic block. RFC 1951 §3.2.7.
func (d *inflater) readTables(b *bitReader) bool {
	nLit, nDist, nCode := int(b.take(5))+257, int(b.take(5))+1, int(b.take(4))+4
	if nLit > litLenSyms || nDist > distSyms {
		return false
	}
	var codeLens [codeSyms]uint8
	for _, s := range codeOrder[:nCode] {
		codeLens[s] = uint8(b.take(3))
	}
	var table [1 << maxCodeBits]uint8 // symbol<<3 | bits; 0: none
	if !buildCodes(&table, &codeLens) {
		return false
	}
	lens := d.lens[:nLit+nDist]
	for i := 0; i < len(lens); {
		b.need(14)
		e := table[b.buf&(1<<maxCodeBits-1)]
		if e == 0 || b.over() {
			return false
		}
		b.drop(uint(e & 7))
		s := e >> 3
		if s < 16 {
			lens[i] = s
			i++
			continue
		}
		var v uint8
		var n int
		switch s {
		case 16:
			if i == 0 {
				return false
			}
			v, n = lens[i-1], 3+int(b.take(2))
		case 17:
			n = 3 + int(b.take(3))
		default:
			n = 11 + int(b.take(7))
		}
		if n > len(lens)-i {
			return false
		}
		for ; n > 0; n-- {
			lens[i] = v
			i++
		}
	}
	return lens[endOfBlock] != 0 && buildLitLen(&d.litLen, lens[:nLit]) && buildDist(&d.dist, lens[nLit:])
}

func buildCodes(table *[1 << maxCodeBits]uint8, lens *[codeSyms]uint8) bool {
	_, next, ok := codes(lens[:])
	if !ok {
		return false
	}
	for s, l := range lens {
		if l == 0 {
			continue
		}
		c := reverse(next[l], l)
		next[l]++
		for i := int(c); i < len(table); i += 1 << l {
			table[i] = uint8(s)<<3 | l
		}
	}
	return true
}

// codes counts the code words of each length and returns the first of each; ok is false when they are too many, or too few and not just
// one (which encoders use when only one distance occurs).
func codes(lens []uint8) (count, next [maxBits + 1]uint16, ok bool) {
	for _, l := range lens {
		count[l&maxBits]++
	}
	count[0] = 0
	code, left, used := uint16(0), 1, 0
	for l := 1; l <= maxBits; l++ {
		code = (code + count[l-1]) << 1
		next[l] = code
		left = left<<1 - int(count[l])
		used += int(count[l])
		if left < 0 {
			return count, next, false
		}
	}
	return count, next, left == 0 || used <= 1
}

func reverse(code uint16, n uint8) uint16 { return bits.Reverse16(code) >> (16 - n) }

func buildLitLen(t *[litLenSize]uint32, lens []uint8) bool {
	ok := build(t[:], litLenBits, lens, func(s int) uint32 {
		switch {
		case s < 256:
			return entryLiteral | 1<<24 | uint32(s)<<8
		case s == endOfBlock:
			return entryEnd
		case s < litLenSyms:
			return uint32(lengthExtra[s-257])<<8 | uint32(lengthBase[s-257])<<13
		}
		return 0
	})
	if !ok {
		return false
	}
	// Two short literals behind one another are one entry. From the top: the second's entry is still single.
	for i := 1<<litLenBits - 1; i >= 0; i-- {
		e := t[i]
		if e&entryLiteral == 0 {
			continue
		}
		n := e & 0xff
		second := t[i>>n]
		if second&entryLiteral != 0 && second>>24&3 == 1 && n+second&0xff <= litLenBits {
			t[i] = entryLiteral | 2<<24 | second>>8&0xff<<16 | e&0xff00 | (n + second&0xff)
		}
	}
	return true
}

func buildDist(t *[distSize]uint32, lens []uint8) bool {
	return build(t[:], distBits, lens, func(s int) uint32 {
		if s >= distSyms {
			return 0
		}
		return uint32(distExtra[s])<<8 | uint32(distBase[s])<<13
	})
}

// build fills a table that is indexed by the next primary bits, with tables for longer code words behind it.
func build(t []uint32, primary uint8, lens []uint8, entry func(s int) uint32) bool {
	count, next, ok := codes(lens)
	if !ok {
		return false
	}
	clear(t[:1<<primary])
	longest := uint8(maxBits)
	for longest > 0 && count[longest] == 0 {
		longest--
	}
	free := 1 << primary
	sub := longest - min(longest, primary)
	for s, l := range lens {
		if l == 0 {
			continue
		}
		c := int(reverse(next[l], l))
		next[l]++
		e := entry(s)
		if e == 0 {
			continue
		}
		if l <= primary {
			for i := c; i < 1<<primary; i += 1 << l {
				t[i] = e | uint32(l)
			}
			continue
		}
		root := c & (1<<primary - 1)
		if t[root] == 0 {
			if free+1<<sub > len(t) {
				return false
			}
			clear(t[free : free+1<<sub])
			t[root] = entrySub | uint32(free)<<13 | uint32(sub)<<8 | uint32(primary)
			free += 1 << sub
		}
		at := int(t[root] >> 13 & 0xffff)
		for i := c >> primary; i < 1<<sub; i += 1 << (l - primary) {
			t[at+i] = e | uint32(l-primary)
		}
	}
	return true
}

// fastMargin is how much of dst one turn of the fast loop may write, its overshoot included.
const fastMargin = maxMatch + 32

// block decodes the symbols of a block up to its end, or until dst is full.
func (d *inflater) block(b *bitReader, dst []byte, at int) (int, error) {
	at, end, err := d.fast(b, dst, at)
	if end || err != nil {
		return at, err
	}
	return d.slow(b, dst, at)
}

// fast decodes while a turn of the loop can neither run past the end of src nor of dst. A turn starts with 56 valid bits at least, and with
// the entry of what they begin with: it is looked up before the copy of the turn before, whose time it so takes no part in.
func (d *inflater) fast(b *bitReader, dst []byte, at int) (int, bool, error) {
	src, pos, buf, n := b.src, b.pos, b.buf, b.n
	limit := len(dst) - fastMargin
	if at >= limit || pos+24 > len(src) {
		return at, false, nil
	}
	buf |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
	pos += int((63 - n) >> 3)
	n |= 56
	e := d.litLen[buf&(1<<litLenBits-1)]
	end := false
	for at < limit && pos+16 <= len(src) {
		if e&entryLiteral != 0 {
			// At most 11 bits each.
			binary.LittleEndian.PutUint16(dst[at:], uint16(e>>8))
			at += int(e >> 24 & 3)
			buf >>= e & 63
			n -= uint(e & 63)
			e = d.litLen[buf&(1<<litLenBits-1)]
			if e&entryLiteral != 0 {
				binary.LittleEndian.PutUint16(dst[at:], uint16(e>>8))
				at += int(e >> 24 & 3)
				buf >>= e & 63
				n -= uint(e & 63)
				e = d.litLen[buf&(1<<litLenBits-1)]
				if e&entryLiteral != 0 {
					binary.LittleEndian.PutUint16(dst[at:], uint16(e>>8))
					at += int(e >> 24 & 3)
					buf >>= e & 63
					n -= uint(e & 63)
					buf |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
					pos += int((63 - n) >> 3)
					n |= 56
					e = d.litLen[buf&(1<<litLenBits-1)]
					continue
				}
			}
			// 34 bits are left at least: a length may take 20, its distance is read after the next refill.
		}
		if e&entrySub != 0 {
			buf >>= litLenBits
			n -= litLenBits
			e = d.litLen[(e>>13&0xffff+uint32(buf)&(1<<(e>>8&31)-1))&(litLenSize-1)]
			if e&entryLiteral != 0 {
				dst[at] = byte(e >> 8)
				at++
				buf >>= e & 63
				n -= uint(e & 63)
				buf |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
				pos += int((63 - n) >> 3)
				n |= 56
				e = d.litLen[buf&(1<<litLenBits-1)]
				continue
			}
		}
		buf >>= e & 63
		n -= uint(e & 63)
		if e&entryEnd != 0 {
			end = true
			break
		}
		if e == 0 {
			return at, false, ErrCorrupt
		}
		extra := e >> 8 & 31
		length := int(e>>13&0xffff) + int(buf&(1<<extra-1))
		buf >>= extra
		n -= uint(extra)

		buf |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56
		e = d.dist[buf&(1<<distBits-1)]
		if e&entrySub != 0 {
			buf >>= distBits
			n -= distBits
			e = d.dist[(e>>13&0xffff+uint32(buf)&(1<<(e>>8&31)-1))&(distSize-1)]
		}
		buf >>= e & 63
		n -= uint(e & 63)
		extra = e >> 8 & 31
		dist := int(e>>13&0xffff) + int(buf&(1<<extra-1))
		if e == 0 || dist > at {
			return at, false, ErrCorrupt
		}
		buf >>= extra
		n -= uint(extra)
		e = d.litLen[buf&(1<<litLenBits-1)]
		buf |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56

		from := at - dist
		stop := at + length
		if dist < 8 {
			for ; at < stop; at, from = at+1, from+1 {
				dst[at] = dst[from]
			}
			continue
		}
		// Most matches are short: sixteen bytes without a look at the length.
		binary.LittleEndian.PutUint64(dst[at:], binary.LittleEndian.Uint64(dst[from:]))
		binary.LittleEndian.PutUint64(dst[at+8:], binary.LittleEndian.Uint64(dst[from+8:]))
		for length > 16 {
			at, from, length = at+16, from+16, length-16
			binary.LittleEndian.PutUint64(dst[at:], binary.LittleEndian.Uint64(dst[from:]))
			binary.LittleEndian.PutUint64(dst[at+8:], binary.LittleEndian.Uint64(dst[from+8:]))
		}
		at = stop
	}
	// Whole bytes that are not used go back.
	pos -= int(n >> 3)
	n &= 7
	b.pos, b.buf, b.n = pos, buf&(1<<n-1), n
	return at, end, nil
}

// slow decodes with every bound checked.
func (d *inflater) slow(b *bitReader, dst []byte, at int) (int, error) {
	for at < len(dst) {
		e := symbol(b, d.litLen[:], litLenBits)
		if b.over() {
			return at, ErrCorrupt
		}
		if e&entryLiteral != 0 {
			dst[at] = byte(e >> 8)
			at++
			if e>>24&3 == 2 && at < len(dst) {
				dst[at] = byte(e >> 16)
				at++
			}
			continue
		}
		if e&entryEnd != 0 {
			return at, nil
		}
		if e == 0 {
			return at, ErrCorrupt
		}
		length := int(e>>13&0xffff) + int(b.take(uint(e>>8&31)))
		e = symbol(b, d.dist[:], distBits)
		if e == 0 {
			return at, ErrCorrupt
		}
		dist := int(e>>13&0xffff) + int(b.take(uint(e>>8&31)))
		if dist > at || b.over() {
			return at, ErrCorrupt
		}
		for ; length > 0 && at < len(dst); length-- {
			dst[at] = dst[at-dist]
			at++
		}
	}
	return at, nil
}

// symbol decodes one symbol and consumes its code word; 0 when there is none.
func symbol(b *bitReader, t []uint32, primary uint) uint32 {
	b.need(maxBits)
	e := t[b.buf&(1<<primary-1)]
	if e&entrySub != 0 {
		b.drop(primary)
		e = t[int(e>>13&0xffff)+int(b.buf&(1<<(e>>8&31)-1))]
	}
	b.drop(uint(e & 0xff))
	return e
}
