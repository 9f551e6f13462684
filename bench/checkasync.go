package bench

import (
	"runtime"
	"sync"
	"time"

	"github.com/blkbench/blkbench/bench/verify"
	"github.com/blkbench/blkbench/engine"
)

// asyncCheckers are the threads of verify_async. A request that is being checked counts as in flight: its buffer is in use.
type asyncCheckers struct {
	w    *worker
	jobs chan asyncCheck
	back chan asyncVerdict
	out  int
	wg   sync.WaitGroup
}

type asyncCheck struct {
	x      *checked
	r      *engine.Request
	expect verify.Expect
}

type asyncVerdict struct {
	slot  uint32
	fault *verify.Fault
}

func newAsyncCheckers(w *worker) *asyncCheckers {
	depth := len(w.slab)
	a := &asyncCheckers{w: w, jobs: make(chan asyncCheck, depth), back: make(chan asyncVerdict, depth)}
	for range w.job.Verify.Async {
		a.wg.Go(a.check)
	}
	return a
}

// check is one thread; it has verifiers of its own.
func (a *asyncCheckers) check() {
	runtime.LockOSThread() // not unlocked: the thread's affinity ends with it
	if err := pin(a.w.job.Verify.AsyncCPUs); err != nil {
		a.w.run.warn("%s: verify_async_cpus: %v", a.w.job.Name, err)
	}
	own := map[*checked]*verify.Verifier{}
	for j := range a.jobs {
		v := own[j.x]
		if v == nil {
			v, _ = verify.New(j.x.v.Config()) // it was good before
			own[j.x] = v
		}
		a.back <- asyncVerdict{uint32(j.r.User), v.Check(a.w.bytes(j.r), j.r.Off, j.expect)}
	}
}

// send hands a request that was read to the threads. The channel has room for all there are.
func (a *asyncCheckers) send(x *checked, r *engine.Request, s *slot) {
	a.out++
	a.w.inFlight++ // the caller takes it off
	a.jobs <- asyncCheck{x, r, s.expect}
}

// collect takes what has been checked; with a limit it waits so long for something.
func (a *asyncCheckers) collect(limit time.Duration) int {
	n := 0
	for a.out > 0 {
		var v asyncVerdict
		if limit > 0 && n == 0 {
			select {
			case v = <-a.back:
			case <-time.After(limit):
				return 0
			}
		} else {
			select {
			case v = <-a.back:
			default:
				return n
			}
		}
		n++
		a.out--
		a.w.inFlight--
		a.w.free = append(a.w.free, v.slot)
		a.w.check.judge(v.fault)
	}
	return n
}

func (a *asyncCheckers) close() {
	close(a.jobs)
	a.wg.Wait()
}
