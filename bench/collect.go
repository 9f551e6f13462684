package bench

import (
	"sync"
	"time"

	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/bench/result"
)

// collector takes the workers' intervals, adds them up, keeps the time series, and feeds whoever looks.
type collector struct {
	run   *run
	quit  chan struct{}
	ended chan struct{}

	mu     sync.Mutex
	active []*worker
	series map[*worker]*series
}

// series is what is kept of a worker's intervals.
type series struct {
	lat    [3]hist.Hist // over the whole window
	points []point
	last   live // the newest interval, for the live display
}

// point is one kept interval; histograms are kept compactly.
type point struct {
	from, to int64
	dir      [3]pointDir
}

type pointDir struct {
	ios, bytes uint64
	lat        *packed
}

type live struct {
	span time.Duration
	dir  [3]result.LiveDir
}

func newCollector(r *run) *collector {
	return &collector{run: r, quit: make(chan struct{}), ended: make(chan struct{}), series: make(map[*worker]*series)}
}

func (c *collector) starts(batch []*worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active = batch
	for _, w := range batch {
		c.series[w] = new(series)
	}
}

// main drains hand-overs about four times an interval, and at most every 50 ms.
func (c *collector) main() {
	defer close(c.ended)
	every := min(max(c.run.step/4, 10*time.Millisecond), 50*time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	liveAt, statusAt := time.Now(), time.Now().Add(c.run.cfg.StatusEvery)
	for {
		select {
		case <-c.quit:
			return
		case now := <-tick.C:
			c.drain()
			if c.run.cfg.Live != nil && now.After(liveAt) {
				liveAt = now.Add(max(c.run.cfg.LiveEvery, 100*time.Millisecond))
				select {
				case c.run.cfg.Live <- c.state():
				default:
				}
			}
			if c.run.cfg.Status != nil && c.run.cfg.StatusEvery > 0 && now.After(statusAt) {
				statusAt = statusAt.Add(c.run.cfg.StatusEvery)
				c.run.cfg.Status(c.run.result(false))
			}
		}
	}
}

// finish stops the collector and takes what the workers have left.
func (c *collector) finish() {
	close(c.quit)
	<-c.ended
	c.mu.Lock()
	defer c.mu.Unlock()
	for w, s := range c.series {
		if iv := w.hand.Take(); iv != nil { // workers of an earlier batch, too
			c.add(s, iv)
		}
		if w.iv != nil && w.measuring {
			c.add(s, w.iv)
		}
	}
}

func (c *collector) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.active {
		if iv := w.hand.Take(); iv != nil {
			c.add(c.series[w], iv)
			iv.reset()
			w.hand.Give(iv)
		}
	}
}

// maxPoints bounds the memory of a series; then two neighbours become one.
const maxPoints = 4096

func (c *collector) add(s *series, iv *interval) {
	p := point{from: iv.from, to: iv.to}
	span := float64(iv.to-iv.from) / 1e9
	s.last.span = time.Duration(iv.to - iv.from)
	for d := range iv.dir {
		v := &iv.dir[d]
		s.last.dir[d] = result.LiveDir{}
		if v.ios == 0 {
			continue
		}
		s.lat[d].Merge(&v.lat)
		p.dir[d] = pointDir{ios: v.ios, bytes: v.bytes, lat: pack(&v.lat)}
		if span > 0 {
			s.last.dir[d] = result.LiveDir{IOPS: float64(v.ios) / span, BW: float64(v.bytes) / span, P50: v.lat.Percentile(50), P99: v.lat.Percentile(99)}
		}
	}
	s.points = append(s.points, p)
	if len(s.points) >= maxPoints {
		s.halve()
	}
}

// halve merges neighbours, so that a run of any length keeps a bounded series.
func (s *series) halve() {
	for i := 0; i+1 < len(s.points); i += 2 {
		a, b := &s.points[i], &s.points[i+1]
		a.to = b.to
		for d := range a.dir {
			a.dir[d].ios += b.dir[d].ios
			a.dir[d].bytes += b.dir[d].bytes
			a.dir[d].lat = mergePacked(a.dir[d].lat, b.dir[d].lat)
		}
		s.points[i/2] = *a
	}
	s.points = s.points[:len(s.points)/2]
}

// state sums up what runs now.
func (c *collector) state() result.Live {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.run.clock.Now()
	out := result.Live{Elapsed: time.Duration(now - c.run.base), Left: -1, Done: -1, Jobs: len(c.run.workers)}
	for _, w := range c.active {
		switch w.phase.Load() {
		case phaseDone:
			continue
		case phaseSetup:
			out.State = "preparing"
		case phaseRamp:
			out.State = "ramp"
		case phaseVerify:
			out.State = "verifying"
		case phaseRun:
			out.State = "running"
		}
		out.Running++
		l := &c.series[w].last
		for d := range l.dir {
			o := &out.Dir[d]
			o.IOPS += l.dir[d].IOPS
			o.BW += l.dir[d].BW
			o.P50, o.P99 = max(o.P50, l.dir[d].P50), max(o.P99, l.dir[d].P99)
		}
	}
	out.Done, out.Left = c.progress(now)
	return out
}

// progress estimates how much of the whole plan is done, by the jobs that have a run time.
func (c *collector) progress(now int64) (float64, time.Duration) {
	total, left := time.Duration(0), time.Duration(0)
	for _, b := range c.run.batches {
		longest, rest := time.Duration(0), time.Duration(0)
		for _, w := range b {
			t := &w.job.Time
			if t.Runtime == 0 {
				return -1, -1
			}
			whole := t.Runtime + t.Ramp + t.StartDelay.Max
			longest = max(longest, whole)
			switch w.phase.Load() {
			case phaseDone, phaseVerify:
			case phaseSetup:
				rest = max(rest, whole)
			default:
				rest = max(rest, time.Duration(w.deadlineHint.Load()-now))
			}
		}
		total += longest
		left += rest
	}
	if total <= 0 {
		return -1, -1
	}
	return min(1, max(0, 1-float64(left)/float64(total))), left
}
