package bench

import (
	"math"

	"github.com/blkbench/blkbench/bench/hist"
)

// packed is a histogram without its empty buckets: what a time series keeps of an interval.
type packed struct {
	count              uint64
	lowest, highest    uint64
	mean, stddev       float64
	low, width, counts []uint64
}

func pack(h *hist.Hist) *packed {
	if h.Count() == 0 {
		return nil
	}
	p := &packed{count: h.Count(), lowest: h.Min(), highest: h.Max(), mean: h.Mean(), stddev: h.Stddev()}
	n := 0
	for range h.All() {
		n++
	}
	all := make([]uint64, 3*n)
	p.low, p.width, p.counts = all[:n:n], all[n:2*n:2*n], all[2*n:]
	n = 0
	for b := range h.All() {
		p.low[n], p.width[n], p.counts[n] = b.Low, b.Width, b.Count
		n++
	}
	return p
}

// mergePacked adds two; either may be nil.
func mergePacked(a, b *packed) *packed {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	na, nb := float64(a.count), float64(b.count)
	m := &packed{count: a.count + b.count, lowest: min(a.lowest, b.lowest), highest: max(a.highest, b.highest)}
	m.mean = (a.mean*na + b.mean*nb) / (na + nb)
	da, db := a.mean-m.mean, b.mean-m.mean
	m.stddev = math.Sqrt((na*(a.stddev*a.stddev+da*da) + nb*(b.stddev*b.stddev+db*db)) / (na + nb))
	for i, k := 0, 0; i < len(a.low) || k < len(b.low); {
		switch {
		case k == len(b.low) || (i < len(a.low) && a.low[i] < b.low[k]):
			m.low, m.width, m.counts = append(m.low, a.low[i]), append(m.width, a.width[i]), append(m.counts, a.counts[i])
			i++
		case i == len(a.low) || b.low[k] < a.low[i]:
			m.low, m.width, m.counts = append(m.low, b.low[k]), append(m.width, b.width[k]), append(m.counts, b.counts[k])
			k++
		default:
			m.low, m.width, m.counts = append(m.low, a.low[i]), append(m.width, a.width[i]), append(m.counts, a.counts[i]+b.counts[k])
			i++
			k++
		}
	}
	return m
}

// The methods of result.Latency.

func (p *packed) Count() uint64   { return p.count }
func (p *packed) Min() uint64     { return p.lowest }
func (p *packed) Max() uint64     { return p.highest }
func (p *packed) Mean() float64   { return p.mean }
func (p *packed) StdDev() float64 { return p.stddev }

func (p *packed) Percentile(q float64) uint64 {
	rank := max(1, uint64(math.Ceil(q/100*float64(p.count))))
	seen := uint64(0)
	for i, c := range p.counts {
		if seen += c; seen >= rank {
			return min(max(p.low[i]+p.width[i]/2, p.lowest), p.highest)
		}
	}
	return p.highest
}

func (p *packed) Buckets(yield func(lo, hi, count uint64) bool) {
	for i, c := range p.counts {
		if !yield(p.low[i], p.low[i]+p.width[i]-1, c) {
			return
		}
	}
}
