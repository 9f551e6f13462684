package bench

import (
	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
)

// isPlain reports whether the loop that begins now has requests that may be drawn ahead: a closed loop on one open file, with nothing to
// pace, verify, order or sync. All that fill has to ask for other jobs is answered once.
func (w *worker) isPlain() *jobSource {
	s, ok := w.src.(*jobSource)
	if !ok || s.ahead == nil || w.check != nil || w.pacing.active || w.traits.serialize || w.traits.syncs || w.files[0].path == nil {
		return nil
	}
	for i := range w.slots {
		w.slots[i] = slot{file: w.files[0]}
	}
	return s
}

// fillPlain is fill for a plain job. True: there are no more requests.
//
// The requests of a batch begin together, at the moment of the completion that made room for them where nothing else was done in between:
// what it takes to make them is in their submission latency.
func (w *worker) fillPlain(s *jobSource, limit int) (ended bool) {
	a := s.ahead
	began := w.seen
	w.seen = 0
	if began == 0 && w.traits.stamp {
		began = w.clock.Now()
	}
	for n := min(limit-len(w.batch), len(w.free)); n > 0; n-- {
		if a.pos == a.have && !s.drawAhead() {
			return true
		}
		op := &a.ops[a.pos&(len(a.ops)-1)]
		a.pos++
		i := w.free[len(w.free)-1]
		w.free = w.free[:len(w.free)-1]
		r, t := &w.slab[i], &w.slots[i]
		r.Off, r.Len, r.Op, r.Flags = op.Off, op.Len, opOf(fiojob.Dir(op.Dir)), 0
		if op.Dir == gen.Write {
			r.Flags = w.traits.flags
			if w.filler != nil {
				st := step{dir: fiojob.Write, file: t.file, off: op.Off, n: op.Len}
				w.filler.fill(w.bytes(r), &st)
				if w.traits.stamp {
					began = w.clock.Now()
				}
			}
		}
		t.dir, t.made, t.planned = fiojob.Dir(op.Dir), began, began
		w.batch = append(w.batch, r)
		if w.measuring {
			w.iv.depth[depthClass(w.inFlight+len(w.batch))]++
		}
	}
	return false
}

// turns goes round a plain loop, filling, submitting and reaping, for as long as each turn finds completions without waiting. It does what
// loop does, with what loop has to ask each time known: the rest (waits, ends, errors) is left to it. True: there are no more requests.
func (w *worker) turns(s *jobSource) (ended bool, err error) {
	f := w.files[0]
	for !w.stop.Load() && !w.failed {
		if limit := min(w.depth-w.inFlight, w.traits.batch); len(w.batch) < limit {
			if w.fillPlain(s, limit) {
				return true, nil
			}
		}
		if len(w.batch) > 0 {
			if err := w.kickOne(f); err != nil {
				return false, err
			}
			if len(w.batch) == 0 && w.inFlight < w.depth {
				continue
			}
		}
		n := f.path.Poll(w.done[:w.traits.reap])
		if n == 0 {
			return false, nil
		}
		if f.inFlight -= n; f.inFlight == 0 {
			w.busy = w.busy[:0]
		}
		w.inFlight -= n
		if w.measuring {
			w.iv.completes++
			w.iv.complete[batchClass(n)]++
		}
		w.complete(w.done[:n])
	}
	return false, nil
}
