package bench

import "github.com/blkbench/blkbench/bench/fiojob"

// closedLoop starts the next I/O as soon as there is room.
type closedLoop struct{}

func (closedLoop) start(int64)                               {}
func (closedLoop) next(fiojob.Dir, int64, int64) int64       { return 0 }
func (closedLoop) completed(fiojob.Dir, int64, int64, int64) {}
func (closedLoop) wake() int64                               { return 0 }

func newPacer(w *worker) pacer { return closedLoop{} }
