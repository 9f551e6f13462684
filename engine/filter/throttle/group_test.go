package throttle

import (
	"container/heap"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

func parse(t testing.TB, s string) Limits {
	t.Helper()
	tree, err := opts.ParseKeyval(s)
	if err != nil {
		t.Fatal(err)
	}
	var l Limits
	if err := errors.Join(tree.Bind(&l), tree.Unused()); err != nil {
		t.Fatal(err)
	}
	return l
}

// event is a moment at which a simulated user does something.
type event struct {
	at   int64
	user int
	ask  bool // the request was asked for before and waits
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any          { old := *e; x := old[len(old)-1]; *e = old[:len(old)-1]; return x }

// user keeps depth requests in flight, each of which takes a while at the device.
type user struct {
	m       *Member
	op      engine.Op
	size    int64
	depth   int
	service int64
	from    int64 // when it starts
	until   int64 // when it stops; 0: never
}

// simulate runs users against a clock of its own and counts what goes, from a moment on; late is by how much wake-ups are late.
func simulate(g *Group, users []user, from, until, late int64) []int {
	g.leakedAt = 0
	var q events
	count := make([]int, len(users))
	for i, u := range users {
		for range u.depth {
			heap.Push(&q, event{at: u.from, user: i})
		}
	}
	for len(q) > 0 {
		e := heap.Pop(&q).(event)
		if e.at > until {
			return count
		}
		u := &users[e.user]
		var t int64
		if e.ask {
			t = u.m.Again(u.op, u.size, e.at)
		} else {
			if u.until != 0 && e.at >= u.until {
				continue
			}
			t = u.m.Admit(u.op, u.size, e.at)
		}
		if t > e.at {
			heap.Push(&q, event{at: t + late, user: e.user, ask: true})
			continue
		}
		if e.at >= from {
			count[e.user]++
		}
		heap.Push(&q, event{at: e.at + u.service, user: e.user})
	}
	return count
}

const second = int64(1e9)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > want*tolerance {
		t.Errorf("%s: %.1f, want %.1f within %g %%", what, got, want, tolerance*100)
	}
}

// TestRate: a rate is met to 1 % once the initial credit is spent, at any rate, depth and lateness of the wake-ups.
func TestRate(t *testing.T) {
	for _, c := range []struct {
		limits string
		op     engine.Op
		size   int64
		per    float64 // requests a second
		depth  int
		late   int64
	}{
		{"iops-total=100", engine.OpRead, 4096, 100, 1, 0},
		{"iops-total=100", engine.OpRead, 4096, 100, 32, 3e6},
		{"iops-total=10000", engine.OpWrite, 4096, 10000, 32, 1e6},
		{"iops-total=500000", engine.OpRead, 4096, 500000, 64, 0},
		{"iops-total=500000", engine.OpRead, 4096, 500000, 128, 20000},
		{"iops-read=1000", engine.OpRead, 4096, 1000, 8, 0},
		{"iops-write=1000", engine.OpDiscard, 4096, 1000, 8, 0},
		{"bps-total=1M", engine.OpRead, 4096, 256, 8, 0},
		{"bps-write=10M", engine.OpWrite, 65536, 160, 8, 0},
		{"iops-total=1000,iops-size=4k", engine.OpRead, 16384, 250, 8, 0},
		{"iops-total=1000,iops-size=4k", engine.OpRead, 512, 1000, 8, 0},
		{"iops-total=1000,bps-total=1M", engine.OpRead, 4096, 256, 8, 0},
	} {
		l := parse(t, c.limits)
		if err := l.Check(); err != nil {
			t.Fatal(err)
		}
		if testing.Short() && c.per > 100000 {
			continue
		}
		seconds := int64(20)
		switch {
		case c.per > 100000:
			seconds = 1
		case c.per > 1000:
			seconds = 3
		}
		g := NewGroup(&l)
		u := user{m: g.Join(), op: c.op, size: c.size, depth: c.depth, service: 1000}
		got := simulate(g, []user{u}, second, second*(1+seconds), c.late)
		near(t, c.limits, float64(got[0])/float64(seconds), c.per, 0.01)
	}
}

// TestOtherDirection: limits of reads leave writes alone.
func TestOtherDirection(t *testing.T) {
	l := parse(t, "iops-read=10")
	g := NewGroup(&l)
	m := g.Join()
	users := []user{{m: m, op: engine.OpRead, size: 512, depth: 32, service: 1000}, {m: m, op: engine.OpWrite, size: 512, depth: 1, service: 1e6}}
	got := simulate(g, users, second, 11*second, 0)
	near(t, "reads", float64(got[0]), 100, 0.02)
	near(t, "writes", float64(got[1]), 10000, 0.01)
}

// TestBursts: a burst goes at its rate for as long as it may, then the average rate holds; what was not used comes back.
func TestBursts(t *testing.T) {
	l := parse(t, "iops-total=100,iops-total-max=2000,iops-total-max-length=10")
	g := NewGroup(&l)
	u := []user{{m: g.Join(), op: engine.OpRead, size: 512, depth: 16, service: 1000}}
	// The bucket holds 20000 requests and leaks 100 a second meanwhile: at 2000 a second it is full after 20000/1900 s.
	full := 20000 * second / 1900
	near(t, "in the burst", float64(simulate(g, u, 0, second*10, 0)[0]), 20000+200, 0.01)
	g = NewGroup(&l)
	u[0].m = g.Join()
	near(t, "after it", float64(simulate(g, u, full+second, full+21*second, 0)[0]), 2000, 0.01)

	l = parse(t, "iops-total=100,iops-total-max=500")
	g = NewGroup(&l)
	u[0].m = g.Join()
	near(t, "a burst of one second", float64(simulate(g, u, 0, second, 0)[0]), 600, 0.01)
}

// TestFair: members share by halves (or thirds), however many requests each has waiting, and one that stops holds nobody up.
func TestFair(t *testing.T) {
	l := parse(t, "iops-total=1000")
	for _, depths := range [][]int{{1, 64}, {64, 1}, {4, 4}, {1, 64, 16}} {
		g := NewGroup(&l)
		var users []user
		for _, d := range depths {
			users = append(users, user{m: g.Join(), op: engine.OpRead, size: 4096, depth: d, service: 1000})
		}
		got := simulate(g, users, second, 21*second, 0)
		sum := 0
		for i, n := range got {
			near(t, "share", float64(n), 20000/float64(len(depths)), 0.02)
			sum += got[i]
		}
		near(t, "all", float64(sum), 20000, 0.01)
	}
	// One has been alone for a while; the other then comes, is served its half at once and not more, and stops.
	g := NewGroup(&l)
	users := []user{
		{m: g.Join(), op: engine.OpWrite, size: 4096, depth: 64, service: 1000},
		{m: g.Join(), op: engine.OpWrite, size: 4096, depth: 64, service: 1000, from: 10 * second, until: 20 * second},
	}
	near(t, "while it is there", float64(simulate(g, users, 11*second, 20*second, 0)[1]), 4500, 0.03)
	g = NewGroup(&l)
	users[0].m, users[1].m = g.Join(), g.Join()
	near(t, "when it is gone", float64(simulate(g, users, 21*second, 31*second, 0)[0]), 10000, 0.01)
	// One that asks for little gets it, the other gets the rest.
	g = NewGroup(&l)
	users = []user{
		{m: g.Join(), op: engine.OpRead, size: 4096, depth: 64, service: 1000},
		{m: g.Join(), op: engine.OpRead, size: 4096, depth: 1, service: 1e8},
	}
	got := simulate(g, users, second, 21*second, 0)
	near(t, "the rest", float64(got[0]+got[1]), 20000, 0.01)
	near(t, "the modest one", float64(got[1]), 200, 0.05)
}

// TestWithdraw: what waited and went away leaves nothing behind.
func TestWithdraw(t *testing.T) {
	l := parse(t, "iops-total=10")
	g := NewGroup(&l)
	g.leakedAt = 0
	m := g.Join()
	if m.Admit(engine.OpRead, 512, 1) != 1 {
		t.Fatal("the first does not go at once")
	}
	var last int64
	for range 5 {
		if last = m.Admit(engine.OpRead, 512, 1); last > 1 {
			m.Withdraw(engine.OpRead, 512)
		}
	}
	if m.waiting[reading] != (pending{}) {
		t.Fatalf("left behind: %+v", m.waiting)
	}
	if again := m.Admit(engine.OpRead, 512, 1); again != last {
		t.Fatalf("at %d after withdrawals, %d before", again, last)
	}
}

// TestAdmitAllocatesNothing: the polled plane asks here.
func TestAdmitAllocatesNothing(t *testing.T) {
	l := parse(t, "iops-total=1000,bps-total=1G,iops-total-max=2000")
	g := NewGroup(&l)
	m := g.Join()
	g.Join()
	now := engine.Now()
	if n := testing.AllocsPerRun(100, func() {
		if now++; m.Admit(engine.OpRead, 4096, now) > now {
			m.Again(engine.OpRead, 4096, now)
			m.Withdraw(engine.OpRead, 4096)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	l := parse(b, "iops-total=1000000,bps-total=100G")
	m := NewGroup(&l).Join()
	b.ReportAllocs()
	now := engine.Now()
	for b.Loop() {
		now += 1000
		if m.Admit(engine.OpRead, 4096, now) > now {
			m.Withdraw(engine.OpRead, 4096)
		}
	}
}

// TestCheck: QEMU's validations, in its words.
func TestCheck(t *testing.T) {
	for limits, want := range map[string]string{
		"iops-total=10,iops-read=5":             "cannot be used at the same time",
		"iops-total-max=5":                      "bps_max/iops_max require corresponding bps/iops values",
		"iops-total=10,iops-total-max=5":        "bps_max/iops_max cannot be lower than bps/iops",
		"iops-total=10,iops-total-max-length=0": "the burst length cannot be 0",
		"iops-total=10,iops-total-max-length=5": "burst length set without burst rate",
		"iops-size=4":                           "iops size requires an iops value to be set",
		"iops-total=10000000000000000":          "bps/iops/max values must be within [0, 1000000000000000]",
		"iops-total=10,iops-total-max=1000000000000,iops-total-max-length=1001": "burst length too high for this burst rate",
		"iops-total=-4": "Property values cannot be negative",
		"iops-total=10,bps-read=5,bps-write=7,iops-size=4k": "",
	} {
		l := parse(t, limits)
		err := l.Check()
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", limits, err, want)
		}
	}
}
