package report

import (
	"github.com/blkbench/blkbench/bench/internal/units"
)

// Sparkline draws v as width characters from zero up to its highest value; where there are more values than characters, each shows
// the lowest of those it covers, so that a short stall stays visible.
func Sparkline(v []float64, width int) string {
	if len(v) == 0 || width <= 0 {
		return ""
	}
	width = min(width, len(v))
	top := 0.0
	for _, f := range v {
		top = max(top, units.Finite(f))
	}
	var b []byte
	for i := range width {
		low := units.Finite(v[i*len(v)/width])
		for _, f := range v[i*len(v)/width : (i+1)*len(v)/width] {
			low = min(low, units.Finite(f))
		}
		b = units.AppendSpark(b, low, top)
	}
	return string(b)
}
