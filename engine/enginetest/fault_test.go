package enginetest

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

func FuzzParseFault(f *testing.F) {
	for _, s := range []string{
		"", "write#3=EIO", "read@0x1000+4096=ENODATA once", "flush=lost", "any#1=slow:5ms; write=short:512", "zero=EOPNOTSUPP;;discard=EIO",
		"write#0=EIO", "read@5=EIO", "x=EIO", "read=EWHAT", "read@9223372036854775807+1=EIO",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParseFault(s); err == nil {
			p.hit(engine.OpWrite, 4096, 512)
		}
	})
}

func TestFaultRulesRefuseNonsense(t *testing.T) {
	for _, s := range []string{
		"write", "write#0=EIO", "write#x=EIO", "read@5=EIO", "read@5+0=EIO", "x=EIO", "read=EWHAT", "read=slow", "read=short:-1",
		"read@9223372036854775807+1=EIO",
	} {
		if _, err := ParseFault(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func mustFault(t *testing.T, s string) *Fault {
	t.Helper()
	f, err := ParseFault(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFaultsOfTheBlockingPlane(t *testing.T) {
	ctx := t.Context()
	c := NewCrash(make([]byte, 16384))
	f := mustFault(t, "write#2=ENOSPC; read@4096+512=EIO; write@8192+1=lost; flush=EIO once")
	ref := NewFaulty(c.Ref(), f)
	defer ref.Close()
	p := bytes.Repeat([]byte{7}, 512)
	if err := ref.WriteAt(ctx, p, 0, 0); err != nil {
		t.Errorf("first write: %v", err)
	}
	if err := ref.WriteAt(ctx, p, 0, 0); !errors.Is(err, engine.ErrNoSpace) {
		t.Errorf("second write: %v, want no space", err)
	}
	if err := ref.ReadAt(ctx, p, 4096); !errors.Is(err, unix.EIO) {
		t.Errorf("read in the range: %v", err)
	}
	if err := ref.ReadAt(ctx, p, 4608); err != nil {
		t.Errorf("read beside the range: %v", err)
	}
	if err := ref.WriteAt(ctx, bytes.Repeat([]byte{9}, 512), 8192, 0); err != nil {
		t.Errorf("lost write: %v", err)
	}
	if err := ref.ReadAt(ctx, p, 8192); err != nil || p[0] != 0 {
		t.Errorf("after a lost write: %d, %v", p[0], err)
	}
	if err := ref.Flush(ctx); !errors.Is(err, unix.EIO) {
		t.Errorf("flush: %v", err)
	}
	if err := ref.Flush(ctx); err != nil {
		t.Errorf("second flush: %v", err)
	}
	if f.Fired() != 4 {
		t.Errorf("%d faults, want 4", f.Fired())
	}
}

// TestShortTransfersOfTheQueueArePutTogether shows the polled plane's faults through a Path: a short read is completed by the engine.
func TestShortTransfersOfTheQueueArePutTogether(t *testing.T) {
	for _, rule := range []string{"read=short:512", "read#1=short:0", "read=slow:2ms", "read#2=EIO"} {
		t.Run(rule, func(t *testing.T) { onPath(t, rule) })
	}
}

func onPath(t *testing.T, rule string) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	_, below := DiskConfig{Size: 64 << 10, Limits: engine.Limits{RequestAlign: 512}}.Open(t)
	if err := below.WriteAt(t.Context(), want, 0, 0); err != nil {
		t.Fatal(err)
	}
	f := mustFault(t, rule)
	ref := NewFaulty(below, f)
	defer ref.Close()
	arena, err := dma.New(dma.Config{Size: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer arena.Close()
	buf, err := arena.Alloc(16 << 10)
	if err != nil {
		t.Fatal(err)
	}
	onThread(t, func(p *engine.Poller) {
		path, err := engine.OpenPath(context.WithoutCancel(t.Context()), ref, engine.PathConfig{Poller: p, Depth: 4, Arenas: []*dma.Arena{arena}})
		if err != nil {
			t.Error(err)
			return
		}
		defer path.Close()
		for i := range 2 {
			r := &engine.Request{Op: engine.OpRead, Buf: buf, Len: 16 << 10}
			clear(arena.Bytes(buf, 16<<10))
			if path.Submit([]*engine.Request{r}) != 1 {
				t.Error("not taken")
				return
			}
			done := make([]*engine.Request, 1)
			for path.Poll(done) == 0 {
				if err := path.Wait(-1); err != nil {
					t.Error(err)
					return
				}
			}
			if rule == "read#2=EIO" && i == 1 {
				if !errors.Is(r.Err(), unix.EIO) {
					t.Errorf("second read: %v, want EIO", r.Err())
				}
				continue
			}
			if r.Err() != nil || !bytes.Equal(arena.Bytes(buf, 16<<10), want[:16<<10]) {
				t.Errorf("read %d: %v, or other bytes", i, r.Err())
			}
		}
	})
	if f.Fired() == 0 {
		t.Error("the rule never fired: the queue was gone around")
	}
}

// onThread runs f with a poller on a thread of its own.
func onThread(t *testing.T, f func(p *engine.Poller)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		f(engine.NewPoller())
	}()
	<-done
}

func TestEachFaultEndsWhenNoneFires(t *testing.T) {
	ks := 0
	EachFault(t, "write", unix.EIO, func(t *testing.T, k int, f *Fault) {
		ks = k
		ref := NewFaulty(NewCrash(make([]byte, 4096)).Ref(), f)
		defer ref.Close()
		for i := range 5 {
			err := ref.WriteAt(t.Context(), make([]byte, 512), int64(i)*512, 0)
			if (err != nil) != (i+1 == k) {
				t.Errorf("write %d of run %d: %v", i+1, k, err)
			}
		}
	})
	if ks != 6 {
		t.Errorf("%d runs, want 5 with a fault and one without", ks)
	}
}
