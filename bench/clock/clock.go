package clock

import (
	"fmt"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// rateShift is the binary point of a rate: nanoseconds per tick × 2^32.
	rateShift = 32
	// calibration is how long New watches the counter.
	calibration = 5 * time.Millisecond
	// maxCoreSkew is the distance between cores beyond which the counter is not
	// used. Bracketed readings of a good counter agree within a few hundred
	// nanoseconds, also under a hypervisor.
	maxCoreSkew = 5_000
	// maxSlew bounds how much faster or slower than its rate a line runs while
	// it makes up for an offset: 500 parts per million, as in adjtime(3).
	maxSlew = 500e-6
	// slewTime is over how long an offset is made up for.
	slewTime = 4 * time.Second
)

// line converts ticks to nanoseconds. It is never changed once published.
type line struct {
	ticks uint64
	nanos int64
	rate  uint64 // ns per tick, rateShift fractional bits
}

func (l *line) at(t uint64) int64 { return l.nanos + scale(int64(t-l.ticks), l.rate) }

// scale is ticks × rate, correct for negative distances.
func scale(ticks int64, rate uint64) int64 {
	hi, lo := bits.Mul64(uint64(ticks), rate)
	// An unsigned product of a negative number is too large by rate × 2^64.
	hi -= uint64(ticks>>63) & rate
	return int64(hi<<(64-rateShift) | lo>>rateShift)
}

// Clock gives nanoseconds of CLOCK_MONOTONIC. Now, Ticks and Nanos may be
// called from any goroutine and thread at once, also during Discipline.
type Clock struct {
	line    atomic.Pointer[line] // nil: the counter is not used
	base    time.Time
	baseAt  int64 // CLOCK_MONOTONIC at base
	wallAt  int64 // CLOCK_REALTIME, Unix ns, at baseAt
	why     string
	mu      sync.Mutex // Discipline
	started anchor
}

// New calibrates a clock, which takes about 5 ms.
func New() *Clock {
	c := newFallback()
	if c.why = distrust(); c.why != "" {
		return c
	}
	first := takeAnchor()
	time.Sleep(calibration)
	rate, ok := rateBetween(first, takeAnchor())
	if !ok {
		c.why = "counter does not advance with the clock"
		return c
	}
	if skew := compareCores(rate); skew > maxCoreSkew {
		c.why = fmt.Sprintf("counter differs by %d ns between cores", skew)
		return c
	}
	c.started = first
	c.line.Store(&line{ticks: first.ticks, nanos: first.nanos, rate: rate})
	return c
}

// NewMonotonic makes a clock that reads CLOCK_MONOTONIC through the vDSO for
// every stamp: slower, and right whatever the counter does.
func NewMonotonic() *Clock {
	c := newFallback()
	c.why = "asked for"
	return c
}

func newFallback() *Clock {
	c := &Clock{}
	// time.Time and CLOCK_MONOTONIC tick together; the smallest bracket of a
	// few gives their distance.
	best := int64(math.MaxInt64)
	for range 8 {
		before := monotonic()
		now := time.Now()
		if w := monotonic() - before; w < best {
			best, c.base, c.baseAt, c.wallAt = w, now, before+w/2, now.UnixNano()
		}
	}
	return c
}

// Now is the present time in nanoseconds of CLOCK_MONOTONIC.
func (c *Clock) Now() int64 {
	if l := c.line.Load(); l != nil {
		return lineNow(l)
	}
	return c.monotonicNow()
}

func (c *Clock) monotonicNow() int64 {
	return c.baseAt + int64(time.Since(c.base))
}

// Ticks is a raw stamp for [Clock.Nanos]: the cheapest there is, for those who
// keep many stamps and convert few. Without a counter it is nanoseconds.
func (c *Clock) Ticks() uint64 {
	if c.line.Load() != nil {
		return ticks()
	}
	return uint64(c.baseAt + int64(time.Since(c.base)))
}

// Nanos converts a raw stamp to nanoseconds of CLOCK_MONOTONIC.
func (c *Clock) Nanos(t uint64) int64 {
	if l := c.line.Load(); l != nil {
		return l.at(t)
	}
	return int64(t)
}

// Wall is the wall-clock time of a stamp, by the distance between the clocks
// when c was made: it does not follow later steps of the wall clock.
func (c *Clock) Wall(ns int64) time.Time { return time.Unix(0, c.wallAt+ns-c.baseAt) }

// Source names what stamps are read from: "tsc", "cntvct" or "monotonic".
func (c *Clock) Source() string {
	if c.line.Load() == nil {
		return "monotonic"
	}
	return counterName
}

// Fallback says why the counter is not used, or "".
func (c *Clock) Fallback() string { return c.why }

// Hertz is the measured frequency of the counter, 0 without one.
func (c *Clock) Hertz() float64 {
	l := c.line.Load()
	if l == nil {
		return 0
	}
	return 1e9 * (1 << rateShift) / float64(l.rate)
}

// Discipline compares the clock with CLOCK_MONOTONIC, bends it so that it meets
// it again within some seconds, and answers by how many nanoseconds it was
// ahead. Called every second or so the clock stays within a microsecond.
func (c *Clock) Discipline() (ahead int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.line.Load()
	if l == nil {
		return 0
	}
	now := takeAnchor()
	shown := l.at(now.ticks)
	ahead = shown - now.nanos
	rate, ok := rateBetween(c.started, now)
	if !ok {
		return ahead
	}
	slew := max(-maxSlew, min(maxSlew, -float64(ahead)/float64(slewTime)))
	c.line.Store(&line{ticks: now.ticks, nanos: shown, rate: uint64(float64(rate) * (1 + slew))})
	return ahead
}

// anchor is one moment on both scales.
type anchor struct {
	ticks uint64
	nanos int64
}

// takeAnchor reads the clock between two readings of the counter, several
// times, and keeps the tightest: a preempted try is a wide one.
func takeAnchor() anchor {
	var a anchor
	tightest := uint64(math.MaxUint64)
	for range 16 {
		before := ticks()
		ns := monotonic()
		if w := ticks() - before; w < tightest {
			tightest, a = w, anchor{before + w/2, ns}
		}
	}
	return a
}

// rateBetween is the rate of the line through two anchors; not ok where either
// scale stands still or the result is no plausible clock.
func rateBetween(a, b anchor) (rate uint64, ok bool) {
	dt, dn := int64(b.ticks-a.ticks), b.nanos-a.nanos
	if dt <= 0 || dn <= 0 {
		return 0, false
	}
	r := float64(dn) / float64(dt) * (1 << rateShift)
	if r < 1<<(rateShift-6) || r > 1<<(rateShift+10) { // 64 GHz … 1 MHz
		return 0, false
	}
	return uint64(math.Round(r)), true
}
