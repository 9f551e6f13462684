package gen

import (
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// fits fails the test when the observed counts are unlikely under the expected
// shares: χ² with cells of fewer than eight expected pooled, p < 10⁻⁴. All
// seeds are fixed, so a failure is no matter of luck.
func fits(t *testing.T, what string, observed []uint64, share []float64) {
	t.Helper()
	if p, x, df := chiSquare(observed, share); p < 1e-4 {
		t.Errorf("%s: χ² = %.1f with %d degrees of freedom, p = %.2g", what, x, df, p)
	}
}

// differs is the opposite: the test must be able to tell.
func differs(t *testing.T, what string, observed []uint64, share []float64) {
	t.Helper()
	if p, x, df := chiSquare(observed, share); p > 1e-9 {
		t.Errorf("%s: χ² = %.1f with %d degrees of freedom does not tell the laws apart (p = %.2g)", what, x, df, p)
	}
}

func chiSquare(observed []uint64, share []float64) (p, x float64, df int) {
	n, total := 0.0, 0.0
	for i := range share {
		total += share[i]
		if i < len(observed) {
			n += float64(observed[i])
		}
	}
	o, e, cells := 0.0, 0.0, 0
	flush := func() { x += (o - e) * (o - e) / e; cells++; o, e = 0, 0 }
	for i := range share {
		if i < len(observed) {
			o += float64(observed[i])
		}
		if e += share[i] / total * n; e >= 8 {
			flush()
		}
	}
	if e > 0.5 {
		flush()
	} else if o > 8 {
		return 0, math.Inf(1), cells // much where next to nothing was expected
	}
	df = max(1, cells-1)
	return distuv.ChiSquared{K: float64(df)}.Survival(x), x, df
}

// sameSource fails the test when two sets of counts are unlikely to come from
// one law: the two-sample χ² statistic, p < 10⁻⁴.
func sameSource(t *testing.T, what string, a, b []uint64) {
	t.Helper()
	na, nb := 0.0, 0.0
	for i := range a {
		na, nb = na+float64(a[i]), nb+float64(b[i])
	}
	x, cells, pa, pb := 0.0, 0, 0.0, 0.0
	for i := range a {
		pa, pb = pa+float64(a[i]), pb+float64(b[i])
		if pa+pb < 20 && i < len(a)-1 {
			continue
		}
		if pa+pb > 0 {
			d := math.Sqrt(nb/na)*pa - math.Sqrt(na/nb)*pb
			x += d * d / (pa + pb)
			cells++
		}
		pa, pb = 0, 0
	}
	if p := (distuv.ChiSquared{K: float64(max(1, cells-1))}).Survival(x); p < 1e-4 {
		t.Errorf("%s: two-sample χ² = %.1f over %d cells, p = %.2g", what, x, cells, p)
	}
}

func uniformShares(n int) []float64 { return slices.Repeat([]float64{1}, n) }
