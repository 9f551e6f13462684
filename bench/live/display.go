package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/result"
)

// When says when to show anything.
type When int

// The values of --eta.
const (
	Auto   When = iota // on a terminal
	Always             // elsewhere too, as fio's line
	Never
)

// ErrWhen says that --eta got something else.
var ErrWhen = errors.New("is one of auto, always, never")

// ParseWhen takes the value of --eta.
func ParseWhen(s string) (When, error) {
	switch s {
	case "", "auto":
		return Auto, nil
	case "always":
		return Always, nil
	case "never":
		return Never, nil
	}
	return Auto, fmt.Errorf("eta '%s' %w", s, ErrWhen)
}

// Options choose what is shown.
type Options struct {
	When    When
	Line    bool          // fio's line on a terminal too
	Newline time.Duration // --eta-newline: with fio's line, begin a new one this often; 0 never
	Colour  bool
	// Width is the terminal's, asked at the start and when it changes; nil asks the kernel.
	Width func() int
}

// Display is a live display; its methods may be called from any goroutine.
type Display struct {
	mu     sync.Mutex
	w      io.Writer
	o      Options
	screen bool
	off    bool
	closed bool
	width  int
	frame  frame
	line   statusLine
	stop   func()
}

// New makes a display on w. One that shows nothing is as good as any: its methods do nothing.
func New(w io.Writer, o Options) *Display {
	f, _ := w.(*os.File)
	terminal := f != nil && isTerminal(f)
	d := &Display{w: w, o: o, screen: terminal && !o.Line, stop: func() {}}
	d.off = o.When == Never || o.When == Auto && !terminal
	d.frame.colour = o.Colour
	if d.off {
		return d
	}
	if o.Width == nil {
		d.o.Width = func() int { return columns(f) }
	}
	d.width = d.o.Width()
	if terminal {
		d.watchSize()
	}
	return d
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// defaultWidth is that of a terminal that does not tell.
const defaultWidth = 80

func columns(f *os.File) int {
	if f == nil {
		return defaultWidth
	}
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 {
		return defaultWidth
	}
	return int(ws.Col)
}

// watchSize follows the terminal's width until the display is closed.
func (d *Display) watchSize() {
	c := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(c, unix.SIGWINCH)
	go func() {
		for {
			select {
			case <-c:
				d.mu.Lock()
				d.width = d.o.Width()
				d.mu.Unlock()
			case <-done:
				return
			}
		}
	}()
	d.stop = func() {
		signal.Stop(c)
		close(done)
	}
}

// Run shows what the channel brings until it is closed or ctx is done, and then closes the display. Whoever fills the channel should
// drop a state rather than wait: a terminal may be stopped.
func (d *Display) Run(ctx context.Context, in <-chan result.Live) {
	defer d.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case l, ok := <-in:
			if !ok {
				return
			}
			d.Show(&l)
		}
	}
}

// Show draws a state over the one before.
func (d *Display) Show(l *result.Live) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off || d.closed {
		return
	}
	var b []byte
	if d.screen {
		b = d.frame.draw(l, d.width)
	} else {
		b = d.line.draw(l, d.o.Newline)
	}
	_, _ = d.w.Write(b) // a terminal that is gone ends the display, not the run
}

// Above calls f, which may write to the terminal, with the display out of the way; the next state draws it again below.
func (d *Display) Above(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clear()
	f()
}

// Close takes the display away; what comes later is not shown.
func (d *Display) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.clear()
	d.closed = true
	d.stop()
}

func (d *Display) clear() {
	if d.off || d.closed {
		return
	}
	b := d.line.clear()
	if d.screen {
		b = d.frame.clear(d.width)
	}
	if len(b) > 0 {
		_, _ = d.w.Write(b)
	}
}
