package pace

import (
	"fmt"
	"math"

	"github.com/blkbench/blkbench/bench/gen"
)

// Rate is what one direction is held to; one of IOPS and Bytes is above 0, or
// neither for no limit.
type Rate struct {
	IOPS  float64 // requests a second
	Bytes float64 // bytes a second
}

// Limited says whether there is a limit.
func (r Rate) Limited() bool { return r.IOPS > 0 || r.Bytes > 0 }

func (r Rate) check() error {
	for _, v := range []float64{r.IOPS, r.Bytes} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("rate of %v per second", v)
		}
	}
	if r.IOPS > 0 && r.Bytes > 0 {
		return fmt.Errorf("a rate in requests and one in bytes exclude each other")
	}
	return nil
}

// Schedule is the row of intended starts of one direction.
type Schedule struct {
	next    int64   // the next intended start
	rest    float64 // of a nanosecond, carried on so that the rate is exact
	perIO   float64 // ns from one request to the next
	perByte float64
	poisson bool
	rng     gen.Rand
}

// NewSchedule begins at start. With poisson, the times between requests are
// exponentially distributed around those of the rate.
func NewSchedule(r Rate, poisson bool, start int64, rng gen.Rand) (*Schedule, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if !r.Limited() {
		return nil, fmt.Errorf("no rate to keep")
	}
	s := &Schedule{next: start, poisson: poisson, rng: rng}
	if r.IOPS > 0 {
		s.perIO = 1e9 / r.IOPS
	} else {
		s.perByte = 1e9 / r.Bytes
	}
	if poisson { // the first request, too, comes at random
		s.advance(s.perIO)
	}
	return s, nil
}

// Peek is the intended start of the next request.
func (s *Schedule) Peek() int64 { return s.next }

// Take answers the intended start of a request of so many bytes and goes on to
// the one after it.
func (s *Schedule) Take(bytes int64) int64 {
	at := s.next
	s.advance(s.perIO + s.perByte*float64(bytes))
	return at
}

func (s *Schedule) advance(gap float64) {
	if s.poisson {
		gap *= -math.Log(1 - s.rng.Float64())
	}
	gap += s.rest
	whole := math.Floor(gap)
	s.rest = gap - whole
	s.next += int64(whole)
}

// Shift moves what is still to come by d nanoseconds: for pauses that are not
// to be made up for (rate_ignore_thinktime).
func (s *Schedule) Shift(d int64) { s.next += d }

// Pacer has the schedules of a job's directions.
type Pacer struct {
	schedules [gen.Dirs]*Schedule // nil: no limit
	limited   bool
}

// NewPacer makes schedules for the directions that have a rate.
func NewPacer(rates [gen.Dirs]Rate, poisson bool, start int64, seed uint64) (*Pacer, error) {
	p := new(Pacer)
	for d, r := range rates {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("%v: %w", gen.Dir(d), err)
		}
		if !r.Limited() {
			continue
		}
		const stream = 1 << 17 // away from those of package gen
		s, err := NewSchedule(r, poisson, start, gen.NewRand(seed, stream+uint64(d)))
		if err != nil {
			return nil, fmt.Errorf("%v: %w", gen.Dir(d), err)
		}
		p.schedules[d], p.limited = s, true
	}
	return p, nil
}

// Limited says whether any direction has a rate. Otherwise the loop is closed
// and nothing need be asked.
func (p *Pacer) Limited() bool { return p.limited }

// Pick chooses the direction of the next request and says when it is to start.
// Want is what the mix drew, other what else the pattern has (or want again).
// A direction without a rate may always start. Where both have one, that which
// is due first comes first, so that each keeps its rate and the mix follows
// from them, as in fio. Nothing is taken yet: see Take.
func (p *Pacer) Pick(want, other gen.Dir, now int64) (d gen.Dir, at int64) {
	w, o := p.schedules[want], p.schedules[other]
	switch {
	case w == nil:
		return want, now
	case want == other || w.next <= now && o == nil:
		return want, w.next
	case o == nil:
		return other, now
	case o.next < w.next:
		return other, o.next
	}
	return want, w.next
}

// Take accounts for a request that is being issued and answers the time its
// latency counts from: the intended start, or now without a rate.
func (p *Pacer) Take(d gen.Dir, bytes, now int64) int64 {
	if s := p.schedules[d]; s != nil {
		return s.Take(bytes)
	}
	return now
}

// Shift moves all schedules.
func (p *Pacer) Shift(d int64) {
	for _, s := range p.schedules {
		if s != nil {
			s.Shift(d)
		}
	}
}
