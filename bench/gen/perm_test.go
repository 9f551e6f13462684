package gen

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"
)

// Each block once per pass, for every small n and some awkward larger ones.
func TestPermVisitsEachBlockOncePerPass(t *testing.T) {
	sizes := []uint64{1000, 1023, 1024, 1025, 4095, 65537, 100_003}
	for n := uint64(1); n <= 130; n++ {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		p := NewPerm(n, NewRand(n, 1))
		for pass := range 3 {
			seen := make([]bool, n)
			for range n {
				x := p.Next()
				if x >= n || seen[x] {
					t.Fatalf("n = %d, pass %d: block %d again, or beyond the end", n, pass, x)
				}
				seen[x] = true
			}
		}
		if p.Pass() != 2 {
			t.Errorf("n = %d: %d passes begun anew, want 2", n, p.Pass())
		}
	}
}

func TestPermBatchesAreTheSameSequence(t *testing.T) {
	one, many := NewPerm(777, NewRand(5, 0)), NewPerm(777, NewRand(5, 0))
	buf := make([]uint64, 0, 5000)
	for n := 1; len(buf) < 4000; n = (n*7 + 3) % 211 {
		at := len(buf)
		buf = buf[:at+n]
		many.Fill(buf[at:])
	}
	for i, x := range buf {
		if y := one.Next(); x != y {
			t.Fatalf("element %d: %d one by one, %d in batches", i, y, x)
		}
	}
	one.Reset()
	if x := one.Next(); x != buf[0] {
		t.Errorf("after a reset the first is %d, want %d", x, buf[0])
	}
}

// Passes are in different orders: for 1000 blocks, places where two passes agree
// are Poisson with mean 1.
func TestPermPassesDiffer(t *testing.T) {
	const n = 1000
	p := NewPerm(n, NewRand(3, 0))
	previous := make([]uint64, n)
	p.Fill(previous)
	agree := 0
	for range 200 {
		pass := make([]uint64, n)
		p.Fill(pass)
		for i := range pass {
			if pass[i] == previous[i] {
				agree++
			}
		}
		previous = pass
	}
	if agree < 130 || agree > 270 { // 200 ± 5 σ
		t.Errorf("%d agreements in 200 passes, want about 200", agree)
	}
}

// Over seeds, every place of the order has every block equally often, and pairs
// of neighbours are as independent as without replacement.
func TestPermOrdersAreUniform(t *testing.T) {
	for _, n := range []uint64{5, 16, 24, 257, 400} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			if testing.Short() && n > 24 {
				t.Skip("long")
			}
			positions := make([][]uint64, n)
			for i := range positions {
				positions[i] = make([]uint64, n)
			}
			pairs := make([]uint64, n*n)
			orders := 60_000 + int(n*n)
			p := NewPerm(n, NewRand(11, n))
			order := make([]uint64, n)
			for range orders {
				p.Fill(order)
				for i, x := range order {
					positions[i][x]++
				}
				pairs[order[0]*n+order[1]]++
			}
			for i, counts := range positions {
				fits(t, fmt.Sprintf("block at place %d", i), counts, uniformShares(int(n)))
			}
			shares := make([]float64, n*n)
			for i := range n {
				for j := range n {
					if i != j {
						shares[i*n+j] = 1
					}
				}
			}
			fits(t, "first two blocks", pairs, shares)
		})
	}
}

// Within a long pass, the k-th and the (k+lag)-th block have nothing to do with
// each other: their quadrants and their distances are as for random numbers.
func TestPermHasNoSerialCorrelation(t *testing.T) {
	const n = 1_000_000
	p := NewPerm(n, NewRand(17, 0))
	order := make([]uint64, n)
	p.Fill(order)
	const grid = 16
	for _, lag := range []int{1, 2, 3, 4, 8, 64, 1024, 65536} {
		cells := make([]uint64, grid*grid)
		ones := make([]uint64, 64)
		for i := lag; i < n; i += 3 {
			cells[order[i]*grid/n*grid+order[i-lag]*grid/n]++
			ones[bits.OnesCount64((order[i]^order[i-lag])&0x3ffff)]++
		}
		fits(t, fmt.Sprintf("pairs at lag %d", lag), cells, uniformShares(grid*grid))
	}
	ascending := 0
	for i := 1; i < n; i++ {
		if order[i] == order[i-1]+1 {
			ascending++
		}
	}
	if ascending > 10 {
		t.Errorf("%d neighbours follow each other in a pass, want about 1", ascending)
	}
}

// Two seeds give unrelated orders.
func TestPermSeedsDiffer(t *testing.T) {
	const n = 1 << 16
	a, b := make([]uint64, n), make([]uint64, n)
	NewPerm(n, NewRand(1, 0)).Fill(a)
	NewPerm(n, NewRand(2, 0)).Fill(b)
	same := 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
	}
	if same > 8 {
		t.Errorf("%d of %d places agree", same, n)
	}
	again := make([]uint64, n)
	NewPerm(n, NewRand(1, 0)).Fill(again)
	if !slices.Equal(a, again) {
		t.Error("one seed gives two orders")
	}
}

func FuzzPerm(f *testing.F) {
	f.Add(uint16(1), uint64(0))
	f.Add(uint16(1025), uint64(7))
	f.Fuzz(func(t *testing.T, n uint16, seed uint64) {
		p := NewPerm(uint64(n), NewRand(seed, 0))
		seen := make([]bool, p.Len())
		for range p.Len() {
			x := p.Next()
			if x >= p.Len() || seen[x] {
				t.Fatalf("n = %d: block %d again, or beyond the end", n, x)
			}
			seen[x] = true
		}
	})
}
