package series

import "math"

// Moments are minimum, maximum, mean and sample standard deviation of rates, as
// in fio's bw_* and iops_* figures: one value an interval. The zero value is
// empty. (Rates are few; Welford's method is good enough here.)
type Moments struct {
	N        int
	Min, Max float64
	mean, m2 float64
}

// Add counts one value.
func (m *Moments) Add(v float64) {
	if m.N++; m.N == 1 {
		m.Min, m.Max = v, v
	}
	m.Min, m.Max = min(m.Min, v), max(m.Max, v)
	d := v - m.mean
	m.mean += d / float64(m.N)
	m.m2 += d * (v - m.mean)
}

// Merge adds what o has counted.
func (m *Moments) Merge(o *Moments) {
	if o.N == 0 {
		return
	}
	if m.N == 0 {
		*m = *o
		return
	}
	n, d := float64(m.N+o.N), o.mean-m.mean
	m.m2 += o.m2 + d*d*float64(m.N)*float64(o.N)/n
	m.mean += d * float64(o.N) / n
	m.N += o.N
	m.Min, m.Max = min(m.Min, o.Min), max(m.Max, o.Max)
}

// Mean is the mean, 0 of nothing.
func (m *Moments) Mean() float64 { return m.mean }

// Stddev is the sample standard deviation, 0 below two values.
func (m *Moments) Stddev() float64 {
	if m.N < 2 {
		return 0
	}
	return math.Sqrt(m.m2 / float64(m.N-1))
}
