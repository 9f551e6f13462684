package series

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/gen"
	"github.com/blkbench/blkbench/bench/hist"
)

const ms = 1_000_000

// all asks for every kind of log under one prefix.
func all(prefix string) (p [Kinds]string) {
	for k := range p {
		p[k] = prefix
	}
	return p
}

func mustOpen(t testing.TB, o Options) *Logs {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryRequestHasALine(t *testing.T) {
	base := Event{Done: 1_012_900_000, Issued: 1_012_000_007, Slat: 300, Clat: 8000, Lat: 8300, Off: 1 << 20, Len: 4096, Prio: 0x2004, Dir: gen.Write}
	for _, c := range []struct {
		name string
		edit func(*Options, *Event)
		want map[Kind]string
	}{
		{"plain", func(*Options, *Event) {}, map[Kind]string{
			Slat: "12, 300, 1, 4096, 0", Clat: "12, 8000, 1, 4096, 0", Lat: "12, 8300, 1, 4096, 0", BW: "12, 512000, 1, 4096, 0", IOPS: "12, 1, 1, 4096, 0",
		}},
		{"offset", func(o *Options, _ *Event) { o.Offset = true }, map[Kind]string{Lat: "12, 8300, 1, 4096, 1048576, 0"}},
		{"high priority", func(_ *Options, e *Event) { e.HighPriority = true }, map[Kind]string{Lat: "12, 8300, 1, 4096, 1"}},
		{"priority", func(o *Options, _ *Event) { o.Prio = true }, map[Kind]string{Lat: "12, 8300, 1, 4096, 0x2004"}},
		{"issue time", func(o *Options, _ *Event) { o.Offset, o.IssueTime = true, true }, map[Kind]string{Lat: "12, 8300, 1, 4096, 1048576, 0, 12000007"}},
		{"epoch", func(o *Options, _ *Event) { o.Epoch = 1_700_000_000_000_000_000 }, map[Kind]string{Lat: "1700000000012, 8300, 1, 4096, 0"}},
		{"trim", func(_ *Options, e *Event) { e.Dir = gen.Trim }, map[Kind]string{Lat: "12, 8300, 2, 4096, 0"}},
	} {
		prefix := filepath.Join(t.TempDir(), "x")
		o, e := Options{Prefix: all(prefix), Job: 1, Start: 1_000_000_000}, base
		c.edit(&o, &e)
		l := mustOpen(t, o)
		if !l.EveryRequest() {
			t.Errorf("%s: does not ask for requests", c.name)
		}
		l.Event(&e)
		l.Event(&e)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for k, line := range c.want {
			if got, want := content(t, FileName(prefix, k, 1)), line+"\n"+line+"\n"; got != want {
				t.Errorf("%s: %v log is %q, want %q", c.name, k, got, want)
			}
		}
	}
}

// part is an interval with these completion latencies.
func part(bytes uint64, latencies ...uint64) Part {
	p := Part{IOs: uint64(len(latencies)), Bytes: bytes, Slat: new(hist.Hist), Clat: new(hist.Hist), Lat: new(hist.Hist), Block: 4096}
	for _, v := range latencies {
		p.Slat.Record(v / 10)
		p.Clat.Record(v)
		p.Lat.Record(v + v/10)
	}
	return p
}

func TestWindowsHaveALineEach(t *testing.T) {
	for _, c := range []struct {
		window Window
		offset bool
		want   map[Kind]string
	}{
		{Average, false, map[Kind]string{
			Slat: "500, 20, 0, 0, 0\n500, 90, 1, 0, 0\n1000, 50, 1, 0, 0\n",
			Clat: "500, 200, 0, 0, 0\n500, 900, 1, 0, 0\n1000, 500, 1, 0, 0\n",
			BW:   "500, 2048, 0, 0, 0\n500, 1024, 1, 0, 0\n1000, 512, 1, 0, 0\n",
			IOPS: "500, 6, 0, 0, 0\n500, 2, 1, 0, 0\n1000, 2, 1, 0, 0\n",
		}},
		{Maximum, true, map[Kind]string{
			Clat: "500, 300, 0, 0, 0, 0\n500, 900, 1, 0, 0, 0\n1000, 500, 1, 0, 0, 0\n",
			IOPS: "500, 6, 0, 0, 0, 0\n500, 2, 1, 0, 0, 0\n1000, 2, 1, 0, 0, 0\n",
		}},
		{Both, false, map[Kind]string{
			Lat: "500, 220, 330, 0, 0, 0\n500, 990, 990, 1, 0, 0\n1000, 550, 550, 1, 0, 0\n",
			BW:  "500, 2048, 2048, 0, 0, 0\n500, 1024, 1024, 1, 0, 0\n1000, 512, 512, 1, 0, 0\n",
		}},
	} {
		prefix := filepath.Join(t.TempDir(), "x")
		l := mustOpen(t, Options{Prefix: all(prefix), Avg: 500 * ms, Window: c.window, Offset: c.offset, Start: 7000})
		if avg, _ := l.Windowed(); avg != 500*ms || l.EveryRequest() {
			t.Error("does not ask for windows")
		}
		l.Event(&Event{}) // no business of a windowed log
		l.Interval(7000+250*ms, &[gen.Dirs]Part{part(512<<10, 100)})
		l.Interval(7000+500*ms, &[gen.Dirs]Part{part(512<<10, 200, 300), part(512<<10, 900)})
		l.Interval(7000+750*ms, &[gen.Dirs]Part{})
		l.Interval(7000+1000*ms, &[gen.Dirs]Part{{}, part(256<<10, 500)})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for k, want := range c.want {
			if got := content(t, FileName(prefix, k, 0)); got != want {
				t.Errorf("window %d: %v log is\n%swant\n%s", c.window, k, got, want)
			}
		}
	}
}

// A hand-over that comes late makes its window longer, with the right rate, and
// leaves the grid where it was.
func TestLateWindowKeepsTheGrid(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "x")
	l := mustOpen(t, Options{Prefix: [Kinds]string{IOPS: prefix}, Avg: 500 * ms})
	for _, end := range []int64{500, 1250, 1500, 2000, 2200} {
		l.Interval(end*ms, &[gen.Dirs]Part{{IOs: 300}})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := "500, 600, 0, 0, 0\n1250, 400, 0, 0, 0\n1500, 1200, 0, 0, 0\n2000, 600, 0, 0, 0\n2200, 1500, 0, 0, 0\n"
	if got := content(t, FileName(prefix, IOPS, 0)); got != want {
		t.Errorf("log is\n%swant\n%s", got, want)
	}
}

func TestHistogramLog(t *testing.T) {
	for _, coarseness := range []int{0, 3, 6} {
		prefix := filepath.Join(t.TempDir(), "x")
		l := mustOpen(t, Options{Prefix: [Kinds]string{ClatHist: prefix}, Job: 3, Hist: 100 * ms, Coarseness: coarseness})
		if _, h := l.Windowed(); h != 100*ms || l.EveryRequest() {
			t.Error("does not ask for histograms")
		}
		l.Interval(100*ms, &[gen.Dirs]Part{part(4096, 5, 70_000, 70_001), part(4096, 9)})
		l.Interval(200*ms, &[gen.Dirs]Part{})
		l.Interval(300*ms, &[gen.Dirs]Part{part(4096, 5)})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(content(t, FileName(prefix, ClatHist, 3))), "\n")
		if len(lines) != 3 {
			t.Fatalf("%d lines, want 3", len(lines))
		}
		for i, want := range []struct {
			head  string
			total int
		}{{"100, 0, 4096, ", 3}, {"100, 1, 4096, ", 1}, {"300, 0, 4096, ", 1}} {
			fields := strings.Split(lines[i], ", ")
			if !strings.HasPrefix(lines[i], want.head) || len(fields) != 3+1856>>coarseness {
				t.Errorf("line %d begins %.30q and has %d fields", i, lines[i], len(fields))
			}
			total := 0
			for _, f := range fields[3:] {
				n, err := strconv.Atoi(f)
				if err != nil {
					t.Fatal(err)
				}
				total += n
			}
			if total != want.total {
				t.Errorf("line %d counts %d, want %d", i, total, want.total)
			}
		}
	}
}

func TestSharedFileIsAppendedTo(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "x")
	for i := range 3 {
		l := mustOpen(t, Options{Prefix: [Kinds]string{Lat: prefix}, Append: i > 0})
		l.Event(&Event{Lat: uint64(i)})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := content(t, FileName(prefix, Lat, 0)); strings.Count(got, "\n") != 3 {
		t.Errorf("log is %q", got)
	}
}

func TestBadLogOptionsAreRefused(t *testing.T) {
	for _, o := range []Options{{Coarseness: 7}, {Avg: -1}, {Prefix: [Kinds]string{Lat: "/nowhere/at/all/x"}}} {
		if _, err := Open(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// A full disk is an error of Close, once.
func TestWriteErrorsAreReported(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("requires /dev/full")
	}
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", FileName(filepath.Join(dir, "x"), Lat, 0)); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, Options{Prefix: [Kinds]string{Lat: filepath.Join(dir, "x")}})
	for range 10_000 {
		l.Event(&Event{})
	}
	if err := l.Close(); err == nil {
		t.Error("writing to a full disk went well")
	}
}

func TestMoments(t *testing.T) {
	values := []float64{5, 1, 4, 4, 9.5, -2}
	var whole, a, b, none Moments
	for i, v := range values {
		whole.Add(v)
		if i%2 == 0 {
			a.Add(v)
		} else {
			b.Add(v)
		}
	}
	a.Merge(&b)
	a.Merge(&none)
	none.Merge(&whole)
	for name, m := range map[string]Moments{"added": whole, "merged": a, "into nothing": none} {
		// By hand: Σ = 21.5, Σ(x-x̄)² = 75.2083….
		if m.N != 6 || m.Min != -2 || m.Max != 9.5 || math.Abs(m.Mean()-21.5/6) > 1e-12 || math.Abs(m.Stddev()-math.Sqrt((152.25-21.5*21.5/6)/5)) > 1e-12 {
			t.Errorf("%s: %+v mean %v stddev %v", name, m, m.Mean(), m.Stddev())
		}
	}
	var one Moments
	one.Add(3)
	if one.Stddev() != 0 || new(Moments).Mean() != 0 {
		t.Error("moments of too little")
	}
}

// One side pushes, the other drains: all arrives in order, what is dropped is
// counted, and the race detector agrees.
func TestRingKeepsOrder(t *testing.T) {
	r := NewRing[uint64](100)
	const values = 300_000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := uint64(1); i <= values; i++ {
			if i%1000 == 0 {
				r.Push(&i)
				continue
			}
			if r.Put(&i); i%7 == 0 {
				r.Publish()
			}
		}
	}()
	got, last := uint64(0), uint64(0)
	use := func(v []uint64) {
		for _, x := range v {
			if x <= last {
				t.Errorf("%d after %d", x, last)
			}
			last = x
		}
		got += uint64(len(v))
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		r.Drain(use)
	}
	if got+r.Dropped() != values || got == 0 {
		t.Errorf("%d arrived and %d were dropped of %d", got, r.Dropped(), values)
	}
}

func TestFullRingDropsAndCounts(t *testing.T) {
	r := NewRing[int](4)
	for i := range 6 {
		if ok := r.Put(&i); ok != (i < 4) {
			t.Errorf("put %d: %v", i, ok)
		}
	}
	if n := r.Drain(func([]int) {}); n != 0 {
		t.Errorf("%d drained before they were published", n)
	}
	r.Publish()
	var got []int
	if n := r.Drain(func(v []int) { got = append(got, v...) }); n != 4 || len(got) != 4 || got[3] != 3 || r.Dropped() != 2 {
		t.Errorf("%d drained: %v, %d dropped", n, got, r.Dropped())
	}
	i := 9
	if !r.Push(&i) || r.Drain(func([]int) {}) != 1 {
		t.Error("a push after draining can not be drained")
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	r := NewRing[Event](1024)
	e := Event{Lat: 5}
	l := mustOpen(t, Options{Prefix: all(filepath.Join(t.TempDir(), "x")), Offset: true})
	l.Event(&e)
	use := func([]Event) {}
	if n := testing.AllocsPerRun(1000, func() { r.Push(&e); r.Drain(use); l.Event(&e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkRingPut(b *testing.B) {
	r := NewRing[Event](1 << 10)
	e := Event{Lat: 5}
	use := func([]Event) {}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Put(&e)
		if i&31 == 0 {
			r.Publish()
		}
		if i&255 == 0 {
			r.Drain(use)
		}
	}
}

func BenchmarkEventToFiveLogs(b *testing.B) {
	l := mustOpen(b, Options{Prefix: all(filepath.Join(b.TempDir(), "x"))})
	e := Event{Lat: 123456, Clat: 120000, Slat: 3456, Len: 4096, Off: 1 << 30}
	b.ReportAllocs()
	for b.Loop() {
		l.Event(&e)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
