package iolog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ErrFormat is the kind of all errors about what a trace says.
var ErrFormat = errors.New("bad trace")

const (
	maxLine  = 1 << 16
	maxFiles = 1 << 16
)

// Reader reads a trace line by line: its memory does not grow with the trace.
type Reader struct {
	in      *bufio.Reader
	version int
	line    int
	last    int64 // time of the entry before
	files   []string
	index   map[string]int
}

// NewReader reads the first line.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, maxLine), index: map[string]int{}}
	line, err := r.next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: it is empty", ErrFormat)
		}
		return nil, err
	}
	switch string(line) {
	case "fio version 2 iolog":
		r.version = 2
	case "fio version 3 iolog":
		r.version = 3
	default:
		return nil, fmt.Errorf(`%w: it begins with %q, want "fio version 2 iolog" or "fio version 3 iolog" (binary traces of blktrace are not read)`, ErrFormat, cut(line))
	}
	return r, nil
}

func cut(b []byte) []byte { return b[:min(len(b), 40)] }

// Version is 2 or 3.
func (r *Reader) Version() int { return r.version }

// Files are the files that were added so far.
func (r *Reader) Files() []string { return r.files }

// Line is the number of the line that was read last, from 1.
func (r *Reader) Line() int { return r.line }

// next is the next line that is not empty, without white space around it. It is good until the next call.
func (r *Reader) next() ([]byte, error) {
	for {
		b, err := r.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("%w: line %d is longer than %d bytes", ErrFormat, r.line+1, maxLine)
		}
		if err != nil && (!errors.Is(err, io.EOF) || len(b) == 0) {
			return nil, err
		}
		r.line++
		if b = bytes.TrimSpace(b); len(b) > 0 {
			return b, nil
		}
	}
}

func (r *Reader) bad(format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrFormat, r.line, fmt.Sprintf(format, args...))
}

// Next reads the next entry; io.EOF at the end.
func (r *Reader) Next() (Entry, error) {
	line, err := r.next()
	if err != nil {
		return Entry{}, err
	}
	var e Entry
	if r.version == 3 {
		var word []byte
		word, line = field(line)
		if e.At, err = number(word); err != nil {
			return Entry{}, r.bad("time %q: %v", cut(word), err)
		}
		if e.At < r.last {
			return Entry{}, r.bad("time goes back from %d to %d", r.last, e.At)
		}
		r.last = e.At
	}
	name, rest := field(line)
	action, rest := field(rest)
	if e.Action, err = parseAction(action); err != nil {
		return Entry{}, r.bad("%v", err)
	}
	if e.File, err = r.file(name, e.Action); err != nil {
		return Entry{}, err
	}
	return e, r.numbers(&e, rest)
}

func parseAction(word []byte) (Action, error) {
	for i, n := range names {
		if string(word) == n {
			return Action(i), nil
		}
	}
	return 0, fmt.Errorf("unknown action %q", cut(word))
}

// file is the number of a file; add gives it one.
func (r *Reader) file(name []byte, a Action) (int, error) {
	i, ok := r.index[string(name)]
	switch {
	case a == Add && ok: // fio's own traces add a file again when a job opens it again
		return i, nil
	case a == Add && len(r.files) == maxFiles:
		return 0, r.bad("more than %d files", maxFiles)
	case a == Add:
		i = len(r.files)
		r.files = append(r.files, string(name))
		r.index[r.files[i]] = i
		return i, nil
	case a == Wait:
		return max(i, 0), nil
	case !ok:
		return 0, r.bad("%s: the file was not added", cut(name))
	}
	return i, nil
}

// numbers reads offset and length, as far as the action has them.
func (r *Reader) numbers(e *Entry, rest []byte) error {
	off, rest := field(rest)
	n, rest := field(rest)
	if len(rest) > 0 {
		return r.bad("%q follows", cut(rest))
	}
	var err error
	if e.Off, err = number(off); err != nil && (len(off) > 0 || e.Action.Moves() || e.Action == Wait) {
		return r.bad("offset %q: %v", cut(off), err)
	}
	if e.Len, err = number(n); err != nil && (len(n) > 0 || e.Action.Moves()) {
		return r.bad("length %q: %v", cut(n), err)
	}
	switch {
	case e.Action <= Close && len(off) > 0:
		return r.bad("%s has no offset", e.Action)
	case e.Action == Wait && r.version != 2:
		return r.bad("wait is of version 2: here lines have times")
	case e.Action.Moves() && e.Len == 0:
		return r.bad("%s of nothing", e.Action)
	case e.Off+e.Len < e.Off:
		return r.bad("%d bytes from %d", e.Len, e.Off)
	}
	return nil
}

// field splits the first word off.
func field(b []byte) (word, rest []byte) {
	b = bytes.TrimLeft(b, " \t")
	if i := bytes.IndexAny(b, " \t"); i >= 0 {
		return b[:i], bytes.TrimLeft(b[i:], " \t")
	}
	return b, nil
}

// number reads digits: no sign, no suffix, at most 2^63-1.
func number(b []byte) (int64, error) {
	if len(b) == 0 {
		return 0, errors.New("it is missing")
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, strconv.ErrSyntax
		}
		d := int64(c - '0')
		if n > (1<<63-1-d)/10 {
			return 0, strconv.ErrRange
		}
		n = n*10 + d
	}
	return n, nil
}
