package bench

import (
	"context"
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
	start   time.Time
	base    int64 // clock ns at start
	step    time.Duration
	workers []*worker
	batches [][]*worker // what starts together, in order

	mu       sync.Mutex
	warnings []string

	interrupted atomic.Bool
	windows     atomic.Int32 // measured windows open now
	allocStart  uint64
	allocs      uint64
	overlapped  bool
	gcPercent   int
	collect     *collector
}

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
	}
	r := &run{cfg: cfg, clock: clock.New(), start: time.Now()}
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
	go r.collect.main()
	err := r.schedule()
	r.collect.finish()
	out := r.result(ctx.Err() != nil)
	return out, err
}

// stepFor chooses the length of intervals: short runs have a hundred or so, long ones stay bounded.
func stepFor(asked time.Duration, jobs []fiojob.Job) time.Duration {
	if asked > 0 {
		return asked
	}
	longest := time.Duration(0)
	for i := range jobs {
		longest = max(longest, jobs[i].Time.Runtime)
	}
	step := time.Duration(math.Ceil(float64(longest)/1000/float64(100*time.Millisecond))) * 100 * time.Millisecond
	return min(max(step, 100*time.Millisecond), time.Minute)
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

// interrupt ends every worker at the next look.
func (r *run) interrupt() {
	r.interrupted.Store(true)
	stopAll(r.workers)
}

// stamps reports whether requests of a job are stamped.
func (r *run) stamps(j *fiojob.Job) bool { return !j.Report.GTODReduce }

// schedule starts the jobs in batches: a stonewall waits for everything before it.
func (r *run) schedule() error {
	for i := 0; i < len(r.workers); {
		k := i + 1
		for k < len(r.workers) && !(r.workers[k].job.Order.Stonewall && r.workers[k].job.Clone == 0) {
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
		if r.interrupted.Load() {
			break
		}
	}
	return first
}

// runBatch sets a batch up, releases it at once and waits for its end.
func (r *run) runBatch(batch []*worker) error {
	if err := r.layout(batch); err != nil {
		return err
	}
	r.collect.starts(batch)
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for _, w := range batch {
		w.gate = gate
		wg.Go(func() { r.startWhenDue(w); r.ended(w, batch) })
		if w.job.Order.WaitFor != "" {
			continue
		}
		// Set-up happens one after the other, as fio's does: file systems and devices see an orderly start.
		<-w.ready
	}
	for _, w := range batch {
		if w.badSetup.Load() {
			stopAll(batch)
		}
	}
	close(gate)
	wg.Wait()
	var errs error
	for _, w := range batch {
		if w.failure != nil {
			errs = errors.Join(errs, w.failure)
		}
	}
	return errs
}

// startWhenDue runs a worker, after the job that wait_for names.
func (r *run) startWhenDue(w *worker) {
	if name := w.job.Order.WaitFor; name != "" {
		for _, o := range r.workers {
			if o.job.Name == name && o.job.Thread < w.job.Thread {
				<-o.finished
			}
		}
	}
	w.main()
}

// ended does what exitall and exitall_on_error say when a worker is through.
func (r *run) ended(w *worker, batch []*worker) {
	o := &w.job.Order
	if !o.ExitAll && !(o.ExitAllOnError && w.failure != nil) {
		return
	}
	switch o.ExitWhat {
	case fiojob.ExitEverything:
		stopAll(r.workers)
		r.interrupted.Store(true)
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
	if r.windows.Add(1) == 1 {
		r.mu.Lock()
		r.gcPercent = debug.SetGCPercent(-1)
		debug.SetMemoryLimit(2 << 30)
		r.allocStart = heapObjects()
		r.mu.Unlock()
		return
	}
	r.mu.Lock()
	r.overlapped = true
	r.mu.Unlock()
}

func (r *run) windowCloses() {
	if r.windows.Add(-1) == 0 {
		r.mu.Lock()
		r.allocs += heapObjects() - r.allocStart
		debug.SetGCPercent(r.gcPercent)
		debug.SetMemoryLimit(math.MaxInt64)
		r.mu.Unlock()
	}
}
