package bench

import (
	"os"
	"strings"
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

func (w *worker) newSource() (source, error) {
	if w.replay == nil {
		return newSource(w)
	}
	r, err := w.replay.reader()
	w.expect.Store(w.replay.bytes * int64(max(1, w.job.Time.Loops)))
	for _, f := range w.files {
		f.active = true
	}
	return &replaySource{p: w.replay, w: w, r: r}, err
}

// maxBlock is the largest request that the worker makes, in bytes.
func (w *worker) maxBlock() int64 {
	if w.replay != nil {
		return w.replay.longest
	}
	return maxBlock(w.job)
}

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

// describeEngine says in words which way the I/O goes, as the queues have it; of a path that is not open only the driver.
func describeEngine(ref *engine.Ref, path *engine.Path) (text string, notes []string) {
	layers, _ := layersOf(ref)
	if layers[0] == "null-co" {
		return "null", nil
	}
	var traits []string
	if path != nil {
		traits, notes = path.Describe()
	}
	return strings.Join(append([]string{layers[0]}, traits...), ", "), notes
}

// isSpecial reports whether a path is there and is no regular file.
func isSpecial(path string) bool {
	st, err := os.Stat(path)
	return err == nil && !st.Mode().IsRegular() && !st.IsDir()
}
