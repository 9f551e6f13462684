package enginetest

import (
	"context"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/blkbench/blkbench/engine"
)

// check is one sentence of the contract and how it is found out whether a subject keeps to it.
type check[R any] struct {
	sentence string
	run      func(r R)
}

// patience is how long a check may take: far more than any needs.
const patience = 60 * time.Second

// watch panics with all stacks when f takes too long: a call that must come back did not.
func watch(what string, f func()) {
	timer := time.AfterFunc(patience, func() {
		buf := make([]byte, 1<<20)
		buf = buf[:runtime.Stack(buf, true)]
		panic(fmt.Sprintf("%s: stuck after %v\n%s", what, patience, buf))
	})
	defer timer.Stop()
	f()
}

var bg = context.Background()

// pattern fills p with what a write with this seed puts at off.
func pattern(p []byte, off int64, seed uint64) { Step{Kind: StepWrite, Fill: seed}.fill(p, off) }

// guard is what lies around a guarded buffer.
const (
	guardSize = 64
	guardByte = 0xA5
)

// guarded is a buffer with bytes around it that nobody may touch.
type guarded struct {
	p     []byte
	whole []byte
}

// newGuarded makes a buffer of n bytes whose address is skew bytes after a multiple of align.
func newGuarded(n, align, skew int) guarded {
	b := make([]byte, n+align+skew+2*guardSize)
	for i := range b {
		b[i] = guardByte
	}
	at := guardSize + int(-(uintptr(unsafe.Pointer(unsafe.SliceData(b)))+guardSize)&uintptr(align-1)) + skew
	return guarded{b[at : at+n : at+n], b}
}

// intact reports whether the bytes around the buffer are as they were.
func (g guarded) intact() bool {
	start := int(uintptr(unsafe.Pointer(unsafe.SliceData(g.p))) - uintptr(unsafe.Pointer(unsafe.SliceData(g.whole))))
	for i, v := range g.whole {
		if (i < start || i >= start+len(g.p)) && v != guardByte {
			return false
		}
	}
	return true
}

// differ describes the first difference of what was read at off.
func differ(got, want []byte, off int64) string {
	for i := range want {
		if got[i] != want[i] {
			end := min(i+8, len(want))
			return fmt.Sprintf("byte %#x is %#02x, want %#02x; from there % x, want % x", off+int64(i), got[i], want[i], got[i:end], want[i:end])
		}
	}
	return "nothing differs"
}

// blocking calls f as a Ref calls a node, for what a Ref would not pass on as it is.
func blocking(ref *engine.Ref, f func(n engine.Node) error) error {
	tok := ref.Domain().Enter()
	defer ref.Domain().Exit(tok)
	return f(ref.Node())
}
