package bench

import (
	"math"
	"syscall"
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
)

// result puts together what was found so far. Workers that still run contribute what the collector has of them.
func (r *run) result(interrupted bool) *result.Run {
	out := &result.Run{
		Version: r.cfg.Version, Start: r.start, Elapsed: time.Duration(r.clock.Now() - r.base),
		Interrupted: interrupted,
	}
	r.mu.Lock()
	out.Warnings = append(out.Warnings, r.warnings...)
	r.mu.Unlock()
	for _, kv := range r.cfg.Plan.Globals {
		out.Globals = append(out.Globals, result.KV{Key: kv.Key, Value: kv.Value})
	}
	r.collect.mu.Lock()
	defer r.collect.mu.Unlock()
	for i := 0; i < len(r.workers); {
		k := i + 1
		if r.workers[i].job.Report.Group {
			for k < len(r.workers) && r.workers[k].job.Group == r.workers[i].job.Group && r.workers[k].job.Report.Group {
				k++
			}
		}
		if job, ok := r.jobResult(r.workers[i:k]); ok {
			out.Jobs = append(out.Jobs, job)
		}
		i = k
	}
	shareBandwidth(out.Jobs)
	return out
}

// jobResult merges the members of one reported job; false when none of them has started.
func (r *run) jobResult(members []*worker) (result.Job, bool) {
	first := members[0].job
	out := result.Job{
		Name: first.Name, Description: first.Description, Group: first.Group, Percentiles: first.Report.Percentiles,
		PercentDigits: first.Report.PercentilePrecision, ClatPercentiles: first.Report.Clat, LatPercentiles: first.Report.Lat,
		SlatPercentiles: first.Report.Slat, Depth: first.Depth.IODepth, RW: first.RW.Kind.String(), BlockSizes: blockSizes(first),
		IntervalLength: r.step, Unified: first.Report.Unified != fiojob.UnifiedNone, MeasuredFromPlan: first.Rate.Limited(),
	}
	for _, kv := range first.Options {
		out.Options = append(out.Options, result.KV{Key: kv.Key, Value: kv.Value})
	}
	var sums [3]dirSum
	var sync dirSum
	started := false
	for _, w := range members {
		s := r.collect.series[w]
		if s == nil {
			continue
		}
		started = true
		out.Members++
		r.addMember(&out, w, s, &sums, &sync)
	}
	if !started {
		return out, false
	}
	out.Series = mergeSeries(r, members)
	for d := range sums {
		out.Dir[d] = sums[d].dir(out.Series, d)
	}
	out.Dir[result.Sync] = result.Dir{IOs: sync.ios, Lat: asLatency(&sync.lat)}
	if out.Unified {
		mixed := mixDirections(&sums, out.Series)
		out.Mixed = &mixed
	}
	r.mu.Lock()
	out.Mallocs, out.MallocsKnown = r.allocs, !r.overlapped || len(r.workers) == len(members)
	r.mu.Unlock()
	return out, true
}

// dirSum adds up one direction over the members.
type dirSum struct {
	ios, bytes, short uint64
	runtime           time.Duration
	slat, clat, lat   hist.Hist
}

func (r *run) addMember(out *result.Job, w *worker, s *series, sums *[3]dirSum, sync *dirSum) {
	select {
	case <-w.finished:
	default:
		// Still running: only what was handed over may be looked at.
		for d := range sums {
			sums[d].lat.Merge(&s.lat[d])
			for _, p := range s.points {
				sums[d].ios += p.dir[d].ios
				sums[d].bytes += p.dir[d].bytes
			}
			if n := len(s.points); n > 0 && sums[d].ios > 0 {
				sums[d].runtime = max(sums[d].runtime, time.Duration(s.points[n-1].to-s.points[0].from))
			}
		}
		return
	}
	t := &w.tot
	for d := range sums {
		x := &sums[d]
		x.ios += t.dir[d].ios
		x.bytes += t.dir[d].bytes
		x.short += t.dir[d].short
		x.slat.Merge(&t.dir[d].slat)
		x.clat.Merge(&t.dir[d].clat)
		x.lat.Merge(&s.lat[d])
		if t.dir[d].ios > 0 {
			x.runtime = max(x.runtime, time.Duration(t.dir[d].last-w.startAt))
		}
	}
	sync.ios += t.syncs
	sync.lat.Merge(&t.sync)
	out.Elapsed = max(out.Elapsed, time.Duration(w.endAt-r.base))
	out.Runtime = max(out.Runtime, w.elapsed)
	if out.Started.IsZero() {
		out.Started = r.clock.Wall(w.startAt)
	}
	out.CPUUser += w.usage.user
	out.CPUSys += w.usage.sys
	out.CtxSwitches += w.usage.ctx
	out.MajorFaults += w.usage.majf
	out.MinorFaults += w.usage.minf
	out.CPUKernelThreads += w.kernelCPU
	for i := range t.depth {
		out.DepthHist[i] += t.depth[i]
		out.SubmitHist[i] += t.submit[i]
		out.CompleteHist[i] += t.complete[i]
	}
	out.Submits += t.submits
	out.Completes += t.completes
	out.TotalErrors += t.errors
	out.Errors = append(out.Errors, w.firstErrs...)
	if w.failure != nil && out.FirstError == "" {
		out.FirstError = w.failure.Error()
		out.Error = int(engine.Errno(w.failure))
		if out.Error == 0 {
			out.Error = int(syscall.EIO)
		}
	}
	p := &out.Path
	p.Direct += w.paths.Direct
	p.Pieces += w.paths.Pieces
	p.Zeroed += w.paths.Zeroed
	p.Slow += w.paths.Slow
	p.Resent += w.paths.Resent
	p.Waited += w.paths.Waited
	out.Engine = w.engineStr
	out.Targets = append(out.Targets, w.targets...)
	if w.steadyResult != nil {
		out.Steady = w.steadyResult
	}
	if w.targetResult != nil {
		out.LatencyTarget = w.targetResult
	}
	if w.verifyResult != nil {
		out.Verify = addVerify(out.Verify, w.verifyResult)
	}
}

func addVerify(sum, v *result.Verify) *result.Verify {
	if sum == nil {
		c := *v
		return &c
	}
	sum.Blocks += v.Blocks
	sum.Failures += v.Failures
	if sum.First == "" {
		sum.First = v.First
	}
	return sum
}

func (x *dirSum) dir(series []result.Interval, d int) result.Dir {
	out := result.Dir{
		Bytes: x.bytes, IOs: x.ios, Short: x.short, Runtime: x.runtime,
		Slat: asLatency(&x.slat), Clat: asLatency(&x.clat), Lat: asLatency(&x.lat),
	}
	if sec := x.runtime.Seconds(); sec > 0 {
		out.BWBytes, out.IOPSMean = float64(x.bytes)/sec, float64(x.ios)/sec
	}
	out.BW = samples(series, func(iv *result.Interval) float64 { return float64(iv.Dir[d].Bytes) / 1024 }, x.ios > 0)
	out.IOPS = samples(series, func(iv *result.Interval) float64 { return float64(iv.Dir[d].IOs) }, x.ios > 0)
	return out
}

func mixDirections(sums *[3]dirSum, series []result.Interval) result.Dir {
	var x dirSum
	for d := range sums {
		x.ios += sums[d].ios
		x.bytes += sums[d].bytes
		x.short += sums[d].short
		x.runtime = max(x.runtime, sums[d].runtime)
		x.slat.Merge(&sums[d].slat)
		x.clat.Merge(&sums[d].clat)
		x.lat.Merge(&sums[d].lat)
	}
	out := x.dir(nil, 0)
	sum := func(f func(v *result.IntervalDir) float64) func(*result.Interval) float64 {
		return func(iv *result.Interval) float64 { return f(&iv.Dir[0]) + f(&iv.Dir[1]) + f(&iv.Dir[2]) }
	}
	out.BW = samples(series, sum(func(v *result.IntervalDir) float64 { return float64(v.Bytes) / 1024 }), x.ios > 0)
	out.IOPS = samples(series, sum(func(v *result.IntervalDir) float64 { return float64(v.IOs) }), x.ios > 0)
	return out
}

// samples summarises a rate over the intervals; those much shorter than the rest (the last one) do not count.
func samples(series []result.Interval, amount func(*result.Interval) float64, any bool) result.Samples {
	var s result.Samples
	if !any {
		return s
	}
	longest := time.Duration(0)
	for i := range series {
		longest = max(longest, series[i].Len)
	}
	var m, m2 float64
	for i := range series {
		iv := &series[i]
		if iv.Len < longest/2 || iv.Len <= 0 {
			continue
		}
		v := amount(iv) / iv.Len.Seconds()
		s.N++
		if s.N == 1 {
			s.Min, s.Max = v, v
		}
		s.Min, s.Max = min(s.Min, v), max(s.Max, v)
		d := v - m
		m += d / float64(s.N)
		m2 += d * (v - m)
	}
	s.Mean = m
	if s.N > 1 {
		s.StdDev = math.Sqrt(m2 / float64(s.N-1))
	}
	return s
}

// mergeSeries puts the members' intervals on one grid.
func mergeSeries(r *run, members []*worker) []result.Interval {
	origin, end := int64(math.MaxInt64), int64(0)
	longest := int64(r.step)
	for _, w := range members {
		if s := r.collect.series[w]; s != nil {
			for i := range s.points {
				origin, end = min(origin, s.points[i].from), max(end, s.points[i].to)
				longest = max(longest, s.points[i].to-s.points[i].from)
			}
		}
	}
	if end <= origin {
		return nil
	}
	step := int64(r.step)
	for step*maxPoints < end-origin || step < longest/2 {
		step *= 2
	}
	n := int((end - origin + step - 1) / step)
	out := make([]result.Interval, n)
	lat := make([][3]*packed, n)
	for i := range out {
		out[i].Start, out[i].Len = time.Duration(int64(i)*step), time.Duration(min(step, end-origin-int64(i)*step))
	}
	for _, w := range members {
		s := r.collect.series[w]
		if s == nil {
			continue
		}
		for k := range s.points {
			p := &s.points[k]
			i := min(n-1, int(((p.from+p.to)/2-origin)/step))
			for d := range p.dir {
				out[i].Dir[d].IOs += p.dir[d].ios
				out[i].Dir[d].Bytes += p.dir[d].bytes
				lat[i][d] = mergePacked(lat[i][d], p.dir[d].lat)
			}
		}
	}
	for i := range lat {
		for d := range lat[i] {
			if lat[i][d] != nil {
				out[i].Dir[d].Lat = lat[i][d]
			}
		}
	}
	return out
}

// shareBandwidth sets each job's share of its group's bandwidth.
func shareBandwidth(jobs []result.Job) {
	for d := range result.Direction(3) {
		sum := map[int]float64{}
		for i := range jobs {
			sum[jobs[i].Group] += jobs[i].Dir[d].BWBytes
		}
		for i := range jobs {
			if s := sum[jobs[i].Group]; s > 0 {
				jobs[i].Dir[d].BWAgg = min(100, 100*jobs[i].Dir[d].BWBytes/s)
			}
		}
	}
}
