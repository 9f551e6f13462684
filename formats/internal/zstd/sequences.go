package zstd

import (
	"math/bits"
)

// sequence is a run of literals and then a match.
type sequence struct {
	lit   uint16
	match uint16 // length - minMatchCode
	off   uint32 // offset value: 1 to 3 an offset used before, else the offset + 3. RFC 8878 §3.1.1.3.2.1.1
}

// minMatchCode is the length that match length code 0 stands for.
const minMatchCode = 3

// The alphabets, in the order of their tables.
const (
	litLen = iota
	offset
	matchLen
)

// Compression modes of the tables. RFC 8878 §3.1.1.3.2.1
const (
	modePredefined = 0
	modeRLE        = 1
	modeCompressed = 2
)

// alphabets has what the format says of each.
var alphabets = [3]struct {
	codes int
	log   uint // most accurate table
	norm  []int16
	preLo uint // accuracy of the predefined table
}{
	// RFC 8878 §3.1.1.3.2.2
	litLen: {36, 9, []int16{
		4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
	}, 6},
	offset: {29, 8, []int16{1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1}, 5},
	matchLen: {53, 9, []int16{
		1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
	}, 6},
}

// predefined are the tables that need no description.
var predefined = func() (t [3]fseTable) {
	for a := range t {
		t[a].build(alphabets[a].norm, alphabets[a].preLo)
	}
	return t
}()

// Extra bits by code. RFC 8878 §3.1.1.3.2.1.1
var (
	litLenExtra = [64]uint8{
		16: 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
	}
	matchLenExtra = [64]uint8{
		32: 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
	}
)

// Codes of short lengths; of longer ones the highest bit decides.
var (
	litLenCode   = [64]uint8(shortCodes(litLenExtra[:36], 64))
	matchLenCode = [128]uint8(shortCodes(matchLenExtra[:53], 128))
)

// shortCodes lists the codes of the values below n.
func shortCodes(extra []uint8, n int) []uint8 {
	var t []uint8
	for c, k := range extra {
		for range 1 << k {
			if len(t) < n {
				t = append(t, uint8(c))
			}
		}
	}
	return t
}

// sequences writes the sequences section. RFC 8878 §3.1.1.3.2
func (e *Encoder) sequences() {
	w := &e.w
	n := e.seqN
	switch {
	case n < 128:
		w.bytes(byte(n))
	case n < 0x7f00:
		w.bytes(byte(n>>8+128), byte(n))
	default:
		w.bytes(255, byte(n-0x7f00), byte((n-0x7f00)>>8))
	}
	if n == 0 {
		return
	}
	e.encodeCodes()
	modes := w.pos
	w.bytes(0)
	var use [3]*fseTable
	for a := range use {
		var mode byte
		use[a], mode = e.table(a)
		w.out[modes] |= mode << (6 - 2*a)
	}
	e.stream(use[litLen], use[offset], use[matchLen])
}

// encodeCodes fills in the codes of the sequences and counts them.
func (e *Encoder) encodeCodes() {
	clear(e.freq[litLen][:])
	clear(e.freq[offset][:])
	clear(e.freq[matchLen][:])
	seqs := e.seqs[:e.seqN]
	ll, of, ml := e.codes[litLen][:len(seqs)], e.codes[offset][:len(seqs)], e.codes[matchLen][:len(seqs)]
	fl, fo, fm := &e.freq[litLen], &e.freq[offset], &e.freq[matchLen]
	for i := range seqs {
		s := &seqs[i]
		var c uint8
		if s.lit < 64 {
			c = litLenCode[s.lit]
		} else {
			c = uint8(bits.Len16(s.lit)) + 18
		}
		ll[i] = c
		fl[c%maxCodes]++
		if s.match < 128 {
			c = matchLenCode[s.match]
		} else {
			c = uint8(bits.Len16(s.match)) + 35
		}
		ml[i] = c
		fm[c%maxCodes]++
		c = uint8(bits.Len32(s.off) - 1)
		of[i] = c
		fo[c%maxCodes]++
	}
}

// table chooses the table of an alphabet and writes its description.
func (e *Encoder) table(a int) (*fseTable, byte) {
	freq := e.freq[a][:alphabets[a].codes]
	symbols, last := 0, 0
	for s, f := range freq {
		if f > 0 {
			symbols, last = symbols+1, s
		}
	}
	pre := cost(freq, alphabets[a].norm, alphabets[a].preLo)
	t := &e.tables[a]
	if symbols == 1 {
		if pre < 8 {
			return &predefined[a], modePredefined
		}
		t.single(uint8(last))
		e.w.bytes(byte(last))
		return t, modeRLE
	}
	log := tableLog(uint32(e.seqN), symbols, alphabets[a].log)
	freq = freq[:last+1]
	normalize(e.norm[:], freq, uint32(e.seqN), log)
	norm := e.norm[:last+1]
	// A description takes some five bits a symbol.
	if pre <= cost(freq, norm, log)+5*symbols+16 {
		return &predefined[a], modePredefined
	}
	e.w.describe(norm, log)
	t.build(norm, log)
	return t, modeCompressed
}

// stream writes the sequences, the last first. RFC 8878 §3.1.1.3.2.1.2
func (e *Encoder) stream(tl, to, tm *fseTable) {
	seqs := e.seqs[:e.seqN]
	ll, of, ml := e.codes[litLen][:len(seqs)], e.codes[offset][:len(seqs)], e.codes[matchLen][:len(seqs)]
	i := len(seqs) - 1
	sm, so, sl := tm.start(ml[i]), to.start(of[i]), tl.start(ll[i])
	w := e.w
	for {
		s := &seqs[i]
		cl, cm, co := ll[i], ml[i], of[i]
		// At most 16+16+16 bits here and 9+8+9 below: with 7 of before, two flushes.
		kl, km, ko := uint(litLenExtra[cl&63]), uint(matchLenExtra[cm&63]), uint(co)
		w.put(uint64(s.lit)&(1<<(kl&63)-1), kl)
		w.put(uint64(s.match)&(1<<(km&63)-1), km)
		w.put(uint64(s.off)&(1<<(ko&63)-1), ko)
		w.flush()
		if i--; i < 0 {
			break
		}
		so = w.symbol(to, so, of[i])
		sm = w.symbol(tm, sm, ml[i])
		sl = w.symbol(tl, sl, ll[i])
		if w.n > 16 {
			w.flush()
		}
	}
	w.put(uint64(sm)&(1<<tm.log-1), tm.log)
	w.put(uint64(so)&(1<<to.log-1), to.log)
	w.put(uint64(sl)&(1<<tl.log-1), tl.log)
	w.flush()
	w.end()
	e.w = w
}

// symbol writes what a symbol takes in a state, and returns the state before it.
func (w *bitWriter) symbol(t *fseTable, state uint32, s uint8) uint32 {
	tr := t.by[s%maxCodes]
	k := (state + tr.bits) >> 16
	w.put(uint64(state)&(1<<(k&31)-1), uint(k))
	return uint32(t.states[uint32(int32(state>>(k&31))+tr.find)&(1<<maxTableLog-1)])
}
