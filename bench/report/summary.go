package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/blkbench/blkbench/bench/internal/series"
	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// maxDetailed is how many jobs are shown in full; more become a table, so that the summary fits a screen.
const maxDetailed = 2

// maxRows bounds that table.
const maxRows = 12

// maxHints bounds the hints; those that say the result may mislead come first.
const maxHints = 4

// Summary writes what people want to know first, on one screen: what was measured, how fast it was, how even, how sure that is,
// what limited it, and what would make it misleading. Width is the terminal's, 0 for 80; colour uses ANSI sequences.
func Summary(w io.Writer, run *result.Run, width int, colour bool) error {
	if width <= 0 {
		width = 80
	}
	s := &summary{b: bufio.NewWriter(w), run: run, width: min(max(width, 40), 120), colour: colour}
	s.headline()
	switch n := len(run.Jobs); {
	case n == 0:
		s.line("no job was run")
	case n <= maxDetailed:
		for i := range run.Jobs {
			s.job(&run.Jobs[i], n > 1)
		}
	default:
		s.table()
	}
	s.hints()
	return flushed(s.b, "summary")
}

type summary struct {
	b      *bufio.Writer
	run    *result.Run
	width  int
	colour bool
}

const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (s *summary) paint(sgr, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

func (s *summary) line(text string) {
	_, _ = s.b.WriteString(strings.TrimRight(ansi.Truncate(text, s.width, "…"), " ") + "\n")
}

// labelled writes a paragraph behind a label, wrapped and indented.
func (s *summary) labelled(label, sgr, text string) {
	const indent = 9
	for i, l := range strings.Split(ansi.Wordwrap(text, s.width-indent, " "), "\n") {
		if i > 0 {
			label = ""
		}
		s.line(s.paint(sgr, fmt.Sprintf("  %-*s", indent-2, label)) + strings.TrimLeft(l, " "))
	}
}

func (s *summary) headline() {
	head := "blkbench"
	if v := s.run.Version; v != "" {
		head += " " + v
	}
	head = s.paint(bold, head) + " · " + humanTime(s.run.Elapsed)
	if s.run.Host.Hostname != "" {
		head += " on " + printable(s.run.Host.Hostname)
	}
	if s.run.Interrupted {
		head += "  " + s.paint(yellow+";"+bold, "INTERRUPTED: complete up to then")
	} else if s.run.Left > 0 {
		head += "  " + s.paint(cyan, "still running, "+humanTime(s.run.Left)+" to go")
	}
	s.line(head)
}

// shape is what a job did, in words: randrw 4 KiB, depth 32 × 4.
func shape(j *result.Job) string {
	var parts []string
	if j.RW != "" {
		parts = append(parts, j.RW)
	}
	if bs := blockSize(j); bs != "" {
		parts = append(parts, bs)
	}
	if j.Depth > 0 {
		d := fmt.Sprintf("depth %d", j.Depth)
		if j.Members > 1 {
			d += fmt.Sprintf(" × %d jobs", j.Members)
		}
		parts = append(parts, d)
	}
	return strings.Join(parts, " · ")
}

// blockSize is the mean size of what was moved.
func blockSize(j *result.Job) string {
	var bytes, ios uint64
	for _, d := range measured(j) {
		bytes, ios = bytes+d.Bytes, ios+d.IOs
	}
	if ios == 0 || bytes == 0 {
		return ""
	}
	mean := units.Bytes(float64(bytes) / float64(ios))
	if bytes%ios != 0 {
		return "~" + mean
	}
	return mean
}

func target(t *result.Target) string {
	parts := []string{printable(redactedName(t.Name))}
	if t.Size > 0 {
		parts = append(parts, humanSize(t.Size))
	}
	switch {
	case t.FS != "" && t.Block != nil:
		parts = append(parts, "on "+t.FS+", "+device(t.Block))
	case t.FS != "":
		parts = append(parts, "on "+t.FS)
	case t.Block != nil:
		parts = append(parts, device(t.Block))
	case len(t.Layers) > 1:
		parts = append(parts, strings.Join(t.Layers, " → "))
	case t.Driver != "":
		parts = append(parts, t.Driver)
	}
	return strings.Join(parts, " · ")
}

func device(b *result.BlockDevice) string {
	s := b.Name
	if b.Model != "" {
		s += " (" + b.Model + ")"
	}
	return printable(s)
}

func (s *summary) job(j *result.Job, name bool) {
	_, _ = s.b.WriteString("\n")
	what := shape(j)
	if name || what == "" {
		what = s.paint(bold, printable(j.Name)) + " · " + what
	}
	s.labelled("what", faint, strings.TrimSuffix(what, " · "))
	list := targets(j)
	for i, t := range list {
		if i == 2 && len(list) > 3 {
			s.labelled("", faint, fmt.Sprintf("and %d more", len(list)-2))
			break
		}
		s.labelled("", faint, target(t))
	}
	if j.Engine != "" {
		s.labelled("", faint, "through "+printable(j.Engine))
	}
	s.failures(j)
	if issued(j) == 0 {
		s.labelled("fast", faint, "no I/O was completed")
		return
	}
	s.fast(j)
	s.even(j)
	s.limits(j)
}

func (s *summary) failures(j *result.Job) {
	if text := cause(j); text != "" {
		if j.TotalErrors > 1 {
			text = fmt.Sprintf("%d errors, the first: %s", j.TotalErrors, text)
		}
		s.labelled("failed", red+";"+bold, printable(redactedName(text)))
	}
	if v := j.Verify; v != nil {
		if v.Failures > 0 {
			s.labelled("verify", red+";"+bold, fmt.Sprintf("%d of %d blocks are WRONG (%s); %s", v.Failures, v.Blocks, v.Kind, printable(redactedName(v.First))))
		} else {
			s.labelled("verify", green, fmt.Sprintf("%s blocks are right (%s)", units.Count(float64(v.Blocks)), v.Kind))
		}
	}
}

// row is a line of figures: a name, a rate, a bandwidth, and the latencies.
func row(name, iops, bw string, latencies [4]string) string {
	return fmt.Sprintf("%-6s%9s %12s", name, iops, bw) + tailColumns(latencies)
}

func tailColumns(v [4]string) string {
	return fmt.Sprintf("%10s%10s%10s%10s", v[0], v[1], v[2], v[3])
}

var tailNames = [4]string{"p50", "p99", "p99.9", "max"}

func (s *summary) fast(j *result.Job) {
	s.line(s.paint(faint, "  fast   "+row("", "IOPS", "bandwidth", tailNames)))
	list := shown(j)
	for _, d := range list {
		if d.IOs == 0 {
			continue
		}
		name := ""
		if len(list) > 1 {
			name = d.name
		}
		s.line("         " + s.paint(bold, row(name, units.Count(d.IOPSMean), units.Rate(d.BWBytes), tail(latencyOf(d.Dir)))))
	}
	if l := syncLatency(j); l != nil && l.Count() > 0 {
		s.line("         " + row("sync", units.Count(float64(l.Count())), "times", tail(l)))
	}
	if v, _ := series.Rates(j); len(v) > 2 {
		s.line("         " + s.paint(cyan, Sparkline(v, s.width-24)) + s.paint(faint, " IOPS"))
	}
}

// tail are the latencies of the columns.
func tail(l result.Latency) (v [4]string) {
	if l == nil || l.Count() == 0 {
		return v
	}
	for i, p := range []float64{50, 99, 99.9} {
		v[i] = units.Ns(float64(l.Percentile(p)))
	}
	v[3] = units.Ns(float64(l.Max()))
	return v
}

func (s *summary) even(j *result.Job) {
	e := steadinessOf(j)
	if e.n == 0 {
		s.labelled("even", faint, "too short to tell: fewer than three intervals")
	} else {
		text := fmt.Sprintf("±%s from %s to the next", humanPercent(e.spread*100), humanTime(e.interval))
		if e.interval == 0 {
			text = fmt.Sprintf("±%s between intervals", humanPercent(e.spread*100))
		}
		switch {
		case e.worst < 0.01*e.mean:
			text += "; it stood still at " + clock(e.worstAt)
		case e.worst < 0.8*e.mean:
			text += fmt.Sprintf("; %s at its lowest, %s of the mean, at %s", units.Count(e.worst), humanPercent(e.worst/e.mean*100), clock(e.worstAt))
		}
		if e.trend > 0.05 || e.trend < -0.05 {
			text += fmt.Sprintf("; the second half %s than the first", more(e.trend))
		}
		s.labelled("even", faint, text)
	}
	var parts []string
	if e.drifts {
		parts = append(parts, "the rate drifts: its mean depends on how long one measures")
	}
	if e.sure > 0 {
		parts = append(parts, fmt.Sprintf("mean rate within ±%s (95 %%)", humanPercent(e.sure*100)))
	}
	if st := j.Steady; st != nil {
		word := "steady state not reached"
		if st.Attained {
			word = "steady state reached"
		}
		parts = append(parts, word+" ("+st.Expr+")")
	}
	if l := busiest(j); l != nil {
		p := 99.9
		if above(l, p) < 10 {
			p = 99
		}
		parts = append(parts, fmt.Sprintf("p%s rests on %s", units.Three(p), ios(above(l, p))))
	}
	if len(parts) > 0 {
		s.labelled("sure", faint, strings.Join(parts, "; "))
	}
}

func more(f float64) string {
	if f > 0 {
		return humanPercent(f*100) + " faster"
	}
	return humanPercent(-f*100) + " slower"
}

// busiest is the latency of the direction with the most I/Os.
func busiest(j *result.Job) (l result.Latency) {
	var most uint64
	for _, d := range measured(j) {
		if x := latencyOf(d); x != nil && d.IOs > most {
			l, most = x, d.IOs
		}
	}
	return l
}

func (s *summary) limits(j *result.Job) {
	cost := fmt.Sprintf("%s CPU per I/O", units.Ns(cpuPerIO(j)))
	if usr, sys := cpu(j); usr+sys > 0 {
		cost += fmt.Sprintf(" (%s user, %s system)", humanPercent(usr), humanPercent(sys))
	}
	if j.MallocsKnown {
		cost += fmt.Sprintf("; %d heap allocations", j.Mallocs)
	}
	s.labelled("cost", faint, cost)
	if t := j.LatencyTarget; t != nil {
		word := "not met"
		if t.Met {
			word = "met"
		}
		s.labelled("target", faint, fmt.Sprintf("p%s below %s %s at depth %d", units.Three(t.Percentile), units.Ns(float64(t.Target)), word, t.Depth))
	}
	if j.MeasuredFromPlan {
		s.labelled("", faint, "latency counts from the planned start of each request")
	}
	if j.LimitedBy != "" {
		s.labelled("limit", faint, j.LimitedBy)
	}
}

// table shows many jobs, one line a direction, and then what limited them.
func (s *summary) table() {
	name := max(6, s.width-66) // the rest of a row is 66 wide, two in front included
	_, _ = s.b.WriteString("\n")
	s.line(s.paint(faint, fmt.Sprintf("  %-*s%-6s%9s%8s %12s%9s%9s%9s", name, "job", "", "IOPS", "even", "bandwidth", "p50", "p99", "max")))
	rows := 0
	for i := range s.run.Jobs {
		j := &s.run.Jobs[i]
		if rows >= maxRows {
			s.line(s.paint(faint, fmt.Sprintf("  and %d more jobs (all of them: --output-format=normal)", len(s.run.Jobs)-i)))
			break
		}
		rows += s.tableJob(j, name)
	}
	s.tableLimits()
}

func (s *summary) tableJob(j *result.Job, name int) (rows int) {
	title := fmt.Sprintf("  %-*s", name, ansi.Truncate(printable(j.Name), name-1, "…"))
	next := func(text string) {
		s.line(title + text)
		title = strings.Repeat(" ", name+2)
		rows++
	}
	if text := cause(j); text != "" {
		next(s.paint(red+";"+bold, "failed") + " " + printable(redactedName(text)))
	}
	if v := j.Verify; v != nil && v.Failures > 0 {
		next(s.paint(red+";"+bold, fmt.Sprintf("%d of %d blocks are WRONG", v.Failures, v.Blocks)))
	}
	even := ""
	if e := steadinessOf(j); e.n > 0 {
		even = "±" + humanPercent(e.spread*100)
	}
	for _, d := range shown(j) {
		if d.IOs == 0 {
			continue
		}
		t := tail(latencyOf(d.Dir))
		next(fmt.Sprintf("%-6s", d.name) + s.paint(bold, fmt.Sprintf("%9s", units.Count(d.IOPSMean))) +
			fmt.Sprintf("%8s %12s%9s%9s%9s", even, units.Rate(d.BWBytes), t[0], t[1], t[3]))
		even = ""
	}
	if rows == 0 {
		next("no I/O was completed")
	}
	return rows
}

// tableLimits says what limited the jobs, those together that have the same limit.
func (s *summary) tableLimits() {
	var order []string
	names := map[string][]string{}
	for i := range s.run.Jobs {
		j := &s.run.Jobs[i]
		if j.LimitedBy == "" {
			continue
		}
		if names[j.LimitedBy] == nil {
			order = append(order, j.LimitedBy)
		}
		if name := printable(j.Name); !slices.Contains(names[j.LimitedBy], name) {
			names[j.LimitedBy] = append(names[j.LimitedBy], name)
		}
	}
	if len(order) > 0 {
		_, _ = s.b.WriteString("\n")
	}
	label := "limit"
	for _, text := range order[:min(len(order), maxHints)] {
		s.labelled(label, faint, strings.Join(names[text], ", ")+": "+text)
		label = ""
	}
}

func (s *summary) hints() {
	if len(s.run.Hints) == 0 {
		return
	}
	_, _ = s.b.WriteString("\n")
	left := maxHints
	for _, severity := range []string{"warn", "note"} {
		for _, h := range s.run.Hints {
			if h.Severity != severity || left == 0 {
				continue
			}
			left--
			label, sgr := "note", cyan
			if severity == "warn" {
				label, sgr = "beware", yellow+";"+bold
			}
			s.labelled(label, sgr, printable(h.Text))
		}
	}
	if n := len(s.run.Hints) - maxHints; n > 0 {
		s.line(s.paint(faint, fmt.Sprintf("         and %d more hints in the JSON and HTML reports", n)))
	}
}

// printable keeps control characters of names from reaching a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '�'
		}
		return r
	}, s)
}
