package report

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// Header writes the lines that fio prints before a run: one for each job, the version, and how many jobs start.
func Header(w io.Writer, run *result.Run) error {
	b := bufio.NewWriter(w)
	members := 0
	for i := range run.Jobs {
		j := &run.Jobs[i]
		n := max(j.Members, 1)
		members += n
		_, _ = fmt.Fprintf(b, "%s: (g=%d): rw=%s, bs=%s, ioengine=%s, iodepth=%d\n", j.Name, j.Group, j.RW, sizes(j.BlockSizes), ioengine(run, j), max(j.Depth, 1))
		if n > 1 {
			_, _ = b.WriteString("...\n")
		}
	}
	noun := "thread"
	if members != 1 {
		noun += "s"
	}
	_, _ = fmt.Fprintf(b, "%s\nStarting %d %s\n", FioVersion(run.Version), members, noun)
	return flushed(b, "header")
}

// sizes spells the block sizes of the three directions (4096,4096-65536,4096) as fio does.
func sizes(s string) string {
	parts := strings.Split(s, ",")
	if len(parts) != 3 {
		return s
	}
	for i, p := range parts {
		lo, hi, span := strings.Cut(p, "-")
		if !span {
			hi = lo
		}
		a, err1 := strconv.ParseUint(lo, 10, 64)
		z, err2 := strconv.ParseUint(hi, 10, 64)
		if err1 != nil || err2 != nil {
			return s
		}
		parts[i] = fmt.Sprintf("(%c) %s-%s", "RWT"[i], units.Fio(a, units.FioDigits, true, "B"), units.Fio(z, units.FioDigits, true, "B"))
	}
	return strings.Join(parts, ", ")
}

// ioengine is the engine as it was asked for, or fio's name for the one that was used.
func ioengine(run *result.Run, j *result.Job) string {
	if v, ok := option(run, j, "ioengine"); ok {
		return v
	}
	for _, e := range []struct{ word, name string }{{"io_uring_cmd", "io_uring_cmd"}, {"io_uring", "io_uring"}, {"threads", "psync"}, {"null", "null"}} {
		if strings.Contains(j.Engine, e.word) {
			return e.name
		}
	}
	first, _, _ := strings.Cut(j.Engine, ",")
	return first
}

func flushed(b *bufio.Writer, what string) error {
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", what, err)
	}
	return nil
}

// Normal writes fio's text: the jobs, the status of each group, and the disks.
func Normal(w io.Writer, run *result.Run) error {
	b := bufio.NewWriter(w)
	_, _ = b.WriteString("\n")
	for i := range run.Jobs {
		normalJob(b, run, &run.Jobs[i])
	}
	for _, g := range groups(run) {
		normalGroup(b, &g)
	}
	if len(run.Disks) > 0 {
		_, _ = b.WriteString("\nDisk stats (read/write):\n")
		for i := range run.Disks {
			normalDisk(b, &run.Disks[i])
		}
	}
	return flushed(b, "report")
}

func normalJob(b *bufio.Writer, run *result.Run, j *result.Job) {
	var bytes uint64
	for _, d := range measured(j) {
		bytes += d.Bytes
	}
	if bytes == 0 && issued(j) == 0 && j.Error == 0 {
		return
	}
	why := ""
	if j.Error != 0 {
		why = " (" + redactedName(cause(j)) + ")"
	}
	_, _ = fmt.Fprintf(b, "%s: (groupid=%d, jobs=%d): err=%2d%s: pid=%d: %s\n",
		j.Name, j.Group, max(j.Members, 1), j.Error, why, j.PID, ctime(run.Start.Add(run.Elapsed)))
	if j.Description != "" {
		_, _ = fmt.Fprintf(b, "  Description  : [%s]\n", j.Description)
	}
	for _, d := range shown(j) {
		normalDir(b, j, d)
	}
	c := classes(j)
	normalClasses(b, "nsec", c.ns[:])
	normalClasses(b, "usec", c.us[:])
	normalClasses(b, "msec", c.ms[:])
	if l := syncLatency(j); l != nil && l.Count() > 0 {
		_, _ = b.WriteString("  fsync/fdatasync/sync_file_range:\n")
		normalLatency(b, "sync", l)
		normalPercentiles(b, "sync", j, l)
	}
	usr, sys := cpu(j)
	_, _ = fmt.Fprintf(b, "  cpu          : usr=%3.2f%%, sys=%3.2f%%, ctx=%d, majf=%d, minf=%d\n", usr, sys, j.CtxSwitches, j.MajorFaults, j.MinorFaults)
	normalShares(b, "  IO depths    : ", levelNames[:], depths(&j.DepthHist, issued(j)))
	normalShares(b, "     submit    : ", batchNames[:], depths(&j.SubmitHist, j.Submits))
	normalShares(b, "     complete  : ", batchNames[:], depths(&j.CompleteHist, j.Completes))
	normalIssued(b, j)
	if j.ContinueOnError {
		text := "Success"
		if j.Error != 0 {
			text = syscall.Errno(j.Error).Error()
		}
		_, _ = fmt.Fprintf(b, "     errors    : total=%d, first_error=%d/<%s>\n", j.TotalErrors, j.Error, text)
	}
	t := latencyTarget(j)
	_, _ = fmt.Fprintf(b, "     latency   : target=%d, window=%d, percentile=%.2f%%, depth=%d\n",
		t.Target.Nanoseconds(), t.Window.Microseconds(), t.Percentile, t.Depth)
	if j.Steady != nil {
		normalSteady(b, j.Steady)
	}
}

func normalIssued(b *bufio.Writer, j *result.Job) {
	var total, short, dropped [3]uint64
	for i, d := range measured(j) {
		total[i], short[i], dropped[i] = d.IOs, d.Short, d.Dropped
	}
	_, _ = fmt.Fprintf(b, "     issued rwts: total=%d,%d,%d,%d short=%d,%d,%d,0 dropped=%d,%d,%d,0\n",
		total[0], total[1], total[2], j.Dir[result.Sync].IOs, short[0], short[1], short[2], dropped[0], dropped[1], dropped[2])
}

func normalShares(b *bufio.Writer, title string, names []string, v [7]float64) {
	_, _ = b.WriteString(title)
	for i, n := range names {
		sep := ", "
		if i == 0 {
			sep = ""
		}
		_, _ = fmt.Fprintf(b, "%s%s=%3.1f%%", sep, n, v[i])
	}
	_ = b.WriteByte('\n')
}

// normalClasses writes the classes that are not empty, five a line.
func normalClasses(b *bufio.Writer, unit string, v []float64) {
	n := 0
	for i, f := range v {
		if f <= 0 {
			continue
		}
		switch {
		case n%5 != 0:
			_, _ = b.WriteString(", ")
		case n > 0:
			_ = b.WriteByte('\n')
			fallthrough
		default:
			_, _ = fmt.Fprintf(b, "  lat (%s)   : ", unit)
		}
		_, _ = fmt.Fprintf(b, "%s=%3.2f%%", classNames[i], f)
		n++
	}
	if n > 0 {
		_ = b.WriteByte('\n')
	}
}

func normalSteady(b *bufio.Writer, s *result.SteadyState) {
	attained, unit := "no", ""
	if s.Attained {
		attained = "yes"
	}
	if s.Percent {
		unit = "%"
	}
	what, _, _ := strings.Cut(s.Expr, ":")
	test := " mean dev"
	if rest, slope := strings.CutSuffix(what, "_slope"); slope {
		what, test = rest, " slope"
	}
	bw := count(s.BWMean)
	_, _ = fmt.Fprintf(b, "  steadystate  : attained=%s, bw=%s (%s), iops=%s, %s%s=%.3f%s\n", attained,
		units.Fio(bw, units.FioDigits, true, "B/s"), units.Fio(bw, units.FioDigits, false, "B/s"), units.Fio(count(s.IOPSMean), units.FioDigits, false, ""),
		what, test, units.Finite(s.Criterion), unit)
}

func normalDisk(b *bufio.Writer, u *result.DiskUtil) {
	indent := ""
	if u.Aggregate != nil {
		indent = "  "
	}
	_, _ = fmt.Fprintf(b, "%s  %s: ios=%d/%d, merge=%d/%d, ticks=%d/%d, in_queue=%d, util=%3.2f%%", indent, u.Name,
		u.ReadIOs, u.WriteIOs, u.ReadMerges, u.WriteMerges, u.ReadTicks, u.WriteTicks, u.InQueue, units.Finite(u.Util))
	if a := u.Aggregate; a != nil {
		_, _ = fmt.Fprintf(b, ", aggrios=%d/%d, aggrmerge=%d/%d, aggrticks=%d/%d, aggrin_queue=%d, aggrutil=%3.2f%%",
			a.ReadIOs, a.WriteIOs, a.ReadMerges, a.WriteMerges, a.ReadTicks, a.WriteTicks, a.InQueue, units.Finite(a.Util))
	}
	_ = b.WriteByte('\n')
}
