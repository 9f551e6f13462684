package nvme_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/nvme/nvmetest"
	"github.com/blkbench/blkbench/vfio"
)

var (
	_ nvme.Device = (*vfio.Device)(nil)
	_ nvme.Device = (*vfio.UserDevice)(nil)
	_ nvme.Device = (*nvmetest.Controller)(nil)
)

// serve puts a fake behind a socket and returns the folder to dial.
func serve(t *testing.T, cfg nvmetest.Config) (*nvmetest.Controller, string) {
	t.Helper()
	f := newFake(t, cfg)
	folder := t.TempDir()
	s, err := f.Serve(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return f, folder
}

func dial(t *testing.T, folder string, opt nvme.Options) *nvme.Controller {
	t.Helper()
	d, err := vfio.Dial(folder)
	if err != nil {
		t.Fatal(err)
	}
	c, err := nvme.Attach(t.Context(), d, opt)
	if err != nil {
		d.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// The whole way through a socket: registers by message, memory by descriptor, doorbells mapped or shadowed.
func TestVFIOUserReadBack(t *testing.T) {
	for name, cfg := range map[string]nvmetest.Config{
		"mapped": {NeedINTx: true}, "shadow": {Shadow: true, ShadowPoll: true, Unmapped: true}, "messages": {Unmapped: true},
	} {
		t.Run(name, func(t *testing.T) {
			f, folder := serve(t, cfg)
			c := dial(t, folder, quick(t))
			q, buf := openQueue(t, c), buffer(t, c, 2<<20)
			rng := rand.New(rand.NewPCG(3, 4))
			for range 50 {
				blocks := 1 + rng.Uint32N(256)
				slba := rng.Uint64N(2048 - uint64(blocks))
				out, in := buf.Slice(8*rng.IntN(500), int(blocks)*512), buf.Slice(1<<20, int(blocks)*512)
				for j := range out.Bytes {
					out.Bytes[j] = byte(rng.Uint32())
				}
				if s := one(t, q, nvme.OpWrite, slba, blocks, out.IOVA, blocks*512); !s.OK() {
					t.Fatal(s)
				}
				if s := one(t, q, nvme.OpRead, slba, blocks, in.IOVA, blocks*512); !s.OK() {
					t.Fatal(s)
				}
				if !bytes.Equal(in.Bytes, out.Bytes) || !bytes.Equal(f.Data(1)[slba*512:][:len(out.Bytes)], out.Bytes) {
					t.Fatal("other data")
				}
			}
			if cfg.ShadowPoll && f.Rings() > 40 {
				t.Errorf("%d doorbell messages", f.Rings())
			}
		})
	}
}

func TestVFIOUserInterrupts(t *testing.T) {
	_, folder := serve(t, nvmetest.Config{Vectors: 12})
	opt := quick(t)
	opt.Interrupts = true
	c := dial(t, folder, opt)
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	var done [4]nvme.Done
	for i := range uint64(20) {
		if _, ok := q.Prepare(nvme.OpRead, 1, i, 0, buf.IOVA, 512); !ok {
			t.Fatal(q.Err())
		}
		q.Kick()
		for q.Poll(done[:]) == 0 {
			if err := q.Wait(10 * time.Second); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestVFIOUserReset(t *testing.T) {
	nvme.Long(t)
	f, folder := serve(t, nvmetest.Config{})
	c := dial(t, folder, quick(t))
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	f.SetKnobs(nvmetest.Knobs{IgnoreAbort: true, IgnoreDelete: true})
	f.SetHook(once(nvmetest.Hold))
	settle(t, q, submit(t, q, buf, 4))
	f.SetKnobs(nvmetest.Knobs{})
	works(t, q, buf)
}

// The server goes away in mid-flight: everything fails, nothing hangs.
func TestVFIOUserServerGone(t *testing.T) {
	f, folder := serve(t, nvmetest.Config{})
	c := dial(t, folder, quick(t))
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	f.SetHook(func(cmd *nvmetest.Command) nvmetest.Fault {
		if cmd.Queue != 0 {
			return nvmetest.Fault{Verdict: nvmetest.Vanish}
		}
		return nvmetest.Fault{}
	})
	for _, s := range settle(t, q, submit(t, q, buf, 4)) {
		if s != nvme.StatusHostAborted {
			t.Errorf("status %v", s)
		}
	}
	if !errors.Is(q.Err(), nvme.ErrRemoved) {
		t.Errorf("cause %v", q.Err())
	}
}

// One client at a time: the second waits, and is told why when it gives up; then the first leaves, and it works.
func TestVFIOUserSecondClient(t *testing.T) {
	f, folder := serve(t, nvmetest.Config{})
	c := dial(t, folder, quick(t))
	if d, err := vfio.DialTimeout(folder, 100*time.Millisecond); !errors.Is(err, vfio.ErrTimeout) {
		t.Errorf("second client: %v, %v", d, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "first client left", func() bool { return slices.Contains(f.Journal(), "client left") })
	again := dial(t, folder, quick(t))
	works(t, openQueue(t, again), buffer(t, again, 1<<20))
}

func TestVFIOUserNobody(t *testing.T) {
	if _, err := vfio.Dial(t.TempDir()); !errors.Is(err, vfio.ErrNoDevice) {
		t.Errorf("no socket: %v", err)
	}
}
