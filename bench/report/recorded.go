package report

import (
	"slices"
	"sort"
	"strconv"
)

// recorded is a distribution as a document holds it: figures, and the bins or at least some percentiles.
type recorded struct {
	figures
	bins        [][2]uint64 // value, count; ascending
	percentiles []point     // ascending; used where there are no bins
}

type point struct {
	p float64
	v uint64
}

func (r *recorded) Count() uint64   { return r.n }
func (r *recorded) Min() uint64     { return r.min }
func (r *recorded) Max() uint64     { return r.max }
func (r *recorded) Mean() float64   { return r.mean }
func (r *recorded) StdDev() float64 { return r.dev }

// Percentile is the value of the first bin at which the share is reached; without bins, the nearest percentile at or above p.
func (r *recorded) Percentile(p float64) uint64 {
	if len(r.bins) > 0 {
		var total, sum uint64
		for _, b := range r.bins {
			total += b[1]
		}
		for _, b := range r.bins {
			if sum += b[1]; float64(sum) >= p/100*float64(total) {
				return b[0]
			}
		}
	}
	for _, q := range r.percentiles {
		if q.p >= p {
			return q.v
		}
	}
	return r.max
}

// Buckets yields the bins; without bins, what lies between the percentiles.
func (r *recorded) Buckets(yield func(lo, hi, n uint64) bool) {
	if len(r.bins) > 0 {
		for _, b := range r.bins {
			if !yield(b[0], b[0], b[1]) {
				return
			}
		}
		return
	}
	lo, seen := r.min, uint64(0)
	for _, q := range append(slices.Clone(r.percentiles), point{100, r.max}) {
		upTo := uint64(q.p / 100 * float64(r.n))
		if upTo <= seen {
			continue
		}
		hi := max(lo, q.v)
		if !yield(lo, hi, upTo-seen) {
			return
		}
		lo, seen = hi, upTo
	}
}

func (r *recorded) setBins(m map[string]uint64) {
	for k, n := range m {
		if v, err := strconv.ParseUint(k, 10, 64); err == nil && n > 0 {
			r.bins = append(r.bins, [2]uint64{v, n})
		}
	}
	sort.Slice(r.bins, func(i, k int) bool { return r.bins[i][0] < r.bins[k][0] })
}

func (r *recorded) setPercentiles(m map[string]uint64) {
	for k, v := range m {
		if p, err := strconv.ParseFloat(k, 64); err == nil && p > 0 && p <= 100 {
			r.percentiles = append(r.percentiles, point{p, v})
		}
	}
	slices.SortFunc(r.percentiles, func(a, b point) int {
		switch {
		case a.p < b.p:
			return -1
		case a.p > b.p:
			return 1
		}
		return 0
	})
}
