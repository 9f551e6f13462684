package bench

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/gen"
	"github.com/blkbench/blkbench/bench/series"
	"github.com/blkbench/blkbench/engine"
)

// eventRing is how many requests the log of every single one may lag behind.
const eventRing = 1 << 16

// requestLog passes completed requests to the collector, for logs that have a line for each.
type requestLog struct {
	ring *series.Ring[series.Event]
	prio uint16
	high bool
}

func (l *requestLog) trace(w *worker, r *engine.Request, s *slot, now int64) {
	e := series.Event{
		Done: now, Issued: s.made, Lat: uint64(now - s.planned), Clat: uint64(now - s.handed), Slat: uint64(s.handed - s.made),
		Off: r.Off, Len: r.Len, Dir: gen.Dir(s.dir), Prio: l.prio, HighPriority: l.high,
	}
	l.ring.Push(&e)
}

// jobLogs are the logs of one worker, on the collector's side.
type jobLogs struct {
	w      *worker
	opts   series.Options
	logs   *series.Logs // nil before the job has begun
	ring   *series.Ring[series.Event]
	broken bool
}

// logsOf says what a job logs; nil when that is nothing.
func logsOf(w *worker) *jobLogs {
	l := &w.job.Log
	if !l.BW.On && !l.Lat.On && !l.IOPS.On && !l.Hist.On {
		return nil
	}
	o := series.Options{
		Avg: int64(l.Interval), Hist: int64(l.HistInterval), Coarseness: l.HistCoarseness, Offset: l.Offset, Prio: l.Prio, IssueTime: l.IssueTime,
		Window: [...]series.Window{
			fiojob.WindowAverage: series.Average, fiojob.WindowMax: series.Maximum, fiojob.WindowBoth: series.Both,
		}[l.Window],
	}
	if l.PerJob {
		o.Job = w.job.Thread
	}
	rep := &w.job.Report
	name := func(f fiojob.LogFile, off bool) string {
		switch {
		case !f.On || off:
			return ""
		case f.Name == "":
			return w.job.Name
		}
		return f.Name
	}
	o.Prefix[series.BW] = name(l.BW, rep.DisableBW)
	o.Prefix[series.IOPS] = name(l.IOPS, false)
	o.Prefix[series.Slat] = name(l.Lat, rep.DisableSlat || rep.GTODReduce)
	o.Prefix[series.Clat] = name(l.Lat, rep.DisableClat || rep.GTODReduce)
	o.Prefix[series.Lat] = name(l.Lat, rep.DisableLat || rep.GTODReduce)
	o.Prefix[series.ClatHist] = name(l.Hist, rep.DisableClat || rep.GTODReduce)
	jl := &jobLogs{w: w, opts: o}
	single := l.Interval == 0 && (l.BW.On || l.Lat.On || l.IOPS.On)
	if single {
		jl.ring = series.NewRing[series.Event](eventRing)
		c := &w.job.CPU
		w.tracer = &requestLog{ring: jl.ring, prio: uint16(ioPriority(c)), high: c.PrioClass == 1}
	}
	return jl
}

// logWindow is the shortest window of a job's logs; 0 when there is none.
func logWindow(j *fiojob.Job) time.Duration {
	l := &j.Log
	d := time.Duration(0)
	if l.Interval > 0 && (l.BW.On || l.Lat.On || l.IOPS.On) {
		d = l.Interval
	}
	if l.Hist.On && l.HistInterval > 0 && (d == 0 || l.HistInterval < d) {
		d = l.HistInterval
	}
	return d
}

// begun opens the files once the job has begun; false before, and when that did not work.
func (l *jobLogs) begun() bool {
	if l.logs != nil || l.broken {
		return !l.broken
	}
	start := l.w.began.Load()
	if start == 0 {
		return false
	}
	l.opts.Start = start
	r := l.w.run
	if l.w.job.Log.AltEpoch {
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(l.w.job.Log.Clock), &ts); err != nil {
			r.warn("%s: log_alternate_epoch_clock_id %d: %v", l.w.job.Name, l.w.job.Log.Clock, err)
		}
		l.opts.Epoch = ts.Nano() - (r.clock.Now() - start)
	}
	// Jobs that share a file add to it, whichever comes first.
	l.opts.Append = !l.w.job.Log.PerJob && r.collect.shared[l.opts.Prefix]
	r.collect.shared[l.opts.Prefix] = true
	var err error
	if l.logs, err = series.Open(l.opts); err != nil {
		l.fail(err)
	}
	return err == nil
}

func (l *jobLogs) fail(err error) {
	l.broken = true
	l.w.run.warn("%s: log: %v", l.w.job.Name, err)
}

// drain writes what single requests there are.
func (l *jobLogs) drain() {
	if l.ring == nil || !l.begun() {
		return
	}
	l.ring.Drain(func(es []series.Event) {
		for i := range es {
			l.logs.Event(&es[i])
		}
	})
}

// interval adds an interval to windowed logs.
func (l *jobLogs) interval(iv *interval) {
	if !l.begun() {
		return
	}
	if avg, h := l.logs.Windowed(); avg == 0 && h == 0 {
		return
	}
	var parts [gen.Dirs]series.Part
	for d := range parts {
		v := &iv.dir[d]
		parts[d] = series.Part{IOs: v.ios, Bytes: v.bytes, Slat: v.slat, Clat: v.clat, Lat: v.lat, Block: uint32(l.w.job.Block.Size[d].Min)}
	}
	l.logs.Interval(iv.to, &parts)
}

// close ends the logs.
func (l *jobLogs) close() error {
	l.drain()
	if l.ring != nil && l.ring.Dropped() > 0 {
		l.w.run.warn("%s: the log of every request lacks %d: it was written more slowly than they came; log_avg_msec keeps all", l.w.job.Name, l.ring.Dropped())
	}
	if l.logs == nil {
		return nil
	}
	err := l.logs.Close()
	l.logs = nil
	if err != nil {
		return fmt.Errorf("%s: log: %w", l.w.job.Name, err)
	}
	return nil
}
