package steady

import (
	"fmt"
	"math"
)

// Metric is what is looked at.
type Metric uint8

// The metrics: requests a second, bytes a second, mean latency in ns.
const (
	IOPS Metric = iota
	BW
	Lat
)

var metricNames = [...]string{"iops", "bw", "lat"}

func (m Metric) String() string {
	if int(m) < len(metricNames) {
		return metricNames[m]
	}
	return fmt.Sprintf("Metric(%d)", uint8(m))
}

// Rule is fio's ss and what belongs to it. Times are nanoseconds.
type Rule struct {
	Metric  Metric
	Slope   bool // the slope, not the greatest deviation
	SNIA    bool // SNIA's rule; Slope, Limit and Percent do not matter
	Limit   float64
	Percent bool // Limit is in percent of the mean
	// Duration is the window, Interval the time from sample to sample; 0: a
	// second, and with SNIA a fifth of Duration.
	Duration, Interval int64
	// Ramp passes before the first sample.
	Ramp int64
}

const second = 1_000_000_000

// Totals are running sums since the start of a job, or of a group of jobs.
type Totals struct {
	IOs, Bytes uint64
	LatSum     uint64 // ns
	LatCount   uint64
}

// Detector samples totals and applies a rule.
type Detector struct {
	rule     Rule
	next     int64 // when the next sample is due
	last     Totals
	lastAt   int64
	begun    bool
	samples  [3][]float64 // by metric, a ring of the window's samples
	count    int          // samples taken so far
	attained bool
	at       int64 // when
	window   Window
}

// New begins at start.
func New(r Rule, start int64) (*Detector, error) {
	if r.SNIA && r.Interval == 0 {
		r.Interval = r.Duration / Rounds
	}
	if r.Interval == 0 {
		r.Interval = second
	}
	switch {
	case r.Duration <= 0 || r.Interval < 0 || r.Ramp < 0:
		return nil, fmt.Errorf("steady state over %d ns, every %d ns, after %d ns", r.Duration, r.Interval, r.Ramp)
	case r.Metric > Lat:
		return nil, fmt.Errorf("no metric %d", r.Metric)
	case !r.SNIA && !(r.Limit > 0):
		return nil, fmt.Errorf("steady state limit %v", r.Limit)
	}
	n := int(r.Duration / r.Interval)
	if r.SNIA {
		n = Rounds
	}
	if n < 2 {
		return nil, fmt.Errorf("a steady-state window of %d ns has no two samples of %d ns", r.Duration, r.Interval)
	}
	d := &Detector{rule: r, next: start + r.Ramp}
	for m := range d.samples {
		d.samples[m] = make([]float64, n)
	}
	return d, nil
}

// Add is told the totals at a time, at any pace; it takes a sample when one is
// due. It answers true once, when the rule is met.
func (d *Detector) Add(now int64, t Totals) bool {
	if now < d.next || d.attained {
		return false
	}
	if !d.begun {
		d.begun, d.last, d.lastAt = true, t, now
		d.next = now + d.rule.Interval
		return false
	}
	span := float64(now-d.lastAt) / second
	i := d.count % len(d.samples[0])
	d.samples[IOPS][i] = float64(t.IOs-d.last.IOs) / span
	d.samples[BW][i] = float64(t.Bytes-d.last.Bytes) / span
	d.samples[Lat][i] = 0
	if n := t.LatCount - d.last.LatCount; n > 0 {
		d.samples[Lat][i] = float64(t.LatSum-d.last.LatSum) / float64(n)
	}
	d.count++
	d.last, d.lastAt = t, now
	for d.next <= now {
		d.next += d.rule.Interval
	}
	if d.count < len(d.samples[0]) {
		return false
	}
	if d.judge(); d.attained {
		d.at = now
	}
	return d.attained
}

func (d *Detector) judge() {
	y := d.Samples(d.rule.Metric)
	if d.rule.SNIA {
		d.window = SNIA(y)
		d.attained = d.window.Steady
		return
	}
	c, ok := d.Criterion()
	d.attained = ok && math.Abs(c) < d.rule.Limit
}

// Samples are those in the window, oldest first; fewer before it is full.
func (d *Detector) Samples(m Metric) []float64 {
	ring := d.samples[m]
	if d.count < len(ring) {
		return append([]float64(nil), ring[:d.count]...)
	}
	first := d.count % len(ring)
	return append(append([]float64(nil), ring[first:]...), ring[:first]...)
}

// Mean is the mean of the samples in the window.
func (d *Detector) Mean(m Metric) float64 { return Fit(d.Samples(m)).Mean }

// Criterion is the figure that is compared with the limit, with its sign; not
// ok before the window is full, or in percent of nothing.
func (d *Detector) Criterion() (c float64, ok bool) {
	if d.count < len(d.samples[0]) {
		return 0, false
	}
	y := d.Samples(d.rule.Metric)
	if c = MaxDeviation(y); d.rule.Slope {
		c = Fit(y).Slope
	}
	if d.rule.Percent {
		mean := Fit(y).Mean
		if mean == 0 {
			return 0, false
		}
		c *= 100 / mean
	}
	return c, true
}

// Attained says whether the rule was met, and when.
func (d *Detector) Attained() (at int64, ok bool) { return d.at, d.attained }

// Window is SNIA's determination over the newest full window.
func (d *Detector) Window() Window { return d.window }

// Rule is what New was given, defaults filled in.
func (d *Detector) Rule() Rule { return d.rule }

// Slope is the slope of the metric per sample, as fio reports it: 0 unless the
// rule is about slopes. MaxDev is its counterpart.
func (d *Detector) Slope() float64 {
	if !d.rule.Slope {
		return 0
	}
	return Fit(d.Samples(d.rule.Metric)).Slope
}

// MaxDev is the greatest deviation from the mean, as fio reports it: 0 where
// the rule is about slopes.
func (d *Detector) MaxDev() float64 {
	if d.rule.Slope {
		return 0
	}
	return MaxDeviation(d.Samples(d.rule.Metric))
}
