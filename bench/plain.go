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
