package bench

import (
	"fmt"
	"os"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// layout makes the files of a batch before any of its jobs opens one.
func (r *run) layout(batch []*worker) error {
	for _, w := range batch {
		j := w.job
		if j.Engine.Kind == fiojob.EngineNull {
			continue
		}
		for _, name := range j.FileNames(isSpecial) {
			if fiojob.IsTarget(name) || isSpecial(name) {
				continue
			}
			st, err := os.Stat(name)
			if err == nil && st.Size() >= j.Files.Size.Bytes {
				continue
			}
			f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			err = f.Truncate(j.Files.Size.Bytes)
			f.Close()
			if err != nil {
				return fmt.Errorf("lay out %s: %w", name, err)
			}
		}
	}
	return nil
}

// relayout deletes a job's files and lays them out again: unlink_each_loop.
func (r *run) relayout(w *worker) error {
	for _, f := range w.files {
		if fiojob.IsTarget(f.name) || isSpecial(f.name) {
			continue
		}
		if err := os.Remove(f.name); err != nil {
			return err
		}
	}
	return r.layout([]*worker{w})
}
