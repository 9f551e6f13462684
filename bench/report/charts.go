package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// chart is a drawing with what stands around it.
type chart struct {
	ID, Title, Note string
	Wide            bool
	Legend          []legend
	SVG             template.HTML
}

type legend struct{ Class, Text string }

var dirClass = [...]string{"read", "write", "trim"}

const (
	halfWidth, wideWidth = 590, 1200
	flat, high           = 230, 340
)

// active are the directions that did anything.
func active(cols []column) (list []int) {
	for d := range dirClass {
		for i := range cols {
			if cols[i].dir[d].ios > 0 {
				list = append(list, d)
				break
			}
		}
	}
	return list
}

// rateChart shows I/Os (which = 0) or bytes (which = 1) a second over time.
func rateChart(id string, cols []column, which int) *chart {
	dirs := active(cols)
	if len(cols) < 2 || len(dirs) == 0 {
		return nil
	}
	title, label, base := "IOPS over time", units.Count, 1000.0
	if which == 1 {
		title, label, base = "Bandwidth over time", units.Rate, 1024
	}
	value := func(c *column, d int) float64 {
		return float64([2]uint64{c.dir[d].ios, c.dir[d].bytes}[which]) / max(c.seconds(), 1e-9)
	}
	top := 0.0
	for i := range cols {
		for _, d := range dirs {
			top = max(top, value(&cols[i], d), units.Finite(cols[i].dir[d].hi[which]))
		}
	}
	end := cols[len(cols)-1].end
	y, yt := linear(top, 5, label, base)
	p := newPlot(halfWidth, flat, axis{0, end.Seconds(), false}, y)
	p.left = 78
	p.grid(times(end, 8), yt)
	c := &chart{ID: id, Title: title}
	xs, mean := make([]float64, len(cols)), make([]float64, len(cols))
	var desc []string
	for _, d := range dirs {
		ys, lo, hi, zero := make([]float64, len(cols)), make([]float64, len(cols)), make([]float64, len(cols)), make([]float64, len(cols))
		sum := 0.0
		for i := range cols {
			xs[i], ys[i] = cols[i].middle(), value(&cols[i], d)
			lo[i], hi[i] = units.Finite(cols[i].dir[d].lo[which]), units.Finite(cols[i].dir[d].hi[which])
			sum += ys[i] / float64(len(cols))
		}
		for i := range mean {
			mean[i] = sum
		}
		name := dirClass[d]
		if len(dirs) == 1 {
			p.band("area "+name, xs, zero, ys)
		}
		p.band("band2 "+name, xs, lo, hi)
		p.line("mean "+name, xs, mean)
		p.line("line "+name, xs, ys)
		c.Legend = append(c.Legend, legend{name, name + ", mean " + label(sum)})
		desc = append(desc, fmt.Sprintf("%s: mean %s", name, label(sum)))
	}
	for i := range cols {
		tip := []string{clock(cols[i].start)}
		for _, d := range dirs {
			tip = append(tip, dirClass[d]+" "+label(value(&cols[i], d)))
		}
		p.hover(cols[i].start.Seconds(), cols[i].end.Seconds(), tip...)
	}
	c.SVG = p.done(id, title, strings.Join(desc, "; "))
	return c
}

// bandChart shows the percentiles of one direction's latency over time.
func bandChart(id string, cols []column, d int, wide bool) *chart {
	percentiles := []float64{50, 90, 99, 99.9}
	xs := make([]float64, len(cols))
	ys := make([][]float64, len(percentiles)+1)
	for k := range ys {
		ys[k] = make([]float64, len(cols))
	}
	lo, hi, seen := math.Inf(1), 0.0, 0
	for i := range cols {
		xs[i] = cols[i].middle()
		l := cols[i].dir[d].lat
		if l == nil {
			for k := range ys {
				ys[k][i] = math.NaN()
			}
			continue
		}
		seen++
		for k, q := range percentiles {
			ys[k][i] = float64(max(l.Percentile(q), 1))
		}
		ys[len(percentiles)][i] = float64(max(l.max, 1))
		lo, hi = min(lo, ys[0][i]), max(hi, ys[len(percentiles)][i])
	}
	if seen < 2 {
		return nil
	}
	end := cols[len(cols)-1].end
	y, yt := logarithmic(lo, hi, units.Ns)
	width, n := float64(halfWidth), 8
	if wide {
		width, n = wideWidth, 16
	}
	p := newPlot(width, high-60, axis{0, end.Seconds(), false}, y)
	p.grid(times(end, n), yt)
	name := dirClass[d]
	p.band("band3 "+name, xs, ys[2], ys[3])
	p.band("band2 "+name, xs, ys[1], ys[2])
	p.band("band1 "+name, xs, ys[0], ys[1])
	p.line("line "+name, xs, ys[0])
	p.line("max "+name, xs, ys[4])
	for i := range cols {
		l := cols[i].dir[d].lat
		if l == nil {
			continue
		}
		tip := []string{clock(cols[i].start) + " · " + units.Count(float64(l.n)) + " I/Os"}
		for k, q := range percentiles {
			tip = append(tip, "p"+percentileName(q)+" "+units.Ns(ys[k][i]))
		}
		p.hover(cols[i].start.Seconds(), cols[i].end.Seconds(), append(tip, "max "+units.Ns(ys[4][i]))...)
	}
	title := strings.ToUpper(name[:1]) + name[1:] + " latency over time"
	return &chart{ID: id, Title: title, Wide: wide, Legend: []legend{
		{"line " + name, "median"}, {"band1 " + name, "to p90"}, {"band2 " + name, "to p99"}, {"band3 " + name, "to p99.9"}, {"max " + name, "max"},
	}, SVG: p.done(id, title, fmt.Sprintf("median from %s, highest %s", units.Ns(lo), units.Ns(hi)))}
}

// percentileName writes a percentile without zeroes at its end.
func percentileName(p float64) string {
	s := fmt.Sprintf("%.4f", p)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// curve is a distribution with a name, for charts that compare several.
type curve struct {
	name, class string
	lat         result.Latency
}

func distributions(j *result.Job) (list []curve) {
	for _, d := range shown(j) {
		if l := latencyOf(d.Dir); detailed(l) {
			list = append(list, curve{d.name, d.name, l})
		}
	}
	if l := syncLatency(j); detailed(l) {
		list = append(list, curve{"sync", "sync", l})
	}
	return list
}

// percentileChart has the share above on a logarithmic axis, so that every nine has the same room.
func percentileChart(id string, list []curve) *chart {
	if len(list) == 0 {
		return nil
	}
	lo, hi, nines := math.Inf(1), 0.0, 1.0
	for _, s := range list {
		lo, hi = min(lo, float64(max(s.lat.Min(), 1))), max(hi, float64(s.lat.Max()))
		nines = max(nines, math.Log10(float64(s.lat.Count())))
	}
	nines = min(math.Ceil(nines*2)/2, 9)
	y, yt := logarithmic(lo, hi, units.Ns)
	p := newPlot(halfWidth, high, axis{0, nines, false}, y)
	xt := []tick{{at: 0, label: "0 %"}, {at: 1 - math.Log10(5), label: "50 %"}, {at: 1, label: "90 %"}}
	for k := 2; float64(k) <= nines; k++ {
		xt = append(xt, tick{at: float64(k), label: "99" + strings.TrimSuffix("."+strings.Repeat("9", k-2), ".") + " %"})
	}
	p.grid(xt, yt)
	c := &chart{ID: id, Title: "Latency percentiles", Note: "Dashed where fewer than ten I/Os lie above: there the curve is a matter of chance."}
	var desc []string
	for _, s := range list {
		var xs, ys, xd, yd []float64
		for i := range 241 {
			x := nines * float64(i) / 240
			above := float64(s.lat.Count()) * math.Pow(10, -x)
			v := float64(max(s.lat.Percentile(100-math.Pow(10, 2-x)), 1))
			if above >= 10 {
				xs, ys = append(xs, x), append(ys, v)
				xd, yd = []float64{x}, []float64{v}
			} else if above >= 1 {
				xd, yd = append(xd, x), append(yd, v)
			}
		}
		p.line("line "+s.class, xs, ys)
		p.line("line dashed "+s.class, xd, yd)
		c.Legend = append(c.Legend, legend{s.class, s.name})
		desc = append(desc, fmt.Sprintf("%s: median %s, 99th %s, highest %s", s.name, units.Ns(float64(s.lat.Percentile(50))), units.Ns(float64(s.lat.Percentile(99))), units.Ns(float64(s.lat.Max()))))
	}
	for i := range 120 {
		x := nines * (float64(i) + 0.5) / 120
		q := 100 - math.Pow(10, 2-x)
		tip := []string{"p" + nineLabel(q, x)}
		for _, s := range list {
			tip = append(tip, s.name+" "+units.Ns(float64(s.lat.Percentile(q))))
		}
		p.hover(nines*float64(i)/120, nines*float64(i+1)/120, tip...)
	}
	c.SVG = p.done(id, c.Title, strings.Join(desc, "; "))
	return c
}

// nineLabel writes a percentile with as many digits as its place on the axis of nines deserves.
func nineLabel(p, x float64) string {
	return fmt.Sprintf("%.*f", max(0, int(x)), p)
}

// densityChart shows which latencies are frequent: shares of equal steps on a logarithmic axis.
func densityChart(id string, list []curve) *chart {
	if len(list) == 0 {
		return nil
	}
	lo, hi := math.Inf(1), 0.0
	for _, s := range list {
		lo, hi = min(lo, float64(max(s.lat.Percentile(0.01), 1))), max(hi, float64(s.lat.Percentile(99.99)))
	}
	x, xt := logarithmic(lo, hi, units.Ns)
	const steps = 96
	shares := make([][steps]float64, len(list))
	top := 0.0
	for k, s := range list {
		s.lat.Buckets(func(a, b, n uint64) bool {
			i := min(int(x.at(float64(max(middle(a, b), 1)))*steps), steps-1)
			shares[k][i] += float64(n) / float64(s.lat.Count()) * 100
			return true
		})
		for _, f := range shares[k] {
			top = max(top, f)
		}
	}
	y, yt := linear(top, 5, humanPercent, 0)
	p := newPlot(halfWidth, high, axis{0, steps, false}, y)
	for i := range xt {
		xt[i].at = x.at(xt[i].at) * steps
	}
	p.grid(xt, yt)
	c := &chart{ID: id, Title: "Latency distribution"}
	for k, s := range list {
		var xs, ys, zero []float64
		for i, f := range shares[k] {
			xs, ys, zero = append(xs, float64(i), float64(i+1)), append(ys, f, f), append(zero, 0, 0)
		}
		p.band("area "+s.class, xs, zero, ys)
		p.line("thin "+s.class, xs, ys)
		c.Legend = append(c.Legend, legend{s.class, s.name})
	}
	for i := range steps {
		edge := func(i int) string { return units.Ns(x.lo * math.Pow(x.hi/x.lo, float64(i)/steps)) }
		tip := []string{edge(i) + " – " + edge(i+1)}
		for k, s := range list {
			tip = append(tip, s.name+" "+humanPercent(shares[k][i]))
		}
		p.hover(float64(i), float64(i+1), tip...)
	}
	c.SVG = p.done(id, c.Title, "share of I/Os by latency")
	return c
}

// steadyChart shows the window of the steady-state test with its mean and ±10 % lines.
func steadyChart(id string, s *result.SteadyState) *chart {
	v, label, name := s.IOPS, units.Count, "IOPS"
	if strings.HasPrefix(s.Expr, "bw") {
		v, label, name = s.BW, units.Rate, "Bandwidth"
	}
	if strings.HasPrefix(s.Expr, "lat") {
		v, label, name = s.Lat, units.Ns, "Latency"
	}
	if len(v) < 2 {
		return nil
	}
	step := s.Interval
	if step <= 0 {
		step = time.Second
	}
	mean, top := 0.0, 0.0
	xs := make([]float64, len(v))
	for i, f := range v {
		xs[i] = float64(i+1) * step.Seconds()
		mean += f / float64(len(v))
		top = max(top, f)
	}
	end := time.Duration(len(v)+1) * step
	y, yt := linear(max(top, mean*1.15), 5, label, 1000)
	p := newPlot(halfWidth, flat, axis{0, end.Seconds(), false}, y)
	p.left = 78
	p.grid(times(end, 8), yt)
	same := func(f float64) []float64 {
		list := make([]float64, len(v))
		for i := range list {
			list[i] = f
		}
		return list
	}
	p.band("band3 read", xs, same(mean*0.9), same(mean*1.1))
	p.line("mean read", xs, same(mean))
	slope := make([]float64, len(v))
	a, b := fit(xs, v)
	for i := range slope {
		slope[i] = a + b*xs[i]
	}
	p.line("thin write", xs, slope)
	p.line("line read", xs, v)
	word := "not reached"
	if s.Attained {
		word = "reached"
	}
	title := name + " in the steady-state window"
	return &chart{
		ID: id, Title: title, Note: fmt.Sprintf("%s: %s; criterion %s%s.", s.Expr, word, units.Three(s.Criterion), map[bool]string{true: " %"}[s.Percent]),
		Legend: []legend{{"read", "measured"}, {"band3 read", "mean ±10 %"}, {"write", "trend"}}, SVG: p.done(id, title, "steady state "+word),
	}
}

// fit is the least-squares line y = a + b·x.
func fit(x, y []float64) (a, b float64) {
	var sx, sy, sxx, sxy float64
	n := float64(len(x))
	for i := range x {
		sx, sy, sxx, sxy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	if d := n*sxx - sx*sx; d != 0 {
		b = (n*sxy - sx*sy) / d
	}
	return (sy - b*sx) / n, b
}
