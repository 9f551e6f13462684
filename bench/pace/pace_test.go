package pace

import (
	"math"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/gen"
	"github.com/blkbench/blkbench/bench/hist"
)

const second = 1_000_000_000

func mustPacer(t testing.TB, rates [gen.Dirs]Rate, poisson bool, start int64) *Pacer {
	t.Helper()
	p, err := NewPacer(rates, poisson, start, 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func reads(r Rate) [gen.Dirs]Rate { return [gen.Dirs]Rate{gen.Read: r} }

// A rate that is no whole number of nanoseconds a request is kept to the last
// request over an hour.
func TestFixedRateDoesNotDrift(t *testing.T) {
	for _, iops := range []float64{1, 3, 700, 123_457, 1e6 / 3} {
		p := mustPacer(t, reads(Rate{IOPS: iops}), false, 1000)
		n := int(min(iops*3600, 3e6))
		for i := range n {
			at := p.Take(gen.Read, 4096, 0)
			if want := 1000 + float64(i)*1e9/iops; math.Abs(float64(at)-want) > 2 {
				t.Fatalf("%v/s: request %d at %d, want %.1f", iops, i, at, want)
			}
		}
	}
}

func TestByteRateCountsBytes(t *testing.T) {
	p := mustPacer(t, reads(Rate{Bytes: 1 << 20}), false, 0)
	total, last := int64(0), int64(0)
	for i := range 10_000 {
		size := int64(512 << (i % 8))
		at := p.Take(gen.Read, size, 0)
		if want := float64(total) / (1 << 20) * 1e9; math.Abs(float64(at)-want) > 2 {
			t.Fatalf("after %d bytes at %d, want %.0f", total, at, want)
		}
		total, last = total+size, at
	}
	if last == 0 {
		t.Error("time stands still")
	}
}

// Poisson: the gaps are exponential (mean and deviation alike, and the right
// share above the mean), and the counts per millisecond have their variance.
func TestPoissonGaps(t *testing.T) {
	const iops = 10_000
	p := mustPacer(t, reads(Rate{IOPS: iops}), true, 0)
	var gaps hist.Hist
	perMS := map[int64]int{}
	last, above := int64(0), 0
	const n = 1_000_000
	for range n {
		at := p.Take(gen.Read, 4096, 0)
		gaps.Record(uint64(at - last))
		if at-last > second/iops {
			above++
		}
		perMS[at/1_000_000]++
		last = at
	}
	mean := 1e9 / iops
	if math.Abs(gaps.Mean()-mean) > 0.005*mean || math.Abs(gaps.Stddev()-mean) > 0.01*mean {
		t.Errorf("gaps have mean %.0f and deviation %.0f, want both %.0f", gaps.Mean(), gaps.Stddev(), mean)
	}
	if share := float64(above) / n; math.Abs(share-1/math.E) > 0.002 {
		t.Errorf("%.4f of the gaps exceed the mean, want 1/e", share)
	}
	sum, square, ms := 0.0, 0.0, float64(last/1_000_000)
	for _, c := range perMS {
		sum += float64(c)
		square += float64(c) * float64(c)
	}
	avg := sum / ms
	if variance := square/ms - avg*avg; math.Abs(variance/avg-1) > 0.02 {
		t.Errorf("counts per millisecond: mean %.2f variance %.2f, want them equal", avg, variance)
	}
}

// A target that answers in 50 µs and stalls for 200 ms: an open loop at 1000
// requests a second charges the stall to the two hundred requests it delayed,
// a closed loop to the one that was under way.
func TestStallIsChargedToAllItDelayed(t *testing.T) {
	const service, stallAt, stall = 50_000, second, 200_000_000
	run := func(p *Pacer) *hist.Hist {
		h := new(hist.Hist)
		for now := int64(0); now < 3*second; {
			_, at := p.Pick(gen.Read, gen.Read, now)
			now = max(now, at)
			start := p.Take(gen.Read, 4096, now)
			if begin := now; begin <= stallAt && stallAt < begin+service || begin < stallAt && begin+second/1000 > stallAt && p.Limited() {
				now = stallAt + stall
			}
			now += service
			h.Record(uint64(now - start))
		}
		return h
	}
	open := run(mustPacer(t, reads(Rate{IOPS: 1000}), false, 0))
	late := float64(open.Count()) * (1 - open.FractionBelow(10_000_000))
	if late < 180 || late > 215 {
		t.Errorf("open loop: %.0f requests waited for more than 10 ms, want about 200", late)
	}
	if n := open.Count(); n < 2990 || n > 3010 {
		t.Errorf("open loop: %d requests in 3 s at 1000/s", n)
	}
	if p99, longest := open.Percentile(99), open.Max(); p99 < 150_000_000 || longest < stall {
		t.Errorf("open loop: p99 %d ns, maximum %d ns", p99, longest)
	}
	closed := run(new(Pacer))
	if late := float64(closed.Count()) * (1 - closed.FractionBelow(10_000_000)); math.Round(late) != 1 {
		t.Errorf("closed loop: %.1f requests were late, want 1", late)
	}
}

func TestPickKeepsBothRates(t *testing.T) {
	p := mustPacer(t, [gen.Dirs]Rate{{IOPS: 3000}, {IOPS: 1000}}, false, 0)
	rng := gen.NewRand(1, 1)
	var n [gen.Dirs]int
	for now := int64(0); now < 10*second; {
		want, other := gen.Read, gen.Write
		if rng.Uint64()&1 == 0 {
			want, other = other, want
		}
		d, at := p.Pick(want, other, now)
		now = max(now, at)
		p.Take(d, 4096, now)
		n[d]++
	}
	if n[gen.Read] < 29_990 || n[gen.Read] > 30_010 || n[gen.Write] < 9_990 || n[gen.Write] > 10_010 {
		t.Errorf("%d reads and %d writes in 10 s at 3000/s and 1000/s", n[gen.Read], n[gen.Write])
	}
}

func TestPickWithOneRate(t *testing.T) {
	p := mustPacer(t, [gen.Dirs]Rate{gen.Write: {IOPS: 1000}}, false, 5000)
	if d, at := p.Pick(gen.Write, gen.Read, 1000); d != gen.Read || at != 1000 {
		t.Errorf("a write that is not due: %v at %d, want a read now", d, at)
	}
	if d, at := p.Pick(gen.Write, gen.Read, 6000); d != gen.Write || at != 5000 {
		t.Errorf("a write that is due: %v at %d", d, at)
	}
	if d, at := p.Pick(gen.Read, gen.Write, 6000); d != gen.Read || at != 6000 {
		t.Errorf("a read without a rate: %v at %d", d, at)
	}
	if d, at := p.Pick(gen.Write, gen.Write, 1000); d != gen.Write || at != 5000 {
		t.Errorf("nothing else to do: %v at %d", d, at)
	}
	if at := p.Take(gen.Read, 4096, 777); at != 777 {
		t.Errorf("latency without a rate counts from %d", at)
	}
}

func TestShiftIsNotMadeUpFor(t *testing.T) {
	p := mustPacer(t, reads(Rate{IOPS: 1000}), false, 0)
	p.Take(gen.Read, 4096, 0)
	p.Shift(second)
	if at := p.Take(gen.Read, 4096, 0); at != second+1_000_000 {
		t.Errorf("next start at %d", at)
	}
}

func TestBadRatesAreRefused(t *testing.T) {
	for _, r := range []Rate{{IOPS: -1}, {Bytes: math.NaN()}, {IOPS: 5, Bytes: 5}, {IOPS: math.Inf(1)}} {
		if _, err := NewPacer(reads(r), false, 0, 1); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
	if _, err := NewSchedule(Rate{}, false, 0, gen.NewRand(1, 1)); err == nil {
		t.Error("a schedule without a rate was accepted")
	}
}

func mustThink(t *testing.T, c Thinking) *Think {
	t.Helper()
	th, err := NewThink(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	return th
}

func TestThinkAfterBlocks(t *testing.T) {
	th := mustThink(t, Thinking{Time: 100, Spin: 30, Blocks: 3})
	if room := th.Room(2); room != 1 {
		t.Errorf("room for %d with two under way, want 1", room)
	}
	th.Issued(3)
	if th.Due(10) {
		t.Error("due when issued, but counts completions")
	}
	th.Completed(2)
	if th.Due(10) {
		t.Error("due after two of three")
	}
	th.Completed(1)
	if !th.Due(10) {
		t.Error("not due after three")
	}
	if spin, end := th.Pause(10); spin != 40 || end != 110 {
		t.Errorf("pause: spin until %d, sleep until %d", spin, end)
	}
	if th.Due(111) || th.Room(0) != 3 {
		t.Error("the count does not begin anew")
	}
}

func TestThinkByIssueAndByTime(t *testing.T) {
	th := mustThink(t, Thinking{Time: 100, Blocks: 2, ByIssue: true})
	th.Completed(9)
	th.Issued(1)
	if th.Due(0) || th.Room(7) != 1 {
		t.Error("counts completions although by issue")
	}
	th.Issued(1)
	if !th.Due(0) {
		t.Error("not due after two were issued")
	}
	// IOTime 900 and Time 100: a cycle of 1000.
	th = mustThink(t, Thinking{Time: 100, IOTime: 900})
	if th.Due(899) || !th.Due(900) || th.Room(5) != -1 {
		t.Error("by time")
	}
	if _, end := th.Pause(900); end != 1000 || th.Due(1899) || !th.Due(1900) {
		t.Error("second cycle by time")
	}
	if th := mustThink(t, Thinking{}); th.Due(1<<60) || th.Room(3) != -1 {
		t.Error("a pause without think time")
	}
	if th := mustThink(t, Thinking{Time: 1}); th.Room(0) != 1 {
		t.Error("one block is the default")
	}
	for _, bad := range []Thinking{{Time: -1}, {Spin: 5}, {Blocks: 3}, {IOTime: 1}} {
		if _, err := NewThink(bad, 0); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// settleOn drives a controller against a target whose latency follows from the
// depth and answers the depth it ends with.
func settleOn(t *testing.T, c *Controller, latency func(depth int, i int) int64) (depth int, e Event, steps []int) {
	t.Helper()
	now, i := int64(0), 0
	for range 1_000_000 {
		d := c.Depth()
		l := latency(d, i)
		now += max(l/int64(d), 1)
		i++
		if e = c.Complete(l, now); e == Nothing {
			e = c.Check(now)
		}
		switch e {
		case NewDepth:
			steps = append(steps, c.Depth())
			c.Begin(now)
		case Found, Unreachable:
			return c.Depth(), e, steps
		case Nothing, LastWindow:
		}
	}
	t.Fatal("never settles")
	return 0, Nothing, nil
}

// 100 µs a request, one at a time in the target: depth d takes d × 100 µs.
func linear(depth, _ int) int64 { return int64(depth) * 100_000 }

func TestControllerFindsTheDepth(t *testing.T) {
	for _, c := range []struct {
		limit int64
		max   int
		want  int
	}{
		{1_000_000, 64, 10}, {700_000, 64, 7}, {150_000, 64, 1}, {10_000_000, 32, 32}, {1_600_000, 256, 16}, {6_399_999, 256, 63},
	} {
		for _, percentile := range []float64{0, 99} {
			ctl, err := NewController(Target{Latency: c.limit, Window: 50_000_000, Percentile: percentile, MaxDepth: c.max}, 0)
			if err != nil {
				t.Fatal(err)
			}
			depth, e, steps := settleOn(t, ctl, linear)
			if e != Found || depth != c.want {
				t.Errorf("limit %d of %d, percentile %v: depth %d, event %v by way of %v, want %d", c.limit, c.max, percentile, depth, e, steps, c.want)
			}
		}
	}
}

func TestControllerSaysUnreachable(t *testing.T) {
	ctl, err := NewController(Target{Latency: 50_000, Window: 10_000_000, MaxDepth: 32}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if depth, e, _ := settleOn(t, ctl, linear); e != Unreachable || depth != 1 {
		t.Errorf("event %v at depth %d", e, depth)
	}
}

// With a percentile, few slow requests do no harm; without, one is too many.
func TestControllerPercentile(t *testing.T) {
	slow := func(depth, i int) int64 {
		if i%100 == 99 {
			return 50_000_000
		}
		return linear(depth, i)
	}
	ctl, err := NewController(Target{Latency: 1_000_000, Window: 500_000_000, Percentile: 98, MaxDepth: 64}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if depth, e, _ := settleOn(t, ctl, slow); e != Found || depth != 10 {
		t.Errorf("percentile 98: depth %d, event %v", depth, e)
	}
	ctl, err = NewController(Target{Latency: 1_000_000, Window: 500_000_000, MaxDepth: 64}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, e, _ := settleOn(t, ctl, slow); e != Unreachable {
		t.Errorf("all requests: event %v", e)
	}
}

// A running controller follows a target that gets slower and faster again.
func TestControllerFollows(t *testing.T) {
	ctl, err := NewController(Target{Latency: 1_000_000, Window: 20_000_000, Percentile: 90, MaxDepth: 64, Run: true}, 0)
	if err != nil {
		t.Fatal(err)
	}
	now, depths := int64(0), [3]int{}
	for phase, cost := range []int64{100_000, 400_000, 100_000} {
		for end := now + 3*second; now < end; {
			l := int64(ctl.Depth()) * cost
			now += cost
			ctl.Complete(l, now)
			if ctl.Check(now) == NewDepth {
				ctl.Begin(now)
			}
			if l <= 1_000_000 {
				depths[phase] = max(depths[phase], ctl.Depth())
			}
			if now > end-second && l > 2*1_000_000 {
				t.Fatalf("phase %d: depth %d", phase, ctl.Depth())
			}
		}
	}
	if depths[0] < 10 || depths[2] < 8 {
		t.Errorf("depths %v", depths)
	}
}

func TestBadTargetsAreRefused(t *testing.T) {
	for _, target := range []Target{{}, {Latency: 1}, {Latency: 1, MaxDepth: 1, Percentile: 101}, {Latency: 1, MaxDepth: 1, Window: -1}} {
		if _, err := NewController(target, 0); err == nil {
			t.Errorf("%+v was accepted", target)
		}
	}
}

func TestFloor(t *testing.T) {
	f, err := NewFloor([gen.Dirs]Rate{{Bytes: 1000}, {IOPS: 10}}, second, 0)
	if err != nil {
		t.Fatal(err)
	}
	var bytes, ios [gen.Dirs]uint64
	tick := func(now int64, b, i uint64) error {
		bytes[gen.Read] += b
		ios[gen.Write] += i
		return f.Check(now, &bytes, &ios)
	}
	for now := int64(0); now <= 2*second; now += second {
		if err := tick(now, 0, 0); err != nil {
			t.Fatalf("while it settles: %v", err)
		}
	}
	if err := tick(2*second+500_000_000, 0, 0); err != nil {
		t.Fatalf("in the course of a cycle: %v", err)
	}
	if err := tick(3*second, 1000, 10); err != nil {
		t.Fatalf("just enough: %v", err)
	}
	if err := tick(4*second, 999, 10); err == nil || !strings.Contains(err.Error(), "read: rate_min=1000 B/s not met, got 999 B/s") {
		t.Errorf("too few bytes: %v", err)
	}
	if err := tick(5*second, 3000, 5); err == nil || !strings.Contains(err.Error(), "write: rate_iops_min=10 not met") {
		t.Errorf("too few requests: %v", err)
	}
	if _, err := NewFloor([gen.Dirs]Rate{{IOPS: -1}}, 0, 0); err == nil {
		t.Error("a negative minimum was accepted")
	}
	if _, err := NewFloor([gen.Dirs]Rate{}, -1, 0); err == nil {
		t.Error("a negative cycle was accepted")
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	for _, poisson := range []bool{false, true} {
		p := mustPacer(t, reads(Rate{IOPS: 1e6}), poisson, 0)
		if n := testing.AllocsPerRun(1000, func() {
			d, _ := p.Pick(gen.Read, gen.Write, 0)
			p.Take(d, 4096, 0)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

var sink int64

func BenchmarkTake(b *testing.B) {
	for _, c := range []struct {
		name    string
		rate    Rate
		poisson bool
	}{{"fixed", Rate{IOPS: 1e6}, false}, {"poisson", Rate{IOPS: 1e6}, true}, {"closed", Rate{}, false}} {
		b.Run(c.name, func(b *testing.B) {
			p := mustPacer(b, reads(c.rate), c.poisson, 0)
			b.ReportAllocs()
			for b.Loop() {
				d, at := p.Pick(gen.Read, gen.Read, 0)
				sink = at + p.Take(d, 4096, 0)
			}
		})
	}
}
