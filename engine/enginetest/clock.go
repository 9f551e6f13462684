package enginetest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
)

// Clock is the engine's clock, moved by hand. There is one for the process: tests that use it do not run in parallel.
type Clock struct{ now atomic.Int64 }

// NewClock stops the engine's clock until the test ends.
func NewClock(t testing.TB) *Clock {
	c := new(Clock)
	c.now.Store(1)
	engine.SetClock(c.now.Load)
	t.Cleanup(func() { engine.SetClock(nil) })
	return c
}

// Now returns what the clock shows, in nanoseconds.
func (c *Clock) Now() int64 { return c.now.Load() }

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) { c.now.Add(int64(d)) }
