package gen

import (
	"fmt"
	"math"
	"testing"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
)

// zipfShares is Zipf's law, written down plainly.
func zipfShares(n int, theta float64) []float64 {
	s := make([]float64, n)
	for k := range s {
		s[k] = math.Pow(float64(k+1), -theta)
	}
	return s
}

// grayShares is the law of Gray et al. as their algorithm draws it: rank k >= 2
// is where n·(η·u - η + 1)^α, u uniform, is cut to an integer.
func grayShares(n int, theta float64) []float64 {
	zeta := 0.0
	for _, s := range zipfShares(n, theta) {
		zeta += s
	}
	s := make([]float64, n)
	s[0], s[1] = 1/zeta, math.Pow(0.5, theta)/zeta
	two := 1 + math.Pow(0.5, theta)
	eta := (1 - math.Pow(2/float64(n), 1-theta)) / (1 - two/zeta)
	upTo := func(x int) float64 { return (math.Pow(float64(x)/float64(n), 1-theta) + eta - 1) / eta }
	for k := 2; k < n; k++ {
		s[k] = upTo(k+1) - upTo(k)
	}
	return s
}

func paretoShares(n int, h float64) []float64 {
	power := math.Log(1-h) / math.Log(h)
	s := make([]float64, n)
	for k := range n - 1 {
		s[k] = math.Pow(float64(k+1)/float64(n-1), power) - math.Pow(float64(k)/float64(n-1), power)
	}
	return s
}

func draw(t *testing.T, p *popularity, err error, n, samples int) []uint64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		samples = min(samples, 200_000)
	}
	counts := make([]uint64, n)
	r := NewRand(99, 0)
	for range samples {
		counts[p.next(&r)]++
	}
	return counts
}

func TestZipfFollowsItsLaw(t *testing.T) {
	fiotest.Long(t)
	for _, n := range []int{3, 64, 1000, 300_000} {
		for _, theta := range []float64{0.4, 0.8, 1.2, 2.5} {
			name := fmt.Sprintf("n %d theta %v", n, theta)
			fio, err := newZipf(uint64(n), theta, true)
			fits(t, name+" as fio", draw(t, fio, err, n, 2_000_000), grayShares(n, theta))
			exact, err := newZipf(uint64(n), theta, false)
			fits(t, name+" exact", draw(t, exact, err, n, 2_000_000), zipfShares(n, theta))
		}
	}
	one, err := newZipf(1000, 1, false)
	fits(t, "theta 1", draw(t, one, err, 1000, 1_000_000), zipfShares(1000, 1))
}

// The test has the power to tell fio's zipf from Zipf's, and 0.80 from 0.81.
func TestZipfTestCanFail(t *testing.T) {
	if testing.Short() {
		t.Skip("requires two million samples")
	}
	fio, err := newZipf(1000, 0.8, true)
	counts := draw(t, fio, err, 1000, 2_000_000)
	differs(t, "fio's law against Zipf's", counts, zipfShares(1000, 0.8))
	differs(t, "theta 0.8 against 0.81", counts, grayShares(1000, 0.81))
}

func TestParetoFollowsItsLaw(t *testing.T) {
	fiotest.Long(t)
	for _, n := range []int{2, 100, 300_000} {
		for _, h := range []float64{0.05, 0.2, 0.5, 0.9} {
			p, err := newPareto(uint64(n), h)
			fits(t, fmt.Sprintf("n %d power %v", n, h), draw(t, p, err, n, 2_000_000), paretoShares(n, h))
		}
	}
	p, err := newPareto(100_000, 0.2)
	counts := draw(t, p, err, 100_000, 1_000_000)
	hot := uint64(0)
	all := uint64(0)
	for k, c := range counts {
		if all += c; k < 20_000 {
			hot += c
		}
	}
	if share := float64(hot) / float64(all); math.Abs(share-0.8) > 0.005 {
		t.Errorf("the hottest 20 %% of the blocks got %.1f %% of the accesses, want 80", 100*share)
	}
}

// The cells' sums agree with adding up term by term, far out too.
func TestZetaAgainstPlainSum(t *testing.T) {
	for _, theta := range []float64{0.3, 1, 1.2, 3} {
		for _, span := range [][2]uint64{{1, 10}, {1, 100_000}, {700, 800}, {100_000, 103_125}} {
			plain := 0.0
			for k := span[0]; k <= span[1]; k++ {
				plain += math.Pow(float64(k), -theta)
			}
			if got := zeta(span[0], span[1], theta); math.Abs(got-plain) > 1e-9*plain {
				t.Errorf("Σ k^-%v over %v is %v, want %v", theta, span, got, plain)
			}
		}
	}
}

func TestTablesStaySmall(t *testing.T) {
	for _, n := range []uint64{1 << 28, 1 << 40, 1 << 52} {
		p, err := newZipf(n, 1.2, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.cells) > 2000 {
			t.Errorf("%d cells for %d ranks", len(p.cells), n)
		}
		r := NewRand(1, 0)
		for range 10_000 {
			if k := p.next(&r); k >= n {
				t.Fatalf("rank %d of %d", k, n)
			}
		}
	}
}

func TestBadLawsAreRefused(t *testing.T) {
	for _, d := range []Distribution{
		{Law: Zipf},
		{Law: Zipf, Param: -1},
		{Law: Zipf, Param: 1},
		{Law: Zipf, Param: math.NaN()},
		{Law: Pareto},
		{Law: Pareto, Param: 1},
		{Law: Normal, Param: 101},
		{Law: Normal, Param: -1},
		{Law: Zipf, Param: 0.8, Center: 1.5, HasCenter: true},
		{Law: Zoned},
		{Law: Zoned, Zones: []Zone{{50, 10}, {60, 10}}},
		{Law: Zoned, Zones: []Zone{{50, 50}, {50, 60}}},
		{Law: Zoned, Zones: []Zone{{50, 50}}},
		{Law: Zoned, Zones: []Zone{{100, 0}}},
		{Law: Law(17)},
	} {
		if _, err := newPlacer(&d, 1000, 4096, true, NewRand(1, 0)); err == nil {
			t.Errorf("%+v was accepted", d)
		}
	}
}

// blocks counts what a placer draws.
func blocks(t *testing.T, d Distribution, n, samples int) []uint64 {
	t.Helper()
	p, err := newPlacer(&d, uint64(n), 4096, true, NewRand(4, 0))
	if err != nil {
		t.Fatal(err)
	}
	counts := make([]uint64, n)
	for range samples {
		counts[p.next()]++
	}
	return counts
}

func TestCenterIsTheLikeliestBlock(t *testing.T) {
	for _, d := range []Distribution{
		{Law: Zipf, Param: 1.2}, {Law: Pareto, Param: 0.2}, {Law: Zipf, Param: 1.2, Local: true},
	} {
		d.Center, d.HasCenter = 0.25, true
		counts := blocks(t, d, 1000, 100_000)
		for i, c := range counts {
			if c > counts[250] {
				t.Errorf("%v: block %d was drawn %d times, the center %d", d.Law, i, c, counts[250])
			}
		}
	}
}

// Scattering moves blocks without changing how popular they are, and without
// two ranks in one place.
func TestScatterIsAPermutationOfTheLaw(t *testing.T) {
	fiotest.Long(t)
	const n = 5000
	d := Distribution{Law: Zipf, Param: 0.9}
	p, err := newPlacer(&d, n, 4096, true, NewRand(8, 0))
	if err != nil {
		t.Fatal(err)
	}
	at := make([]int, n)
	seen := make([]bool, n)
	for rank := range uint64(n) {
		b := (p.keys.below(rank, n) + p.shift) % n
		if seen[b] {
			t.Fatalf("two ranks at block %d", b)
		}
		seen[b], at[b] = true, int(rank)
	}
	counts := make([]uint64, n)
	for range 1_000_000 {
		counts[at[p.next()]]++
	}
	fits(t, "ranks behind the scattering", counts, grayShares(n, 0.9))
}

// fio's normal is the mean of twelve uniform numbers plus one more, as wide as
// the parameter says; the textbook one has the parameter as its deviation.
func TestNormalHasItsDeviation(t *testing.T) {
	fiotest.Long(t)
	const n = 100_000
	for _, c := range []struct {
		dev   float64
		exact bool
		want  float64
	}{
		{0, false, 1.0 / 12},
		{10, false, math.Sqrt(1.0/144 + 0.01/12)},
		{80, false, math.Sqrt(1.0/144 + 0.25/12)},
		{5, true, 0.05},
		{10, true, 0.10},
	} {
		counts := blocks(t, Distribution{Law: Normal, Param: c.dev, Exact: c.exact, Local: true}, n, 500_000)
		total, mean, square := 0.0, 0.0, 0.0
		for i, k := range counts {
			x := (float64(i) + 0.5) / n
			total += float64(k)
			mean += x * float64(k)
			square += x * x * float64(k)
		}
		mean /= total
		dev := math.Sqrt(square/total - mean*mean)
		if math.Abs(mean-0.5) > 0.002 || math.Abs(dev-c.want) > 0.01*c.want {
			t.Errorf("dev %v: mean %.4f deviation %.4f, want 0.5 and %.4f", c.dev, mean, dev, c.want)
		}
	}
}

func TestExactNormalIsGauss(t *testing.T) {
	const n = 1000
	counts := blocks(t, Distribution{Law: Normal, Param: 10, Exact: true, Local: true}, n, 1_000_000)
	shares := make([]float64, n)
	for i := range shares {
		z := func(x int) float64 { return math.Erf((float64(x)/n - 0.5) / 0.1 / math.Sqrt2) }
		shares[i] = z(i+1) - z(i)
	}
	fits(t, "gauss", counts, shares)
}

func TestZonesGetTheirShares(t *testing.T) {
	const n = 10_000
	even := func(parts ...[2]float64) []float64 { // percent of accesses, blocks
		var s []float64
		for _, p := range parts {
			for range int(p[1]) {
				s = append(s, p[0]/p[1])
			}
		}
		return s
	}
	relative := Distribution{Law: Zoned, Zones: []Zone{{60, 10}, {30, 20}, {8, 30}, {2, 40}}}
	fits(t, "zoned", blocks(t, relative, n, 1_000_000), even([2]float64{60, 1000}, [2]float64{30, 2000}, [2]float64{8, 3000}, [2]float64{2, 4000}))
	blank := Distribution{Law: Zoned, Zones: []Zone{{60, 10}, {0, 30}, {0, 60}}}
	fits(t, "blank shares", blocks(t, blank, n, 1_000_000), even([2]float64{60, 1000}, [2]float64{20, 3000}, [2]float64{20, 6000}))
	absolute := Distribution{Law: ZonedAbs, Zones: []Zone{{70, 4096 * 500}, {30, 4096 * 1500}}}
	fits(t, "zoned_abs", blocks(t, absolute, n, 1_000_000), append(even([2]float64{70, 500}, [2]float64{30, 1500}), make([]float64, 8000)...))
	beyond := Distribution{Law: ZonedAbs, Zones: []Zone{{50, 4096 * 5000}, {50, 1 << 40}}}
	fits(t, "zone beyond the end", blocks(t, beyond, n, 1_000_000), even([2]float64{50, 5000}, [2]float64{50, 5000}))
}
