package bench

import (
	"slices"
	"syscall"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// Rows of ignore_error.
const (
	ignoreRead = iota
	ignoreWrite
	ignoreVerify
)

// ignored reports whether ignore_error lists an error.
func (w *worker) ignored(errno syscall.Errno, s *slot) bool {
	row := ignoreRead
	switch {
	case errno == syscall.EILSEQ:
		row = ignoreVerify
	case s.sync || s.dir != fiojob.Read:
		row = ignoreWrite
	}
	return slices.Contains(w.job.Errors.Ignore[row], errno)
}

// continues reports whether continue_on_error covers an error.
func (w *worker) continues(errno syscall.Errno, s *slot) bool {
	e := &w.job.Errors
	switch {
	case errno == syscall.EILSEQ:
		return e.ContinueVerify
	case s.sync || s.dir != fiojob.Read:
		return e.ContinueWrite
	}
	return e.ContinueRead
}
