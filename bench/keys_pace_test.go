package bench

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/engine"
)

// lasting gives every request of a recorder the same duration.
func lasting(d time.Duration) func(string, *recorder) {
	return func(_ string, r *recorder) { r.delay = func(engine.Op, int64, int) time.Duration { return d } }
}

func within(what string, got, want, tolerance float64) error {
	if math.Abs(got-want) > tolerance*want {
		return fmt.Errorf("%s: %.4g, want %.4g ± %.0f %%", what, got, want, 100*tolerance)
	}
	return nil
}

func TestRates(t *testing.T) {
	fiotest.Long(t)
	for _, c := range []struct {
		args []string
		op   engine.Op
		iops float64
	}{
		{[]string{"--rw=randread", "--rate_iops=500"}, engine.OpRead, 500},
		{[]string{"--rw=randread", "--rate=2M"}, engine.OpRead, 512},
		{[]string{"--rw=randwrite", "--rate_iops=,400"}, engine.OpWrite, 400},
		{[]string{"--rw=randrw", "--rate_iops=300,600"}, engine.OpWrite, 600},
		{[]string{"--rw=randrw", "--rate=1M,2M"}, engine.OpRead, 256},
		{[]string{"--rw=randtrim", "--rate_iops=,,250"}, engine.OpDiscard, 250},
		{[]string{"--rw=randtrimwrite", "--rate_iops=,200,200"}, engine.OpWrite, 200},
	} {
		quietly(t, func() error {
			l := new(leaf)
			runLeaf(t, l, append(c.args, "--time_based", "--runtime=400ms")...).must(t)
			return within(strings.Join(c.args, " "), float64(l.count(c.op)), 0.4*c.iops, 0.05)
		})
	}
}

func TestRateOfOneDirectionLeavesTheOtherFree(t *testing.T) {
	fiotest.Long(t)
	l := new(leaf)
	runLeaf(t, l, "--rw=randrw", "--rate_iops=,100", "--time_based", "--runtime=300ms").must(t)
	if r, w := l.count(engine.OpRead), l.count(engine.OpWrite); w > 31 || r < 10*w {
		t.Errorf("%d reads and %d writes", r, w)
	}
}

func TestRateProcessPoisson(t *testing.T) {
	fiotest.Long(t)
	median := func(process string) (ms float64) {
		l := new(leaf)
		runLeaf(t, l, "--rw=randread", "--iodepth=16", "--rate_iops=100", "--rate_process="+process, "--time_based", "--runtime=800ms").must(t)
		var gaps []float64
		for i := 1; i < len(l.ops); i++ {
			gaps = append(gaps, l.ops[i].at.Sub(l.ops[i-1].at).Seconds()*1e3)
		}
		slices.Sort(gaps)
		return gaps[len(gaps)/2]
	}
	quietly(t, func() error { return within("linear: median gap in ms", median("linear"), 10, 0.05) })
	quietly(t, func() error { return within("poisson: median gap in ms", median("poisson"), 10*math.Ln2, 0.25) })
}

// TestOpenLoopChargesAStallToEveryRequestItDelayed is the point of a rate here: a target that stops for 200 ms is seen by all the 200 requests
// that were to start meanwhile, not by the one that happened to be there.
func TestOpenLoopChargesAStallToEveryRequestItDelayed(t *testing.T) {
	fiotest.Long(t)
	stall := func(_ string, r *recorder) {
		r.delay = func(_ engine.Op, _ int64, seq int) time.Duration {
			if seq == 100 {
				return 200 * time.Millisecond
			}
			return 0
		}
	}
	slow := func(o *outcome) (n uint64) {
		o.Jobs[0].Dir[0].Lat.Buckets(func(lo, _, count uint64) bool {
			if lo > 20e6 {
				n += count
			}
			return true
		})
		return n
	}
	quietly(t, func() error {
		open := runArgs(t, stall, job("--rw=randread", "--rate_iops=1000", "--time_based", "--runtime=600ms")...).must(t)
		if !open.Jobs[0].MeasuredFromPlan {
			t.Error("the result does not say that latency counts from the plan")
		}
		p80 := time.Duration(open.Jobs[0].Dir[0].Lat.Percentile(80))
		if n := slow(open); n < 160 || n > 220 || p80 < 30*time.Millisecond || p80 > 150*time.Millisecond {
			return fmt.Errorf("open loop: %d requests are later than 20 ms, want about 180; p80 %v: a third waited up to 200 ms, evenly", n, p80)
		}
		return nil
	})
	quietly(t, func() error {
		closed := runArgs(t, stall, job("--rw=randread", "--thinktime=900", "--time_based", "--runtime=600ms")...).must(t)
		if n := slow(closed); n != 1 {
			return fmt.Errorf("closed loop: %d requests are later than 20 ms, want the one that stalled", n)
		}
		return nil
	})
}

func TestLeastRates(t *testing.T) {
	fiotest.Long(t)
	slow := func(_ string, r *recorder) {
		r.delay = func(engine.Op, int64, int) time.Duration { return 2 * time.Millisecond }
	}
	quietly(t, func() error {
		o := runArgs(t, slow, "--rw=randread", "--bs=4k", "--time_based", "--runtime=2500ms", "--rate_cycle=150",
			"--name=iops", "--filename=driver=rec,name=a", "--rate_iops_min=2000", "--name=bytes", "--filename=driver=rec,name=b", "--rate_min=4M",
			"--name=enough", "--filename=driver=rec,name=c", "--rate_iops_min=5")
		for _, j := range o.Jobs {
			if missed, want := strings.Contains(j.FirstError, "not met"), j.Name != "enough"; missed != want || (missed && j.Runtime > 2450*time.Millisecond) {
				return fmt.Errorf("%s: %q after %v", j.Name, j.FirstError, j.Runtime)
			}
		}
		return nil
	})
}

func TestThinktime(t *testing.T) {
	fiotest.Long(t)
	// requests in 200 ms with pauses of 10 ms after each block of them
	for _, c := range []struct {
		args []string
		want float64
	}{
		{[]string{"--thinktime=10000"}, 20},
		{[]string{"--thinktime=10000", "--thinktime_blocks=5"}, 100},
		{[]string{"--thinktime=10000", "--thinktime_blocks=5", "--thinktime_blocks_type=issue", "--iodepth=4"}, 100},
	} {
		quietly(t, func() error {
			l := new(leaf)
			runLeaf(t, l, append(c.args, "--rw=randread", "--time_based", "--runtime=200ms")...).must(t)
			return within(strings.Join(c.args, " "), float64(len(l.ops)), c.want, 0.15)
		})
	}
	quietly(t, func() error {
		l := new(leaf)
		runLeaf(t, l, "--rw=randread", "--thinktime=20000", "--thinktime_iotime=20ms", "--thinktime_blocks=0", "--time_based", "--runtime=400ms").must(t)
		pauses := 0
		for i := 1; i < len(l.ops); i++ {
			if l.ops[i].at.Sub(l.ops[i-1].at) > 15*time.Millisecond {
				pauses++
			}
		}
		if pauses < 8 || pauses > 11 {
			return fmt.Errorf("thinktime_iotime: %d pauses in 400 ms, want 10", pauses)
		}
		return nil
	})
}

func TestThinktimeBlocksByCompletion(t *testing.T) {
	fiotest.Long(t)
	o := runArgs(t, lasting(3*time.Millisecond), job("--rw=randread", "--iodepth=4", "--thinktime=20000", "--thinktime_blocks=8", "--number_ios=32")...).must(t)
	ops := o.rec().ops
	for i := 8; i < len(ops); i += 8 {
		if gap := ops[i].at.Sub(ops[i-1].done); gap < 18*time.Millisecond {
			t.Errorf("request %d comes %v after the one before was done", i, gap)
		}
	}
}

func TestThinktimeSpinComputes(t *testing.T) {
	fiotest.Long(t)
	quietly(t, func() error {
		cpu := func(spin string) time.Duration {
			o := runLeaf(t, new(leaf), "--rw=randread", "--thinktime=20000", "--thinktime_spin="+spin, "--number_ios=10").must(t)
			return o.Jobs[0].CPUUser + o.Jobs[0].CPUSys
		}
		if idle, busy := cpu("0"), cpu("20000"); busy < 60*time.Millisecond || idle > busy/2 {
			return fmt.Errorf("CPU time %v without, %v with 180 ms of spinning", idle, busy)
		}
		return nil
	})
}

func TestRateIgnoresThinktimeOnlyWhenTold(t *testing.T) {
	fiotest.Long(t)
	for arg, want := range map[string]float64{"--rate_ignore_thinktime=0": 450, "--rate_ignore_thinktime=1": 250} {
		quietly(t, func() error {
			l := new(leaf)
			runLeaf(t, l, "--rw=randread", "--rate_iops=1000", "--thinktime=50000", "--thinktime_blocks=50", "--time_based", "--runtime=500ms", arg).must(t)
			return within(arg, float64(len(l.ops)), want, 0.12)
		})
	}
}

// oneByOne is a leaf that takes a time for each request, and serves one at once: the deeper the queue, the longer each waits.
func oneByOne(each time.Duration) *leaf {
	l := new(leaf)
	next := time.Now()
	l.hold = func(r *engine.Request) bool {
		now := time.Now()
		if now.Before(next) {
			return true
		}
		next = now.Add(each)
		return false
	}
	return l
}

func TestLatencyTargetFindsTheDepth(t *testing.T) {
	fiotest.Long(t)
	quietly(t, func() error {
		o := runLeaf(t, oneByOne(5*time.Millisecond), "--rw=randread", "--iodepth=32", "--latency_target=28ms", "--latency_window=100ms",
			"--latency_percentile=60", "--time_based", "--runtime=10")
		if o.err != nil {
			return o.err
		}
		l := o.Jobs[0].LatencyTarget
		if l == nil || !l.Met || l.Depth < 3 || l.Depth > 5 || o.Jobs[0].Runtime > 9*time.Second {
			return fmt.Errorf("%+v after %v, want depth 5: each request takes 5 ms of a target that serves one", l, o.Jobs[0].Runtime)
		}
		return nil
	})
	var o *outcome
	o = runArgs(t, lasting(4*time.Millisecond), job("--rw=randread", "--iodepth=32", "--latency_target=1ms", "--latency_window=50ms", "--time_based", "--runtime=20")...)
	if !errors.Is(o.err, syscall.ETIMEDOUT) || o.Jobs[0].LatencyTarget.Met {
		t.Errorf("a target that cannot be met: %v", o.err)
	}
	o = runArgs(t, lasting(time.Millisecond), job("--rw=randread", "--iodepth=4", "--latency_target=100ms", "--latency_window=20ms", "--latency_run=1",
		"--time_based", "--runtime=400ms")...).must(t)
	if got := o.Jobs[0].Runtime; got < 380*time.Millisecond {
		t.Errorf("latency_run ended after %v", got)
	}
}

func TestMaxLatencyEndsTheJob(t *testing.T) {
	fiotest.Long(t)
	slow := func(_ string, r *recorder) {
		r.delay = func(_ engine.Op, _ int64, seq int) time.Duration {
			if seq == 50 {
				return 60 * time.Millisecond
			}
			return 0
		}
	}
	o := runArgs(t, slow, job("--rw=read", "--max_latency=50ms")...)
	if !errors.Is(o.err, syscall.ETIMEDOUT) || !strings.Contains(o.err.Error(), "at 0x32000+4096") || o.rec().count(engine.OpRead) != 51 {
		t.Errorf("%v after %d reads", o.err, o.rec().count(engine.OpRead))
	}
	runArgs(t, slow, job("--rw=read", "--max_latency=,50ms")...).must(t)
}

func TestFlowKeepsProportions(t *testing.T) {
	fiotest.Long(t)
	o := runArgs(t, lasting(100*time.Microsecond),
		"--time_based", "--runtime=500ms", "--rw=randread", "--bs=4k", "--flow_id=7",
		"--name=a", "--filename=driver=rec,name=a", "--flow=3",
		"--name=b", "--filename=driver=rec,name=b", "--flow=1", "--flow_sleep=50").must(t)
	a, b := float64(o.recs["a"].count(engine.OpRead)), float64(o.recs["b"].count(engine.OpRead))
	if b < 30 {
		t.Fatalf("%v and %v requests", a, b)
	}
	if err := within("a to b", a/b, 3, 0.05); err != nil {
		t.Error(err)
	}
}

func TestRuntimeAndRamp(t *testing.T) {
	fiotest.Long(t)
	quietly(t, func() error {
		o := runArgs(t, lasting(time.Millisecond), job("--rw=randread", "--time_based", "--runtime=300ms", "--ramp_time=200ms")...).must(t)
		j := &o.Jobs[0]
		if err := within("run time", j.Runtime.Seconds(), 0.3, 0.2); err != nil {
			return err
		}
		all := o.rec().count(engine.OpRead)
		if measured := int(j.Dir[0].IOs); measured > all*7/10 || measured < all*4/10 {
			return fmt.Errorf("%d of %d requests are measured, want three fifths", measured, all)
		}
		return nil
	})
	o := runArgs(t, lasting(time.Millisecond), job("--rw=randread", "--runtime=10")...).must(t)
	if n := o.rec().count(engine.OpRead); n != 256 {
		t.Errorf("without time_based: %d reads", n)
	}
}

func TestStartDelay(t *testing.T) {
	quietly(t, func() error {
		began := time.Now()
		o := runArgs(t, nil, job("--rw=read", "--startdelay=150ms", "--name=k", "--filename=driver=rec,name=b", "--bs=4k", "--startdelay=50ms-100ms")...).must(t)
		if d := o.recs["a"].ops[0].at.Sub(began); d < 150*time.Millisecond {
			t.Errorf("the first request came after %v", d)
		}
		if gap := o.recs["a"].ops[0].at.Sub(o.recs["b"].ops[0].at); gap < 40*time.Millisecond || gap > 110*time.Millisecond {
			return fmt.Errorf("b was %v before a, want 50 to 100 ms", gap)
		}
		if o.Jobs[0].Runtime > 140*time.Millisecond {
			return fmt.Errorf("the delay counts as run time: %v", o.Jobs[0].Runtime)
		}
		return nil
	})
}

func TestLoopsRepeatTheWork(t *testing.T) {
	o := runArgs(t, nil, job("--rw=randread", "--loops=3")...).must(t)
	if n := o.rec().count(engine.OpRead); n != 768 {
		t.Errorf("%d reads, want 3 times 256", n)
	}
}
