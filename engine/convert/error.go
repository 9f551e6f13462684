package convert

import "fmt"

// Phase is what a run was at when it failed.
type Phase uint8

// The phases.
const (
	Reading Phase = iota
	Writing
	Mapping // asking for extents
)

func (p Phase) String() string { return [...]string{"read", "write", "map"}[p] }

// Error is what Copy, Compare and Rebase fail with once they run.
type Error struct {
	Phase Phase
	Off   int64 // bytes, in the source as a whole (of Writing: in the target)
	Side  int   // Compare: 0 or 1, whose reading failed
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d: %v", e.Phase, e.Off, e.Err) }

func (e *Error) Unwrap() error { return e.Err }
