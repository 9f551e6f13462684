package report

import (
	"fmt"
	"sort"
	"strings"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

func newJobView(run *result.Run, i int) jobView {
	j := &run.Jobs[i]
	v := jobView{
		ID: fmt.Sprintf("job%d", i), Name: j.Name, Shape: shape(j), Description: j.Description,
		Answers: answers(j), Table: newLatencyTable(j), Counts: counts(j), NoSeries: len(j.Series) < 2 && issued(j) > 0,
	}
	v.Badges = jobBadges(j)
	for _, d := range shown(j) {
		if d.IOs > 0 {
			v.Tiles = append(v.Tiles, newTile(d))
		}
	}
	if l := busiest(j); l != nil && l.Count() > 0 {
		v.P50, v.P99, v.Max = units.Ns(float64(l.Percentile(50))), units.Ns(float64(l.Percentile(99))), units.Ns(float64(l.Max()))
	}
	bw := 0.0
	for _, d := range measured(j) {
		bw += units.Finite(d.BWBytes)
	}
	v.BW = units.Rate(bw)
	v.Charts = charts(j, v.ID)
	for _, t := range targets(j) {
		v.Targets = append(v.Targets, targetView{redactedName(t.Name), targetFacts(t)})
	}
	v.Depths = depthViews(j)
	for _, e := range j.Errors {
		v.Errors = append(v.Errors, redactedName(fmt.Sprintf("%s %s at %#x+%d: %s", e.Op, e.Target, e.Off, e.Len, e.Text)))
	}
	if text := cause(j); len(v.Errors) == 0 && text != "" {
		v.Errors = []string{redactedName(text)}
	}
	if j.Verify != nil && j.Verify.First != "" {
		v.Errors = append(v.Errors, redactedName(j.Verify.First))
	}
	for _, o := range j.Options {
		v.Options = append(v.Options, fact{o.Key, redacted(o)})
	}
	return v
}

func jobBadges(j *result.Job) (out []badge) {
	if j.Error != 0 || j.TotalErrors > 0 {
		out = append(out, badge{"bad", plural(max(j.TotalErrors, 1), "error")})
	}
	if v := j.Verify; v != nil {
		if v.Failures > 0 {
			out = append(out, badge{"bad", fmt.Sprintf("%d of %d blocks wrong", v.Failures, v.Blocks)})
		} else {
			out = append(out, badge{"good", "verified (" + v.Kind + ")"})
		}
	}
	if s := j.Steady; s != nil {
		if s.Attained {
			out = append(out, badge{"good", "steady state"})
		} else {
			out = append(out, badge{"warn", "no steady state"})
		}
	}
	if j.MeasuredFromPlan {
		out = append(out, badge{"info", "open loop: latency from the planned start"})
	}
	return out
}

func newTile(d named) tile {
	t := tile{Class: d.name, Name: d.name, IOPS: units.Count(d.IOPSMean), BW: units.Rate(d.BWBytes)}
	if l := latencyOf(d.Dir); l != nil && l.Count() > 0 {
		for _, p := range []float64{50, 99, 99.9} {
			t.Facts = append(t.Facts, fact{"p" + percentileName(p), units.Ns(float64(l.Percentile(p)))})
		}
		t.Facts = append(t.Facts, fact{"max", units.Ns(float64(l.Max()))})
	}
	return t
}

// answers say how even, how sure and what limited it.
func answers(j *result.Job) (out []fact) {
	if issued(j) == 0 {
		return nil
	}
	e := steadinessOf(j)
	if e.n > 0 {
		text := fmt.Sprintf("The rate varies by ±%s between intervals of %s.", humanPercent(e.spread*100), humanTime(e.interval))
		switch {
		case e.worst < 0.01*e.mean:
			text += fmt.Sprintf(" At %s it stood still.", clock(e.worstAt))
		case e.worst < 0.8*e.mean:
			text += fmt.Sprintf(" At its lowest, at %s, it was %s IOPS: %s of the mean.", clock(e.worstAt), units.Count(e.worst), humanPercent(e.worst/e.mean*100))
		}
		if e.trend > 0.05 || e.trend < -0.05 {
			text += fmt.Sprintf(" The second half is %s than the first.", more(e.trend))
		}
		out = append(out, fact{"How even", text})
	}
	var sure []string
	if e.drifts {
		sure = append(sure, "The rate drifts, so that its mean depends on how long one measures.")
	}
	if e.sure > 0 {
		sure = append(sure, fmt.Sprintf("The mean rate is known to ±%s (95 %% confidence, neighbouring intervals' likeness allowed for).", humanPercent(e.sure*100)))
	}
	if l := busiest(j); l != nil {
		for _, p := range []float64{99.99, 99.9, 99} {
			if n := above(l, p); n >= 10 || p == 99 {
				sure = append(sure, fmt.Sprintf("The %sth percentile rests on %s.", percentileName(p), ios(n)))
				break
			}
		}
	}
	if len(sure) > 0 {
		out = append(out, fact{"How sure", strings.Join(sure, " ")})
	}
	if j.LimitedBy != "" {
		out = append(out, fact{"What limited it", sentence(j.LimitedBy)})
	}
	usr, sys := cpu(j)
	cost := fmt.Sprintf("%s of CPU time per I/O; %s user and %s system of each thread.", units.Ns(cpuPerIO(j)), humanPercent(usr), humanPercent(sys))
	if j.MallocsKnown {
		cost += fmt.Sprintf(" %d heap allocations in the measured window.", j.Mallocs)
	}
	out = append(out, fact{"What it cost", cost})
	if t := j.LatencyTarget; t != nil {
		word := "The target was not met"
		if t.Met {
			word = "The target was met"
		}
		out = append(out, fact{"Latency target", fmt.Sprintf("%s: p%s below %s over windows of %s, at depth %d.", word, percentileName(t.Percentile), units.Ns(float64(t.Target)), humanTime(t.Window), t.Depth)})
	}
	if j.Engine != "" {
		out = append(out, fact{"Which way", j.Engine})
	}
	return out
}

func ios(n uint64) string {
	switch n {
	case 0:
		return "no I/O"
	case 1:
		return "one I/O"
	}
	return units.Count(float64(n)) + " I/Os"
}

func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func charts(j *result.Job, id string) (out []*chart) {
	add := func(c *chart) {
		if c != nil {
			out = append(out, c)
		}
	}
	list := distributions(j)
	cols := columns(j)
	add(rateChart(id+"-iops", cols, 0))
	add(rateChart(id+"-bw", cols, 1))
	add(percentileChart(id+"-percentiles", list))
	add(densityChart(id+"-density", list))
	dirs := active(cols)
	halves := len(dirs)
	if j.Steady != nil {
		halves++
	}
	for i, d := range dirs {
		add(bandChart(fmt.Sprintf("%s-lat-%s", id, dirClass[d]), cols, d, halves%2 == 1 && i == 0)) // two in a row leave no hole
	}
	if j.Steady != nil {
		add(steadyChart(id+"-steady", j.Steady))
	}
	for _, d := range dirs {
		add(heatmap(fmt.Sprintf("%s-heat-%s", id, dirClass[d]), cols, d))
	}
	return out
}

func newLatencyTable(j *result.Job) *latencyTable {
	type columnOf struct {
		name string
		l    result.Latency
	}
	var list []columnOf
	for _, d := range shown(j) {
		for _, x := range []columnOf{{d.name + " submission", d.Slat}, {d.name + " completion", d.Clat}, {d.name + " total", d.Lat}} {
			if x.l != nil && x.l.Count() > 0 {
				list = append(list, x)
			}
		}
	}
	if l := syncLatency(j); l != nil && l.Count() > 0 {
		list = append(list, columnOf{"sync", l})
	}
	if len(list) == 0 {
		return nil
	}
	t := &latencyTable{}
	rows := []tableRow{{Name: "I/Os"}, {Name: "min"}, {Name: "mean"}, {Name: "deviation"}}
	quantiles := percentiles(j)
	for _, p := range quantiles {
		rows = append(rows, tableRow{Name: "p" + percentileName(p)})
	}
	rows = append(rows, tableRow{Name: "max"})
	for _, c := range list {
		t.Heads = append(t.Heads, c.name)
		f := figuresOf(c.l)
		cells := []string{units.Count(float64(f.n)), units.Ns(float64(f.min)), units.Ns(f.mean), units.Ns(f.dev)}
		for _, p := range quantiles {
			if !detailed(c.l) {
				cells = append(cells, "")
				continue
			}
			cells = append(cells, units.Ns(float64(c.l.Percentile(p))))
		}
		for i, s := range append(cells, units.Ns(float64(f.max))) {
			rows[i].Cells = append(rows[i].Cells, s)
		}
	}
	t.Rows = rows
	return t
}

func depthViews(j *result.Job) (out []depthView) {
	if issued(j) == 0 {
		return nil
	}
	for _, x := range []struct {
		name  string
		names []string
		v     [7]float64
	}{
		{"Requests in flight when one was issued", []string{"1", "2–3", "4–7", "8–15", "16–31", "32–63", "64 or more"}, depths(&j.DepthHist, issued(j))},
		{"Requests submitted at once", []string{"0", "1–4", "5–8", "9–16", "17–32", "33–64", "more"}, depths(&j.SubmitHist, j.Submits)},
		{"Requests completed at once", []string{"0", "1–4", "5–8", "9–16", "17–32", "33–64", "more"}, depths(&j.CompleteHist, j.Completes)},
	} {
		v := depthView{Name: x.name}
		for i, n := range x.names {
			if x.v[i] > 0 {
				v.Shares = append(v.Shares, shareView{n, humanPercent(x.v[i]), min(x.v[i], 100)})
			}
		}
		if len(v.Shares) > 0 {
			out = append(out, v)
		}
	}
	return out
}

func counts(j *result.Job) (out []fact) {
	add := func(k string, n uint64) {
		if n > 0 {
			out = append(out, fact{k, units.Count(float64(n))})
		}
	}
	out = append(out, fact{"group", fmt.Sprint(j.Group)}, fact{"threads", fmt.Sprint(max(j.Members, 1))})
	for _, d := range shown(j) {
		add(d.name+" I/Os", d.IOs)
		add(d.name+" short", d.Short)
		add(d.name+" dropped", d.Dropped)
	}
	add("syncs", j.Dir[result.Sync].IOs)
	add("context switches", j.CtxSwitches)
	add("major faults", j.MajorFaults)
	add("minor faults", j.MinorFaults)
	add("direct to the leaf", j.Path.Direct)
	add("pieces", j.Path.Pieces)
	add("zeroed without I/O", j.Path.Zeroed)
	add("through the slow lane", j.Path.Slow)
	add("sent again", j.Path.Resent)
	add("waited for a slot", j.Path.Waited)
	return out
}

func hostFacts(h *result.Host) (out []fact) {
	add := func(k, v string) {
		if v != "" {
			out = append(out, fact{k, v})
		}
	}
	add("operating system", h.OS)
	add("kernel", strings.TrimSpace(h.Kernel+" "+h.Arch))
	add("machine", h.Virtual)
	cpu := h.CPU
	if h.Cores > 0 {
		cpu += fmt.Sprintf(" (%d CPUs", h.Cores)
		if h.NUMANodes > 1 {
			cpu += fmt.Sprintf(" in %d NUMA nodes", h.NUMANodes)
		}
		cpu += ")"
	}
	add("processor", strings.TrimSpace(cpu))
	add("frequency governor", h.Governor)
	add("turbo", h.Turbo)
	if h.Memory > 0 {
		add("memory", fmt.Sprintf("%s, of which %s available", units.Bytes(float64(h.Memory)), units.Bytes(float64(h.MemAvailable))))
	}
	if h.Load > 0 {
		add("load before the run", units.Three(h.Load))
	}
	if h.Busy > 0 {
		add("CPU busy during the run", humanPercent(h.Busy))
	}
	if h.Steal > 0 {
		add("CPU stolen by the hypervisor", humanPercent(h.Steal))
	}
	add("io_uring", h.URing)
	for _, f := range h.Facts {
		add(f.Key, redacted(f))
	}
	return out
}

func targetFacts(t *result.Target) (out []fact) {
	add := func(k, v string) {
		if v != "" {
			out = append(out, fact{k, v})
		}
	}
	add("driver", t.Driver)
	if len(t.Layers) > 1 {
		add("layers", strings.Join(t.Layers, " → "))
	}
	if t.Size > 0 {
		add("size", humanSize(t.Size))
	}
	if t.FS != "" {
		add("file system", t.FS+" at "+t.Mount)
		add("mount options", strings.ReplaceAll(t.MountOpts, ",", ", "))
		if t.Allocated >= 0 && t.Size > 0 {
			text := humanSize(t.Allocated)
			if t.Unwritten > 0 {
				text += ", of which " + humanSize(t.Unwritten) + " unwritten"
			}
			add("allocated", text)
		}
	}
	if t.InMemory {
		add("in memory", "yes")
	}
	add("contains", t.Signature)
	if b := t.Block; b != nil {
		add("device", device(b))
		add("device size", humanSize(b.Size))
		kind := "solid state"
		if b.Rotational {
			kind = "rotational"
		}
		add("kind", kind)
		add("scheduler", b.Scheduler)
		if b.NRRequests > 0 {
			add("queue", fmt.Sprintf("%d requests of up to %s", b.NRRequests, humanSize(int64(b.MaxKB)*1024)))
		}
		add("write cache", b.WriteCache)
		if b.Logical > 0 {
			add("blocks", fmt.Sprintf("%d logical, %d physical", b.Logical, b.Physical))
		}
		add("zoned", b.Zoned)
		if b.NUMANode >= 0 {
			add("NUMA node", fmt.Sprint(b.NUMANode))
		}
		add("made of", strings.Join(b.Layers, ", "))
	}
	rest := append([]result.KV(nil), t.Facts...)
	sort.SliceStable(rest, func(i, k int) bool { return rest[i].Key < rest[k].Key })
	for _, f := range rest {
		add(f.Key, redacted(f))
	}
	return out
}
