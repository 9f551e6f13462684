package bench

import (
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/engine"
)

// measure runs the workload from release to end.
func (w *worker) measure() error {
	j := w.job
	if err := w.delay(); err != nil {
		return err
	}
	now := w.clock.Now()
	w.startAt, w.rampEnd = now, now+int64(j.Time.Ramp)
	w.deadline = 1<<63 - 1
	if j.Time.Runtime > 0 {
		w.deadline = w.rampEnd + int64(j.Time.Runtime)
		w.deadlineHint.Store(w.deadline)
	}
	w.phase.Store(phaseRamp)
	if j.Time.Ramp == 0 {
		w.beginWindow(now)
	}
	w.pacer.start(now)
	err := w.loop()
	if err == nil {
		err = w.finishWrites()
	}
	w.endWindow()
	return err
}

// beginWindow starts the measured window: what was counted before is forgotten.
func (w *worker) beginWindow(now int64) {
	w.measuring = true
	w.phase.Store(phaseRun)
	w.startAt = now
	w.tot.reset()
	w.iv.reset()
	w.iv.from = now
	w.nextIv = now + int64(w.run.step)
	w.usage = threadUsage()
	w.run.windowOpens()
}

func (w *worker) endWindow() {
	now := w.clock.Now()
	w.endAt = now
	if !w.measuring {
		w.startAt = now
		return
	}
	w.iv.to = now
	w.usage = threadUsage().minus(w.usage)
	w.run.windowCloses()
	w.elapsed = time.Duration(now - w.startAt)
	for _, f := range w.files {
		s := f.path.Stats()
		w.paths.Direct += s.Direct
		w.paths.Pieces += s.Pieces
		w.paths.Zeroed += s.Zeroed
		w.paths.Slow += s.Slow
		w.paths.Resent += s.Resent
		w.paths.Waited += s.Waited
	}
}

// loop fills, submits and reaps until the workload is through, the time is up or somebody stops it.
func (w *worker) loop() error {
	ended := false // the generator has no more, or the time is up
	for {
		if !ended {
			var err error
			if ended, err = w.fill(); err != nil {
				return err
			}
		}
		if err := w.kick(); err != nil {
			return err
		}
		if w.inFlight == 0 {
			if ended {
				return w.failure
			}
			if err := w.idle(); err != nil {
				return err
			}
			continue
		}
		n, err := w.reap(ended)
		if err != nil {
			return err
		}
		if n > 0 && (w.failure != nil || w.stop.Load()) {
			ended = true
		}
	}
}

// fill makes requests until the depth is reached, the batch is full, or the pacer says wait. True: there will be no more.
func (w *worker) fill() (bool, error) {
	if w.stop.Load() || w.failure != nil {
		return true, nil
	}
	if w.depth-w.inFlight <= 0 || (w.inFlight > w.job.Depth.Low && w.job.Depth.Low < w.depth && w.inFlight+len(w.batch) > w.job.Depth.Low) {
		return false, nil
	}
	limit := min(w.depth-w.inFlight, w.batchLimit())
	for len(w.batch) < limit && len(w.free) > 0 {
		more, err := w.makeOne()
		if err != nil {
			return true, err
		}
		switch more {
		case madeNone:
			return false, nil
		case madeEnd:
			return true, nil
		case madeOne:
		}
	}
	return false, nil
}

type made uint8

const (
	madeOne  made = iota // a request is in the batch
	madeNone             // not now: paced, or its range is busy
	madeEnd              // the workload is through
)

// batchLimit is how many requests may go into one submission.
func (w *worker) batchLimit() int {
	if b := w.job.Depth.Batch; b > 1 {
		return b
	}
	return len(w.slab)
}

// kick hands the batch over: one Submit and one doorbell per file.
func (w *worker) kick() error {
	if len(w.batch) == 0 {
		return nil
	}
	n := len(w.batch)
	if len(w.files) == 1 {
		p := w.files[0].path
		if got := p.Submit(w.batch); got < n {
			w.unmake(w.batch[got:])
			n = got
			w.batch = w.batch[:n]
		}
		w.inFlight += n
		if err := p.Kick(); err != nil {
			return err
		}
	} else if err := w.kickMany(); err != nil {
		return err
	}
	if w.measuring {
		w.tot.submits++
		w.tot.submit[batchClass(n)]++
	}
	if w.run.stamps(w.job) {
		now := w.clock.Now()
		for _, r := range w.batch {
			s := &w.slots[r.User]
			s.handed = now
			if w.measuring && !s.sync && !w.job.Report.DisableSlat {
				w.tot.dir[s.dir].slat.Record(uint64(now - s.made))
			}
		}
	}
	w.batch = w.batch[:0]
	return nil
}

// kickMany submits a batch that goes to several files, in runs of the same one.
func (w *worker) kickMany() error {
	var touched [16]*file
	nt := 0
	for i := 0; i < len(w.batch); {
		f := w.slots[w.batch[i].User].file
		k := i + 1
		for k < len(w.batch) && w.slots[w.batch[k].User].file == f {
			k++
		}
		n := f.path.Submit(w.batch[i:k])
		w.inFlight += n
		if nt < len(touched) {
			touched[nt] = f
			nt++
		} else if err := f.path.Kick(); err != nil {
			return err
		}
		if n < k-i {
			w.unmake(w.batch[i+n : k])
			w.batch = append(w.batch[:i+n], w.batch[k:]...)
			i += n
			continue
		}
		i = k
	}
	for _, f := range touched[:nt] {
		if err := f.path.Kick(); err != nil {
			return err
		}
	}
	return nil
}

// unmake puts requests that were not taken back to the generator's front.
func (w *worker) unmake(reqs []*engine.Request) {
	for i := len(reqs) - 1; i >= 0; i-- {
		w.src.putBack(w, reqs[i])
		w.free = append(w.free, uint32(reqs[i].User))
	}
}

// reap takes completions: what is there at once, else it waits.
func (w *worker) reap(draining bool) (int, error) {
	want := max(1, w.job.Depth.CompleteMin)
	if draining || want > w.inFlight {
		want = 1
	}
	total := 0
	for {
		n := 0
		for _, f := range w.files {
			if f.path.InFlight() == 0 {
				continue
			}
			k := f.path.Poll(w.done[:w.reapLimit()])
			if k > 0 {
				w.complete(w.done[:k])
				n += k
			}
		}
		if n > 0 {
			total += n
			w.inFlight -= n
			if w.measuring {
				w.tot.completes++
				w.tot.complete[batchClass(n)]++
			}
		}
		if total >= want || w.inFlight == 0 {
			return total, nil
		}
		if n == 0 {
			if w.job.Depth.CompleteMin == 0 && w.depth > w.inFlight && !draining {
				return total, nil
			}
			if err := w.wait(); err != nil {
				return total, err
			}
			w.tick(w.clock.Now())
			if w.stop.Load() {
				return total, nil
			}
		}
	}
}

func (w *worker) reapLimit() int {
	if m := w.job.Depth.CompleteMax; m > 0 && m < len(w.done) {
		return m
	}
	return len(w.done)
}

// wait sleeps until something completes, at most until the next thing that time brings.
func (w *worker) wait() error {
	if w.job.Engine.HiPri {
		return nil // polled completions: looking is the waiting
	}
	limit := time.Duration(w.nextWake() - w.clock.Now())
	if limit <= 0 {
		limit = 0
	}
	if len(w.files) == 1 {
		return w.files[0].path.Wait(limit)
	}
	return w.waitMany(limit)
}

// complete stamps and records finished requests and frees their slots.
func (w *worker) complete(done []*engine.Request) {
	stamps := w.run.stamps(w.job)
	now := int64(0)
	for _, r := range done {
		if stamps || now == 0 {
			now = w.clock.Now()
		}
		s := &w.slots[r.User]
		w.free = append(w.free, uint32(r.User))
		if r.Res < 0 {
			if !w.fail(r, s) {
				continue
			}
		}
		if s.sync {
			if w.measuring {
				w.tot.syncs++
				w.tot.sync.Record(uint64(now - s.made))
			}
			continue
		}
		w.account(r, s, now)
	}
	if now != 0 {
		w.tick(now)
	}
}

// account records one completed read, write or trim.
func (w *worker) account(r *engine.Request, s *slot, now int64) {
	if w.job.Depth.Serialize {
		s.file.overlaps.remove(r.Off, int64(r.Len))
	}
	if w.check != nil {
		w.check.completed(w, r, s, now)
	}
	lat := now - s.planned
	w.pacer.completed(s.dir, int64(r.Len), lat, now)
	if w.tracer != nil {
		w.tracer.trace(w, r, s, now)
	}
	if !w.measuring {
		return
	}
	t := &w.tot.dir[s.dir]
	if t.ios == 0 {
		t.first = w.startAt
	}
	t.ios++
	t.bytes += uint64(r.Len)
	t.last = now
	iv := &w.iv.dir[s.dir]
	iv.ios++
	iv.bytes += uint64(r.Len)
	rep := &w.job.Report
	if rep.GTODReduce {
		return
	}
	if !rep.DisableClat {
		t.clat.Record(uint64(now - s.handed))
	}
	if !rep.DisableLat {
		iv.lat.Record(uint64(lat))
	}
}

// tick does what time brings: the end of the ramp, of an interval, of the run.
func (w *worker) tick(now int64) {
	if !w.measuring && now >= w.rampEnd && w.phase.Load() == phaseRamp {
		w.beginWindow(now)
	}
	if now >= w.deadline {
		w.stop.Store(true)
	}
	if w.measuring && (now >= w.nextIv || w.hand.Wanted()) {
		w.iv.to, w.iv.depth = now, w.inFlight
		next, handed := w.hand.Offer(w.iv)
		if handed {
			w.iv = next
			w.iv.from = now
		}
		if now >= w.nextIv {
			step := int64(w.run.step)
			w.nextIv += ((now-w.nextIv)/step + 1) * step
		}
	}
}

// nextWake is the next time at which the worker has to look up by itself.
func (w *worker) nextWake() int64 {
	t := min(w.deadline, w.clock.Now()+int64(100*time.Millisecond))
	if !w.measuring {
		t = min(t, w.rampEnd)
	}
	if at := w.pacer.wake(); at > 0 {
		t = min(t, at)
	}
	return t
}

// opOf is the engine's operation of a direction.
func opOf(d fiojob.Dir) engine.Op {
	switch d {
	case fiojob.Write:
		return engine.OpWrite
	case fiojob.Trim:
		return engine.OpDiscard
	case fiojob.Read:
	}
	return engine.OpRead
}
