package hist

import (
	"iter"
	"math"
	"math/bits"
)

const (
	// SubBits is the binary logarithm of the buckets per power of two.
	SubBits = 6
	// Buckets is the number of buckets.
	Buckets = 40 << SubBits
	// MaxError is the greatest distance of a percentile from the truth,
	// relative to the truth, for values below 2^45.
	MaxError = 1.0 / (2 << SubBits)
)

// Hist is a histogram of nanoseconds. The zero value is empty and ready.
type Hist struct {
	n, sum     uint64
	sqHi, sqLo uint64 // sum of squares, 128 bits
	maximum    uint64
	invMin     uint64 // ^minimum, so that zero means nothing yet
	counts     [Buckets]uint64
}

// bucket is the index for v: the identity below 128, then 64 per power of two.
func bucket(v uint64) uint {
	e := uint(bits.Len64(v|1<<SubBits)) - SubBits - 1
	return min(e<<SubBits+uint(v>>e), Buckets-1)
}

// bounds are the lowest value of a bucket and its width.
func bounds(i uint) (low, width uint64) {
	if i < 2<<SubBits {
		return uint64(i), 1
	}
	e := i>>SubBits - 1
	return uint64(i-e<<SubBits) << e, 1 << e
}

// middle is the value a bucket stands for, as fio computes it.
func middle(i uint) uint64 {
	low, width := bounds(i)
	return low + width/2
}

// Record counts one value. It takes about two nanoseconds.
func (h *Hist) Record(ns uint64) {
	h.counts[bucket(ns)]++
	h.n++
	h.sum += ns
	hi, lo := bits.Mul64(ns, ns)
	var carry uint64
	h.sqLo, carry = bits.Add64(h.sqLo, lo, 0)
	h.sqHi += hi + carry
	if ns > h.maximum {
		h.maximum = ns
	}
	if ^ns > h.invMin {
		h.invMin = ^ns
	}
}

// RecordN counts one value n times: what n requests that were issued and seen to be complete together have in common.
func (h *Hist) RecordN(ns, n uint64) {
	if n == 0 {
		return
	}
	h.counts[bucket(ns)] += n
	h.n += n
	h.sum += ns * n
	hi, lo := bits.Mul64(ns, ns)
	over, low := bits.Mul64(lo, n)
	var carry uint64
	h.sqLo, carry = bits.Add64(h.sqLo, low, 0)
	h.sqHi += hi*n + over + carry
	h.maximum = max(h.maximum, ns)
	h.invMin = max(h.invMin, ^ns)
}

// RecordAll counts several values: in a row that takes half as long as one by one.
func (h *Hist) RecordAll(ns []uint64) {
	sum, sqHi, sqLo, maximum, invMin := h.sum, h.sqHi, h.sqLo, h.maximum, h.invMin
	for _, v := range ns {
		h.counts[bucket(v)]++
		sum += v
		hi, lo := bits.Mul64(v, v)
		var carry uint64
		sqLo, carry = bits.Add64(sqLo, lo, 0)
		sqHi += hi + carry
		maximum = max(maximum, v)
		invMin = max(invMin, ^v)
	}
	h.n += uint64(len(ns))
	h.sum, h.sqHi, h.sqLo, h.maximum, h.invMin = sum, sqHi, sqLo, maximum, invMin
}

// Merge adds everything o has counted.
func (h *Hist) Merge(o *Hist) {
	h.n += o.n
	h.sum += o.sum
	var carry uint64
	h.sqLo, carry = bits.Add64(h.sqLo, o.sqLo, 0)
	h.sqHi += o.sqHi + carry
	h.maximum = max(h.maximum, o.maximum)
	h.invMin = max(h.invMin, o.invMin)
	for i := range h.counts {
		h.counts[i] += o.counts[i]
	}
}

// Reset empties h.
func (h *Hist) Reset() {
	if h.n != 0 {
		*h = Hist{}
	}
}

// Delta is what h has counted since it was older, a copy made earlier. All but
// the extremes is exact; these are the bounds of the outermost buckets.
func (h *Hist) Delta(older *Hist) Hist {
	d := Hist{n: h.n - older.n, sum: h.sum - older.sum}
	var borrow uint64
	d.sqLo, borrow = bits.Sub64(h.sqLo, older.sqLo, 0)
	d.sqHi = h.sqHi - older.sqHi - borrow
	for i := range d.counts {
		c := h.counts[i] - older.counts[i]
		if d.counts[i] = c; c == 0 {
			continue
		}
		low, width := bounds(uint(i))
		d.invMin = max(d.invMin, ^max(low, h.Min()))
		d.maximum = max(d.maximum, min(low+width-1, h.maximum))
		if i == Buckets-1 {
			d.maximum = h.maximum
		}
	}
	return d
}

// Count is the number of values.
func (h *Hist) Count() uint64 { return h.n }

// Sum is the exact sum of the values, modulo 2^64 (584 years of latency).
func (h *Hist) Sum() uint64 { return h.sum }

// Min is the smallest value, exactly; 0 when there is none.
func (h *Hist) Min() uint64 {
	if h.n == 0 {
		return 0
	}
	return ^h.invMin
}

// Max is the largest value, exactly.
func (h *Hist) Max() uint64 { return h.maximum }

// Mean is the arithmetic mean; 0 when there is no value.
func (h *Hist) Mean() float64 {
	if h.n == 0 {
		return 0
	}
	return float64(h.sum) / float64(h.n)
}

// Stddev is the sample standard deviation (n-1, as fio's); 0 below two values.
//
// The sum of squared deviations, n·Σx² - (Σx)², is taken in 192-bit integers:
// in floating point it would cancel for even latencies.
func (h *Hist) Stddev() float64 {
	if h.n < 2 {
		return 0
	}
	// n·Σx²
	aHi, aLo := bits.Mul64(h.n, h.sqLo)
	bHi, bLo := bits.Mul64(h.n, h.sqHi)
	mid, carry := bits.Add64(aHi, bLo, 0)
	top := bHi + carry
	// (Σx)²
	sHi, sLo := bits.Mul64(h.sum, h.sum)
	lo, borrow := bits.Sub64(aLo, sLo, 0)
	mid, borrow = bits.Sub64(mid, sHi, borrow)
	top -= borrow
	ss := math.Ldexp(float64(top), 128) + math.Ldexp(float64(mid), 64) + float64(lo)
	n := float64(h.n)
	return math.Sqrt(ss / n / (n - 1))
}

// Percentile is the value that p percent of all values do not exceed, to
// [MaxError] and within the exact extremes; 0 when there is none.
func (h *Hist) Percentile(p float64) uint64 {
	var out [1]uint64
	h.Percentiles([]float64{p}, out[:])
	return out[0]
}

// Percentiles answers several at once, in ascending order of ps.
func (h *Hist) Percentiles(ps []float64, out []uint64) {
	out = out[:len(ps)]
	clear(out)
	if h.n == 0 {
		return
	}
	seen, k := uint64(0), 0
	for i, c := range h.counts {
		if c == 0 {
			continue
		}
		seen += c
		for k < len(ps) && float64(seen) >= ps[k]/100*float64(h.n) {
			out[k] = h.within(middle(uint(i)))
			k++
		}
		if k == len(ps) {
			return
		}
	}
	for ; k < len(ps); k++ {
		out[k] = h.maximum // above 100, or rounding
	}
}

func (h *Hist) within(v uint64) uint64 { return min(max(v, h.Min()), h.maximum) }

// FractionBelow is the share of values that are at most ns, a bucket that
// straddles ns counted in proportion.
func (h *Hist) FractionBelow(ns uint64) float64 {
	switch {
	case h.n == 0 || ns < h.Min():
		return 0
	case ns >= h.maximum:
		return 1
	}
	at := bucket(ns)
	seen := uint64(0)
	for _, c := range h.counts[:at] {
		seen += c
	}
	low, width := bounds(at)
	part := float64(h.counts[at]) * float64(ns-low+1) / float64(width)
	return min(1, (float64(seen)+part)/float64(h.n))
}

// Bucket is one non-empty bucket: values v with Low <= v < Low+Width.
type Bucket struct{ Low, Width, Count uint64 }

// All ranges over the non-empty buckets in ascending order. The last possible
// bucket also holds everything beyond the range.
func (h *Hist) All() iter.Seq[Bucket] {
	return func(yield func(Bucket) bool) {
		for i, c := range h.counts {
			if c == 0 {
				continue
			}
			low, width := bounds(uint(i))
			if !yield(Bucket{low, width, c}) {
				return
			}
		}
	}
}
