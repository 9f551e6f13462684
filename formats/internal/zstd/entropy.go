package zstd

import (
	"encoding/binary"
	"math/bits"
)

// shortest says how long a match must be, in bytes: what it saves depends on what literals cost, which is guessed by their entropy.
func (e *Encoder) shortest() uint32 {
	switch h := e.entropy(); {
	case h < 4*256+90:
		return 6
	case h < 5*256+128:
		return 5
	}
	return 4
}

// entropy estimates the entropy of the bytes, in 256ths of a bit.
func (e *Encoder) entropy() uint32 {
	var count [256]uint32
	n := uint32(0)
	const step = 64
	for i := 0; i+4 <= e.n; i += step / 4 {
		v := binary.LittleEndian.Uint32(e.src[i&(MaxSize-1):])
		count[uint8(v)]++
		count[uint8(v>>8)]++
		count[uint8(v>>16)]++
		count[uint8(v>>24)]++
		n += 4
	}
	sum := uint64(0)
	for _, c := range count {
		if c > 0 {
			sum += uint64(c) * uint64(logarithm(c))
		}
	}
	return logarithm(n) - uint32(sum/uint64(n))
}

// logarithm is that to the base 2, in 256ths.
func logarithm(v uint32) uint32 {
	k := max(0, bits.Len32(v)-maxTableLog)
	return log2[v>>k] + uint32(k)<<8
}
