package report

import "strings"

var sparks = []rune(" ▁▂▃▄▅▆▇█")

// Sparkline draws v as width characters from zero up to its highest value; where there are more values than characters, each shows
// the lowest of those it covers, so that a short stall stays visible.
func Sparkline(v []float64, width int) string {
	if len(v) == 0 || width <= 0 {
		return ""
	}
	width = min(width, len(v))
	top := 0.0
	for _, f := range v {
		top = max(top, finite(f))
	}
	var b strings.Builder
	for i := range width {
		lo, hi := i*len(v)/width, (i+1)*len(v)/width
		low := finite(v[lo])
		for _, f := range v[lo:hi] {
			low = min(low, finite(f))
		}
		level := 0
		if top > 0 && low > 0 {
			level = 1 + int(low/top*float64(len(sparks)-2)+0.5)
		}
		b.WriteRune(sparks[min(level, len(sparks)-1)])
	}
	return b.String()
}
