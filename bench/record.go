package bench

import (
	"math/bits"

	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/bench/result"
)

// interval is what one worker saw complete in one step of time.
type interval struct {
	from, to int64 // clock ns
	dir      [3]intervalDir
	depth    int
}

type intervalDir struct {
	ios, bytes uint64
	lat        hist.Hist
}

func (iv *interval) reset() {
	for d := range iv.dir {
		if iv.dir[d].ios > 0 {
			iv.dir[d].lat.Reset()
		}
		iv.dir[d].ios, iv.dir[d].bytes = 0, 0
	}
}

// totals are a worker's sums over the measured window. lat is the sum of the intervals' and kept by the collector.
type totals struct {
	dir       [3]totalDir
	sync      hist.Hist
	syncs     uint64
	depth     [7]uint64
	submit    [7]uint64
	complete  [7]uint64
	submits   uint64
	completes uint64
	errors    uint64
	verified  uint64
}

type totalDir struct {
	ios, bytes, short uint64
	first, last       int64 // clock ns: the direction's own run time
	slat, clat        hist.Hist
}

func (t *totals) reset() { *t = totals{} }

// depthClass puts a depth into fio's classes 1, 2, 4, 8, 16, 32, >=64.
func depthClass(n int) int {
	if n <= 1 {
		return 0
	}
	return min(6, bits.Len(uint(n))-1)
}

// batchClass puts a batch size into fio's classes 0, 4, 8, 16, 32, 64, >=64 (each is an upper bound).
func batchClass(n int) int {
	switch {
	case n == 0:
		return 0
	case n <= 4:
		return 1
	case n <= 8:
		return 2
	case n <= 16:
		return 3
	case n <= 32:
		return 4
	case n < 64:
		return 5
	}
	return 6
}

// latency shows a histogram to reports.
type latency struct{ *hist.Hist }

var _ result.Latency = latency{}

// StdDev is the standard deviation in ns.
func (l latency) StdDev() float64 { return l.Stddev() }

// Buckets walks the filled buckets, bounds inclusive.
func (l latency) Buckets(yield func(lo, hi, count uint64) bool) {
	for b := range l.All() {
		if !yield(b.Low, b.Low+b.Width-1, b.Count) {
			return
		}
	}
}

func asLatency(h *hist.Hist) result.Latency {
	if h == nil || h.Count() == 0 {
		return nil
	}
	return latency{h}
}
