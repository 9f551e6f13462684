package report

import (
	"math"
	"slices"
	"time"

	"github.com/blkbench/blkbench/bench/internal/units"
	"github.com/blkbench/blkbench/bench/result"
)

// maxColumns is how many steps of time a chart shows; more intervals are added up.
const maxColumns = 240

// column is one step of time of a chart.
type column struct {
	start, end time.Duration
	dir        [3]columnDir
}

type columnDir struct {
	ios, bytes uint64
	lo, hi     [2]float64 // lowest and highest rate of its intervals: I/Os and bytes a second
	lat        *recorded  // nil where nothing was measured
}

// columns adds the intervals of a job up to at most maxColumns steps of equal length.
func columns(j *result.Job) []column {
	n := len(j.Series)
	if n == 0 {
		return nil
	}
	per := (n + maxColumns - 1) / maxColumns
	var out []column
	for i := 0; i < n; i += per {
		part := j.Series[i:min(i+per, n)]
		last := &part[len(part)-1]
		c := column{start: part[0].Start, end: last.Start + last.Len}
		for d := range c.dir {
			c.dir[d] = merge(part, d)
		}
		out = append(out, c)
	}
	// A short interval at the end would show as a dip of the rate, or a spike.
	if k := len(out) - 1; k > 0 && out[k].end-out[k].start < (out[0].end-out[0].start)/2 {
		out = out[:k]
	}
	return out
}

func merge(part []result.Interval, d int) columnDir {
	c := columnDir{lo: [2]float64{math.Inf(1), math.Inf(1)}}
	bins := map[uint64]uint64{}
	for i := range part {
		r := &part[i].Dir[d]
		c.ios, c.bytes = c.ios+r.IOs, c.bytes+r.Bytes
		if sec := part[i].Len.Seconds(); sec > 0 {
			for k, v := range [2]uint64{r.IOs, r.Bytes} {
				c.lo[k], c.hi[k] = min(c.lo[k], float64(v)/sec), max(c.hi[k], float64(v)/sec)
			}
		}
		if r.Lat == nil || r.Lat.Count() == 0 {
			continue
		}
		if c.lat == nil {
			c.lat = &recorded{figures: figures{min: math.MaxUint64}}
		}
		l := c.lat
		n := l.n + r.Lat.Count()
		l.mean += (units.Finite(r.Lat.Mean()) - l.mean) * float64(r.Lat.Count()) / float64(n)
		l.n, l.min, l.max = n, min(l.min, r.Lat.Min()), max(l.max, r.Lat.Max())
		if rec, ok := r.Lat.(*recorded); ok && len(rec.bins) == 0 {
			l.percentiles = worst(l.percentiles, rec.percentiles)
			continue
		}
		r.Lat.Buckets(func(lo, hi, n uint64) bool {
			bins[middle(lo, hi)] += n
			return true
		})
	}
	if c.lat != nil {
		for v, n := range bins {
			c.lat.bins = append(c.lat.bins, [2]uint64{v, n})
		}
		slices.SortFunc(c.lat.bins, func(a, b [2]uint64) int {
			if a[0] < b[0] {
				return -1
			}
			return 1
		})
	}
	return c
}

// worst joins percentiles of intervals whose bins are not known: the true ones are at most these.
func worst(a, b []point) []point {
	if a == nil {
		return slices.Clone(b)
	}
	for i := range a {
		if i < len(b) && b[i].p == a[i].p {
			a[i].v = max(a[i].v, b[i].v)
		}
	}
	return a
}

func (c *column) seconds() float64 { return (c.end - c.start).Seconds() }

// middle of the column, in seconds.
func (c *column) middle() float64 { return (c.start + c.end).Seconds() / 2 }
