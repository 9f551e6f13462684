package zstd

import "encoding/binary"

// Literals block types. RFC 8878 §3.1.1.3.1.1
const (
	literalsRaw        = 0
	literalsRLE        = 1
	literalsCompressed = 2
)

// minFour is the number of literals from which on they are split into four streams.
const minFour = 256

// literals writes the literals section; false when that gets longer than limit. RFC 8878 §3.1.1.3.1
func (e *Encoder) literals(limit int) bool {
	w, lits := &e.w, e.lits[:e.litN]
	if len(lits) < 32 {
		w.plain(literalsRaw, len(lits), lits)
		return true
	}
	e.histogram(lits)
	most := uint32(0)
	for _, f := range e.litFreq {
		most = max(most, f)
	}
	if int(most) == len(lits) {
		w.plain(literalsRLE, len(lits), lits[:1])
		return true
	}
	size := (e.huffman.build(&e.litFreq) + 7) / 8
	if size+len(lits)>>6 < len(lits) && size < limit {
		head := w.pos
		if e.compressLiterals(lits) && w.pos-head < len(lits) {
			return true
		}
		w.pos, w.buf, w.n = head, 0, 0
	}
	if len(lits) > limit {
		return false
	}
	w.plain(literalsRaw, len(lits), lits)
	return true
}

// histogram counts the literals; four counts side by side, since equal bytes come in runs.
func (e *Encoder) histogram(lits []byte) {
	var c [4][256]uint32
	p := lits
	for ; len(p) >= 8; p = p[8:] {
		v := binary.LittleEndian.Uint64(p)
		c[0][uint8(v)]++
		c[1][uint8(v>>8)]++
		c[2][uint8(v>>16)]++
		c[3][uint8(v>>24)]++
		c[0][uint8(v>>32)]++
		c[1][uint8(v>>40)]++
		c[2][uint8(v>>48)]++
		c[3][uint8(v>>56)]++
	}
	for _, b := range p {
		c[0][b]++
	}
	for i := range e.litFreq {
		e.litFreq[i] = c[0][i] + c[1][i] + c[2][i] + c[3][i]
	}
}

// plain writes a section that is not compressed.
func (w *bitWriter) plain(kind, n int, p []byte) {
	switch {
	case n < 32:
		w.bytes(byte(kind | n<<3))
	case n < 4096:
		v := kind | 1<<2 | n<<4
		w.bytes(byte(v), byte(v>>8))
	default:
		v := kind | 3<<2 | n<<4
		w.bytes(byte(v), byte(v>>8), byte(v>>16))
	}
	w.bytes(p...)
}

// compressLiterals writes a section with a code of its own, in one stream or four; false when the code has no description.
func (e *Encoder) compressLiterals(lits []byte) bool {
	w, n := &e.w, len(lits)
	head, headLen := w.pos, 3
	switch {
	case n >= 16<<10:
		headLen = 5
	case n >= 1<<10:
		headLen = 4
	}
	w.pos += headLen
	if !e.huffman.describe(w, &e.weights) {
		return false
	}
	format := uint64(headLen - 2)
	if n < minFour {
		format = 0
		e.huffman.encode(w, lits)
	} else {
		jump := w.pos
		w.pos += 6
		part := (n + 3) / 4
		for i := range 3 {
			start := w.pos
			e.huffman.encode(w, lits[i*part:(i+1)*part])
			binary.LittleEndian.PutUint16(w.out[jump+2*i:], uint16(w.pos-start))
		}
		e.huffman.encode(w, lits[3*part:])
	}
	sizeBits := [...]uint{3: 10, 4: 14, 5: 18}[headLen]
	size := w.pos - head - headLen
	if size >= n {
		return false
	}
	v := literalsCompressed | format<<2 | uint64(n)<<4 | uint64(size)<<(4+sizeBits)
	for i := range headLen {
		w.out[head+i] = byte(v >> (8 * i))
	}
	return true
}

// encode writes a stream, the last literal first. RFC 8878 §4.2.2
func (h *huffman) encode(w *bitWriter, lits []byte) {
	out, pos, buf, n := w.out, w.pos, uint64(0), uint(0)
	words := &h.words
	for len(lits)&3 != 0 {
		v := words[lits[len(lits)-1]]
		buf |= uint64(v>>4) << (n & 63)
		n += uint(v & 15)
		lits = lits[:len(lits)-1]
	}
	for len(lits) >= 4 {
		binary.LittleEndian.PutUint64(out[pos:], buf)
		pos += int(n >> 3)
		buf >>= n & 56
		n &= 7
		q := binary.LittleEndian.Uint32(lits[len(lits)-4:])
		lits = lits[:len(lits)-4]
		v := words[q>>24]
		buf |= uint64(v>>4) << (n & 63)
		n += uint(v & 15)
		v = words[q>>16&255]
		buf |= uint64(v>>4) << (n & 63)
		n += uint(v & 15)
		v = words[q>>8&255]
		buf |= uint64(v>>4) << (n & 63)
		n += uint(v & 15)
		v = words[q&255]
		buf |= uint64(v>>4) << (n & 63)
		n += uint(v & 15)
	}
	w.pos, w.buf, w.n = pos, buf, n
	w.flush()
	w.end()
}
