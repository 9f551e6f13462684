package blkdebug

import (
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/internal/filtertest"
)

var ctx = context.Background()

func rulesOf(t testing.TB, config string) ruleSet {
	t.Helper()
	var s ruleSet
	if err := s.parse([]byte(config)); err != nil {
		t.Fatal(err)
	}
	return s
}

func over(t testing.TB, child *engine.Ref, o OpenOptions, config string) engine.Node {
	n, err := New(child, &o, rulesOf(t, config))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSuites(t *testing.T) {
	for name, o := range map[string]OpenOptions{
		"plain":   {},
		"limited": {Align: 4096, MaxTransfer: 64 << 10, OptWriteZero: 8192, MaxWriteZero: 32 << 10, OptDiscard: 16384, MaxDiscard: 16384},
	} {
		t.Run(name, func(t *testing.T) {
			filtertest.Suites(t, filtertest.Filter{
				Opaque: true,
				Over:   func(t testing.TB, child *engine.Ref) engine.Node { return over(t, child, o, "") },
			})
		})
	}
}

// TestRules: state, sector, kind and once decide which requests fail, and events which rules count.
func TestRules(t *testing.T) {
	m := newMachine(rulesOf(t, `
# a comment
[inject-error]
event = "read_aio"
errno = "28"
state = "1"
once = "on"

[inject-error]
event = "read_aio"
iotype = "write"
state = "2"

[set-state]
event = "read_aio"
state = "1"
new_state = "2"

[inject-error]
event = "l2_load"
sector = "3"
iotype = "read"

[inject-error]
event = "none"
iotype = "flush"
errno = "1"
`))
	want := func(what string, got, want unix.Errno) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	want("flush, from the start", m.check(0, 0, ioFlush), unix.EPERM)
	want("read before any event", m.check(0, 512, ioRead), 0)
	m.event(engine.EventReadAIO)
	want("flush, no longer", m.check(0, 0, ioStatus), 0)
	want("read", m.check(0, 512, ioRead), unix.ENOSPC)
	want("read, once", m.check(0, 512, ioRead), 0)
	m.event(engine.EventReadAIO) // in state 2
	want("read", m.check(0, 512, ioRead), 0)
	want("write", m.check(0, 512, ioWrite), unix.EIO)
	want("write again", m.check(0, 512, ioWrite), unix.EIO)
	m.event(engine.EventL2Load)
	want("another sector", m.check(1024, 512, ioRead), 0)
	want("the sector", m.check(1024, 1024, ioRead), unix.EIO)
	want("a write of the sector", m.check(1024, 1024, ioWrite), 0)
	m.event(engine.EventPwritev)
	want("an event without rules changes nothing", m.check(1536, 1, ioRead), unix.EIO)
}

// TestBadConfig: what is wrong with a configuration is said.
func TestBadConfig(t *testing.T) {
	for config, want := range map[string]string{
		"[inject-erro]\n":                                     "There is no option group 'inject-erro'",
		"[inject-error]\nerrno = \"5\"\n":                     "Missing event name for rule",
		"[inject-error]\nevent = \"l2_lod\"\n":                "nearest: l2_load",
		"[set-state]\nevent = \"l2_load\"\niotype = \"read\"": "iotype",
		"[inject-error]\nevent = \"l2_load\"\niotype = \"x\"": "iotype",
		"event = \"l2_load\"\n":                               "before the first",
	} {
		var s ruleSet
		if err := s.parse([]byte(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", config, err, want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("[inject-error]\nevent = \"l2_load\"\nerrno = \"5\"\nonce = \"on\"\n[set-state]\nevent = \"none\"\nnew_state = \"3\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s ruleSet
		if s.parse(b) != nil {
			return
		}
		m := newMachine(s)
		for e := range engine.Events {
			m.event(e)
			m.check(0, 512, ioRead)
		}
	})
}

// TestLimits: what no device can have is refused in QEMU's words.
func TestLimits(t *testing.T) {
	for want, o := range map[string]OpenOptions{
		"Cannot meet constraints with align 3":               {Align: 3},
		"Cannot meet constraints with max-transfer 513":      {Align: 512, MaxTransfer: 513},
		"Cannot meet constraints with opt-write-zero 100":    {Align: 512, OptWriteZero: 100},
		"Cannot meet constraints with max-write-zero 1024":   {OptWriteZero: 4096, MaxWriteZero: 1024},
		"Cannot meet constraints with opt-discard 511":       {Align: 512, OptDiscard: 511},
		"Cannot meet constraints with max-discard 512":       {OptDiscard: 4096, MaxDiscard: 512},
		"Cannot meet constraints with max-write-zero 524288": {OptWriteZero: 1 << 20, MaxWriteZero: 1 << 19},
	} {
		_, child := enginetest.DiskConfig{Size: 1 << 20}.Open(t)
		if _, err := New(child, &o, ruleSet{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
		child.Close()
	}
}

// TestBreakpoints: a request is held where its step is announced, and goes on when it is resumed or its breakpoint is removed.
func TestBreakpoints(t *testing.T) {
	_, child := enginetest.DiskConfig{Size: 1 << 20}.Open(t)
	ref := engine.NewRef(over(t, child, OpenOptions{}, ""), engine.OpenFlags{Write: true})
	b := engine.FindBreakpointer(ref)
	if err := b.SetBreak("nothing", "A"); !errors.Is(err, engine.ErrNotFound) {
		t.Fatal(err)
	}
	if err := errors.Join(b.SetBreak("pwritev", "A"), b.SetBreak("pwritev_done", "B")); err != nil {
		t.Fatal(err)
	}
	if err := b.Resume("A"); !errors.Is(err, engine.ErrNotFound) {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- ref.WriteAt(ctx, make([]byte, 512), 0, 0) }()
	for _, tag := range []string{"A", "B"} {
		if err := b.WaitSuspended(ctx, tag); err != nil {
			t.Fatal(err)
		}
		if !b.IsSuspended(tag) {
			t.Fatalf("%s is not held", tag)
		}
		select {
		case err := <-done:
			t.Fatalf("the write is over: %v", err)
		default:
		}
		release := b.Resume
		if tag == "B" {
			release = b.RemoveBreak
		}
		if err := release(tag); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.WaitSuspended(over, "A"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := b.RemoveBreak("A"); !errors.Is(err, engine.ErrNotFound) {
		t.Fatal(err)
	}
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
}
