package perf

import (
	"math"
	"testing"
)

func TestLowerBoundOfElevenPairsIsTheThirdSmallest(t *testing.T) {
	var ours, peer []float64
	for i := range 11 {
		ours, peer = append(ours, float64(11-i)), append(peer, 1)
	}
	// P(at most 2 of 11 below the median) = 67/2048 = 3.3 %; at most 3: 11.3 %.
	r := Ratios(ours, peer)
	if r.Median != 6 || r.Low != 3 || r.Pairs != 11 {
		t.Errorf("%+v, want median 6, low 3 of 11 pairs", r)
	}
}

func TestRatiosOfNothing(t *testing.T) {
	if r := Ratios(nil, nil); !math.IsNaN(r.Median) || !math.IsNaN(r.Low) {
		t.Errorf("%+v", r)
	}
}
