package engine

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// TestErrorText: the crossing adds operation, node and place once, and loses nothing that the driver said.
func TestErrorText(t *testing.T) {
	ref := newRef(&idleLeaf{size: 1 << 20}, OpenFlags{Write: true}, NewDomain())
	ref.st.info.Filename = "disk"
	fact := Errf(ErrCorrupt, "entry 17 is odd")
	once := ref.wrap("read", 0x1000, 512, fact)
	for _, c := range []struct {
		err  error
		want string
		kind error
	}{
		{once, "read disk at 0x1000+512: corrupt: entry 17 is odd", ErrCorrupt},
		{ref.wrap("write", 0, 1, once), "read disk at 0x1000+512: corrupt: entry 17 is odd", ErrCorrupt},
		{ref.wrap("read", 0, 1, fmt.Errorf("l2 table: %w", fact)), "read disk at 0x0+1: l2 table: corrupt: entry 17 is odd", ErrCorrupt},
		{ref.wrap("flush", 0, -1, unix.ENOSPC), "flush disk: no space left on device", ErrNoSpace},
		{ref.wrap("read", 0, 1, &Error{Kind: ErrClosed, Len: -1}), "read disk at 0x0+1: closed", ErrClosed},
		{ref.wrap("read", 0, 1, errors.New("odd")), "read disk at 0x0+1: odd", nil},
	} {
		if c.err.Error() != c.want {
			t.Errorf("got  %s\nwant %s", c.err, c.want)
		}
		if c.kind != nil && !errors.Is(c.err, c.kind) {
			t.Errorf("%s: is not %v", c.err, c.kind)
		}
	}
}

// TestErrnoIsTheSameEachTime: an error that matches two kinds has the errno of the nearer one.
func TestErrnoIsTheSameEachTime(t *testing.T) {
	err := &Error{Kind: ErrReadOnly, Len: -1, Cause: Errf(ErrNoSpace, "inside")}
	for range 50 {
		if got := Errno(err); got != unix.EPERM {
			t.Fatalf("errno %d, want EPERM", got)
		}
	}
	if got := Errno(errors.New("anything")); got != unix.EIO {
		t.Errorf("errno %d, want EIO", got)
	}
}
