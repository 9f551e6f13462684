package trace

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pierrec/lz4/v4"
)

// Writer writes a trace. Add never waits and never allocates: full buffers are compressed and written by a goroutine of the Writer's, and
// when that does not keep up entries are left out and counted.
type Writer struct {
	mu    sync.Mutex
	cur   []byte
	names int
	lost  uint64
	free  chan []byte
	full  chan []byte

	out  *lz4.Writer
	err  error // of the goroutine; read after done
	done chan struct{}
}

const (
	bufferSize = 256 << 10
	maxBuffers = 32
)

// NewWriter begins a trace on out, which stays the caller's.
func NewWriter(out io.Writer) *Writer {
	w := &Writer{
		cur: make([]byte, 0, bufferSize), free: make(chan []byte, maxBuffers+1), full: make(chan []byte, maxBuffers+1),
		out: lz4.NewWriter(out), done: make(chan struct{}),
	}
	for range maxBuffers {
		w.free <- make([]byte, 0, bufferSize)
	}
	w.cur = append(w.cur, magic...)
	go w.write()
	return w
}

func (w *Writer) write() {
	defer close(w.done)
	for b := range w.full {
		if w.err == nil {
			_, w.err = w.out.Write(b)
		}
		w.free <- b[:0]
	}
	w.err = errors.Join(w.err, w.out.Close())
}

// room makes sure that the current buffer takes n bytes more. mu is held.
func (w *Writer) room(n int) bool {
	if len(w.cur)+n <= cap(w.cur) {
		return true
	}
	select {
	case b := <-w.free:
		w.full <- w.cur // has room for every buffer there is
		w.cur = b
		return true
	default:
		return false
	}
}

// Name gives a node its number.
func (w *Writer) Name(name string) (uint16, error) {
	if name == "" {
		name = "?"
	}
	name = name[:min(len(name), MaxName)]
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.names > 1<<16-1:
		return 0, fmt.Errorf("more than %d nodes in a trace", 1<<16)
	case !w.room(recordSize + len(name)):
		return 0, errors.New("the trace does not keep up")
	}
	e := Entry{Op: nameOp, Node: uint16(w.names), Len: uint32(len(name))}
	w.append(&e)
	w.cur = append(w.cur, name...)
	w.names++
	return e.Node, nil
}

func (w *Writer) append(e *Entry) {
	at := len(w.cur)
	w.cur = w.cur[:at+recordSize]
	e.put(w.cur[at:])
}

// Add writes an entry.
func (w *Writer) Add(e *Entry) {
	w.mu.Lock()
	if w.room(recordSize) {
		w.append(e)
	} else {
		w.lost++
	}
	w.mu.Unlock()
}

// Close writes what is left. It is an error when entries were left out.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.full <- w.cur
	w.cur = nil
	lost := w.lost
	w.mu.Unlock()
	close(w.full)
	<-w.done
	if lost > 0 {
		return errors.Join(w.err, fmt.Errorf("%d requests are missing from the trace: it could not be written as fast as they came", lost))
	}
	return w.err
}
