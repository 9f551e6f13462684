package enginetest

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

func TestRules(t *testing.T) {
	for text, want := range map[string]string{
		"write#3=EIO": "write#3=EIO", " read@0x1000+4096 = ENOSPC ": "read@0x1000+4096=ENOSPC", "flush=EIO once": "flush=EIO once",
		"write%=short:512": "write=short:512", "write%7=short:0x200": "write%7=short:512", "read=slow:5ms": "read=slow:5ms",
		"write=lost": "write=lost", "any#1=EIO": "any#1=EIO", "zero%2@0+1=EROFS once": "zero%2@0x0+1=EROFS once",
	} {
		list, err := ParseRules(text)
		if err != nil || len(list) != 1 || list[0].String() != want {
			t.Errorf("%q: %v, %v, want %s", text, list, err, want)
		}
	}
	if list, err := ParseRules("write=EIO;\n\n read=EIO ;"); err != nil || len(list) != 2 {
		t.Errorf("two rules: %v, %v", list, err)
	}
	for _, text := range []string{
		"write", "write=", "write=EFOO", "wrote=EIO", "write#0=EIO", "write%0=EIO", "write#x=EIO", "write@1=EIO", "write@1+0=EIO",
		"write@-1+5=EIO", "flush@0+1=EIO", "read=lost", "any=lost", "flush=short:1", "write=short:-1", "write=short:", "write=slow:5",
		"write=slow:-1s", "write=EIO twice", "write=EIO once more", "write=EIO:1", "write!=EIO", "write=lost:", "@1+1=EIO",
	} {
		if list, err := ParseRules(text); err == nil {
			t.Errorf("%q is read as %v", text, list)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	for _, s := range []string{
		"write#3=EIO; read@0x1000+4096=ENOSPC; flush=EIO once; write%=short:512; read=slow:5ms; write=lost", "any%9=EIO", "x", "=;=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseRules(s)
		if err != nil {
			return
		}
		for _, r := range list {
			again, err := ParseRules(r.String())
			if err != nil || len(again) != 1 {
				t.Fatalf("%q reads as %q, and that as %v, %v", s, r, again, err)
			}
			if r.Every == 1 {
				r.Every = 0 // the same without it
			}
			if again[0] != r {
				t.Fatalf("%q reads as %+v, and that as %+v", s, r, again[0])
			}
		}
	})
}

// plane is one of the two ways to a node: it does one operation.
type plane func(op engine.Op, off, n int64) error

// planes runs a test by both planes of a disk under faults.
func planes(t *testing.T, rules string, f func(t *testing.T, d *Disk, f *Faults, do plane)) {
	open := func(t *testing.T) (*Disk, *Faults, *engine.Ref) {
		d, ref := DiskConfig{Size: 1 << 20, Discard: true, Zero: true, FUA: true}.Open(t)
		faults := NewFaults(t, rules)
		over := faults.Over(ref)
		t.Cleanup(func() {
			if err := over.Close(); err != nil {
				t.Error(err)
			}
		})
		return d, faults, over
	}
	t.Run("blocking", func(t *testing.T) {
		d, faults, ref := open(t)
		f(t, d, faults, func(op engine.Op, off, n int64) error {
			p := bytes.Repeat([]byte{0xAA}, int(n))
			switch op {
			case engine.OpRead:
				return ref.ReadAt(bg, p, off)
			case engine.OpWrite:
				return ref.WriteAt(bg, p, off, 0)
			case engine.OpDiscard:
				return ref.Discard(bg, off, n)
			case engine.OpZero:
				return ref.WriteZeroes(bg, off, n, 0)
			default:
				return ref.Flush(bg)
			}
		})
	})
	t.Run("polled", func(t *testing.T) {
		runtime.LockOSThread()
		d, faults, ref := open(t)
		a, err := dma.New(dma.Config{Size: 1 << 20, NoHuge: true})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		h, err := a.Alloc(1 << 16)
		if err != nil {
			t.Fatal(err)
		}
		p, err := engine.OpenPath(bg, ref, engine.PathConfig{Poller: engine.NewPoller(), Depth: 4, Arenas: []*dma.Arena{a}})
		if err != nil {
			t.Fatal(err)
		}
		if w := p.Flattened(); len(w) != 1 || w[0] != "leaf:faults" {
			t.Fatalf("flattened to %v", w)
		}
		f(t, d, faults, func(op engine.Op, off, n int64) error {
			r := &engine.Request{Op: op, Off: off, Len: uint32(n), Buf: h}
			b := dma.Bytes(h, int(n))
			copy(b, bytes.Repeat([]byte{0xAA}, int(n)))
			if p.Submit([]*engine.Request{r}) != 1 {
				t.Fatal("not taken")
			}
			for done := make([]*engine.Request, 1); p.Poll(done) == 0; {
				if err := p.Wait(time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
			return r.Err()
		})
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestFaultsByRule(t *testing.T) {
	planes(t, "write#2=ENOSPC; read@0x1000+4096=EIO once; flush%2=EIO; discard=EACCES; zero=EROFS", func(t *testing.T, d *Disk, f *Faults, do plane) {
		for i, c := range []struct {
			op   engine.Op
			off  int64
			want error
		}{
			{engine.OpWrite, 0, nil},
			{engine.OpWrite, 0, engine.ErrNoSpace},
			{engine.OpWrite, 0, nil},
			{engine.OpRead, 0, nil},
			{engine.OpRead, 0x1e00, unix.EIO},
			{engine.OpRead, 0x1e00, nil},
			{engine.OpFlush, 0, nil},
			{engine.OpFlush, 0, unix.EIO},
			{engine.OpDiscard, 0, engine.ErrPermission},
			{engine.OpZero, 0, engine.ErrReadOnly},
		} {
			n := int64(1024)
			if c.op == engine.OpFlush {
				n = 0
			}
			if err := do(c.op, c.off, n); !errors.Is(err, c.want) {
				t.Errorf("%d. %s at %#x: %v, want %v", i, c.op, c.off, err, c.want)
			}
		}
		if f.Fired() != 5 {
			t.Errorf("%d fired, want 5", f.Fired())
		}
	})
}

func TestLostWritesAreNotThere(t *testing.T) {
	planes(t, "write#1=lost; flush=lost", func(t *testing.T, d *Disk, _ *Faults, do plane) {
		for _, off := range []int64{0, 4096} {
			if err := do(engine.OpWrite, off, 512); err != nil {
				t.Fatal(err)
			}
		}
		if err := do(engine.OpFlush, 0, 0); err != nil {
			t.Fatal(err)
		}
		if b := d.Bytes(); b[0] != 0 || b[4096] != 0xAA || d.Flushes() != 0 {
			t.Errorf("the lost write left %#x, the other %#x, %d flushes", b[0], b[4096], d.Flushes())
		}
	})
}

// A short transfer is an error of the blocking plane, which says all or nothing, and is gone on with by a Path.
func TestShortTransfers(t *testing.T) {
	planes(t, "write=short:512 once", func(t *testing.T, d *Disk, f *Faults, do plane) {
		err := do(engine.OpWrite, 0, 2048)
		b := d.Bytes()
		if f.Fired() != 1 || b[511] != 0xAA {
			t.Fatalf("fired %d, the byte is %#x", f.Fired(), b[511])
		}
		if whole := b[2047] == 0xAA; whole != (err == nil) || (err != nil && !errors.Is(err, unix.EIO)) {
			t.Errorf("error %v, and the last byte is %#x", err, b[2047])
		}
	})
}

func TestSlowWaitsForTheClock(t *testing.T) {
	clock := NewClock(t)
	planes(t, "read=slow:1h", func(t *testing.T, _ *Disk, _ *Faults, do plane) {
		done := make(chan struct{})
		start := clock.Now()
		go func() { // moves the clock while the request waits
			for {
				select {
				case <-done:
					return
				default:
					clock.Advance(time.Minute)
					runtime.Gosched()
				}
			}
		}()
		if err := do(engine.OpRead, 0, 512); err != nil {
			t.Error(err)
		}
		close(done)
		if d := time.Duration(clock.Now() - start); d < time.Hour {
			t.Errorf("done after %v", d)
		}
	})
}

// TestFaultsAreTransparent: with no rule that applies, a node under faults keeps to the contract as it did.
func TestFaultsAreTransparent(t *testing.T) {
	Long(t)
	open := func(cfg DiskConfig) func(t testing.TB, size int64) *engine.Ref {
		return func(t testing.TB, size int64) *engine.Ref {
			cfg.Size = size
			_, ref := cfg.Open(t)
			return NewFaults(t, "any#1000000=EIO").Over(ref)
		}
	}
	all := DiskConfig{Discard: true, Zero: true, FUA: true, Limits: engine.Limits{RequestAlign: 512, MaxTransfer: 64 << 10}}
	growable := all
	growable.Growable = true
	Node(t, NodeConfig{Open: open(growable), Size: 256<<10 + 77, Writable: true, Growable: true, ResizeUnit: 1})
	Queue(t, QueueConfig{Open: open(all), Size: 256<<10 + 77})
	t.Run("slow and short", func(t *testing.T) {
		cfg := QueueConfig{Size: 256 << 10}
		for _, c := range cfg.checks(true) {
			switch c.sentence {
			case "what is written is read", "a full queue takes fewer", "fields come back", "kick is enough", "small polls lose nothing":
				t.Run(c.sentence, func(t *testing.T) {
					runtime.LockOSThread()
					r := cfg.prepare(t, true)
					f := &Faults{}
					cfg := all
					cfg.Size = r.size
					_, ref := cfg.Open(t)
					rules, err := ParseRules("write%3=slow:50us; write%5=short:512; flush%2=slow:30us")
					if err != nil {
						t.Fatal(err)
					}
					f.Set(rules...)
					// What the suite reads by the blocking plane is not short: rules are about writes, which it does by the Path alone.
					r.ref = f.Over(ref)
					r.start()
					c.run(r)
				})
			}
		}
	})
}

// TestEachFault: a copy that reports every error passes; one that swallows those of its second write is found.
func TestEachFault(t *testing.T) {
	update := func(ref *engine.Ref, careful bool) error {
		p := bytes.Repeat([]byte{1}, 512)
		if err := ref.ReadAt(bg, make([]byte, 512), 0); err != nil {
			return err
		}
		if err := ref.WriteAt(bg, p, 0, 0); err != nil {
			return err
		}
		if err := ref.WriteAt(bg, p, 4096, 0); err != nil && careful {
			return err
		}
		return ref.Flush(bg)
	}
	try := func(t testing.TB, f *Faults, careful bool) {
		d, ref := DiskConfig{Size: 8192}.Open(t)
		if err := update(f.Over(ref), careful); err == nil && (d.Bytes()[4096] != 1 || d.Flushes() != 1) {
			t.Error("success, and nothing done")
		}
	}
	runs := 0
	EachFault(t, func(t *testing.T, f *Faults) { runs++; try(t, f, true) }, "any=EIO", "write=short:0")
	if runs != 5+3 {
		t.Errorf("%d runs, want one for each of 4 operations and of 2 writes, and one more each", runs)
	}
	found := false
	for k := uint64(1); ; k++ {
		tr, f := &trial{TB: t}, &Faults{}
		f.Set(Rule{Op: FaultAny, Nth: k, Errno: unix.EIO})
		if err := tr.run(func() error { try(tr, f, false); return nil }); err != nil {
			found = true
		}
		if f.Fired() == 0 {
			break
		}
	}
	if !found {
		t.Error("the error that is swallowed is not found")
	}
}
