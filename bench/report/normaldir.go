package report

import (
	"bufio"
	"fmt"
	"math"
	"strconv"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// normalDir writes one direction of a job; one that moved nothing is left out.
func normalDir(b *bufio.Writer, j *result.Job, d named) {
	if d.Bytes == 0 || millis(d.Runtime) == 0 {
		return
	}
	post := ""
	if d.name == "write" {
		post = "; 0 zone resets"
	}
	bw := count(d.BWBytes)
	_, _ = fmt.Fprintf(b, "  %s: IOPS=%s, BW=%s (%s)(%s/%dmsec)%s\n", d.name, units.Fio(count(d.IOPSMean), units.FioDigits, false, ""),
		units.Fio(bw, units.FioDigits, true, "B/s"), units.Fio(bw, units.FioDigits, false, "B/s"),
		units.Fio(d.Bytes, units.FioDigits, true, "B"), millis(d.Runtime), post)
	normalLatency(b, "slat", d.Slat)
	normalLatency(b, "clat", d.Clat)
	normalLatency(b, " lat", d.Lat)
	if j.SlatPercentiles {
		normalPercentiles(b, "slat", j, d.Slat)
	}
	if j.ClatPercentiles {
		normalPercentiles(b, "clat", j, d.Clat)
	}
	if j.LatPercentiles {
		normalPercentiles(b, "lat", j, d.Lat)
	}
	if d.BW.N > 0 {
		normalBW(b, d.Dir)
	}
	if s := d.IOPS; s.N > 0 {
		_, _ = fmt.Fprintf(b, "   iops        : min=%5d, max=%5d, avg=%5.02f, stdev=%5.02f, samples=%d\n",
			count(s.Min), count(s.Max), units.Finite(s.Mean), units.Finite(s.StdDev), s.N)
	}
}

func normalBW(b *bufio.Writer, d *result.Dir) {
	lo, hi, mean, dev, unit := count(d.BW.Min), count(d.BW.Max), units.Finite(d.BW.Mean), units.Finite(d.BW.StdDev), "KiB"
	if mean > 1024*1024 {
		lo, hi, mean, dev, unit = lo/1024, hi/1024, mean/1024, dev/1024, "MiB"
	}
	_, _ = fmt.Fprintf(b, "   bw (%5s/s): min=%5d, max=%5d, per=%3.2f%%, avg=%5.02f, stdev=%5.02f, samples=%d\n",
		unit, lo, hi, units.Finite(d.BWAgg), mean, dev, d.BW.N)
}

func normalLatency(b *bufio.Writer, name string, l result.Latency) {
	f := figuresOf(l)
	if f.n == 0 {
		return
	}
	s := scaleOf(f.min, f.max, f.dev)
	_, _ = fmt.Fprintf(b, "    %s (%s): min=%s, max=%s, avg=%5.02f, stdev=%5.02f\n", name, s.name,
		units.Fio(f.min/s.div, 6, false, ""), units.Fio(f.max/s.div, 6, false, ""), f.mean/float64(s.div), f.dev/float64(s.div))
}

// normalPercentiles writes the table of percentiles, as many in a line as fit 80 columns. Values are rounded up.
func normalPercentiles(b *bufio.Writer, name string, j *result.Job, l result.Latency) {
	if l == nil || l.Count() == 0 {
		return
	}
	list := percentiles(j)
	if len(list) == 0 {
		return
	}
	v := make([]uint64, len(list))
	lo, hi := uint64(math.MaxUint64), uint64(0)
	for i, p := range list {
		v[i] = l.Percentile(p)
		lo, hi = min(lo, v[i]), max(hi, v[i])
	}
	s := percentileScale(lo, hi)
	digits := j.PercentDigits
	if digits == 0 {
		digits = 2
	}
	width := max(5, units.Decimals(hi/s.div))
	perLine := max(1, (80-7)/(digits+10+width))
	_, _ = fmt.Fprintf(b, "    %s percentiles (%s):\n", name, s.name)
	for i, p := range list {
		switch {
		case i%perLine == 0 && i > 0:
			_, _ = b.WriteString(",\n     |")
		case i == 0:
			_, _ = b.WriteString("     |")
		default:
			_ = b.WriteByte(',')
		}
		_, _ = fmt.Fprintf(b, " %*sth=[%*d]", digits+3, strconv.FormatFloat(p, 'f', digits, 64), width, scaledUp(v[i], s))
	}
	_ = b.WriteByte('\n')
}

// scaledUp divides in steps of a thousand, rounding up each time.
func scaledUp(v uint64, s latencyScale) uint64 {
	for d := s.div; d > 1; d /= 1000 {
		v = (v + 999) / 1000
	}
	return v
}

// group is the status of a group of jobs.
type group struct {
	id   int
	list []groupDir
}

type groupDir struct {
	name           string
	bytes, agg     uint64 // agg is bytes a second, over the longest runtime
	minBW, maxBW   uint64
	minRun, maxRun uint64 // ms
}

func (d *groupDir) add(r *result.Dir) {
	run := millis(r.Runtime)
	if run == 0 {
		return
	}
	bw := count(float64(r.Bytes) * 1000 / float64(run))
	if d.maxRun == 0 {
		d.minRun, d.minBW = run, bw
	}
	d.bytes += r.Bytes
	d.minRun, d.maxRun = min(d.minRun, run), max(d.maxRun, run)
	d.minBW, d.maxBW = min(d.minBW, bw), max(d.maxBW, bw)
	d.agg = count(float64(d.bytes) * 1000 / float64(d.maxRun))
}

// merge adds a direction up with others of the same group.
func (d *groupDir) merge(o *groupDir) {
	if d.maxRun == 0 {
		d.minRun, d.minBW = o.minRun, o.minBW
	}
	d.bytes, d.agg = d.bytes+o.bytes, d.agg+o.agg
	d.minRun, d.maxRun = min(d.minRun, o.minRun), max(d.maxRun, o.maxRun)
	d.minBW, d.maxBW = min(d.minBW, o.minBW), max(d.maxBW, o.maxBW)
}

// groups are all groups up to the highest, in fio's order of lines.
func groups(run *result.Run) []group {
	last := 0
	for i := range run.Jobs {
		last = max(last, min(run.Jobs[i].Group, len(run.Jobs)*64))
	}
	list := make([]group, last+1)
	for id := range list {
		list[id] = groupOf(run, id)
	}
	return list
}

func groupOf(run *result.Run, id int) group {
	g := group{id: id}
	dirs := [4]groupDir{{name: "   READ"}, {name: "  WRITE"}, {name: "   TRIM"}, {name: "  MIXED"}}
	sum := false
	for i := range run.Jobs {
		j := &run.Jobs[i]
		if j.Group != id {
			continue
		}
		if j.Unified && j.Mixed != nil {
			dirs[3].add(j.Mixed)
			continue
		}
		sum = sum || j.Mixed != nil
		for k, r := range measured(j) {
			dirs[k].add(r)
		}
	}
	for k := range dirs[:3] {
		if sum && dirs[k].maxRun > 0 {
			dirs[3].merge(&dirs[k])
		}
	}
	for _, d := range dirs {
		if d.maxRun > 0 {
			g.list = append(g.list, d)
		}
	}
	return g
}

func normalGroup(b *bufio.Writer, g *group) {
	_, _ = fmt.Fprintf(b, "\nRun status group %d (all jobs):\n", g.id)
	rate := func(n uint64, iec bool) string { return units.Fio(n, units.FioDigits, iec, "B/s") }
	for _, d := range g.list {
		_, _ = fmt.Fprintf(b, "%s: bw=%s (%s), %s-%s (%s-%s), io=%s (%s), run=%d-%dmsec\n", d.name,
			rate(d.agg, true), rate(d.agg, false), rate(d.minBW, true), rate(d.maxBW, true), rate(d.minBW, false), rate(d.maxBW, false),
			units.Fio(d.bytes, units.FioDigits, true, "B"), units.Fio(d.bytes, units.FioDigits, false, "B"), d.minRun, d.maxRun)
	}
}
