package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest"
)

func ones(n int) []byte { return bytes.Repeat([]byte{1}, n) }

// TestUnalignedEndKeepsItsSize writes around the end of a growable node whose size is no multiple of its alignment.
func TestUnalignedEndKeepsItsSize(t *testing.T) {
	for _, c := range []struct{ off, n, want int64 }{
		{900, 100, 1000}, {0, 1000, 1000}, {999, 1, 1000}, {100, 1, 1000}, {900, 200, 1100}, {1000, 1, 1001}, {3000, 5, 3005}, {512, 512, 1024},
	} {
		t.Run(fmt.Sprintf("%d+%d", c.off, c.n), func(t *testing.T) {
			cfg := enginetest.DiskConfig{Size: 1000, Growable: true, Limits: engine.Limits{RequestAlign: 512, MemAlign: 512}}
			d, ref := cfg.Open(t)
			d.Fill(bytes.Repeat([]byte{7}, 1000), 0)
			if err := ref.WriteAt(t.Context(), ones(int(c.n)), c.off, 0); err != nil {
				t.Fatal(err)
			}
			want := make([]byte, c.want)
			copy(want, bytes.Repeat([]byte{7}, 1000))
			copy(want[c.off:], ones(int(c.n)))
			if got := d.Bytes(); !bytes.Equal(got, want) {
				t.Errorf("%d bytes, want %d, equal up to the shorter: %v", len(got), len(want), bytes.HasPrefix(got, want))
			}
		})
	}
}

// TestAppendersDoNotCutEachOther has writers past the end: who cuts the node back to an unaligned end must not cut off what others have
// appended meanwhile.
func TestAppendersDoNotCutEachOther(t *testing.T) {
	for round := range 50 {
		cfg := enginetest.DiskConfig{Size: 1000, Growable: true, Limits: engine.Limits{RequestAlign: 512}}
		d, ref := cfg.Open(t)
		const writers, each = 8, 700
		var wg sync.WaitGroup
		for i := range int64(writers) {
			wg.Go(func() {
				if err := ref.WriteAt(context.Background(), bytes.Repeat([]byte{byte(i + 1)}, each), 1000+i*each, 0); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got := d.Bytes()
		if len(got) != 1000+writers*each {
			t.Fatalf("round %d: %d bytes, want %d", round, len(got), 1000+writers*each)
		}
		for i, v := range got[1000:] {
			if want := byte(i/each + 1); v != want {
				t.Fatalf("round %d: byte %d is %d, want %d", round, 1000+i, v, want)
			}
		}
	}
}

// TestFlushErrorReachesEveryUser: who flushes after a failure is told of it once, by either plane; nobody who came later is.
func TestFlushErrorReachesEveryUser(t *testing.T) {
	cfg := enginetest.DiskConfig{Size: 1 << 16}
	d, first := cfg.Open(t)
	second := first.Clone(first.Flags())
	path := openPath(t, first, 4)
	d.FailFlush(unix.EIO)
	flush := func(ref *engine.Ref) error { return ref.Flush(t.Context()) }
	polled := func(*engine.Ref) error { return path.do(t, &engine.Request{Op: engine.OpFlush}) }
	for i, c := range []struct {
		who  string
		f    func(*engine.Ref) error
		ref  *engine.Ref
		want error
	}{
		{"first", flush, first, unix.EIO},
		{"second", flush, second, unix.EIO},
		{"Path", polled, nil, unix.EIO},
		{"first", flush, first, nil},
		{"second", flush, second, nil},
		{"Path", polled, nil, nil},
	} {
		if err := c.f(c.ref); !errors.Is(err, c.want) || (c.want == nil && err != nil) {
			t.Errorf("%d: %s: %v, want %v", i, c.who, err, c.want)
		}
	}
	if err := first.Clone(first.Flags()).Flush(t.Context()); err != nil {
		t.Errorf("a clone made after all: %v", err)
	}
}

// TestRangesAtTheEdges: what makes no range inside the node is refused with its place, and overflows nothing.
func TestRangesAtTheEdges(t *testing.T) {
	const last = 1<<63 - 1
	for _, growable := range []bool{false, true} {
		cfg := enginetest.DiskConfig{Size: 1000, Growable: growable, Limits: engine.Limits{RequestAlign: 512}}
		_, ref := cfg.Open(t)
		path := openPath(t, ref, 4)
		for _, off := range []int64{-1, -512, -1 << 63, last, last - 4, last &^ 511, 1 << 62} {
			p := make([]byte, 8)
			if err := ref.ReadAt(t.Context(), p, off); !errors.Is(err, engine.ErrRange) {
				t.Errorf("read at %#x: %v", off, err)
			}
			if off == 1<<62 && growable {
				continue // the disk would have to be that large
			}
			if err := ref.WriteAt(t.Context(), p, off, 0); !errors.Is(err, engine.ErrRange) {
				t.Errorf("write at %#x: %v", off, err)
			}
			for _, op := range []engine.Op{engine.OpRead, engine.OpWrite, engine.OpDiscard, engine.OpZero} {
				if err := path.do(t, &engine.Request{Op: op, Off: off, Len: 8, Buf: path.buf}); !errors.Is(err, engine.ErrRange) {
					t.Errorf("polled %s at %#x: %v", op, off, err)
				}
			}
		}
		if err := path.do(t, &engine.Request{Op: 200}); !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("operation 200: %v", err)
		}
		for _, op := range []engine.Op{engine.OpRead, engine.OpWrite, engine.OpDiscard, engine.OpZero, engine.OpFlush, engine.OpNop} {
			if err := path.do(t, &engine.Request{Op: op, Flags: engine.FUA & engine.WriteFlags(op)}); err != nil {
				t.Errorf("empty %s: %v", op, err)
			}
		}
		path.close(t)
	}
}

// TestErrorIsNamedOnce: an error of a leaf is told with operation, layer and place of the leaf, once, by either plane.
func TestErrorIsNamedOnce(t *testing.T) {
	cfg := enginetest.DiskConfig{Size: 1 << 16, Queue: enginetest.QueueBehaviour{Fail: func(r *engine.Request) unix.Errno {
		return unix.EIO
	}}}
	_, leaf := cfg.Open(t)
	shift := engine.NewRef(enginetest.NewShift(leaf, 4096, 8192), engine.OpenFlags{Write: true})
	path := openPath(t, shift, 4)
	err := path.do(t, &engine.Request{Op: engine.OpRead, Off: 512, Len: 512, Buf: path.buf})
	if got, want := fmt.Sprint(err), "read toy at 0x1200+512: input/output error"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if n := strings.Count(fmt.Sprint(err), "read"); n != 1 {
		t.Errorf("the operation is named %d times", n)
	}
}

// TestPathKeepsFlagsOfReferences: what a reference above the leaf asks for holds in the polled plane too.
func TestPathKeepsFlagsOfReferences(t *testing.T) {
	write := func(t *testing.T, flags engine.OpenFlags, cfg enginetest.DiskConfig, r engine.Request) (*enginetest.Disk, error) {
		cfg.Size = 1 << 16
		d, leaf := cfg.Open(t)
		root := engine.NewRef(enginetest.NewShift(leaf, 0, 1<<16), flags)
		path := openPath(t, root, 4)
		r.Len = 4096
		if r.Op <= engine.OpWrite {
			r.Buf = path.buf
			clear(dma.Bytes(r.Buf, 4096))
		}
		return d, path.do(t, &r)
	}
	t.Run("read-only", func(t *testing.T) {
		for _, op := range []engine.Op{engine.OpWrite, engine.OpZero, engine.OpDiscard} {
			if _, err := write(t, engine.OpenFlags{}, enginetest.DiskConfig{Zero: true, Discard: true, FUA: true}, engine.Request{Op: op}); !errors.Is(err, engine.ErrReadOnly) {
				t.Errorf("%s: %v", op, err)
			}
		}
	})
	t.Run("write-through", func(t *testing.T) {
		for _, fua := range []bool{false, true} {
			flags := engine.OpenFlags{Write: true, Cache: engine.Cache{WriteThrough: true}}
			d, err := write(t, flags, enginetest.DiskConfig{FUA: fua}, engine.Request{Op: engine.OpWrite})
			if err != nil || (d.Flushes() == 0) != fua {
				t.Errorf("FUA %v: %d flushes, %v", fua, d.Flushes(), err)
			}
		}
	})
	t.Run("discard=ignore", func(t *testing.T) {
		d, err := write(t, engine.OpenFlags{Write: true}, enginetest.DiskConfig{Discard: true}, engine.Request{Op: engine.OpDiscard})
		if err != nil || d.Discards() != 0 {
			t.Errorf("%d discards, %v", d.Discards(), err)
		}
	})
	t.Run("detect-zeroes", func(t *testing.T) {
		flags := engine.OpenFlags{Write: true, DetectZeroes: engine.DetectOn}
		d, err := write(t, flags, enginetest.DiskConfig{Zero: true, FUA: true}, engine.Request{Op: engine.OpWrite})
		if err != nil || d.Zeroings() != 1 {
			t.Errorf("%d writes of zeroes, %v", d.Zeroings(), err)
		}
	})
}

// TestFUAOnFreshMapping: a durable write whose mapping is not durable is a write and a flush of the layer that maps.
func TestFUAOnFreshMapping(t *testing.T) {
	cfg := enginetest.DiskConfig{Size: 1 << 20, FUA: true}
	_, leaf := cfg.Open(t)
	s := enginetest.NewShuffle(t, enginetest.ShuffleConfig{Size: 1 << 16, Block: 4096, Data: leaf, Fresh: true})
	path := openPath(t, engine.NewRef(s, engine.OpenFlags{Write: true}), 4)
	r := engine.Request{Op: engine.OpWrite, Len: 4096, Buf: path.buf}
	for i, c := range []struct {
		flags   engine.WriteFlags
		flushes int64
	}{{0, 0}, {0, 0}, {engine.FUA, 1}, {engine.FUA, 1}} {
		r.Flags = c.flags
		if err := path.do(t, &r); err != nil || s.Flushes() != c.flushes {
			t.Errorf("write %d: %d flushes of the layer, want %d; %v", i, s.Flushes(), c.flushes, err)
		}
	}
}

// TestAdmissionCountsOnce: what a throttle lets through is charged once, above and below a mapper, by whichever way it goes.
func TestAdmissionCountsOnce(t *testing.T) {
	for _, below := range []bool{false, true} {
		for _, miss := range []int{0, 500} {
			t.Run(fmt.Sprintf("below=%v/miss=%d", below, miss), func(t *testing.T) {
				clock := enginetest.NewClock(t)
				cfg := enginetest.DiskConfig{Size: 2 << 20, Queue: enginetest.QueueBehaviour{Room: 2, Short: 0.3, Shuffle: true}}
				_, ref := cfg.Open(t)
				var delay *enginetest.Delay
				put := func() {
					most := int64(1000)
					if below && miss > 0 {
						most = 0 // what was charged, was held back and then misses is charged again by the blocking call
					}
					delay = enginetest.NewDelay(ref, most, 1)
					ref = engine.NewRef(delay, engine.OpenFlags{Write: true})
				}
				if below {
					put()
				}
				s := enginetest.NewShuffle(t, enginetest.ShuffleConfig{Size: 1 << 18, Block: 4096, Data: ref, Miss: miss})
				ref = engine.NewRef(s, engine.OpenFlags{Write: true})
				if !below {
					put()
				}
				if err := ref.WriteAt(t.Context(), ones(1<<18), 0, 0); err != nil {
					t.Fatal(err)
				}
				path := openPath(t, ref, 4)
				path.clock = clock
				before := delay.Charged()
				const total = 1 << 18
				for off := int64(0); off < total; off += 1 << 15 {
					if err := path.do(t, &engine.Request{Op: engine.OpRead, Off: off, Len: 1 << 15, Buf: path.buf}); err != nil {
						t.Fatal(err)
					}
				}
				if got := delay.Charged() - before; got != total {
					t.Errorf("%d bytes were charged for %d", got, total)
				}
			})
		}
	}
}

// TestLittleRoomToPoll polls into a slice of one while requests keep coming: nothing piles up.
func TestLittleRoomToPoll(t *testing.T) {
	cfg := enginetest.DiskConfig{Size: 2 << 20}
	_, leaf := cfg.Open(t)
	s := enginetest.NewShuffle(t, enginetest.ShuffleConfig{Size: 1 << 16, Block: 4096, Data: leaf})
	path := openPath(t, engine.NewRef(s, engine.OpenFlags{Write: true}), 8)
	reqs := make([]*engine.Request, 8)
	for i := range reqs {
		reqs[i] = &engine.Request{Op: engine.OpRead, Len: 512, Buf: path.buf}
	}
	for i := 0; path.Submit(reqs[i:]) > 0; i++ {
		if i = path.InFlight(); i == len(reqs) {
			break
		}
	}
	done := make([]*engine.Request, 1)
	allocs := testing.AllocsPerRun(2000, func() {
		for path.Poll(done) == 0 {
		}
		path.Submit(done)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per request", allocs)
	}
	path.close(t)
}

// polledPath is a Path with a buffer, for one request at a time.
type polledPath struct {
	*engine.Path
	buf   dma.Handle
	clock *enginetest.Clock
	over  bool
}

func openPath(t *testing.T, ref *engine.Ref, depth int) *polledPath {
	t.Helper()
	runtime.LockOSThread()
	a, err := dma.New(dma.Config{Size: 1 << 16, NoHuge: true})
	if err != nil {
		t.Fatal(err)
	}
	p := &polledPath{}
	if p.buf, err = a.Alloc(1 << 16); err != nil {
		t.Fatal(err)
	}
	cfg := engine.PathConfig{Poller: engine.NewPoller(), Depth: depth, Arenas: []*dma.Arena{a}}
	if p.Path, err = engine.OpenPath(t.Context(), ref, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.close(t)
		a.Close()
		runtime.UnlockOSThread()
	})
	return p
}

func (p *polledPath) close(t *testing.T) {
	t.Helper()
	if p.over {
		return
	}
	p.over = true
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// do sends one request and waits for it.
func (p *polledPath) do(t *testing.T, r *engine.Request) error {
	t.Helper()
	if p.Submit([]*engine.Request{r}) != 1 {
		t.Fatal("the request was not taken")
	}
	done := make([]*engine.Request, 2)
	for {
		switch p.Poll(done) {
		case 0:
		case 1:
			return r.Err()
		default:
			t.Fatal("more requests complete than were submitted")
		}
		limit := time.Duration(-1)
		if p.clock != nil {
			p.clock.Advance(time.Microsecond)
			limit = 0
		}
		if err := p.Wait(limit); err != nil {
			t.Fatal(err)
		}
	}
}
