package throttle

// bucket is a leaky bucket: level is what was poured in and has not leaked yet, in requests or bytes.
type bucket struct {
	avg, max   float64 // a second; avg 0: no limit
	brim       float64 // how full it may be for a request to go
	burstBrim  float64 // the same of the bucket that leaks at max
	level      float64
	burstLevel float64
	bursts     bool // the second bucket is in use
}

func newBucket(r rate) bucket {
	b := bucket{avg: float64(r.avg), max: float64(r.max)}
	if r.max == 0 {
		b.brim = b.avg / 10
	} else {
		b.brim = b.max * float64(r.length)
		b.burstBrim = b.max / 10
		b.bursts = r.length > 1
	}
	return b
}

// leak lets seconds pass.
func (b *bucket) leak(seconds float64) {
	if b.level -= b.avg * seconds; b.level < 0 {
		b.level = 0
	}
	if b.bursts {
		if b.burstLevel -= b.max * seconds; b.burstLevel < 0 {
			b.burstLevel = 0
		}
	}
}

// wait returns in how many seconds a request may go that finds the brim lower by what is ahead of it.
func (b *bucket) wait(ahead float64) float64 {
	if b.avg == 0 {
		return 0
	}
	s := (b.level + ahead - b.brim) / b.avg
	if b.bursts {
		s = max(s, (b.burstLevel+ahead-b.burstBrim)/b.max)
	}
	return max(s, 0)
}

func (b *bucket) pour(units float64) {
	b.level += units
	if b.bursts {
		b.burstLevel += units
	}
}
