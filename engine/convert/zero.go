package convert

import "github.com/blkbench/blkbench/engine"

// span is a stretch of a chunk.
type span struct {
	off, n int // bytes in the chunk
	zero   bool
	same   bool // Rebase: both sides have it, nothing is written
}

// scan cuts p into spans of data and of zeroes. base is where p lies in the target: units are counted from there. A run of zeroes counts
// from least bytes on.
func scan(dst []span, p []byte, base int64, unit, least int) []span {
	for at := 0; at < len(p); {
		n := min(len(p)-at, unit-int((base+int64(at))&int64(unit-1)))
		dst = extend(dst, at, n, engine.IsZero(p[at:at+n]))
		at += n
	}
	return absorb(dst, least)
}

func extend(dst []span, at, n int, zero bool) []span {
	return join(dst, span{off: at, n: n, zero: zero})
}

// join appends a span, or makes the last one longer.
func join(dst []span, s span) []span {
	if k := len(dst) - 1; k >= 0 && dst[k].zero == s.zero && dst[k].same == s.same {
		dst[k].n += s.n
		return dst
	}
	return append(dst, s)
}

// absorb makes data of runs of zeroes that are shorter than least, those at the end of the chunk excepted: they may go on in the next.
func absorb(s []span, least int) []span {
	out := s[:0]
	for i, x := range s {
		out = extend(out, x.off, x.n, x.zero && (x.n >= least || i == 0 || i == len(s)-1))
	}
	return out
}

// differing cuts a chunk into spans that are the same in a and b, and others, of which those that are zeroes in a are told apart; in units
// of unit bytes.
func differing(dst []span, a, b []byte, unit int) []span {
	for at := 0; at < len(a); at += unit {
		n := min(unit, len(a)-at)
		s := span{off: at, n: n, same: equal(a[at:at+n], b[at:at+n])}
		s.zero = !s.same && engine.IsZero(a[at:at+n])
		dst = join(dst, s)
	}
	return dst
}
