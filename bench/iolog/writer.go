package iolog

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Writer writes a trace of version 3.
type Writer struct {
	out   *bufio.Writer
	files []string
	buf   []byte
}

// NewWriter writes the first line.
func NewWriter(out io.Writer) (*Writer, error) {
	w := &Writer{out: bufio.NewWriterSize(out, 1<<16)}
	_, err := w.out.WriteString("fio version 3 iolog\n")
	return w, err
}

// Add gives a file its number. Names with white space cannot be told apart from what follows them.
func (w *Writer) Add(at int64, name string) (int, error) {
	if name == "" || strings.ContainsAny(name, " \t\r\n\v\f\u0085\u00a0") {
		return 0, fmt.Errorf("%w: the name %q cannot be written", ErrFormat, name)
	}
	w.files = append(w.files, name)
	return len(w.files) - 1, w.Write(&Entry{Action: Add, File: len(w.files) - 1, At: at})
}

// Write writes one entry. It allocates nothing.
func (w *Writer) Write(e *Entry) error {
	b := strconv.AppendInt(w.buf[:0], e.At, 10)
	b = append(b, ' ')
	b = append(b, w.files[e.File]...)
	b = append(b, ' ')
	b = append(b, e.Action.String()...)
	if e.Action > Close {
		b = append(b, ' ')
		b = strconv.AppendInt(b, e.Off, 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, e.Len, 10)
	}
	b = append(b, '\n')
	w.buf = b
	_, err := w.out.Write(b)
	return err
}

// Flush writes what is buffered.
func (w *Writer) Flush() error { return w.out.Flush() }
