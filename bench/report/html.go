package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

//go:embed page/page.html
var pageHTML string

//go:embed page/page.css
var pageCSS string

//go:embed page/page.js
var pageJS string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// HTML writes the run as one page that needs nothing else: no network, no library. Its own policy forbids the browser any request.
func HTML(w io.Writer, run *result.Run) error {
	if err := pageTemplate.Execute(w, newPage(run)); err != nil {
		return fmt.Errorf("write html report: %w", err)
	}
	return nil
}

// page is what the template shows.
type page struct {
	CSS           template.CSS
	JS            template.JS
	Version       string
	Title, Answer string
	Facts         []fact // the line under the title
	Badges        []badge
	Hints         []hint
	Warnings      []string
	Jobs          []jobView
	Host          []fact
	Mitigations   []fact
	Disks         []diskView
	Command       string
	JobFile       string
}

type fact struct{ Key, Value string }

type badge struct{ Class, Text string }

type hint struct {
	Class, Word, Key string
	Text             []span
}

// span is a piece of text; what stands between backticks is code.
type span struct {
	Code bool
	Text string
}

func spans(s string) (out []span) {
	for i, t := range strings.Split(s, "`") {
		if t != "" {
			out = append(out, span{i%2 == 1, t})
		}
	}
	return out
}

type diskView struct {
	Name                               string
	Reads, Writes, Merges, Busy, Queue string
	Read, Written                      string
	Aggregate                          bool
}

// jobView is one job's section.
type jobView struct {
	ID, Name, Shape, Description string
	Badges                       []badge
	Tiles                        []tile
	Answers                      []fact
	Charts                       []*chart
	NoSeries                     bool
	Table                        *latencyTable
	Targets                      []targetView
	Depths                       []depthView
	Counts                       []fact
	Errors                       []string
	Options                      []fact
	Bar                          float64 // the rate's share of the fastest job's, percent
	IOPS, BW, P50, P99, Max      string
}

type tile struct {
	Class, Name, IOPS, BW string
	Facts                 []fact
}

type targetView struct {
	Name  string
	Facts []fact
}

type depthView struct {
	Name   string
	Shares []shareView
}

type shareView struct {
	Name, Text string
	Percent    float64
}

type latencyTable struct {
	Heads []string
	Rows  []tableRow
}

type tableRow struct {
	Name  string
	Cells []string
}

func newPage(run *result.Run) *page {
	p := &page{
		CSS: template.CSS(pageCSS), JS: template.JS(pageJS), //nolint:gosec // embedded, not from the run
		Version: run.Version, Host: hostFacts(&run.Host), Warnings: redactedAll(run.Warnings),
		Command: shell(redactedAll(run.Command)), JobFile: jobFile(run), Disks: disks(run),
	}
	for _, m := range run.Host.Mitigations {
		p.Mitigations = append(p.Mitigations, fact{m.Key, m.Value})
	}
	for _, severity := range []string{"warn", "note"} {
		for _, h := range run.Hints {
			if h.Severity == severity {
				p.Hints = append(p.Hints, hint{severity, map[string]string{"warn": "Beware", "note": "Note"}[severity], h.Key, spans(h.Text)})
			}
		}
	}
	for i := range run.Jobs {
		p.Jobs = append(p.Jobs, newJobView(run, i))
	}
	bars(run, p.Jobs)
	p.head(run)
	return p
}

func (p *page) head(run *result.Run) {
	switch len(run.Jobs) {
	case 0:
		p.Title, p.Answer = "No job was run", "There is nothing to show."
	case 1:
		p.Title, p.Answer = shape(&run.Jobs[0]), answer(&run.Jobs[0])
		if p.Title == "" {
			p.Title = run.Jobs[0].Name
		}
	default:
		p.Title = fmt.Sprintf("%d jobs", len(run.Jobs))
		p.Answer = fmt.Sprintf("%s moved in %s.", units.Bytes(float64(moved(run))), humanTime(run.Elapsed))
	}
	if !run.Start.IsZero() {
		p.Facts = append(p.Facts, fact{"started", run.Start.Format("2006-01-02 15:04:05 MST")})
	}
	p.Facts = append(p.Facts, fact{"took", humanTime(run.Elapsed)})
	if run.Host.Hostname != "" {
		p.Facts = append(p.Facts, fact{"on", run.Host.Hostname})
	}
	if len(run.Jobs) == 1 {
		if list := targets(&run.Jobs[0]); len(list) > 0 {
			p.Facts = append(p.Facts, fact{"target", target(list[0])})
		}
	}
	if run.Interrupted {
		p.Badges = append(p.Badges, badge{"warn", "interrupted"})
	}
	if run.Left > 0 {
		p.Badges = append(p.Badges, badge{"warn", "still running"})
	}
	failed := 0
	for i := range run.Jobs {
		if bad(&run.Jobs[i]) {
			failed++
		}
	}
	if failed > 0 {
		p.Badges = append(p.Badges, badge{"bad", fmt.Sprintf("%d of %d jobs failed", failed, len(run.Jobs))})
	}
}

func bad(j *result.Job) bool {
	return j.Error != 0 || j.TotalErrors > 0 || j.Verify != nil && j.Verify.Failures > 0
}

func moved(run *result.Run) (n uint64) {
	for i := range run.Jobs {
		for _, d := range measured(&run.Jobs[i]) {
			n += d.Bytes
		}
	}
	return n
}

// answer is the result in a sentence.
func answer(j *result.Job) string {
	var parts []string
	for _, d := range shown(j) {
		if d.IOs == 0 || d.name == "mixed" && both(j) {
			continue
		}
		s := fmt.Sprintf("%s %s IOPS (%s)", units.Count(d.IOPSMean), d.name, units.Rate(d.BWBytes))
		if l := latencyOf(d.Dir); l != nil && l.Count() > 0 {
			s += fmt.Sprintf(" at %s median and %s p99 latency", units.Ns(float64(l.Percentile(50))), units.Ns(float64(l.Percentile(99))))
		}
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		return "No I/O was completed."
	}
	return strings.Join(parts, ", ") + "."
}

func bars(run *result.Run, views []jobView) {
	top := 0.0
	rate := func(j *result.Job) (f float64) {
		for _, d := range measured(j) {
			f += units.Finite(d.IOPSMean)
		}
		return f
	}
	for i := range run.Jobs {
		top = max(top, rate(&run.Jobs[i]))
	}
	for i := range views {
		if top > 0 {
			views[i].Bar = rate(&run.Jobs[i]) / top * 100
		}
		views[i].IOPS = units.Count(rate(&run.Jobs[i]))
	}
}

func disks(run *result.Run) (out []diskView) {
	add := func(name string, u *result.DiskUtil, aggregate bool) {
		out = append(out, diskView{
			Name: name, Reads: units.Count(float64(u.ReadIOs)), Writes: units.Count(float64(u.WriteIOs)), Merges: units.Count(float64(u.ReadMerges + u.WriteMerges)),
			Read: units.Bytes(float64(u.ReadSectors) * 512), Written: units.Bytes(float64(u.WriteSectors) * 512),
			Busy: humanPercent(u.Util), Queue: units.Ns(float64(u.InQueue) * 1e6), Aggregate: aggregate,
		})
	}
	for i := range run.Disks {
		u := &run.Disks[i]
		add(u.Name, u, false)
		if u.Aggregate != nil {
			add("mean of the devices beneath", u.Aggregate, true)
		}
	}
	return out
}

// shell quotes what a shell would take apart.
func shell(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n\"'`$&|;<>()*?[]{}~#!\\") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out[i] = a
	}
	return strings.Join(out, " ")
}

// jobFile is the run as a job file.
func jobFile(run *result.Run) string {
	var b strings.Builder
	section := func(name string, list []result.KV) {
		fmt.Fprintf(&b, "[%s]\n", name)
		for _, o := range list {
			b.WriteString(o.Key)
			if v := redacted(o); v != "" {
				b.WriteString("=" + v)
			}
			b.WriteByte('\n')
		}
	}
	if len(run.Globals) > 0 {
		section("global", run.Globals)
	}
	for i := range run.Jobs {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		section(run.Jobs[i].Name, run.Jobs[i].Options)
	}
	return b.String()
}
