package bench

import (
	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/engine"
)

// The parts of a workload, each behind a small interface so that the loop stays one. Those that a job does not need are nil or do nothing.

// source says which I/O comes next. putBack takes a request again that the queue had no room for.
type source interface {
	next(s *step) bool
	putBack(w *worker, r *engine.Request)
}

// step is one I/O to be made.
type step struct {
	dir  fiojob.Dir
	file *file
	off  int64
	n    uint32
}

// pacer says when the next I/O may start. at is its intended start in clock ns: not after now means at once.
type pacer interface {
	start(now int64)
	next(dir fiojob.Dir, n int64, now int64) (at int64)
	completed(dir fiojob.Dir, n, lat, now int64)
	wake() int64 // 0: nothing is waited for
}

// filler puts data into the buffer of a write.
type filler interface {
	fill(p []byte, s *step)
}

// checker verifies: it writes headers, and checks what is read.
type checker interface {
	prepare(w *worker, r *engine.Request, s *slot)
	completed(w *worker, r *engine.Request, s *slot, now int64)
}

// tracer writes logs of single requests.
type tracer interface {
	trace(w *worker, r *engine.Request, s *slot, now int64)
}
