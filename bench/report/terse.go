package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// ErrTerseVersion says that fio has no such version of terse lines.
var ErrTerseVersion = errors.New("terse version is one of 2, 3, 4, 5")

// Terse writes one line of semicolon-separated fields a job, in the layout of fio's terse version 2, 3, 4 or 5. Latencies are microseconds.
func Terse(w io.Writer, run *result.Run, version int) error {
	if version < 2 || version > 5 {
		return fmt.Errorf("terse report: version %d: %w", version, ErrTerseVersion)
	}
	b := bufio.NewWriter(w)
	for i := range run.Jobs {
		terseJob(b, run, &run.Jobs[i], version)
	}
	return flushed(b, "terse report")
}

func terseJob(b *bufio.Writer, run *result.Run, j *result.Job, version int) {
	if version == 2 {
		_, _ = fmt.Fprintf(b, "2;%s;%d;%d", terseText(j.Name), j.Group, j.Error)
	} else {
		_, _ = fmt.Fprintf(b, "%d;%s;%s;%d;%d", version, FioVersion(run.Version), terseText(j.Name), j.Group, j.Error)
	}
	for _, d := range shown(j) {
		if d.name == "trim" && version == 3 {
			continue
		}
		terseDir(b, j, d.Dir, version)
	}
	usr, sys := cpu(j)
	_, _ = fmt.Fprintf(b, ";%f%%;%f%%;%d;%d;%d", usr, sys, j.CtxSwitches, j.MajorFaults, j.MinorFaults)
	for _, f := range depths(&j.DepthHist, issued(j)) {
		_, _ = fmt.Fprintf(b, ";%3.1f%%", f)
	}
	c := classes(j)
	for _, f := range c.ns { // the format has no nanoseconds: they count for the first class of microseconds
		c.us[0] += f
	}
	for _, f := range append(c.us[:], c.ms[:]...) {
		_, _ = fmt.Fprintf(b, ";%3.2f%%", f)
	}
	if version >= 3 {
		for i := range run.Disks {
			terseDisk(b, &run.Disks[i])
		}
	}
	if j.ContinueOnError {
		_, _ = fmt.Fprintf(b, ";%d;%d", j.TotalErrors, j.Error)
	}
	if j.Description != "" {
		if version == 2 {
			_ = b.WriteByte('\n')
		}
		_, _ = b.WriteString(";" + terseText(j.Description))
	}
	_ = b.WriteByte('\n')
}

// terseText keeps a name from adding fields or lines.
func terseText(s string) string {
	return strings.NewReplacer(";", "_", "\n", " ", "\r", " ").Replace(s)
}

func terseDir(b *bufio.Writer, j *result.Job, d *result.Dir, version int) {
	_, _ = fmt.Fprintf(b, ";%d;%d;%d;%d", d.Bytes/1024, count(d.BWBytes)/1024, count(d.IOPSMean), millis(d.Runtime))
	terseLatency(b, d.Slat)
	terseLatency(b, d.Clat)
	tersePercentiles(b, j, d)
	terseLatency(b, d.Lat)
	_, _ = fmt.Fprintf(b, ";%d;%d;%f%%;%f;%f", count(d.BW.Min), count(d.BW.Max), units.Finite(d.BWAgg), units.Finite(d.BW.Mean), units.Finite(d.BW.StdDev))
	if version == 5 {
		_, _ = fmt.Fprintf(b, ";%d;%d;%d;%f;%f;%d", d.BW.N, count(d.IOPS.Min), count(d.IOPS.Max), units.Finite(d.IOPS.Mean), units.Finite(d.IOPS.StdDev), d.IOPS.N)
	}
}

func terseLatency(b *bufio.Writer, l result.Latency) {
	f := figuresOf(l)
	_, _ = fmt.Fprintf(b, ";%d;%d;%f;%f", f.min/1000, f.max/1000, f.mean/1000, f.dev/1000)
}

// tersePercentiles writes twenty fields, those of lat where it was asked for, else those of clat.
func tersePercentiles(b *bufio.Writer, j *result.Job, d *result.Dir) {
	var list []float64
	l := d.Clat
	if j.LatPercentiles {
		l = d.Lat
	}
	if j.LatPercentiles || j.ClatPercentiles {
		list = percentiles(j)
	}
	for i := range maxPercentiles {
		if i >= len(list) {
			_, _ = b.WriteString(";0%=0")
			continue
		}
		v := uint64(0)
		if l != nil && l.Count() > 0 {
			v = l.Percentile(list[i])
		}
		_, _ = fmt.Fprintf(b, ";%f%%=%d", list[i], v/1000)
	}
}

func terseDisk(b *bufio.Writer, u *result.DiskUtil) {
	fields := func(name string, u *result.DiskUtil) {
		_, _ = fmt.Fprintf(b, ";%s;%d;%d;%d;%d;%d;%d;%d;%3.2f%%", name,
			u.ReadIOs, u.WriteIOs, u.ReadMerges, u.WriteMerges, u.ReadTicks, u.WriteTicks, u.InQueue, units.Finite(u.Util))
	}
	fields(u.Name, u)
	if u.Aggregate != nil {
		fields("slaves", u.Aggregate)
	}
}
