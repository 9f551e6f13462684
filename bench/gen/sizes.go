package gen

import "fmt"

// Sizes says how long requests of one direction are: one size, a range, or a
// list with weights. The zero value is 4096 bytes.
type Sizes struct {
	// Min and Max bound a range; a single size has Max = 0 or Max = Min.
	Min, Max int64
	// Unaligned allows every size of the range, not only multiples of Min.
	Unaligned bool
	// Split, if there, replaces the range: sizes with their percentages.
	Split []Split
}

// Split is one size of a list and its percentage; 0 takes an even part of what
// the others leave.
type Split struct {
	Size    int64
	Percent float64
}

const (
	defaultSize = 4096
	maxSize     = 1<<32 - 1
	maxSplits   = 64 // fio's limit
)

// sizer draws request sizes.
type sizer struct {
	pop      *popularity // nil: always min
	list     []int64     // sizes by rank; nil: a range
	unit     int64
	min, max int64
}

func newSizer(s *Sizes) (*sizer, error) {
	z := &sizer{min: s.Min, max: s.Max, unit: s.Min}
	if len(s.Split) > 0 {
		return z, z.split(s.Split)
	}
	if z.min == 0 {
		z.min, z.unit = defaultSize, defaultSize
	}
	if z.max == 0 {
		z.max = z.min
	}
	if z.min < 0 || z.max < z.min || z.max > maxSize {
		return nil, fmt.Errorf("block size range %d-%d", s.Min, s.Max)
	}
	if s.Unaligned {
		z.unit = 1
	}
	steps := uint64((z.max-z.min)/z.unit) + 1
	z.max = z.min + int64(steps-1)*z.unit
	if steps == 1 {
		return z, nil
	}
	var err error
	z.pop, err = newZones(steps, []blockZone{{0, steps, 1}})
	return z, err
}

func (z *sizer) split(list []Split) error {
	if len(list) > maxSplits {
		return fmt.Errorf("%d block sizes: at most %d", len(list), maxSplits)
	}
	percent := make([]float64, len(list))
	for i, s := range list {
		if s.Size <= 0 || s.Size > maxSize {
			return fmt.Errorf("block size %d", s.Size)
		}
		percent[i] = s.Percent
		z.list = append(z.list, s.Size)
		if i == 0 || s.Size < z.min {
			z.min = s.Size
		}
		z.max = max(z.max, s.Size)
	}
	if err := shareRest(percent); err != nil {
		return fmt.Errorf("block sizes: %w", err)
	}
	n := uint64(len(list))
	zones := make([]blockZone, len(list))
	for i := range zones {
		zones[i] = blockZone{uint64(i), uint64(i) + 1, percent[i]}
	}
	var err error
	z.pop, err = newZones(n, zones)
	return err
}

// next draws a size.
func (z *sizer) next(r *Rand) int64 {
	if z.pop == nil {
		return z.min
	}
	rank := z.pop.next(r)
	if z.list != nil {
		return z.list[rank]
	}
	return z.min + int64(rank)*z.unit
}

// refits is how often a size that is too long is drawn anew before the smallest
// is taken.
const refits = 16

// fit draws a size of at most room, as fio does: again until one fits. When not
// even the smallest does, it answers 0.
func (z *sizer) fit(r *Rand, room int64) int64 {
	if room < z.min {
		return 0
	}
	for range refits {
		if n := z.next(r); n <= room {
			return n
		}
	}
	return z.min
}
