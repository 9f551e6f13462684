package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/blkbench/blkbench/bench/gen"
)

// Body says what a block holds besides its header.
type Body uint8

const (
	// Sectors is data that tells which write each sector is from.
	Sectors Body = iota
	// Patterned is Config.Pattern.
	Patterned
	// Caller leaves what the caller has put there.
	Caller
)

// Config describes the blocks of a job.
type Config struct {
	Kind Kind
	Body Body
	// Pattern is the body for Patterned, and all there is for the kind Pattern.
	Pattern *gen.Pat
	Seed    uint64
	Job     uint32
	// Target names the target in faults.
	Target string
	// Interval is the length of a block; 0: a whole request.
	Interval int
	// HeaderOffset is where in the block the header is.
	HeaderOffset int
	// AnySeed accepts blocks of other runs (verify_header_seed=0).
	AnySeed bool
}

const sector = 512

// Verifier fills and checks the blocks of one job. It belongs to one thread.
type Verifier struct {
	c       Config
	digest  *digester
	head    int // length of header and checksum
	scratch [sector]byte
}

// New checks a configuration.
func New(c Config) (*Verifier, error) {
	if c.Kind == None || c.Kind >= kinds {
		return nil, fmt.Errorf("no check %v", c.Kind)
	}
	if (c.Kind == Pattern || c.Body == Patterned) && c.Pattern == nil {
		return nil, fmt.Errorf("check %v without a pattern", c.Kind)
	}
	v := &Verifier{c: c, digest: newDigester(c.Kind)}
	if c.Kind.Header() {
		v.head = headerSize + kindLengths[c.Kind]
	}
	if c.HeaderOffset < 0 || c.Interval < 0 {
		return nil, fmt.Errorf("header at %d of blocks of %d bytes", c.HeaderOffset, c.Interval)
	}
	if c.Interval > 0 && c.HeaderOffset+v.head > c.Interval {
		return nil, fmt.Errorf("a header of %d bytes at %d does not fit blocks of %d", v.head, c.HeaderOffset, c.Interval)
	}
	return v, nil
}

// Config is what the Verifier was made from.
func (v *Verifier) Config() Config { return v.c }

// Blocks checks that requests of a length can be cut into blocks.
func (v *Verifier) Blocks(length int) error {
	if n := v.block(length); length%n != 0 || v.c.HeaderOffset+v.head > n {
		return fmt.Errorf("a request of %d bytes is not made of blocks of %d with a header of %d at %d", length, n, v.head, v.c.HeaderOffset)
	}
	return nil
}

// block is the length of the blocks of a request.
func (v *Verifier) block(length int) int {
	if v.c.Interval > 0 {
		return v.c.Interval
	}
	return max(length, 1)
}

// Fill makes buf ready to be written at off, as the write with this sequence.
func (v *Verifier) Fill(buf []byte, off int64, sequence uint64, now int64) {
	n := v.block(len(buf))
	for at := 0; at+n <= len(buf); at += n {
		v.fillBlock(buf[at:at+n], off+int64(at), sequence, now)
	}
}

func (v *Verifier) fillBlock(b []byte, off int64, sequence uint64, now int64) {
	switch {
	case v.c.Kind == Null:
		return
	case v.c.Kind == Pattern || v.c.Body == Patterned:
		v.c.Pattern.Fill(b, off)
	case v.c.Body == Sectors:
		v.fillSectors(b, off, sequence)
	}
	if v.head == 0 {
		return
	}
	h := Header{v.c.Kind, v.c.Job, v.c.Seed, off, uint32(len(b)), sequence, now}
	head := b[v.c.HeaderOffset:][:v.head]
	h.put(head)
	copy(head[headerSize:], v.digestOf(b))
}

// digestOf is the checksum of a block without its header.
func (v *Verifier) digestOf(b []byte) []byte {
	return v.digest.of(b[:v.c.HeaderOffset], b[v.c.HeaderOffset+v.head:])
}

// fillSectors fills a block with sectors; the first and the last may be parts.
func (v *Verifier) fillSectors(b []byte, off int64, sequence uint64) {
	for len(b) > 0 {
		n := min(sector-int(off&(sector-1)), len(b))
		v.fillSector(b[:n], off, sequence)
		b, off = b[n:], off+int64(n)
	}
}

// fillSector is the content of a sector, or the part of it that begins at off.
func (v *Verifier) fillSector(b []byte, off int64, sequence uint64) {
	mask := v.mask(off)
	if len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, sequence^mask)
		b = b[8:]
	}
	gen.FillRandom(b, mask+bits.RotateLeft64(sequence*0x9e3779b97f4a7c15, 29))
}

// mask hides the sequence of a sector, differently at each offset.
func (v *Verifier) mask(off int64) uint64 {
	x := (uint64(off) ^ bits.RotateLeft64(v.c.Seed, 17)) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>29 ^ v.c.Seed) * 0x94d049bb133111eb
	return x ^ x>>32
}

// Expect says what a block should hold.
type Expect struct {
	State    BlockState
	Sequence uint64 // of the last write, if State is Written or Uncertain
}

// BlockState is what is known of a block.
type BlockState uint8

const (
	// Unknown blocks may hold any write of this run, sectors of several, or what
	// was there before. Only damage is a fault.
	Unknown BlockState = iota
	// Written blocks hold the write Sequence. Sequence 0 stands for any write.
	Written
	// Uncertain blocks had a write Sequence that was not acknowledged: they hold
	// it, an earlier one, sectors of both, or nothing.
	Uncertain
	// Trimmed blocks read as zeroes, as far as the target promises that.
	Trimmed
)

// Any expects an intact write of this run, whichever.
var Any = Expect{State: Written}

// Check compares what was read at off with what is expected of all its blocks
// and answers the first fault, or nil. Only a fault allocates.
func (v *Verifier) Check(buf []byte, off int64, e Expect) *Fault {
	n := v.block(len(buf))
	for at := 0; at+n <= len(buf); at += n {
		if f := v.CheckBlock(buf[at:at+n], off+int64(at), e); f != nil {
			return f
		}
	}
	return nil
}

// CheckLedger is Check with what a ledger expects of each block.
func (v *Verifier) CheckLedger(buf []byte, off int64, l *Ledger) *Fault {
	n := v.block(len(buf))
	for at := 0; at+n <= len(buf); at += n {
		if f := v.CheckBlock(buf[at:at+n], off+int64(at), l.Expect(off+int64(at), int64(n))); f != nil {
			return f
		}
	}
	return nil
}

// CheckBlock checks one block.
func (v *Verifier) CheckBlock(b []byte, off int64, e Expect) *Fault {
	switch {
	case v.c.Kind == Null || e.State == Unknown && !v.c.Kind.Header():
		return nil
	case e.State == Trimmed:
		if at := nonZero(b); at >= 0 {
			return v.fault(NotZero, b, off, e, fmt.Sprintf("byte %d is %#02x after a trim", at, b[at]))
		}
		return nil
	case v.c.Kind == Pattern:
		return v.checkPattern(b, off, e)
	}
	h, err := ParseHeader(b[v.c.HeaderOffset:])
	if err == nil && v.asWritten(&h, b, off, e) && v.intact(b) {
		return nil
	}
	return v.diagnose(b, off, e)
}

// asWritten is the good case of a header: right place, right run, right write.
func (v *Verifier) asWritten(h *Header, b []byte, off int64, e Expect) bool {
	return h.Kind == v.c.Kind && h.Off == off && int(h.Len) == len(b) && v.sameRun(h) && e.accepts(h.Sequence)
}

func (v *Verifier) sameRun(h *Header) bool {
	return v.c.AnySeed || h.Seed == v.c.Seed && h.Job == v.c.Job
}

// accepts says whether an intact write with this sequence is as expected.
func (e Expect) accepts(sequence uint64) bool {
	switch e.State {
	case Written:
		return e.Sequence == 0 || sequence == e.Sequence
	case Uncertain:
		return sequence <= e.Sequence
	default:
		return true
	}
}

// intact compares the checksum.
func (v *Verifier) intact(b []byte) bool {
	sum := v.digestOf(b)
	return bytes.Equal(sum, b[v.c.HeaderOffset+headerSize:][:len(sum)])
}

func (v *Verifier) checkPattern(b []byte, off int64, e Expect) *Fault {
	at := v.c.Pattern.Mismatch(b, off)
	if at < 0 {
		return nil
	}
	if nonZero(b) < 0 {
		if e.State == Uncertain {
			return nil
		}
		return v.fault(NeverWritten, b, off, e, "all zeroes")
	}
	want := make([]byte, len(b))
	v.c.Pattern.Fill(want, off)
	return v.fault(Corrupt, b, off, e, fmt.Sprintf("byte %d is %#02x, the pattern has %#02x", at, b[at], want[at]))
}

// nonZero is the first byte that is not zero, or -1.
func nonZero(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if b[i] != 0 {
			return i
		}
	}
	return -1
}
