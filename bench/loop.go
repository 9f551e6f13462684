package bench

import (
	"errors"
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/engine"
)

// errLeft says that a worker went away although requests were in flight: the measurement was interrupted and they did not come back.
var errLeft = errors.New("requests did not come back after the interruption")

// loop fills, submits and reaps until the source is through, the time is up or somebody stops it; nothing is in flight then.
func (w *worker) loop() error {
	w.plain, w.seen = w.isPlain(), 0
	turn := w.turner()
	ended := false // the source has no more, or the time is up
	for {
		blocked := true
		if turn != nil && !ended && len(w.batch) == 0 && w.inFlight < w.depth {
			var err error
			if ended, err = turn(w.plain); err != nil {
				return err
			}
		}
		if !ended {
			var err error
			if ended, blocked, err = w.fill(); err != nil {
				return err
			}
		}
		if err := w.kick(); err != nil {
			return err
		}
		if !blocked && !ended && len(w.batch) == 0 {
			continue // a batch is on its way, and there is room for another
		}
		if w.inFlight == 0 && len(w.batch) == 0 {
			if ended {
				return nil
			}
			w.drained()
			if err := w.idle(); err != nil {
				return err
			}
			continue
		}
		if err := w.reap(ended); err != nil {
			return err
		}
	}
}

// fill makes requests: a batch at most. ended says that there will be no more; blocked that it is no use to go on before something
// completes or time passes.
func (w *worker) fill() (ended, blocked bool, err error) {
	if w.stop.Load() || w.failed {
		return true, true, nil
	}
	if w.draining {
		if w.inFlight > w.low {
			return false, true, nil
		}
		w.drained()
	}
	limit := min(w.depth-w.inFlight, w.traits.batch)
	if w.pacing.think != nil {
		if w.pacing.thinking(w, w.clock.Now()) {
			return false, true, nil
		}
		limit = w.pacing.room(w, limit)
	}
	if w.plain != nil {
		if w.fillPlain(w.plain, limit) {
			return true, true, nil
		}
		limit = len(w.batch) // as full as can be
	}
	for len(w.batch) < limit && len(w.free) > 0 {
		m, err := w.makeOne()
		if err != nil {
			return true, true, err
		}
		switch m {
		case madeNone:
			return false, true, nil
		case madeEnd:
			return true, true, nil
		case madeOne:
		}
	}
	full := w.inFlight+len(w.batch) >= w.depth
	if full && w.low < w.depth {
		w.draining = true
	}
	return false, full || limit <= 0 || len(w.free) == 0, nil
}

// drainTo holds submission back until so few requests are in flight.
func (w *worker) drainTo(n int) {
	if w.inFlight+len(w.batch) > n {
		w.draining, w.low = true, n
	}
}

// drained lets requests be submitted again.
func (w *worker) drained() {
	w.draining, w.low = false, w.job.Depth.Low
	if w.pacing.rebegin {
		w.pacing.rebegin = false
		w.pacing.target.Begin(w.clock.Now())
	}
}

// kick hands the batch over: one Submit and one doorbell per file. What a queue has no room for stays in the batch.
func (w *worker) kick() error {
	n := len(w.batch)
	if n == 0 {
		return nil
	}
	var err error
	if f := w.slots[w.batch[0].User].file; len(w.files) == 1 {
		err = w.kickOne(f)
	} else {
		err = w.kickMany()
	}
	return err
}

func (w *worker) kickOne(f *file) error {
	n := f.path.Submit(w.batch)
	if f.inFlight == 0 && n > 0 {
		w.busy = append(w.busy, f)
	}
	f.inFlight += n
	w.inFlight += n
	if err := f.path.Kick(); err != nil {
		return err
	}
	w.handed(w.batch[:n])
	w.submitted(n)
	return nil
}

// submitted takes the first n requests out of the batch.
func (w *worker) submitted(n int) {
	if n == len(w.batch) {
		w.batch = w.batch[:0]
		return
	}
	w.batch = w.batch[:copy(w.batch, w.batch[n:])]
}

// kickMany submits a batch that goes to several files, in runs of the same one, and rings once each.
func (w *worker) kickMany() error {
	i := 0
	for i < len(w.batch) {
		f := w.slots[w.batch[i].User].file
		k := i + 1
		for k < len(w.batch) && w.slots[w.batch[k].User].file == f {
			k++
		}
		n := f.path.Submit(w.batch[i:k])
		if f.inFlight == 0 && n > 0 {
			w.busy = append(w.busy, f)
		}
		f.inFlight += n
		w.inFlight += n
		f.rung = n == 0
		if i += n; i < k {
			break
		}
	}
	for _, f := range w.busy {
		if f.rung {
			continue
		}
		f.rung = true
		if err := f.path.Kick(); err != nil {
			return err
		}
	}
	w.handed(w.batch[:i])
	w.submitted(i)
	return nil
}

// handed stamps and counts what was submitted.
func (w *worker) handed(reqs []*engine.Request) {
	now := int64(0)
	if w.traits.stamp {
		now = w.clock.Now()
	}
	w.handedAt(reqs, now)
}

func (w *worker) handedAt(reqs []*engine.Request, now int64) {
	if w.pacing.think != nil {
		w.pacing.think.Issued(len(reqs))
	}
	if w.measuring {
		w.iv.submits++
		w.iv.submit[batchClass(len(reqs))]++
	}
	if w.traits.stamp {
		w.stampHanded(reqs, now)
	}
}

func (w *worker) stampHanded(reqs []*engine.Request, now int64) {
	if len(reqs) == 1 {
		s := &w.slots[reqs[0].User]
		s.handed = now
		if h := w.iv.dir[s.dir].slat; h != nil && w.measuring && !s.sync {
			h.Record(uint64(now - s.made))
		}
		return
	}
	var same tally
	for _, r := range reqs {
		s := &w.slots[r.User]
		s.handed = now
		if s.sync || !w.measuring {
			continue
		}
		if same.n == 0 || same.dir != s.dir || same.from != s.made {
			w.countSlat(&same, now)
			same = tally{dir: s.dir, from: s.made}
		}
		same.n++
	}
	w.countSlat(&same, now)
}

// tally are requests that have direction and stamps in common: they are counted at once.
type tally struct {
	dir      fiojob.Dir
	n, bytes uint64
	from     int64 // clock ns: slat begins
	handed   int64 // clat begins
	planned  int64 // lat begins
}

func (w *worker) countSlat(t *tally, now int64) {
	if t.n == 0 {
		return
	}
	if h := w.iv.dir[t.dir].slat; h != nil {
		recordAll(h, now-t.from, t.n)
	}
}

// count counts completed requests.
func (w *worker) count(t *tally, now int64) {
	v := &w.iv.dir[t.dir]
	v.ios += t.n
	v.bytes += t.bytes
	if v.clat != nil {
		recordAll(v.clat, now-t.handed, t.n)
	}
	if v.lat != nil {
		recordAll(v.lat, now-t.planned, t.n)
	}
}

func recordAll(h *hist.Hist, ns int64, n uint64) {
	if n == 1 {
		h.Record(uint64(ns))
		return
	}
	h.RecordN(uint64(ns), n)
}

// reap takes completions: what is there at once, else it waits, for as many as iodepth_batch_complete_min says.
func (w *worker) reap(ending bool) error {
	want := w.traits.reapMin
	if ending || want > w.inFlight {
		want = min(1, w.inFlight)
	}
	total := 0
	for {
		n := w.poll(w.traits.reap - total)
		total += n
		if total >= want && total > 0 || w.inFlight == 0 || total >= w.traits.reap {
			return nil
		}
		if n > 0 {
			continue
		}
		if want == 0 {
			w.look(w.clock.Now())
			return nil
		}
		if err := w.wait(); err != nil {
			return err
		}
		now := w.clock.Now()
		if now >= w.nextLook || w.hand.Wanted() {
			w.look(now)
		}
		if w.stop.Load() && !ending {
			return nil
		}
		if w.run.gaveUp(now) {
			w.left = true
			return errLeft
		}
	}
}

// poll looks once at every file that has requests in flight.
func (w *worker) poll(most int) int {
	total := 0
	if w.check != nil && w.check.async != nil {
		total = w.check.async.collect(0)
	}
	for i := 0; i < len(w.busy) && total < most; i++ {
		f := w.busy[i]
		n := f.path.Poll(w.done[:min(most-total, len(w.done))])
		if n == 0 {
			continue
		}
		f.inFlight -= n
		w.inFlight -= n
		total += n
		w.complete(w.done[:n])
		if f.inFlight == 0 {
			last := len(w.busy) - 1
			w.busy[i] = w.busy[last]
			w.busy = w.busy[:last]
			i--
		}
	}
	if w.measuring && total > 0 {
		w.iv.completes++
		w.iv.complete[batchClass(total)]++
	}
	return total
}

// wait sleeps until something completes, at most until the next thing that time brings.
func (w *worker) wait() error {
	w.seen = 0
	if w.traits.spin {
		return nil
	}
	limit := max(0, time.Duration(w.nextWake()-w.clock.Now()))
	if len(w.busy) == 0 {
		w.check.async.collect(limit)
		return nil
	}
	if len(w.busy) == 1 {
		return w.busy[0].path.Wait(limit)
	}
	// All files of a thread share a ring: its completions wake this wait, whichever file they belong to. Other leaves are asked in turn.
	f := w.busy[0]
	w.busy[0], w.busy[len(w.busy)-1] = w.busy[len(w.busy)-1], f
	return f.path.Wait(min(limit, 200*time.Microsecond))
}

// complete records finished requests and frees their slots. They were seen to be complete together, so that they have one stamp.
func (w *worker) complete(done []*engine.Request) {
	now := w.clock.Now()
	w.seen = now
	if r := done[0]; len(done) == 1 && w.plain != nil && r.Res >= 0 && !w.traits.hooks {
		w.free = append(w.free, uint32(r.User))
		if w.measuring {
			s := &w.slots[r.User]
			v := &w.iv.dir[s.dir]
			v.ios++
			v.bytes += uint64(r.Len)
			if v.clat != nil {
				v.clat.Record(uint64(now - s.handed))
			}
			if v.lat != nil {
				v.lat.Record(uint64(now - s.planned))
			}
		}
	} else {
		w.completeAll(done, now)
	}
	if now >= w.nextLook || w.hand.Wanted() {
		w.look(now)
	}
}

func (w *worker) completeAll(done []*engine.Request, now int64) {
	var same tally
	for _, r := range done {
		s := &w.slots[r.User]
		if r.Res < 0 || s.sync || w.traits.hooks {
			w.seen = 0
			counts := w.hooked(r, s, now)
			if w.kept {
				w.kept = false
			} else {
				w.free = append(w.free, uint32(r.User))
			}
			if !counts {
				continue
			}
		} else {
			w.free = append(w.free, uint32(r.User))
		}
		if !w.measuring {
			continue
		}
		if same.n == 0 || same.dir != s.dir || same.handed != s.handed || same.planned != s.planned {
			if same.n > 0 {
				w.count(&same, now)
			}
			same = tally{dir: s.dir, handed: s.handed, planned: s.planned}
		}
		same.n++
		same.bytes += uint64(r.Len)
	}
	if same.n > 0 {
		w.count(&same, now)
	}
}

// hooked does what only some jobs and some requests need at a completion. False: the request does not count as I/O.
func (w *worker) hooked(r *engine.Request, s *slot, now int64) bool {
	if w.traits.serialize && !s.sync {
		s.file.overlaps.remove(r.Off, int64(r.Len))
	}
	if w.pacing.think != nil {
		w.pacing.think.Completed(1)
	}
	if r.Res < 0 {
		w.fail(r, s)
		return false
	}
	if s.sync {
		if w.measuring {
			w.iv.syncs++
			w.iv.sync.Record(uint64(now - s.made))
		}
		return false
	}
	if w.check != nil {
		w.kept = !w.check.completed(r, s)
	}
	if w.pacing.judges {
		w.pacing.completed(w, r, s, now)
	}
	if w.tracer != nil && w.measuring {
		w.tracer.trace(w, r, s, now)
	}
	return true
}

// look does what time brings: the end of the ramp, of an interval, of the run.
func (w *worker) look(now int64) {
	w.seen = 0
	if !w.measuring && now >= w.rampEnd && w.phase.Load() == phaseRamp {
		w.beginWindow(now)
	}
	if now >= w.deadline {
		w.stop.Store(true)
	}
	if w.measuring && (now >= w.nextIv || w.hand.Wanted()) {
		w.handOver(now)
	}
	if w.pacing.active {
		w.pacing.look(w, now)
	}
	w.nextLook = w.deadline
	if w.measuring {
		w.nextLook = min(w.nextLook, w.nextIv)
	} else {
		w.nextLook = min(w.nextLook, w.rampEnd)
	}
	if w.pacing.active {
		w.nextLook = min(w.nextLook, w.pacing.nextLook)
	}
}

// handOver gives the interval to the collector, if that has brought the last one back.
func (w *worker) handOver(now int64) {
	w.seal(now)
	sum := w.sum
	for d := range sum { // once it is handed over it is the collector's
		sum[d].ios += w.iv.dir[d].ios
		sum[d].bytes += w.iv.dir[d].bytes
	}
	if next, handed := w.hand.Offer(w.iv); handed {
		w.sum = sum
		w.iv = next
		w.iv.from = now
	}
	if now >= w.nextIv {
		step := int64(w.run.step)
		w.nextIv += ((now-w.nextIv)/step + 1) * step
	}
}

// seal fills in the state at the end of an interval.
func (w *worker) seal(now int64) {
	iv := w.iv
	iv.to, iv.inFlight = now, w.inFlight
	iv.usage = threadUsage().minus(w.usage0)
	iv.usage.kernel = 0 // known at the end: reading it takes memory
	iv.paths, iv.open = w.pathCounts()
	iv.paths = addPaths(iv.paths, w.paths0, -1)
	for d := range iv.ran {
		iv.ran[d] = w.ran[d]
		if w.phaseDirs[d] {
			iv.ran[d] += now - w.phaseFrom
		}
	}
}

// nextWake is the next time at which the worker has to look up by itself.
func (w *worker) nextWake() int64 {
	t := min(w.nextLook, w.clock.Now()+int64(maxNap))
	if w.pacing.active {
		t = min(t, w.pacing.wake(w))
	}
	return t
}

// maxNap is the longest that a worker sleeps without looking whether it was told to stop.
const maxNap = 50 * time.Millisecond

// idle passes the time until something may be submitted, with nothing in flight.
func (w *worker) idle() error {
	now := w.clock.Now()
	w.look(now)
	if w.stop.Load() {
		return nil
	}
	w.sleepUntil(min(w.nextWake(), now+int64(maxNap)))
	return nil
}

// sleepUntil sleeps until shortly before t and looks at the clock for the rest: the kernel wakes sleepers late by its timer slack.
func (w *worker) sleepUntil(t int64) {
	const slack = 60 * time.Microsecond
	if left := time.Duration(t - w.clock.Now()); left > slack+20*time.Microsecond {
		time.Sleep(left - slack)
	}
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
