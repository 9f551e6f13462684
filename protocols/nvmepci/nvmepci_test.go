package nvmepci_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/nvme/nvmetest"
	"github.com/blkbench/blkbench/protocols/nvmepci"
)

// serve puts a fake controller behind a vfio-user socket and returns the name that opens its namespace nsid.
func serve(t testing.TB, cfg nvmetest.Config) (*nvmetest.Controller, func(nsid int) string) {
	t.Helper()
	cfg.Serial = "TESTSERIAL"
	f, err := nvmetest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	folder := t.TempDir()
	s, err := f.Serve(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return f, func(nsid int) string { return fmt.Sprintf("nvme+vfio-user://%s/%d", folder, nsid) }
}

func env(allow ...string) *engine.Env {
	return &engine.Env{Registry: engine.NewRegistry(nvmepci.Driver(), nvmepci.KernelDriver()), AllowDestroy: allow}
}

func open(t testing.TB, name string, write bool) *engine.Ref {
	t.Helper()
	r, err := env("TESTSERIAL").OpenName(t.Context(), name, "nvme", engine.OpenFlags{Write: write, Discard: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestBlockingPlane(t *testing.T) {
	f, name := serve(t, nvmetest.Config{Namespaces: []nvmetest.NamespaceConfig{
		{Blocks: 4096}, {Blocks: 512, BlockSize: 4096, NOIOB: 8}, {Blocks: 4096, Metadata: 8},
	}})
	for nsid := 1; nsid <= 3; nsid++ {
		t.Run(fmt.Sprint(nsid), func(t *testing.T) {
			r := open(t, name(nsid), true)
			if r.Size() != 2<<20 {
				t.Fatalf("size %d", r.Size())
			}
			rng := rand.New(rand.NewPCG(1, uint64(nsid)))
			model := f.Data(uint32(nsid))
			ctx := t.Context()
			for i := range 60 {
				off := rng.Int64N(1<<20) &^ 511
				n := 512 + rng.Int64N(300<<10)&^511
				p := model[off : off+n]
				var err error
				switch i % 5 {
				case 0, 1:
					for j := range p {
						p[j] = byte(rng.Uint32())
					}
					err = r.WriteAt(ctx, p, off, engine.WriteFlags(i%2)*engine.FUA)
				case 2:
					clear(p)
					err = r.WriteZeroes(ctx, off, n, engine.MayUnmap)
				case 3:
					align := int64(r.Info().Limits.DiscardAlign)
					from, to := (off+align-1)/align*align, (off+n)/align*align
					clear(model[from:max(from, to)])
					err = r.Discard(ctx, off, n)
				case 4:
					err = r.Flush(ctx)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			got := make([]byte, len(model))
			if err := r.ReadAt(ctx, got, 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, model) || !bytes.Equal(f.Data(uint32(nsid)), model) {
				t.Error("other data than the model")
			}
		})
	}
}

func TestConsentAndLocks(t *testing.T) {
	_, name := serve(t, nvmetest.Config{})
	_, err := env().OpenName(t.Context(), name(1), "nvme", engine.OpenFlags{Write: true})
	if !errors.Is(err, engine.ErrConsent) || !strings.Contains(err.Error(), "--allow-destroy=TESTSERIAL") {
		t.Errorf("write without consent: %v", err)
	}
	w := open(t, name(1), true)
	if _, err := env("TESTSERIAL").OpenName(t.Context(), name(1), "nvme", engine.OpenFlags{Write: true}); !errors.Is(err, engine.ErrLocked) {
		t.Errorf("two writers: %v", err)
	}
	if _, err := env().OpenName(t.Context(), name(9), "nvme", engine.OpenFlags{}); !errors.Is(err, engine.ErrNotFound) || !strings.Contains(err.Error(), "active are [1]") {
		t.Errorf("namespace 9: %v", err)
	}
	_ = w
	if _, err := env().OpenName(t.Context(), "driver=nvme,namespace=1", "nvme", engine.OpenFlags{}); err == nil {
		t.Error("no device and no socket")
	}
	if _, err := env().OpenName(t.Context(), "nvme://0000:ff:1f.7/1", "nvme", engine.OpenFlags{}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("no such function: %v", err)
	}
}

// poller runs f on a locked thread with a Path over ref.
func poller(t *testing.T, ref *engine.Ref, depth int, f func(p *engine.Path, a *dma.Arena)) {
	t.Helper()
	pollerWith(t, ref, depth, true, f)
}

// pollerWith says whether completions are polled for down to the device.
func pollerWith(t *testing.T, ref *engine.Ref, depth int, poll bool, f func(p *engine.Path, a *dma.Arena)) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	a, err := dma.New(dma.Config{Size: 4 << 20, Shared: true, NoHuge: true})
	if err != nil {
		t.Error(err)
		return
	}
	defer a.Close()
	p, err := engine.OpenPath(context.Background(), ref, engine.PathConfig{Poller: engine.NewPoller(), Depth: depth, Arenas: []*dma.Arena{a}, Poll: poll})
	if err != nil {
		t.Error(err)
		return
	}
	f(p, a)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func leafOnly(t *testing.T, p *engine.Path) {
	t.Helper()
	leafIs(t, p, "leaf:nvme")
}

func leafIs(t *testing.T, p *engine.Path, want string) {
	t.Helper()
	if w := p.Flattened(); len(w) != 1 || w[0] != want {
		t.Errorf("flattened to %v", w)
	}
}

// transfer writes random data in requests of n bytes and reads it back through the path.
func transfer(t *testing.T, p *engine.Path, a *dma.Arena, base int64, total int, n uint32, depth int) {
	t.Helper()
	h, err := a.Alloc(total)
	if err != nil {
		t.Error(err)
		return
	}
	defer a.Free(h, total)
	buf := a.Bytes(h, total)
	rng := rand.New(rand.NewPCG(7, uint64(base)))
	for i := range buf {
		buf[i] = byte(rng.Uint32())
	}
	want := bytes.Clone(buf)
	for _, op := range []engine.Op{engine.OpWrite, engine.OpRead} {
		if op == engine.OpRead {
			clear(buf)
		}
		run(t, p, depth, total/int(n), func(i int, r *engine.Request) {
			r.Op, r.Off, r.Len, r.Buf = op, base+int64(i)*int64(n), n, h.Add(uint32(i)*n)
		})
	}
	if !bytes.Equal(buf, want) {
		t.Error("read back other data")
	}
}

// run pushes count requests through the path and fails the test for any that fails.
func run(t *testing.T, p *engine.Path, depth, count int, set func(i int, r *engine.Request)) {
	t.Helper()
	reqs := make([]engine.Request, depth)
	var free []*engine.Request
	for i := range reqs {
		free = append(free, &reqs[i])
	}
	done := make([]*engine.Request, depth)
	next, over := 0, 0
	for deadline := time.Now().Add(60 * time.Second); over < count; {
		for next < count && len(free) > 0 {
			r := free[len(free)-1]
			*r = engine.Request{}
			set(next, r)
			if p.Submit([]*engine.Request{r}) == 0 {
				break
			}
			free = free[:len(free)-1]
			next++
		}
		if err := p.Kick(); err != nil {
			t.Error(err)
			return
		}
		k := p.Poll(done)
		for _, r := range done[:k] {
			if err := r.Err(); err != nil {
				t.Errorf("%v", err)
			}
			free = append(free, r)
		}
		over += k
		if k == 0 {
			runtime.Gosched()
			if time.Now().After(deadline) {
				t.Errorf("%d of %d requests over after a minute", over, count)
				return
			}
		}
	}
}

func TestPolledPlane(t *testing.T) {
	for name, cfg := range map[string]nvmetest.Config{
		"plain":    {Namespaces: []nvmetest.NamespaceConfig{{Blocks: 8192}}},
		"sgl":      {SGL: true, Namespaces: []nvmetest.NamespaceConfig{{Blocks: 8192}}},
		"shadow":   {Shadow: true, ShadowPoll: true, Unmapped: true, Namespaces: []nvmetest.NamespaceConfig{{Blocks: 8192}}},
		"boundary": {Namespaces: []nvmetest.NamespaceConfig{{Blocks: 1024, BlockSize: 4096, NOIOB: 5}}},
	} {
		t.Run(name, func(t *testing.T) {
			f, uri := serve(t, cfg)
			ref := open(t, uri(1), true)
			poller(t, ref, 16, func(p *engine.Path, a *dma.Arena) {
				leafOnly(t, p)
				transfer(t, p, a, 0, 1<<20, 4096, 16)
				transfer(t, p, a, 1<<20, 2<<20, 512<<10, 16) // above MDTS: pieces
				// Zeroes and discards go to the device as commands.
				run(t, p, 16, 4, func(i int, r *engine.Request) {
					r.Op, r.Off, r.Len = []engine.Op{engine.OpZero, engine.OpDiscard, engine.OpFlush, engine.OpZero}[i], int64(i)<<16, 1<<16
					if r.Op == engine.OpFlush {
						r.Off, r.Len = 0, 0
					}
				})
				for _, at := range []int{0, 1 << 16, 3 << 16} {
					if !bytes.Equal(f.Data(1)[at:at+1<<16], make([]byte, 1<<16)) {
						t.Errorf("data left at %#x", at)
					}
				}
				if bytes.Equal(f.Data(1)[2<<16:3<<16], make([]byte, 1<<16)) {
					t.Error("zeroes where none were asked for")
				}
			})
		})
	}
}

// Four threads over three queue pairs: one for the blocking plane, one of one's own, one shared.
func TestSharedPair(t *testing.T) {
	enginetest.Long(t)
	for _, pairs := range []int{3, 2, 1} {
		t.Run(fmt.Sprint(pairs), func(t *testing.T) {
			_, uri := serve(t, nvmetest.Config{MaxQueues: pairs, Namespaces: []nvmetest.NamespaceConfig{{Blocks: 16384}}})
			ref := open(t, uri(1), true)
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					poller(t, ref, 8, func(p *engine.Path, a *dma.Arena) {
						if pairs > 1 {
							leafOnly(t, p)
						}
						for range 3 {
							transfer(t, p, a, int64(i)<<21, 1<<20, 8192, 8)
						}
					})
				})
			}
			wg.Wait()
		})
	}
}

// A status that asks for it is retried; Do Not Retry is not.
func TestRetries(t *testing.T) {
	f, uri := serve(t, nvmetest.Config{})
	ref := open(t, uri(1), true)
	var tries atomic.Int32
	var status atomic.Uint32
	f.SetHook(func(c *nvmetest.Command) nvmetest.Fault {
		if c.Queue != 0 && c.Opcode == 2 && tries.Add(1)%3 != 0 {
			return nvmetest.Fault{Verdict: nvmetest.Fail, Status: uint16(status.Load())}
		}
		return nvmetest.Fault{}
	})
	status.Store(0x021) // command interrupted
	buf := make([]byte, 512)
	if err := ref.ReadAt(t.Context(), buf, 0); err != nil || tries.Load() != 3 {
		t.Errorf("blocking: %v after %d tries", err, tries.Load())
	}
	poller(t, ref, 4, func(p *engine.Path, a *dma.Arena) {
		h, err := a.Alloc(4096)
		if err != nil {
			t.Error(err)
			return
		}
		tries.Store(0)
		run(t, p, 4, 1, func(_ int, r *engine.Request) { r.Op, r.Len, r.Buf = engine.OpRead, 512, h })
		if tries.Load() != 3 {
			t.Errorf("polled: %d tries", tries.Load())
		}
	})
	tries.Store(0)
	status.Store(0x4281) // unrecovered read error, do not retry
	err := ref.ReadAt(t.Context(), buf, 512)
	if !errors.Is(err, engine.ErrIO) || tries.Load() != 1 || !strings.Contains(err.Error(), "Unrecovered Read Error") {
		t.Errorf("media error: %v after %d tries", err, tries.Load())
	}
}

// The server goes away under a polled queue: every request fails with a reason, and nothing hangs.
func TestServerGone(t *testing.T) {
	enginetest.Long(t)
	f, uri := serve(t, nvmetest.Config{})
	ref := open(t, uri(1), false)
	poller(t, ref, 8, func(p *engine.Path, a *dma.Arena) {
		h, err := a.Alloc(64 << 10)
		if err != nil {
			t.Error(err)
			return
		}
		f.SetHook(func(c *nvmetest.Command) nvmetest.Fault {
			if c.Queue != 0 {
				return nvmetest.Fault{Verdict: nvmetest.Vanish}
			}
			return nvmetest.Fault{}
		})
		reqs := make([]engine.Request, 16)
		done := make([]*engine.Request, 16)
		over, next := 0, 0
		for deadline := time.Now().Add(30 * time.Second); over < len(reqs); {
			for next < len(reqs) && p.InFlight() < 8 {
				r := &reqs[next]
				r.Op, r.Len, r.Buf = engine.OpRead, 512, h
				if p.Submit([]*engine.Request{r}) == 0 {
					break
				}
				next++
			}
			if err := p.Kick(); err != nil {
				t.Error(err)
			}
			k := p.Poll(done)
			over += k
			for _, r := range done[:k] {
				if err := r.Err(); !errors.Is(err, engine.ErrClosed) || !strings.Contains(err.Error(), "removed") {
					t.Errorf("request to a server that is gone: %v", err)
				}
			}
			if k == 0 {
				runtime.Gosched()
				if time.Now().After(deadline) {
					t.Errorf("%d of %d over", over, len(reqs))
					return
				}
			}
		}
	})
}

func TestPolledPlaneAllocatesNothing(t *testing.T) {
	enginetest.Long(t)
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	_, uri := serve(t, nvmetest.Config{})
	ref := open(t, uri(1), false)
	poller(t, ref, 32, func(p *engine.Path, a *dma.Arena) {
		h, err := a.Alloc(64 << 10)
		if err != nil {
			t.Error(err)
			return
		}
		reqs := make([]engine.Request, 32)
		ptrs := make([]*engine.Request, 32)
		done := make([]*engine.Request, 32)
		for i := range reqs {
			reqs[i].Op, reqs[i].Len, reqs[i].Buf, reqs[i].Off = engine.OpRead, 512, h.Add(uint32(512*i)), int64(512*i)
			ptrs[i] = &reqs[i]
		}
		if n := testing.AllocsPerRun(50, func() {
			if p.Submit(ptrs) != 32 {
				t.Error("not all taken")
			}
			_ = p.Kick()
			for k := 0; k < 32; {
				k += p.Poll(done[k:])
			}
		}); n != 0 {
			t.Errorf("%v allocations in a batch of 32", n)
		}
	})
}
