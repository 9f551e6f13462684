package nvmepci

import (
	"math/rand/v2"
	"testing"
)

// The sleep settles a little short of the latency, and short latencies are polled through.
func TestNapLearns(t *testing.T) {
	for _, c := range []struct {
		name            string
		latency, jitter int64 // ns
		low, high       int64 // of the sleep
	}{
		{"fast", 12_000, 3_000, 0, 0},
		{"drive", 90_000, 0, 75_000, 90_000},
		{"uneven drive", 100_000, 20_000, 70_000, 115_000},
		{"slow", 5_000_000, 0, napLong, napLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			var n nap
			late := 0
			for i := range 4000 {
				latency := c.latency
				if c.jitter > 0 {
					latency += rng.Int64N(2*c.jitter) - c.jitter
				}
				slept := n.length
				polled := max(0, latency-slept)
				if polled == 0 && i > 1000 {
					late++
				}
				n.learn(slept, polled)
			}
			if n.length < c.low || n.length > c.high {
				t.Errorf("sleeps %d ns of %d, want %d to %d", n.length, c.latency, c.low, c.high)
			}
			if late > 3000/8 {
				t.Errorf("too late %d times of 3000", late)
			}
		})
	}
}

// A wait that the machine made long, between short ones, puts nobody to sleep.
func TestNapIgnoresHiccups(t *testing.T) {
	var n nap
	for i := range 1000 {
		polled := int64(3_000)
		if i%50 < napProof-1 {
			polled = 4_000_000
		}
		if n.learn(0, polled); n.length != 0 {
			t.Fatalf("sleeps %d ns after wait %d", n.length, i)
		}
	}
}

// A drive that becomes fast is not slept through for long.
func TestNapForgets(t *testing.T) {
	n := nap{length: 200_000}
	for range 12 {
		n.learn(n.length, max(0, 10_000-n.length))
	}
	if n.length != 0 {
		t.Errorf("sleeps %d ns before a latency of 10 µs", n.length)
	}
}
