package bench

import (
	"fmt"
	"math"
	"os"
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/engine"
)

// makeParts makes source, filler and checker, and finds out what the loop has to know.
func (w *worker) makeParts() error {
	j := w.job
	var err error
	if w.src, err = w.newSource(); err != nil {
		return err
	}
	if w.check, err = newChecking(w); err != nil {
		return err
	}
	if (j.RW.Kind.Writes() || len(j.Replay.Logs) > 0) && (w.check == nil || w.check.ownData()) {
		if w.filler, err = newFiller(w); err != nil {
			return err
		}
	}
	w.low = j.Depth.Low
	depth := len(w.slab)
	t := traits{
		stamp:     !j.Report.GTODReduce || j.Latency.Target > 0 || j.Latency.Max != fiojob.PerDir[time.Duration]{},
		serialize: j.Depth.Serialize || (w.check != nil && w.check.apart()),
		syncs:     j.Sync.Fsync > 0 || j.Sync.Fdatasync > 0 || j.Sync.Range.Every > 0,
		spin:      j.Engine.HiPri || (given(j, "iodepth_batch_complete_min") && j.Depth.CompleteMin == 0),
		batch:     depth,
		reap:      depth,
		reapMin:   max(1, j.Depth.CompleteMin),
	}
	// fio submits and reaps one by one unless told otherwise. Here that has to be said: what is there is taken together.
	if given(j, "iodepth_batch") {
		t.batch = min(max(1, j.Depth.Batch), depth)
	}
	if given(j, "iodepth_batch_complete_max") {
		t.reap = min(max(1, j.Depth.CompleteMax), depth)
	}
	if given(j, "iodepth_batch_complete_min") && j.Depth.CompleteMin == 0 {
		t.reapMin = 0
	}
	t.reap = max(t.reap, t.reapMin)
	switch j.RW.Sync {
	case fiojob.SyncData:
		t.flags = engine.FUA
	case fiojob.SyncFull:
		t.flags = engine.FUA | engine.FlushMetadata
	case fiojob.SyncNone:
	}
	t.hooks = t.serialize || w.check != nil || w.tracer != nil
	w.traits = t
	return nil
}

func (w *worker) newSource() (source, error) { return newSource(w) }

// maxBlock is the largest request that the worker makes, in bytes.
func (w *worker) maxBlock() int64 { return maxBlock(w.job) }

// maxBlock is the largest request that a job makes, in bytes.
func maxBlock(j *fiojob.Job) int64 {
	n := int64(0)
	for d := range j.Block.Size {
		b := &j.Block.Size[d]
		n = max(n, b.Max, b.Min)
		for _, s := range b.Split {
			n = max(n, s.Size)
		}
	}
	return n
}

func minBlock(j *fiojob.Job) int64 {
	n := int64(1) << 62
	for d := range j.Block.Size {
		b := &j.Block.Size[d]
		if !j.RW.Kind.Uses(fiojob.Dir(d)) && !j.Block.SeqRand {
			continue
		}
		n = min(n, b.Min)
		for _, s := range b.Split {
			n = min(n, s.Size)
		}
	}
	return n
}

// span says which part of a file the job uses: offset and size, in bytes or in percent of what is there.
func (w *worker) span(f *file) error {
	j := w.job
	there := f.ref.Size()
	unit := max(1, minBlock(j))
	off := w.startOf(there, unit)
	grows := j.RW.Kind.Writes() && f.ref.Info().Caps.Has(engine.CapGrowable)
	size := there - off
	switch {
	case j.Files.FileSize.Max > 0:
		size = fileSize(j, f.index)
	case j.Files.Size.Percent > 0:
		size = (there - off) / 100 * int64(j.Files.Size.Percent)
		if j.Files.Size.Percent == 100 {
			size = there - off
		}
	case !j.Files.Size.IsZero():
		size = amount(&j.Files.Size, there, j.Zone.Size) / int64(max(1, len(w.files)))
	case j.Files.FillDevice && grows:
		size = math.MaxInt64/2 - off
	}
	if j.Files.Append {
		off += there
	}
	if off+size > there && !grows {
		size = there - off
	}
	if size < unit {
		return fmt.Errorf("%s: %s: %d bytes from %d are less than one block of %d (the target has %d)", j.Name, f.name, max(0, size), off, unit, there)
	}
	f.offset, f.size = off, size
	return nil
}

// startOf is where in a file the job begins: offset, and offset_increment for each clone, percentages rounded up to offset_align.
func (w *worker) startOf(there, unit int64) int64 {
	o := &w.job.Files
	align := o.OffsetAlign
	if align <= 0 {
		align = unit
	}
	place := func(a *fiojob.Amount) int64 {
		n := amount(a, there, w.job.Zone.Size)
		if a.Percent > 0 {
			n = (n + align - 1) / align * align
		}
		return n
	}
	return place(&o.Offset) + int64(w.job.Clone)*place(&o.OffsetStep)
}

func amount(a *fiojob.Amount, there, zone int64) int64 {
	switch {
	case a.Percent > 0:
		return there / 100 * int64(a.Percent)
	case a.Zones > 0:
		return int64(a.Zones) * zone
	}
	return a.Bytes
}

// fileSize is the size of the i-th file of a job with a range of sizes: drawn by the seed, the same in every run.
func fileSize(j *fiojob.Job, i int) int64 {
	lo, hi := j.Files.FileSize.Min, j.Files.FileSize.Max
	if hi <= lo {
		return lo
	}
	x := (seedOf(j) + uint64(i)) * 0x9e3779b97f4a7c15
	return lo + int64((x>>11)%uint64(hi-lo+1))
}

// describeEngine says in words which way the I/O goes.
func describeEngine(j *fiojob.Job, ref *engine.Ref) string {
	d := ref.Info().Driver
	if d == "null-co" {
		return "null"
	}
	if ref.Flags().Leaf.Engine == "psync" {
		return d + ", psync"
	}
	s := d + ", io_uring"
	f := ref.Flags().Leaf
	if !f.NoFixedBufs {
		s += ", registered buffers"
	}
	if !f.NoRegisterFiles {
		s += ", registered files"
	}
	if f.SQThreadPoll {
		s += ", submission thread"
	}
	if j.Engine.HiPri {
		s += ", polled completions"
	}
	return s
}

// isSpecial reports whether a path is there and is no regular file.
func isSpecial(path string) bool {
	st, err := os.Stat(path)
	return err == nil && !st.Mode().IsRegular() && !st.IsDir()
}
