package report

import (
	"math"
	"time"

	"github.com/blkbench/blkbench/bench/internal/series"
	"github.com/blkbench/blkbench/bench/result"
)

// steadiness says how even a rate was over time, and how far its mean is to be trusted.
type steadiness struct {
	n        int
	mean     float64
	spread   float64       // standard deviation over the mean
	sure     float64       // half of the mean's 95 % confidence interval over the mean; 0 where unknown
	worst    float64       // the lowest rate
	worstAt  time.Duration // and when that was
	trend    float64       // second half over first half, less one
	drifts   bool          // each interval is so like the last that the mean depends on the length of the run
	interval time.Duration
}

// steadinessOf needs three intervals; with fewer, n is 0.
func steadinessOf(j *result.Job) steadiness {
	v, at := series.Rates(j)
	if len(v) < 3 {
		return steadiness{}
	}
	s := steadiness{n: len(v), worst: v[0], worstAt: at[0], interval: j.IntervalLength}
	for i, f := range v {
		s.mean += f / float64(len(v))
		if f < s.worst {
			s.worst, s.worstAt = f, at[i]
		}
	}
	if s.mean == 0 {
		return steadiness{}
	}
	var square, lagged float64
	for i, f := range v {
		square += (f - s.mean) * (f - s.mean)
		if i > 0 {
			lagged += (f - s.mean) * (v[i-1] - s.mean)
		}
	}
	sd := math.Sqrt(square / float64(len(v)-1))
	s.spread = sd / s.mean
	s.trend = series.Trend(v)
	if len(v) < 5 {
		return s
	}
	// Neighbouring intervals resemble each other, and so tell less than independent ones: the effective number of samples follows
	// from the autocorrelation at lag one.
	n := float64(len(v))
	if square > 0 {
		if r := lagged / square; r > 0 {
			n = n * (1 - r) / (1 + r)
		}
	}
	if n < 4 {
		s.drifts = true
		return s
	}
	s.sure = student(n-1) * s.spread / math.Sqrt(n)
	return s
}

// student is the two-sided 95 % quantile of Student's distribution, by Cornish and Fisher's expansion around the normal's (within 1 % from 4 degrees of freedom on).
func student(df float64) float64 {
	const z = 1.959964
	const z3, z5 = z * z * z, z * z * z * z * z
	df = max(df, 1)
	return z + (z3+z)/(4*df) + (5*z5+16*z3+3*z)/(96*df*df)
}

// above is how many I/Os a percentile leaves above it: on how many it rests.
func above(l result.Latency, p float64) uint64 {
	if l == nil {
		return 0
	}
	return count(float64(l.Count()) * (100 - p) / 100)
}
