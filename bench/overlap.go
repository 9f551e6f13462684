package bench

// overlaps holds the ranges in flight of one file, for serialize_overlap: a request whose range touches one of them waits. The number in
// flight is small, so a list serves.
type overlaps struct{ ranges []span }

type span struct{ off, end int64 }

func (o *overlaps) touches(off, n int64) bool {
	for _, s := range o.ranges {
		if off < s.end && s.off < off+n {
			return true
		}
	}
	return false
}

func (o *overlaps) add(off, n int64) { o.ranges = append(o.ranges, span{off, off + n}) }

func (o *overlaps) remove(off, n int64) {
	for i, s := range o.ranges {
		if s.off == off && s.end == off+n {
			o.ranges[i] = o.ranges[len(o.ranges)-1]
			o.ranges = o.ranges[:len(o.ranges)-1]
			return
		}
	}
}
