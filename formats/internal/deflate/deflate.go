package deflate

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Effort says how hard a Deflater looks for matches.
type Effort struct {
	Chain int // candidates looked at per position
	Nice  int // a match of this length is taken without looking further
	Lazy  int // a match shorter than this may give way to a better one at the next byte; 0: never
}

// Efforts by level, from 1 to 9. At level 1, which 0 stands for, one candidate is looked at.
var efforts = [10]Effort{
	1: {}, 2: {4, 24, 0}, 3: {6, 32, 6}, 4: {8, 48, 16}, 5: {16, 64, 32}, 6: {28, 96, 64}, 7: {48, 130, 130}, 8: {128, 258, 258},
	9: {1024, 258, 258},
}

// Sizes of the hash tables, in bits.
const (
	hashBits4 = 13
	hashBits3 = 12
)

// blockTokens is how many tokens a block has at most: content changes, and with it the best code.
const blockTokens = 24 << 10

// Deflater compresses buffers. It is not for use by several goroutines at once.
type Deflater struct {
	effort Effort
	window int

	head4 [1 << hashBits4]int32 // last position + 1 of four bytes
	head3 [1 << hashBits3]int32 // of three
	prev  []int32               // position + 1 before that of the same hash, by position in the window

	tokens   []uint32 // a literal, or tokenMatch with length-3 and distance
	litFreq  [litLenSyms]uint32
	distFreq [distSyms]uint32

	coder         coder
	lit, dist     codeTable
	code          codeTable
	lens          [litLenSyms + distSyms]uint8
	runs          []uint16 // symbol of the code length alphabet | extra bits<<8
	fixedLiterals codeTable

	out []byte
	buf uint64
	n   uint
}

// tokenMatch marks a match: length-3 in bits 16-23, distance-1 in bits 0-14.
const tokenMatch = 1 << 31

// NewDeflater makes a Deflater whose matches reach back at most window bytes, a power of two from 256 to 32 KiB. Levels are 1 to 9; 0 is
// balanced.
func NewDeflater(window, level int) *Deflater {
	if level <= 0 || level >= len(efforts) {
		level = 1
	}
	window = min(max(256, 1<<(bits.Len(uint(window))-1)), 32<<10)
	d := &Deflater{effort: efforts[level], window: window, prev: make([]int32, window), tokens: make([]uint32, 0, blockTokens+1)}
	copy(d.fixedLiterals.lens[:], fixedLitLen[:])
	d.fixedLiterals.assign(len(fixedLitLen))
	return d
}

// Deflate appends src as a stream to dst. It gives up, and returns nil, when the stream gets longer than limit.
func (d *Deflater) Deflate(dst, src []byte, limit int) []byte {
	d.out, d.buf, d.n = dst, 0, 0
	limit += len(dst)
	clear(d.head4[:])
	if d.effort.Chain > 0 {
		clear(d.head3[:])
	}
	start := 0
	for {
		var at int
		if d.effort.Chain == 0 {
			at = d.matchFast(src, start)
		} else {
			at = d.match(src, start)
		}
		if !d.block(src[start:at], at == len(src), limit) {
			return nil
		}
		if start = at; at == len(src) {
			break
		}
	}
	for d.n > 0 {
		d.out = append(d.out, byte(d.buf))
		d.buf >>= 8
		d.n -= min(d.n, 8)
	}
	out := d.out
	d.out = nil
	if len(out) > limit {
		return nil
	}
	return out
}

func hash4(v uint32) uint32 { return v * 0x9e3779b1 >> (32 - hashBits4) }
func hash3(v uint32) uint32 { return v << 8 * 0x1e35a7bd >> (32 - hashBits3) }

// insert enters a position and returns the candidates that were there: the last with the same four bytes, and with the same three.
func (d *Deflater) insert(src []byte, at int) (c4, c3 int32) {
	v := binary.LittleEndian.Uint32(src[at:])
	h4, h3 := hash4(v)&(1<<hashBits4-1), hash3(v)&(1<<hashBits3-1)
	c4, c3 = d.head4[h4], d.head3[h3]
	d.head4[h4], d.head3[h3] = int32(at+1), int32(at+1)
	d.prev[at&(len(d.prev)-1)] = c4
	return c4, c3
}

// longest finds the longest match at a position that is longer than have; length 0 where there is none.
func (d *Deflater) longest(src []byte, at int, c4, c3 int32, have int) (length, dist int) {
	limit := min(maxMatch, len(src)-at)
	low := max(0, at-d.window+1)
	best := max(have, minMatch)
	v := binary.LittleEndian.Uint32(src[at:])
	if have < minMatch && int(c3)-1 >= low && c3 > 0 {
		from := int(c3) - 1
		if (binary.LittleEndian.Uint32(src[from:])^v)<<8 == 0 {
			length, dist = minMatch, at-from
		}
	}
	prev := d.prev
	mask := len(prev) - 1
	chain := d.effort.Chain
	for c := int(c4) - 1; c >= low && chain > 0; chain-- {
		// Only what is longer than the best so far is of interest: its last byte is looked at first.
		if best < limit && src[c+best] == src[at+best] && binary.LittleEndian.Uint32(src[c:]) == v {
			n := 4 + common(src[c+4:], src[at+4:at+limit])
			if n > best || (n == best && length == 0) {
				length, dist, best = n, at-c, n
				if n >= d.effort.Nice || n >= limit {
					break
				}
			}
		}
		c = int(prev[c&mask]) - 1
	}
	if length <= have {
		return 0, 0
	}
	return length, dist
}

// common is how many bytes a and b have in common at their starts; a is at least as long as b.
func common(a, b []byte) int {
	n := 0
	for len(b)-n >= 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
		n += 8
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// farThree is the distance from which on a match of three bytes costs more than three literals mostly do.
const farThree = 1024

// match makes the tokens of a block, from start on, and returns where it ends.
func (d *Deflater) match(src []byte, start int) int {
	clear(d.litFreq[:])
	clear(d.distFreq[:])
	tokens := d.tokens[:0]
	last := len(src) - 8 // behind it nothing is looked up
	at, misses := start, 0
	for at <= last && len(tokens) < blockTokens-1 {
		c4, c3 := d.insert(src, at)
		length, dist := d.longest(src, at, c4, c3, 0)
		if length == minMatch && dist > farThree {
			length = 0
		}
		if length == 0 {
			tokens = append(tokens, uint32(src[at]))
			d.litFreq[src[at]]++
			at++
			// What does not compress is passed over in growing steps.
			if misses++; misses > 512 {
				for n := min((misses-512)>>7, 16); n > 0 && at <= last && len(tokens) < blockTokens-1; n-- {
					tokens = append(tokens, uint32(src[at]))
					d.litFreq[src[at]]++
					at++
				}
			}
			continue
		}
		misses = 0
		for length < d.effort.Lazy && at < last && len(tokens) < blockTokens-1 {
			c4, c3 = d.insert(src, at+1)
			l, ds := d.longest(src, at+1, c4, c3, length)
			if l <= length {
				// The position is entered already.
				tokens = d.emit(tokens, length, dist)
				at = d.skip(src, at+2, at+length, last)
				length = 0
				break
			}
			tokens = append(tokens, uint32(src[at]))
			d.litFreq[src[at]]++
			at++
			length, dist = l, ds
		}
		if length > 0 {
			tokens = d.emit(tokens, length, dist)
			at = d.skip(src, at+1, at+length, last)
		}
	}
	if at > last {
		for ; at < len(src) && len(tokens) < blockTokens; at++ {
			tokens = append(tokens, uint32(src[at]))
			d.litFreq[src[at]]++
		}
	}
	d.tokens = tokens
	return at
}

func (d *Deflater) emit(tokens []uint32, length, dist int) []uint32 {
	d.litFreq[257+int(lengthSym[length-minMatch])]++
	d.distFreq[distSym(uint32(dist))]++
	return append(tokens, tokenMatch|uint32(length-minMatch)<<16|uint32(dist-1))
}

// skip enters the positions inside a match and returns its end.
func (d *Deflater) skip(src []byte, from, to, last int) int {
	for end := min(to, last+1); from < end; from++ {
		d.insert(src, from)
	}
	return to
}

// bits appends the low k bits of v, k ≤ 16.
func (d *Deflater) bits(v uint64, k uint) {
	d.buf |= v << d.n
	if d.n += k; d.n >= 48 {
		d.out = binary.LittleEndian.AppendUint32(d.out, uint32(d.buf))
		d.out = append(d.out, byte(d.buf>>32), byte(d.buf>>40))
		d.buf >>= 48
		d.n -= 48
	}
}

// block writes a block in the cheapest of the three ways; false when the stream gets longer than limit.
func (d *Deflater) block(src []byte, last bool, limit int) bool {
	d.litFreq[endOfBlock] = 1
	d.coder.build(&d.lit, d.litFreq[:], maxBits)
	d.coder.build(&d.dist, d.distFreq[:], maxBits)
	nLit, nDist, nCode, headBits := d.header()
	extra := 0
	for s, f := range d.litFreq[257:] {
		extra += int(f) * int(lengthExtra[min(s, len(lengthExtra)-1)])
	}
	for s, f := range d.distFreq {
		extra += int(f) * int(distExtra[s])
	}
	dynamic, fixed := headBits+extra, extra
	for s, f := range d.litFreq {
		dynamic += int(f) * int(d.lit.lens[s])
		fixed += int(f) * int(fixedLitLen[s])
	}
	for s, f := range d.distFreq {
		dynamic += int(f) * int(d.dist.lens[s])
		fixed += int(f) * 5
	}
	final := uint64(0)
	if last {
		final = 1
	}
	raw := storedBits(len(src))
	size := (min(raw, dynamic, fixed) + 7) / 8
	if len(d.out)+size > limit {
		return false
	}
	switch {
	case raw <= dynamic && raw <= fixed:
		d.store(src, final)
	case fixed <= dynamic:
		d.bits(final|blockFixed<<1, 3)
		d.lit = d.fixedLiterals
		copy(d.dist.lens[:], fixedDist[:])
		d.dist.assign(len(fixedDist))
		d.write(size)
	default:
		d.bits(final|blockDynamic<<1, 3)
		d.bits(uint64(nLit-257), 5)
		d.bits(uint64(nDist-1), 5)
		d.bits(uint64(nCode-4), 4)
		for _, s := range codeOrder[:nCode] {
			d.bits(uint64(d.code.lens[s]), 3)
		}
		for _, r := range d.runs {
			s := r & 0xff
			d.bits(uint64(d.code.words[s]), uint(d.code.lens[s]))
			if s >= 16 {
				d.bits(uint64(r>>8), runBits[s-16])
			}
		}
		d.write(size)
	}
	return true
}

// runBits are the extra bits of the symbols 16, 17 and 18 of the code length alphabet.
var runBits = [3]uint{2, 3, 7}

// maxStored is the length of a stored block.
const maxStored = 65535

func storedBits(n int) int {
	blocks := max(1, (n+maxStored-1)/maxStored)
	return n*8 + blocks*(3+7+32)
}

// store writes stored blocks. RFC 1951 §3.2.4.
func (d *Deflater) store(src []byte, final uint64) {
	for {
		n := min(len(src), maxStored)
		f := final
		if n < len(src) {
			f = 0
		}
		d.bits(f|blockStored<<1, 3)
		for d.n > 0 {
			d.out = append(d.out, byte(d.buf))
			d.buf >>= 8
			d.n -= min(d.n, 8)
		}
		d.out = binary.LittleEndian.AppendUint16(d.out, uint16(n))
		d.out = binary.LittleEndian.AppendUint16(d.out, ^uint16(n))
		d.out = append(d.out, src[:n]...)
		if src = src[n:]; len(src) == 0 {
			return
		}
	}
}

// header makes the code of the code lengths and says how many of each alphabet are stored, and in how many bits.
func (d *Deflater) header() (nLit, nDist, nCode, size int) {
	nLit, nDist = litLenSyms, distSyms
	for nLit > 257 && d.lit.lens[nLit-1] == 0 {
		nLit--
	}
	for nDist > 1 && d.dist.lens[nDist-1] == 0 {
		nDist--
	}
	lens := append(append(d.lens[:0], d.lit.lens[:nLit]...), d.dist.lens[:nDist]...)
	var freq [codeSyms]uint32
	d.runs = d.runs[:0]
	add := func(s uint16, n int) {
		d.runs = append(d.runs, s|uint16(n)<<8)
		freq[s]++
	}
	for i := 0; i < len(lens); {
		v, n := lens[i], 1
		for i+n < len(lens) && lens[i+n] == v {
			n++
		}
		i += n
		if v == 0 {
			for n >= 11 {
				k := min(n, 138)
				add(18, k-11)
				n -= k
			}
			if n >= 3 {
				add(17, n-3)
				n = 0
			}
		} else {
			add(uint16(v), 0)
			for n--; n >= 3; {
				k := min(n, 6)
				add(16, k-3)
				n -= k
			}
		}
		for ; n > 0; n-- {
			add(uint16(v), 0)
		}
	}
	d.coder.build(&d.code, freq[:], maxCodeBits)
	nCode = codeSyms
	for nCode > 4 && d.code.lens[codeOrder[nCode-1]] == 0 {
		nCode--
	}
	size = 5 + 5 + 4 + 3*nCode
	for s, f := range freq {
		size += int(f) * int(d.code.lens[s])
		if s >= 16 {
			size += int(f) * int(runBits[s-16])
		}
	}
	return nLit, nDist, nCode, size
}

// write writes the tokens and the end of the block, in size bytes.
func (d *Deflater) write(size int) {
	// Code words and their lengths side by side.
	var lit [512]uint32
	for s := range litLenSyms {
		lit[s] = uint32(d.lit.words[s])<<8 | uint32(d.lit.lens[s])
	}
	var dist [32]uint32
	for s := range distSyms {
		dist[s] = uint32(d.dist.words[s])<<8 | uint32(d.dist.lens[s])
	}
	d.out = slices.Grow(d.out, size+16)
	out, buf, n := d.out[:cap(d.out)], d.buf, d.n
	pos := len(d.out)
	for n >= 32 {
		binary.LittleEndian.PutUint32(out[pos:], uint32(buf))
		pos, buf, n = pos+4, buf>>32, n-32
	}
	for _, t := range d.tokens {
		if t&tokenMatch == 0 {
			w := lit[t&255]
			buf |= uint64(w>>8) << (n & 63)
			n += uint(w & 255)
		} else {
			l := t >> 16 & 255
			s := lengthSym[l]
			w := lit[257+int(s)]
			buf |= uint64(w>>8) << (n & 63)
			n += uint(w & 255)
			buf |= uint64(l+minMatch-uint32(lengthBase[s])) << (n & 63)
			n += uint(lengthExtra[s])
			if n >= 32 {
				binary.LittleEndian.PutUint32(out[pos:], uint32(buf))
				pos, buf, n = pos+4, buf>>32, n-32
			}
			v := t&0x7fff + 1
			s = distSym(v)
			w = dist[s&31]
			buf |= uint64(w>>8) << (n & 63)
			n += uint(w & 255)
			buf |= uint64(v-uint32(distBase[s])) << (n & 63)
			n += uint(distExtra[s])
		}
		if n >= 32 {
			binary.LittleEndian.PutUint32(out[pos:], uint32(buf))
			pos, buf, n = pos+4, buf>>32, n-32
		}
	}
	d.out, d.buf, d.n = out[:pos], buf, n
	d.bits(uint64(d.lit.words[endOfBlock]), uint(d.lit.lens[endOfBlock]))
}
