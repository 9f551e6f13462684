package series

import (
	"math"
	"strconv"

	"github.com/blkbench/blkbench/bench/gen"
	"github.com/blkbench/blkbench/bench/hist"
)

// Part is what one direction did in an interval. Histograms that were not kept
// are nil.
type Part struct {
	IOs, Bytes      uint64
	Slat, Clat, Lat *hist.Hist
	Block           uint32 // a block size, for histogram logs
}

// windows adds intervals up to windows of Options.Avg.
type windows struct {
	begin, last, due int64
	dir              [gen.Dirs]windowDir
}

type windowDir struct {
	ios, bytes uint64
	lat        [3]windowLat // Slat, Clat, Lat
}

// windowLat adds latencies up; sums are exact.
type windowLat struct{ n, sum, top uint64 }

func (w *windowLat) add(h *hist.Hist) {
	if h == nil || h.Count() == 0 {
		return
	}
	w.n += h.Count()
	w.sum += h.Sum()
	w.top = max(w.top, h.Max())
}

// histWindow adds intervals up to windows of Options.Hist.
type histWindow struct {
	begin, last, due int64
	dir              [gen.Dirs]hist.Hist
	block            [gen.Dirs]uint32
}

// Interval adds what happened up to a time, since the last call, and writes the
// windows that end with it. An interval belongs to the window in which it ends.
func (l *Logs) Interval(end int64, parts *[gen.Dirs]Part) {
	if l.o.Avg > 0 {
		l.win.last = end
		for d := range parts {
			p, w := &parts[d], &l.win.dir[d]
			w.ios += p.IOs
			w.bytes += p.Bytes
			w.lat[Slat].add(p.Slat)
			w.lat[Clat].add(p.Clat)
			w.lat[Lat].add(p.Lat)
		}
		if end >= l.win.due {
			l.flushWindows(end)
		}
	}
	if l.o.Hist > 0 && l.out[ClatHist] != nil {
		l.hist.last = end
		for d := range parts {
			if p := &parts[d]; p.Clat != nil {
				l.hist.dir[d].Merge(p.Clat)
				l.hist.block[d] = p.Block
			}
		}
		if end >= l.hist.due {
			l.flushHist(end)
		}
	}
}

// flushWindows writes the window that ends now and begins the next.
func (l *Logs) flushWindows(end int64) {
	span := end - l.win.begin
	if l.o.Avg == 0 || span <= 0 {
		return
	}
	for d := range l.win.dir {
		w := &l.win.dir[d]
		if w.ios == 0 {
			continue
		}
		r := row{time: end - l.o.Start, dir: gen.Dir(d), both: l.o.Window == Both}
		for k := range w.lat {
			v := &w.lat[k]
			if v.n == 0 {
				continue
			}
			r.value, r.top = v.sum/v.n, v.top
			if l.o.Window == Maximum {
				r.value = v.top
			}
			l.write(Kind(k), &r)
		}
		// A rate has one value a window, which is average and maximum.
		rate := func(amount float64) uint64 { return uint64(math.Round(amount * 1e9 / float64(span))) }
		r.value = rate(float64(w.bytes) / 1024)
		r.top = r.value
		l.write(BW, &r)
		r.value = rate(float64(w.ios))
		r.top = r.value
		l.write(IOPS, &r)
	}
	l.win.begin, l.win.due = end, due(l.o.Start, l.o.Avg, end)
	l.win.dir = [gen.Dirs]windowDir{}
}

// due is the end of the window that begins at now. Windows end on a grid, so
// that a late hand-over does not move all that follow.
func due(start, every, now int64) int64 {
	if every == 0 {
		return math.MaxInt64
	}
	return start + ((now-start)/every+1)*every
}

// flushHist writes the histograms of the window that ends now.
func (l *Logs) flushHist(end int64) {
	out := l.out[ClatHist]
	if out == nil || l.o.Hist == 0 || end <= l.hist.begin {
		return
	}
	for d := range l.hist.dir {
		h := &l.hist.dir[d]
		if h.Count() == 0 {
			continue
		}
		b := l.millis(end - l.o.Start)
		b = append(b, ", "...)
		b = strconv.AppendInt(b, int64(d), 10)
		b = append(b, ", "...)
		b = strconv.AppendUint(b, uint64(l.hist.block[d]), 10)
		l.bins = h.FioPlat(l.bins[:0], l.o.Coarseness)
		for _, c := range l.bins {
			b = append(b, ", "...)
			b = strconv.AppendUint(b, c, 10)
		}
		b = append(b, '\n')
		l.line = b
		_, _ = out.w.Write(b)
		h.Reset()
	}
	l.hist.begin, l.hist.due = end, due(l.o.Start, l.o.Hist, end)
}
