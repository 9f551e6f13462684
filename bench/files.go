package bench

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/layout"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// file is one target of a job.
type file struct {
	name     string
	index    int
	ref      *engine.Ref  // nil while it is closed
	path     *engine.Path // likewise
	size     int64        // bytes that the job may use
	offset   int64
	inFlight int
	rung     bool // kickMany: nothing new since the last doorbell
	active   bool // in use by the source: it may be opened
	full     bool // fill_device: there is no space left
	overlaps overlaps
	checked  *checked // verification's part

	sinceSync, sinceData, sinceRange int // writes
	rangeFrom, rangeTo               int64
}

// openLimit is how many files a job has open at once.
func (w *worker) openLimit() int {
	j := w.job
	if w.replay != nil || j.Files.OpenDir != "" && !given(j, "openfiles") {
		return len(w.files)
	}
	return min(max(1, j.Files.Open), len(w.files))
}

// findFiles makes the list of targets, looks at each, and leaves the first of them open. Paths were laid out before.
func (w *worker) findFiles() error {
	j := w.job
	var names []string
	if w.replay != nil {
		names = w.replay.files
	} else {
		for i := range w.layout.Files {
			names = append(names, w.layout.Files[i].Name)
		}
	}
	for i, name := range names {
		w.files = append(w.files, &file{name: name, index: i, rangeFrom: 1<<63 - 1})
	}
	if len(w.files) == 0 {
		return fmt.Errorf("%s: %w", j.Name, errNoFiles)
	}
	limit := w.openLimit()
	for i, f := range w.files {
		if err := w.openRef(f); err != nil {
			return err
		}
		if err := w.span(f); err != nil {
			return err
		}
		w.sharedBufs = w.sharedBufs || f.ref.SharedBuffers()
		w.memAlign = max(w.memAlign, f.ref.Info().Limits.MemAlign)
		t := describe(f.name, f.ref, f.size)
		if i < describedFiles {
			w.run.host.sys.Target(&t)
		}
		w.targets = append(w.targets, t)
		if i == 0 {
			w.engineStr, _ = describeEngine(f.ref, nil)
		}
		if i >= limit {
			err := f.ref.Close()
			f.ref = nil
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// describedFiles is how many files of a job are looked at for facts of their devices.
const describedFiles = 16

// openRef opens a file's node, after creating it where create_on_open says so.
func (w *worker) openRef(f *file) error {
	if f.ref != nil {
		return nil
	}
	if w.creates() && !fiojob.IsTarget(f.name) && !exists(f.name) && !isSpecial(f.name) && !layout.AmongDevices(f.name) {
		c, err := os.OpenFile(f.name, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	var err error
	f.ref, err = w.open(f.name)
	return err
}

// creates reports whether files come into being when they are opened: with create_on_open, and those that a trace writes to.
func (w *worker) creates() bool {
	f := &w.job.Files
	return f.AllowCreate && !w.run.cfg.Plan.Run.ReadOnly && (f.CreateOnOpen || w.replay != nil && w.replay.writes)
}

// openFirst opens the files that the source begins with.
func (w *worker) openFirst() error {
	for _, f := range w.files {
		if !f.active {
			continue
		}
		if err := w.openFile(f); err != nil {
			return err
		}
	}
	if f := w.files[0]; f.path != nil {
		var notes []string
		w.engineStr, notes = describeEngine(f.ref, f.path)
		for _, n := range notes {
			w.run.warn("%s: %s: %s", w.job.Name, f.name, n)
		}
	}
	return nil
}

// openFile opens a file for I/O on the worker's thread.
func (w *worker) openFile(f *file) error {
	if f.path != nil {
		return nil
	}
	if err := w.openRef(f); err != nil {
		return err
	}
	p, err := engine.OpenPath(w.ctx, f.ref, engine.PathConfig{
		Poller: w.poller, Depth: len(w.slab), Arenas: []*dma.Arena{w.arena}, Poll: w.job.Engine.HiPri,
	})
	if err != nil {
		return err
	}
	f.path = p
	return errors.Join(w.advise(f), w.dropCache(f))
}

// makeRoom closes a file that is no longer in use, so that another can be opened; false while none can be.
func (w *worker) makeRoom() bool {
	open := 0
	for _, f := range w.files {
		if f.path != nil {
			open++
		}
	}
	if open < w.openLimit() {
		return true
	}
next:
	for _, f := range w.files {
		if f.path == nil || f.active || f.inFlight > 0 {
			continue
		}
		for _, r := range w.batch {
			if w.slots[r.User].file == f {
				continue next
			}
		}
		w.setFailure(w.closeFile(f))
		return true
	}
	return false
}

// closeFile ends I/O to a file. It may be opened again.
func (w *worker) closeFile(f *file) error {
	var err error
	if f.path != nil {
		w.paths = addPaths(w.paths, countsOf(f.path.Stats()), 1)
		err = f.path.Close()
		f.path = nil
	}
	if f.ref == nil {
		return err
	}
	if w.job.Sync.FsyncOnClose && f.ref.Writable() {
		err = errors.Join(err, f.ref.Flush(context.WithoutCancel(w.ctx)))
	}
	err = errors.Join(err, f.ref.Close())
	f.ref = nil
	return err
}

// pathCounts are which way requests went so far, and how many files are open.
func (w *worker) pathCounts() (result.PathCounts, int) {
	sum, open := w.paths, 0
	for _, f := range w.files {
		if f.path != nil {
			sum = addPaths(sum, countsOf(f.path.Stats()), 1)
			open++
		}
	}
	return sum, open
}

func countsOf(s engine.PathStats) result.PathCounts {
	return result.PathCounts{Direct: s.Direct, Pieces: s.Pieces, Zeroed: s.Zeroed, Slow: s.Slow, Resent: s.Resent, Waited: s.Waited}
}

// addPaths adds o times sign.
func addPaths(c, o result.PathCounts, sign int64) result.PathCounts {
	k := uint64(sign)
	return result.PathCounts{
		Direct: c.Direct + k*o.Direct, Pieces: c.Pieces + k*o.Pieces, Zeroed: c.Zeroed + k*o.Zeroed, Slow: c.Slow + k*o.Slow,
		Resent: c.Resent + k*o.Resent, Waited: c.Waited + k*o.Waited,
	}
}
