package live

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// history is how many rates the sparkline remembers.
const history = 128

// frame is the block of lines on a terminal.
type frame struct {
	buf    []byte
	line   []byte
	rows   []int // columns of each line that is on the screen
	colour bool
	rates  [3][history]float64
	at     int // where the next rate goes
	n      int // how many there are
	ever   [3]bool
}

const (
	clearLine  = "\x1b[K"
	clearBelow = "\x1b[J"
	faint      = "\x1b[2m"
	bold       = "\x1b[1m"
	cyan       = "\x1b[36m"
	plain      = "\x1b[0m"
)

// draw returns what to write: back to the first line, then the lines. The buffer is valid until the next call.
func (f *frame) draw(l *result.Live, width int) []byte {
	for d := range f.rates {
		f.rates[d][f.at] = l.Dir[d].IOPS
		f.ever[d] = f.ever[d] || l.Dir[d].IOPS > 0
	}
	f.at = (f.at + 1) % history
	f.n = min(f.n+1, history)
	f.home(width)
	f.rows = f.rows[:0]
	f.progress(l, width)
	f.end(width)
	for d, seen := range f.ever {
		if seen {
			f.direction(l, d, width)
			f.end(width)
		}
	}
	f.buf = append(f.buf, clearBelow...)
	return f.buf
}

// home moves to the first column of the first line of what is on the screen. Lines that a narrower terminal has wrapped count for several.
func (f *frame) home(width int) {
	f.buf = append(f.buf[:0], '\r')
	up := 0
	for _, w := range f.rows {
		up += 1 + max(0, w-1)/max(width, 1)
	}
	if up > 1 {
		f.buf = append(f.buf, "\x1b["...)
		f.buf = append(strconv.AppendInt(f.buf, int64(up-1), 10), 'A')
	}
}

func (f *frame) clear(width int) []byte {
	if len(f.rows) == 0 {
		return nil
	}
	f.home(width)
	f.rows = f.rows[:0]
	return append(f.buf, clearBelow...)
}

// end adds the line that was built to the screen, cut so that the terminal never wraps it.
func (f *frame) end(width int) {
	if len(f.rows) > 0 {
		f.buf = append(f.buf, "\r\n"...)
	}
	used := 0
	for i := 0; i < len(f.line); {
		if f.line[i] == '\x1b' { // a colour takes no room
			k := i
			for k < len(f.line) && f.line[k] != 'm' {
				k++
			}
			f.buf = append(f.buf, f.line[i:min(k+1, len(f.line))]...)
			i = k + 1
			continue
		}
		_, size := utf8.DecodeRune(f.line[i:])
		if used < width-1 {
			f.buf = append(f.buf, f.line[i:i+size]...)
			used++
		}
		i += size
	}
	f.buf = append(f.buf, clearLine...)
	f.rows = append(f.rows, used)
	f.line = f.line[:0]
}

func (f *frame) paint(colour, text string) {
	if f.colour {
		f.line = append(append(append(f.line, colour...), text...), plain...)
		return
	}
	f.line = append(f.line, text...)
}

// progress is the first line: the state, a bar, and the time.
func (f *frame) progress(l *result.Live, width int) {
	f.paint(bold, l.State)
	if l.Jobs > 1 {
		f.line = append(f.line, " · "...)
		f.line = strconv.AppendInt(f.line, int64(l.Running), 10)
		f.line = append(f.line, " of "...)
		f.line = strconv.AppendInt(f.line, int64(l.Jobs), 10)
		f.line = append(f.line, " jobs"...)
	}
	if l.OpenDepth > 0 {
		f.line = append(f.line, " · "...)
		f.line = strconv.AppendInt(f.line, int64(l.OpenDepth), 10)
		f.line = append(f.line, " in flight"...)
	}
	f.line = append(f.line, "  "...)
	if l.Done >= 0 {
		f.bar(l.Done, min(max(width-60, 0), 40))
		f.line = append(f.line, ' ')
		f.line = strconv.AppendInt(f.line, int64(min(max(l.Done, 0), 1)*100), 10)
		f.line = append(f.line, " %  "...)
	}
	if l.Left >= 0 {
		f.line = append(appendClock(f.line, l.Left), " left"...)
	} else {
		f.line = append(appendClock(f.line, l.Elapsed), " so far"...)
	}
}

func (f *frame) bar(done float64, width int) {
	full := int(min(max(done, 0), 1)*float64(width) + 0.5)
	if f.colour {
		f.line = append(f.line, cyan...)
	}
	for i := range width {
		if i == full && f.colour {
			f.line = append(append(f.line, plain...), faint...)
		}
		if i < full {
			f.line = append(f.line, "━"...)
		} else {
			f.line = append(f.line, "─"...)
		}
	}
	if f.colour {
		f.line = append(f.line, plain...)
	}
}

var names = [...]string{"read", "write", "trim"}

// Columns of a direction's line.
const (
	rateColumn    = 6
	bwColumn      = 19
	p50Column     = 33
	p99Column     = 47
	sparkColumn   = 61
	narrowest     = 16 // of a sparkline
	widest        = 48
	latencyCannot = "–"
)

func (f *frame) direction(l *result.Live, d, width int) {
	v := &l.Dir[d]
	f.line = append(f.line, names[d]...)
	f.pad(rateColumn)
	at := len(f.line)
	if f.colour {
		f.line = append(f.line, bold...)
	}
	f.line = append(units.AppendCount(f.line, v.IOPS), " IOPS"...)
	if f.colour {
		f.line = append(f.line, plain...)
	}
	f.rest(at, bwColumn-rateColumn)
	at = len(f.line)
	f.line = units.AppendRate(f.line, v.BW)
	f.rest(at, p50Column-bwColumn)
	at = len(f.line)
	f.latency("p50 ", v.P50)
	f.rest(at, p99Column-p50Column)
	at = len(f.line)
	f.latency("p99 ", v.P99)
	f.rest(at, sparkColumn-p99Column)
	if room := min(width-1-sparkColumn, widest); room >= narrowest {
		f.spark(d, room)
	}
}

func (f *frame) latency(name string, ns uint64) {
	f.line = append(f.line, name...)
	if ns == 0 {
		f.line = append(f.line, latencyCannot...)
		return
	}
	f.line = units.AppendNs(f.line, float64(ns))
}

// pad fills the line, which holds ASCII only, up to a column.
func (f *frame) pad(column int) {
	for len(f.line) < column {
		f.line = append(f.line, ' ')
	}
}

// rest fills what was written since at up to a width.
func (f *frame) rest(at, width int) {
	used := 0
	for i := at; i < len(f.line); i++ {
		switch c := f.line[i]; {
		case c == '\x1b':
			for i < len(f.line) && f.line[i] != 'm' {
				i++
			}
		case utf8.RuneStart(c):
			used++
		}
	}
	for ; used < width; used++ {
		f.line = append(f.line, ' ')
	}
}

// spark draws the last rates, the newest at the right, from zero to the highest of them.
func (f *frame) spark(d, width int) {
	n := min(width, f.n)
	top := 0.0
	for i := range n {
		top = max(top, f.rate(d, i))
	}
	if f.colour {
		f.line = append(f.line, cyan...)
	}
	for i := n - 1; i >= 0; i-- {
		f.line = units.AppendSpark(f.line, f.rate(d, i), top)
	}
	if f.colour {
		f.line = append(f.line, plain...)
	}
}

// rate is the one i steps ago.
func (f *frame) rate(d, i int) float64 { return f.rates[d][(f.at-1-i+2*history)%history] }

// appendClock appends a time as 0:37 or 1:02:03.
func appendClock(b []byte, t time.Duration) []byte {
	s := int64((max(t, 0) + time.Second/2) / time.Second)
	two := func(b []byte, n int64) []byte {
		return append(b, ':', byte('0'+n/10), byte('0'+n%10))
	}
	if s >= 3600 {
		b = two(strconv.AppendInt(b, s/3600, 10), s/60%60)
	} else {
		b = strconv.AppendInt(b, s/60, 10)
	}
	return two(b, s%60)
}
