package report

import (
	"time"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// The values of the "blkbench" keys. Times are nanoseconds, sizes bytes.

type runExtras struct {
	Version     string        `json:"version"`
	Start       time.Time     `json:"start"`
	Elapsed     time.Duration `json:"elapsed_ns"`
	Left        time.Duration `json:"left_ns,omitempty"`
	Interrupted bool          `json:"interrupted"`
	Command     []string      `json:"command,omitempty"`
	Hints       []hintExtras  `json:"hints"`
	Warnings    []string      `json:"warnings,omitempty"`
	Host        hostExtras    `json:"host"`
}

type hintExtras struct {
	Severity string `json:"severity"`
	Key      string `json:"key"`
	Text     string `json:"text"`
}

type hostExtras struct {
	Hostname     string            `json:"hostname"`
	OS           string            `json:"os"`
	Kernel       string            `json:"kernel"`
	Arch         string            `json:"arch"`
	CPU          string            `json:"cpu"`
	Cores        int               `json:"cores"`
	Governor     string            `json:"governor"`
	Turbo        string            `json:"turbo,omitempty"`
	Virtual      string            `json:"virtual,omitempty"`
	NUMANodes    int               `json:"numa_nodes,omitempty"`
	Memory       uint64            `json:"memory"`
	MemAvailable uint64            `json:"memory_available"`
	Load         float64           `json:"load"`
	Steal        float64           `json:"steal_percent"`
	Busy         float64           `json:"busy_percent"`
	URing        string            `json:"io_uring,omitempty"`
	Mitigations  map[string]string `json:"mitigations,omitempty"`
	Facts        map[string]string `json:"facts,omitempty"`
}

type jobExtras struct {
	Members      int            `json:"members"`
	Engine       string         `json:"engine,omitempty"`
	RW           string         `json:"rw,omitempty"`
	BlockSizes   string         `json:"block_sizes,omitempty"`
	Depth        int            `json:"depth,omitempty"`
	Runtime      time.Duration  `json:"runtime_ns"`
	MeasuredFrom string         `json:"measured_from"` // issue, plan
	LimitedBy    string         `json:"limited_by,omitempty"`
	CPUPerIO     float64        `json:"cpu_ns_per_io"`
	CPUUser      time.Duration  `json:"cpu_user_ns"`
	CPUSys       time.Duration  `json:"cpu_sys_ns"`
	CPUKernel    time.Duration  `json:"cpu_kernel_threads_ns"`
	Mallocs      *uint64        `json:"mallocs,omitempty"`
	TotalErrors  uint64         `json:"total_errors"`
	FirstError   string         `json:"first_error,omitempty"`
	Errors       []errorExtras  `json:"errors,omitempty"`
	Path         pathExtras     `json:"path"`
	Verify       *verifyExtras  `json:"verify,omitempty"`
	Target       *searchExtras  `json:"latency_target,omitempty"`
	Steady       *steadyExtras  `json:"steady,omitempty"`
	Targets      []targetExtras `json:"targets,omitempty"`
	Interval     time.Duration  `json:"interval_ns,omitempty"`
}

type errorExtras struct {
	Target string `json:"target"`
	Op     string `json:"op"`
	Off    int64  `json:"offset"`
	Len    int64  `json:"length"`
	Text   string `json:"text"`
}

type pathExtras struct {
	Direct uint64 `json:"direct"`
	Pieces uint64 `json:"pieces"`
	Zeroed uint64 `json:"zeroed"`
	Slow   uint64 `json:"slow"`
	Resent uint64 `json:"resent"`
	Waited uint64 `json:"waited"`
}

type verifyExtras struct {
	Kind     string `json:"kind"`
	Blocks   uint64 `json:"blocks"`
	Failures uint64 `json:"failures"`
	First    string `json:"first,omitempty"`
}

type searchExtras struct {
	Met bool `json:"met"`
}

type steadyExtras struct {
	Rule     string        `json:"rule,omitempty"`
	Interval time.Duration `json:"interval_ns,omitempty"`
}

type targetExtras struct {
	Name      string            `json:"name"`
	Driver    string            `json:"driver,omitempty"`
	Layers    []string          `json:"layers,omitempty"`
	Size      int64             `json:"size"`
	InMemory  bool              `json:"in_memory,omitempty"`
	Path      string            `json:"path,omitempty"`
	FS        string            `json:"fs,omitempty"`
	Mount     string            `json:"mount,omitempty"`
	MountOpts string            `json:"mount_options,omitempty"`
	Allocated *int64            `json:"allocated,omitempty"`
	Unwritten *int64            `json:"unwritten,omitempty"`
	Signature string            `json:"signature,omitempty"`
	Block     *blockExtras      `json:"block_device,omitempty"`
	Facts     map[string]string `json:"facts,omitempty"`
}

type blockExtras struct {
	Name       string   `json:"name"`
	Model      string   `json:"model,omitempty"`
	Serial     string   `json:"serial,omitempty"`
	Size       int64    `json:"size"`
	Rotational bool     `json:"rotational"`
	Scheduler  string   `json:"scheduler,omitempty"`
	NRRequests int      `json:"nr_requests,omitempty"`
	WriteCache string   `json:"write_cache,omitempty"`
	Logical    int      `json:"logical_block,omitempty"`
	Physical   int      `json:"physical_block,omitempty"`
	MaxKB      int      `json:"max_request_kb,omitempty"`
	Zoned      string   `json:"zoned,omitempty"`
	NUMANode   int      `json:"numa_node"`
	Polling    bool     `json:"polling,omitempty"`
	Layers     []string `json:"layers,omitempty"`
}

// stepExtras is one interval of the series; directions without I/O are left out.
type stepExtras struct {
	Start time.Duration `json:"t_ns"`
	Len   time.Duration `json:"len_ns"`
	Read  *stepDir      `json:"read,omitempty"`
	Write *stepDir      `json:"write,omitempty"`
	Trim  *stepDir      `json:"trim,omitempty"`
}

type stepDir struct {
	IOs   uint64      `json:"ios"`
	Bytes uint64      `json:"bytes"`
	Min   uint64      `json:"min,omitempty"`
	Mean  float64     `json:"mean,omitempty"`
	P50   uint64      `json:"p50,omitempty"`
	P90   uint64      `json:"p90,omitempty"`
	P99   uint64      `json:"p99,omitempty"`
	P999  uint64      `json:"p99.9,omitempty"`
	Max   uint64      `json:"max,omitempty"`
	Bins  [][2]uint64 `json:"bins,omitempty"`
}

func jsonRunExtras(d *document, run *result.Run) {
	x := runExtras{
		Version: run.Version, Start: run.Start, Elapsed: run.Elapsed, Left: run.Left, Interrupted: run.Interrupted,
		Command: redactedAll(run.Command), Hints: []hintExtras{}, Warnings: redactedAll(run.Warnings), Host: hostOut(&run.Host),
	}
	for _, h := range run.Hints {
		x.Hints = append(x.Hints, hintExtras(h))
	}
	d.fields(x)
}

func hostOut(h *result.Host) hostExtras {
	return hostExtras{
		Hostname: h.Hostname, OS: h.OS, Kernel: h.Kernel, Arch: h.Arch, CPU: h.CPU, Cores: h.Cores, Governor: h.Governor,
		Turbo: h.Turbo, Virtual: h.Virtual, NUMANodes: h.NUMANodes, Memory: h.Memory, MemAvailable: h.MemAvailable,
		Load: units.Finite(h.Load), Steal: units.Finite(h.Steal), Busy: units.Finite(h.Busy), URing: h.URing,
		Mitigations: mapOut(h.Mitigations), Facts: mapOut(h.Facts),
	}
}

func mapOut(list []result.KV) map[string]string {
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]string, len(list))
	for _, o := range list {
		m[o.Key] = redacted(o)
	}
	return m
}

func jsonJobExtras(d *document, j *result.Job, o JSONOptions) {
	x := jobExtras{
		Members: j.Members, Engine: j.Engine, RW: j.RW, BlockSizes: j.BlockSizes, Depth: j.Depth, Runtime: j.Runtime,
		MeasuredFrom: "issue", LimitedBy: j.LimitedBy, CPUPerIO: cpuPerIO(j), CPUUser: j.CPUUser, CPUSys: j.CPUSys,
		CPUKernel: j.CPUKernelThreads, TotalErrors: j.TotalErrors, FirstError: redactedName(j.FirstError), Path: pathExtras(j.Path),
		Interval: j.IntervalLength,
	}
	if j.MeasuredFromPlan {
		x.MeasuredFrom = "plan"
	}
	if j.MallocsKnown {
		x.Mallocs = &j.Mallocs
	}
	for _, e := range j.Errors {
		e.Target, e.Text = redactedName(e.Target), redactedName(e.Text)
		x.Errors = append(x.Errors, errorExtras(e))
	}
	if j.Verify != nil {
		v := verifyExtras(*j.Verify)
		v.First = redactedName(v.First)
		x.Verify = &v
	}
	if j.LatencyTarget != nil {
		x.Target = &searchExtras{Met: j.LatencyTarget.Met}
	}
	if s := j.Steady; s != nil {
		x.Steady = &steadyExtras{Rule: s.Rule, Interval: s.Interval}
	}
	for _, t := range targets(j) {
		x.Targets = append(x.Targets, targetOut(t))
	}
	d.fields(x)
	if len(j.Series) == 0 {
		return
	}
	d.array("series", func() {
		for i := range j.Series {
			d.inline("", stepOut(&j.Series[i], o))
		}
	})
}

func targetOut(t *result.Target) targetExtras {
	x := targetExtras{
		Name: redactedName(t.Name), Driver: t.Driver, Layers: redactedAll(t.Layers), Size: t.Size, InMemory: t.InMemory,
		Path: t.Path, FS: t.FS, Mount: t.Mount, MountOpts: t.MountOpts, Signature: t.Signature, Facts: mapOut(t.Facts),
	}
	if t.Allocated >= 0 && t.FS != "" {
		x.Allocated = &t.Allocated
	}
	if t.Unwritten >= 0 && t.FS != "" {
		x.Unwritten = &t.Unwritten
	}
	if t.Block != nil {
		b := blockExtras(*t.Block)
		x.Block = &b
	}
	return x
}

func stepOut(s *result.Interval, o JSONOptions) stepExtras {
	x := stepExtras{Start: s.Start, Len: s.Len}
	for i, p := range []**stepDir{&x.Read, &x.Write, &x.Trim} {
		r := &s.Dir[i]
		if r.IOs == 0 && r.Bytes == 0 {
			continue
		}
		v := &stepDir{IOs: r.IOs, Bytes: r.Bytes}
		if l := r.Lat; l != nil && l.Count() > 0 {
			v.Min, v.Mean, v.Max = l.Min(), units.Finite(l.Mean()), l.Max()
			v.P50, v.P90, v.P99, v.P999 = l.Percentile(50), l.Percentile(90), l.Percentile(99), l.Percentile(99.9)
			if o.Bins {
				l.Buckets(func(lo, hi, n uint64) bool {
					v.Bins = append(v.Bins, [2]uint64{middle(lo, hi), n})
					return true
				})
			}
		}
		*p = v
	}
	return x
}

// cpuPerIO is all CPU time of a job, kernel threads included, over its I/Os, in nanoseconds.
func cpuPerIO(j *result.Job) float64 {
	n := issued(j)
	if n == 0 {
		return 0
	}
	return float64(j.CPUUser+j.CPUSys+j.CPUKernelThreads) / float64(n)
}
