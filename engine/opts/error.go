package opts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What an [Error] is about, for errors.Is.
var (
	ErrSyntax      = errors.New("syntax")             // the text is not in the grammar, or exceeds its bounds
	ErrUnknown     = errors.New("unknown option")     // a key, query parameter or protocol nobody knows
	ErrValue       = errors.New("bad value")          // a value of the wrong kind or out of range
	ErrConflict    = errors.New("conflicting option") // two spellings that exclude each other, or a key given twice
	ErrMissing     = errors.New("missing option")     // a required key is absent
	ErrUnsupported = errors.New("unsupported name")   // understood, but not for this system
)

// Error is the one error type of this package. Its message states the place,
// the offending value and what was wanted:
//
//	cluster_size: value 63k: want a power of two from 512 to 2M
type Error struct {
	Key   string // full dotted path as the user spelled it; empty where the text as a whole is meant
	Value string // the offending value, redacted where it is a secret; may be empty
	Pos   int    // byte offset in the source, -1 where unknown
	Msg   string // what is wrong, where Value and Want do not say it
	Want  string // what would have been right, without the word "want"
	Kind  error  // one of the Err values above
}

// Error formats the parts that are set.
func (e *Error) Error() string {
	var b strings.Builder
	part := func(s string) {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(s)
	}
	switch {
	case e.Key != "":
		part(display(e.Key))
	case e.Pos > 0:
		part("at byte " + strconv.Itoa(e.Pos))
	}
	if e.Value != "" {
		part("value " + display(e.Value))
	}
	if e.Msg != "" {
		part(e.Msg)
	}
	if e.Want != "" {
		part("want " + e.Want)
	}
	if b.Len() == 0 && e.Kind != nil {
		return e.Kind.Error()
	}
	return b.String()
}

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

const maxShown = 120

// display makes user text fit for a message: quoted where it holds anything
// that would be lost or misread, and never endless.
func display(s string) string {
	if len(s) > maxShown {
		cut := maxShown
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	for _, r := range s {
		if r <= ' ' || r == '"' || r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	if s == "" || s[len(s)-1] == ':' {
		return strconv.Quote(s)
	}
	return s
}

func syntaxErr(pos int, format string, args ...any) *Error {
	return &Error{Pos: pos, Msg: fmt.Sprintf(format, args...), Kind: ErrSyntax}
}

// in returns err with its key put below at, and with the position of the value
// it came from where err's own position is relative to that value.
func in(err error, at string, pos int) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	c := *e
	c.Key = join(at, c.Key)
	if pos >= 0 && c.Pos >= 0 {
		c.Pos += pos
	}
	return &c
}

// join appends a key to a dotted path.
func join(at, key string) string {
	switch {
	case at == "":
		return key
	case key == "":
		return at
	}
	return at + "." + key
}

// oneOf spells a list of alternatives: "a", "a or b", "a, b or c".
func oneOf(names []string) string {
	switch len(names) {
	case 0:
		return "nothing"
	case 1:
		return names[0]
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
