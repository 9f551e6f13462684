package bench

import (
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/bench/steady"
)

// steadiness looks for the steady state of a job, or of a group that is reported as one.
type steadiness struct {
	members []*worker
	rule    steady.Rule
	det     *steady.Detector
	over    bool
}

// steadinessOf makes one for each job or reported group of a batch that asks for it.
func steadinessOf(batch []*worker) []*steadiness {
	var out []*steadiness
	groups := map[int]*steadiness{}
	for _, w := range batch {
		s := &w.job.Steady
		if s.Duration == 0 {
			continue
		}
		if g := groups[w.job.Group]; g != nil && w.job.Report.Group {
			g.members = append(g.members, w)
			continue
		}
		metrics := map[fiojob.SteadyMetric]steady.Metric{fiojob.SteadyIOPS: steady.IOPS, fiojob.SteadyBW: steady.BW, fiojob.SteadyLat: steady.Lat}
		g := &steadiness{members: []*worker{w}, rule: steady.Rule{
			Metric: metrics[s.Metric], Slope: s.Slope, SNIA: s.SNIA, Limit: s.Limit, Percent: s.Percent,
			Duration: int64(s.Duration), Ramp: int64(s.Ramp),
		}}
		if !s.SNIA || given(w.job, "steadystate_check_interval") {
			g.rule.Interval = int64(s.Interval)
		}
		if w.job.Report.Group {
			groups[w.job.Group] = g
		}
		out = append(out, g)
	}
	return out
}

// look tells the detector how far the members are, and ends them once they are steady. The collector's lock is held.
func (g *steadiness) look(c *collector) {
	if g.over {
		return
	}
	var t steady.Totals
	from, to := int64(1<<63-1), int64(0)
	for _, w := range g.members {
		cum := c.series[w].cum
		if cum == nil {
			return // not all have begun
		}
		from, to = min(from, cum.from), max(to, cum.to)
		for d := range cum.dir {
			v := &cum.dir[d]
			t.IOs += v.ios
			t.Bytes += v.bytes
			h := v.lat
			if h == nil {
				h = v.clat
			}
			if h != nil {
				t.LatSum += h.Sum()
				t.LatCount += h.Count()
			}
		}
	}
	if g.det == nil {
		var err error
		if g.det, err = steady.New(g.rule, from); err != nil {
			c.run.warn("%s: steadystate: %v", g.members[0].job.Name, err)
			g.over = true
			return
		}
	}
	if g.det.Add(to, t) {
		stopAll(g.members)
		g.over = true
	}
	g.publish()
}

// publish puts what is known into the members' results.
func (g *steadiness) publish() {
	d, rule := g.det, g.det.Rule()
	_, attained := d.Attained()
	crit, _ := d.Criterion()
	out := &result.SteadyState{
		Expr: optionOf(g.members[0].job, "steadystate"), Duration: time.Duration(rule.Duration), Attained: attained, Criterion: crit,
		Percent: rule.Percent, MaxDev: d.MaxDev(), Slope: d.Slope(), BW: d.Samples(steady.BW), IOPS: d.Samples(steady.IOPS),
		Lat: d.Samples(steady.Lat), BWMean: d.Mean(steady.BW), IOPSMean: d.Mean(steady.IOPS), LatMean: d.Mean(steady.Lat),
		Rule: "fio", Interval: time.Duration(rule.Interval),
	}
	if rule.SNIA {
		out.Rule = "snia"
	}
	for _, w := range g.members {
		w.mu.Lock()
		w.steadyResult = out
		w.mu.Unlock()
	}
}

// optionOf is a key's value as the user gave it; empty when it was not given.
func optionOf(j *fiojob.Job, key string) string {
	val := ""
	for _, list := range [][]fiojob.KV{j.Globals, j.Options} {
		for _, kv := range list {
			if kv.Key == key {
				val = kv.Value
			}
		}
	}
	return val
}
