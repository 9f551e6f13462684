package bench

import (
	"errors"
	"fmt"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/layout"
	"github.com/blkbench/blkbench/engine"
)

// layout makes the files of a batch, one job after another, before any of them opens one.
func (r *run) layout(batch []*worker) error {
	r.layingOut.Store(true)
	defer r.layingOut.Store(false)
	for _, w := range batch {
		if err := r.lay(w); err != nil {
			return fmt.Errorf("%s: %w", w.job.Name, err)
		}
	}
	return nil
}

func (r *run) lay(w *worker) error {
	l, err := layout.New(w.job, seedOf(w.job))
	if err != nil {
		return err
	}
	w.layout = l
	if err := l.Prepare(r.user, r.layoutOptions()); err != nil {
		return err
	}
	return l.Ready(r.user)
}

func (r *run) layoutOptions() layout.Options {
	return layout.Options{ReadOnly: r.cfg.Plan.Run.ReadOnly}
}

// span says which part of a file the job uses.
func (w *worker) span(f *file) error {
	j := w.job
	if w.replay != nil {
		f.size = f.ref.Size()
		return nil
	}
	if l := &w.layout.Files[f.index]; l.Regular {
		f.offset, f.size = l.Offset, l.Size
		return w.fits(f, false)
	}
	there := f.ref.Size()
	if j.Engine.Kind == fiojob.EngineNull {
		// There is no file, and no end of it.
		there = max(there, j.Files.Size.Bytes)
	}
	e, err := layout.Where(j, seedOf(j), f.index, len(w.files), there)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", j.Name, f.name, err)
	}
	f.offset, f.size = e.Offset, e.Size
	return w.fits(f, true)
}

// fits cuts what lies beyond the end of a target that cannot grow, and refuses what has no room for a block.
func (w *worker) fits(f *file, cut bool) error {
	j := w.job
	there := f.ref.Size()
	grows := (j.RW.Kind.Writes() || len(j.Replay.Logs) > 0) && f.ref.Info().Caps.Has(engine.CapGrowable)
	if cut && j.Files.FillDevice && grows {
		f.size = fillSize
	}
	if f.offset+f.size > there && !grows {
		f.size = there - f.offset
	}
	if unit := max(1, minBlock(j)); f.size < unit {
		return fmt.Errorf("%s: %s: %d bytes from %d are less than one block of %d (the target has %d)",
			j.Name, f.name, max(0, f.size), f.offset, unit, there)
	}
	return nil
}

// fillSize is the size of a target that is written to until there is no space left.
const fillSize = 1 << 60

// advise tells the kernel what offsets will come: fadvise_hint.
func (w *worker) advise(f *file) error {
	a, ok := f.ref.Node().(engine.Advisor)
	if !ok || w.job.RW.Direct {
		return nil
	}
	random := w.job.RW.Kind.Random()
	switch w.job.Files.Advice {
	case fiojob.AdviceNone:
		return nil
	case fiojob.AdviceRandom:
		random = true
	case fiojob.AdviceSequential:
		random = false
	case fiojob.AdvicePattern:
	}
	return a.Advise(f.offset, f.size, random)
}

// relayout deletes a job's files and lays them out again: unlink_each_loop.
func (r *run) relayout(w *worker) error {
	return w.layout.EndLoop(r.user, r.layoutOptions())
}

// clearAway deletes what unlink= says.
func (w *worker) clearAway() error {
	if w.layout == nil {
		return nil
	}
	return w.layout.Finish()
}

// dropCache asks a target to forget what it has cached: invalidate=, for what is no regular file.
func (w *worker) dropCache(f *file) error {
	n, ok := f.ref.Node().(engine.Invalidator)
	if !ok || !w.job.Files.Invalidate || w.job.RW.Direct || (f.index < len(w.layout.Files) && w.layout.Files[f.index].Regular) {
		return nil
	}
	return n.Invalidate()
}

// skip marks a job that has nothing to do but its files: create_only.
func (w *worker) skip() {
	close(w.ready)
	w.setFailure(w.clearAway())
	w.phase.Store(phaseDone)
	close(w.finished)
}

var errNoFiles = errors.New("no target: name one with --filename, or a --directory for files to be made in")
