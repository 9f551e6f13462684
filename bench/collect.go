package bench

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/bench/series"
)

// collector takes the workers' intervals, adds them up, keeps the time series, and feeds whoever looks.
type collector struct {
	run   *run
	quit  chan struct{}
	ended chan struct{}

	mu     sync.Mutex
	active []*worker // started, and not all of theirs is in yet
	series map[*worker]*track
	steady []*steadiness
	shared map[[series.Kinds]string]bool // log files that have been begun
	errs   error
}

// track is what is kept of a worker's intervals.
type track struct {
	cum    *interval // the sum of all; nil before the first
	points []point
	last   live // the newest interval, for the live display
	logs   *jobLogs
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
	dir            [3]result.LiveDir
	inFlight, open int
}

func newCollector(r *run) *collector {
	return &collector{run: r, quit: make(chan struct{}), ended: make(chan struct{}), series: make(map[*worker]*track), shared: make(map[[series.Kinds]string]bool)}
}

func (c *collector) starts(batch []*worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active = append(c.active, batch...)
	c.steady = append(c.steady, steadinessOf(batch)...)
	for _, w := range batch {
		c.series[w] = &track{logs: logsOf(w)}
	}
}

// main drains hand-overs about four times an interval, and at most every 50 ms.
func (c *collector) main() {
	defer close(c.ended)
	every := min(max(c.run.step/4, time.Millisecond), 20*time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	liveAt, statusAt := time.Now(), time.Now().Add(c.run.cfg.StatusEvery)
	clockAt := time.Now().Add(time.Second)
	for {
		select {
		case <-c.quit:
			return
		case now := <-tick.C:
			c.drain()
			if now.After(clockAt) {
				clockAt = now.Add(time.Second)
				c.run.clock.Discipline()
			}
			if c.run.cfg.Live != nil && now.After(liveAt) {
				liveAt = now.Add(max(c.run.cfg.LiveEvery, 100*time.Millisecond))
				select {
				case c.run.cfg.Live <- c.state():
				default:
				}
			}
			if c.run.cfg.Status != nil && c.run.cfg.StatusEvery > 0 && now.After(statusAt) {
				statusAt = statusAt.Add(c.run.cfg.StatusEvery)
				c.freshen()
				out := c.run.result(false)
				_, out.Left = c.progress(c.run.clock.Now())
				out.Left = max(0, out.Left)
				c.run.cfg.Status(out)
			}
		}
	}
}

// freshen asks all workers for what they have, and gives them two naps to answer.
func (c *collector) freshen() {
	c.mu.Lock()
	active := slices.Clone(c.active)
	c.mu.Unlock()
	for _, w := range active {
		w.hand.Ask()
	}
	for end := time.Now().Add(2 * maxNap); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c.drain()
		if !slices.ContainsFunc(active, func(w *worker) bool { return w.hand.Wanted() && w.phase.Load() != phaseDone }) {
			break
		}
	}
	c.drain()
}

// finish stops the collector and takes what the workers have left.
func (c *collector) finish() error {
	close(c.quit)
	<-c.ended
	c.drain()
	for _, w := range c.active { // those that did not come back
		if l := c.series[w].logs; l != nil {
			c.errs = errors.Join(c.errs, l.close())
		}
	}
	return c.errs
}

func (c *collector) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active = slices.DeleteFunc(c.active, func(w *worker) bool {
		over := false
		select {
		case <-w.finished: // before the look at what it has handed over
			over = true
		default:
		}
		s := c.series[w]
		if iv := w.hand.Take(); iv != nil {
			c.add(w, s, iv)
			iv.reset()
			w.hand.Give(iv)
		}
		if over && w.final != nil {
			c.add(w, s, w.final)
		}
		if s.logs != nil {
			s.logs.drain()
			if over {
				c.errs = errors.Join(c.errs, s.logs.close())
			}
		}
		return over
	})
	for _, g := range c.steady {
		g.look(c)
	}
}

// maxPoints bounds the memory of a series; then two neighbours become one.
const maxPoints = 4096

func (c *collector) add(w *worker, s *track, iv *interval) {
	if iv.fresh {
		s.cum, s.points = nil, s.points[:0]
	}
	if s.cum == nil {
		s.cum = newInterval(measuresOf(w.job))
	}
	s.cum.merge(iv)
	if s.logs != nil {
		s.logs.interval(iv)
	}
	p := point{from: iv.from, to: iv.to}
	span := float64(iv.to-iv.from) / 1e9
	s.last.inFlight, s.last.open = iv.inFlight, iv.open
	// What was handed over early, since somebody asked, is too short for a rate.
	lasting := iv.to-iv.from >= int64(c.run.step)/2
	for d := range iv.dir {
		v := &iv.dir[d]
		if lasting {
			s.last.dir[d] = result.LiveDir{}
		}
		if v.ios == 0 {
			continue
		}
		p.dir[d] = pointDir{ios: v.ios, bytes: v.bytes}
		if v.lat != nil {
			p.dir[d].lat = pack(v.lat)
		}
		if lasting && span > 0 {
			s.last.dir[d] = result.LiveDir{IOPS: float64(v.ios) / span, BW: float64(v.bytes) / span}
			if v.lat != nil {
				s.last.dir[d].P50, s.last.dir[d].P99 = v.lat.Percentile(50), v.lat.Percentile(99)
			}
		}
	}
	s.points = append(s.points, p)
	if len(s.points) >= maxPoints {
		s.halve()
	}
}

// halve merges neighbours, so that a run of any length keeps a bounded series.
func (s *track) halve() {
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
	done, left := c.progress(c.run.clock.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.run.clock.Now()
	out := result.Live{Elapsed: time.Duration(now - c.run.base), Done: done, Left: left, Jobs: len(c.run.workers)}
	letters := make([]byte, len(c.run.workers))
	states := [...]string{phaseSetup: "preparing", phaseRamp: "ramp", phaseRun: "running", phaseVerify: "verifying"}
	most := int32(-1)
	for i, w := range c.run.workers {
		s := c.series[w]
		if s == nil {
			letters[i] = 'P'
			continue
		}
		phase := w.phase.Load()
		letters[i] = letter(w.job.RW.Kind, phase)
		if phase == phaseDone {
			w.mu.Lock()
			if w.failure != nil {
				letters[i] = 'X'
			}
			w.mu.Unlock()
			continue
		}
		most = max(most, phase)
		out.Running++
		l := &s.last
		out.OpenDepth += l.inFlight
		out.Files += l.open
		for d := range l.dir {
			o := &out.Dir[d]
			o.IOPS += l.dir[d].IOPS
			o.BW += l.dir[d].BW
			o.P50, o.P99 = max(o.P50, l.dir[d].P50), max(o.P99, l.dir[d].P99)
		}
	}
	out.Letters = string(letters)
	if c.run.layingOut.Load() {
		out.State = "laying out"
	} else if most >= 0 {
		out.State = states[most]
	}
	return out
}

// letter is fio's for a job's state.
func letter(k fiojob.RWKind, phase int32) byte {
	switch phase {
	case phaseSetup:
		return 'I'
	case phaseRamp:
		return '/'
	case phaseVerify:
		return 'V'
	case phaseDone:
		return '_'
	}
	b := byte('R')
	switch {
	case k.Mixed():
		b = 'M'
	case k.Writes():
		b = 'W'
	case k.Trims():
		b = 'D'
	}
	if k.Random() {
		b += 'a' - 'A'
	}
	return b
}

// progress estimates how much of the whole plan is done and how long the rest takes: by run times, and by bytes for jobs that end with
// their data.
func (c *collector) progress(now int64) (float64, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total, left := time.Duration(0), time.Duration(0)
	for _, b := range c.run.batches {
		longest, rest := time.Duration(0), time.Duration(0)
		for _, w := range b {
			whole, more := c.share(w, now)
			if whole < 0 {
				return -1, -1
			}
			longest, rest = max(longest, whole), max(rest, more)
		}
		total += longest
		left += rest
	}
	if total <= 0 {
		return -1, -1
	}
	return min(1, max(0, 1-float64(left)/float64(total))), left
}

// share estimates how long a worker takes as a whole, and how long it still takes; negative where that is not known.
func (c *collector) share(w *worker, now int64) (whole, left time.Duration) {
	t := &w.job.Time
	whole, left = -1, -1
	if t.Runtime > 0 {
		whole = t.Runtime + t.Ramp + t.StartDelay.Max
		left = whole
		if w.phase.Load() != phaseSetup {
			left = max(0, time.Duration(w.deadlineHint.Load()-now))
		}
	}
	s := c.series[w]
	if w.phase.Load() == phaseDone {
		if s != nil && s.cum != nil && whole < 0 {
			whole = time.Duration(s.cum.to - s.cum.from)
		}
		return max(whole, 0), 0
	}
	expect := w.expect.Load()
	if t.TimeBased || expect <= 0 || s == nil || s.cum == nil || s.cum.to <= s.cum.from {
		return whole, left
	}
	done := int64(0)
	for d := range s.cum.dir {
		done += int64(s.cum.dir[d].bytes)
	}
	if done <= 0 {
		return whole, left
	}
	spent := float64(now - s.cum.from)
	byBytes := time.Duration(spent * float64(max(0, expect-done)) / float64(done))
	if left < 0 || byBytes < left {
		whole, left = time.Duration(spent)+byBytes, byBytes
	}
	return whole, left
}
