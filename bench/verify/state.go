package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
)

// State is what a later run needs to check what this one has written.
type State struct {
	Job    string
	Index  uint32 // of the job's clone
	Target string
	Kind   Kind
	Body   Body
	Seed   uint64

	Interval, HeaderOffset uint32
	Offset, Size           int64 // the range

	// Issued is the sequence of the last write that was issued, Acked the last up
	// to which all were acknowledged.
	Issued, Acked uint64
	// Pending are writes that were issued and not acknowledged.
	Pending []Past
	// Ledger is nil where the writes can be made again from the seed.
	Ledger *Ledger
}

// ErrState is the kind of all errors about state files.
var ErrState = errors.New("bad verify state")

const (
	stateMagic   = "blkbVST1"
	stateVersion = 1
	stateHead    = len(stateMagic) + 4 + 8 // magic, version, length of the body
	maxText      = 1 << 16
	maxPending   = 1 << 20
)

// StateName is the name of a job's state file, as fio names them.
func StateName(job string, index int) string {
	return fmt.Sprintf("local-%s-%d-verify.state", strings.ReplaceAll(job, "/", "_"), index)
}

// Encode is the file's content: magic, version, length, fields, crc32c.
func (s *State) Encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, stateHead, 4096)
	copy(b, stateMagic)
	le.PutUint32(b[len(stateMagic):], stateVersion)
	num := func(v uint64) { b = binary.AppendUvarint(b, v) }
	text := func(t string) {
		num(uint64(len(t)))
		b = append(b, t...)
	}
	text(s.Job)
	num(uint64(s.Index))
	text(s.Target)
	num(uint64(s.Kind))
	num(uint64(s.Body))
	num(s.Seed)
	num(uint64(s.Interval))
	num(uint64(s.HeaderOffset))
	num(uint64(s.Offset))
	num(uint64(s.Size))
	num(s.Issued)
	num(s.Acked)
	num(uint64(len(s.Pending)))
	for _, p := range s.Pending {
		num(uint64(p.Off))
		num(uint64(p.Len))
		num(p.Sequence)
	}
	if s.Ledger == nil {
		num(0)
	} else {
		num(1)
		b = s.Ledger.encode(b)
	}
	le.PutUint64(b[stateHead-8:], uint64(len(b)-stateHead))
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// encode appends a ledger as runs of cells with one state whose sequences are
// equal or go up by one.
func (l *Ledger) encode(b []byte) []byte {
	num := func(v uint64) { b = binary.AppendUvarint(b, v) }
	num(uint64(l.base))
	num(uint64(l.unit))
	num(uint64(len(l.cells)))
	previous := uint64(0)
	for i := 0; i < len(l.cells); {
		first := l.cells[i]
		step := uint64(0)
		if i+1 < len(l.cells) && l.cells[i+1] == first+4 {
			step = 1
		}
		n := 1
		for i+n < len(l.cells) && l.cells[i+n] == first+uint64(n)*step*4 {
			n++
		}
		num(uint64(n)<<3 | first&3<<1 | step)
		b = binary.AppendVarint(b, int64(first>>2-previous))
		previous = first >> 2
		i += n
	}
	return b
}

// DecodeState reads what Encode wrote. A ledger that needs more than limit
// bytes is refused.
func DecodeState(b []byte, limit int64) (*State, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < stateHead || string(b[:len(stateMagic)]) != stateMagic:
		if len(b) >= len(stateMagic) && string(b[:len(stateMagic)]) == stateMagic {
			return nil, fmt.Errorf("%w: file is cut off after %d bytes", ErrState, len(b))
		}
		return nil, fmt.Errorf("%w: no state file of blkbench", ErrState)
	case le.Uint32(b[len(stateMagic):]) != stateVersion:
		return nil, fmt.Errorf("%w: version %d, this is for %d", ErrState, le.Uint32(b[len(stateMagic):]), stateVersion)
	}
	body := le.Uint64(b[stateHead-8:])
	if uint64(len(b)-stateHead) < body || uint64(len(b)-stateHead)-body < 4 {
		return nil, fmt.Errorf("%w: file is cut off: %d bytes of %d", ErrState, len(b), uint64(stateHead)+body+4)
	}
	end := stateHead + int(body)
	if len(b) > end+4 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrState, len(b)-end-4)
	}
	if got, want := crc32.Checksum(b[:end], castagnoli), le.Uint32(b[end:]); got != want {
		return nil, fmt.Errorf("%w: checksum %#08x, expected %#08x", ErrState, got, want)
	}
	r := &stateReader{b: b[stateHead:end]}
	s := r.state(limit)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes behind the end", len(r.b))
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, r.err)
	}
	return s, nil
}

// stateReader reads fields until the first error.
type stateReader struct {
	b   []byte
	err error
}

func (r *stateReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
		r.b = nil
	}
}

func (r *stateReader) num(what string, limit uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("%s is not there", what)
		return 0
	}
	if v > limit {
		r.fail("%s is %d, at most %d", what, v, limit)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *stateReader) text(what string) string {
	n := int(r.num("length of "+what, maxText))
	if n > len(r.b) {
		r.fail("%s is cut off", what)
		return ""
	}
	t := string(r.b[:n])
	r.b = r.b[n:]
	return t
}

const (
	anyNumber  = 1<<64 - 1
	anyOffset  = 1<<63 - 1
	anyLength  = 1<<32 - 1
	anySeq     = 1<<62 - 1 // what fits a cell
	anyCells   = 1 << 48
	anyRunWord = anyCells << 3
)

func (r *stateReader) state(limit int64) *State {
	s := &State{
		Job:          r.text("job name"),
		Index:        uint32(r.num("job index", anyLength)),
		Target:       r.text("target"),
		Kind:         Kind(r.num("check", uint64(kinds-1))),
		Body:         Body(r.num("body", uint64(Caller))),
		Seed:         r.num("seed", anyNumber),
		Interval:     uint32(r.num("interval", anyLength)),
		HeaderOffset: uint32(r.num("header offset", anyLength)),
		Offset:       int64(r.num("range offset", anyOffset)),
		Size:         int64(r.num("range size", anyOffset)),
		Issued:       r.num("issued", anySeq),
		Acked:        r.num("acknowledged", anySeq),
	}
	if s.Acked > s.Issued {
		r.fail("%d writes acknowledged of %d", s.Acked, s.Issued)
	}
	for n := r.num("number of pending writes", maxPending); n > 0 && r.err == nil; n-- {
		s.Pending = append(s.Pending, Past{
			Off: int64(r.num("pending offset", anyOffset)), Len: uint32(r.num("pending length", anyLength)),
			Sequence: r.num("pending sequence", anySeq),
		})
	}
	if r.num("ledger flag", 1) == 1 {
		s.Ledger = r.ledger(s, limit)
	}
	return s
}

func (r *stateReader) ledger(s *State, limit int64) *Ledger {
	base, unit := int64(r.num("ledger base", anyOffset)), int64(r.num("ledger unit", anyOffset))
	count := r.num("ledger length", anyCells)
	if r.err != nil {
		return nil
	}
	if unit == 0 || count == 0 || base != s.Offset || count != uint64(s.Size/unit) {
		r.fail("ledger of %d blocks of %d bytes at %d does not fit the range %d+%d", count, unit, base, s.Offset, s.Size)
		return nil
	}
	if count > uint64(max(limit, 0))/8 {
		r.fail("ledger takes %d bytes, the limit is %d", count*8, limit)
		return nil
	}
	l := &Ledger{base: base, unit: unit, cells: make([]uint64, 0, min(count, 1<<16))}
	previous := uint64(0)
	for uint64(len(l.cells)) < count {
		word := r.num("ledger run", anyRunWord)
		delta, n := binary.Varint(r.b)
		run, state, step := word>>3, word>>1&3, word&1
		if r.err == nil && (n <= 0 || run == 0 || run > count-uint64(len(l.cells))) {
			r.fail("ledger run of %d blocks", run)
		}
		sequence := previous + uint64(delta)
		if r.err == nil && (sequence > anySeq || sequence+run > anySeq) {
			r.fail("sequence %d in the ledger", sequence)
		}
		if r.err != nil {
			return nil
		}
		r.b = r.b[n:]
		previous = sequence
		for range run {
			l.cells = append(l.cells, sequence<<2|state)
			sequence += step
		}
	}
	return l
}

// WriteFile saves a state so that the file is either the old one or the new
// one, whole.
func (s *State) WriteFile(name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(s.Encode())
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return err
}

// ReadStateFile loads a state; see DecodeState.
func ReadStateFile(name string, limit int64) (*State, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	s, err := DecodeState(b, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// Matches says what keeps a state from fitting a job that wants to check with
// it, or nil.
func (s *State) Matches(c *Config, offset, size int64) error {
	for _, d := range []struct {
		what      string
		got, want any
	}{
		{"check", s.Kind, c.Kind},
		{"body", s.Body, c.Body},
		{"seed", s.Seed, c.Seed},
		{"interval", int(s.Interval), c.Interval},
		{"header offset", int(s.HeaderOffset), c.HeaderOffset},
		{"range offset", s.Offset, offset},
		{"range size", s.Size, size},
	} {
		if d.got != d.want {
			return fmt.Errorf("%w: saved with %s %v, the job has %v", ErrState, d.what, d.got, d.want)
		}
	}
	return nil
}
