package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
)

// two jobs on targets a and b, with their own keys and common ones before them.
func two(common, a, b []string) []string {
	args := append([]string{"--bs=4k", "--rw=read"}, common...)
	args = append(args, "--name=a", "--filename=driver=rec,name=a")
	args = append(args, a...)
	args = append(args, "--name=b", "--filename=driver=rec,name=b")
	return append(args, b...)
}

func (r *recorder) first() time.Time { return r.ops[0].at }
func (r *recorder) last() time.Time  { return r.ops[len(r.ops)-1].done }

func TestNumJobsRunSideBySide(t *testing.T) {
	o := runArgs(t, lasting(time.Millisecond), job("--rw=read", "--numjobs=3", "--number_ios=20")...).must(t)
	if n := o.rec().count(engine.OpRead); n != 60 || o.rec().deepest != 3 || len(o.Jobs) != 3 {
		t.Errorf("%d reads, %d at once, %d results", n, o.rec().deepest, len(o.Jobs))
	}
}

func TestGroupReportingAddsUp(t *testing.T) {
	o := runArgs(t, nil, job("--rw=read", "--numjobs=3", "--group_reporting")...).must(t)
	if len(o.Jobs) != 1 || o.Jobs[0].Members != 3 || o.Jobs[0].Dir[0].IOs != 768 || o.Jobs[0].Dir[0].Lat.Count() != 768 {
		t.Errorf("%d results, the first of %d members with %d I/Os", len(o.Jobs), o.Jobs[0].Members, o.Jobs[0].Dir[0].IOs)
	}
	o = runArgs(t, nil, two([]string{"--group_reporting"}, nil, []string{"--new_group"})...).must(t)
	if len(o.Jobs) != 2 || o.Jobs[1].Group != 1 {
		t.Errorf("new_group: %d results", len(o.Jobs))
	}
}

func TestStonewallWaitsForAllBefore(t *testing.T) {
	fiotest.Long(t)
	together := func(args []string) bool {
		o := runArgs(t, lasting(500*time.Microsecond), args...).must(t)
		return o.recs["b"].first().Before(o.recs["a"].last())
	}
	if !together(two(nil, nil, nil)) {
		t.Error("jobs do not run side by side")
	}
	if together(two(nil, nil, []string{"--stonewall"})) {
		t.Error("stonewall: they do")
	}
	if together(two(nil, []string{"--numjobs=2"}, []string{"--wait_for=a"})) {
		t.Error("wait_for: they do")
	}
}

func TestExitAllEndsTheOthers(t *testing.T) {
	// a ends at once; b would read on for long; c comes after a stonewall.
	run := func(extra ...string) (b, c int) {
		args := two([]string{"--time_based", "--runtime=3"}, append([]string{"--runtime=50ms"}, extra...), nil)
		args = append(args, "--name=c", "--filename=driver=rec,name=c", "--stonewall", "--runtime=20ms")
		o := runArgs(t, lasting(time.Millisecond), args...).must(t)
		if r := o.recs["c"]; r != nil {
			c = len(r.ops)
		}
		return len(o.recs["b"].ops), c
	}
	if b, c := run("--exitall"); b > 1000 || c == 0 {
		t.Errorf("exitall: b made %d requests, c %d", b, c)
	}
	if b, c := run("--exitall", "--exit_what=stonewall"); b > 1000 || c == 0 {
		t.Errorf("exit_what=stonewall: b made %d requests, c %d", b, c)
	}
	if b, c := run("--exitall", "--exit_what=all"); b > 1000 || c != 0 {
		t.Errorf("exit_what=all: b made %d requests, c %d", b, c)
	}
}

func TestExitWhatGroupSparesOtherGroups(t *testing.T) {
	fiotest.Long(t)
	o := runArgs(t, lasting(time.Millisecond), two([]string{"--time_based", "--runtime=400ms"}, []string{"--runtime=30ms", "--exitall"}, []string{"--new_group"})...).must(t)
	if d := o.recs["b"].last().Sub(o.recs["b"].first()); d < 300*time.Millisecond {
		t.Errorf("the job of the other group ended after %v", d)
	}
}

func failing(at int, errno error) func(string, *recorder) {
	return func(name string, r *recorder) {
		if name == "a" {
			r.fail = func(_ engine.Op, _ int64, seq int) error {
				if seq == at {
					return errno
				}
				return nil
			}
		}
	}
}

func TestErrorInTheMiddleNamesItsPlaceAndSparesOthers(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EIO, unix.ENOSPC} {
		o := runArgs(t, failing(100, errno), two([]string{"--rw=write"}, nil, nil)...)
		if !errors.Is(o.err, errno) || !strings.Contains(o.err.Error(), "write rec at 0x64000+4096") {
			t.Errorf("%v: %v", errno, o.err)
		}
		a, b := &o.Jobs[0], &o.Jobs[1]
		if a.Dir[1].IOs != 100 || a.Error != int(errno) || a.TotalErrors != 1 || len(a.Errors) != 1 || a.Errors[0].Off != 0x64000 {
			t.Errorf("a: %d writes, error %d, %d in all, %+v", a.Dir[1].IOs, a.Error, a.TotalErrors, a.Errors)
		}
		if b.Dir[1].IOs != 256 || b.Error != 0 {
			t.Errorf("b: %d writes, error %d", b.Dir[1].IOs, b.Error)
		}
	}
}

func TestExitAllOnError(t *testing.T) {
	both := func(_ string, r *recorder) {
		r.delay = func(engine.Op, int64, int) time.Duration { return time.Millisecond }
	}
	prepare := func(name string, r *recorder) { failing(10, unix.EIO)(name, r); both(name, r) }
	o := runArgs(t, prepare, two(nil, []string{"--exitall_on_error"}, nil)...)
	if n := len(o.recs["b"].ops); !errors.Is(o.err, unix.EIO) || n > 200 {
		t.Errorf("%v; b made %d requests", o.err, n)
	}
}

func TestContinueOnError(t *testing.T) {
	fiotest.Long(t)
	some := func(_ string, r *recorder) {
		r.fail = func(_ engine.Op, _ int64, seq int) error {
			if seq%16 == 5 {
				return unix.EIO
			}
			return nil
		}
	}
	for _, c := range []struct {
		args   []string
		ok     bool
		errors uint64
		ios    uint64
	}{
		{[]string{"--rw=read"}, false, 1, 5},
		{[]string{"--rw=read", "--continue_on_error=read"}, true, 16, 240},
		{[]string{"--rw=read", "--continue_on_error=write"}, false, 1, 5},
		{[]string{"--rw=write", "--continue_on_error=write"}, true, 16, 240},
		{[]string{"--rw=write", "--continue_on_error=io"}, true, 16, 240},
		{[]string{"--rw=trim", "--continue_on_error=all"}, true, 16, 240},
		{[]string{"--rw=read", "--ignore_error=EIO"}, true, 0, 240},
		{[]string{"--rw=write", "--ignore_error=EIO"}, false, 1, 5},
		{[]string{"--rw=write", "--ignore_error=,ENOSPC:EIO"}, true, 0, 240},
	} {
		o := runArgs(t, some, job(c.args...)...)
		j := &o.Jobs[0]
		if ios := j.Dir[0].IOs + j.Dir[1].IOs + j.Dir[2].IOs; (o.err == nil) != c.ok || j.TotalErrors != c.errors || ios != c.ios {
			t.Errorf("%v: %v, %d errors, %d I/Os", c.args, o.err, j.TotalErrors, ios)
		}
	}
	var said int
	run := func(arg ...string) {
		plan, err := fiojob.ParseArgs(job(append(arg, "--rw=read", "--continue_on_error=read")...), fiojob.SystemEnv())
		if err != nil {
			t.Fatal(err)
		}
		said = 0
		reg, _ := recorders(t, some)
		if _, err := Run(t.Context(), Config{Env: &engine.Env{Registry: reg}, Plan: plan, Warn: func(string) { said++ }}); err != nil {
			t.Fatal(err)
		}
	}
	if run(); said != 0 {
		t.Errorf("%d errors were printed", said)
	}
	if run("--error_dump=1"); said != 16 {
		t.Errorf("error_dump: %d errors were printed, want 16", said)
	}
}

func TestFillDeviceEndsWhereThereIsNoSpace(t *testing.T) {
	small := func(_ string, r *recorder) {
		r.grows = true
		r.fail = func(_ engine.Op, off int64, _ int) error {
			if off >= 2<<20 {
				return unix.ENOSPC
			}
			return nil
		}
	}
	o := runArgs(t, small, job("--rw=write", "--fill_device=1")...).must(t)
	if n := o.Jobs[0].Dir[1].IOs; n != 512 {
		t.Errorf("%d blocks were written, want 512", n)
	}
}

func TestCommandsBeforeAndAfter(t *testing.T) {
	dir := t.TempDir()
	mark := filepath.Join(dir, "mark")
	o := runArgs(t, nil, append([]string{"--allow-exec", "--aux-path=" + dir},
		job("--rw=read", "--exec_prerun=echo before; date +%s%N > "+mark, "--exec_postrun=echo after; rm "+mark)...)...).must(t)
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("exec_postrun did not run: %v", err)
	}
	for name, want := range map[string]string{"j.prerun.txt": "before\n", "j.postrun.txt": "after\n"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if len(o.rec().ops) != 256 {
		t.Errorf("%d requests", len(o.rec().ops))
	}
	if _, err := fiojob.ParseArgs(job("--exec_prerun=true"), fiojob.SystemEnv()); err == nil {
		t.Error("a command was accepted without --allow-exec")
	}
	o = runArgs(t, nil, append([]string{"--allow-exec", "--aux-path=" + dir}, job("--exec_prerun=exit 3")...)...)
	if o.err == nil || !strings.Contains(o.err.Error(), "exec_prerun") {
		t.Errorf("a failed command: %v", o.err)
	}
}

func TestStatsOffLeavesTheJobOut(t *testing.T) {
	o := runArgs(t, nil, two(nil, []string{"--stats=0"}, []string{"--description=the one that counts"})...).must(t)
	if len(o.Jobs) != 1 || o.Jobs[0].Name != "b" || o.Jobs[0].Description != "the one that counts" {
		t.Errorf("%+v", o.Jobs)
	}
}

// interrupted runs a command line and cancels it when the target has seen n requests.
func interrupted(t *testing.T, prepare func(string, *recorder), n int, args ...string) (*outcome, time.Duration) {
	t.Helper()
	plan, err := fiojob.ParseArgs(args, fiojob.SystemEnv())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var at atomic.Int64
	reg, recs := recorders(t, func(name string, r *recorder) {
		if prepare != nil {
			prepare(name, r)
		}
		seen := 0
		r.intercept = func(engine.Op, int64, []byte) {
			if seen++; seen == n {
				at.Store(time.Now().UnixNano())
				stop()
			}
		}
	})
	res, err := Run(ctx, Config{Env: &engine.Env{Registry: reg}, Plan: plan})
	return &outcome{res, err, recs}, time.Since(time.Unix(0, at.Load()))
}

func TestInterruptGivesAWholeMarkedResult(t *testing.T) {
	fiotest.Long(t)
	o, took := interrupted(t, lasting(time.Millisecond), 100, two([]string{"--time_based", "--runtime=60"}, nil, []string{"--stonewall"})...)
	if o.err != nil || !o.Interrupted || took > time.Second {
		t.Fatalf("%v, interrupted %v, after %v", o.err, o.Interrupted, took)
	}
	if len(o.Jobs) != 1 || o.Jobs[0].Dir[0].IOs < 100 || o.Jobs[0].Dir[0].Lat.Count() != o.Jobs[0].Dir[0].IOs {
		t.Errorf("%d jobs, %+v", len(o.Jobs), o.Jobs[0].Dir[0])
	}
}

func TestInterruptDoesNotWaitForAStuckTarget(t *testing.T) {
	fiotest.Long(t)
	stuck := make(chan struct{})
	defer close(stuck)
	hang := func(_ string, r *recorder) {
		r.delay = func(_ engine.Op, _ int64, seq int) time.Duration {
			if seq >= 50 {
				<-stuck
			}
			return 0
		}
	}
	o, took := interrupted(t, hang, 51, job("--rw=read", "--time_based", "--runtime=60")...)
	if !o.Interrupted || took > 4*time.Second {
		t.Errorf("interrupted %v, after %v", o.Interrupted, took)
	}
	if o.Jobs[0].Dir[0].IOs != 50 {
		t.Errorf("%d requests in the result, want the 50 that came back", o.Jobs[0].Dir[0].IOs)
	}
}

func TestStatusIsCorrectWhileRunning(t *testing.T) {
	fiotest.Long(t)
	var seen []*result.Run
	plan, err := fiojob.ParseArgs(job("--rw=randrw", "--time_based", "--runtime=700ms", "--iodepth=4"), fiojob.SystemEnv())
	if err != nil {
		t.Fatal(err)
	}
	live := make(chan result.Live, 100)
	reg, recs := recorders(t, lasting(time.Millisecond))
	last, err := Run(t.Context(), Config{
		Env: &engine.Env{Registry: reg}, Plan: plan, Status: func(r *result.Run) { seen = append(seen, r) }, StatusEvery: 200 * time.Millisecond,
		Live: live, LiveEvery: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) < 2 {
		t.Fatalf("%d states in 700 ms", len(seen))
	}
	before := uint64(0)
	// On a busy machine the first states come before the first I/O.
	for len(seen) > 0 && seen[0].Jobs[0].Dir[0].IOs*seen[0].Jobs[0].Dir[1].IOs == 0 {
		seen = seen[1:]
	}
	for _, r := range append(seen, last) {
		j := &r.Jobs[0]
		for _, d := range j.Dir[:2] {
			if d.IOs == 0 || d.Lat.Count() != d.IOs || d.Clat.Count() != d.IOs || d.Slat.Count() == 0 || d.Bytes != 4096*d.IOs || d.Runtime == 0 || d.IOPSMean <= 0 {
				t.Fatalf("%+v", d)
			}
		}
		if n := j.Dir[0].IOs + j.Dir[1].IOs; n < before || n > uint64(len(recs["a"].ops)) {
			t.Errorf("%d I/Os after %d", n, before)
		} else {
			before = n
		}
	}
	if before != uint64(len(recs["a"].ops)) {
		t.Errorf("%d I/Os at the end, %d arrived", before, len(recs["a"].ops))
	}
	close(live)
	var states []result.Live
	for l := range live {
		states = append(states, l)
	}
	if len(states) < 3 {
		t.Fatalf("%d live states", len(states))
	}
	l := states[len(states)-1]
	for _, s := range states[1:] {
		if s.Dir[0].IOPS > 0 && s.OpenDepth > 0 {
			l = s
		}
	}
	if l.State != "running" || l.Running != 1 || l.Letters != "m" || l.Files != 1 || l.Done <= states[0].Done || l.Left > 600*time.Millisecond ||
		l.Dir[0].IOPS <= 0 || l.Dir[0].P99 < l.Dir[0].P50 || l.OpenDepth == 0 {
		t.Errorf("%+v", l)
	}
}

func TestSeveralTargetsJobsAndCores(t *testing.T) {
	o := runArgs(t, nil,
		"--bs=4k", "--name=a", "--rw=randread", "--filename=driver=rec,name=a", "--filename=driver=rec,name=a2", "--cpus_allowed=0", "--numjobs=2",
		"--name=b", "--rw=randwrite", "--filename=driver=rec,name=b", "--cpus_allowed=1").must(t)
	if len(o.recs["a"].ops) != 512 || len(o.recs["a2"].ops) != 512 || len(o.recs["b"].ops) != 256 || len(o.Jobs) != 3 {
		t.Errorf("%d, %d and %d requests in %d jobs", len(o.recs["a"].ops), len(o.recs["a2"].ops), len(o.recs["b"].ops), len(o.Jobs))
	}
}

// threadFacts are what the kernel says of the calling thread.
type threadFacts struct {
	cpus       []int
	nice, prio int
	policy     int
}

func lookAtThread(t *testing.T) (f threadFacts) {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Error(err)
	}
	for i := range 1024 {
		if set.IsSet(i) {
			f.cpus = append(f.cpus, i)
		}
	}
	tid := unix.Gettid()
	n, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err != nil {
		t.Error(err)
	}
	f.nice = 20 - n
	p, _, _ := unix.Syscall(unix.SYS_IOPRIO_GET, 1, 0, 0)
	f.prio = int(p)
	f.policy = memPolicyOf(t)
	return f
}

func TestWhereAThreadRuns(t *testing.T) {
	facts := func(args ...string) (all []threadFacts) {
		l := new(leaf)
		l.opened = func() { all = append(all, lookAtThread(t)) }
		runLeaf(t, l, append(args, "--rw=read", "--number_ios=4")...).must(t)
		return all
	}
	if f := facts("--cpus_allowed=1"); !slices.Equal(f[0].cpus, []int{1}) {
		t.Errorf("cpus_allowed=1: %v", f)
	}
	if f := facts("--cpumask=1"); !slices.Equal(f[0].cpus, []int{0}) {
		t.Errorf("cpumask=1: %v", f)
	}
	if f := facts("--cpus_allowed=0-1", "--cpus_allowed_policy=split", "--numjobs=2"); len(f[0].cpus) != 1 || len(f[1].cpus) != 1 || f[0].cpus[0] == f[1].cpus[0] {
		t.Errorf("split: %v", f)
	}
	if f := facts("--numa_cpu_nodes=0"); len(f[0].cpus) == 0 {
		t.Errorf("numa_cpu_nodes=0: %v", f)
	}
	if f := facts("--numa_mem_policy=bind:0"); f[0].policy != 2 {
		t.Errorf("numa_mem_policy=bind:0: %v", f)
	}
	if f := facts("--nice=7"); f[0].nice != 7 {
		t.Errorf("nice=7: %v", f)
	}
	if f := facts("--prioclass=3"); f[0].prio>>13 != 3 {
		t.Errorf("prioclass=3: %#x", f[0].prio)
	}
	if f := facts("--prio=6"); f[0].prio != 2<<13|6 {
		t.Errorf("prio=6: %#x", f[0].prio)
	}
	if f := facts(); f[0].nice == 7 || f[0].policy != 0 || f[0].prio>>13 == 3 {
		t.Errorf("a later job has an earlier one's: %+v", f)
	}
}
