package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// JSONOptions choose what goes into the document.
type JSONOptions struct {
	Bins bool // json+: the histograms, per interval too
}

// FioVersion is the value of "fio version" and of the version field of terse lines.
func FioVersion(version string) string {
	if strings.HasPrefix(version, "fio-") {
		return version // of a document that fio wrote
	}
	if version == "" {
		return "fio-3.33-blkbench"
	}
	return "fio-3.33-blkbench-" + version
}

// JSON writes the run in fio's schema, keys in fio's order. The document is valid whatever the run holds.
func JSON(w io.Writer, run *result.Run, o JSONOptions) error {
	d := newDocument(w)
	now := run.Start.Add(run.Elapsed)
	d.object("", func() {
		d.string("fio version", FioVersion(run.Version))
		d.int("timestamp", now.Unix())
		d.int("timestamp_ms", now.UnixMilli())
		d.string("time", ctime(now))
		jsonOptions(d, "global options", run.Globals)
		d.array("jobs", func() {
			for i := range run.Jobs {
				d.object("", func() { jsonJob(d, run, &run.Jobs[i], o) })
			}
		})
		d.array("disk_util", func() {
			for i := range run.Disks {
				d.object("", func() { jsonDisk(d, &run.Disks[i]) })
			}
		})
		d.object("blkbench", func() { jsonRunExtras(d, run) })
	})
	if err := d.finish(); err != nil {
		return fmt.Errorf("write json report: %w", err)
	}
	return nil
}

// jsonOptions leaves the object out when there are none, as fio does.
func jsonOptions(d *document, key string, list []result.KV) {
	if len(list) == 0 {
		return
	}
	// A key that was given again holds its last value: names are unique in an object.
	last := make(map[string]string, len(list))
	for _, o := range list {
		v := redacted(o)
		if v == "" {
			v = "1"
		}
		last[o.Key] = v
	}
	d.object(key, func() {
		for _, o := range list {
			if v, ok := last[o.Key]; ok {
				d.string(o.Key, v)
				delete(last, o.Key)
			}
		}
	})
}

func jsonJob(d *document, run *result.Run, j *result.Job, o JSONOptions) {
	d.string("jobname", j.Name)
	d.int("groupid", int64(j.Group))
	d.int("error", int64(j.Error))
	d.int("eta", seconds(run.Left))
	d.int("elapsed", seconds(run.Elapsed))
	jsonOptions(d, "job options", j.Options)
	for _, dir := range shown(j) {
		if dir.Dir == j.Mixed && both(j) {
			continue // after sync
		}
		d.object(dir.name, func() { jsonDir(d, j, dir.Dir, o) })
	}
	if !j.Unified || j.Mixed == nil {
		d.object("sync", func() {
			d.uint("total_ios", j.Dir[result.Sync].IOs)
			jsonLatency(d, "lat_ns", j, syncLatency(j), j.ClatPercentiles || j.LatPercentiles, o)
		})
	}
	if both(j) {
		d.object("mixed", func() { jsonDir(d, j, j.Mixed, o) })
	}
	usr, sys := cpu(j)
	if !j.Started.IsZero() {
		d.int("job_start", j.Started.UnixMilli()) // since fio 3.36
	}
	d.uint("job_runtime", millis(j.Runtime))
	d.float("usr_cpu", usr)
	d.float("sys_cpu", sys)
	d.uint("ctx", j.CtxSwitches)
	d.uint("majf", j.MajorFaults)
	d.uint("minf", j.MinorFaults)
	jsonShares(d, "iodepth_level", levelNames[:], depths(&j.DepthHist, issued(j)))
	jsonShares(d, "iodepth_submit", batchNames[:], depths(&j.SubmitHist, j.Submits))
	jsonShares(d, "iodepth_complete", batchNames[:], depths(&j.CompleteHist, j.Completes))
	c := classes(j)
	jsonClasses(d, "latency_ns", c.ns[:])
	jsonClasses(d, "latency_us", c.us[:])
	jsonClasses(d, "latency_ms", c.ms[:])
	if j.ContinueOnError {
		d.uint("total_err", j.TotalErrors)
		d.int("first_error", int64(j.Error))
	}
	t := latencyTarget(j)
	d.int("latency_depth", int64(t.Depth))
	d.int("latency_target", t.Target.Nanoseconds())
	d.float("latency_percentile", t.Percentile)
	d.int("latency_window", t.Window.Microseconds())
	if j.Description != "" {
		d.string("desc", j.Description)
	}
	if j.Steady != nil {
		d.object("steadystate", func() { jsonSteady(d, j.Steady) })
	}
	d.object("blkbench", func() { jsonJobExtras(d, j, o) })
}

// latencyTarget is what fio prints of it, which it does for every job.
func latencyTarget(j *result.Job) result.LatencyTarget {
	if j.LatencyTarget != nil {
		return *j.LatencyTarget
	}
	return result.LatencyTarget{Depth: max(j.Depth, 1), Percentile: 100}
}

func jsonDir(d *document, j *result.Job, r *result.Dir, o JSONOptions) {
	d.uint("io_bytes", r.Bytes)
	d.uint("io_kbytes", r.Bytes/1024)
	d.uint("bw_bytes", count(r.BWBytes))
	d.uint("bw", count(r.BWBytes)/1024)
	d.float("iops", r.IOPSMean)
	d.uint("runtime", millis(r.Runtime))
	d.uint("total_ios", r.IOs)
	d.uint("short_ios", r.Short)
	d.uint("drop_ios", r.Dropped)
	jsonLatency(d, "slat_ns", j, r.Slat, j.SlatPercentiles, o)
	jsonLatency(d, "clat_ns", j, r.Clat, j.ClatPercentiles, o)
	jsonLatency(d, "lat_ns", j, r.Lat, j.LatPercentiles, o)
	d.uint("bw_min", count(r.BW.Min))
	d.uint("bw_max", count(r.BW.Max))
	d.float("bw_agg", r.BWAgg)
	d.float("bw_mean", r.BW.Mean)
	d.float("bw_dev", r.BW.StdDev)
	d.int("bw_samples", int64(r.BW.N))
	d.uint("iops_min", count(r.IOPS.Min))
	d.uint("iops_max", count(r.IOPS.Max))
	d.float("iops_mean", r.IOPS.Mean)
	d.float("iops_stddev", r.IOPS.StdDev)
	d.int("iops_samples", int64(r.IOPS.N))
}

func jsonLatency(d *document, key string, j *result.Job, l result.Latency, withPercentiles bool, o JSONOptions) {
	f := figuresOf(l)
	d.object(key, func() {
		d.uint("min", f.min)
		d.uint("max", f.max)
		d.float("mean", f.mean)
		d.float("stddev", f.dev)
		d.uint("N", f.n)
		if !withPercentiles || f.n == 0 {
			return
		}
		d.object("percentile", func() {
			for _, p := range percentiles(j) {
				d.uint(strconv.FormatFloat(p, 'f', 6, 64), l.Percentile(p))
			}
		})
		if !o.Bins {
			return
		}
		d.object("bins", func() {
			l.Buckets(func(lo, hi, n uint64) bool {
				d.uint(strconv.FormatUint(middle(lo, hi), 10), n)
				return true
			})
		})
	})
}

func jsonShares(d *document, key string, names []string, v [7]float64) {
	d.object(key, func() {
		for i, n := range names {
			d.float(n, v[i])
		}
	})
}

func jsonClasses(d *document, key string, v []float64) {
	d.object(key, func() {
		for i, f := range v {
			d.float(classNames[i], f)
		}
	})
}

func jsonSteady(d *document, s *result.SteadyState) {
	unit := ""
	if s.Percent {
		unit = "%"
	}
	attained := int64(0)
	if s.Attained {
		attained = 1
	}
	d.string("ss", steadyExpr(s))
	d.int("duration", seconds(s.Duration))
	d.int("attained", attained)
	d.string("criterion", strconv.FormatFloat(units.Finite(s.Criterion), 'f', 6, 64)+unit)
	d.float("max_deviation", s.MaxDev)
	d.float("slope", s.Slope)
	list := func(key string, v []float64) {
		d.array(key, func() {
			for _, f := range v {
				d.uint("", count(f))
			}
		})
	}
	d.object("data", func() {
		d.uint("bw_mean", count(s.BWMean))
		d.uint("iops_mean", count(s.IOPSMean))
		if len(s.Lat) > 0 {
			d.uint("lat_mean", count(s.LatMean)) // since fio 3.38
		}
		list("iops", s.IOPS)
		list("bw", s.BW)
		if len(s.Lat) > 0 {
			list("lat", s.Lat)
		}
	})
}

// steadyExpr spells the limit as fio does: iops:5% as iops:5.000000%.
func steadyExpr(s *result.SteadyState) string {
	what, limit, ok := strings.Cut(s.Expr, ":")
	num, percent := strings.CutSuffix(limit, "%")
	f, err := strconv.ParseFloat(num, 64)
	if !ok || err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return s.Expr
	}
	out := what + ":" + strconv.FormatFloat(f, 'f', 6, 64)
	if percent {
		out += "%"
	}
	return out
}

func jsonDisk(d *document, u *result.DiskUtil) {
	d.string("name", u.Name)
	d.uint("read_ios", u.ReadIOs)
	d.uint("write_ios", u.WriteIOs)
	d.uint("read_sectors", u.ReadSectors) // sectors since fio 3.36
	d.uint("write_sectors", u.WriteSectors)
	d.uint("read_merges", u.ReadMerges)
	d.uint("write_merges", u.WriteMerges)
	d.uint("read_ticks", u.ReadTicks)
	d.uint("write_ticks", u.WriteTicks)
	d.uint("in_queue", u.InQueue)
	d.float("util", u.Util)
	a := u.Aggregate
	if a == nil {
		return
	}
	d.uint("aggr_read_ios", a.ReadIOs)
	d.uint("aggr_write_ios", a.WriteIOs)
	d.uint("aggr_read_sectors", a.ReadSectors)
	d.uint("aggr_write_sectors", a.WriteSectors)
	d.uint("aggr_read_merges", a.ReadMerges)
	d.uint("aggr_write_merge", a.WriteMerges) // fio's spelling
	d.uint("aggr_read_ticks", a.ReadTicks)
	d.uint("aggr_write_ticks", a.WriteTicks)
	d.uint("aggr_in_queue", a.InQueue)
	d.float("aggr_util", a.Util)
}

// seconds rounds up, so that a run that has begun has lasted one.
func seconds(d time.Duration) int64 { return int64((max(d, 0) + time.Second - 1) / time.Second) }
