package deflate

import (
	"encoding/binary"
	"math/bits"
)

// matchFast is match for one candidate per position: what was last seen with the same hash of four bytes, or is not there. Matches are
// taken as they come.
func (d *Deflater) matchFast(src []byte, start int) int {
	clear(d.litFreq[:])
	clear(d.distFreq[:])
	head := &d.head4
	tokens := d.tokens[:blockTokens+1]
	var freq [256]uint32
	k, at, misses := 0, start, uint(0)
	last := len(src) - 12 // behind it nothing is looked up
	for at <= last && k < blockTokens-32 {
		v := binary.LittleEndian.Uint64(src[at:])
		h := hash4(uint32(v)) & (1<<hashBits4 - 1)
		c := int(head[h]) - 1
		head[h] = int32(at + 1)
		if c < 0 || at-c >= d.window || binary.LittleEndian.Uint32(src[c:]) != uint32(v) {
			b := byte(v)
			tokens[k&0x7fff] = uint32(b)
			freq[b]++
			k++
			at++
			// What does not compress is passed over in growing steps.
			if misses++; misses > 8 {
				for n := min((misses-8)>>3, 16); n > 0 && at <= last; n-- {
					b := src[at]
					tokens[k&0x7fff] = uint32(b)
					freq[b]++
					k++
					at++
				}
			}
			continue
		}
		misses = 0
		n, limit := 4, min(maxMatch, len(src)-at)
		for {
			if n+8 > limit {
				for n < limit && src[c+n] == src[at+n] {
					n++
				}
				break
			}
			x := binary.LittleEndian.Uint64(src[c+n:]) ^ binary.LittleEndian.Uint64(src[at+n:])
			if x != 0 {
				n += bits.TrailingZeros64(x) >> 3
				break
			}
			n += 8
		}
		dist := uint32(at - c)
		d.litFreq[257+int(lengthSym[n-minMatch])]++
		d.distFreq[distSym(dist)&31%distSyms]++
		tokens[k&0x7fff] = tokenMatch | uint32(n-minMatch)<<16 | (dist - 1)
		k++
		// The second position of the match is entered, and the one before its end.
		head[hash4(uint32(v>>8))&(1<<hashBits4-1)] = int32(at + 2)
		at += n
		if at <= last {
			head[hash4(binary.LittleEndian.Uint32(src[at-2:]))&(1<<hashBits4-1)] = int32(at - 1)
			head[hash4(binary.LittleEndian.Uint32(src[at-1:]))&(1<<hashBits4-1)] = int32(at)
		}
	}
	if at > last {
		for ; at < len(src) && k < blockTokens; at++ {
			tokens[k] = uint32(src[at])
			freq[src[at]]++
			k++
		}
	}
	copy(d.litFreq[:256], freq[:])
	d.tokens = tokens[:k]
	return at
}
