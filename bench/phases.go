package bench

import (
	"context"
	"errors"
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// measure runs the workload from release to end: the loops, each followed by its verification.
func (w *worker) measure() error {
	j := w.job
	w.delay()
	now := w.clock.Now()
	w.began.Store(now)
	w.rampEnd = now + int64(j.Time.Ramp)
	w.deadline = 1<<63 - 1
	if j.Time.Runtime > 0 {
		w.deadline = w.rampEnd + int64(j.Time.Runtime)
	}
	w.deadlineHint.Store(w.deadline)
	w.phase.Store(phaseRamp)
	if err := w.pacing.start(w, now); err != nil {
		return err
	}
	w.beginPhase(now, [3]bool{j.RW.Kind.Reads(), j.RW.Kind.Writes(), j.RW.Kind.Trims()})
	if j.Time.Ramp == 0 {
		w.beginWindow(now)
	}
	w.look(now)
	err := w.loops()
	if err == nil && !w.left {
		err = w.finishWrites()
	}
	w.endPhase()
	w.endWindow()
	return err
}

// loops runs the workload as often as loops= says.
func (w *worker) loops() error {
	for {
		if c := w.check; c != nil && (w.job.Verify.Only || c.readers && w.job.Verify.LoadState) {
			if !w.job.Verify.LoadState && !c.readers {
				c.rehearse()
			}
			if err := w.verifyPhase(); err != nil {
				return err
			}
		} else {
			if err := w.loop(); err != nil {
				return err
			}
			if w.verifies() {
				if err := w.verifyPhase(); err != nil {
					return err
				}
			}
		}
		if w.check != nil {
			w.setFailure(w.check.verdict())
		}
		if w.stop.Load() || w.failed || !w.src.again() {
			return nil
		}
		if err := w.nextLoop(); err != nil {
			return err
		}
	}
}

// beginPhase says which directions are in use from now on: that is their run time.
func (w *worker) beginPhase(now int64, dirs [3]bool) {
	if len(w.job.Replay.Logs) > 0 {
		dirs = [3]bool{true, true, true}
	}
	w.phaseFrom, w.phaseDirs = now, dirs
}

func (w *worker) endPhase() {
	now := w.clock.Now()
	for d, used := range w.phaseDirs {
		if used {
			w.ran[d] += now - w.phaseFrom
		}
	}
	w.phaseDirs = [3]bool{}
}

// beginWindow starts the measured window, anew where there was one: what was counted before is forgotten.
func (w *worker) beginWindow(now int64) {
	kernel := kernelThreads(int(w.tid.Load()))
	if !w.measuring {
		w.run.windowOpens()
	}
	w.measuring = true
	w.phase.Store(phaseRun)
	w.startAt, w.phaseFrom = now, now
	w.ran, w.sum = [3]int64{}, [3]dirCount{}
	w.iv.reset()
	w.iv.from, w.iv.fresh = now, true
	w.nextIv = now + int64(w.run.step)
	w.usage0 = threadUsage()
	w.usage0.kernel = kernel
	w.paths0, _ = w.pathCounts()
}

func (w *worker) endWindow() {
	now := w.clock.Now()
	if !w.measuring {
		return
	}
	w.seal(now)
	w.run.windowCloses()
	w.iv.usage.kernel = kernelThreads(int(w.tid.Load())) - w.usage0.kernel
	w.final = w.iv
}

// delay waits out startdelay.
func (w *worker) delay() {
	d := w.job.Time.StartDelay
	if d.Max <= 0 {
		return
	}
	wait := d.Min
	if d.Max > d.Min {
		wait += time.Duration(seedOf(w.job) % uint64(d.Max-d.Min+1))
	}
	end := time.Now().Add(wait)
	for !w.stop.Load() {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		time.Sleep(min(left, maxNap))
	}
}

// finishWrites does end_fsync.
func (w *worker) finishWrites() error {
	if !w.job.Sync.EndFsync {
		return nil
	}
	ctx := context.WithoutCancel(w.ctx)
	start := w.clock.Now()
	var err error
	synced := false
	for _, f := range w.files {
		if f.ref != nil && f.ref.Writable() {
			err = errors.Join(err, f.ref.Flush(ctx))
			synced = true
		}
	}
	if synced && w.measuring {
		w.iv.syncs++
		w.iv.sync.Record(uint64(w.clock.Now() - start))
	}
	return err
}

// nextLoop makes ready for the next pass of loops=: unlink_each_loop.
func (w *worker) nextLoop() error {
	if !w.job.Files.UnlinkEachLoop {
		return nil
	}
	for _, f := range w.files {
		if err := w.closeFile(f); err != nil {
			return err
		}
	}
	if err := w.run.relayout(w); err != nil {
		return err
	}
	return w.openFirst()
}

// verifies reports whether what was written is read back after the loop.
func (w *worker) verifies() bool {
	return w.check != nil && !w.check.readers && w.job.Verify.Do && !w.stop.Load() && !w.failed
}

// verifyPhase reads back what the loop has written, or what an earlier run has. It keeps no rate and no think time.
func (w *worker) verifyPhase() error {
	back, err := w.check.source()
	if err != nil {
		return err
	}
	defer back.stop()
	src, pacing := w.src, w.pacing
	w.src, w.pacing = back, newPacing()
	defer func() { w.src, w.pacing = src, pacing }()
	w.endPhase()
	w.beginPhase(w.clock.Now(), [3]bool{fiojob.Read: true})
	phase := w.phase.Swap(phaseVerify)
	err = w.loop()
	w.phase.Store(phase)
	w.endPhase()
	w.check.done = err == nil && !w.stop.Load() && !w.failed
	for _, x := range w.check.files {
		x.base = x.seq
	}
	j := w.job
	w.beginPhase(w.clock.Now(), [3]bool{j.RW.Kind.Reads(), j.RW.Kind.Writes(), j.RW.Kind.Trims()})
	return err
}
