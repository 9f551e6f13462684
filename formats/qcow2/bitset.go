package qcow2

// bitset holds the bits of a dirty bitmap in pages of one cluster of bitmap data, as they are on disk: bit n is bit n%8 of byte n/8.
// Pages that are all zeroes or all ones take no memory, so that it follows what the file has.
type bitset struct {
	bits     int64 // how many there are
	pageBits int64 // bits of a page, a power of two
	pages    map[int64][]byte
	ones     map[int64]bool // pages that are all ones
}

func newBitset(bits, pageBytes int64) *bitset {
	return &bitset{bits: bits, pageBits: 8 * pageBytes, pages: make(map[int64][]byte), ones: make(map[int64]bool)}
}

// pageCount returns how many pages the bits take.
func (s *bitset) pageCount() int64 { return (s.bits + s.pageBits - 1) / s.pageBits }

// page returns a page for changing.
func (s *bitset) page(no int64) []byte {
	p := s.pages[no]
	if p == nil {
		p = make([]byte, s.pageBits/8)
		if s.ones[no] {
			delete(s.ones, no)
			for i := range p {
				p[i] = 0xff
			}
		}
		s.pages[no] = p
	}
	return p
}

// set sets bits [from, to).
func (s *bitset) set(from, to int64) {
	for to = min(to, s.bits); from < to; {
		no := from / s.pageBits
		end := min(to, (no+1)*s.pageBits)
		if s.ones[no] {
			from = end
			continue
		}
		if from == no*s.pageBits && end == from+s.pageBits {
			delete(s.pages, no)
			s.ones[no] = true
			from = end
			continue
		}
		p := s.page(no)
		for i := from % s.pageBits; from < end; {
			if i%8 == 0 && end-from >= 8 {
				p[i/8] = 0xff
				i, from = i+8, from+8
				continue
			}
			p[i/8] |= 1 << (i % 8)
			i, from = i+1, from+1
		}
	}
}

// resize changes the number of bits; new ones are zero.
func (s *bitset) resize(bits int64) {
	if bits < s.bits {
		for no := range s.ones {
			if (no+1)*s.pageBits > bits {
				s.page(no)
			}
		}
		for no, p := range s.pages {
			first := no * s.pageBits
			if first >= bits {
				delete(s.pages, no)
				continue
			}
			for i := bits - first; i >= 0 && i < s.pageBits; i++ {
				p[i/8] &^= 1 << (i % 8)
			}
		}
	} else {
		// A last page of ones ends inside itself.
		for no := range s.ones {
			if (no+1)*s.pageBits > s.bits {
				p := s.page(no)
				for i := s.bits - no*s.pageBits; i < s.pageBits; i++ {
					p[i/8] &^= 1 << (i % 8)
				}
			}
		}
	}
	s.bits = bits
}

// each calls f for every run of set bits, in order.
func (s *bitset) each(f func(from, to int64)) {
	start := int64(-1)
	for no := range s.pageCount() {
		first, last := no*s.pageBits, min(s.bits, (no+1)*s.pageBits)
		p := s.pages[no]
		switch {
		case s.ones[no]:
			if start < 0 {
				start = first
			}
			continue
		case p == nil:
			if start >= 0 {
				f(start, first)
				start = -1
			}
			continue
		}
		for n := first; n < last; n++ {
			on := p[(n-first)/8]>>(n%8)&1 != 0
			if on && start < 0 {
				start = n
			} else if !on && start >= 0 {
				f(start, n)
				start = -1
			}
		}
	}
	if start >= 0 {
		f(start, s.bits)
	}
}
