package fiojob

import (
	"errors"
	"fmt"
	"strings"
)

// Kinds of error, for errors.Is.
var (
	ErrSyntax     = errors.New("syntax error")       // the text is no job file or command line
	ErrUnknownKey = errors.New("unknown key")        // no version of fio known here has it
	ErrRefused    = errors.New("not supported")      // known to fio, and refused with a reason
	ErrValue      = errors.New("bad value")          // the value is not one of the key's
	ErrConflict   = errors.New("conflict")           // two keys, or two jobs, exclude each other
	ErrLimit      = errors.New("limit exceeded")     // too long, too deep or too many
	ErrPermission = errors.New("needs permission")   // asks for --allow-exec or --allow-include
	ErrRead       = errors.New("cannot be read")     // a job file, or what it includes
	ErrWarnings   = errors.New("warnings are fatal") // --warnings-fatal
)

// Pos is a place in a job file or, where File is empty, on a command line.
type Pos struct {
	File      string
	Line, Col int // from 1
	Arg       int // from 1
}

func (p Pos) String() string {
	switch {
	case p.File != "" && p.Line == 0:
		return p.File
	case p.File != "":
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	case p.Arg != 0:
		return fmt.Sprintf("argument %d", p.Arg)
	}
	return ""
}

// Error is one thing that is wrong, and where. Job and Key are empty where it is
// not about one.
type Error struct {
	Pos  Pos
	Job  string
	Key  string
	Kind error
	Msg  string
}

func (e *Error) Error() string {
	var b strings.Builder
	if p := e.Pos.String(); p != "" {
		b.WriteString(p + ": ")
	}
	if e.Job != "" {
		b.WriteString("[" + e.Job + "] ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

// maxErrors bounds how many errors of a run are kept.
const maxErrors = 50

// ErrorList is everything that is wrong with a plan, in the order it was found.
type ErrorList []*Error

func (l ErrorList) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes errors.Is and errors.As look at each error.
func (l ErrorList) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}

func (l *ErrorList) add(e *Error) {
	if len(*l) < maxErrors {
		*l = append(*l, e)
	}
}

// err is nil for an empty list, which a plain conversion would not be.
func (l ErrorList) err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}
