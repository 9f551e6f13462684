package bench

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
	"github.com/blkbench/blkbench/bench/pace"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
)

// pacing is everything that decides when requests start, and what follows from how fast they were. Parts that a job does not need are nil.
type pacing struct {
	active   bool // there is something to do as time goes by
	judges   bool // there is something to do with each completion
	rates    *pace.Pacer
	think    *pace.Think
	target   *pace.Controller
	floor    *pace.Floor
	flow     *flowMember
	maxLat   [3]int64
	nextLook int64

	pauseSpin, pauseEnd int64 // a think time is under way
	want                gen.Dir
	other               gen.Dir
	drawn               bool // want and other stand for the request to come
	due                 int64
	rebegin             bool // the controller's window begins once the queue has drained
}

// rateLook is how often minimum rates and windows are judged.
const rateLook = 10 * time.Millisecond

func newPacing() pacing { return pacing{nextLook: 1<<63 - 1} }

// start makes the parts; the schedules begin at now.
func (p *pacing) start(w *worker, now int64) error {
	j := w.job
	var err error
	rates := [3]pace.Rate{}
	floors := [3]pace.Rate{}
	for d := range rates {
		rates[d] = pace.Rate{IOPS: float64(j.Rate.IOPS[d]), Bytes: float64(j.Rate.Bytes[d])}
		floors[d] = pace.Rate{IOPS: float64(j.Rate.MinIOPS[d]), Bytes: float64(j.Rate.MinBytes[d])}
		p.maxLat[d] = int64(j.Latency.Max[d])
		p.judges = p.judges || p.maxLat[d] > 0
	}
	if j.Rate.Limited() {
		if p.rates, err = pace.NewPacer(rates, j.Rate.Process == fiojob.RatePoisson, now, seedOf(j)); err != nil {
			return fmt.Errorf("%s: %w", j.Name, err)
		}
	}
	if floors != [3]pace.Rate{} {
		for d := range floors {
			if !j.RW.Kind.Uses(fiojob.Dir(d)) {
				floors[d] = pace.Rate{}
			}
		}
		if p.floor, err = pace.NewFloor(floors, int64(j.Rate.Cycle), now); err != nil {
			return fmt.Errorf("%s: %w", j.Name, err)
		}
	}
	if t := &j.Think; t.Time > 0 {
		if p.think, err = pace.NewThink(pace.Thinking{
			Time: int64(t.Time), Spin: int64(t.Spin), Blocks: t.Blocks, ByIssue: !t.AtEnd, IOTime: int64(t.IOTime),
		}, now); err != nil {
			return fmt.Errorf("%s: %w", j.Name, err)
		}
	}
	if t := &j.Latency; t.Target > 0 {
		if p.target, err = pace.NewController(pace.Target{
			Latency: int64(t.Target), Window: int64(t.Window), Percentile: t.Percentile, MaxDepth: j.Depth.IODepth, Run: t.Run,
		}, now); err != nil {
			return fmt.Errorf("%s: %w", j.Name, err)
		}
		w.depth = p.target.Depth()
		w.low = min(w.low, w.depth)
		p.judges = true
	}
	if p.flow = w.run.joinFlow(j); p.flow != nil {
		p.judges = true
	}
	p.active = p.rates != nil || p.floor != nil || p.think != nil || p.target != nil || p.flow != nil || len(j.Replay.Logs) > 0
	w.traits.hooks = w.traits.hooks || p.judges || p.think != nil
	p.nextLook = 1<<63 - 1
	if p.floor != nil || p.target != nil {
		p.nextLook = now + int64(rateLook)
	}
	return nil
}

// room bounds a batch, so that a think time comes after exactly its blocks.
func (p *pacing) room(w *worker, limit int) int {
	if room := p.think.Room(w.inFlight); room >= 0 {
		return min(limit, room)
	}
	return limit
}

// draw finds the next step of a job with a rate or a flow.
func (p *pacing) draw(w *worker) made {
	now := w.clock.Now()
	p.due = 0
	if p.flow != nil && !p.flow.mayGo() {
		p.due = now + int64(max(w.job.Flow.Sleep, 20*time.Microsecond))
		return madeNone
	}
	if p.rates == nil {
		if !w.src.next(&w.step) {
			return madeEnd
		}
		return madeOne
	}
	if !p.drawn {
		var ok bool
		if p.want, p.other, ok = w.src.want(); !ok {
			return madeEnd
		}
		p.drawn = true
	}
	d, at := p.rates.Pick(p.want, p.other, now)
	if at > now {
		p.due = at
		return madeNone
	}
	p.drawn = false
	if !w.src.nextOf(d, &w.step) {
		return madeEnd
	}
	w.step.at = 0
	if t := p.rates.Take(d, int64(w.step.n), now); t != now {
		w.step.at = t
	}
	return madeOne
}

// thinking starts, goes on with or ends a pause; true while there is one.
func (p *pacing) thinking(w *worker, now int64) bool {
	if p.pauseEnd == 0 {
		if !p.think.Due(now) {
			return false
		}
		if w.inFlight+len(w.batch) > 0 {
			w.drainTo(0)
			p.due = 0
			return true
		}
		p.pauseSpin, p.pauseEnd = p.think.Pause(now)
		if p.rates != nil && w.job.Rate.IgnoreThink {
			p.rates.Shift(p.pauseEnd - now)
		}
	}
	for now < p.pauseSpin && !w.stop.Load() {
		now = w.clock.Now()
	}
	if now < p.pauseEnd {
		p.due = p.pauseEnd
		return true
	}
	p.pauseEnd = 0
	return false
}

// wake is the next time at which a request may be submitted.
func (p *pacing) wake(w *worker) int64 {
	if p.due > 0 && !w.draining {
		return p.due
	}
	return 1<<63 - 1
}

// completed judges one request.
func (p *pacing) completed(w *worker, r *engine.Request, s *slot, now int64) {
	lat := now - s.planned
	if most := p.maxLat[s.dir]; most > 0 && lat > most {
		w.setFailure(fmt.Errorf("%s: %s: %s at %#x+%d took %v, max_latency is %v: %w",
			w.job.Name, s.file.name, r.Op, r.Off, r.Len, time.Duration(lat), time.Duration(most), unix.ETIMEDOUT))
	}
	if p.target != nil && !p.rebegin {
		p.event(w, p.target.Complete(lat, now), now)
	}
}

// look judges minimum rates and the windows of a latency target.
func (p *pacing) look(w *worker, now int64) {
	if p.floor == nil && p.target == nil {
		return
	}
	p.nextLook = now + int64(rateLook)
	if p.floor != nil && w.measuring {
		var bytes, ios [3]uint64
		for d := range bytes {
			bytes[d] = w.sum[d].bytes + w.iv.dir[d].bytes
			ios[d] = w.sum[d].ios + w.iv.dir[d].ios
		}
		if err := p.floor.Check(now, &bytes, &ios); err != nil {
			w.setFailure(fmt.Errorf("%s: %w", w.job.Name, err))
		}
	}
	if p.target == nil {
		return
	}
	if p.rebegin {
		return
	}
	p.event(w, p.target.Check(now), now)
}

// event does what the search for a depth asks for.
func (p *pacing) event(w *worker, e pace.Event, now int64) {
	t := &w.job.Latency
	report := func(met bool) {
		w.mu.Lock()
		w.targetResult = &result.LatencyTarget{
			Target: t.Target, Window: t.Window, Percentile: t.Percentile, Depth: p.target.Depth(), Met: met,
		}
		w.mu.Unlock()
	}
	switch e {
	case pace.Nothing:
	case pace.NewDepth:
		w.depth = p.target.Depth()
		w.drainTo(0)
		p.rebegin = w.inFlight > 0
		report(false)
	case pace.LastWindow:
		w.beginWindow(now)
	case pace.Found:
		report(true)
		w.stop.Store(true)
	case pace.Unreachable:
		report(false)
		if !t.Run {
			w.setFailure(fmt.Errorf("%s: latency_target %v is not met even with one request in flight: %w", w.job.Name, t.Target, unix.ETIMEDOUT))
		}
	}
}
