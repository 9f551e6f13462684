package zstd

import "math/bits"

// maxCodes is the size of the largest alphabet that FSE codes.
const maxCodes = 53

// Accuracies, in bits.
const (
	minTableLog = 5
	maxTableLog = 9
)

// fseTable is an FSE code as the writer needs it. RFC 8878 §4.1
type fseTable struct {
	log    uint
	states [1 << maxTableLog]uint16 // by symbol, and in it by occurrence
	by     [maxCodes]transition
}

// transition is what a symbol does to a state.
type transition struct {
	bits uint32 // added to a state: the number of bits to write in the upper half
	find int32  // added to what is left of the state: an index of states
}

// build makes the table of normalized counts, whose sum is 1<<log; -1 stands for less than one. RFC 8878 §4.1.1
func (t *fseTable) build(norm []int16, log uint) {
	t.log = log
	size := uint32(1) << log
	var cells [1 << maxTableLog]uint8
	var first [maxCodes + 1]uint32
	high := size - 1
	for s, n := range norm {
		first[s+1] = first[s]
		if n < 0 {
			first[s+1]++
			cells[high&(1<<maxTableLog-1)] = uint8(s)
			high--
		} else {
			first[s+1] += uint32(n)
		}
	}
	step, mask, at := size>>1+size>>3+3, size-1, uint32(0)
	for s, n := range norm {
		for range n {
			cells[at&(1<<maxTableLog-1)] = uint8(s)
			for at = (at + step) & mask; at > high; {
				at = (at + step) & mask
			}
		}
	}
	fill := first
	for i, s := range cells[:size] {
		t.states[fill[s]&(1<<maxTableLog-1)] = uint16(size + uint32(i))
		fill[s]++
	}
	for s, n := range norm {
		switch n {
		case 0:
			t.by[s] = transition{}
		case 1, -1:
			t.by[s] = transition{uint32(log)<<16 - size, int32(first[s]) - 1}
		default:
			most := uint32(log) - uint32(bits.Len16(uint16(n-1))-1)
			t.by[s] = transition{most<<16 - uint32(n)<<most, int32(first[s]) - int32(n)}
		}
	}
}

// single makes the table of one symbol, which takes no bits.
func (t *fseTable) single(s uint8) {
	t.log, t.states[0], t.by[s] = 0, 0, transition{}
}

// start returns a state that the decoder leaves with symbol s as its last, by as many bits as the symbol may take: a decoder that reads
// until there are no bits left meets the end.
func (t *fseTable) start(s uint8) uint32 {
	tr := t.by[s]
	k := (tr.bits + 1<<15) >> 16
	return uint32(t.states[int32((k<<16-tr.bits)>>k)+tr.find])
}

// normalize scales the counts of symbols, total of all, to a sum of 1<<log with at least one for each symbol that occurs; at least two do,
// and there are no more of them than the sum.
func normalize(norm []int16, freq []uint32, total uint32, log uint) {
	size := 1 << log
	sum, top := 0, 0
	for s, f := range freq {
		if f == 0 {
			norm[s] = 0
			continue
		}
		n := max(1, int((uint64(f)<<(log+1)+uint64(total))/(2*uint64(total))))
		norm[s] = int16(n)
		sum += n
		if norm[s] > norm[top] {
			top = s
		}
	}
	if left := size - sum; left > 0 || -left < int(norm[top])/4 {
		norm[top] += int16(left)
		return
	}
	for ; sum > size; sum-- {
		top = 0
		for s, n := range norm[:len(freq)] {
			if n > norm[top] {
				top = s
			}
		}
		norm[top]--
	}
}

// tableLog says how accurate a table of n symbols is worth to be.
func tableLog(n uint32, symbols int, most uint) uint {
	log := min(uint(max(bits.Len32(n-1)-3, minTableLog)), most)
	for 1<<log < symbols {
		log++
	}
	return log
}

// describe writes normalized counts. RFC 8878 §4.1.1
func (w *bitWriter) describe(norm []int16, log uint) {
	w.put(uint64(log-minTableLog), 4)
	left := 1<<log + 1 // the counts still to come, and one
	k := log + 1
	for s := 0; left > 1; s++ {
		v := int(norm[s]) + 1
		// Values below small fit one bit less; the upper ones are shifted out of their way.
		small := 2<<(k-1) - 1 - left
		switch {
		case v < small:
			w.put(uint64(v), k-1)
		case v < 1<<(k-1):
			w.put(uint64(v), k)
		default:
			w.put(uint64(v+small), k)
		}
		left -= max(int(norm[s]), -int(norm[s]))
		for left < 1<<(k-1) && k > 1 {
			k--
		}
		if norm[s] == 0 {
			zeroes := 0
			for norm[s+1+zeroes] == 0 {
				zeroes++
			}
			s += zeroes
			for ; zeroes >= 3; zeroes -= 3 {
				w.put(3, 2)
				w.flush()
			}
			w.put(uint64(zeroes), 2)
		}
		w.flush()
	}
	w.pad()
}

// log2 is the binary logarithm of 1 to 512, in 256ths.
var log2 = func() (t [1<<maxTableLog + 1]uint32) {
	for i := 1; i < len(t); i++ {
		// Squaring the mantissa gives the digits one by one.
		e := uint32(bits.Len(uint(i)) - 1)
		m := uint64(i) << (32 - e) // from 1<<32 to 2<<32
		v := e
		for range 8 {
			m = (m >> 16) * (m >> 16)
			v <<= 1
			if m >= 2<<32 {
				m >>= 1
				v |= 1
			}
		}
		t[i] = v
	}
	return t
}()

// cost is what symbols take by a table, in bits; a symbol that the table lacks makes it endless.
func cost(freq []uint32, norm []int16, log uint) int {
	const never = 1 << 30
	sum := 0
	for s, f := range freq {
		if f == 0 {
			continue
		}
		if s >= len(norm) || norm[s] == 0 {
			return never
		}
		sum += int(f) * int(uint32(log)<<8-log2[max(norm[s], 1)])
	}
	return sum >> 8
}
