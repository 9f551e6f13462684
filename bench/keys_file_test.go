package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
	filedriver "github.com/blkbench/blkbench/protocols/file"
	"github.com/blkbench/blkbench/protocols/null"
)

func realRegistry() *engine.Registry { return engine.NewRegistry(filedriver.Driver(), null.Driver()) }

// runFiles runs a command line on the real drivers. While it runs, look is called now and then.
func runFiles(t *testing.T, look func(*result.Run), args ...string) *outcome {
	t.Helper()
	plan, err := fiojob.ParseArgs(args, fiojob.SystemEnv())
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cfg := Config{Env: &engine.Env{Registry: realRegistry()}, Plan: plan, Version: "test"}
	if look != nil {
		cfg.Status, cfg.StatusEvery = look, 50*time.Millisecond
	}
	res, err := Run(ctx, cfg)
	return &outcome{Run: res, err: err}
}

// inDir is a job on files in dir.
func inDir(dir string, extra ...string) []string {
	return append([]string{"--name=j", "--directory=" + dir, "--bs=4k"}, extra...)
}

func sizes(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		st, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = st.Size()
	}
	return out
}

func TestFilesAreMadeAndNamed(t *testing.T) {
	dir := t.TempDir()
	o := runFiles(t, nil, inDir(dir, "--rw=write", "--size=96k", "--nrfiles=3", "--numjobs=2")...).must(t)
	got := sizes(t, dir)
	for job := range 2 {
		for n := range 3 {
			if got[fmt.Sprintf("j.%d.%d", job, n)] != 32<<10 {
				t.Errorf("%v", got)
			}
		}
	}
	if len(got) != 6 || o.Jobs[0].Dir[1].Bytes != 96<<10 {
		t.Errorf("%v; %d bytes written", got, o.Jobs[0].Dir[1].Bytes)
	}
	dir = t.TempDir()
	runFiles(t, nil, inDir(dir, "--rw=write", "--size=8k", "--filename_format=x-$filenum-$jobname")...).must(t)
	if got := sizes(t, dir); got["x-0-j"] != 8<<10 {
		t.Errorf("filename_format: %v", got)
	}
	a, b := t.TempDir(), t.TempDir()
	runFiles(t, nil, inDir(a+":"+b, "--rw=write", "--size=8k", "--numjobs=2")...).must(t)
	if len(sizes(t, a)) != 1 || len(sizes(t, b)) != 1 {
		t.Errorf("two folders: %v, %v", sizes(t, a), sizes(t, b))
	}
	dir = t.TempDir()
	runFiles(t, nil, "--name=j", "--rw=write", "--size=16k", "--filename="+dir+"/p:"+dir+"/q").must(t)
	if got := sizes(t, dir); got["p"] != 8<<10 || got["q"] != 8<<10 {
		t.Errorf("two names: %v", got)
	}
}

func TestOpenDirUsesEveryFile(t *testing.T) {
	dir := t.TempDir()
	for i := range 4 {
		sub := filepath.Join(dir, fmt.Sprint(i%2))
		if err := errors.Join(os.MkdirAll(sub, 0o755), os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), make([]byte, 16<<10), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	o := runFiles(t, nil, "--name=j", "--opendir="+dir, "--rw=read", "--bs=4k").must(t)
	if len(o.Jobs[0].Targets) != 4 || o.Jobs[0].Dir[0].IOs != 16 {
		t.Errorf("%d targets, %d reads", len(o.Jobs[0].Targets), o.Jobs[0].Dir[0].IOs)
	}
}

func TestFileSizes(t *testing.T) {
	dir := t.TempDir()
	o := runFiles(t, nil, inDir(dir, "--rw=write", "--filesize=16k", "--nrfiles=2")...).must(t)
	if got := sizes(t, dir); got["j.0.0"] != 16<<10 || o.Jobs[0].Dir[1].Bytes != 32<<10 {
		t.Errorf("filesize=16k: %v, %d bytes", got, o.Jobs[0].Dir[1].Bytes)
	}
	dir = t.TempDir()
	runFiles(t, nil, inDir(dir, "--rw=write", "--filesize=16k-256k", "--nrfiles=8")...).must(t)
	distinct := map[int64]bool{}
	for name, n := range sizes(t, dir) {
		if distinct[n] = true; n < 16<<10 || n > 256<<10 {
			t.Errorf("%s has %d bytes", name, n)
		}
	}
	if len(distinct) < 4 {
		t.Errorf("filesize=16k-256k: only %d sizes", len(distinct))
	}
}

func TestSpans(t *testing.T) {
	for _, c := range []struct {
		args        []string
		first, last int64
		n           int
	}{
		{nil, 0, 1<<20 - 4096, 256},
		{[]string{"--size=64k"}, 0, 60 << 10, 16},
		{[]string{"--size=25%"}, 0, 252 << 10, 64},
		{[]string{"--offset=512k"}, 512 << 10, 1<<20 - 4096, 128},
		{[]string{"--offset=50%", "--size=64k"}, 512 << 10, 572 << 10, 16},
		{[]string{"--offset=33%", "--offset_align=64k", "--number_ios=2"}, 384 << 10, 388 << 10, 2},
		{[]string{"--offset_increment=256k", "--size=64k", "--numjobs=2"}, 0, 316 << 10, 32},
		{[]string{"--io_size=64k"}, 0, 60 << 10, 16},
		{[]string{"--io_size=50%"}, 0, 508 << 10, 128},
		{[]string{"--size=64k", "--io_size=128k"}, 0, 60 << 10, 32},
		{[]string{"--number_ios=5"}, 0, 16 << 10, 5},
		{[]string{"--size=10000"}, 0, 4096, 2},
	} {
		o := runArgs(t, nil, job(append(c.args, "--rw=read")...)...).must(t)
		got := o.offsets(engine.OpRead)
		if len(got) != c.n || slices.Min(got) != c.first || slices.Max(got) != c.last {
			t.Errorf("%v: %d reads from %d to %d, want %d from %d to %d", c.args, len(got), slices.Min(got), slices.Max(got), c.n, c.first, c.last)
		}
	}
}

func TestFileAppendWritesBehindTheEnd(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, []byte(strings.Repeat("x", 8192)), 0o600); err != nil {
		t.Fatal(err)
	}
	runFiles(t, nil, "--name=j", "--filename="+name, "--rw=write", "--size=16k", "--file_append=1", "--bs=4k").must(t)
	b, err := os.ReadFile(name)
	if err != nil || len(b) != 24<<10 || strings.Trim(string(b[:8192]), "x") != "" {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// many is a job on n recorders called 0 to n-1.
func many(n int, extra ...string) []string {
	args := []string{"--name=j", "--bs=4k", "--rw=read"}
	for i := range n {
		args = append(args, fmt.Sprintf("--filename=driver=rec,name=%d,size=16k", i))
	}
	return append(args, extra...)
}

// order is the file of each request, in order of arrival.
func order(o *outcome) string {
	type at struct {
		t    time.Time
		name string
	}
	var all []at
	for name, r := range o.recs {
		for _, op := range r.ops {
			all = append(all, at{op.at, name})
		}
	}
	slices.SortFunc(all, func(a, b at) int { return a.t.Compare(b.t) })
	var b strings.Builder
	for _, a := range all {
		b.WriteString(a.name)
	}
	return b.String()
}

func TestFileServiceTypes(t *testing.T) {
	fiotest.Long(t)
	for arg, want := range map[string]string{
		"roundrobin": "012301230123" + "0123", "roundrobin:2": "0011223300112233", "sequential": "0000111122223333",
	} {
		if got := order(runArgs(t, nil, many(4, "--file_service_type="+arg)...).must(t)); got != want {
			t.Errorf("%s: %s", arg, got)
		}
	}
	for _, arg := range []string{"random", "zipf:1.2", "pareto:0.9", "normal:20"} {
		o := runArgs(t, nil, many(4, "--file_service_type="+arg, "--norandommap", "--rw=randread", "--io_size=4M")...).must(t)
		n := map[rune]int{}
		for _, c := range order(o) {
			n[c]++
		}
		most, least := 0, 1<<30
		for _, v := range n {
			most, least = max(most, v), min(least, v)
		}
		if even := float64(most) < 1.3*float64(least); len(n) < 2 || even != (arg == "random") && arg != "pareto:0.9" && arg != "normal:20" {
			t.Errorf("%s: %v", arg, n)
		}
	}
}

func TestOpenFilesBoundsHowManyAreOpen(t *testing.T) {
	open := func(args ...string) (most int) {
		now := map[string]int{}
		prepare := func(name string, r *recorder) {
			r.moved = func(d int) {
				now[name] += d
				sum := 0
				for _, v := range now {
					sum += v
				}
				most = max(most, sum)
			}
		}
		o := runArgs(t, prepare, many(6, args...)...).must(t)
		if got := len(order(o)); got != 24 {
			t.Errorf("%v: %d requests", args, got)
		}
		return most
	}
	if got := open(); got != 6 {
		t.Errorf("%d files are open, want all 6", got)
	}
	if got := open("--openfiles=2"); got > 3 { // one more while the files are looked at before the run
		t.Errorf("openfiles=2: %d files are open", got)
	}
	o := runArgs(t, nil, many(6, "--openfiles=2")...).must(t)
	if got := order(o); got != "010101012323232345454545" {
		t.Errorf("openfiles=2: %s", got)
	}
}

func TestFilesComeAndGo(t *testing.T) {
	dir := t.TempDir()
	o := runFiles(t, nil, inDir(dir, "--rw=write", "--size=16k", "--create_only=1")...).must(t)
	if got := sizes(t, dir); got["j.0.0"] != 16<<10 || o.Jobs[0].Dir[1].IOs != 0 {
		t.Errorf("create_only: %v, %d writes", got, o.Jobs[0].Dir[1].IOs)
	}
	runFiles(t, nil, inDir(dir, "--rw=read", "--size=16k", "--unlink=1")...).must(t)
	if got := sizes(t, dir); len(got) != 0 {
		t.Errorf("unlink: %v", got)
	}
	o = runFiles(t, nil, inDir(dir, "--rw=write", "--size=16k", "--unlink_each_loop=1", "--loops=3")...).must(t)
	if got := sizes(t, dir); len(got) != 0 || o.Jobs[0].Dir[1].IOs != 12 {
		t.Errorf("unlink_each_loop: %v, %d writes", got, o.Jobs[0].Dir[1].IOs)
	}
	o = runFiles(t, nil, inDir(dir, "--rw=write", "--size=16k", "--allow_file_create=0")...)
	if o.err == nil || len(sizes(t, dir)) != 0 {
		t.Errorf("allow_file_create=0: %v, %v", o.err, sizes(t, dir))
	}
	runFiles(t, nil, inDir(dir, "--rw=write", "--size=16k", "--create_on_open=1", "--nrfiles=2")...).must(t)
	if got := sizes(t, dir); got["j.0.1"] != 8<<10 {
		t.Errorf("create_on_open: %v", got)
	}
}

// cached is how many pages of a file are in the page cache.
func cached(t *testing.T, name string) uint64 {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &st, 0); err != nil {
		t.Skipf("requires cachestat(2): %v", err)
	}
	return st.Cache
}

// onDisk is a folder of a file system with a page cache of its own kind: not tmpfs.
func onDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type == unix.TMPFS_MAGIC {
		t.Skipf("requires a TMPDIR on a disk, not tmpfs")
	}
	return dir
}

func TestPageCacheKeys(t *testing.T) {
	fiotest.Long(t)
	dir := onDisk(t)
	name := filepath.Join(dir, "j.0.0")
	pages := func(args ...string) uint64 {
		runFiles(t, nil, inDir(dir, append(args, "--rw=read", "--size=4M", "--number_ios=1", "--fadvise_hint=random")...)...).must(t)
		return cached(t, name)
	}
	pages()
	if got := pages("--pre_read=1"); got < 1000 {
		t.Errorf("pre_read: %d of 1024 pages are cached", got)
	}
	if got := pages("--invalidate=0"); got < 1000 {
		t.Errorf("invalidate=0: %d of 1024 pages are cached", got)
	}
	if got := pages("--invalidate=1"); got > 300 {
		t.Errorf("invalidate=1: %d of 1024 pages are cached", got)
	}
	all := func(args ...string) uint64 {
		runFiles(t, nil, inDir(dir, append(args, "--rw=read", "--size=4M", "--ioengine=io_uring")...)...).must(t)
		return cached(t, name)
	}
	if got := all(); got < 1000 {
		t.Errorf("read through the page cache: %d pages are there", got)
	}
	if got := all("--direct=1"); got > 100 {
		t.Errorf("direct=1: %d pages are there", got)
	}
	if got := all("--buffered=0"); got > 100 {
		t.Errorf("buffered=0: %d pages are there", got)
	}
	plan := runFiles(t, nil, inDir(dir, "--rw=read", "--size=4M", "--uncached=1", "--ioengine=io_uring")...)
	if errors.Is(plan.err, unix.EOPNOTSUPP) {
		t.Logf("uncached: this kernel or file system has it not")
	} else if got := cached(t, name); plan.err != nil || got > 300 {
		t.Errorf("uncached=1: %v, %d pages are there", plan.err, got)
	}
}

func TestNoWaitFailsRatherThanWaits(t *testing.T) {
	dir := onDisk(t)
	o := runFiles(t, nil, inDir(dir, "--rw=randread", "--size=4M", "--nowait=1", "--continue_on_error=read", "--ioengine=io_uring")...).must(t)
	j := &o.Jobs[0]
	if j.TotalErrors == 0 || !strings.Contains(j.Errors[0].Text, "temporarily unavailable") {
		t.Errorf("%d errors of %d reads: %+v", j.TotalErrors, j.Dir[0].IOs, j.Errors)
	}
}

// ringFacts is what the kernel shows of the process's rings.
func ringFacts(t *testing.T) string {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Error(err)
	}
	var all strings.Builder
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); to == "anon_inode:[io_uring]" {
			b, _ := os.ReadFile("/proc/self/fdinfo/" + fd.Name())
			all.Write(b)
		}
	}
	return all.String()
}

func TestRingKeys(t *testing.T) {
	fiotest.Long(t)
	dir := t.TempDir()
	facts := func(args ...string) (ring string, o *outcome) {
		look := func(*result.Run) {
			if f := ringFacts(t); strings.Contains(f, "SqThread:") { // else the ring was in use at the moment
				ring = f
			}
		}
		o = runFiles(t, look, inDir(dir, append([]string{"--rw=randread", "--size=1M", "--time_based", "--runtime=300ms", "--rate_iops=500", "--ioengine=io_uring"}, args...)...)...).must(t)
		if ring == "" {
			t.Skipf("requires io_uring and its facts in /proc/self/fdinfo")
		}
		return ring, o
	}
	const file, buffer, noThread = "j.0.0", ": 0x", "SqThread:\t-1"
	ring, o := facts()
	if !strings.Contains(ring, file) || !strings.Contains(ring, buffer) || !strings.Contains(ring, noThread) {
		t.Errorf("by default:\n%s", ring)
	}
	if e := o.Jobs[0].Engine; !strings.Contains(e, "registered buffers, registered files") {
		t.Errorf("the result says %q", e)
	}
	if n := o.Jobs[0].CPUKernelThreads; n != 0 {
		t.Errorf("kernel threads have worked for %v", n)
	}
	if ring, _ = facts("--fixedbufs=0"); strings.Contains(ring, buffer) || !strings.Contains(ring, file) {
		t.Errorf("fixedbufs=0:\n%s", ring)
	}
	if ring, _ = facts("--registerfiles=0"); strings.Contains(ring, file) || !strings.Contains(ring, buffer) {
		t.Errorf("registerfiles=0:\n%s", ring)
	}
	ring, o = facts("--sqthread_poll=1")
	if strings.Contains(ring, noThread) || o.Jobs[0].CPUKernelThreads < time.Millisecond {
		t.Errorf("sqthread_poll: %v of kernel CPU time\n%s", o.Jobs[0].CPUKernelThreads, ring)
	}
	if ring, _ = facts("--sqthread_poll_cpu=1"); !strings.Contains(ring, "SqThreadCpu:\t1") {
		t.Errorf("sqthread_poll_cpu=1:\n%s", ring)
	}
	if _, o = facts("--force_async=2"); o.Jobs[0].CPUKernelThreads == 0 {
		t.Error("force_async: no kernel thread has worked")
	}
}

func TestEngines(t *testing.T) {
	fiotest.Long(t)
	dir := t.TempDir()
	for arg, want := range map[string]string{
		"io_uring": "io_uring", "libaio": "io_uring", "psync": "psync", "sync": "psync", "pvsync2": "psync",
	} {
		o := runFiles(t, nil, inDir(dir, "--rw=randrw", "--size=64k", "--ioengine="+arg)...).must(t)
		if j := &o.Jobs[0]; !strings.Contains(j.Engine, want) || j.Dir[0].IOs+j.Dir[1].IOs != 16 {
			t.Errorf("%s: %q, %d I/Os", arg, j.Engine, j.Dir[0].IOs+j.Dir[1].IOs)
		}
	}
	o := runFiles(t, nil, "--name=n", "--ioengine=null", "--size=1G", "--rw=randrw", "--iodepth=32", "--number_ios=10000").must(t)
	if j := &o.Jobs[0]; j.Engine != "null" || j.Dir[0].IOs+j.Dir[1].IOs != 10000 {
		t.Errorf("null: %q, %d I/Os", j.Engine, j.Dir[0].IOs)
	}
	o = runFiles(t, nil, "--name=n", "--filename=null-co://", "--size=1G", "--rw=read", "--bs=1M").must(t)
	if o.Jobs[0].Dir[0].Bytes != 1<<30 {
		t.Errorf("null-co://: %d bytes", o.Jobs[0].Dir[0].Bytes)
	}
}

func TestDiskUtil(t *testing.T) {
	dir := onDisk(t)
	o := runFiles(t, nil, inDir(dir, "--rw=write", "--size=8M", "--bs=64k", "--end_fsync=1")...).must(t)
	if len(o.Disks) == 0 && len(o.Jobs[0].Targets) > 0 && o.Jobs[0].Targets[0].Block != nil {
		t.Errorf("no disk, although the file is on %s", o.Jobs[0].Targets[0].Block.Name)
	}
	o = runFiles(t, nil, inDir(dir, "--rw=read", "--size=8M", "--disk_util=0")...).must(t)
	if len(o.Disks) != 0 {
		t.Errorf("disk_util=0: %v", o.Disks)
	}
}

func TestMissingTargetIsAClearError(t *testing.T) {
	dir := t.TempDir()
	o := runFiles(t, nil, "--name=j", "--rw=read", "--filename="+filepath.Join(dir, "nothing"))
	if o.err == nil || !strings.Contains(o.err.Error(), "nothing") || !strings.Contains(o.err.Error(), "size") {
		t.Errorf("%v", o.err)
	}
}

// TestHelperProcess is no test: it is what straced runs.
func TestHelperProcess(t *testing.T) {
	text := os.Getenv("BENCH_TEST_ARGS")
	if text == "" {
		return
	}
	var args []string
	if err := json.Unmarshal([]byte(text), &args); err != nil {
		t.Fatal(err)
	}
	runFiles(t, nil, args...).must(t)
}

// straced runs a command line in a process of its own and returns the system calls asked for.
func straced(t *testing.T, calls string, args ...string) string {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatal("requires strace")
		}
		t.Skip("requires strace")
	}
	text, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "strace")
	c := exec.CommandContext(t.Context(), strace, "-f", "-o", log, "-e", "trace="+calls, os.Args[0], "-test.run=^TestHelperProcess$")
	c.Env = append(os.Environ(), "BENCH_TEST_ARGS="+string(text))
	if out, err := c.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "ptrace") {
			t.Skipf("requires ptrace: %s", out)
		}
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSystemCallsOfKeys(t *testing.T) {
	fiotest.Long(t)
	dir := t.TempDir()
	got := straced(t, "sync_file_range,fadvise64,fcntl,pwritev2,fdatasync,fsync", append([]string{"--ioengine=psync"},
		inDir(dir, "--rw=randwrite", "--size=64k", "--sync_file_range=wait_before,write:8", "--write_hint=short", "--sync=dsync")...)...)
	for what, n := range map[string]int{
		"SYNC_FILE_RANGE_WAIT_BEFORE|SYNC_FILE_RANGE_WRITE) = 0": 2, "POSIX_FADV_RANDOM": 1, "F_SET_RW_HINT": 1, // 0x40c, where strace knows no name
		"RWF_DSYNC": 16,
	} {
		if k := strings.Count(strings.ReplaceAll(got, "0x40c", "F_SET_RW_HINT"), what); k != n {
			t.Errorf("%s: %d times, want %d:\n%s", what, k, n, got)
		}
	}
	got = straced(t, "fadvise64,fsync,fallocate", inDir(dir, "--rw=read", "--size=128k", "--fadvise_hint=0", "--invalidate=0", "--fallocate=keep")...)
	if strings.Contains(got, "FADV_") || !strings.Contains(got, "fsync(") {
		t.Errorf("fadvise_hint=0, create_fsync=1:\n%s", got)
	}
	for how, want := range map[string]string{"none": "", "posix": ", 0, 0, 131072) ", "keep": ", FALLOC_FL_KEEP_SIZE, 0, 131072) "} {
		got = straced(t, "fallocate,fsync", inDir(t.TempDir(), "--rw=write", "--size=128k", "--fallocate="+how)...)
		if want == "" && strings.Contains(got, "fallocate(") || !strings.Contains(got, want) {
			t.Errorf("fallocate=%s:\n%s", how, got)
		}
	}
}

func TestDirectoriesAreTakenInTurn(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	runFiles(t, nil, "--name=j", "--directory="+a+":"+b, "--numjobs=2", "--rw=write", "--bs=4k", "--size=8k").must(t)
	for dir, name := range map[string]string{a: "j.0.0", b: "j.1.0"} {
		if got := sizes(t, dir); len(got) != 1 || got[name] != 8<<10 {
			t.Errorf("%s: %v, want %s", dir, got, name)
		}
	}
}

// TestOverwriteLaysOutBeforeWriting writes one block: with overwrite the rest of the file was written before.
func TestOverwriteLaysOutBeforeWriting(t *testing.T) {
	blocks := func(args ...string) int64 {
		dir := t.TempDir()
		runFiles(t, nil, inDir(dir, append(args, "--rw=write", "--size=1M", "--fallocate=none", "--io_size=4k")...)...).must(t)
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, "j.0.0"), &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks
	}
	if got := blocks(); got > 64<<10>>9 {
		t.Errorf("%d sectors are there before anything was said about overwriting", got)
	}
	if got := blocks("--overwrite=1"); got < 1<<20>>9 {
		t.Errorf("overwrite=1: %d sectors of 1 MiB are there", got)
	}
}

func TestKBBaseSaysWhatKMeans(t *testing.T) {
	for base, want := range map[string]int64{"1024": 8 << 10, "1000": 8000} {
		dir := t.TempDir()
		runFiles(t, nil, "--name=j", "--directory="+dir, "--kb_base="+base, "--rw=write", "--bs=1k", "--size=8k").must(t)
		if got := sizes(t, dir)["j.0.0"]; got != want {
			t.Errorf("kb_base=%s: 8k are %d bytes, want %d", base, got, want)
		}
	}
}
