package verify

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// FaultKind is what is wrong with a block; see the package documentation.
type FaultKind uint8

// The kinds of faults.
const (
	Corrupt FaultKind = iota
	Torn
	Stale
	Ahead
	Misplaced
	Foreign
	NeverWritten
	HeaderDestroyed
	NotZero
)

var faultNames = [...]string{
	"corrupt", "torn", "stale", "ahead", "misplaced", "foreign", "never written", "header destroyed", "not zero",
}

func (k FaultKind) String() string {
	if int(k) < len(faultNames) {
		return faultNames[k]
	}
	return fmt.Sprintf("FaultKind(%d)", uint8(k))
}

// Fault is a block that is not what it should be. It is an error.
type Fault struct {
	Kind   FaultKind
	Target string
	Off    int64 // of the block
	Len    int
	Expect Expect
	Found  *Header // nil where there is none to read
	Detail string
	// Received is a copy of what was read; Expected is what should have been
	// there, nil where that is not known.
	Received, Expected []byte
}

func (f *Fault) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "verify %s at %#x+%d: %v", f.Target, f.Off, f.Len, f.Kind)
	if f.Expect.Sequence != 0 {
		fmt.Fprintf(&s, ": expected write %d", f.Expect.Sequence)
	}
	if f.Detail != "" {
		s.WriteString(": " + f.Detail)
	}
	if f.Found != nil {
		fmt.Fprintf(&s, " (written %s)", time.Unix(0, f.Found.Time).UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	return s.String()
}

func (v *Verifier) fault(k FaultKind, b []byte, off int64, e Expect, detail string) *Fault {
	f := &Fault{
		Kind: k, Target: v.c.Target, Off: off, Len: len(b), Expect: e, Detail: detail,
		Received: append([]byte(nil), b...),
	}
	f.Expected = v.expected(b, off, e)
	return f
}

// expected makes the block again. The time of the write is not known: it is
// taken from the block that was read where that has it. What the caller put
// into the body is not known at all.
func (v *Verifier) expected(b []byte, off int64, e Expect) []byte {
	want := make([]byte, len(b))
	switch {
	case e.State == Trimmed:
		return want
	case v.c.Kind == Pattern:
		v.c.Pattern.Fill(want, off)
		return want
	case v.c.Body == Caller || !v.c.Kind.Header():
		return nil
	}
	h, err := ParseHeader(b[v.c.HeaderOffset:])
	sequence := e.Sequence
	if sequence == 0 {
		if err != nil || !v.sameRun(&h) {
			return nil
		}
		sequence = h.Sequence
	}
	if h.Sequence != sequence || h.Off != off {
		h.Time = 0
	}
	v.fillBlock(want, off, sequence, h.Time)
	return want
}

// Dump writes the two blocks into dir, as fio names them: the target's base
// name, the offset, and "received" or "expected". It answers the names.
func (f *Fault) Dump(dir string) (names []string, err error) {
	for _, part := range []struct {
		what  string
		block []byte
	}{{"received", f.Received}, {"expected", f.Expected}} {
		if part.block == nil {
			continue
		}
		base := strings.Map(func(r rune) rune {
			if r == '/' || r < ' ' {
				return '_'
			}
			return r
		}, filepath.Base(f.Target))
		name := filepath.Join(dir, fmt.Sprintf("%s.%d.%s", base, f.Off, part.what))
		if err := os.WriteFile(name, part.block, 0o600); err != nil {
			return names, err
		}
		names = append(names, name)
	}
	return names, nil
}
