package host

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blkbench/blkbench/bench/internal/series"
	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// rules are all hints, the gravest first within a severity.
var rules = []rule{
	{key: "interrupted", severity: warn, run: func(r *result.Run) string {
		if !r.Interrupted {
			return ""
		}
		return "The run was interrupted: the figures are those up to then."
	}},
	{key: "errors", severity: warn, job: func(_ *result.Run, j *result.Job) string {
		if j.TotalErrors == 0 || issued(j) == 0 {
			return ""
		}
		return fmt.Sprintf("%d requests failed: they count for the rate and for the latency in the way that the errors came.", j.TotalErrors)
	}},
	{key: "sparse-file", severity: warn, job: sparse},
	{key: "unwritten-extents", severity: warn, job: unwrittenExtents},
	{key: "fits-page-cache", severity: warn, job: fitsPageCache},
	{key: "buffered-reads", severity: warn, job: func(r *result.Run, j *result.Job) string {
		if !reads(j) || direct(r, j) || !kernelCached(j) || fitsPageCache(r, j) != "" {
			return ""
		}
		return "Reads go through the page cache (direct=0): some of them come from memory. `direct=1` measures the device."
	}},
	{key: "buffered-writes", severity: warn, job: func(r *result.Run, j *result.Job) string {
		if !writes(j) || direct(r, j) || !kernelCached(j) || synced(r, j) {
			return ""
		}
		return "Writes end in the page cache (direct=0, no fsync): what was measured is memory, until the kernel writes back. Use `direct=1`, `fsync=`, or `end_fsync=1`."
	}},
	{key: "zero-data", severity: warn, job: zeroData},
	{key: "steady-state-missed", severity: warn, job: func(_ *result.Run, j *result.Job) string {
		if j.Steady == nil || j.Steady.Attained {
			return ""
		}
		return fmt.Sprintf("The steady state that was asked for (%s) was not reached.", j.Steady.Expr)
	}},
	{key: "drifting", severity: warn, job: drifting},
	{key: "rate-missed", severity: warn, job: rateMissed},
	{key: "cpu-steal", severity: warn, run: func(r *result.Run) string {
		if r.Host.Steal < 1 {
			return ""
		}
		return fmt.Sprintf("The hypervisor took %s of the CPU time: latency holds waits that have nothing to do with storage.", percent(r.Host.Steal))
	}},
	{key: "host-busy", severity: warn, run: func(r *result.Run) string {
		if r.Host.Cores == 0 || r.Host.Load < 0.5*float64(r.Host.Cores) {
			return ""
		}
		return fmt.Sprintf("The machine was busy before the run: load %.1f on %d CPUs.", r.Host.Load, r.Host.Cores)
	}},
	{key: "governor-powersave", severity: warn, run: func(r *result.Run) string {
		if !strings.Contains(r.Host.Governor, "powersave") {
			return ""
		}
		return "The CPU frequency governor is powersave: latency holds the time that the CPU takes to speed up. `cpupower frequency-set -g performance`"
	}},
	{key: "clock-source", severity: warn, run: func(r *result.Run) string {
		c := fact(r.Host.Facts, "clock source")
		if c == "" || slices.Contains([]string{"tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page"}, c) {
			return ""
		}
		return fmt.Sprintf("The kernel's clock source is %s, which is slow to read: every stamp costs.", c)
	}},
	{key: "depth-ignored", severity: warn, job: depthIgnored},
	{key: "short-run", severity: note, job: shortRun},
	{key: "few-samples", severity: note, job: fewSamples},
	{key: "small-range", severity: note, job: smallRange},
	{key: "write-cache", severity: note, job: writeCache},
	{key: "small-blocks", severity: note, job: smallBlocks},
	{key: "device-signature", severity: note, job: func(_ *result.Run, j *result.Job) string {
		for i := range j.Targets {
			if t := &j.Targets[i]; t.Signature != "" && t.FS == "" {
				return fmt.Sprintf("%s holds %s.", t.Name, t.Signature)
			}
		}
		return ""
	}},
	{key: "in-memory", severity: note, job: inMemory},
	{key: "remote-file-system", severity: note, job: remoteFS},
	{key: "compressing-file-system", severity: note, job: compressingFS},
	{key: "loop-device", severity: note, job: func(_ *result.Run, j *result.Job) string {
		for _, t := range onDisk(j) {
			if strings.HasPrefix(t.Block.Name, "loop") {
				return fmt.Sprintf("%s is a loop device over %s: its file system takes part, and may cache.", t.Block.Name, t.Block.Model)
			}
		}
		return ""
	}},
	{key: "io-scheduler", severity: note, job: func(_ *result.Run, j *result.Job) string {
		for _, t := range onDisk(j) {
			if b := t.Block; strings.HasPrefix(b.Name, "nvme") && b.Scheduler != "" && b.Scheduler != "none" {
				return fmt.Sprintf("%s uses the I/O scheduler %s, which costs CPU time and a lock; `none` is usual for NVMe.", b.Name, b.Scheduler)
			}
		}
		return ""
	}},
	{key: "no-poll-queues", severity: note, job: func(r *result.Run, j *result.Job) string {
		if !isOn(r, j, "hipri") {
			return ""
		}
		for _, t := range onDisk(j) {
			if !t.Block.Polling {
				return fmt.Sprintf("hipri asks for polled completions, but %s has no poll queues: completions came by interrupt. (nvme.poll_queues=)", t.Block.Name)
			}
		}
		return ""
	}},
	{key: "numa-remote", severity: note, job: numaRemote},
	{key: "rotational", severity: note, job: rotational},
	{key: "governor-dynamic", severity: note, run: func(r *result.Run) string {
		for _, g := range []string{"ondemand", "conservative", "schedutil"} {
			if strings.Contains(r.Host.Governor, g) {
				return fmt.Sprintf("The CPU frequency governor is %s: the clock follows the load, and so does latency at low depth.", g)
			}
		}
		return ""
	}},
	{key: "turbo", severity: note, run: func(r *result.Run) string {
		if r.Host.Turbo != "on" || r.Host.Busy < 80 {
			return ""
		}
		return fmt.Sprintf("The CPUs were %s busy with turbo on: the result depends on their temperature.", percent(r.Host.Busy))
	}},
	{key: "cpu-limit", severity: note, run: func(r *result.Run) string {
		c := fact(r.Host.Facts, "cgroup CPU limit")
		if c == "" {
			return ""
		}
		return fmt.Sprintf("The control group allows %s: a thread that has used its share is stopped until the next period, which shows in the tail.", c)
	}},
	{key: "virtual-machine", severity: note, run: func(r *result.Run) string {
		if !strings.Contains(r.Host.Virtual, "virtual machine") && !strings.Contains(r.Host.Virtual, "guest") {
			return ""
		}
		return "This is a " + r.Host.Virtual + ": the host's caches, throttles and other guests take part in the result."
	}},
	{key: "heap-allocations", severity: note, job: func(_ *result.Run, j *result.Job) string {
		if n := issued(j); !j.MallocsKnown || n == 0 || float64(j.Mallocs) < 0.001*float64(n) || j.Mallocs < 1000 {
			return ""
		}
		return fmt.Sprintf("%d heap allocations happened in the measured window, where there should be none: the collector may have taken part.", j.Mallocs)
	}},
}

func fact(list []result.KV, key string) string {
	for _, f := range list {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}

func sparse(_ *result.Run, j *result.Job) string {
	if !reads(j) {
		return ""
	}
	for _, t := range onFile(j) {
		if t.Size > 0 && t.Allocated >= 0 && t.Allocated < t.Size/100*98 && !strings.Contains(t.MountOpts, "compress") && t.FS != "zfs" {
			return fmt.Sprintf("%s of %s are holes: reading them touches no disk. Write the file once before reading it.", percent(100-float64(t.Allocated)/float64(t.Size)*100), t.Name)
		}
	}
	return ""
}

func unwrittenExtents(_ *result.Run, j *result.Job) string {
	if !reads(j) {
		return ""
	}
	for _, t := range onFile(j) {
		if t.Size > 0 && t.Unwritten > t.Size/100*2 {
			return fmt.Sprintf("%s of %s are allocated but were never written: the file system answers reads of them with zeroes, without the disk. Write the file once before reading it.",
				percent(min(float64(t.Unwritten)/float64(t.Size)*100, 100)), t.Name)
		}
	}
	return ""
}

func fitsPageCache(r *result.Run, j *result.Job) string {
	if !reads(j) || direct(r, j) || !kernelCached(j) || r.Host.MemAvailable == 0 {
		return ""
	}
	var size int64
	for _, t := range targets(j) {
		size += t.Size
	}
	if size <= 0 || uint64(size) >= r.Host.MemAvailable {
		return ""
	}
	return fmt.Sprintf("Reads go through the page cache (direct=0), and %s fit into the %s of memory that were free: the result is that of memory. `direct=1` measures the device.",
		units.Bytes(float64(size)), units.Bytes(float64(r.Host.MemAvailable)))
}

func zeroData(r *result.Run, j *result.Job) string {
	if !writes(j) || len(onFile(j))+len(onDisk(j)) == 0 {
		return ""
	}
	what := ""
	if isOn(r, j, "zero_buffers") {
		what = "zeroes"
	}
	if v, ok := option(r, j, "buffer_pattern"); ok && strings.Trim(strings.TrimPrefix(v, "0x"), "0") == "" {
		what = "zeroes"
	}
	if v, _ := option(r, j, "buffer_compress_percentage"); what == "" {
		if n, err := strconv.Atoi(strings.TrimSuffix(v, "%")); err == nil && n >= 50 {
			what = fmt.Sprintf("data that is %d %% compressible", n)
		}
	}
	if v, _ := option(r, j, "dedupe_percentage"); what == "" {
		if n, err := strconv.Atoi(strings.TrimSuffix(v, "%")); err == nil && n >= 50 {
			what = fmt.Sprintf("data of which %d %% are duplicates", n)
		}
	}
	if what == "" {
		return ""
	}
	return fmt.Sprintf("The job writes %s: storage that compresses, deduplicates or detects zeroes is faster with it than with real data.", what)
}

// drifting compares the halves of a run: a device that is filling its cache, or that has not reached steady state, slows down.
func drifting(_ *result.Run, j *result.Job) string {
	v, _ := series.Rates(j)
	trend := series.Trend(v)
	if len(v) < 6 || j.MeasuredFromPlan || trend > -0.2 && trend < 0.25 {
		return ""
	}
	word := "slower"
	if trend > 0 {
		word = "faster"
	}
	return fmt.Sprintf("The second half of the run was %s %s than the first: the mean depends on when one stops. Run longer, or until a steady state (`ss=`).", percent(abs(trend)*100), word)
}

func abs(f float64) float64 { return max(f, -f) }

func rateMissed(r *result.Run, j *result.Job) string {
	v, ok := option(r, j, "rate_iops")
	if !ok || issued(j) == 0 {
		return ""
	}
	members := float64(max(j.Members, 1))
	for i, part := range strings.Split(v, ",") {
		want, err := strconv.ParseFloat(strings.TrimSuffix(strings.ToLower(strings.TrimSpace(part)), "k"), 64)
		if err != nil || want <= 0 || i >= 3 {
			continue
		}
		if strings.HasSuffix(strings.ToLower(part), "k") {
			want *= 1000
		}
		if got := j.Dir[i].IOPSMean; j.Dir[i].IOs > 0 && got < 0.95*want*members {
			return fmt.Sprintf("The rate of %s IOPS that was asked for was not reached (%s): the target is saturated, and latency grows with the length of the run.",
				units.Count(want*members), units.Count(got))
		}
	}
	return ""
}

func depthIgnored(_ *result.Run, j *result.Job) string {
	n := issued(j)
	if j.Depth <= 1 || n < 100 || j.MeasuredFromPlan || j.LatencyTarget != nil {
		return ""
	}
	var all uint64
	for _, v := range j.DepthHist {
		all += v
	}
	if all == 0 || float64(j.DepthHist[0]) < 0.99*float64(all) {
		return ""
	}
	return fmt.Sprintf("iodepth=%d was asked for, but never was more than one request in flight: the engine (%s) works synchronously, or the target answers at once.", j.Depth, j.Engine)
}

func shortRun(_ *result.Run, j *result.Job) string {
	var longest time.Duration
	for i := range j.Dir {
		longest = max(longest, j.Dir[i].Runtime)
	}
	if j.Mixed != nil {
		longest = max(longest, j.Mixed.Runtime)
	}
	if longest == 0 || longest >= 10*time.Second || j.Steady != nil && j.Steady.Attained {
		return ""
	}
	return fmt.Sprintf("The run took %s: what devices do in the background, and what caches hide, shows only later. `runtime=60 time_based`", units.Ns(float64(longest)))
}

func fewSamples(_ *result.Run, j *result.Job) string {
	l := latency(j)
	if l == nil || l.Count() == 0 {
		return ""
	}
	top := 99.99
	if len(j.Percentiles) > 0 {
		top = slices.Max(j.Percentiles)
	}
	n := float64(l.Count()) * (100 - top) / 100
	if n >= 10 || top >= 100 {
		return ""
	}
	return fmt.Sprintf("The highest percentile printed (%s) rests on %.0f I/Os: it is a matter of chance.", strconv.FormatFloat(top, 'f', -1, 64), n)
}

// smallRangeBytes is what the caches of drives hold.
const smallRangeBytes = 1 << 30

func smallRange(r *result.Run, j *result.Job) string {
	if !direct(r, j) {
		return ""
	}
	var size int64
	for _, t := range onDisk(j) {
		size += t.Size
	}
	if size == 0 || size >= smallRangeBytes {
		return ""
	}
	return fmt.Sprintf("The range of %s may fit into the cache of the drive or of its controller.", units.Bytes(float64(size)))
}

func writeCache(r *result.Run, j *result.Job) string {
	if !writes(j) || synced(r, j) || !direct(r, j) {
		return ""
	}
	for _, t := range onDisk(j) {
		if t.Block.WriteCache == "write back" {
			return fmt.Sprintf("%s acknowledges writes from a volatile cache, and nothing was flushed: `fsync=` or `sync=1` measures durable writes.", t.Block.Name)
		}
	}
	return ""
}

func smallBlocks(r *result.Run, j *result.Job) string {
	d := &j.Dir[result.Write]
	if d.IOs == 0 || !direct(r, j) {
		return ""
	}
	for _, t := range onDisk(j) {
		if p := uint64(max(t.Block.Physical, 0)); p > 0 && d.Bytes/d.IOs < p {
			return fmt.Sprintf("Writes are smaller than the physical blocks of %s (%d bytes): it reads and writes a whole block for each.", t.Block.Name, p)
		}
	}
	return ""
}

func inMemory(_ *result.Run, j *result.Job) string {
	if len(j.Targets) == 0 {
		return ""
	}
	for i := range j.Targets {
		if !j.Targets[i].InMemory {
			return ""
		}
	}
	t := &j.Targets[0]
	kind := t.FS
	if kind == "" {
		kind = t.Driver
	}
	return fmt.Sprintf("The target is in memory (%s): this measures software, not a device.", kind)
}

var remote = map[string]bool{"nfs": true, "nfs4": true, "cifs": true, "smb3": true, "9p": true, "virtiofs": true, "ceph": true, "glusterfs": true, "fuse": true, "lustre": true, "afs": true, "overlay": true}

func remoteFS(_ *result.Run, j *result.Job) string {
	for _, t := range onFile(j) {
		if kind, _, _ := strings.Cut(t.FS, "."); remote[kind] {
			return fmt.Sprintf("%s is on %s: another machine, process or file system answers, may cache, and may take O_DIRECT as a mere request.", t.Name, t.FS)
		}
	}
	return ""
}

func compressingFS(_ *result.Run, j *result.Job) string {
	for _, t := range onFile(j) {
		if t.FS == "zfs" || strings.Contains(t.MountOpts, "compress") {
			return fmt.Sprintf("%s is on a file system that compresses or transforms data (%s): the device sees other I/O than the job issues.", t.Name, t.FS)
		}
	}
	return ""
}

func numaRemote(r *result.Run, j *result.Job) string {
	if r.Host.NUMANodes < 2 {
		return ""
	}
	if _, ok := option(r, j, "cpus_allowed", "cpumask", "numa_cpu_nodes"); ok {
		return ""
	}
	for _, t := range onDisk(j) {
		if n := t.Block.NUMANode; n >= 0 {
			return fmt.Sprintf("%s is attached to NUMA node %d of %d, and the job may run on any: `numa_cpu_nodes=%d` keeps it near.", t.Block.Name, n, r.Host.NUMANodes, n)
		}
	}
	return ""
}

func rotational(_ *result.Run, j *result.Job) string {
	for _, t := range onDisk(j) {
		if b := t.Block; b.Rotational && strings.HasPrefix(b.Name, "vd") {
			return fmt.Sprintf("%s says it is rotational, as virtual disks do by default: the scheduler (%s) and read-ahead treat it as a hard disk.", b.Name, b.Scheduler)
		}
	}
	return ""
}
