package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/blkbench/blkbench/bench"
	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/live"
	"github.com/blkbench/blkbench/bench/result"
)

// watcher shows a running measurement: on the terminal, and on SIGUSR1.
type watcher struct {
	a       *app
	display *live.Display
	states  chan result.Live
	signals chan os.Signal
	done    sync.WaitGroup
	cancel  context.CancelFunc
}

// watch starts to show what cfg will report, as --eta and its kin say.
func (a *app) watch(o *fiojob.RunOptions, cfg *bench.Config) (*watcher, error) {
	when, err := live.ParseWhen(o.ETA)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{
		a: a, states: make(chan result.Live, 1), signals: make(chan os.Signal, 1), cancel: cancel,
		display: live.New(a.stderr, live.Options{When: when, Line: a.link, Newline: o.ETANewline, Colour: os.Getenv("NO_COLOR") == ""}),
	}
	cfg.Live, cfg.LiveEvery = w.states, o.ETAInterval
	if cfg.LiveEvery == 0 {
		cfg.LiveEvery = time.Second / 2
		if a.link {
			cfg.LiveEvery = time.Second
		}
	}
	signal.Notify(w.signals, syscall.SIGUSR1)
	w.done.Go(func() { w.loop(ctx) })
	return w, nil
}

func (w *watcher) loop(ctx context.Context) {
	var last result.Live
	for {
		select {
		case <-ctx.Done():
			return
		case last = <-w.states:
			w.display.Show(&last)
		case <-w.signals:
			w.display.Above(func() {
				if err := live.State(w.a.stderr, &last); err != nil {
					w.a.errorf("%v", err)
				}
			})
		}
	}
}

// above writes a message while the display is out of the way.
func (w *watcher) above(f func()) { w.display.Above(f) }

func (w *watcher) close() {
	signal.Stop(w.signals)
	w.cancel()
	w.done.Wait()
	w.display.Close()
}
