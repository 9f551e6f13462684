package report

import (
	"math"
	"strconv"
	"time"
)

var (
	siPrefix  = [...]string{"", "k", "M", "G", "T", "P", "E"}
	iecPrefix = [...]string{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}
)

// fioDigits is fio's default of significant_figures.
const fioDigits = 4

// fioNumber writes n as fio does: at most digits digits, divided by 1000 or 1024 until it fits, with the rest as a fraction where
// there is room for a point and at least one digit. The fraction is that of the last division only.
func fioNumber(n uint64, digits int, iec bool, unit string) string {
	k, prefix := uint64(1000), siPrefix[:]
	if iec {
		k, prefix = 1024, iecPrefix[:]
	}
	rest, exp := uint64(0), 0
	for decimals(n) > digits && exp < len(prefix)-1 {
		n, rest, exp = n/k, n%k, exp+1
	}
	if exp == 0 {
		return strconv.FormatUint(n, 10) + unit
	}
	room := digits - decimals(n) - 1
	if room <= 0 {
		if rest >= k/2 {
			n++
		}
		return strconv.FormatUint(n, 10) + prefix[exp] + unit
	}
	frac := strconv.FormatFloat(float64(rest)/float64(k), 'f', room, 64)
	if frac[0] == '1' {
		n++
	}
	return strconv.FormatUint(n, 10) + frac[1:] + prefix[exp] + unit
}

func decimals(n uint64) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

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

// finite replaces what JSON cannot express.
func finite(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// count converts a float to a counter, as fio's casts do for positive values.
func count(f float64) uint64 {
	f = finite(f)
	if f <= 0 {
		return 0
	}
	if f >= math.MaxInt64 {
		return math.MaxInt64
	}
	return uint64(f)
}
