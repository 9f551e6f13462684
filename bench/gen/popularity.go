package gen

import (
	"fmt"
	"math"
	"math/bits"
)

// popularity draws ranks 0 … n-1 of which the law gives each its share. The
// ranks are cut into cells, one rank each at the head, 32 cells an octave
// behind it. A cell is drawn by the alias method (Walker, Vose): one random
// number, one comparison. Inside a wide cell a rank is drawn evenly and kept
// with the ratio of its share to the largest in the cell: nearly always decided
// by a bound, so a power is hardly ever computed. The shares of the cells are
// exact sums or integrals, hence so is the law; the table is below 64 KiB for
// any n and is made in microseconds (fio adds up ten million terms).
type popularity struct {
	cells []cell
	n     uint64
	// In a wide cell, rank k has the share (k+shift)^-theta, up to a constant.
	theta, shift float64
}

type cell struct {
	low, width uint64
	cut        uint64 // the share of the column that is the cell's own, × 2^64
	accept     uint64 // × 2^64: below this, a drawn rank is kept unseen
	peak       float64
	alias      uint32
}

const (
	headRanks  = 64
	octaveBits = 5
)

// next draws a rank.
func (p *popularity) next(r *Rand) uint64 {
	for {
		i, u := bits.Mul64(r.Uint64(), uint64(len(p.cells)))
		c := &p.cells[i]
		if u >= c.cut {
			c = &p.cells[c.alias]
		}
		if c.width == 1 {
			return c.low
		}
		for {
			k := c.low + r.Below(c.width)
			u := r.Uint64()
			if u < c.accept || p.keep(c, k, u) {
				return k
			}
		}
	}
}

// keep decides the rare case in full.
func (p *popularity) keep(c *cell, k, u uint64) bool {
	share := math.Pow(float64(k)+p.shift, -p.theta)
	return u < chance(share/c.peak)
}

// tailCells cuts ranks [from, n) and asks mass for each cell's weight.
func (p *popularity) tailCells(from uint64, weights []float64, mass func(low, high uint64) float64) []float64 {
	for low := from; low < p.n; {
		width := uint64(1)
		if low >= headRanks {
			width = uint64(1) << (bits.Len64(low) - 1 - octaveBits)
			width -= low & (width - 1) // cells end at multiples of their width
		}
		width = min(width, p.n-low)
		c := cell{low: low, width: width}
		first := math.Pow(float64(low)+p.shift, -p.theta)
		last := math.Pow(float64(low+width-1)+p.shift, -p.theta)
		c.peak = max(first, last)
		c.accept = chance(min(first, last) / c.peak * (1 - 1e-12))
		p.cells = append(p.cells, c)
		weights = append(weights, mass(low, low+width))
		low += width
	}
	return weights
}

// seal makes the alias table (Vose 1991) from the cells' weights.
func (p *popularity) seal(weights []float64) error {
	total := 0.0
	for _, w := range weights {
		if w < 0 || math.IsNaN(w) || math.IsInf(w, 0) {
			return fmt.Errorf("weight %v is no share", w)
		}
		total += w
	}
	if total <= 0 {
		return fmt.Errorf("the weights add up to nothing")
	}
	var small, large []uint32
	scaled := make([]float64, len(weights))
	for i, w := range weights {
		scaled[i] = w / total * float64(len(weights))
		if scaled[i] < 1 {
			small = append(small, uint32(i))
		} else {
			large = append(large, uint32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		p.cells[s].cut, p.cells[s].alias = chance(scaled[s]), l
		if scaled[l] -= 1 - scaled[s]; scaled[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, rest := range [][]uint32{small, large} { // 1 but for rounding
		for _, i := range rest {
			p.cells[i].cut, p.cells[i].alias = math.MaxUint64, i
		}
	}
	return nil
}

// integral is ∫ x^-theta dx from low to high, without cancellation.
func integral(low, high, theta float64) float64 {
	span := math.Log(high / low)
	if d := (1 - theta) * span; math.Abs(d) > 1e-9 {
		return math.Pow(low, 1-theta) * math.Expm1(d) / (1 - theta)
	}
	return math.Pow(low, 1-theta) * span
}

// zeta is Σ k^-theta for k in [from, to], the long end by Euler–Maclaurin.
func zeta(from, to uint64, theta float64) float64 {
	sum := 0.0
	for ; from <= to && from < 512; from++ {
		sum += math.Pow(float64(from), -theta)
	}
	if from > to {
		return sum
	}
	a, b := float64(from), float64(to)
	f := func(x float64) float64 { return math.Pow(x, -theta) }
	slope := func(x float64) float64 { return -theta * math.Pow(x, -theta-1) }
	return sum + integral(a, b, theta) + (f(a)+f(b))/2 + (slope(b)-slope(a))/12
}

// newZipf is Zipf's law: rank k (from 1) has the share k^-theta. With asFio it
// is the law that fio draws from (Gray et al., "Quickly generating
// billion-record synthetic databases", 1994): the first two ranks as above, the
// rest by the inverse of a continuous x^-theta, which gives rank 3 some 15 %
// more than Zipf would.
func newZipf(n uint64, theta float64, asFio bool) (*popularity, error) {
	if !(theta > 0) || theta > 32 {
		return nil, fmt.Errorf("zipf theta %v: want above 0 and at most 32", theta)
	}
	if asFio && theta == 1 {
		return nil, fmt.Errorf("zipf theta 1 has no value in fio's law")
	}
	n = max(n, 1)
	if !asFio {
		p := &popularity{n: n, theta: theta, shift: 1}
		return p, p.seal(p.tailCells(0, nil, func(low, high uint64) float64 {
			return zeta(low+1, high, theta)
		}))
	}
	p := &popularity{n: n, theta: theta, shift: 0.5}
	all := zeta(1, n, theta)
	weights := make([]float64, 0, 2048)
	rest := 1.0
	for k := range min(n, 2) {
		w := math.Pow(float64(k+1), -theta) / all
		rest -= w
		p.cells = append(p.cells, cell{low: k, width: 1})
		weights = append(weights, w)
	}
	if n > 2 {
		span := integral(2, float64(n), theta)
		weights = p.tailCells(2, weights, func(low, high uint64) float64 {
			return rest * integral(float64(low), float64(high), theta) / span
		})
	}
	return p, p.seal(weights)
}

// newPareto is fio's pareto: the self-similar law by which 1-h of the accesses
// go to h of the blocks, and again within these. Rank floor((n-1)·u^p), u
// uniform, p = ln h / ln(1-h).
func newPareto(n uint64, h float64) (*popularity, error) {
	if !(h > 0 && h < 1) {
		return nil, fmt.Errorf("pareto power %v: want between 0 and 1", h)
	}
	span := float64(max(n, 2) - 1)
	power := math.Log(1-h) / math.Log(h)
	p := &popularity{n: uint64(span), theta: 1 - power, shift: 0.5}
	return p, p.seal(p.tailCells(0, nil, func(low, high uint64) float64 {
		return math.Pow(float64(high)/span, power) - math.Pow(float64(low)/span, power)
	}))
}

// newZones draws evenly within ranges of blocks, each with its share.
func newZones(n uint64, zones []blockZone) (*popularity, error) {
	p := &popularity{n: n}
	weights := make([]float64, 0, len(zones))
	for _, z := range zones {
		width := min(z.high, n) - min(z.low, n)
		if width == 0 {
			if z.weight > 0 {
				return nil, fmt.Errorf("zone [%d, %d) with share %v holds no block", z.low, z.high, z.weight)
			}
			continue
		}
		p.cells = append(p.cells, cell{low: z.low, width: width, accept: math.MaxUint64, peak: 1})
		weights = append(weights, z.weight)
	}
	if len(weights) == 0 {
		return nil, fmt.Errorf("no zone")
	}
	return p, p.seal(weights)
}

// blockZone is a range of blocks and the share of accesses it gets.
type blockZone struct {
	low, high uint64
	weight    float64
}
