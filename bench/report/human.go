package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

func humanSize(n int64) string { return units.Bytes(float64(n)) }

// humanPercent has two significant digits, or three of a number above 100.
func humanPercent(f float64) string {
	f = units.Finite(f)
	switch a := math.Abs(f); {
	case a == 0:
		return "0 %"
	case a < 0.0995:
		return "<0.1 %"
	case a < 9.95:
		return units.Three(math.Round(f*10)/10) + " %"
	}
	return strconv.FormatFloat(f, 'f', 0, 64) + " %"
}

// humanTime is a length of time: 850 ms, 12.5 s, 1m05s, 2h05m.
func humanTime(d time.Duration) string {
	switch {
	case d < time.Minute:
		return units.Ns(float64(d))
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}

// clock is a point in time of a run: 0:34, 1:02:03.
func clock(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// latencyOf is the distribution to show of a direction: submission and completion together, where the run kept its details.
func latencyOf(d *result.Dir) result.Latency {
	if detailed(d.Lat) {
		return d.Lat
	}
	if detailed(d.Clat) {
		return d.Clat
	}
	if d.Lat != nil {
		return d.Lat
	}
	return d.Clat
}

func detailed(l result.Latency) bool {
	if l == nil || l.Count() == 0 {
		return false
	}
	r, ok := l.(*recorded)
	return !ok || len(r.bins) > 0 || len(r.percentiles) > 0
}
