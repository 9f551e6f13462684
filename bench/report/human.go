package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/blkbench/blkbench/bench/result"
)

// Units for people: three significant digits, a space before the unit.

func humanCount(f float64) string {
	v, prefix := humanize.ComputeSI(finite(f))
	if prefix == "" || math.Abs(v) < 1 {
		return three(finite(f))
	}
	return three(v) + " " + prefix
}

// humanRate is bytes a second, in powers of 1024.
func humanRate(f float64) string { return humanBytes(f) + "/s" }

func humanBytes(f float64) string {
	f = finite(f)
	units := [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := 0
	for ; f >= 1000 && i < len(units)-1; i++ {
		f /= 1024
	}
	return three(f) + " " + units[i]
}

func humanSize(n int64) string { return humanBytes(float64(n)) }

// humanNs is a latency.
func humanNs(ns float64) string {
	ns = finite(ns)
	switch {
	case ns < 1000:
		return three(ns) + " ns"
	case ns < 999500:
		return three(ns/1e3) + " µs"
	case ns < 999.5e6:
		return three(ns/1e6) + " ms"
	}
	return three(ns/1e9) + " s"
}

// three writes three significant digits, without zeroes at the end of a fraction.
func three(f float64) string {
	a := math.Abs(f)
	prec := 0
	switch {
	case a == 0:
	case a < 9.995:
		prec = 2
	case a < 99.95:
		prec = 1
	}
	s := strconv.FormatFloat(f, 'f', prec, 64)
	if prec > 0 {
		for s[len(s)-1] == '0' {
			s = s[:len(s)-1]
		}
		if s[len(s)-1] == '.' {
			s = s[:len(s)-1]
		}
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// humanPercent has two significant digits, or three of a number above 100.
func humanPercent(f float64) string {
	f = finite(f)
	switch a := math.Abs(f); {
	case a == 0:
		return "0 %"
	case a < 0.0995:
		return "<0.1 %"
	case a < 9.95:
		return three(math.Round(f*10)/10) + " %"
	}
	return strconv.FormatFloat(f, 'f', 0, 64) + " %"
}

// humanTime is a length of time: 850 ms, 12.5 s, 1m05s, 2h05m.
func humanTime(d time.Duration) string {
	switch {
	case d < time.Minute:
		return humanNs(float64(d))
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
