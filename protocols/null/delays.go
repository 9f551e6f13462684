package null

import (
	"math/rand/v2"
	"sync/atomic"
)

// delays draws latencies, in nanoseconds. It belongs to one thread.
type delays struct {
	base, jitter int64
	shape        string
	rng          *rand.Rand
}

var streams atomic.Uint64

func newDelays(o *Options) *delays {
	return &delays{base: o.Latency, jitter: o.Jitter, shape: o.Shape, rng: rand.New(rand.NewPCG(uint64(o.Seed), streams.Add(1)))}
}

func (d *delays) next() int64 {
	if d.jitter == 0 {
		return d.base
	}
	switch d.shape {
	case "normal":
		return max(0, d.base+int64(d.rng.NormFloat64()*float64(d.jitter)))
	case "exp":
		return d.base + int64(d.rng.ExpFloat64()*float64(d.jitter))
	default:
		return d.base + d.rng.Int64N(d.jitter+1)
	}
}
