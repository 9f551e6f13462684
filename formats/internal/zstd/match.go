package zstd

import (
	"encoding/binary"
	"math/bits"
)

// Sizes of the hash tables, in bits, and how many bytes the shorter matches have at least.
const (
	longBits = 15
	nextBits = 15
	minMatch = 4
	fastLen  = 6
	lazyLen  = 7
)

// minInput is the length from which on matches are looked for; what is shorter is stored.
const minInput = 32

// tail is how many bytes at the end no match starts in.
const tail = 12

const (
	prime5 = 889523592379
	prime6 = 227718039650203
	prime8 = 0xcf1bbcdcb7a56463
)

func hashShort(v uint64, cut uint) uint64 { return v << (cut & 63) * prime5 >> (64 - nextBits) }
func hashFast(v uint64) uint64            { return v << (64 - 8*fastLen) * prime6 >> (64 - nextBits) }
func hashLong(v uint64) uint64            { return v * prime8 >> (64 - longBits) }

func (e *Encoder) load(at uint32) uint64 {
	return binary.LittleEndian.Uint64(e.src[at&(MaxSize-1):])
}

// extent is how many bytes behind from and at are equal; at stays below end.
func (e *Encoder) extent(from, at, end uint32) uint32 {
	start := at
	for at < end {
		if x := e.load(from) ^ e.load(at); x != 0 {
			at += uint32(bits.TrailingZeros64(x)) >> 3
			break
		}
		from, at = from+8, at+8
	}
	return min(at, end) - start
}

// emit notes the literals from anchor to at, and a match.
func (e *Encoder) emit(anchor, at, length, off uint32) {
	k := e.litN
	n := int(at - anchor)
	if n <= 16 {
		*(*[16]byte)(e.lits[k:]) = *(*[16]byte)(e.src[anchor&(MaxSize-1):])
	} else {
		copy(e.lits[k:], e.src[anchor:at])
	}
	e.litN = k + n
	e.seqs[e.seqN] = sequence{uint16(n), uint16(length - minMatchCode), off}
	e.seqN++
}

// finish notes the literals behind the last match.
func (e *Encoder) finish(anchor uint32) {
	e.litN += copy(e.lits[e.litN:], e.src[anchor:e.n])
}

// mask says how much of a table of so many bits is used: for a short buffer, not all.
func (e *Encoder) mask(most int) uint64 {
	return 1<<min(most, bits.Len(uint(e.n))) - 1
}

// Tables begin with all positions 0: that is a candidate like others, from position 1 on.

// match finds sequences for the Default level.
func (e *Encoder) match() {
	longMask, nextMask := e.mask(longBits), e.mask(nextBits)
	clear(e.long[:longMask+1])
	clear(e.next[:nextMask+1])
	e.litN, e.seqN = 0, 0
	end := uint32(e.n)
	short := e.shortest()
	cut := uint(64 - 8*short)
	last := end - tail
	rep1, rep2 := uint32(1), uint32(4)
	anchor, at := uint32(0), uint32(1)
	for at < last {
		v := e.load(at)
		hl, hs := hashLong(v)&longMask, hashShort(v, cut)&nextMask
		cl, cs := uint32(e.long[hl]), uint32(e.next[hs])
		e.long[hl], e.next[hs] = uint16(at), uint16(at)
		found := at
		if rep1 <= at && uint32(e.load(at+1-rep1)) == uint32(v>>8) {
			// The offset of before, at the next byte.
			at++
			n := 4 + e.extent(at-rep1+4, at+4, end)
			e.emit(anchor, at, n, 1)
			at += n
		} else {
			var n, from uint32
			switch {
			case e.load(cl) == v:
				from, n = cl, 8+e.extent(cl+8, at+8, end)
			case (e.load(cs)^v)<<(cut&63) == 0:
				from, n = cs, short+e.extent(cs+short, at+short, end)
				// A longer match at the next byte is better; after the shortest ones a short one is looked for there, too.
				v1 := e.load(at + 1)
				h1 := hashLong(v1) & longMask
				c1 := uint32(e.long[h1])
				e.long[h1] = uint16(at + 1)
				if e.load(c1) == v1 {
					if n1 := 8 + e.extent(c1+8, at+9, end); n1 > n {
						at, from, n = at+1, c1, n1
					}
				} else if n < lazyLen {
					h1 = hashShort(v1, cut) & nextMask
					c1 = uint32(e.next[h1])
					e.next[h1] = uint16(at + 1)
					if (e.load(c1)^v1)<<(cut&63) == 0 {
						if n1 := short + e.extent(c1+short, at+1+short, end); n1 > n {
							at, from, n = at+1, c1, n1
						}
					}
				}
			default:
				at += 1 + (at-anchor)>>8
				continue
			}
			for at > anchor && from > 0 && e.src[(at-1)&(MaxSize-1)] == e.src[(from-1)&(MaxSize-1)] {
				at, from, n = at-1, from-1, n+1
			}
			rep1, rep2 = at-from, rep1
			e.emit(anchor, at, n, rep1+3)
			at += n
		}
		anchor = at
		if at >= last {
			break
		}
		// Inside the match four positions are entered.
		v = e.load(found + 2)
		e.long[hashLong(v)&longMask] = uint16(found + 2)
		e.next[hashShort(v, cut)&nextMask] = uint16(found + 2)
		e.long[hashLong(e.load(at-2))&longMask] = uint16(at - 2)
		e.next[hashShort(e.load(at-1), cut)&nextMask] = uint16(at - 1)
		// Without literals between, offset value 1 is the one before the last.
		for at < last && rep2 <= at && uint32(e.load(at)) == uint32(e.load(at-rep2)) {
			v := e.load(at)
			e.long[hashLong(v)&longMask] = uint16(at)
			e.next[hashShort(v, cut)&nextMask] = uint16(at)
			n := 4 + e.extent(at-rep2+4, at+4, end)
			rep1, rep2 = rep2, rep1
			e.emit(at, at, n, 1)
			at += n
			anchor = at
		}
	}
	e.finish(anchor)
}

// matchFast finds sequences for the Fast level.
func (e *Encoder) matchFast() {
	nextMask := e.mask(nextBits)
	clear(e.next[:nextMask+1])
	e.litN, e.seqN = 0, 0
	end := uint32(e.n)
	last := end - tail
	rep := uint32(1)
	anchor, at := uint32(0), uint32(1)
	for at < last {
		v := e.load(at)
		h := hashFast(v) & nextMask
		from := uint32(e.next[h])
		e.next[h] = uint16(at)
		if rep <= at && uint32(e.load(at+1-rep)) == uint32(v>>8) {
			at++
			n := 4 + e.extent(at-rep+4, at+4, end)
			e.emit(anchor, at, n, 1)
			at += n
			anchor = at
			continue
		}
		if (e.load(from)^v)<<(64-8*fastLen) != 0 {
			at += 1 + min((at-anchor)>>4, 16)
			continue
		}
		n := fastLen + e.extent(from+fastLen, at+fastLen, end)
		for at > anchor && from > 0 && e.src[(at-1)&(MaxSize-1)] == e.src[(from-1)&(MaxSize-1)] {
			at, from, n = at-1, from-1, n+1
		}
		rep = at - from
		e.emit(anchor, at, n, rep+3)
		start := at
		at += n
		anchor = at
		if at < last {
			e.next[hashFast(e.load(start+2))&nextMask] = uint16(start + 2)
			e.next[hashFast(e.load(at-2))&nextMask] = uint16(at - 2)
		}
	}
	e.finish(anchor)
}
