package perf

import (
	"fmt"
	"math"
	"slices"
)

// Sample is one run of one side.
type Sample struct {
	Rate float64 // operations or bytes per second; more is better
	CPU  float64 // CPU seconds per operation (kernel threads included), or 0
	// Mallocs are heap allocations per operation in the measured window, of what reports them.
	Mallocs float64
}

// Ratio is a paired comparison of ours with a peer's.
type Ratio struct {
	Median, Low float64 // Low: the true median is at least this with 95 % confidence
	Pairs       int
}

// Ratios pairs the i-th run of one side with the i-th of the other.
func Ratios(ours, peer []float64) Ratio {
	n := min(len(ours), len(peer))
	r := make([]float64, 0, n)
	for i := range n {
		if peer[i] > 0 {
			r = append(r, ours[i]/peer[i])
		}
	}
	slices.Sort(r)
	return Ratio{Median: median(r), Low: lowerBound(r), Pairs: len(r)}
}

func median(sorted []float64) float64 {
	n := len(sorted)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Median is the middle of the values, in any order.
func Median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	return median(s)
}

// lowerBound is the k-th smallest value with the largest k for which the chance that the median lies below it is at most 5 %: the number of
// values below the median is binomial with p = 1/2.
func lowerBound(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	sum, k := 0.0, 0
	for ; k < n; k++ {
		sum += binomial(n, k) / math.Exp2(float64(n))
		if sum > 0.05 {
			break
		}
	}
	return sorted[max(0, k-1)]
}

func binomial(n, k int) float64 {
	b := 1.0
	for i := range k {
		b = b * float64(n-i) / float64(i+1)
	}
	return b
}

func (r Ratio) String() string { return fmt.Sprintf("%.2f× (≥ %.2f)", r.Median, r.Low) }
