package bench

import (
	"fmt"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/engine"
)

type made uint8

const (
	madeOne  made = iota // a request is in the batch
	madeNone             // not now: paced, or its range is busy
	madeEnd              // the workload is through
)

// makeOne makes the next request and puts it into the batch.
func (w *worker) makeOne() (made, error) {
	if !w.hasStep {
		if w.traits.syncs && w.syncDue() {
			return madeOne, nil
		}
		if m := w.draw(); m != madeOne {
			return m, nil
		}
		w.hasStep = true
	}
	st := &w.step
	if st.at > 0 && st.at > w.clock.Now() {
		w.pacing.due = st.at
		return madeNone, nil
	}
	if w.traits.serialize && st.file.overlaps.touches(st.off, int64(st.n)) {
		return madeNone, nil
	}
	if st.file.path == nil {
		if !w.makeRoom() {
			return madeNone, nil
		}
		if err := w.openFile(st.file); err != nil {
			return madeEnd, err
		}
	}
	w.hasStep = false
	r := w.take(st)
	if st.sync {
		w.push(r)
		if st.data {
			r.Flags = 0
		}
		return madeOne, nil
	}
	s := &w.slots[r.User]
	if st.dir == fiojob.Write {
		r.Flags = w.traits.flags
		if w.filler != nil {
			w.filler.fill(w.bytes(r), st)
		}
		w.wrote(st)
	}
	if w.check != nil {
		w.check.prepare(r, s)
	}
	if w.traits.serialize {
		st.file.overlaps.add(st.off, int64(st.n))
	}
	w.batch = append(w.batch, r)
	if w.measuring {
		w.iv.depth[depthClass(w.inFlight+len(w.batch))]++
	}
	if w.traits.stamp {
		s.made = w.clock.Now()
		s.planned = s.made
		if st.at > 0 {
			s.planned = st.at
		}
	}
	return madeOne, nil
}

// draw finds the next step. What the backlog of verification wants read back comes first.
func (w *worker) draw() made {
	switch {
	case w.check != nil && w.check.due(&w.step):
	case w.pacing.active:
		return w.pacing.draw(w)
	case !w.src.next(&w.step):
		return madeEnd
	}
	return madeOne
}

// take fills a free request with a step.
func (w *worker) take(st *step) *engine.Request {
	i := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	r, s := &w.slab[i], &w.slots[i]
	r.Off, r.Len, r.Op, r.Flags = st.off, st.n, opOf(st.dir), 0
	s.file, s.dir, s.sync, s.verify, s.expect = st.file, st.dir, false, st.verify, st.expect
	return r
}

// push makes a request a sync and puts it into the batch.
func (w *worker) push(r *engine.Request) {
	r.Off, r.Len, r.Op, r.Flags = 0, 0, engine.OpFlush, engine.FlushMetadata
	s := &w.slots[r.User]
	s.sync, s.made = true, w.clock.Now()
	w.batch = append(w.batch, r)
}

// wrote keeps the account that fsync=, fdatasync= and sync_file_range= go by.
func (w *worker) wrote(st *step) {
	f := st.file
	if !w.traits.syncs {
		return
	}
	f.sinceSync++
	f.sinceData++
	f.sinceRange++
	f.rangeFrom = min(f.rangeFrom, st.off)
	f.rangeTo = max(f.rangeTo, st.off+int64(st.n))
}

// syncDue makes the fsync, fdatasync or sync_file_range that a file has earned.
func (w *worker) syncDue() bool {
	y := &w.job.Sync
	f := w.step.file // the file of the last step: no other has become due
	if f == nil || f.path == nil {
		return false
	}
	flags := engine.WriteFlags(0)
	switch {
	case y.Fsync > 0 && f.sinceSync >= y.Fsync:
		flags = engine.FlushMetadata
		f.sinceSync = 0
	case y.Fdatasync > 0 && f.sinceData >= y.Fdatasync:
		f.sinceData = 0
	case y.Range.Every > 0 && f.sinceRange >= y.Range.Every:
		w.syncRange(f)
		return false
	default:
		return false
	}
	r := w.take(&step{file: f})
	w.push(r)
	r.Flags = flags
	return true
}

// syncRange calls sync_file_range(2) on what was written since the last time. The kernel has no way to do it in the background that would
// not be a thread's, so that the job's own thread does it, as with fio's synchronous engines.
func (w *worker) syncRange(f *file) {
	from, to := f.rangeFrom, f.rangeTo
	f.sinceRange, f.rangeFrom, f.rangeTo = 0, 1<<63-1, 0
	y := &w.job.Sync.Range
	start := w.clock.Now()
	var err error
	if s, ok := f.ref.Node().(engine.RangeSyncer); ok {
		err = s.SyncRange(w.ctx, from, to-from, engine.SyncRangeFlags{WaitBefore: y.WaitBefore, Write: y.Write, WaitAfter: y.WaitAfter})
	} else {
		err = engine.Errf(engine.ErrUnsupported, "sync_file_range")
	}
	if err != nil {
		w.setFailure(fmt.Errorf("%s: %s: sync_file_range at %#x+%d: %w", w.job.Name, f.name, from, to-from, err))
		return
	}
	if w.measuring {
		w.iv.syncs++
		w.iv.sync.Record(uint64(w.clock.Now() - start))
	}
}

// unsupported names what the plan asks for and this program does not do; the job files' table refuses most of it before.
func unsupported(j *fiojob.Job) error {
	switch {
	case j.Zone.Mode == fiojob.ZoneZBD:
		return fmt.Errorf("%s: zonemode=zbd is not supported", j.Name)
	case hasCmdPrio(&j.Engine.CmdPrio):
		return fmt.Errorf("%s: cmdprio_percentage is not supported", j.Name)
	case j.Verify.Kind != fiojob.VerifyNone && len(j.Replay.Logs) > 0:
		return fmt.Errorf("%s: verify with read_iolog: what a trace writes is not verified", j.Name)
	case j.Engine.Placement.Kind != fiojob.PlacementNone:
		return fmt.Errorf("%s: data placement (fdp, streams) is not supported", j.Name)
	}
	return nil
}

func hasCmdPrio(c *fiojob.CmdPrio) bool { return c.Percent != fiojob.PerDir[int]{} }

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
