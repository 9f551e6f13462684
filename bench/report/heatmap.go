package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/blkbench/blkbench/bench/internal/units"
)

// levels is how many shades a heatmap has.
const levels = 9

// heatRows is the most rows that a heatmap has.
const heatRows = 54

// heatmap shows how many I/Os took how long, over time: columns of time, rows of latency in equal steps on a logarithmic axis, shades by the logarithm of the number.
func heatmap(id string, cols []column, d int) *chart {
	lo, hi := math.Inf(1), 0.0
	for i := range cols {
		if l := cols[i].dir[d].lat; l != nil && len(l.bins) > 0 {
			lo, hi = min(lo, float64(max(l.bins[0][0], 1))), max(hi, float64(l.bins[len(l.bins)-1][0]))
		}
	}
	if hi == 0 || len(cols) < 2 {
		return nil
	}
	y, yt := logarithmic(lo, hi, units.Ns)
	// A row is at least as high as two buckets of a histogram with an error of 1/64 are wide, or rows would stay empty between them.
	rows := min(heatRows, max(4, int(math.Log(y.hi/y.lo)/math.Log(1+2.0/64))))
	grid := make([][]uint64, len(cols))
	var top uint64
	for i := range cols {
		grid[i] = make([]uint64, rows)
		l := cols[i].dir[d].lat
		if l == nil {
			continue
		}
		for _, b := range l.bins {
			r := min(int(y.at(float64(max(b[0], 1)))*float64(rows)), rows-1)
			grid[i][r] += b[1]
			top = max(top, grid[i][r])
		}
	}
	end := cols[len(cols)-1].end
	p := newPlot(wideWidth, high, axis{0, end.Seconds(), false}, y)
	p.grid(times(end, 16), yt)
	cells(p, cols, grid, top)
	for i := range cols {
		l := cols[i].dir[d].lat
		if l == nil {
			continue
		}
		tip := fmt.Sprintf("%s · %s I/Os\np50 %s\np99 %s\nmax %s", clock(cols[i].start), units.Count(float64(l.n)),
			units.Ns(float64(l.Percentile(50))), units.Ns(float64(l.Percentile(99))), units.Ns(float64(l.max)))
		p.hover(cols[i].start.Seconds(), cols[i].end.Seconds(), tip)
	}
	title := strings.ToUpper(dirClass[d][:1]) + dirClass[d][1:] + " latency heatmap"
	c := &chart{ID: id, Title: title, Wide: true, SVG: p.done(id, title, fmt.Sprintf("from %s to %s; the fullest cell holds %s I/Os", units.Ns(lo), units.Ns(hi), units.Count(float64(top))))}
	for _, k := range []int{1, (levels + 1) / 2, levels} {
		c.Legend = append(c.Legend, legend{fmt.Sprintf("heat h%d", k), units.Count(math.Max(1, math.Round(math.Pow(float64(top), float64(k-1)/(levels-1))))) + map[bool]string{true: " I/Os"}[k == levels]})
	}
	return c
}

// cells draws one path a shade: each cell is a rectangle, neighbours of a column and a shade are one.
func cells(p *plot, cols []column, grid [][]uint64, top uint64) {
	var paths [levels + 1]strings.Builder
	rows := len(grid[0])
	height := (p.height - p.top - p.bottom) / float64(rows)
	for i := range grid {
		x0, x1 := p.px(cols[i].start.Seconds()), p.px(cols[i].end.Seconds())
		for r := 0; r < rows; {
			level := shade(grid[i][r], top)
			k := r
			for k < rows && shade(grid[i][k], top) == level {
				k++
			}
			if level > 0 {
				y := p.height - p.bottom - float64(k)*height
				fmt.Fprintf(&paths[level], "M%s %sH%sV%sH%sZ", num(x0), num(y), num(x1+0.1), num(y+float64(k-r)*height+0.1), num(x0))
			}
			r = k
		}
	}
	for level := range paths {
		if paths[level].Len() > 0 {
			p.element(`<path class="heat h%d" d="%s"/>`, level, paths[level].String())
		}
	}
}

// shade is 1 for one I/O up to levels for the fullest cell.
func shade(n, top uint64) int {
	if n == 0 {
		return 0
	}
	if top <= 1 {
		return levels
	}
	return min(1+int(math.Log(float64(n))/math.Log(float64(top))*(levels-1)+0.5), levels)
}
