package imgcmd

import (
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// progress is qemu-img's: with -p a percentage on one line of standard output; without, one line on standard error for each SIGUSR1.
type progress struct {
	c       *call
	on      bool
	skip    float64 // percent that must have passed since the last print
	percent float64
	last    float64
	signals chan os.Signal
}

// startProgress begins; end must be called.
func (c *call) startProgress(on bool, skip float64) *progress {
	p := &progress{c: c, on: on, skip: skip}
	if on {
		p.set(0)
		return p
	}
	p.signals = make(chan os.Signal, 1)
	signal.Notify(p.signals, unix.SIGUSR1)
	return p
}

// set says how far the work is.
func (p *progress) set(percent float64) {
	p.percent = min(100, percent)
	switch {
	case p.on && (p.percent-p.last > p.skip || p.percent == 0 || p.percent == 100):
		p.last = p.percent
		fmt.Fprintf(p.c.env.Stdout, "    (%3.2f/100%%)\r", p.percent)
	case p.asked():
		fmt.Fprintf(p.c.env.Stderr, "    (%3.2f/100%%)\n", p.percent)
	}
}

// asked reports whether a signal has come since.
func (p *progress) asked() bool {
	select {
	case <-p.signals: // nil, and never ready, where progress is on
		return true
	default:
		return false
	}
}

// of says that done of total is done.
func (p *progress) of(done, total int64) {
	if total > 0 {
		p.set(100 * float64(done) / float64(total))
	}
}

// end closes the line.
func (p *progress) end() {
	if p.on {
		fmt.Fprintln(p.c.env.Stdout)
		return
	}
	signal.Stop(p.signals)
}
