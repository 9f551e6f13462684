package steady

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b), 1) }

func TestFitAgainstKnownLines(t *testing.T) {
	for _, c := range []struct {
		y    []float64
		want Line
	}{
		{nil, Line{}},
		{[]float64{5}, Line{Mean: 5, Intercept: 5}},
		{[]float64{1, 3, 5, 7}, Line{4, 2, 1, 1}},
		{[]float64{7, 5, 3, 1}, Line{4, -2, 7, -1}},
		{[]float64{4, 4, 4}, Line{4, 0, 4, 0}},
		// Anscombe's habit: by hand, Σdx·dy = 8, Σdx² = 10, Σdy² = 14.8.
		{[]float64{1, 3, 2, 5, 4}, Line{3, 0.8, 1.4, 0.8}},
	} {
		got := Fit(c.y)
		if !near(got.Mean, c.want.Mean) || !near(got.Slope, c.want.Slope) || !near(got.Intercept, c.want.Intercept) || !near(got.R, c.want.R) {
			t.Errorf("%v: %+v, want %+v", c.y, got, c.want)
		}
	}
	if d := MaxDeviation([]float64{1, 2, 9}); d != 5 {
		t.Errorf("deviation %v, want 5", d)
	}
}

// PTS: max-min <= 20 % of the average and |slope|·4 <= 10 % of it, at the edges.
func TestSNIAWindow(t *testing.T) {
	for _, c := range []struct {
		name   string
		y      []float64
		steady bool
	}{
		{"constant", []float64{100, 100, 100, 100, 100}, true},
		{"four rounds", []float64{100, 100, 100, 100}, false},
		{"only the last five count", []float64{900, 100, 100, 100, 100, 100}, true},
		{"range of 20 %", []float64{110, 90, 100, 110, 90}, true},
		{"range above 20 %", []float64{110.1, 90, 100, 110, 89.9}, false},
		{"slope of 10 %", []float64{95, 97.5, 100, 102.5, 105}, true},
		{"slope above 10 %", []float64{94.9, 97.4, 100, 102.6, 105.1}, false},
		{"slope down", []float64{106, 103, 100, 97, 94}, false},
		{"nothing at all", []float64{0, 0, 0, 0, 0}, false},
	} {
		w := SNIA(c.y)
		if w.Steady != c.steady {
			t.Errorf("%s: steady %v: %+v", c.name, w.Steady, w)
		}
	}
	w := SNIA([]float64{95, 97.5, 100, 102.5, 105})
	if !near(w.SlopeExcursion, 10) || !near(w.AllowedSlopeExcursion, 10) || !near(w.Excursion, 10) || !near(w.AllowedExcursion, 20) || !near(w.R, 1) {
		t.Errorf("%+v", w)
	}
}

// feed gives a detector a rate per second and answers the second in which it is
// steady, or -1.
func feed(t *testing.T, r Rule, rates []float64) (int, *Detector) {
	t.Helper()
	d, err := New(r, 0)
	if err != nil {
		t.Fatal(err)
	}
	var sum Totals
	if d.Add(0, sum) {
		t.Fatal("steady at once")
	}
	for i, rate := range rates {
		sum.IOs += uint64(rate)
		sum.Bytes += uint64(rate) * 4096
		sum.LatSum += uint64(rate) * uint64(1e9/rate)
		sum.LatCount += uint64(rate)
		half := sum
		half.IOs -= uint64(rate / 2)
		if d.Add(int64(i)*second+second/2, half) {
			t.Fatal("steady between samples")
		}
		if d.Add(int64(i+1)*second, sum) {
			return i + 1, d
		}
	}
	return -1, d
}

func TestDetectorRules(t *testing.T) {
	// Decays from 2000 to 1000 within five seconds, then wobbles by 1 %.
	rates := []float64{2000, 1800, 1600, 1400, 1200}
	for i := range 20 {
		rates = append(rates, 1000+10*float64(i%3-1))
	}
	for _, c := range []struct {
		rule Rule
		want int
	}{
		{Rule{Metric: IOPS, Limit: 2, Percent: true, Duration: 4 * second}, 9},
		{Rule{Metric: IOPS, Limit: 15, Duration: 4 * second}, 9},
		{Rule{Metric: IOPS, Limit: 0.5, Percent: true, Duration: 4 * second}, -1},
		{Rule{Metric: IOPS, Slope: true, Limit: 1, Percent: true, Duration: 6 * second}, 11},
		{Rule{Metric: BW, Limit: 2, Percent: true, Duration: 4 * second}, 9},
		{Rule{Metric: BW, Limit: 15 * 4096, Duration: 4 * second}, 9},
		{Rule{Metric: Lat, Limit: 2, Percent: true, Duration: 4 * second}, 9},
		{Rule{Metric: IOPS, Limit: 2, Percent: true, Duration: 4 * second, Ramp: 10 * second}, 14},
		{Rule{Metric: IOPS, Limit: 2, Percent: true, Duration: 4 * second, Interval: 2 * second}, 10},
		{Rule{Metric: IOPS, SNIA: true, Duration: 5 * second}, 10},
	} {
		got, d := feed(t, c.rule, rates)
		if got != c.want {
			t.Errorf("%+v: steady after %d s, want %d; samples %v", c.rule, got, c.want, d.Samples(c.rule.Metric))
		}
		if at, ok := d.Attained(); ok != (c.want >= 0) || ok && at != int64(c.want)*second {
			t.Errorf("%+v: attained %v at %d", c.rule, ok, at)
		}
	}
}

// A slope hides a wobble, a deviation hides no slope: the two rules differ.
func TestSlopeIsNoDeviation(t *testing.T) {
	wobble := []float64{500, 1500, 500, 1500, 500, 1500, 500, 1500, 500}
	if got, _ := feed(t, Rule{Metric: IOPS, Slope: true, Limit: 1, Percent: true, Duration: 9 * second}, wobble); got != 9 {
		t.Errorf("slope: %d", got)
	}
	if got, _ := feed(t, Rule{Metric: IOPS, Limit: 10, Percent: true, Duration: 9 * second}, wobble); got != -1 {
		t.Errorf("deviation: %d", got)
	}
}

func TestSamplesBeforeTheWindowIsFull(t *testing.T) {
	_, d := feed(t, Rule{Metric: IOPS, Limit: 1, Duration: 10 * second}, []float64{100, 200, 300})
	if got := fmt.Sprint(d.Samples(IOPS)); got != "[100 200 300]" {
		t.Errorf("%s", got)
	}
	if _, ok := d.Criterion(); ok {
		t.Error("a criterion of an unfinished window")
	}
	if m := d.Mean(BW); m != 200*4096 {
		t.Errorf("mean %v", m)
	}
}

func TestBadRulesAreRefused(t *testing.T) {
	for _, r := range []Rule{
		{},
		{Duration: second, Limit: 1},
		{Duration: 5 * second},
		{Duration: 5 * second, Limit: 1, Ramp: -1},
		{Duration: 5 * second, Limit: 1, Metric: 9},
		{Duration: 5 * second, Limit: 1, Interval: -1},
		{Duration: 5 * second, Limit: math.NaN()},
	} {
		if _, err := New(r, 0); err == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
}

// fio's samples through our arithmetic give fio's figures.
func TestInteropFioCriterion(t *testing.T) {
	for _, c := range []struct {
		ss    string
		key   string
		slope bool
	}{
		{"iops:50%", "iops", false},
		{"iops:200", "iops", false},
		{"bw:100m", "bw", false},
		{"bw_slope:10%", "bw", true},
		{"iops_slope:1000", "iops", true},
	} {
		r := fiotest.Run(t, "--name=j", "--ioengine=null", "--size=1g", "--bs=4k", "--rw=randread", "--time_based",
			"--runtime=6", "--rate_iops=5000", "--ss_dur=3", "--ss="+c.ss)
		ss := r.Job(t, "steadystate")
		var y []float64
		for _, v := range r.Job(t, "steadystate", "data")[c.key].([]any) {
			y = append(y, v.(float64))
		}
		text := ss["criterion"].(string)
		want, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
		if err != nil {
			t.Fatal(err)
		}
		got, line := MaxDeviation(y), Fit(y)
		reported := ss["max_deviation"].(float64)
		if c.slope {
			got, reported = line.Slope, ss["slope"].(float64)
		}
		// fio's rates are whole numbers, and it adds them up before it divides.
		if slack := 1e-3*math.Abs(got) + 1; math.Abs(got-reported) > slack {
			t.Errorf("%s: %v, fio says %v of %v", c.ss, got, reported, y)
		}
		if strings.HasSuffix(text, "%") {
			got *= 100 / line.Mean
		}
		if slack := 1e-2*math.Abs(got) + 1e-3; math.Abs(got-want) > slack && math.Abs(got-want) > 1 {
			t.Errorf("%s: criterion %v, fio says %s of %v", c.ss, got, text, y)
		}
	}
}
