package bench

import (
	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
	"github.com/blkbench/blkbench/bench/verify"
	"github.com/blkbench/blkbench/engine"
)

// The parts of a workload, each behind a small interface so that the loop stays one. Those that a job does not need are nil.

// source says which I/O comes next.
type source interface {
	// next is the next step; false when this loop is through.
	next(st *step) bool
	// want says which direction comes next, and which other could come in its stead (or the same again): rates choose between them.
	want() (want, other gen.Dir, ok bool)
	// nextOf is next in a direction that was chosen.
	nextOf(d gen.Dir, st *step) bool
	// again starts the next loop; false when there is none.
	again() bool
}

// step is one I/O to be made.
type step struct {
	dir  fiojob.Dir
	sync bool // a sync of a replayed trace, instead of dir
	data bool // fdatasync
	file *file
	off  int64
	n    uint32
	at   int64 // intended start in clock ns; 0: at once

	verify bool // read back what was written
	expect verify.Expect
}

// filler puts data into the buffer of a write.
type filler interface {
	fill(p []byte, s *step)
}

// tracer writes logs of single requests.
type tracer interface {
	trace(w *worker, r *engine.Request, s *slot, now int64)
}
