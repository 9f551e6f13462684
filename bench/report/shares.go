package report

import (
	"slices"
	"strconv"
	"syscall"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// Upper limits of fio's latency classes, exclusive, within each of ns, µs and ms; the last class of ms has none.
var classLimits = [...]uint64{2, 4, 10, 20, 50, 100, 250, 500, 750, 1000, 2000}

var (
	classNames = [...]string{"2", "4", "10", "20", "50", "100", "250", "500", "750", "1000", "2000", ">=2000"}
	levelNames = [...]string{"1", "2", "4", "8", "16", "32", ">=64"}
	batchNames = [...]string{"0", "4", "8", "16", "32", "64", ">=64"}
)

// latencyClasses are percentages of all I/Os by completion latency: nanoseconds, microseconds and milliseconds.
type latencyClasses struct {
	ns, us [10]float64
	ms     [12]float64
}

func (c *latencyClasses) slot(ns uint64) *float64 {
	unit, list := ns, c.ns[:]
	switch {
	case ns >= 1000000:
		unit, list = ns/1000000, c.ms[:]
	case ns >= 1000:
		unit, list = ns/1000, c.us[:]
	}
	for i := range list {
		if i == len(classLimits) || unit < classLimits[i] {
			return &list[i]
		}
	}
	return &list[len(list)-1]
}

// classes counts in the middle of each bucket; a class that is not empty shows at least 0.01 %.
func classes(j *result.Job) *latencyClasses {
	c := new(latencyClasses)
	var total uint64
	for _, d := range measured(j) {
		total += d.IOs
		l := d.Clat
		if l == nil {
			l = d.Lat
		}
		if l == nil {
			continue
		}
		l.Buckets(func(lo, hi, n uint64) bool {
			*c.slot(middle(lo, hi)) += float64(n)
			return true
		})
	}
	for _, list := range [][]float64{c.ns[:], c.us[:], c.ms[:]} {
		for i, n := range list {
			list[i] = share(n, total, 0.01)
		}
	}
	return c
}

// middle is the value that stands for a bucket, fio's choice.
func middle(lo, hi uint64) uint64 { return lo + (hi-lo+1)/2 }

func share(n float64, total uint64, floor float64) float64 {
	if total == 0 || n == 0 {
		return 0
	}
	return max(n/float64(total)*100, floor)
}

// depths turns one of the depth histograms into percentages; one that is not empty shows at least 0.1 %.
func depths(h *[7]uint64, total uint64) (out [7]float64) {
	for i, n := range h {
		out[i] = share(float64(n), total, 0.1)
	}
	return out
}

func issued(j *result.Job) (n uint64) {
	for _, d := range measured(j) {
		n += d.IOs
	}
	return n
}

// measured are the directions that carry data, without any that adds up others.
func measured(j *result.Job) []*result.Dir {
	if j.Unified && j.Mixed != nil {
		return []*result.Dir{j.Mixed}
	}
	return []*result.Dir{&j.Dir[result.Read], &j.Dir[result.Write], &j.Dir[result.Trim]}
}

// named is a direction under the name that reports give it.
type named struct {
	name string
	*result.Dir
}

// shown are the directions in the order of the report: read, write, trim, and what adds them up.
func shown(j *result.Job) []named {
	if j.Unified && j.Mixed != nil {
		return []named{{"mixed", j.Mixed}}
	}
	list := []named{{"read", &j.Dir[result.Read]}, {"write", &j.Dir[result.Write]}, {"trim", &j.Dir[result.Trim]}}
	if j.Mixed != nil {
		list = append(list, named{"mixed", j.Mixed})
	}
	return list
}

// targets are what a job measured, each once: its threads share them.
func targets(j *result.Job) (out []*result.Target) {
	seen := map[string]bool{}
	for i := range j.Targets {
		if t := &j.Targets[i]; !seen[t.Name] {
			seen[t.Name] = true
			out = append(out, t)
		}
	}
	return out
}

// both: the sum is shown beside its parts.
func both(j *result.Job) bool { return j.Mixed != nil && !j.Unified }

// syncLatency is the time of fsync and its kin.
func syncLatency(j *result.Job) result.Latency {
	if l := j.Dir[result.Sync].Lat; l != nil {
		return l
	}
	return j.Dir[result.Sync].Clat
}

var defaultPercentiles = []float64{1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99}

// maxPercentiles is what fio's terse lines have room for.
const maxPercentiles = 20

// percentiles are those to print: ascending, each once.
func percentiles(j *result.Job) []float64 {
	if len(j.Percentiles) == 0 {
		return defaultPercentiles
	}
	list := slices.DeleteFunc(slices.Clone(j.Percentiles), func(p float64) bool { return !(p > 0 && p <= 100) })
	slices.Sort(list)
	list = slices.Compact(list)
	return list[:min(len(list), maxPercentiles)]
}

// cpu is the job's user and system time in percent of its run time.
func cpu(j *result.Job) (usr, sys float64) {
	if j.Runtime <= 0 {
		return 0, 0
	}
	return 100 * float64(j.CPUUser) / float64(j.Runtime), 100 * float64(j.CPUSys) / float64(j.Runtime)
}

// figures are what fio prints of a distribution; all zero where there is none.
type figures struct {
	min, max, n uint64
	mean, dev   float64
}

func figuresOf(l result.Latency) figures {
	if l == nil || l.Count() == 0 {
		return figures{}
	}
	return figures{l.Min(), l.Max(), l.Count(), units.Finite(l.Mean()), units.Finite(l.StdDev())}
}

// option looks a job's option up, then the globals.
func option(run *result.Run, j *result.Job, key string) (string, bool) {
	for _, list := range [][]result.KV{j.Options, run.Globals} {
		for _, o := range list {
			if o.Key == key {
				return o.Value, true
			}
		}
	}
	return "", false
}

// cause is why a job failed, empty when it did not.
func cause(j *result.Job) string {
	switch {
	case j.FirstError != "":
		return j.FirstError
	case j.Error != 0:
		return syscall.Errno(j.Error).Error()
	case j.TotalErrors > 0:
		return plural(j.TotalErrors, "error")
	}
	return ""
}

func plural(n uint64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.FormatUint(n, 10) + " " + noun
}
