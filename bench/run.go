package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blkbench/blkbench/bench/clock"
	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
)

// Config is what a measurement needs besides the plan.
type Config struct {
	Env     *engine.Env
	Plan    *fiojob.Plan
	Version string
	// Step is the length of an interval of the time series; 0 means 500 ms, or a hundredth of a long run.
	Step time.Duration
	// Live receives the state about every LiveEvery; a slow reader misses some. Nil: nobody looks.
	Live      chan<- result.Live
	LiveEvery time.Duration
	// Status is called with the results so far every StatusEvery.
	Status      func(*result.Run)
	StatusEvery time.Duration
	// Warn receives what the user should know at once.
	Warn func(msg string)
}

// run is one measurement under way.
type run struct {
	cfg     Config
	clock   *clock.Clock
	ctx     context.Context
	cancel  context.CancelFunc
	user    context.Context // the caller's: setting up ends with it at once
	start   time.Time
	base    int64 // clock ns at start
	step    time.Duration
	workers []*worker
	batches [][]*worker // what starts together, in order
	flows   flows

	mu       sync.Mutex
	warnings []string

	ended       atomic.Bool  // nothing further is to start
	interruptAt atomic.Int64 // clock ns; 0: not interrupted
	abandoned   chan struct{}
	layingOut   atomic.Bool
	windows     int // measured windows open now, under mu
	allocStart  uint64
	allocs      uint64
	overlapped  bool
	gcPercent   int
	collect     *collector
	host        hostFacts
}

// After an interruption requests have patience to come back by themselves; then contexts are cancelled, and after as long again the
// measurement ends without them.
const patience = time.Second

// Run carries the plan out and returns what was found. Cancelling ctx ends the measurement early: the result is then whole up to there
// and marked. An error comes together with a result where there is one to show.
func Run(ctx context.Context, cfg Config) (*result.Run, error) {
	jobs := cfg.Plan.Expand()
	if len(jobs) == 0 {
		return nil, errors.New("the plan has no job")
	}
	for i := range jobs {
		if err := unsupported(&jobs[i]); err != nil {
			return nil, err
		}
		sow(&jobs[i])
	}
	r := &run{cfg: cfg, clock: clock.New(), user: ctx, start: time.Now(), abandoned: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer r.cancel()
	r.base = r.clock.Now()
	r.step = stepFor(cfg.Step, jobs)
	engine.SetClock(r.clock.Now)
	defer engine.SetClock(nil)
	for i := range jobs {
		w := &worker{run: r, job: &jobs[i], clock: r.clock, ctx: r.ctx, ready: make(chan struct{}), finished: make(chan struct{})}
		r.workers = append(r.workers, w)
	}
	if procs := len(jobs) + 8*len(jobs) + 2; runtime.GOMAXPROCS(0) < procs {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(min(procs, 1024)))
	}
	r.collect = newCollector(r)
	stopWatching := context.AfterFunc(ctx, r.interrupt)
	defer stopWatching()
	r.host.begin()
	go r.collect.main()
	err := r.schedule()
	err = errors.Join(err, r.collect.finish())
	r.closeWindows()
	out := r.result(r.interruptAt.Load() != 0)
	r.host.complete(out)
	return out, err
}

// sow gives a job that wants other offsets in every run a seed of its own.
func sow(j *fiojob.Job) {
	if j.Random.Repeat || j.Random.AllRepeat || j.Random.SeedGiven {
		return
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	j.Random.Seed = binary.NativeEndian.Uint64(b[:])
}

// stepFor chooses the length of intervals: short runs have a hundred or so, long ones stay bounded; none is longer than a sample of
// bandwidth or IOPS that was asked for.
func stepFor(asked time.Duration, jobs []fiojob.Job) time.Duration {
	longest := time.Duration(0)
	for i := range jobs {
		longest = max(longest, jobs[i].Time.Runtime)
	}
	step := time.Duration(math.Ceil(float64(longest)/1000/float64(100*time.Millisecond))) * 100 * time.Millisecond
	step = min(max(step, 100*time.Millisecond), time.Minute)
	if asked > 0 {
		step = asked
	}
	for i := range jobs {
		j := &jobs[i]
		if j.Steady.Duration > 0 {
			step = min(step, j.Steady.Interval)
		}
		if given(j, "bwavgtime") && j.Report.BWInterval > 0 {
			step = min(step, j.Report.BWInterval)
		}
		if given(j, "iopsavgtime") && j.Report.IOPSInterval > 0 {
			step = min(step, j.Report.IOPSInterval)
		}
	}
	for i := range jobs {
		if d := logWindow(&jobs[i]); d > 0 {
			step = min(step, d)
			for n := time.Duration(1); n < 1000 && d%step != 0; n++ { // windows are made of whole intervals
				step = d / (d/step + 1)
			}
		}
	}
	return max(step, time.Millisecond)
}

func (r *run) warn(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	r.mu.Lock()
	r.warnings = append(r.warnings, msg)
	r.mu.Unlock()
	if r.cfg.Warn != nil {
		r.cfg.Warn(msg)
	}
}

// interrupt ends every worker at the next look, and the measurement soon, whatever the targets do.
func (r *run) interrupt() {
	r.interruptAt.CompareAndSwap(0, r.clock.Now())
	r.ended.Store(true)
	stopAll(r.workers)
	time.AfterFunc(patience, r.cancel)
	time.AfterFunc(2*patience, func() { close(r.abandoned) })
}

// gaveUp reports whether a worker should leave its requests behind.
func (r *run) gaveUp(now int64) bool {
	at := r.interruptAt.Load()
	return at != 0 && now-at > int64(patience*3/2)
}

// schedule starts the jobs in batches: a stonewall waits for everything before it.
func (r *run) schedule() error {
	for i := 0; i < len(r.workers); {
		k := i + 1
		for k < len(r.workers) && (!r.workers[k].job.Order.Stonewall || r.workers[k].job.Clone > 0) {
			k++
		}
		r.batches = append(r.batches, r.workers[i:k])
		i = k
	}
	var first error
	for _, batch := range r.batches {
		if err := r.runBatch(batch); err != nil && first == nil {
			first = err
		}
		if r.ended.Load() {
			break
		}
	}
	return first
}

// runBatch sets a batch up, releases it at once and waits for its end.
func (r *run) runBatch(batch []*worker) error {
	r.collect.starts(batch)
	if err := r.layout(batch); err != nil {
		for _, w := range batch {
			w.setFailure(err)
			w.skip()
		}
		return err
	}
	r.enlistFlows(batch)
	gate := make(chan struct{})
	for _, w := range batch {
		if w.job.Files.CreateOnly {
			w.skip()
			continue
		}
		w.gate = gate
		go func() {
			r.startWhenDue(w)
			r.over(w, batch)
		}()
		if w.job.Order.WaitFor != "" {
			continue
		}
		// Set-up happens one after the other, as fio's does: file systems and devices see an orderly start.
		select {
		case <-w.ready:
		case <-r.abandoned:
		}
	}
	for _, w := range batch {
		if w.badSetup.Load() {
			stopAll(batch)
		}
	}
	r.host.watch(batch)
	close(gate)
	var errs error
	for _, w := range batch {
		select {
		case <-w.finished:
		case <-r.abandoned:
			select {
			case <-w.finished:
			default:
				r.warn("%s: does not react: its result is what there was %v after the interruption", w.job.Name, 2*patience)
				continue
			}
		}
		w.mu.Lock()
		if w.failure != nil {
			errs = errors.Join(errs, w.failure)
		}
		w.mu.Unlock()
	}
	return errs
}

// startWhenDue runs a worker, after the job that wait_for names.
func (r *run) startWhenDue(w *worker) {
	if name := w.job.Order.WaitFor; name != "" {
		for _, o := range r.workers {
			if o.job.Name != name || o.job.Thread >= w.job.Thread {
				continue
			}
			select {
			case <-o.finished:
			case <-r.ctx.Done():
			}
		}
	}
	w.main()
}

// over does what exitall and exitall_on_error say when a worker is through.
func (r *run) over(w *worker, batch []*worker) {
	o := &w.job.Order
	if w.pacing.flow != nil {
		w.pacing.flow.leave()
	}
	w.mu.Lock()
	failed := w.failure != nil
	w.mu.Unlock()
	if failed && o.ExitAllOnError {
		r.ended.Store(true)
		stopAll(r.workers)
		return
	}
	if !o.ExitAll {
		return
	}
	switch o.ExitWhat {
	case fiojob.ExitEverything:
		r.ended.Store(true)
		stopAll(r.workers)
	case fiojob.ExitStonewall:
		stopAll(batch)
	case fiojob.ExitGroup:
		for _, p := range r.workers {
			if p.job.Group == w.job.Group {
				p.stop.Store(true)
			}
		}
	}
}

func stopAll(ws []*worker) {
	for _, w := range ws {
		w.stop.Store(true)
	}
}

// windowOpens and windowCloses keep the garbage collector quiet while anything is measured, and count allocations.
func (r *run) windowOpens() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.windows++; r.windows > 1 {
		r.overlapped = true
		return
	}
	r.gcPercent = debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)
	r.allocStart = heapObjects()
}

// memoryLimit is where the collector comes back although something is measured.
const memoryLimit = 2 << 30

func (r *run) windowCloses() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.windows--; r.windows == 0 {
		r.restoreGC()
	}
}

// closeWindows ends those of workers that did not come back.
func (r *run) closeWindows() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.windows > 0 {
		r.windows = 0
		r.restoreGC()
	}
}

func (r *run) restoreGC() {
	r.allocs += heapObjects() - r.allocStart
	debug.SetGCPercent(r.gcPercent)
	debug.SetMemoryLimit(math.MaxInt64)
}
