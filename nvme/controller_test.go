package nvme_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/nvme/nvmetest"
)

func TestBringUpAndShutdown(t *testing.T) {
	f := newFake(t, nvmetest.Config{Serial: "S123"})
	c, err := nvme.Attach(t.Context(), f, quick(t))
	if err != nil {
		t.Fatal(err)
	}
	if id := c.Identity(); id.SN != "S123" || id.MN != "nvmetest controller" || id.FR != "1.0" {
		t.Errorf("identity %q %q %q", id.SN, id.MN, id.FR)
	}
	if c.MaxTransfer() != 128<<10 || c.Queues() != 8 {
		t.Errorf("max transfer %d, queues %d", c.MaxTransfer(), c.Queues())
	}
	q, err := c.OpenQueue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if q.Size() != 255 {
		t.Errorf("queue size %d", q.Size())
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{"enable", "create cq 1", "create sq 1", "delete sq 1", "delete cq 1", "shutdown 1", "disable", "close"}
	if got := f.Journal(); !slices.Equal(got, want) {
		t.Errorf("journal\n%q, want\n%q", got, want)
	}
	if n := f.Mappings(); n != 0 {
		t.Errorf("%d DMA mappings left", n)
	}
}

// A controller that was left enabled is reset first.
func TestAttachAgain(t *testing.T) {
	f := newFake(t, nvmetest.Config{})
	for range 3 {
		c, err := nvme.Attach(t.Context(), f, quick(t))
		if err != nil {
			t.Fatal(err)
		}
		openQueue(t, c)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

var variants = map[string]nvmetest.Config{
	"plain":    {},
	"sgl":      {SGL: true},
	"shadow":   {Shadow: true},
	"polled":   {Shadow: true, ShadowPoll: true, Unmapped: true},
	"messages": {Unmapped: true},
	"4096":     {Namespaces: []nvmetest.NamespaceConfig{{Blocks: 1024, BlockSize: 4096}}},
	"tiny":     {MQES: 3, MaxQueues: 1, MDTS: 1},
	"cmb":      {CMBPages: 64},
	"intx":     {NeedINTx: true},
}

// Every size and every offset of data in its page goes through the device and comes back.
func TestReadBack(t *testing.T) {
	nvme.Long(t)
	for name, cfg := range variants {
		t.Run(name, func(t *testing.T) {
			opt := quick(t)
			opt.CMB = cfg.CMBPages > 0
			f, c := attach(t, cfg, opt)
			q := openQueue(t, c)
			ns := identifyNS(t, c, 1)
			buf := buffer(t, c, 1<<20)
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range 200 {
				blocks := 1 + rng.Uint32N(uint32(c.MaxTransfer())/ns.BlockSize)
				n := blocks * ns.BlockSize
				slba := rng.Uint64N(ns.Blocks - uint64(blocks))
				at := 4 * rng.IntN(1024)
				if i == 0 {
					at, blocks, n = 4092, 1, ns.BlockSize
				}
				out, in := buf.Slice(at, int(n)), buf.Slice(512<<10+at, int(n))
				for j := range out.Bytes {
					out.Bytes[j] = byte(rng.Uint32())
				}
				clear(in.Bytes)
				if s := one(t, q, nvme.OpWrite, slba, blocks, out.IOVA, n); !s.OK() {
					t.Fatalf("write %d blocks at %d: %v", blocks, slba, s)
				}
				if got := f.Data(1)[slba*uint64(ns.BlockSize):][:n]; !bytes.Equal(got, out.Bytes) {
					t.Fatalf("device holds other data after write %d", i)
				}
				if s := one(t, q, nvme.OpRead, slba, blocks, in.IOVA, n); !s.OK() {
					t.Fatalf("read %d blocks at %d: %v", blocks, slba, s)
				}
				if !bytes.Equal(in.Bytes, out.Bytes) {
					t.Fatalf("round %d: %d blocks at %d, offset %d: read back other data", i, blocks, slba, at)
				}
			}
			if cfg.ShadowPoll && f.Rings() > 40 {
				t.Errorf("%d doorbell messages for a controller that polls the shadow page", f.Rings())
			}
		})
	}
}

// A deep queue wraps around its rings many times, with completions in any order of submission.
func TestFullQueue(t *testing.T) {
	nvme.Long(t)
	for _, name := range []string{"plain", "shadow", "tiny", "cmb"} {
		t.Run(name, func(t *testing.T) {
			opt := quick(t)
			opt.CMB = name == "cmb"
			_, c := attach(t, variants[name], opt)
			q := openQueue(t, c)
			buf := buffer(t, c, 1<<20)
			busy := make([]int, q.Size()+1) // by identifier: block number + 1
			done := make([]nvme.Done, 32)
			next, over := 0, 0
			const total = 5000
			for over < total {
				for next < total {
					lba := next * 7 % 2048
					cid, ok := q.Prepare(nvme.OpRead, 1, uint64(lba), 0, buf.IOVA+uint64(next%q.Size())*512, 512)
					if !ok {
						break
					}
					if busy[cid] != 0 {
						t.Fatalf("identifier %d is in flight twice", cid)
					}
					busy[cid] = lba + 1
					next++
				}
				q.Kick()
				k := q.Poll(done)
				for _, d := range done[:k] {
					if !d.Status.OK() || busy[d.CID] == 0 {
						t.Fatalf("command %d: %v", d.CID, d.Status)
					}
					busy[d.CID] = 0
				}
				over += k
				if k == 0 {
					yield()
				}
			}
			if q.InFlight() != 0 {
				t.Errorf("%d in flight", q.InFlight())
			}
		})
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	nvme.Long(t)
	_, c := attach(t, nvmetest.Config{}, nvme.Options{})
	q := openQueue(t, c)
	buf := buffer(t, c, 1<<20)
	done := make([]nvme.Done, 32)
	if n := testing.AllocsPerRun(200, func() {
		for i := range uint64(32) {
			if _, ok := q.Prepare(nvme.OpRead, 1, i, 0, buf.IOVA+512*i, 512); !ok {
				t.Fatal(q.Err())
			}
		}
		q.Kick()
		for k := 0; k < 32; {
			k += q.Poll(done)
		}
	}); n != 0 {
		t.Errorf("%v allocations in a batch", n)
	}
}

func TestCommands(t *testing.T) {
	f, c := attach(t, nvmetest.Config{}, quick(t))
	ctx := t.Context()
	f.Edit(1, func(data []byte) {
		for i := range data {
			data[i] = byte(i>>9) | 1
		}
	})
	run := func(cmd nvme.Command, b []byte) error {
		_, err := c.IO(ctx, &cmd, b, nil)
		return err
	}
	if err := run(nvme.Flush(1), nil); err != nil {
		t.Error(err)
	}
	block := f.Data(1)[512*9:][:512]
	if err := run(nvme.ReadWrite(nvme.OpCompare, 1, 9, 1, 0), block); err != nil {
		t.Error(err)
	}
	block[5] ^= 1
	if err := run(nvme.ReadWrite(nvme.OpCompare, 1, 9, 1, 0), block); !errors.Is(err, &nvme.StatusError{Status: nvme.StatusCompareFailure}) {
		t.Errorf("compare of other data: %v", err)
	}
	if err := run(nvme.ReadWrite(nvme.OpVerify, 1, 0, 100, 0), nil); err != nil {
		t.Error(err)
	}
	// Write uncorrectable: the blocks are lost until they are written again.
	if err := run(nvme.ReadWrite(nvme.OpWriteUncorrectable, 1, 20, 2, 0), nil); err != nil {
		t.Error(err)
	}
	lost := run(nvme.ReadWrite(nvme.OpRead, 1, 18, 4, 0), make([]byte, 2048))
	if !errors.Is(lost, &nvme.StatusError{Status: nvme.StatusUnrecoveredRead}) {
		t.Errorf("read of uncorrectable blocks: %v", lost)
	}
	if err := run(nvme.ReadWrite(nvme.OpWriteZeroes, 1, 20, 2, 0), nil); err != nil {
		t.Error(err)
	}
	if err := run(nvme.ReadWrite(nvme.OpRead, 1, 18, 4, 0), make([]byte, 2048)); err != nil {
		t.Error(err)
	}
	data := f.Data(1)
	if !bytes.Equal(data[20*512:22*512], make([]byte, 1024)) || data[22*512] == 0 {
		t.Error("write zeroes hit the wrong blocks")
	}
	ranges := []nvme.Range{{SLBA: 30, LBACount: 2}, {SLBA: 40, LBACount: 1}}
	if err := run(nvme.DatasetManagement(1, 2, true), nvme.EncodeRanges(ranges)); err != nil {
		t.Error(err)
	}
	data = f.Data(1)
	if data[31*512] != 0 || data[40*512] != 0 || data[32*512] == 0 || data[41*512] == 0 {
		t.Error("deallocate hit the wrong blocks")
	}
	if err := run(nvme.Copy(1, 100, 2), nvme.EncodeCopyRanges([]nvme.Range{{SLBA: 50, LBACount: 2}, {SLBA: 60, LBACount: 1}})); err != nil {
		t.Error(err)
	}
	data = f.Data(1)
	if !bytes.Equal(data[100*512:102*512], data[50*512:52*512]) || !bytes.Equal(data[102*512:103*512], data[60*512:61*512]) {
		t.Error("copy")
	}
	err := run(nvme.ReadWrite(nvme.OpRead, 1, 2048, 1, 0), make([]byte, 512))
	var status *nvme.StatusError
	if !errors.As(err, &status) || status.Status.Code() != nvme.StatusLBAOutOfRange || !status.Status.DoNotRetry() || status.Status.Retryable() {
		t.Errorf("read beyond the end: %v", err)
	}
	// A large transfer goes through the one large bounce buffer.
	if err := run(nvme.ReadWrite(nvme.OpRead, 1, 0, 256, 0), make([]byte, 256*512)); err != nil {
		t.Error(err)
	}
}

func TestSeparateMetadata(t *testing.T) {
	_, c := attach(t, nvmetest.Config{Namespaces: []nvmetest.NamespaceConfig{{Blocks: 64, BlockSize: 512, Metadata: 8}}}, quick(t))
	out, meta := bytes.Repeat([]byte{7}, 2048), []byte("0123456789abcdefghijklmnopqrstuv")
	cmd := nvme.ReadWrite(nvme.OpWrite, 1, 3, 4, 0)
	if _, err := c.IO(t.Context(), &cmd, out, meta); err != nil {
		t.Fatal(err)
	}
	in, got := make([]byte, 2048), make([]byte, 32)
	cmd = nvme.ReadWrite(nvme.OpRead, 1, 3, 4, 0)
	if _, err := c.IO(t.Context(), &cmd, in, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(in, out) || !bytes.Equal(got, meta) {
		t.Errorf("read %q with metadata %q", in[:4], got)
	}
}

func TestHostMemoryBuffer(t *testing.T) {
	cfg := nvmetest.Config{HMPRE: 2048, HMMIN: 16, HMMAXD: 8}
	opt := quick(t)
	f := newFake(t, cfg)
	c, err := nvme.Attach(t.Context(), f, opt)
	if err != nil {
		t.Fatal(err)
	}
	if c.HostMemory() != 8<<20 {
		t.Errorf("host memory %d", c.HostMemory())
	}
	if err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	j := f.Journal()
	if !slices.Contains(j, "host memory 2048 pages in 2 chunks, returned 0") ||
		!slices.Contains(j, "host memory 2048 pages in 2 chunks, returned 1") || !slices.Contains(j, "host memory off") {
		t.Errorf("journal %q", j)
	}
	// A limit below what the controller needs means none.
	opt.HostMemory = 4096
	_, c = attach(t, cfg, opt)
	if c.HostMemory() != 0 {
		t.Errorf("host memory %d beyond the limit", c.HostMemory())
	}
}

func TestSanitizeWithProgress(t *testing.T) {
	events := make(chan nvme.AsyncEvent, 4)
	opt := quick(t)
	opt.OnEvent = func(e nvme.AsyncEvent) { events <- e }
	f, c := attach(t, nvmetest.Config{}, opt)
	f.Edit(1, func(data []byte) { data[77] = 1 })
	cmd := nvme.Command{Opcode: nvme.OpSanitize, CDW10: 2}
	if _, err := c.Admin(t.Context(), &cmd, nil); err != nil {
		t.Fatal(err)
	}
	var last uint16
	waitFor(t, "sanitize", func() bool {
		b, err := nvme.ReadLog(t.Context(), c, nvme.LIDSanitize, 0xffffffff, nvme.SanitizeLogSize)
		if err != nil {
			t.Fatal(err)
		}
		s, err := nvme.ParseSanitizeLog(b)
		if err != nil {
			t.Fatal(err)
		}
		if s.State() == nvme.SanitizeInProgress && s.SPROG < last {
			t.Fatalf("progress went from %d to %d", last, s.SPROG)
		}
		last = s.SPROG
		return s.State() == nvme.SanitizeSuccess && s.GlobalD
	})
	if f.Data(1)[77] != 0 {
		t.Error("data survived")
	}
	if e := <-events; e.String() != "sanitize operation completed" || e.LogPage() != nvme.LIDSanitize {
		t.Errorf("event %v, log page %#x", e, e.LogPage())
	}
}

// An idle wait on an interrupt costs no CPU, and wakes up for a completion.
func TestInterruptWait(t *testing.T) {
	opt := quick(t)
	opt.Interrupts = true
	f, c := attach(t, nvmetest.Config{}, opt)
	q := openQueue(t, c)
	buf := buffer(t, c, 1<<20)
	f.SetHook(func(cmd *nvmetest.Command) nvmetest.Fault {
		if cmd.Queue != 0 {
			return nvmetest.Fault{Verdict: nvmetest.Hold}
		}
		return nvmetest.Fault{}
	})
	if _, ok := q.Prepare(nvme.OpRead, 1, 0, 0, buf.IOVA, 512); !ok {
		t.Fatal(q.Err())
	}
	q.Kick()
	waitFor(t, "command held", func() bool { return f.Held() == 1 })
	go f.Release()
	done := make([]nvme.Done, 4)
	for waits := 0; q.Poll(done) == 0; waits++ {
		if waits > 3 {
			t.Fatal("more than three wake-ups for one completion")
		}
		if err := q.Wait(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if !done[0].Status.OK() {
		t.Error(done[0].Status)
	}
}

func TestNoNamespace(t *testing.T) {
	_, c := attach(t, nvmetest.Config{Namespaces: []nvmetest.NamespaceConfig{{Blocks: 8}, {Blocks: 16, BlockSize: 4096, NOIOB: 8}}}, quick(t))
	for _, nsid := range []uint32{0, 3, 0xffffffff} {
		if _, err := nvme.OpenNamespace(t.Context(), c, nsid, 0); !errors.Is(err, nvme.ErrNoNamespace) {
			t.Errorf("namespace %d: %v", nsid, err)
		}
	}
	ids, err := nvme.ActiveNamespaces(t.Context(), c)
	if err != nil || !slices.Equal(ids, []uint32{1, 2}) {
		t.Errorf("active %v, %v", ids, err)
	}
	n, err := nvme.OpenNamespace(t.Context(), c, 2, c.MaxTransfer())
	if err != nil {
		t.Fatal(err)
	}
	if n.MaxBlocks != 32 || n.Span(5, 100) != 3 || n.Span(8, 4) != 4 || n.Span(8, 40) != 8 {
		t.Errorf("max %d, spans %d %d %d", n.MaxBlocks, n.Span(5, 100), n.Span(8, 4), n.Span(8, 40))
	}
}

func TestQueuesRunOut(t *testing.T) {
	_, c := attach(t, nvmetest.Config{MaxQueues: 2}, quick(t))
	a, b := openQueue(t, c), openQueue(t, c)
	if _, err := c.OpenQueue(t.Context()); !errors.Is(err, nvme.ErrNoQueue) {
		t.Errorf("third of two queues: %v", err)
	}
	if a.ID() == b.ID() {
		t.Error("two queues with one identifier")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if q := openQueue(t, c); q.ID() != a.ID() {
		t.Errorf("identifier %d was not used again", a.ID())
	}
}

func TestCancelledAdmin(t *testing.T) {
	f, c := attach(t, nvmetest.Config{}, quick(t))
	f.SetHook(func(cmd *nvmetest.Command) nvmetest.Fault {
		if cmd.Opcode == nvme.OpFormatNVM {
			return nvmetest.Fault{Verdict: nvmetest.Hold}
		}
		return nvmetest.Fault{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		waitFor(t, "format held", func() bool { return f.Held() == 1 })
		cancel()
	}()
	cmd := nvme.Command{Opcode: nvme.OpFormatNVM, NSID: 1}
	if _, err := c.Admin(ctx, &cmd, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled format: %v", err)
	}
	waitFor(t, "abort", func() bool { return f.Held() == 0 })
	if c.Resets() != 0 {
		t.Error("the controller was reset")
	}
}
