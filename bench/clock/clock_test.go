package clock

import (
	"math"
	"math/big"
	"runtime"
	"testing"
	"time"
)

func TestScaleAgainstBigIntegers(t *testing.T) {
	for _, rate := range []uint64{1, 1 << 32, 1<<32 + 12345, 1651910000, 1 << 41} {
		for _, ticks := range []int64{0, 1, -1, 3_000_000_000, -3_000_000_000, 1 << 52, -(1 << 52)} {
			want := new(big.Int).Mul(big.NewInt(ticks), new(big.Int).SetUint64(rate))
			want.Rsh(want, rateShift)
			if !want.IsInt64() {
				continue
			}
			if got := scale(ticks, rate); got != want.Int64() {
				t.Errorf("scale(%d, %d) = %d, want %v", ticks, rate, got, want)
			}
		}
	}
}

// The clock reads CLOCK_MONOTONIC within 5 µs right after its calibration and
// after spinning for a while; the brackets make preemption harmless.
// TestLineNowIsAt brackets the one-call reading, for lines that begin before and after the counter's present value.
func TestLineNowIsAt(t *testing.T) {
	if distrust() != "" {
		t.Skip("requires a counter that can be trusted")
	}
	for _, ahead := range []int64{0, 1 << 20, 1 << 40, -1 << 20, -1 << 50} {
		for _, rate := range []uint64{1 << (rateShift - 6), 1 << rateShift, 1<<rateShift/3 + 1, 1 << (rateShift + 10)} {
			l := &line{ticks: ticks() + uint64(ahead), nanos: -12345, rate: rate}
			low := l.at(ticks())
			got := lineNow(l)
			if high := l.at(ticks()); got < low || got > high {
				t.Errorf("line %+d ticks ahead, rate %#x: %d is not in %d…%d", ahead, rate, got, low, high)
			}
		}
	}
}

func TestDriftAgainstMonotonic(t *testing.T) {
	for _, c := range []*Clock{New(), NewMonotonic()} {
		t.Run(c.Source(), func(t *testing.T) {
			t.Logf("fallback %q, %.3f MHz", c.Fallback(), c.Hertz()/1e6)
			worst := int64(0)
			for end := monotonic() + int64(200*time.Millisecond); monotonic() < end; {
				worst = max(worst, distance(c))
			}
			// 5 ms of calibration with brackets of some 100 ns: 40 ppm over 200 ms.
			if limit := int64(10_000); worst > limit {
				t.Errorf("clock was %d ns away from CLOCK_MONOTONIC, more than %d", worst, limit)
			}
		})
	}
}

// distance is how far c is outside a bracket of CLOCK_MONOTONIC readings.
func distance(c *Clock) int64 {
	before := monotonic()
	now := c.Now()
	after := monotonic()
	return max(before-now, now-after, 0)
}

func TestDisciplineRemovesDrift(t *testing.T) {
	c := New()
	if c.Source() == "monotonic" {
		t.Skipf("requires a trusted counter: %s", c.Fallback())
	}
	// Make the clock 2000 ppm fast: it gains 2 µs a millisecond.
	l := *c.line.Load()
	l.rate += uint64(float64(l.rate) * 2000e-6)
	c.line.Store(&l)
	spinUntil(monotonic() + int64(50*time.Millisecond))
	before := c.Now()
	ahead := c.Discipline()
	if after := c.Now(); after < before {
		t.Errorf("clock went back from %d to %d", before, after)
	}
	if ahead < 50_000 {
		t.Fatalf("drift of 2000 ppm over 50 ms was measured as %d ns", ahead)
	}
	// The bent line must run slower than the true rate until it is caught up.
	truth, ok := rateBetween(c.started, takeAnchor())
	if !ok {
		t.Fatal("no rate")
	}
	if got := c.line.Load().rate; got >= truth {
		t.Errorf("rate %d after being ahead, want below %d", got, truth)
	}
	spinUntil(monotonic() + int64(100*time.Millisecond))
	if again := c.Discipline(); again > ahead {
		t.Errorf("ahead by %d ns after discipline, by %d before", again, ahead)
	}
}

func spinUntil(ns int64) {
	for monotonic() < ns {
	}
}

func TestStampsDoNotGoBack(t *testing.T) {
	c := New()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	last := c.Now()
	for i := range 200_000 {
		if i%10_000 == 0 {
			c.Discipline()
		}
		now := c.Now()
		if now < last {
			t.Fatalf("stamp %d after %d", now, last)
		}
		last = now
	}
}

func TestTicksConvertToNow(t *testing.T) {
	for _, c := range []*Clock{New(), NewMonotonic()} {
		a := c.Now()
		raw := c.Ticks()
		b := c.Now()
		if ns := c.Nanos(raw); ns < a || ns > b {
			t.Errorf("%s: raw stamp is %d, not within [%d, %d]", c.Source(), ns, a, b)
		}
	}
}

func TestWallFollowsStamps(t *testing.T) {
	c := New()
	if d := time.Until(c.Wall(c.Now())); d.Abs() > time.Second {
		t.Errorf("wall time is %v away", d)
	}
	if a, b := c.Wall(1_000), c.Wall(3_500); b.Sub(a) != 2_500 {
		t.Errorf("2500 ns are %v on the wall", b.Sub(a))
	}
}

func TestImplausibleRatesAreRefused(t *testing.T) {
	at := anchor{1000, 1000}
	for _, b := range []anchor{{1000, 2000}, {2000, 1000}, {1001, 1_000_000_000}, {math.MaxInt64, 1001}} {
		if r, ok := rateBetween(at, b); ok {
			t.Errorf("anchors %v %v gave rate %d", at, b, r)
		}
	}
}

func TestNowDoesNotAllocate(t *testing.T) {
	c := New()
	if n := testing.AllocsPerRun(1000, func() { sink += c.Now() + c.Nanos(c.Ticks()) }); n != 0 {
		t.Errorf("%v allocations per stamp", n)
	}
}

var sink int64

func BenchmarkNow(b *testing.B) {
	c := New()
	b.ReportAllocs()
	for b.Loop() {
		sink = c.Now()
	}
}

func BenchmarkTicks(b *testing.B) {
	c := New()
	for b.Loop() {
		sink = int64(c.Ticks())
	}
}

func BenchmarkMonotonic(b *testing.B) {
	c := NewMonotonic()
	for b.Loop() {
		sink = c.Now()
	}
}
