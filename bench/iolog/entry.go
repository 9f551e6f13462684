package iolog

import "fmt"

// Action is what an entry does.
type Action uint8

// The actions.
const (
	Add Action = iota
	Open
	Close
	Wait
	Read
	Write
	Trim
	Sync
	DataSync
)

var names = [...]string{"add", "open", "close", "wait", "read", "write", "trim", "sync", "datasync"}

func (a Action) String() string {
	if int(a) < len(names) {
		return names[a]
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Moves reports whether an action is I/O with an offset and a length.
func (a Action) Moves() bool { return a == Read || a == Write || a == Trim }

// Entry is one line of a trace.
type Entry struct {
	Action   Action
	File     int   // number of the file, in the order of their add
	At       int64 // version 3: microseconds from the start of the run
	Off, Len int64 // bytes; of a wait, Off is microseconds
}
