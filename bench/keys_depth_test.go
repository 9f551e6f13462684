package bench

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/engine"
)

func TestBatches(t *testing.T) {
	sizes := func(args ...string) []int {
		l := new(leaf)
		runLeaf(t, l, append(args, "--rw=randread", "--iodepth=8", "--number_ios=64")...).must(t)
		return l.submits
	}
	if got := sizes("--iodepth_batch=4"); slices.Max(got) != 4 || len(got) != 16 {
		t.Errorf("iodepth_batch=4: %v", got)
	}
	if got := sizes("--iodepth_batch=1"); slices.Max(got) != 1 {
		t.Errorf("iodepth_batch=1: %v", got)
	}
	if got := sizes(); slices.Max(got) != 8 {
		t.Errorf("as many as there are: %v", got)
	}
}

// countdown holds completions back until somebody has looked so often.
func countdown(l *leaf, looks int) {
	n := 0
	l.hold = func(*engine.Request) bool { n++; return n%looks != 0 }
}

func TestCompletions(t *testing.T) {
	most := func(args ...string) int {
		l := new(leaf)
		runLeaf(t, l, append(args, "--rw=randread", "--iodepth=8", "--number_ios=64")...).must(t)
		return l.most
	}
	if got := most("--iodepth_batch_complete_max=3"); got != 3 {
		t.Errorf("iodepth_batch_complete_max=3: %d at once", got)
	}
	if got := most(); got != 8 {
		t.Errorf("all there are: %d at once", got)
	}
	// With a least number the queue is not refilled before so many are back.
	deepest := func(args ...string) (refills []int) {
		l := new(leaf)
		countdown(l, 2) // half of what is looked at is complete
		runLeaf(t, l, append(args, "--rw=randread", "--iodepth=8", "--number_ios=64")...).must(t)
		return l.submits[1 : len(l.submits)-3]
	}
	if got := deepest("--iodepth_batch_complete_min=6", "--iodepth_batch_complete_max=8"); slices.Min(got) < 6 {
		t.Errorf("iodepth_batch_complete_min=6: refilled by %v", got)
	}
	waited := func(args ...string) int {
		l := new(leaf)
		countdown(l, 2*patientLooks)
		runLeaf(t, l, append(args, "--rw=randread", "--number_ios=16")...).must(t)
		return l.waits
	}
	if got := waited("--iodepth_batch_complete_min=0"); got != 0 {
		t.Errorf("iodepth_batch_complete_min=0: waited %d times", got)
	}
	if got := waited(); got == 0 {
		t.Error("never waited")
	}
	if got := waited("--hipri", "--direct=1"); got != 0 {
		t.Errorf("hipri: waited %d times", got)
	}
	polls := func(args ...string) bool { // what the leaf is asked for: a ring with IOPOLL, a completion queue without interrupts
		l := new(leaf)
		runLeaf(t, l, append(args, "--rw=randread", "--direct=1", "--number_ios=16")...).must(t)
		return l.configs[0].Poll
	}
	if polls() || !polls("--hipri") {
		t.Errorf("the leaf is asked for polled completions: %v, with hipri %v", polls(), polls("--hipri"))
	}
}

func TestIODepthLowDrainsBeforeItFills(t *testing.T) {
	l := new(leaf)
	countdown(l, 3)
	runLeaf(t, l, "--rw=randread", "--iodepth=16", "--iodepth_low=4", "--iodepth_batch_complete_max=1", "--number_ios=256").must(t)
	if got := l.submits[1 : len(l.submits)-1]; slices.Min(got) < 11 {
		t.Errorf("refilled by %v, want 12 and more", got)
	}
}

func TestSerializeOverlapHoldsBack(t *testing.T) {
	overlapping := func(args ...string) int {
		slow := func(_ string, r *recorder) {
			r.delay = func(engine.Op, int64, int) time.Duration { return 2 * time.Millisecond }
		}
		o := runArgs(t, slow, on("driver=rec,name=a,size=64k", append(args, "--rw=randwrite", "--norandommap", "--iodepth=8", "--number_ios=200")...)...).must(t)
		n := 0
		ops := o.rec().ops
		for i := range ops {
			for k := range i {
				if ops[i].off == ops[k].off && ops[i].at.Before(ops[k].done) {
					n++
				}
			}
		}
		return n
	}
	if got := overlapping(); got == 0 {
		t.Error("nothing overlaps anyway")
	}
	if got := overlapping("--serialize_overlap=1"); got != 0 {
		t.Errorf("%d requests overlap", got)
	}
}

func TestIOSubmitModeOffloadMeasuresFromThePlan(t *testing.T) {
	o := runLeaf(t, new(leaf), "--rw=randread", "--io_submit_mode=offload", "--rate_iops=1000", "--number_ios=20").must(t)
	if !o.Jobs[0].MeasuredFromPlan {
		t.Error("not measured from the plan")
	}
}

func TestMemHugeTakesHugePages(t *testing.T) {
	// The kernel has huge pages reserved, or the run says that it has none.
	var warned bool
	l := new(leaf)
	var mapped bool
	l.opened = func() {
		b, err := os.ReadFile("/proc/self/smaps")
		if err != nil {
			t.Fatal(err)
		}
		mapped = strings.Contains(string(b), "KernelPageSize:     2048 kB")
	}
	o := runLeaf(t, l, "--rw=randread", "--mem=mmaphuge", "--number_ios=1").must(t)
	for _, w := range o.Warnings {
		warned = warned || strings.Contains(w, "huge pages")
	}
	if warned == mapped {
		t.Errorf("huge pages mapped %v, warned %v: %q", mapped, warned, o.Warnings)
	}
}

func TestHeapStaysQuietInTheLoop(t *testing.T) {
	fiotest.Long(t)
	for _, args := range [][]string{
		{"--rw=randread", "--iodepth=1"},
		{"--rw=randrw", "--iodepth=32"},
		{"--rw=randwrite", "--iodepth=8", "--fsync=16"},
		{"--rw=randread", "--iodepth=8", "--rate_iops=10000000"},
		{"--rw=randwrite", "--iodepth=8", "--serialize_overlap=1"},
	} {
		o := runLeaf(t, &leaf{quiet: true}, append(args, "--number_ios=200000")...).must(t)
		j := &o.Jobs[0]
		if n := j.Dir[0].IOs + j.Dir[1].IOs; n < 190000 || j.Mallocs > n/1000 || !j.MallocsKnown {
			t.Errorf("%v: %d heap objects in %d requests", args, j.Mallocs, n)
		}
	}
}
