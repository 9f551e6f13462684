package host

import (
	"fmt"
	"strings"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// Judge fills in what follows from a finished run: its hints, and what limited each job.
func Judge(r *result.Run) {
	for i := range r.Jobs {
		if j := &r.Jobs[i]; j.LimitedBy == "" {
			j.LimitedBy = Limit(r, j)
		}
	}
	r.Hints = Hints(r)
}

// Limit says in words what kept a job from being faster, as far as the figures tell: what it was asked not to exceed, the CPU, or the
// target. Empty, where there are no figures.
//
// Whether the target was waited for follows from Little's law: rate times latency is how many requests were in flight on average.
func Limit(r *result.Run, j *result.Job) string {
	if issued(j) == 0 {
		return ""
	}
	if s := asked(r, j); s != "" {
		return s
	}
	threads := max(j.Members, 1)
	depth := float64(max(j.Depth, 1) * threads)
	flight, mean := inFlight(j)
	busy := 0.0
	if j.Runtime > 0 {
		busy = float64(j.CPUUser+j.CPUSys) / float64(j.Runtime)
	}
	cpu := "the job's threads used " + percent(min(busy, 1)*100) + " of their CPUs"
	if threads == 1 {
		cpu = "the job's thread used " + percent(min(busy, 1)*100) + " of its CPU"
	}
	switch {
	case busy >= 0.9:
		return "the CPU: " + cpu
	case r.Host.Busy >= 95:
		return fmt.Sprintf("the CPUs: the machine was %s busy, while %s", percent(r.Host.Busy), cpu)
	case flight == 0:
		return ""
	case depth <= 1.5:
		return fmt.Sprintf("latency: one request at a time, of %s each (%s)", units.Ns(mean), cpu)
	case flight >= 0.85*depth:
		s := fmt.Sprintf("the target: %s of %s requests were in flight on average, and %s", units.Three(min(flight, depth)), units.Three(depth), cpu)
		return s + saturated(r, j)
	}
	return fmt.Sprintf("neither the target nor the CPU alone: %s of %s requests were in flight on average, and %s", units.Three(flight), units.Three(depth), cpu)
}

// inFlight is the mean number of requests in flight, and the mean latency.
func inFlight(j *result.Job) (flight, mean float64) {
	dirs := []*result.Dir{&j.Dir[result.Read], &j.Dir[result.Write], &j.Dir[result.Trim]}
	if j.Unified && j.Mixed != nil {
		dirs = []*result.Dir{j.Mixed}
	}
	var rate float64
	for _, d := range dirs {
		l := d.Lat
		if l == nil {
			l = d.Clat
		}
		if l == nil || d.IOs == 0 {
			continue
		}
		flight += d.IOPSMean * l.Mean() / 1e9
		rate += d.IOPSMean
	}
	if rate > 0 {
		mean = flight / rate * 1e9
	}
	return units.Finite(flight), units.Finite(mean)
}

// asked is a limit that the job set itself.
func asked(r *result.Run, j *result.Job) string {
	for _, k := range []string{"rate", "rate_iops"} {
		if v, ok := option(r, j, k); ok && v != "0" && rateMissed(r, j) == "" {
			return fmt.Sprintf("the rate that was asked for (%s=%s)", k, v)
		}
	}
	if t := j.LatencyTarget; t != nil {
		return fmt.Sprintf("the latency target: depth %d is the most that keeps %s %% of requests below %s", t.Depth, units.Three(t.Percentile), units.Ns(float64(t.Target)))
	}
	if v, ok := option(r, j, "thinktime"); ok && v != "0" {
		return fmt.Sprintf("the pauses that were asked for (thinktime=%s)", v)
	}
	return ""
}

// saturated adds which disks were busy all the time.
func saturated(r *result.Run, j *result.Job) string {
	var names []string
	for _, t := range onDisk(j) {
		for i := range r.Disks {
			if u := &r.Disks[i]; u.Name == t.Block.Name && u.Util >= 90 {
				names = append(names, fmt.Sprintf("%s was busy %s of the time", u.Name, percent(u.Util)))
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; " + strings.Join(names, ", ")
}

// Measure gathers what changes during a run. It is begun before the first I/O, and ended after the last.
type Measure struct {
	s     *System
	cpu   CPUTimes
	watch *Watch
}

// Begin takes the facts of the machine, fills in those of the targets, and starts to watch the CPUs and the disks.
func (s *System) Begin(targets []result.Target) (result.Host, *Measure) {
	for i := range targets {
		s.Target(&targets[i])
	}
	return s.Host(), &Measure{s: s, cpu: s.CPUTimes(), watch: s.Watch(targets)}
}

// End adds to a finished run what was seen since the beginning, and judges it. It may be called for reports in the middle of a run too.
func (m *Measure) End(r *result.Run) {
	r.Host.Busy, r.Host.Steal = m.s.CPUTimes().Since(m.cpu)
	r.Disks = m.watch.Util()
	Judge(r)
}
