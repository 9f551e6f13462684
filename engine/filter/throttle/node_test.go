package throttle_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/internal/filtertest"
	"github.com/blkbench/blkbench/engine/filter/throttle"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/protocols/mem"
)

var ctx = context.Background()

func group(limits throttle.Limits) *throttle.Group { return throttle.NewGroup(&limits) }

func TestSuites(t *testing.T) {
	filtertest.Suites(t, filtertest.Filter{Over: func(_ testing.TB, child *engine.Ref) engine.Node {
		return throttle.New(child, group(throttle.Limits{IOPSTotal: 1e9, BPSRead: 1e14}))
	}})
}

// TestSuitesHeldBack runs the suite of queues where requests really wait.
func TestSuitesHeldBack(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits")
	}
	enginetest.Queue(t, enginetest.QueueConfig{NoLeaf: true, Open: func(t testing.TB, size int64) *engine.Ref {
		_, child := enginetest.DiskConfig{Size: size, Discard: true, Zero: true}.Open(t)
		return engine.NewRef(throttle.New(child, group(throttle.Limits{IOPSTotal: 20000, IOPSTotalMax: 20000})), engine.OpenFlags{Write: true, Discard: true})
	}})
}

// poll runs reads at a depth through Paths over nodes until the clock has moved on by d, and counts what completes on each after from.
func poll(t *testing.T, clock *enginetest.Clock, refs []*engine.Ref, depths []int, from, d, tick time.Duration) []int {
	t.Helper()
	runtime.LockOSThread()
	arena, err := dma.New(dma.Config{Size: 1 << 20, NoHuge: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { arena.Close() })
	buf, err := arena.Alloc(4096)
	if err != nil {
		t.Fatal(err)
	}
	paths := make([]*engine.Path, len(refs))
	idle := make([][]*engine.Request, len(refs))
	for i, ref := range refs {
		if paths[i], err = engine.OpenPath(ctx, ref, engine.PathConfig{Poller: engine.NewPoller(), Depth: depths[i], Arenas: []*dma.Arena{arena}}); err != nil {
			t.Fatal(err)
		}
		for range depths[i] {
			idle[i] = append(idle[i], &engine.Request{Op: engine.OpRead, Buf: buf, Len: 4096})
		}
	}
	start := clock.Now()
	count := make([]int, len(refs))
	done := make([]*engine.Request, 256)
	for clock.Now() < start+int64(d) {
		for i, p := range paths {
			p.Submit(idle[i])
			idle[i] = idle[i][:0]
			for {
				n := p.Poll(done)
				for _, r := range done[:n] {
					if err := r.Err(); err != nil {
						t.Fatal(err)
					}
				}
				idle[i] = append(idle[i], done[:n]...)
				if clock.Now() >= start+int64(from) {
					count[i] += n
				}
				if n == 0 {
					break
				}
			}
		}
		clock.Advance(tick)
	}
	for _, p := range paths {
		for p.InFlight() > 0 {
			clock.Advance(time.Second)
			p.Poll(done)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return count
}

func limited(t *testing.T, g *throttle.Group) *engine.Ref {
	_, child := enginetest.DiskConfig{Size: 1 << 20}.Open(t)
	ref := engine.NewRef(throttle.New(child, g), engine.OpenFlags{})
	t.Cleanup(func() { ref.Close() })
	return ref
}

// TestPolledRate: the polled plane meets 500k IOPS to 1 %, and shares by halves between a deep and a shallow queue.
func TestPolledRate(t *testing.T) {
	clock := enginetest.NewClock(t)
	got := poll(t, clock, []*engine.Ref{limited(t, group(throttle.Limits{IOPSTotal: 500000}))}, []int{64},
		200*time.Millisecond, 700*time.Millisecond, 20*time.Microsecond)
	if n := float64(got[0]); math.Abs(n-250000) > 2500 {
		t.Errorf("%.0f requests in half a second, want 250000", n)
	}
	g := group(throttle.Limits{IOPSTotal: 20000})
	got = poll(t, clock, []*engine.Ref{limited(t, g), limited(t, g)}, []int{64, 1}, time.Second, 2*time.Second, 10*time.Microsecond)
	if all := float64(got[0] + got[1]); math.Abs(all-20000) > 200 || math.Abs(float64(got[1])-10000) > 200 {
		t.Errorf("%v requests in a second, want 10000 of each", got)
	}
}

// TestBlockingWaits: in the blocking plane a request waits, and a context that ends ends the waiting.
func TestBlockingWaits(t *testing.T) {
	g := group(throttle.Limits{IOPSTotal: 1})
	ref := limited(t, g)
	p := make([]byte, 512)
	if err := ref.ReadAt(ctx, p, 0); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := ref.ReadAt(over, p, 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	fast := limited(t, group(throttle.Limits{IOPSTotal: 500}))
	start := time.Now()
	for range 150 {
		if err := fast.ReadAt(ctx, p, 0); err != nil {
			t.Fatal(err)
		}
	}
	// 51 go at once, 99 at 2 ms each; how much later is the machine's affair.
	if d := time.Since(start); d < 190*time.Millisecond {
		t.Fatalf("150 requests at 500 a second took %v", d)
	}
}

func env(t *testing.T, objects ...string) *engine.Env {
	e := &engine.Env{Registry: engine.NewRegistry(mem.Driver(), throttle.Driver()), Objects: &opts.Objects{}}
	for _, o := range objects {
		if err := e.Objects.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func open(e *engine.Env, options string) (*engine.Ref, error) {
	tree, err := opts.ParseImageOpts(options)
	if err != nil {
		return nil, err
	}
	return e.Open(ctx, tree, engine.OpenFlags{Write: true})
}

// TestOpen: the spellings that put a throttle into a graph, and what is refused.
func TestOpen(t *testing.T) {
	e := env(t, "throttle-group,id=g,x-iops-total=10", "throttle-group,id=l,limits.iops-total=10,limits.iops-total-max=20", "throttle-group,id=bad,x-iops-size=5",
		"throttle-group,id=typo,x-iops-totl=5")
	for options, want := range map[string]string{
		"driver=throttle,throttle-group=g,file.driver=mem":                               "",
		"driver=throttle,throttle-group=l,file.driver=mem":                               "",
		"driver=throttle,iops-total=10,file.driver=mem":                                  "",
		"driver=mem,throttling.iops-total=10,throttling.bps-read=1M":                     "",
		"driver=mem,throttling.iops-total=10,throttling.group=mine":                      "",
		"driver=throttle,throttle-group=none,file.driver=mem":                            "Throttle group 'none' does not exist",
		"driver=throttle,file.driver=mem":                                                "Please specify a throttle group",
		"driver=throttle,throttle-group=g":                                               `specified for "file"`,
		"driver=throttle,throttle-group=bad,file.driver=mem":                             "iops size requires an iops value to be set",
		"driver=throttle,throttle-group=typo,file.driver=mem":                            "iops-totl",
		"driver=throttle,throttle-group=g,iops-read=5,file.driver=mem":                   "has other limits already",
		"driver=mem,throttling.iops-total=10,throttling.iops-total-max=5":                "bps_max/iops_max cannot be lower than bps/iops",
		"driver=mem,throttling.iops-total=10,throttling.iops-totl=10":                    "nearest",
		"driver=mem,throttling=5":                                                        "throttling takes options",
		"driver=mem,size=1k,throttling.iops-total=10,throttling.iops-total-max-length=2": "burst length set without burst rate",
	} {
		ref, err := open(e, options)
		switch {
		case err == nil && want == "":
			if d := ref.Info().Driver; d != "throttle" || ref.Node().(engine.Parent).Children()[0].Ref.Info().Driver != "mem" {
				t.Errorf("%s: the root is %s", options, d)
			}
			ref.Close()
		case err == nil:
			ref.Close()
			t.Errorf("%s: opened, want %q", options, want)
		case want == "" || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
}

// TestGroup: nodes that name one group share its limits.
func TestGroup(t *testing.T) {
	e := env(t, "throttle-group,id=g,x-iops-total=10")
	p := make([]byte, 512)
	over, cancel := context.WithCancel(ctx)
	cancel()
	var refs []*engine.Ref
	for range 2 {
		ref, err := open(e, "driver=throttle,throttle-group=g,file.driver=mem")
		if err != nil {
			t.Fatal(err)
		}
		defer ref.Close()
		refs = append(refs, ref)
	}
	for i := range 100 {
		if err := refs[0].ReadAt(over, p, 0); errors.Is(err, context.Canceled) {
			break
		} else if err != nil || i > 50 {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if err := refs[1].ReadAt(over, p, 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("the other node does not wait: %v", err)
	}
}

// TestWrap puts limits over an open node, as --throttle does.
func TestWrap(t *testing.T) {
	e := env(t)
	child, err := open(e, "driver=mem,size=1M")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := throttle.Wrap(ctx, e, child, "iops-totl=5"); err == nil {
		t.Fatal("an unknown limit")
	}
	ref, err := throttle.Wrap(ctx, e, child, "iops-total=1000,bps-total=1M")
	if err != nil {
		t.Fatal(err)
	}
	if err := ref.WriteAt(ctx, make([]byte, 4096), 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
}
