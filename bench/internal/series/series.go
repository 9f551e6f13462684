// Package series reads rates from the time series of a job.
package series

import (
	"time"

	"github.com/blkbench/blkbench/bench/result"
)

// Rates are the I/Os per second of each whole interval, all directions together, and when each began. Left out are intervals shorter
// than half of the usual, and what comes after the measured window, where requests that were in flight at its end complete.
func Rates(j *result.Job) (v []float64, at []time.Duration) {
	end := window(j)
	for i := range j.Series {
		s := &j.Series[i]
		if s.Len <= 0 || s.Len < j.IntervalLength/2 || end > 0 && s.Start+s.Len/2 > end {
			continue
		}
		n := s.Dir[0].IOs + s.Dir[1].IOs + s.Dir[2].IOs
		v = append(v, float64(n)/s.Len.Seconds())
		at = append(at, s.Start)
	}
	return v, at
}

// window is the length of the measured window, 0 where it is not known.
func window(j *result.Job) (d time.Duration) {
	for i := range j.Dir {
		d = max(d, j.Dir[i].Runtime)
	}
	if j.Mixed != nil {
		d = max(d, j.Mixed.Runtime)
	}
	return d
}

// Trend is the mean of the second half over that of the first, less one; 0 where there is nothing to compare.
func Trend(v []float64) float64 {
	var first, second float64
	for i, f := range v {
		switch {
		case i < len(v)/2:
			first += f
		case i >= len(v)-len(v)/2:
			second += f
		}
	}
	if first <= 0 {
		return 0
	}
	return second/first - 1
}
