package bench

import (
	"math/bits"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/bench/result"
)

// interval is what one worker did from one hand-over to the next. It is everything that a result is made of: the collector adds
// intervals up, so that a result can be had at any time, also of a worker that never comes back.
type interval struct {
	from, to int64 // clock ns
	fresh    bool  // what came before does not count: the measured window begins here
	dir      [3]intervalDir
	sync     *hist.Hist
	syncs    uint64
	errors   uint64

	depth, submit, complete [7]uint64
	submits, completes      uint64

	// The state at `to`, since the window began.
	inFlight int
	open     int
	usage    usage
	paths    result.PathCounts
	ran      [3]int64 // ns that a direction was in use
}

// intervalDir is one direction of an interval. Histograms that the job does not want are nil.
type intervalDir struct {
	ios, bytes      uint64
	slat, clat, lat *hist.Hist
}

// measures says which histograms a job fills.
type measures struct {
	dirs            [3]bool
	slat, clat, lat bool
}

func measuresOf(j *fiojob.Job) measures {
	m := measures{slat: !j.Report.DisableSlat, clat: !j.Report.DisableClat, lat: !j.Report.DisableLat}
	if j.Report.GTODReduce {
		m.slat, m.clat, m.lat = false, false, false
	}
	m.dirs = [3]bool{
		j.RW.Kind.Reads() || j.Verify.Kind != fiojob.VerifyNone, j.RW.Kind.Writes(), j.RW.Kind.Trims(),
	}
	if len(j.Replay.Logs) > 0 {
		m.dirs = [3]bool{true, true, true}
	}
	return m
}

func newInterval(m measures) *interval {
	iv := &interval{sync: new(hist.Hist)}
	for d := range iv.dir {
		if !m.dirs[d] {
			continue
		}
		if m.slat {
			iv.dir[d].slat = new(hist.Hist)
		}
		if m.clat {
			iv.dir[d].clat = new(hist.Hist)
		}
		if m.lat {
			iv.dir[d].lat = new(hist.Hist)
		}
	}
	return iv
}

func (iv *interval) reset() {
	for d := range iv.dir {
		v := &iv.dir[d]
		resetHist(v.slat)
		resetHist(v.clat)
		resetHist(v.lat)
		v.ios, v.bytes = 0, 0
	}
	iv.sync.Reset()
	*iv = interval{dir: iv.dir, sync: iv.sync}
}

func resetHist(h *hist.Hist) {
	if h != nil {
		h.Reset()
	}
}

// merge adds what o counted; o's state replaces that of iv.
func (iv *interval) merge(o *interval) {
	for d := range iv.dir {
		v, x := &iv.dir[d], &o.dir[d]
		v.ios += x.ios
		v.bytes += x.bytes
		mergeHist(v.slat, x.slat)
		mergeHist(v.clat, x.clat)
		mergeHist(v.lat, x.lat)
	}
	mergeHist(iv.sync, o.sync)
	iv.syncs += o.syncs
	iv.errors += o.errors
	for i := range iv.depth {
		iv.depth[i] += o.depth[i]
		iv.submit[i] += o.submit[i]
		iv.complete[i] += o.complete[i]
	}
	iv.submits += o.submits
	iv.completes += o.completes
	if iv.from == 0 {
		iv.from = o.from
	}
	iv.to, iv.inFlight, iv.open, iv.usage, iv.paths, iv.ran = o.to, o.inFlight, o.open, o.usage, o.paths, o.ran
}

func mergeHist(h, o *hist.Hist) {
	if h != nil && o != nil && o.Count() > 0 {
		h.Merge(o)
	}
}

// depthClass puts a depth into fio's classes 1, 2, 4, 8, 16, 32, >=64.
func depthClass(n int) int {
	if n <= 1 {
		return 0
	}
	return min(6, bits.Len(uint(n))-1)
}

// batchClass puts a batch size into fio's classes 0, 4, 8, 16, 32, 64, >=64 (each is an upper bound).
func batchClass(n int) int {
	switch {
	case n == 0:
		return 0
	case n <= 4:
		return 1
	case n <= 8:
		return 2
	case n <= 16:
		return 3
	case n <= 32:
		return 4
	case n < 64:
		return 5
	}
	return 6
}

// latency shows a histogram to reports.
type latency struct{ *hist.Hist }

var _ result.Latency = latency{}

// StdDev is the standard deviation in ns.
func (l latency) StdDev() float64 { return l.Stddev() }

// Buckets walks the filled buckets, bounds inclusive.
func (l latency) Buckets(yield func(lo, hi, count uint64) bool) {
	for b := range l.All() {
		if !yield(b.Low, b.Low+b.Width-1, b.Count) {
			return
		}
	}
}

// asLatency copies, since the collector goes on adding while a report is read.
func asLatency(h *hist.Hist) result.Latency {
	if h == nil || h.Count() == 0 {
		return nil
	}
	c := *h
	return latency{&c}
}
