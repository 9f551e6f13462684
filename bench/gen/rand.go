package gen

import (
	"math"
	"math/bits"
)

// Rand is xoshiro256++ (Blackman and Vigna): 256 bits of state, period 2^256-1,
// about a nanosecond a number. The zero value is not usable.
type Rand struct{ s0, s1, s2, s3 uint64 }

// NewRand seeds a generator. Streams of one seed, numbered differently, are
// independent of each other, so that a change in how many sizes are drawn does
// not move the offsets.
func NewRand(seed, stream uint64) Rand {
	x := seed ^ bits.RotateLeft64(stream*0xd1342543de82ef95, 32)
	var r Rand
	r.s0, r.s1, r.s2, r.s3 = splitmix(&x), splitmix(&x), splitmix(&x), splitmix(&x)
	return r
}

// splitmix is SplitMix64 (Steele, Lea and Flood), here to spread seeds.
func splitmix(x *uint64) uint64 {
	*x += 0x9e3779b97f4a7c15
	return mix64(*x)
}

// mix64 is SplitMix64's finaliser, a bijection that lets every bit of the input
// reach every bit of the output.
func mix64(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Uint64 is the next number.
func (r *Rand) Uint64() uint64 {
	out := bits.RotateLeft64(r.s0+r.s3, 23) + r.s0
	t := r.s1 << 17
	r.s2 ^= r.s0
	r.s3 ^= r.s1
	r.s1 ^= r.s2
	r.s0 ^= r.s3
	r.s2 ^= t
	r.s3 = bits.RotateLeft64(r.s3, 45)
	return out
}

// Below is uniform in [0, n): the high half of a product (Lemire). No value is
// likelier than another by more than n/2^64, which no test can see. n = 0
// answers 0.
func (r *Rand) Below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.Uint64(), n)
	return hi
}

// Float64 is uniform in [0, 1), a multiple of 2^-53.
func (r *Rand) Float64() float64 { return float64(r.Uint64()>>11) * 0x1p-53 }

// chance is a probability as a threshold for Uint64: u < chance(p) happens with
// probability p. Certainty needs a check of its own, see Rand.hit.
func chance(p float64) uint64 {
	switch {
	case !(p > 0):
		return 0
	case p >= 1:
		return math.MaxUint64
	}
	return uint64(math.Ldexp(p, 64))
}

// hit is true with the probability that chance made, also for 0 and 1.
func (r *Rand) hit(threshold uint64) bool {
	return threshold == math.MaxUint64 || r.Uint64() < threshold
}
