package host_test

import (
	"slices"
	"testing"
	"time"

	"github.com/blkbench/blkbench/bench/host"
	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/bench/result"
)

// uniform is a distribution of n equal values.
type uniform struct{ n uint64 }

func (u uniform) Count() uint64                             { return u.n }
func (u uniform) Min() uint64                               { return 1000 }
func (u uniform) Max() uint64                               { return 1000 }
func (u uniform) Mean() float64                             { return 1000 }
func (u uniform) StdDev() float64                           { return 0 }
func (u uniform) Percentile(float64) uint64                 { return 1000 }
func (u uniform) Buckets(yield func(lo, hi, n uint64) bool) { yield(1000, 1000, u.n) }

// good is a run without a fault on the machine: long, direct, on a whole device, synced.
func good(t *testing.T, f files, path string) *result.Run {
	t.Helper()
	s, _ := machine(t, f, nodes())
	j := result.Job{
		Name: "job", RW: "randrw", Depth: 32, DepthHist: [7]uint64{0, 0, 0, 0, 0, 1000000, 0}, Engine: "io_uring", IntervalLength: time.Second,
		Options: []result.KV{{Key: "direct", Value: "1"}, {Key: "fsync", Value: "64"}, {Key: "numa_cpu_nodes", Value: "1"}}, MallocsKnown: true,
	}
	for d := range 2 {
		j.Dir[d] = result.Dir{IOs: 1e6, Bytes: 4096e6, Runtime: time.Minute, Clat: uniform{1e6}, IOPSMean: 1e6 / 60}
	}
	for i := range 60 {
		step := result.Interval{Start: time.Duration(i) * time.Second, Len: time.Second}
		step.Dir[0].IOs = 16000
		j.Series = append(j.Series, step)
	}
	x := target(t, s, path)
	if x.Size == 0 {
		x.Size = 1 << 40
	}
	j.Targets = []result.Target{x}
	return &result.Run{Jobs: []result.Job{j}, Host: s.Host()}
}

const big = "/mnt/big disk/f"

func set(r *result.Run, key, value string) {
	j := &r.Jobs[0]
	j.Options = slices.DeleteFunc(slices.Clone(j.Options), func(o result.KV) bool { return o.Key == key })
	if value != "" {
		j.Options = append(j.Options, result.KV{Key: key, Value: value})
	}
}

// provocations make each hint speak, by facts of the machine or by what a run was.
var provocations = map[string]func(t *testing.T) *result.Run{
	"interrupted": change(func(r *result.Run) { r.Interrupted = true }),
	"errors":      change(func(r *result.Run) { r.Jobs[0].TotalErrors = 3 }),
	"sparse-file": func(t *testing.T) *result.Run { return good(t, server, "/mnt/big disk/holes") },
	"unwritten-extents": func(t *testing.T) *result.Run {
		r := good(t, server, big)
		r.Jobs[0].Targets[0].Unwritten = 2 << 30
		return r
	},
	"fits-page-cache": change(func(r *result.Run) { set(r, "direct", "0") }),
	"buffered-reads": func(t *testing.T) *result.Run {
		r := good(t, server, "/mnt/big disk/huge")
		set(r, "direct", "")
		return r
	},
	"buffered-writes": change(func(r *result.Run) { set(r, "buffered", "1"); set(r, "fsync", "0") }),
	"zero-data":       change(func(r *result.Run) { set(r, "buffer_pattern", "0x00") }),
	"steady-state-missed": change(func(r *result.Run) {
		r.Jobs[0].Steady = &result.SteadyState{Expr: "iops:5%"}
	}),
	"drifting": change(func(r *result.Run) {
		for i := range r.Jobs[0].Series[30:] {
			r.Jobs[0].Series[30+i].Dir[0].IOs = 8000
		}
	}),
	"rate-missed":        change(func(r *result.Run) { set(r, "rate_iops", "20k,1k") }),
	"cpu-steal":          change(func(r *result.Run) { r.Host.Steal = 3 }),
	"host-busy":          facts(files{"proc/loadavg": "20.0 1 1 1/1 1"}),
	"governor-powersave": facts(files{"sys/devices/system/cpu/cpufreq/policy1/scaling_governor": "powersave"}),
	"clock-source":       facts(files{"sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet"}),
	"depth-ignored":      change(func(r *result.Run) { r.Jobs[0].DepthHist = [7]uint64{1e6} }),
	"short-run": change(func(r *result.Run) {
		r.Jobs[0].Dir[0].Runtime, r.Jobs[0].Dir[1].Runtime = 2*time.Second, time.Second
	}),
	"few-samples": change(func(r *result.Run) { r.Jobs[0].Percentiles = []float64{50, 99.9999} }),
	"small-range": func(t *testing.T) *result.Run { return good(t, server, "/mnt/big disk/small") },
	"write-cache": func(t *testing.T) *result.Run {
		r := good(t, server.with(files{"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/write_cache": "write back"}), big)
		set(r, "fsync", "")
		return r
	},
	"small-blocks":            change(func(r *result.Run) { r.Jobs[0].Dir[1].Bytes = 512e6 }),
	"device-signature":        func(t *testing.T) *result.Run { return good(t, server, "/dev/nvme0n1p1") },
	"in-memory":               func(t *testing.T) *result.Run { return good(t, server, "/dev/shm/f") },
	"remote-file-system":      func(t *testing.T) *result.Run { return good(t, server, "/mnt/nfs/f") },
	"compressing-file-system": func(t *testing.T) *result.Run { return good(t, server, "/mnt/btrfs/f") },
	"loop-device":             func(t *testing.T) *result.Run { return good(t, server, "/mnt/loop/f") },
	"io-scheduler":            facts(files{"sys/devices/pci0/nvme/nvme0/nvme0n1/queue/scheduler": "none [bfq]"}),
	"no-poll-queues":          change(func(r *result.Run) { set(r, "hipri", "1") }),
	"numa-remote":             change(func(r *result.Run) { set(r, "numa_cpu_nodes", "") }),
	"rotational": func(t *testing.T) *result.Run {
		r := good(t, server, big)
		r.Jobs[0].Targets[0].Block.Name, r.Jobs[0].Targets[0].Block.Rotational = "vda", true
		return r
	},
	"governor-dynamic": facts(files{"sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "schedutil"}),
	"turbo":            change(func(r *result.Run) { r.Host.Busy = 95 }),
	"cpu-limit":        facts(files{"sys/fs/cgroup/user.slice/cpu.max": "50000 100000"}),
	"virtual-machine":  facts(files{"proc/cpuinfo": "flags : hypervisor"}),
	"heap-allocations": change(func(r *result.Run) { r.Jobs[0].Mallocs = 50000 }),
}

func change(f func(r *result.Run)) func(t *testing.T) *result.Run {
	return func(t *testing.T) *result.Run {
		r := good(t, server, big)
		f(r)
		return r
	}
}

func facts(more files) func(t *testing.T) *result.Run {
	return func(t *testing.T) *result.Run { return good(t, server.with(more), big) }
}

func keys(list []result.Hint) (out []string) {
	for _, h := range list {
		out = append(out, h.Key)
	}
	return out
}

func TestAGoodRunHasNoHints(t *testing.T) {
	for _, path := range []string{big, "/mnt/big disk/huge"} {
		if h := host.Hints(good(t, server, path)); len(h) > 0 {
			t.Errorf("%s: %+v", path, h)
		}
	}
	if h := host.Hints(&result.Run{}); len(h) > 0 {
		t.Errorf("no jobs: %+v", h)
	}
	if h := host.Hints(&result.Run{Jobs: make([]result.Job, 2)}); len(h) > 0 {
		t.Errorf("jobs without anything: %+v", h)
	}
}

func TestEveryHintCanBeProvoked(t *testing.T) {
	fiotest.Long(t)
	for _, key := range host.Keys() {
		t.Run(key, func(t *testing.T) {
			f := provocations[key]
			if f == nil {
				t.Fatal("nothing provokes it")
			}
			got := host.Hints(f(t))
			if !slices.Contains(keys(got), key) {
				t.Fatalf("it did not speak; %v", keys(got))
			}
			for _, h := range got {
				if h.Text == "" || h.Severity != "warn" && h.Severity != "note" {
					t.Errorf("%+v", h)
				}
				// What provokes one hint must not wake others, apart from those that follow from it.
				if h.Key != key && !follows[key][h.Key] {
					t.Errorf("%s spoke as well: %s", h.Key, h.Text)
				}
			}
		})
	}
	if len(provocations) != len(host.Keys()) {
		t.Errorf("%d provocations, %d hints", len(provocations), len(host.Keys()))
	}
}

// follows are hints that come with another by nature.
var follows = map[string]map[string]bool{
	"buffered-writes": {"fits-page-cache": true},
}

func TestHintsNameTheJobsTheyAreAbout(t *testing.T) {
	r := good(t, server, big)
	one, two := r.Jobs[0], r.Jobs[0]
	one.Name, two.Name = "one", "two"
	two.TotalErrors = 1
	r.Jobs = []result.Job{one, two}
	h := host.Hints(r)
	if len(h) != 1 || h[0].Text[:5] != "two: " {
		t.Errorf("%+v", h)
	}
	r.Jobs[0].TotalErrors = 5
	if h := host.Hints(r); len(h) != 1 || h[0].Text[:10] != "5 requests" {
		t.Errorf("%+v", h)
	}
}

func TestWarningsComeFirst(t *testing.T) {
	r := good(t, server.with(files{"sys/fs/cgroup/user.slice/cpu.max": "50000 100000", "proc/loadavg": "99 1 1 1/1 1"}), "/dev/shm/f")
	r.Interrupted = true
	var severities []string
	for _, h := range host.Hints(r) {
		severities = append(severities, h.Severity)
	}
	if len(severities) < 4 || !slices.IsSortedFunc(severities, func(a, b string) int { return -compare(a, b) }) {
		t.Errorf("%v", severities)
	}
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// TestUnifiedRunsAreJudgedByTheirSum: with only the sum known, reads and writes follow from the workload.
func TestUnifiedRunsAreJudgedByTheirSum(t *testing.T) {
	r := good(t, server, big)
	j := &r.Jobs[0]
	sum := j.Dir[0]
	j.Mixed, j.Unified, j.Dir = &sum, true, [4]result.Dir{}
	j.RW = "randread"
	set(r, "direct", "0")
	set(r, "fsync", "")
	if got := keys(host.Hints(r)); !slices.Equal(got, []string{"fits-page-cache"}) {
		t.Errorf("reads: %v", got)
	}
	j.RW = "randwrite"
	if got := keys(host.Hints(r)); !slices.Equal(got, []string{"buffered-writes"}) {
		t.Errorf("writes: %v", got)
	}
}
