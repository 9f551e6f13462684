package pace

import "fmt"

// Target is a latency to be kept, with fio's latency_target and what belongs to
// it. Times are nanoseconds.
type Target struct {
	Latency    int64
	Window     int64
	Percentile float64 // of the requests must keep it; 0: all of them
	MaxDepth   int     // the job's iodepth
	Run        bool    // go on adjusting instead of ending at what was found
}

// Event is what a Controller decided.
type Event uint8

// What the caller does about an event.
const (
	// Nothing happened.
	Nothing Event = iota
	// NewDepth: let everything under way complete, then go on with Depth.
	NewDepth
	// LastWindow: the depth is found. Forget the statistics so far; the window
	// that follows shows the result.
	LastWindow
	// Found: the depth is found and measured; end the job.
	Found
	// Unreachable: not even depth 1 keeps the latency; end the job with an error.
	Unreachable
)

// Controller looks for the greatest depth at which the latency is kept, by
// fio's method: from 1 it doubles while the latency is kept, and halves the
// interval between the last good and the first bad depth from then on. A depth
// is judged at the end of a window, or, where all requests have to keep the
// latency, at the first that does not.
type Controller struct {
	t           Target
	depth       int
	low, high   int // known good (0: none), and known bad or the maximum
	bad         bool
	began       int64
	ios, failed uint64
	stable      int  // windows in a row without a change
	last        bool // the present window is the last
	over        bool
}

// retry is after how many good windows a running job tries more depth again.
const retry = 3

// NewController begins with depth 1 at start.
func NewController(t Target, start int64) (*Controller, error) {
	if t.Latency <= 0 || t.Window < 0 || t.MaxDepth < 1 || !(t.Percentile >= 0 && t.Percentile <= 100) {
		return nil, fmt.Errorf("latency target %d ns, window %d ns, percentile %v, depth %d",
			t.Latency, t.Window, t.Percentile, t.MaxDepth)
	}
	if t.Percentile == 0 {
		t.Percentile = 100
	}
	return &Controller{t: t, depth: 1, high: t.MaxDepth, began: start}, nil
}

// Depth is how many requests may be under way.
func (c *Controller) Depth() int { return c.depth }

// Begin starts a window, once the requests of the old depth are complete.
func (c *Controller) Begin(now int64) { c.began, c.ios, c.failed = now, 0, 0 }

// Complete takes note of a request's latency. Only where a single slow request
// is one too many does it decide anything.
func (c *Controller) Complete(latency, now int64) Event {
	c.ios++
	if latency <= c.t.Latency {
		return Nothing
	}
	c.failed++
	if c.t.Percentile < 100 {
		return Nothing
	}
	return c.fail(now)
}

// Check judges the window when it is over.
func (c *Controller) Check(now int64) Event {
	if c.over || now-c.began < c.t.Window || c.ios == 0 {
		return Nothing
	}
	if float64(c.ios-c.failed) >= c.t.Percentile/100*float64(c.ios) {
		return c.keep(now)
	}
	return c.fail(now)
}

func (c *Controller) keep(now int64) Event {
	c.low = c.depth
	next := min(2*c.depth, c.t.MaxDepth)
	if c.bad {
		next = (c.depth + c.high) / 2
	}
	c.Begin(now)
	if next != c.depth {
		c.depth, c.last, c.stable = next, false, 0
		return NewDepth
	}
	switch {
	case c.t.Run:
		if c.stable++; c.stable >= retry && c.depth < c.t.MaxDepth { // things may have got better
			c.stable = 0
			c.high = min(max(2*c.high, c.depth+2), c.t.MaxDepth)
			c.bad = c.high < c.t.MaxDepth
		}
		return Nothing
	case c.last:
		c.over = true
		return Found
	}
	c.last = true
	return LastWindow
}

func (c *Controller) fail(now int64) Event {
	if c.over {
		return Nothing
	}
	c.Begin(now)
	c.last, c.stable = false, 0
	c.high, c.bad = c.depth, true
	if c.depth == 1 {
		c.over = !c.t.Run
		return Unreachable
	}
	if c.low >= c.depth { // it was good once: look below it again
		c.low = c.depth - 1
		c.low -= c.low / 2
	}
	c.depth = max(1, (c.depth+c.low)/2)
	return NewDepth
}
