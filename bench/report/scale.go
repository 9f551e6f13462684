package report

import (
	"math"
	"time"

	"github.com/blkbench/blkbench/bench/internal/units"
)

// latencyScale is the unit fio chooses for a line of min, max, mean and deviation.
type latencyScale struct {
	name string
	div  uint64
}

var (
	nsec = latencyScale{"nsec", 1}
	usec = latencyScale{"usec", 1000}
	msec = latencyScale{"msec", 1000000}
)

func scaleOf(lo, hi uint64, dev float64) latencyScale {
	switch {
	case lo > 2000000 && hi > 99999999 && dev > 1000000:
		return msec
	case lo > 2000 && hi > 99999 && dev > 1000:
		return usec
	}
	return nsec
}

// percentileScale is the unit of a table of percentiles, which fio chooses without looking at the deviation.
func percentileScale(lo, hi uint64) latencyScale { return scaleOf(lo, hi, math.Inf(1)) }

func millis(d time.Duration) uint64 { return uint64(max(d, 0) / time.Millisecond) }

func ctime(t time.Time) string { return t.Format("Mon Jan _2 15:04:05 2006") }

// count converts a float to a counter, as fio's casts do for positive values.
func count(f float64) uint64 {
	f = units.Finite(f)
	if f <= 0 {
		return 0
	}
	if f >= math.MaxInt64 {
		return math.MaxInt64
	}
	return uint64(f)
}
