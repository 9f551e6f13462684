package bench

import (
	"math"
	"os"
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
		if job, ok := r.jobResult(r.workers[i:k]); ok && r.workers[i].job.Report.Stats {
			out.Jobs = append(out.Jobs, job)
		}
		i = k
	}
	shareBandwidth(out.Jobs)
	out.Host = r.host.facts
	out.Disks = r.host.util()
	return out
}

// jobResult merges the members of one reported job; false when none of them has started.
func (r *run) jobResult(members []*worker) (result.Job, bool) {
	first := members[0].job
	rep := &first.Report
	out := result.Job{
		Name: first.Name, Description: first.Description, Group: first.Group, Percentiles: rep.Percentiles,
		PercentDigits: rep.PercentilePrecision, ClatPercentiles: rep.Clat, LatPercentiles: rep.Lat,
		SlatPercentiles: rep.Slat, Depth: first.Depth.IODepth, RW: first.RW.Kind.String(), BlockSizes: blockSizes(first),
		IntervalLength: r.step, Unified: rep.Unified == fiojob.UnifiedMixed, MeasuredFromPlan: first.Rate.Limited(),
		PID: os.Getpid(), ContinueOnError: first.Errors.ContinueRead || first.Errors.ContinueWrite || first.Errors.ContinueVerify,
	}
	for _, kv := range first.Options {
		out.Options = append(out.Options, result.KV{Key: kv.Key, Value: kv.Value})
	}
	sum := newInterval(measures{dirs: [3]bool{true, true, true}, slat: true, clat: true, lat: true})
	var ran [3]int64
	started := false
	for _, w := range members {
		s := r.collect.series[w]
		if s == nil {
			continue
		}
		started = true
		out.Members++
		if s.cum != nil {
			sum.merge(s.cum)
			for d := range ran {
				ran[d] = max(ran[d], s.cum.ran[d])
			}
			r.addRun(&out, s.cum)
		}
		r.addMember(&out, w)
	}
	if !started {
		return out, false
	}
	out.DepthHist, out.SubmitHist, out.CompleteHist = sum.depth, sum.submit, sum.complete
	out.Submits, out.Completes, out.TotalErrors = sum.submits, sum.completes, sum.errors
	out.Series = mergeSeries(r, members)
	for d := range sum.dir {
		out.Dir[d] = directionOf(&sum.dir[d], time.Duration(ran[d]), out.Series, rep, func(iv *result.Interval) *result.IntervalDir { return &iv.Dir[d] })
	}
	out.Dir[result.Sync] = result.Dir{IOs: sum.syncs, Lat: asLatency(sum.sync)}
	if rep.Unified != fiojob.UnifiedNone {
		mixed := mixDirections(sum, time.Duration(max(ran[0], ran[1], ran[2])), out.Series, rep)
		out.Mixed = &mixed
	}
	r.mu.Lock()
	out.Mallocs, out.MallocsKnown = r.allocs, r.windows == 0 && (!r.overlapped || len(r.workers) == len(members))
	r.mu.Unlock()
	return out, true
}

// addRun adds what a member has cost, and which way its requests went.
func (r *run) addRun(out *result.Job, iv *interval) {
	out.Elapsed = max(out.Elapsed, time.Duration(iv.to-r.base))
	out.Runtime += time.Duration(iv.to - iv.from)
	if at := r.clock.Wall(iv.from); out.Started.IsZero() || at.Before(out.Started) {
		out.Started = at
	}
	out.CPUUser += iv.usage.user
	out.CPUSys += iv.usage.sys
	out.CtxSwitches += iv.usage.ctx
	out.MajorFaults += iv.usage.majf
	out.MinorFaults += iv.usage.minf
	out.CPUKernelThreads += iv.usage.kernel
	out.Path = addPaths(out.Path, iv.paths, 1)
}

// addMember adds what is not counted by intervals.
func (r *run) addMember(out *result.Job, w *worker) {
	select {
	case <-w.ready:
		out.Engine = w.engineStr
		out.Targets = append(out.Targets, w.targets...)
	default: // still being set up
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out.Errors = append(out.Errors, w.firstErrs...)
	if w.failure != nil && out.FirstError == "" {
		out.FirstError = w.failure.Error()
		out.Error = int(engine.Errno(w.failure))
		if out.Error == 0 {
			out.Error = int(syscall.EIO)
		}
	}
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

// directionOf makes the result of one direction.
func directionOf(v *intervalDir, ran time.Duration, series []result.Interval, rep *fiojob.Report, of func(*result.Interval) *result.IntervalDir) result.Dir {
	out := result.Dir{Bytes: v.bytes, IOs: v.ios, Slat: asLatency(v.slat), Clat: asLatency(v.clat), Lat: asLatency(v.lat)}
	if v.ios == 0 {
		return out
	}
	out.Runtime = ran
	if sec := ran.Seconds(); sec > 0 {
		out.BWBytes, out.IOPSMean = float64(v.bytes)/sec, float64(v.ios)/sec
	}
	if rep.DisableBW || rep.GTODReduce {
		return out
	}
	out.BW = samples(series, rep.BWInterval, func(iv *result.Interval) float64 { return float64(of(iv).Bytes) / 1024 })
	out.IOPS = samples(series, rep.IOPSInterval, func(iv *result.Interval) float64 { return float64(of(iv).IOs) })
	return out
}

func mixDirections(sum *interval, ran time.Duration, series []result.Interval, rep *fiojob.Report) result.Dir {
	v := intervalDir{slat: new(hist.Hist), clat: new(hist.Hist), lat: new(hist.Hist)}
	for d := range sum.dir {
		x := &sum.dir[d]
		v.ios += x.ios
		v.bytes += x.bytes
		mergeHist(v.slat, x.slat)
		mergeHist(v.clat, x.clat)
		mergeHist(v.lat, x.lat)
	}
	return directionOf(&v, ran, series, rep, func(iv *result.Interval) *result.IntervalDir {
		var all result.IntervalDir
		for d := range iv.Dir {
			all.IOs += iv.Dir[d].IOs
			all.Bytes += iv.Dir[d].Bytes
		}
		return &all
	})
}

// samples summarises a rate over stretches of about `every`; those much shorter than the rest (the last one) do not count.
func samples(series []result.Interval, every time.Duration, amount func(*result.Interval) float64) result.Samples {
	var rates []float64
	var lens []time.Duration
	sum, span := 0.0, time.Duration(0)
	longest := time.Duration(0)
	put := func() {
		if span > 0 {
			rates, lens = append(rates, sum/span.Seconds()), append(lens, span)
			longest = max(longest, span)
		}
		sum, span = 0, 0
	}
	for i := range series {
		iv := &series[i]
		if span > 0 && span+iv.Len/2 > every {
			put()
		}
		sum += amount(iv)
		span += iv.Len
	}
	put()
	var s result.Samples
	var m, m2 float64
	for i, v := range rates {
		if lens[i] < longest/2 {
			continue
		}
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
