package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blkbench/blkbench/bench/result"
)

// maxDocument bounds what Read takes into memory.
const maxDocument = 1 << 30

// ErrNotFio says that a document has no jobs.
var ErrNotFio = errors.New("no fio report: it has no list of jobs")

// Read takes a JSON or json+ document of fio (3.x) or of this package back into a run. Text before the first line that begins with a brace, which fio prints for
// warnings, is skipped. What the document does not hold is zero: without bins, distributions are as coarse as its percentiles, and fio's own documents have no time series.
func Read(r io.Reader) (*result.Run, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("read report: longer than %d bytes", maxDocument)
	}
	if !bytes.HasPrefix(raw, []byte("{")) {
		if i := bytes.Index(raw, []byte("\n{")); i >= 0 {
			raw = raw[i+1:]
		}
	}
	var doc fioRun
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&doc); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if doc.Jobs == nil {
		return nil, fmt.Errorf("read report: %w", ErrNotFio)
	}
	return runIn(&doc), nil
}

func runIn(doc *fioRun) *result.Run {
	run := &result.Run{Version: doc.Version, Globals: optionsIn(doc.Globals)}
	end := time.UnixMilli(doc.TimestampMS)
	if doc.TimestampMS == 0 {
		end = time.Unix(doc.Timestamp, 0)
	}
	for i := range doc.Jobs {
		run.Elapsed = max(run.Elapsed, time.Duration(clamp(doc.Jobs[i].Elapsed))*time.Second)
	}
	run.Start = end.Add(-run.Elapsed)
	if x := doc.Extras; x != nil {
		run.Version, run.Start, run.Elapsed, run.Left = x.Version, x.Start, x.Elapsed, x.Left
		run.Interrupted, run.Command, run.Warnings = x.Interrupted, x.Command, x.Warnings
		for _, h := range x.Hints {
			run.Hints = append(run.Hints, result.Hint(h))
		}
		run.Host = hostIn(&x.Host)
	}
	reports := map[string]int{}
	for i := range doc.Jobs {
		reports[doc.Jobs[i].Name]++
	}
	for i := range doc.Jobs {
		j := jobIn(&doc.Jobs[i])
		if doc.Jobs[i].Extras == nil && reports[j.Name] == 1 {
			j.Members = clones(run, &j)
		}
		run.Jobs = append(run.Jobs, j)
	}
	for i := range doc.Disks {
		run.Disks = append(run.Disks, diskIn(&doc.Disks[i]))
	}
	return run
}

// clones is how many threads a job had that is reported once, which fio's document tells only by its options.
func clones(run *result.Run, j *result.Job) int {
	s, _ := option(run, j, "numjobs")
	n, err := strconv.Atoi(s)
	if err != nil {
		return 1
	}
	return min(max(n, 1), 1<<16)
}

// clamp keeps seconds of a damaged document within a century.
func clamp(s int64) int64 { return min(max(s, 0), 100*365*24*3600) }

func optionsIn(l optionList) (out []result.KV) {
	for _, o := range l {
		out = append(out, result.KV(o))
	}
	return out
}

func mapIn(m map[string]string) (out []result.KV) {
	for k, v := range m {
		out = append(out, result.KV{Key: k, Value: v})
	}
	slices.SortFunc(out, func(a, b result.KV) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func hostIn(x *hostExtras) result.Host {
	return result.Host{
		Hostname: x.Hostname, OS: x.OS, Kernel: x.Kernel, Arch: x.Arch, CPU: x.CPU, Cores: x.Cores, Governor: x.Governor,
		Turbo: x.Turbo, Virtual: x.Virtual, NUMANodes: x.NUMANodes, Memory: x.Memory, MemAvailable: x.MemAvailable,
		Load: x.Load, Steal: x.Steal, Busy: x.Busy, URing: x.URing, Mitigations: mapIn(x.Mitigations), Facts: mapIn(x.Facts),
	}
}

func jobIn(f *fioJob) result.Job {
	j := result.Job{
		Name: f.Name, Description: f.Desc, Group: f.Group, Members: 1, Error: f.Error, Options: optionsIn(f.Options),
		Elapsed: time.Duration(clamp(f.Elapsed)) * time.Second, Runtime: msIn(f.Runtime),
		CtxSwitches: f.Ctx, MajorFaults: f.MajF, MinorFaults: f.MinF, Depth: f.LatDepth,
		CPUUser: time.Duration(f.UsrCPU / 100 * float64(msIn(f.Runtime))), CPUSys: time.Duration(f.SysCPU / 100 * float64(msIn(f.Runtime))),
	}
	if f.JobStart > 0 {
		j.Started = time.UnixMilli(f.JobStart)
	}
	seen := map[float64]bool{}
	for i, d := range []*fioDir{f.Read, f.Write, f.Trim} {
		if d != nil {
			j.Dir[i] = dirIn(&j, d, seen)
		}
	}
	if f.Sync != nil {
		j.Dir[result.Sync] = result.Dir{IOs: f.Sync.IOs, Lat: latencyIn(&f.Sync.Lat, nil, seen)}
	}
	if f.Mixed != nil {
		m := dirIn(&j, f.Mixed, seen)
		j.Mixed, j.Unified = &m, f.Read == nil
	}
	for p := range seen {
		j.Percentiles = append(j.Percentiles, p)
	}
	slices.Sort(j.Percentiles)
	if j.Dir[0].Clat == nil && j.Dir[1].Clat == nil && j.Dir[2].Clat == nil && j.Mixed == nil {
		j.ClatPercentiles = true // fio's default, of which a job without I/O shows nothing
	}
	// Shares come back as counts with three digits after the point, which is finer than they are shown.
	j.DepthHist, j.Submits, j.Completes = sharesIn(f.Level, levelNames[:], issued(&j)), 100000, 100000
	j.SubmitHist = sharesIn(f.Submit, batchNames[:], j.Submits)
	j.CompleteHist = sharesIn(f.Complete, batchNames[:], j.Completes)
	if f.TotalErr != nil {
		j.ContinueOnError, j.TotalErrors = true, *f.TotalErr
		if j.Error == 0 {
			j.Error = f.FirstErr
		}
	}
	if f.LatTarget > 0 {
		j.LatencyTarget = &result.LatencyTarget{
			Target: time.Duration(f.LatTarget), Window: time.Duration(min(f.LatWindow, math.MaxInt64/1000)) * time.Microsecond, Percentile: f.LatPct, Depth: f.LatDepth,
		}
	}
	j.Steady = steadyIn(f.Steady)
	if f.Extras != nil {
		extrasIn(&j, f.Extras)
	}
	return j
}

func msIn(ms uint64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

func sharesIn(m map[string]float64, names []string, total uint64) (h [7]uint64) {
	for i, n := range names {
		h[i] = count(math.Round(m[n] / 100 * float64(total)))
	}
	return h
}

func dirIn(j *result.Job, f *fioDir, seen map[float64]bool) result.Dir {
	return result.Dir{
		Bytes: f.Bytes, IOs: f.IOs, Short: f.Short, Dropped: f.Dropped, Runtime: msIn(f.Runtime),
		Slat:  latencyIn(&f.Slat, &j.SlatPercentiles, seen),
		Clat:  latencyIn(&f.Clat, &j.ClatPercentiles, seen),
		Lat:   latencyIn(&f.Lat, &j.LatPercentiles, seen),
		BW:    result.Samples{Min: f.BWMin, Max: f.BWMax, Mean: f.BWMean, StdDev: f.BWDev, N: f.BWSamples},
		IOPS:  result.Samples{Min: f.IOPSMin, Max: f.IOPSMax, Mean: f.IOPSMean, StdDev: f.IOPSStdDev, N: f.IOPSSamples},
		BWAgg: f.BWAgg, BWBytes: f.BWBytes, IOPSMean: f.IOPS,
	}
}

// latencyIn returns nil where nothing was measured, and notes which kinds of percentiles, and which ones, the document has.
func latencyIn(f *fioLat, has *bool, seen map[float64]bool) result.Latency {
	if f.N == 0 {
		return nil
	}
	r := &recorded{figures: figures{min: f.Min, max: f.Max, n: f.N, mean: f.Mean, dev: f.StdDev}}
	r.setBins(f.Bins)
	r.setPercentiles(f.Percentile)
	for _, q := range r.percentiles {
		seen[q.p] = true
	}
	if has != nil && len(r.percentiles) > 0 {
		*has = true
	}
	return r
}

func steadyIn(f *fioSteady) *result.SteadyState {
	if f == nil {
		return nil
	}
	num, percent := strings.CutSuffix(f.Criterion, "%")
	c, err := strconv.ParseFloat(num, 64)
	if err != nil {
		c = 0
	}
	return &result.SteadyState{
		Expr: f.SS, Duration: time.Duration(clamp(f.Duration)) * time.Second, Attained: f.Attained != 0, Criterion: c, Percent: percent,
		MaxDev: f.MaxDev, Slope: f.Slope, BW: f.Data.BW, IOPS: f.Data.IOPS, Lat: f.Data.Lat,
		BWMean: f.Data.BWMean, IOPSMean: f.Data.IOPSMean, LatMean: f.Data.LatMean, Rule: "fio",
	}
}

func diskIn(f *fioDisk) result.DiskUtil {
	u := result.DiskUtil{
		Name: f.Name, ReadIOs: f.ReadIOs, WriteIOs: f.WriteIOs, ReadMerges: f.ReadMerges, WriteMerges: f.WriteMerges,
		ReadSectors: f.ReadSectors, WriteSectors: f.WriteSectors, ReadTicks: f.ReadTicks, WriteTicks: f.WriteTicks, InQueue: f.InQueue, Util: f.Util,
	}
	if f.AggrReadIOs != nil {
		u.Aggregate = &result.DiskUtil{
			ReadIOs: *f.AggrReadIOs, WriteIOs: f.AggrWriteIOs, ReadMerges: f.AggrReadMerges, WriteMerges: f.AggrWriteMerges,
			ReadSectors: f.AggrReadSectors, WriteSectors: f.AggrWriteSectors,
			ReadTicks: f.AggrReadTicks, WriteTicks: f.AggrWriteTicks, InQueue: f.AggrInQueue, Util: f.AggrUtil,
		}
	}
	return u
}

func extrasIn(j *result.Job, x *fioJobExtras) {
	j.Members, j.Engine, j.RW, j.BlockSizes, j.Depth = x.Members, x.Engine, x.RW, x.BlockSizes, x.Depth
	j.Runtime, j.CPUUser, j.CPUSys, j.CPUKernelThreads = x.Runtime, x.CPUUser, x.CPUSys, x.CPUKernel
	j.MeasuredFromPlan, j.LimitedBy, j.FirstError, j.TotalErrors = x.MeasuredFrom == "plan", x.LimitedBy, x.FirstError, x.TotalErrors
	j.Path, j.IntervalLength = result.PathCounts(x.Path), x.Interval
	if x.Mallocs != nil {
		j.Mallocs, j.MallocsKnown = *x.Mallocs, true
	}
	for _, e := range x.Errors {
		j.Errors = append(j.Errors, result.IOError(e))
	}
	if x.Verify != nil {
		v := result.Verify(*x.Verify)
		j.Verify = &v
	}
	if x.Target != nil && j.LatencyTarget != nil {
		j.LatencyTarget.Met = x.Target.Met
	}
	if x.Steady != nil && j.Steady != nil {
		j.Steady.Rule, j.Steady.Interval = x.Steady.Rule, x.Steady.Interval
	}
	for i := range x.Targets {
		j.Targets = append(j.Targets, targetIn(&x.Targets[i]))
	}
	for i := range x.Series {
		j.Series = append(j.Series, stepIn(&x.Series[i]))
	}
}

func targetIn(x *targetExtras) result.Target {
	t := result.Target{
		Name: x.Name, Driver: x.Driver, Layers: x.Layers, Size: x.Size, InMemory: x.InMemory, Path: x.Path, FS: x.FS,
		Mount: x.Mount, MountOpts: x.MountOpts, Allocated: -1, Unwritten: -1, Signature: x.Signature, Facts: mapIn(x.Facts),
	}
	if x.Allocated != nil {
		t.Allocated = *x.Allocated
	}
	if x.Unwritten != nil {
		t.Unwritten = *x.Unwritten
	}
	if x.Block != nil {
		b := result.BlockDevice(*x.Block)
		t.Block = &b
	}
	return t
}

func stepIn(x *stepExtras) result.Interval {
	s := result.Interval{Start: min(max(x.Start, 0), longest), Len: min(max(x.Len, 0), longest)}
	for i, v := range []*stepDir{x.Read, x.Write, x.Trim} {
		if v == nil {
			continue
		}
		s.Dir[i].IOs, s.Dir[i].Bytes = v.IOs, v.Bytes
		if v.Max == 0 {
			continue
		}
		bins := slices.Clone(v.Bins)
		slices.SortFunc(bins, func(a, b [2]uint64) int {
			switch {
			case a[0] < b[0]:
				return -1
			case a[0] > b[0]:
				return 1
			}
			return 0
		})
		s.Dir[i].Lat = &recorded{
			figures: figures{min: v.Min, max: v.Max, n: v.IOs, mean: v.Mean}, bins: bins,
			percentiles: []point{{50, v.P50}, {90, v.P90}, {99, v.P99}, {99.9, v.P999}},
		}
	}
	return s
}
