package trace

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pierrec/lz4/v4"
)

// Reader reads a trace in the order of the file.
type Reader struct {
	in    *bufio.Reader
	names []string
	buf   [recordSize]byte
}

// IsTrace reports whether the head of a file is that of an LZ4 frame.
func IsTrace(head []byte) bool { return len(head) >= 4 && string(head[:4]) == "\x04\x22\x4d\x18" }

// NewReader looks at the beginning of a trace.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(lz4.NewReader(in), 1<<16)}
	var head [len(magic)]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if string(head[:]) != magic {
		return nil, fmt.Errorf("%w: it begins with %q", ErrFormat, head[:])
	}
	return r, nil
}

// Names returns the nodes' names that were read so far, by their numbers.
func (r *Reader) Names() []string { return r.names }

// Next returns the next request; io.EOF at the end, io.ErrUnexpectedEOF where the trace was cut short.
func (r *Reader) Next() (Entry, error) {
	for {
		var e Entry
		if _, err := io.ReadFull(r.in, r.buf[:]); err != nil {
			return e, cut(err)
		}
		if err := e.get(r.buf[:]); err != nil {
			return e, err
		}
		if e.Op != nameOp {
			if int(e.Node) >= len(r.names) {
				return e, fmt.Errorf("%w: node %d has no name", ErrFormat, e.Node)
			}
			return e, nil
		}
		if int(e.Node) != len(r.names) {
			return e, fmt.Errorf("%w: node %d is named after node %d", ErrFormat, e.Node, len(r.names)-1)
		}
		name := make([]byte, e.Len)
		if _, err := io.ReadFull(r.in, name); err != nil {
			return e, io.ErrUnexpectedEOF
		}
		r.names = append(r.names, string(name))
	}
}

// cut tells the end from a cut. What the decompressor says of a frame without an end is a cut as well.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
}

// Load reads a whole trace and returns its requests in the order they were issued, and the nodes' names. Of a trace that was cut short it returns
// what is there, and an error that is io.ErrUnexpectedEOF.
func Load(in io.Reader) ([]Entry, []string, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, nil, err
	}
	var list []Entry
	for {
		var e Entry
		if e, err = r.Next(); err != nil {
			break
		}
		list = append(list, e)
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return cmp.Compare(a.At, b.At) })
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return list, r.names, err
}
