package zstd

import "encoding/binary"

// MaxSize is the longest buffer that can be compressed, in bytes.
const MaxSize = 1 << 16

// Level says how hard an Encoder looks for matches.
type Level uint8

// The levels.
const (
	Default Level = iota
	Fast
)

// frameMagic starts a frame. RFC 8878 §3.1.1
const frameMagic = 0xfd2fb528

// Block types. RFC 8878 §3.1.1.2.2
const (
	blockRaw        = 0
	blockRLE        = 1
	blockCompressed = 2
)

// slack is how much may be read behind the end of the buffer.
const slack = 64

// Encoder compresses buffers. It takes no memory after it is made, and is not for use by several goroutines at once.
type Encoder struct {
	level Level

	src  [MaxSize + slack]byte // what is compressed
	n    int                   // its length
	long [1 << longBits]uint16 // last position of eight bytes
	next [1 << nextBits]uint16 // of the fewer bytes of a short match

	seqs    [MaxSize/minMatch + 1]sequence
	seqN    int
	lits    [MaxSize + slack]byte
	litN    int
	codes   [3][MaxSize/minMatch + 1]uint8 // of the sequences, by alphabet
	freq    [3][maxCodes]uint32
	tables  [3]fseTable
	norm    [maxCodes]int16
	weights fseTable

	litFreq [256]uint32
	huffman huffman

	out []byte // memory of the block
	w   bitWriter
}

// NewEncoder makes an Encoder.
func NewEncoder(level Level) *Encoder {
	return &Encoder{level: level, out: make([]byte, 2*MaxSize)}
}

// Encode appends src, at most MaxSize bytes, as a frame to dst. It returns nil when the frame would be longer than limit.
func (e *Encoder) Encode(dst, src []byte, limit int) []byte {
	if len(src) > MaxSize {
		return nil
	}
	start := len(dst)
	dst = frameHeader(dst, len(src))
	if same(src) {
		dst = append(blockHeader(dst, blockRLE, len(src)), src[0])
	} else if block := e.block(src, min(len(src)-1, limit-(len(dst)-start)-3)); block != nil {
		dst = append(blockHeader(dst, blockCompressed, len(block)), block...)
	} else {
		dst = append(blockHeader(dst, blockRaw, len(src)), src...)
	}
	if len(dst)-start > limit {
		return nil
	}
	return dst
}

// frameHeader appends magic, descriptor and content size. RFC 8878 §3.1.1.1
func frameHeader(dst []byte, n int) []byte {
	const singleSegment = 1 << 5
	dst = binary.LittleEndian.AppendUint32(dst, frameMagic)
	switch {
	case n < 256:
		return append(dst, singleSegment, byte(n))
	case n < 256+1<<16:
		return binary.LittleEndian.AppendUint16(append(dst, 1<<6|singleSegment), uint16(n-256))
	}
	return binary.LittleEndian.AppendUint32(append(dst, 2<<6|singleSegment), uint32(n))
}

// blockHeader appends the header of the frame's only block. RFC 8878 §3.1.1.2
func blockHeader(dst []byte, kind, n int) []byte {
	v := 1 | kind<<1 | n<<3
	return append(dst, byte(v), byte(v>>8), byte(v>>16))
}

// same reports whether src is one byte over and over.
func same(src []byte) bool {
	if len(src) < 2 {
		return false
	}
	for i := 1; i < len(src); i++ {
		if src[i] != src[0] {
			return false
		}
	}
	return true
}

// block compresses src to e.out; nil when that would be longer than limit.
func (e *Encoder) block(src []byte, limit int) []byte {
	e.n = copy(e.src[:], src)
	clear(e.src[e.n : e.n+slack])
	if e.n < minInput {
		return nil
	}
	if e.level == Fast {
		e.matchFast()
	} else {
		e.match()
	}
	e.w = bitWriter{out: e.out}
	if !e.literals(limit) {
		return nil
	}
	if e.sequences(); e.w.pos > limit {
		return nil
	}
	return e.out[:e.w.pos]
}

// bitWriter fills out from the first bit of each byte on; the streams that it writes are read from their end.
type bitWriter struct {
	out []byte
	pos int
	buf uint64
	n   uint
}

// put appends the low k bits of v, whose others are zero. At most 57 bits may be put between two calls of flush.
func (w *bitWriter) put(v uint64, k uint) {
	w.buf |= v << (w.n & 63)
	w.n += k
}

// flush writes whole bytes.
func (w *bitWriter) flush() {
	binary.LittleEndian.PutUint64(w.out[w.pos:], w.buf)
	w.pos += int(w.n >> 3)
	w.buf >>= w.n & 56
	w.n &= 7
}

// pad writes the last byte of what is read forwards.
func (w *bitWriter) pad() {
	w.flush()
	if w.n > 0 {
		w.pos++
	}
	w.buf, w.n = 0, 0
}

// end writes the bit that marks the end of a stream that is read backwards. RFC 8878 §4.1
func (w *bitWriter) end() {
	w.put(1, 1)
	w.pad()
}

// bytes appends bytes; the writer is at the start of one.
func (w *bitWriter) bytes(p ...byte) {
	w.pos += copy(w.out[w.pos:], p)
}
