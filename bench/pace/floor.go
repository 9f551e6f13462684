package pace

import (
	"fmt"

	"github.com/blkbench/blkbench/bench/gen"
)

// Floor is fio's rate_min and rate_iops_min: an average over each cycle that a
// direction must not fall below.
type Floor struct {
	min   [gen.Dirs]Rate
	cycle int64
	from  int64
	at    int64 // beginning of the present cycle; 0: none yet
	bytes [gen.Dirs]uint64
	ios   [gen.Dirs]uint64
}

// settle is how long a job may take to get going, as in fio.
const settle = 2_000_000_000

// NewFloor begins at start; a cycle of 0 is a second.
func NewFloor(minimum [gen.Dirs]Rate, cycle, start int64) (*Floor, error) {
	if cycle < 0 {
		return nil, fmt.Errorf("rate cycle of %d ns", cycle)
	}
	if cycle == 0 {
		cycle = 1_000_000_000
	}
	for d, r := range minimum {
		if !(r.IOPS >= 0 && r.Bytes >= 0) {
			return nil, fmt.Errorf("%v: minimum rate %v", gen.Dir(d), r)
		}
	}
	return &Floor{min: minimum, cycle: cycle, from: start + settle}, nil
}

// Check is told the totals done so far, now and then. It answers an error when
// a cycle is over in which a direction fell below its minimum.
func (f *Floor) Check(now int64, bytes, ios *[gen.Dirs]uint64) error {
	if now < f.from {
		return nil
	}
	if f.at == 0 {
		f.at, f.bytes, f.ios = now, *bytes, *ios
		return nil
	}
	spent := now - f.at
	if spent < f.cycle {
		return nil
	}
	perSecond := 1e9 / float64(spent)
	for d, r := range f.min {
		if got := float64(bytes[d]-f.bytes[d]) * perSecond; got < r.Bytes {
			return fmt.Errorf("%v: rate_min=%.0f B/s not met, got %.0f B/s", gen.Dir(d), r.Bytes, got)
		}
		if got := float64(ios[d]-f.ios[d]) * perSecond; got < r.IOPS {
			return fmt.Errorf("%v: rate_iops_min=%.0f not met, got %.0f", gen.Dir(d), r.IOPS, got)
		}
	}
	f.at, f.bytes, f.ios = now, *bytes, *ios
	return nil
}
