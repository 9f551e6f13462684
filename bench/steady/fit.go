package steady

import "math"

// Line is the least-squares line through y over 0, 1, 2, ….
type Line struct {
	Mean, Slope, Intercept float64
	// R is Pearson's correlation coefficient; 0 where either side is constant.
	R float64
}

// Fit puts a line through y. A single value has slope 0; none is all zero.
func Fit(y []float64) Line {
	n := float64(len(y))
	if n == 0 {
		return Line{}
	}
	sum := 0.0
	for _, v := range y {
		sum += v
	}
	l := Line{Mean: sum / n}
	middle := (n - 1) / 2
	xx, xy, yy := 0.0, 0.0, 0.0
	for i, v := range y {
		dx, dy := float64(i)-middle, v-l.Mean
		xx, xy, yy = xx+dx*dx, xy+dx*dy, yy+dy*dy
	}
	if xx > 0 {
		l.Slope = xy / xx
	}
	if xx > 0 && yy > 0 {
		l.R = xy / math.Sqrt(xx*yy)
	}
	l.Intercept = l.Mean - l.Slope*middle
	return l
}

// MaxDeviation is the greatest distance of y from its mean.
func MaxDeviation(y []float64) float64 {
	mean, most := Fit(y).Mean, 0.0
	for _, v := range y {
		most = max(most, math.Abs(v-mean))
	}
	return most
}

// Rounds is how many rounds SNIA's measurement window has.
const Rounds = 5

// SNIA's limits, as shares of the average over the window.
const (
	dataExcursion  = 0.20
	slopeExcursion = 0.10
)

// Window is SNIA's steady-state determination over a measurement window. PTS
// "Steady State": both excursions within their limits.
type Window struct {
	Line
	// Excursion is max(y) - min(y), AllowedExcursion 20 % of the average.
	Excursion, AllowedExcursion float64
	// SlopeExcursion is how far the fitted line goes over the window,
	// AllowedSlopeExcursion 10 % of the average.
	SlopeExcursion, AllowedSlopeExcursion float64
	Steady                                bool
}

// SNIA applies the rule to the last five rounds of y. With fewer there is no
// window, and nothing is steady.
func SNIA(y []float64) Window {
	if len(y) < Rounds {
		return Window{Line: Fit(y)}
	}
	y = y[len(y)-Rounds:]
	w := Window{Line: Fit(y)}
	low, high := y[0], y[0]
	for _, v := range y {
		low, high = min(low, v), max(high, v)
	}
	w.Excursion = high - low
	w.AllowedExcursion = dataExcursion * w.Mean
	w.SlopeExcursion = math.Abs(w.Slope) * (Rounds - 1)
	w.AllowedSlopeExcursion = slopeExcursion * w.Mean
	w.Steady = w.Mean > 0 && w.Excursion <= w.AllowedExcursion && w.SlopeExcursion <= w.AllowedSlopeExcursion
	return w
}
