package bench

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/engine"
)

// makeOne makes the next request and puts it into the batch.
func (w *worker) makeOne() (made, error) {
	now := int64(0)
	if !w.hasStep {
		if f := w.syncDue(); f != nil {
			w.makeSync(f)
			return madeOne, nil
		}
		if !w.src.next(&w.step) {
			return madeEnd, nil
		}
		w.hasStep = true
		now = w.clock.Now()
		w.planned = w.pacer.next(w.step.dir, int64(w.step.n), now)
	}
	st := &w.step
	if w.planned > 0 { // paced: an intended start
		if now == 0 {
			now = w.clock.Now()
		}
		if w.planned > now {
			return madeNone, nil
		}
	}
	if w.job.Depth.Serialize && st.file.overlaps.touches(st.off, int64(st.n)) {
		return madeNone, nil
	}
	w.hasStep = false
	i := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	r, s := &w.slab[i], &w.slots[i]
	r.Off, r.Len, r.Op, r.Flags = st.off, st.n, opOf(st.dir), w.writeFlags
	s.file, s.dir, s.sync, s.verify = st.file, st.dir, false, false
	if st.dir == fiojob.Write {
		if w.filler != nil {
			w.filler.fill(w.bytes(r), st)
		}
		st.file.writes++
		st.file.dirty = true
	}
	if w.check != nil {
		w.check.prepare(w, r, s)
	}
	if w.job.Depth.Serialize {
		st.file.overlaps.add(st.off, int64(st.n))
	}
	w.batch = append(w.batch, r)
	if w.measuring {
		w.tot.depth[depthClass(w.inFlight+len(w.batch))]++
	}
	if !w.job.Report.GTODReduce {
		s.made = w.clock.Now()
		s.planned = s.made
		if w.planned > 0 {
			s.planned = w.planned
		}
	}
	return madeOne, nil
}

// syncDue returns a file that fsync= or fdatasync= wants synced now.
func (w *worker) syncDue() *file {
	every := uint64(max(w.job.Sync.Fsync, w.job.Sync.Fdatasync))
	if every == 0 || len(w.free) < 1 {
		return nil
	}
	for _, f := range w.files {
		if f.dirty && f.writes >= every {
			return f
		}
	}
	return nil
}

func (w *worker) makeSync(f *file) {
	f.writes, f.dirty = 0, false
	i := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	r, s := &w.slab[i], &w.slots[i]
	r.Off, r.Len, r.Op, r.Flags = 0, 0, engine.OpFlush, 0
	if w.job.Sync.Fdatasync == 0 {
		r.Flags = engine.FlushMetadata
	}
	*s = slot{file: f, sync: true, made: w.clock.Now()}
	w.batch = append(w.batch, r)
}

// delay waits out startdelay.
func (w *worker) delay() error {
	d := w.job.Time.StartDelay
	if d.Max <= 0 {
		return nil
	}
	wait := d.Min
	if d.Max > d.Min {
		wait += time.Duration(seedOf(w.job) % uint64(d.Max-d.Min+1))
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-t.C:
			return nil
		case <-look.C:
			if w.stop.Load() {
				return nil
			}
		}
	}
}

// idle passes the time until the next intended start, with nothing in flight.
func (w *worker) idle() error {
	now := w.clock.Now()
	w.tick(now)
	until := min(w.nextWake(), now+int64(100*time.Millisecond))
	if w.hasStep && w.planned > now {
		until = min(until, w.planned)
	}
	left := time.Duration(until - now)
	// The kernel wakes sleepers late by its timer slack: the last stretch is spent looking.
	if left > 80*time.Microsecond {
		time.Sleep(left - 60*time.Microsecond)
	}
	return nil
}

// waitMany waits for one of several files: each is asked in turn for a short while.
func (w *worker) waitMany(limit time.Duration) error {
	busy := 0
	var only *file
	for _, f := range w.files {
		if f.path.InFlight() > 0 {
			busy++
			only = f
		}
	}
	if busy == 1 {
		return only.path.Wait(limit)
	}
	for _, f := range w.files {
		if f.path.InFlight() == 0 {
			continue
		}
		// All files of a thread share a ring: its completions wake this wait, whichever file they belong to.
		return f.path.Wait(min(limit, 200*time.Microsecond))
	}
	return nil
}

// tolerates reports whether continue_on_error or ignore_error cover an error.
func (w *worker) tolerates(errno syscall.Errno, s *slot) bool {
	e := &w.job.Errors
	kind := 0
	if s.dir != fiojob.Read {
		kind = 1
	}
	if slices.Contains(e.Ignore[kind], errno) {
		w.tot.errors--
		return true
	}
	if kind == 0 {
		return e.ContinueRead
	}
	return e.ContinueWrite
}

// unsupported names what the plan asks for and this program does not do; the job files' table refuses most of it before.
func unsupported(j *fiojob.Job) error {
	switch {
	case j.Zone.Mode == fiojob.ZoneZBD:
		return fmt.Errorf("%s: zonemode=zbd is not supported", j.Name)
	case j.Engine.CmdPrio.Percent != fiojob.PerDir[int]{}:
		return fmt.Errorf("%s: cmdprio_percentage is not supported", j.Name)
	case j.Engine.Placement.Kind != fiojob.PlacementNone:
		return fmt.Errorf("%s: data placement (fdp, streams) is not supported", j.Name)
	}
	return nil
}

// finishWrites does end_fsync.
func (w *worker) finishWrites() error {
	if !w.job.Sync.EndFsync {
		return nil
	}
	start := w.clock.Now()
	err := w.flushFiles()
	w.tot.syncs++
	w.tot.sync.Record(uint64(w.clock.Now() - start))
	return err
}

func blockSizes(j *fiojob.Job) string {
	one := func(b fiojob.BlockSize) string {
		if b.Fixed() {
			return fmt.Sprint(b.Min)
		}
		return fmt.Sprintf("%d-%d", b.Min, b.Max)
	}
	s := j.Block.Size
	return one(s[0]) + "," + one(s[1]) + "," + one(s[2])
}
