package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/blkbench/blkbench/bench/internal/units"
)

// plot is one chart in the making: an SVG whose colours come from the page's style sheet by class.
type plot struct {
	b             strings.Builder
	width, height float64
	left, right   float64
	top, bottom   float64
	x, y          axis
}

// axis maps values to 0 … 1.
type axis struct {
	lo, hi float64
	log    bool
}

func (a axis) at(v float64) float64 {
	lo, hi := a.lo, a.hi
	if a.log {
		v, lo, hi = math.Log10(max(v, a.lo)), math.Log10(lo), math.Log10(hi)
	}
	if hi == lo {
		return 0
	}
	return min(max((v-lo)/(hi-lo), 0), 1)
}

func newPlot(width, height float64, x, y axis) *plot {
	return &plot{width: width, height: height, left: 64, right: 14, top: 12, bottom: 30, x: x, y: y}
}

func (p *plot) px(v float64) float64 { return p.left + p.x.at(v)*(p.width-p.left-p.right) }

func (p *plot) py(v float64) float64 {
	return p.height - p.bottom - p.y.at(v)*(p.height-p.top-p.bottom)
}

func num(f float64) string {
	s := strconv.FormatFloat(units.Finite(f), 'f', 1, 64)
	return strings.TrimSuffix(s, ".0")
}

func (p *plot) element(format string, args ...any) { fmt.Fprintf(&p.b, format, args...) }

func (p *plot) text(x, y float64, class, s string) {
	p.element(`<text x="%s" y="%s" class="%s">%s</text>`, num(x), num(y), class, html.EscapeString(s))
}

// line draws through the points that are there; a NaN breaks it.
func (p *plot) line(class string, xs, ys []float64) {
	var d strings.Builder
	pen := byte('M')
	for i := range xs {
		if math.IsNaN(ys[i]) {
			pen = 'M'
			continue
		}
		d.WriteByte(pen)
		d.WriteString(num(p.px(xs[i])) + " " + num(p.py(ys[i])))
		pen = 'L'
	}
	if d.Len() > 0 {
		p.element(`<path class="%s" d="%s"/>`, class, d.String())
	}
}

// band fills between two lines; stretches with a NaN are left out.
func (p *plot) band(class string, xs, lo, hi []float64) {
	var d strings.Builder
	for i := 0; i < len(xs); {
		if math.IsNaN(lo[i]) || math.IsNaN(hi[i]) {
			i++
			continue
		}
		k := i
		for k < len(xs) && !math.IsNaN(lo[k]) && !math.IsNaN(hi[k]) {
			k++
		}
		pen := "M"
		for m := i; m < k; m++ {
			d.WriteString(pen + num(p.px(xs[m])) + " " + num(p.py(hi[m])))
			pen = "L"
		}
		for m := k - 1; m >= i; m-- {
			d.WriteString("L" + num(p.px(xs[m])) + " " + num(p.py(lo[m])))
		}
		d.WriteString("Z")
		i = k
	}
	if d.Len() > 0 {
		p.element(`<path class="%s" d="%s"/>`, class, d.String())
	}
}

type tick struct {
	at    float64
	label string
	major bool
}

func (p *plot) grid(xs, ys []tick) {
	right, bottom := p.width-p.right, p.height-p.bottom
	for _, t := range ys {
		y := p.py(t.at)
		class := "grid"
		if t.major {
			class = "grid major"
		}
		p.element(`<line class="%s" x1="%s" x2="%s" y1="%s" y2="%s"/>`, class, num(p.left), num(right), num(y), num(y))
		if t.label != "" {
			p.text(p.left-8, y+4, "label end", t.label)
		}
	}
	last := -1e9
	for _, t := range xs {
		x := p.px(t.at)
		p.element(`<line class="grid" x1="%s" x2="%s" y1="%s" y2="%s"/>`, num(x), num(x), num(p.top), num(bottom))
		w := float64(len(t.label)) * 7
		if x = min(x, right-w/2+8); t.label != "" && x-w/2 > last {
			p.text(x, bottom+18, "label mid", t.label)
			last = x + w/2 + 4
		}
	}
	p.element(`<line class="axis" x1="%s" x2="%s" y1="%s" y2="%s"/>`, num(p.left), num(right), num(bottom), num(bottom))
}

// hover lays an invisible column over the chart that the page's script shows a tip for.
func (p *plot) hover(from, to float64, tip ...string) {
	x0, x1 := p.px(from), p.px(to)
	p.element(`<rect class="hover" x="%s" y="%s" width="%s" height="%s" data-tip="%s"/>`,
		num(x0), num(p.top), num(max(x1-x0, 0.5)), num(p.height-p.top-p.bottom), html.EscapeString(strings.Join(tip, "\n")))
}

// done is the finished drawing; title and description are what a screen reader reads.
func (p *plot) done(id, title, description string) template.HTML {
	head := fmt.Sprintf(`<svg id="%s" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>`,
		id, num(p.width), num(p.height), id, id, id, html.EscapeString(title), id, html.EscapeString(description))
	return template.HTML(head + p.b.String() + "</svg>") //nolint:gosec // every text in it is escaped where it is written
}

// linear chooses about n round steps from zero to at least hi, and their labels.
func linear(hi float64, n int, label func(float64) string, base float64) (axis, []tick) {
	if hi <= 0 {
		hi = 1
	}
	unit := 1.0
	for hi/unit >= 1000 && base > 0 {
		unit *= base
	}
	raw := hi / unit / float64(n)
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	step := mag * 10
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*mag >= raw {
			step = m * mag
			break
		}
	}
	step *= unit
	var ticks []tick
	top := 0.0
	for i := 0; i <= 2*n+2; i++ {
		v := float64(i) * step
		ticks = append(ticks, tick{at: v, label: label(v)})
		top = v
		if v >= hi {
			break
		}
	}
	return axis{0, top, false}, ticks
}

// logarithmic covers lo … hi with decades, and with 2 and 5 between them where there are few.
func logarithmic(lo, hi float64, label func(float64) string) (axis, []tick) {
	lo = max(lo, 1)
	hi = max(hi, lo*1.5)
	few := math.Log10(hi/lo) < 2.5
	a := axis{lo: math.Inf(1), hi: 0, log: true}
	var ticks []tick
	for e := math.Floor(math.Log10(lo)) - 1; e <= math.Ceil(math.Log10(hi)); e++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, e)
			if v > lo*1.0001 || v < 1 {
				continue
			}
			a.lo = v // the last tick at or below lo
		}
	}
	if math.IsInf(a.lo, 1) {
		a.lo = 1
	}
	for e := math.Floor(math.Log10(a.lo)); a.hi < hi && e < 20; e++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, e)
			if v < a.lo*0.9999 || a.hi >= hi {
				continue
			}
			a.hi = v
			t := tick{at: v, major: m == 1}
			if m == 1 || few {
				t.label = label(v)
			}
			ticks = append(ticks, t)
		}
	}
	return a, ticks
}

// longest bounds the axis of time.
const longest = 100 * 365 * 24 * time.Hour

// times chooses about n round points of time.
func times(d time.Duration, n int) []tick {
	d = min(max(d, 0), longest)
	steps := []time.Duration{
		time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if d <= s*time.Duration(n) {
			step = s
			break
		}
	}
	for d > step*time.Duration(n) {
		step *= 2
	}
	var out []tick
	for t := time.Duration(0); t <= d; t += step {
		label := clock(t)
		if step < time.Second {
			label = units.Three(t.Seconds()) + " s"
		}
		out = append(out, tick{at: t.Seconds(), label: label})
	}
	return out
}
