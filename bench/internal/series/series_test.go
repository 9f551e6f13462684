package series_test

import (
	"slices"
	"testing"
	"time"

	"github.com/blkbench/blkbench/bench/internal/series"
	"github.com/blkbench/blkbench/bench/result"
)

func TestRatesKeepToTheWindow(t *testing.T) {
	j := result.Job{IntervalLength: time.Second}
	j.Dir[1].Runtime = 3200 * time.Millisecond
	for i, n := range []uint64{10, 20, 30, 4, 1} {
		s := result.Interval{Start: time.Duration(i) * time.Second, Len: time.Second}
		s.Dir[i%3].IOs = n
		j.Series = append(j.Series, s)
	}
	j.Series[1].Len = 2 * time.Second
	j.Series[2].Start, j.Series[2].Len = 0, 400*time.Millisecond
	v, at := series.Rates(&j)
	// The third is too short, the fourth and the fifth lie mostly behind the window.
	if !slices.Equal(v, []float64{10, 10}) || !slices.Equal(at, []time.Duration{0, time.Second}) {
		t.Errorf("%v at %v", v, at)
	}
	j.Dir[1].Runtime = 0
	if v, _ := series.Rates(&j); len(v) != 4 {
		t.Errorf("without a window: %v", v)
	}
}

func TestTrend(t *testing.T) {
	for want, v := range map[float64][]float64{0: nil, 1: {1, 1, 99, 2, 2}, -0.5: {4, 2}} {
		if got := series.Trend(v); got != want {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
	if got := series.Trend([]float64{0, 5}); got != 0 {
		t.Errorf("from nothing: %v", got)
	}
}
