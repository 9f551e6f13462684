package verify

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// diagnose finds out what is wrong with a block, or answers nil where the
// expectation allows it after all.
func (v *Verifier) diagnose(b []byte, off int64, e Expect) *Fault {
	uncertain := e.State == Uncertain || e.State == Unknown
	if nonZero(b) < 0 {
		if uncertain {
			return nil
		}
		return v.fault(NeverWritten, b, off, e, "all zeroes")
	}
	h, err := ParseHeader(b[v.c.HeaderOffset:])
	if err != nil {
		return v.headless(b, off, e, err)
	}
	f := v.fault(Corrupt, b, off, e, "")
	f.Found = &h
	if h.Kind != v.c.Kind || int(h.Len) != len(b) {
		f.Kind = Foreign
		f.Detail = fmt.Sprintf("block of %d bytes checked by %v, expected %d bytes checked by %v", h.Len, h.Kind, len(b), v.c.Kind)
		return f
	}
	whole := v.intact(b)
	switch {
	case !v.sameRun(&h):
		f.Kind = Foreign
		f.Detail = fmt.Sprintf("write %d of the run with seed %#x, job %d; expected seed %#x, job %d", h.Sequence, h.Seed, h.Job, v.c.Seed, v.c.Job)
		if uncertain && whole {
			return nil // left over from before
		}
	case h.Off != off:
		f.Kind = Misplaced
		f.Detail = fmt.Sprintf("block of offset %#x, write %d", h.Off, h.Sequence)
	case whole && h.Sequence > e.Sequence:
		f.Kind = Ahead
		f.Detail = fmt.Sprintf("write %d, expected %d", h.Sequence, e.Sequence)
	case whole:
		f.Kind = Stale
		f.Detail = fmt.Sprintf("write %d, expected %d", h.Sequence, e.Sequence)
	default:
		v.damaged(f, b, off, &h)
		if uncertain && f.Kind == Torn {
			return nil // no one was told that either write is whole
		}
		return f
	}
	if !whole {
		f.Detail += "; its checksum is wrong too"
	}
	return f
}

// headless is a block whose header can not be read.
func (v *Verifier) headless(b []byte, off int64, e Expect, err error) *Fault {
	// The mark of the header's own sector may be gone with the header: it is
	// compared with the expected write, or with the one the wreck still names.
	runs, ours := v.marks(b, off, e.Sequence)
	if raw := b[min(v.c.HeaderOffset+40, len(b)):]; !ours && len(raw) >= 8 {
		runs, ours = v.marks(b, off, binary.LittleEndian.Uint64(raw))
	}
	if ours && v.headSectorZero(b, off) {
		if e.State == Uncertain || e.State == Unknown {
			return nil
		}
		return v.fault(Torn, b, off, e, "the sector of the header is zero; "+describe(runs))
	}
	if !ours && v.c.Body == Sectors {
		if e.State == Uncertain || e.State == Unknown {
			return nil
		}
		return v.fault(NeverWritten, b, off, e, "nothing of the block is ours: "+err.Error())
	}
	detail := err.Error()
	if v.c.Body == Sectors {
		detail += "; " + describe(runs)
	}
	return v.fault(HeaderDestroyed, b, off, e, detail)
}

// marks walks over a block without a readable header and says whether any
// sector is from a write of ours.
func (v *Verifier) marks(b []byte, off int64, sequence uint64) (runs []sectorRun, ours bool) {
	runs = v.walk(b, off, sequence)
	for _, r := range runs {
		ours = ours || r.state == fromWrite
	}
	return runs, ours
}

// headSectorZero says whether all of the sector in which the header begins is
// zero: it was never written, which is no destroyed header.
func (v *Verifier) headSectorZero(b []byte, off int64) bool {
	into := int((off + int64(v.c.HeaderOffset)) & (sector - 1))
	begin := max(v.c.HeaderOffset-into, 0)
	end := min(v.c.HeaderOffset-into+sector, len(b))
	return nonZero(b[begin:end]) < 0
}

// damaged tells a torn block from a corrupt one.
func (v *Verifier) damaged(f *Fault, b []byte, off int64, h *Header) {
	if v.c.Body != Sectors {
		f.Detail = fmt.Sprintf("checksum of write %d is wrong", h.Sequence)
		if v.c.Body == Patterned {
			v.firstDifference(f, b, off, h)
		}
		return
	}
	runs := v.walk(b, off, h.Sequence)
	for _, r := range runs {
		if r.state == zeroes || r.state == fromWrite && r.sequence != h.Sequence {
			f.Kind = Torn
		}
	}
	if f.Kind == Torn {
		f.Detail = describe(runs)
		return
	}
	v.firstDifference(f, b, off, h)
}

// firstDifference names the first byte that is not what the header's write put
// there, and how much else is wrong.
func (v *Verifier) firstDifference(f *Fault, b []byte, off int64, h *Header) {
	want := make([]byte, len(b))
	v.fillBlock(want, off, h.Sequence, h.Time)
	first, count, flipped := -1, 0, 0
	for i := range b {
		if d := b[i] ^ want[i]; d != 0 {
			if first < 0 {
				first = i
			}
			count++
			flipped += bits.OnesCount8(d)
		}
	}
	if first < 0 {
		f.Detail = "checksum is wrong"
		return
	}
	f.Detail = fmt.Sprintf("write %d: byte %d is %#02x, was written as %#02x; %d bytes and %d bits differ",
		h.Sequence, first, b[first], want[first], count, flipped)
}

// sectorState is what a sector shows.
type sectorState uint8

const (
	fromWrite sectorState = iota
	zeroes
	unexplained
)

// sectorRun is a run of neighbouring sectors of one kind.
type sectorRun struct {
	first, last int
	state       sectorState
	sequence    uint64
}

// walk tells for each sector which write it is from. A sector whose beginning
// is under the header has no mark; it is compared with the write the header
// names, and without one (0) left out.
func (v *Verifier) walk(b []byte, off int64, headerSequence uint64) []sectorRun {
	var runs []sectorRun
	head := b[v.c.HeaderOffset:min(v.c.HeaderOffset+v.head, len(b))]
	begin, end := v.c.HeaderOffset, v.c.HeaderOffset+len(head)
	for i, at := 0, 0; at < len(b); i++ {
		n := min(sector-int((off+int64(at))&(sector-1)), len(b)-at)
		hides := at < end && begin < at+n
		marked := n >= 8 && (at+8 <= begin || at >= end)
		sequence := headerSequence
		if marked {
			sequence = binary.LittleEndian.Uint64(b[at:]) ^ v.mask(off+int64(at))
		}
		state := unexplained
		switch {
		case !hides && nonZero(b[at:at+n]) < 0:
			state, sequence = zeroes, 0
		case sequence != 0 && v.isFrom(b, off, at, n, begin, end, sequence):
			state = fromWrite
		default:
			sequence = 0
		}
		if marked || headerSequence != 0 {
			if k := len(runs) - 1; k >= 0 && runs[k].state == state && runs[k].sequence == sequence && runs[k].last == i-1 {
				runs[k].last = i
			} else {
				runs = append(runs, sectorRun{i, i, state, sequence})
			}
		}
		at += n
	}
	return runs
}

// isFrom says whether a sector, apart from the header, is that of a write.
func (v *Verifier) isFrom(b []byte, off int64, at, n, begin, end int, sequence uint64) bool {
	want := v.scratch[:n]
	v.fillSector(want, off+int64(at), sequence)
	before := b[at:max(at, min(begin, at+n))]
	from := min(max(end, at), at+n)
	if begin >= at+n || end <= at {
		return bytes.Equal(b[at:at+n], want)
	}
	return bytes.Equal(before, want[:len(before)]) && bytes.Equal(b[from:at+n], want[from-at:])
}

// describe puts runs of sectors into words.
func describe(runs []sectorRun) string {
	var s strings.Builder
	for i, r := range runs {
		if i == 8 {
			fmt.Fprintf(&s, ", and %d more", len(runs)-i)
			break
		}
		if i > 0 {
			s.WriteString(", ")
		}
		if r.first == r.last {
			fmt.Fprintf(&s, "sector %d ", r.first)
		} else {
			fmt.Fprintf(&s, "sectors %d-%d ", r.first, r.last)
		}
		switch r.state {
		case fromWrite:
			fmt.Fprintf(&s, "from write %d", r.sequence)
		case zeroes:
			s.WriteString("zero")
		default:
			s.WriteString("unexplained")
		}
	}
	return s.String()
}
