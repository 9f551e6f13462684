package imgcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"golang.org/x/sys/unix"
)

// meter shows how far a long verb is. Its methods may be called from any goroutine, one at a time.
type meter interface {
	of(done, total int64)
	end()
}

// progressOption asks for a meter.
type progressOption struct {
	Percent  bool    `short:"p" help:"show progress"`
	Progress *string `long:"progress" arg:"bar|json|off" exact:"true" help:"how progress is shown: a bar with rate and time left (-p on a terminal), lines of JSON, or not at all"`
}

// meter makes the meter that was asked for: through the link qemu-img's percentages, under our own name a bar or JSON on standard error.
// skip is the percentage that must have passed between two prints of the former.
func (c *call) meter(o *progressOption, skip float64) (meter, bool) {
	if o.Progress == nil && c.env.Link {
		return c.startProgress(o.Percent && !c.quiet, skip), true
	}
	mode := deref(o.Progress)
	if o.Progress == nil && o.Percent {
		mode = "bar"
	}
	switch mode {
	case "json":
		return &jsonMeter{c: c, start: time.Now()}, true
	case "bar":
		f, ok := c.env.Stderr.(*os.File)
		if !ok || !isatty.IsTerminal(f.Fd()) {
			return c.startProgress(!c.quiet, skip), true
		}
		return &bar{c: c, f: f, start: time.Now()}, true
	case "", "off":
		return quietMeter{}, true
	}
	c.errorf("--progress must be bar, json or off, not '%s'", mode)
	return nil, false
}

type quietMeter struct{}

func (quietMeter) of(int64, int64) {}
func (quietMeter) end()            {}

// speed is what both meters say besides the percentage.
func speed(done, total int64, since time.Duration) (rate float64, left time.Duration) {
	if s := since.Seconds(); s > 0 {
		rate = float64(done) / s
	}
	if rate > 0 {
		left = time.Duration(float64(total-done) / rate * float64(time.Second))
	}
	return rate, left
}

// jsonMeter prints a line of JSON on standard error at most ten times a second, and one at the end.
type jsonMeter struct {
	c     *call
	start time.Time
	said  time.Time
}

func (m *jsonMeter) of(done, total int64) {
	now := time.Now()
	if done < total && now.Sub(m.said) < 100*time.Millisecond {
		return
	}
	m.said = now
	rate, left := speed(done, total, now.Sub(m.start))
	line, err := json.Marshal(struct {
		Done    int64   `json:"done"`
		Total   int64   `json:"total"`
		Rate    int64   `json:"bytes-per-second"`
		Elapsed float64 `json:"elapsed"`
		Left    float64 `json:"left"`
	}{done, total, int64(rate), now.Sub(m.start).Seconds(), left.Seconds()})
	if err == nil {
		fmt.Fprintf(m.c.env.Stderr, "%s\n", line)
	}
}

func (m *jsonMeter) end() {}

// bar draws a line on a terminal.
type bar struct {
	c     *call
	f     *os.File
	start time.Time
	drawn bool
	ended sync.Once
}

func (b *bar) of(done, total int64) {
	if total <= 0 {
		return
	}
	width := 80
	if ws, err := unix.IoctlGetWinsize(int(b.f.Fd()), unix.TIOCGWINSZ); err == nil && ws.Col > 0 {
		width = int(ws.Col)
	}
	rate, left := speed(done, total, time.Since(b.start))
	text := fmt.Sprintf(" %5.1f%%  %s of %s  %s/s  %s left", 100*float64(done)/float64(total), humanSize(done), humanSize(total),
		humanSize(int64(rate)), left.Round(time.Second))
	cells := max(0, min(40, width-len(text)-3))
	full := int(float64(cells) * float64(done) / float64(total))
	fmt.Fprintf(b.f, "\r\x1b[K[%s%s]%s", strings.Repeat("=", full), strings.Repeat(" ", cells-full), text)
	b.drawn = true
}

func (b *bar) end() {
	b.ended.Do(func() {
		if b.drawn {
			fmt.Fprintln(b.f)
		}
	})
}

// interruptible ends the verb's work at Ctrl-C, so that it can clean up. The second Ctrl-C ends the program.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt)
	context.AfterFunc(ctx, cancel)
	return ctx, cancel
}
