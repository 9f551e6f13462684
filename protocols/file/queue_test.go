package file

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/uring"
)

// wish is a way to open the polled plane.
type wish struct {
	name  string
	leaf  engine.LeafOptions
	cache engine.Cache
	poll  bool
}

var wishes = []wish{
	{name: "io_uring"},
	{name: "io_uring, direct", cache: engine.Cache{Direct: true}},
	{name: "io_uring, nothing registered", leaf: engine.LeafOptions{NoFixedBufs: true, NoRegisterFiles: true}},
	{name: "io_uring, writethrough", cache: engine.Cache{WriteThrough: true}},
	{name: "io_uring, unsafe", cache: engine.Cache{NoFlush: true}},
	{name: "submission thread", leaf: engine.LeafOptions{SQThreadPoll: true, SQThreadCPU: -1}},
	{name: "submission thread, pinned", leaf: engine.LeafOptions{SQThreadPoll: true, SQThreadCPU: 0}},
	{name: "polled", cache: engine.Cache{Direct: true}, poll: true},
	{name: "threads", leaf: engine.LeafOptions{Engine: "threads"}},
	{name: "threads, direct", leaf: engine.LeafOptions{Engine: "threads"}, cache: engine.Cache{Direct: true}},
	{name: "psync", leaf: engine.LeafOptions{Engine: "psync"}},
}

// bed is an open queue with its memory.
type bed struct {
	q     engine.Queue
	node  *Node
	arena *dma.Arena
	buf   dma.Handle
	reqs  []engine.Request
	at    *engine.Poller
}

const (
	bedDepth = 64
	bedBlock = 65536
)

func makeBed(t testing.TB, path string, w wish) *bed {
	t.Helper()
	lock(t)
	ref := mustOpen(t, path, engine.OpenFlags{Write: true, Discard: true, Cache: w.cache, Leaf: w.leaf})
	arena, err := dma.New(dma.Config{Size: bedDepth * bedBlock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { arena.Close() })
	b := &bed{node: ref.Node().(*Node), arena: arena, at: engine.NewPoller(), reqs: make([]engine.Request, bedDepth)}
	if b.buf, err = arena.Alloc(bedDepth * bedBlock); err != nil {
		t.Fatal(err)
	}
	b.q, err = b.node.OpenQueue(ctx, engine.QueueConfig{Poller: b.at, Depth: bedDepth, Arenas: []*dma.Arena{arena}, Poll: w.poll})
	if errors.Is(err, uring.ErrUnavailable) || errors.Is(err, uring.ErrUnsupported) {
		requires(t, false, "io_uring: "+err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.q.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

// handle is the buffer of request i.
func (b *bed) handle(i int) dma.Handle { return b.buf.Add(uint32(i * bedBlock)) }

func (b *bed) bytes(i, n int) []byte { return b.arena.Bytes(b.handle(i), n) }

// do submits requests and waits until all have completed.
func (b *bed) do(t testing.TB, reqs ...*engine.Request) {
	t.Helper()
	left := reqs
	done := make([]*engine.Request, len(reqs))
	for got, limit := 0, time.Now().Add(20*time.Second); got < len(reqs); {
		n := b.q.Submit(left)
		left = left[n:]
		if err := b.q.Kick(); err != nil {
			t.Fatal(err)
		}
		k := b.q.Poll(done)
		for _, r := range done[:k] {
			if !slices.Contains(reqs, r) {
				t.Fatal("a request came back that was not sent, or twice")
			}
		}
		if got += k; got < len(reqs) && k == 0 {
			if err := b.q.Wait(10 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if time.Now().After(limit) {
			t.Fatalf("%d of %d requests came back", got, len(reqs))
		}
	}
}

func (b *bed) one(t testing.TB, op engine.Op, off int64, n int, flags engine.WriteFlags) int32 {
	t.Helper()
	r := &b.reqs[0]
	*r = engine.Request{Op: op, Off: off, Len: uint32(n), Buf: b.handle(0), Flags: flags}
	b.do(t, r)
	return r.Res
}

func eachWish(t *testing.T, f func(t *testing.T, dir string, w wish)) {
	places(t, func(t *testing.T, dir string) {
		for _, w := range wishes {
			t.Run(w.name, func(t *testing.T) { f(t, t.TempDir(), w) })
		}
	})
}

// One random history of everything that the queue supports, against a slice of bytes.
func TestQueueDoesWhatItIsTold(t *testing.T) {
	enginetest.Long(t)
	eachWish(t, func(t *testing.T, dir string, w wish) {
		const size, unit = 1 << 20, 4096
		path, model := makeFile(t, dir, size)
		b := makeBed(t, path, w)
		rng := rand.New(rand.NewPCG(7, 7))
		ops := []engine.Op{engine.OpRead, engine.OpWrite, engine.OpFlush, engine.OpDiscard, engine.OpZero, engine.OpNop}
		supports := b.q.(engine.QueueOps)
		for round := range 60 {
			var reqs []*engine.Request
			var want [][]byte
			used := map[int]bool{} // units that this round's requests touch
			for i := range bedDepth {
				op := ops[rng.IntN(len(ops))]
				if !supports.Supports(op) {
					t.Fatalf("%s is not supported", op)
				}
				n := (1 + rng.IntN(bedBlock/unit)) * unit
				off := rng.IntN((size-n)/unit+1) * unit
				if op == engine.OpFlush || op == engine.OpNop {
					off, n = 0, 0
				}
				clash := false
				for u := off / unit; u < (off+n)/unit; u++ {
					clash = clash || used[u]
				}
				if clash {
					continue
				}
				for u := off / unit; u < (off+n)/unit; u++ {
					used[u] = true
				}
				r := &b.reqs[i]
				*r = engine.Request{Op: op, Off: int64(off), Len: uint32(n), Buf: b.handle(i), User: uint64(i)}
				if rng.IntN(3) == 0 {
					r.Flags = engine.FUA
				}
				if rng.IntN(2) == 0 {
					r.Flags |= engine.MayUnmap
				}
				switch op {
				case engine.OpWrite:
					copy(b.bytes(i, n), randomBytes(n, uint64(round*100+i)))
					copy(model[off:], b.bytes(i, n))
				case engine.OpDiscard, engine.OpZero:
					clear(model[off : off+n])
				case engine.OpRead:
					clear(b.bytes(i, n))
				default:
				}
				reqs = append(reqs, r)
				want = append(want, model[off:off+n])
			}
			b.do(t, reqs...)
			for i, r := range reqs {
				moved := int32(0)
				if r.Op <= engine.OpWrite {
					moved = int32(r.Len)
				}
				if r.Res != moved {
					t.Fatalf("round %d: %s %d+%d: result %d (%v), want %d", round, r.Op, r.Off, r.Len, r.Res, r.Err(), moved)
				}
				if r.Op == engine.OpRead && !bytes.Equal(b.bytes(int(r.User), int(r.Len)), want[i]) {
					t.Fatalf("round %d: read %d+%d differs", round, r.Off, r.Len)
				}
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, model) {
			t.Errorf("the file differs at the end, error %v", err)
		}
	})
}

func TestShortTransfersAreShown(t *testing.T) {
	enginetest.Long(t)
	eachWish(t, func(t *testing.T, dir string, w wish) {
		path, _ := makeFile(t, dir, 10000)
		b := makeBed(t, path, w)
		if got := b.one(t, engine.OpRead, 8192, 4096, 0); got != 10000-8192 {
			t.Errorf("read over the end: %d, want %d", got, 10000-8192)
		}
		if got := b.one(t, engine.OpRead, 12288, 4096, 0); got != 0 {
			t.Errorf("read behind the end: %d, want 0", got)
		}
	})
}

func TestQueueGrowsTheFile(t *testing.T) {
	enginetest.Long(t)
	eachWish(t, func(t *testing.T, dir string, w wish) {
		path, _ := makeFile(t, dir, 4096)
		b := makeBed(t, path, w)
		if got := b.one(t, engine.OpWrite, 65536, 8192, 0); got != 8192 {
			t.Fatalf("write: %d", got)
		}
		if b.node.Size() != 65536+8192 {
			t.Errorf("size %d after a write, want %d", b.node.Size(), 65536+8192)
		}
		for _, flags := range []engine.WriteFlags{0, engine.MayUnmap} {
			end := b.node.Size() + 131072
			if got := b.one(t, engine.OpZero, end-65536, 65536, flags); got != 0 {
				t.Fatalf("zeroes: %d", got)
			}
			if st, err := os.Stat(path); err != nil || st.Size() != end || b.node.Size() != end {
				t.Errorf("sizes %d and %d after zeroes, want %d", st.Size(), b.node.Size(), end)
			}
		}
	})
}

func TestErrorsComeBackAsErrno(t *testing.T) {
	for _, w := range wishes {
		if w.cache.Direct {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			path, _ := makeFile(t, t.TempDir(), 4096)
			b := makeBed(t, path, w)
			if got := b.one(t, engine.OpRead, -4096, 4096, 0); got != -int32(unix.EINVAL) {
				t.Errorf("read before the start: %d, want %d", got, -int32(unix.EINVAL))
			}
			if !errors.Is(b.reqs[0].Err(), unix.EINVAL) {
				t.Errorf("error %v, want EINVAL", b.reqs[0].Err())
			}
		})
	}
}

func TestFullQueueTakesFewer(t *testing.T) {
	for _, w := range wishes {
		t.Run(w.name, func(t *testing.T) {
			path, _ := makeFile(t, t.TempDir(), 1<<20)
			b := makeBed(t, path, w)
			many := make([]engine.Request, 3*bedDepth)
			var reqs []*engine.Request
			for i := range many {
				many[i] = engine.Request{Op: engine.OpRead, Off: int64(i) * 4096, Len: 4096, Buf: b.handle(i % bedDepth)}
				reqs = append(reqs, &many[i])
			}
			if n := b.q.Submit(reqs); n != bedDepth {
				t.Errorf("%d requests were taken, want %d", n, bedDepth)
			}
			if n := b.q.Submit(reqs[bedDepth:]); n != 0 {
				t.Errorf("%d more were taken by a full queue", n)
			}
			left := bedDepth
			done := make([]*engine.Request, 5)
			for left > 0 {
				if err := errors.Join(b.q.Kick(), b.q.Wait(time.Second)); err != nil {
					t.Fatal(err)
				}
				left -= b.q.Poll(done)
			}
			b.do(t, reqs...)
		})
	}
}

// Close waits for what is in flight: afterwards nobody writes to the buffers any more.
func TestQueueClosesWithRequestsInFlight(t *testing.T) {
	enginetest.Long(t)
	eachWish(t, func(t *testing.T, dir string, w wish) {
		path, content := makeFile(t, dir, bedDepth*bedBlock)
		b := makeBed(t, path, w)
		var reqs []*engine.Request
		for i := range b.reqs {
			b.reqs[i] = engine.Request{Op: engine.OpRead, Off: int64(i) * bedBlock, Len: bedBlock, Buf: b.handle(i)}
			reqs = append(reqs, &b.reqs[i])
		}
		if n := b.q.Submit(reqs); n != bedDepth {
			t.Fatalf("%d taken", n)
		}
		if err := b.q.Kick(); err != nil {
			t.Fatal(err)
		}
		if err := b.q.Close(); err != nil {
			t.Fatal(err)
		}
		b.q = &psyncQueue{node: b.node}
		if !bytes.Equal(b.arena.Bytes(b.buf, len(content)), content) {
			t.Error("a read had not ended when Close returned")
		}
	})
}

// Several files of one poller share a ring, and each gets its own.
func TestFilesShareTheirPollersRing(t *testing.T) {
	lock(t)
	at := engine.NewPoller()
	arena, err := dma.New(dma.Config{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { arena.Close() })
	buf, err := arena.Alloc(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	const files, depth = 3, 8
	var queues []engine.Queue
	var contents [][]byte
	reqs := make([]engine.Request, files*depth)
	for i := range files {
		path, content := makeFile(t, t.TempDir(), depth*4096+i)
		content[0] = byte(i)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		n := mustOpen(t, path, engine.OpenFlags{}).Node().(*Node)
		q, err := n.OpenQueue(ctx, engine.QueueConfig{Poller: at, Depth: depth, Arenas: []*dma.Arena{arena}})
		if err != nil {
			t.Fatal(err)
		}
		queues, contents = append(queues, q), append(contents, content)
	}
	for i := range reqs {
		reqs[i] = engine.Request{Op: engine.OpRead, Off: int64(i/files) * 4096, Len: 4096, Buf: buf.Add(uint32(i * 4096)), User: uint64(i)}
		if n := queues[i%files].Submit([]*engine.Request{&reqs[i]}); n != 1 {
			t.Fatal("not taken")
		}
	}
	if err := queues[0].Kick(); err != nil { // one system call for all
		t.Fatal(err)
	}
	for f, q := range queues {
		done := make([]*engine.Request, depth)
		for got := 0; got < depth; {
			k := q.Poll(done[got:])
			for _, r := range done[got : got+k] {
				if int(r.User)%files != f {
					t.Fatalf("file %d was given a request of file %d", f, int(r.User)%files)
				}
				if !bytes.Equal(dma.Bytes(r.Buf, 4096), contents[f][r.Off:r.Off+4096]) {
					t.Errorf("file %d: read at %d differs", f, r.Off)
				}
			}
			if got += k; k == 0 {
				if err := q.Wait(time.Second); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, q := range queues {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestEventDescriptorEndsPoll(t *testing.T) {
	enginetest.Long(t)
	for _, w := range wishes {
		t.Run(w.name, func(t *testing.T) {
			path, _ := makeFile(t, t.TempDir(), 1<<20)
			b := makeBed(t, path, w)
			eq, ok := b.q.(engine.EventQueue)
			if !ok {
				return // psync has nothing to wait for
			}
			r := &b.reqs[0]
			done := make([]*engine.Request, 1)
			for i := range 50 {
				*r = engine.Request{Op: engine.OpRead, Off: int64(i) * 4096, Len: 4096, Buf: b.handle(0)}
				if b.q.Submit([]*engine.Request{r}) != 1 {
					t.Fatal("not taken")
				}
				if err := b.q.Kick(); err != nil {
					t.Fatal(err)
				}
				for limit := time.Now().Add(20 * time.Second); b.q.Poll(done) == 0; {
					if eq.Arm() {
						fds := []unix.PollFd{{Fd: int32(eq.EventFD()), Events: unix.POLLIN}}
						if _, err := unix.Poll(fds, 20000); err != nil && !errors.Is(err, unix.EINTR) {
							t.Fatal(err)
						}
					}
					if time.Now().After(limit) {
						t.Fatal("no completion")
					}
				}
			}
		})
	}
}

func TestUnknownEngineIsRefused(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 4096)
	n := mustOpen(t, path, engine.OpenFlags{Leaf: engine.LeafOptions{Engine: "sg"}}).Node().(*Node)
	if _, err := n.OpenQueue(ctx, engine.QueueConfig{Poller: engine.NewPoller(), Depth: 1}); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("%v, want ErrUnsupported", err)
	}
}

func TestEngineWishesInOrder(t *testing.T) {
	for _, c := range []struct{ leaf, option, program, want string }{
		{"", "", "", "io_uring"},
		{"", "", "threads", "threads"},
		{"", "native", "threads", "io_uring"},
		{"", "threads", "io_uring", "threads"},
		{"psync", "threads", "io_uring", "psync"},
	} {
		n := &Node{opt: Options{AIO: c.option}, flags: engine.OpenFlags{AIO: c.program, Leaf: engine.LeafOptions{Engine: c.leaf}}}
		if got := n.engineOf(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestQueueSaysWhatItLacks(t *testing.T) {
	path, _ := makeFile(t, t.TempDir(), 4096)
	b := makeBed(t, path, wish{poll: true})
	notes := b.q.(interface{ Notes() []string }).Notes()
	if len(notes) != 1 || notes[0] != "completions are not polled for: only I/O that bypasses the page cache (direct=1) can be" {
		t.Errorf("notes %q", notes)
	}
}

func TestNothingIsAllocatedPerRequest(t *testing.T) {
	enginetest.Long(t)
	for _, w := range wishes {
		t.Run(w.name, func(t *testing.T) {
			path, _ := makeFile(t, t.TempDir(), 1<<20)
			b := makeBed(t, path, w)
			reqs := make([]*engine.Request, bedDepth)
			for i := range reqs {
				b.reqs[i] = engine.Request{Op: engine.OpRead, Off: int64(i) * 4096, Len: 4096, Buf: b.handle(i)}
				reqs[i] = &b.reqs[i]
			}
			done := make([]*engine.Request, bedDepth)
			round := func() {
				if b.q.Submit(reqs) != bedDepth {
					t.Fatal("not taken")
				}
				if err := b.q.Kick(); err != nil {
					t.Fatal(err)
				}
				for got := 0; got < bedDepth; {
					k := b.q.Poll(done)
					if got += k; k == 0 {
						runtime.Gosched() // the threads want the processor too
					}
				}
			}
			for range 50 { // threads start
				round()
			}
			if n := testing.AllocsPerRun(100, round); n != 0 {
				t.Errorf("%v allocations in %d requests", n, bedDepth)
			}
		})
	}
}

func ExampleDriver() {
	d := Driver()
	fmt.Println(d.Name, d.Aliases, d.Help)
	// Output: file [host_device host_cdrom] a file or block device of this machine
}

func TestWhatCannotBeTriedGoesToAWorker(t *testing.T) {
	places(t, func(t *testing.T, dir string) {
		for _, w := range wishes[:2] {
			path, _ := makeFile(t, dir, 65536)
			b := makeBed(t, path, w)
			want := strings.HasSuffix(t.Name(), "tmpfs")
			if async := b.q.(*ringQueue).flags&uring.SQEAsync != 0; async != want {
				t.Errorf("%s: to a worker: %v, want %v", w.name, async, want)
			}
			if err := errors.Join(b.q.Close(), b.node.Close()); err != nil {
				t.Fatal(err)
			}
			b.q = &psyncQueue{node: b.node}
		}
	})
}

// Registered memory comes in pieces of 1 GiB: requests in the second, and over the border.
func TestBuffersBeyondOneGiB(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than 1 GiB of memory")
	}
	lock(t)
	path, content := makeFile(t, t.TempDir(), 65536)
	n := mustOpen(t, path, engine.OpenFlags{}).Node().(*Node)
	const gib = 1 << uring.BufferShift
	arena, err := dma.New(dma.Config{Size: gib + 1<<20, NoHuge: true})
	requires(t, err == nil, "1 GiB of memory")
	t.Cleanup(func() { arena.Close() })
	buf, err := arena.Alloc(gib + 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	q, err := n.OpenQueue(ctx, engine.QueueConfig{Poller: engine.NewPoller(), Depth: 4, Arenas: []*dma.Arena{arena}})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if rq, ok := q.(*ringQueue); !ok || len(rq.buffers) != 1 {
		requires(t, false, "registered buffers")
	}
	for _, at := range []uint32{0, gib - 65536, gib - 4096, gib - 1, gib, gib + 4096} {
		r := &engine.Request{Op: engine.OpRead, Len: 65536, Buf: buf.Add(at)}
		if q.Submit([]*engine.Request{r}) != 1 {
			t.Fatal("not taken")
		}
		for done := make([]*engine.Request, 1); q.Poll(done) == 0; {
			if err := q.Wait(time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if r.Res != 65536 || !bytes.Equal(arena.Bytes(r.Buf, 65536), content) {
			t.Errorf("at %#x: result %d, or other data", at, r.Res)
		}
	}
}

func TestBufferOutsideTheArenasIsRefused(t *testing.T) {
	for _, w := range wishes {
		t.Run(w.name, func(t *testing.T) {
			path, _ := makeFile(t, t.TempDir(), 4096)
			b := makeBed(t, path, w)
			for _, op := range []engine.Op{engine.OpRead, engine.OpWrite} {
				r := &engine.Request{Op: op, Len: 4096, Buf: dma.Handle(uint64(dma.MaxArenas-1) << 48)}
				if b.do(t, r); r.Res != -int32(unix.EFAULT) {
					t.Errorf("%s: %d, want %d", op, r.Res, -int32(unix.EFAULT))
				}
			}
		})
	}
}

// A batch larger than the ring goes in parts; completions that need no ring count as in flight until they
// are polled.
func TestLargeBatches(t *testing.T) {
	for _, w := range []wish{{name: "io_uring"}, {name: "unsafe", cache: engine.Cache{NoFlush: true}}} {
		t.Run(w.name, func(t *testing.T) {
			lock(t)
			path, _ := makeFile(t, t.TempDir(), 4096)
			n := mustOpen(t, path, engine.OpenFlags{Write: true, Cache: w.cache}).Node().(*Node)
			const depth = 1000
			q, err := n.OpenQueue(ctx, engine.QueueConfig{Poller: engine.NewPoller(), Depth: depth})
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			reqs := make([]*engine.Request, depth+1)
			for i := range reqs {
				reqs[i] = &engine.Request{Op: engine.OpNop}
				if i%2 == 0 {
					reqs[i].Op = engine.OpFlush
				}
			}
			if n := q.Submit(reqs); n != depth {
				t.Errorf("%d taken, want %d", n, depth)
			}
			if n := q.Submit(reqs[depth:]); n != 0 {
				t.Errorf("%d more taken by a full queue", n)
			}
			seen := map[*engine.Request]int{}
			done := make([]*engine.Request, 64)
			for limit := time.Now().Add(20 * time.Second); len(seen) < depth; {
				k := q.Poll(done)
				for _, r := range done[:k] {
					seen[r]++
				}
				if k == 0 {
					if err := q.Wait(time.Second); err != nil {
						t.Fatal(err)
					}
				}
				if time.Now().After(limit) {
					t.Fatalf("%d of %d came back", len(seen), depth)
				}
			}
			for r, n := range seen {
				if n != 1 || r.Res != 0 {
					t.Fatalf("%s came back %d times with %d", r.Op, n, r.Res)
				}
			}
		})
	}
}

// What is cancelled though nobody asked for it is tried again: the kernel does that to a thread with signals.
func TestCancelledRequestsAreTriedAgain(t *testing.T) {
	enginetest.Long(t)
	path, content := makeFile(t, inMemory(t), bedDepth*4096) // where each read waits for a worker
	b := makeBed(t, path, wish{})
	q := b.q.(*ringQueue)
	other, err := q.client.Reactor().Join(bedDepth)
	if err != nil {
		t.Fatal(err)
	}
	cancelled := 0
	for range 50 {
		var reqs []*engine.Request
		for i := range b.reqs {
			b.reqs[i] = engine.Request{Op: engine.OpRead, Off: int64(i) * 4096, Len: 4096, Buf: b.handle(i)}
			reqs = append(reqs, &b.reqs[i])
			clear(b.bytes(i, 4096))
		}
		if q.Submit(reqs) != len(reqs) {
			t.Fatal("not taken")
		}
		for i := range b.reqs { // those that have not been begun
			s := other.SQE()
			s.PrepCancel(q.tag | uint64(i))
			s.UserData = other.Tag()
		}
		left := len(reqs)
		done := make([]*engine.Request, 8)
		for limit := time.Now().Add(20 * time.Second); left > 0; {
			left -= q.Poll(done)
			cancelled = max(cancelled, q.vain)
			for cq, n := other.Ready(); n != 0; cq, n = other.Ready() {
				cq.Release(n)
			}
			if err := q.Wait(10 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(limit) {
				t.Fatalf("%d did not come back", left)
			}
		}
		for i, r := range reqs {
			if r.Res != 4096 || !bytes.Equal(b.bytes(i, 4096), content[i*4096:][:4096]) {
				t.Fatalf("request %d: %d, or other data", i, r.Res)
			}
		}
	}
	if cancelled == 0 {
		t.Error("nothing was cancelled")
	}
}

func TestSpuriousResultsEnd(t *testing.T) {
	q := &ringQueue{node: &Node{}}
	for _, e := range []unix.Errno{unix.EIO, unix.ENOSPC, unix.EINVAL, unix.EBADF} {
		if q.spurious(-int32(e)) {
			t.Errorf("%v is taken for nothing", e)
		}
	}
	tries := 0
	for q.spurious(-int32(unix.ECANCELED)) {
		if tries++; tries > 1<<20 {
			t.Fatal("tried for ever")
		}
	}
	if tries < 100 {
		t.Errorf("given up after %d tries", tries)
	}
	q = &ringQueue{node: &Node{flags: engine.OpenFlags{Leaf: engine.LeafOptions{NoWait: true}}}}
	if q.spurious(-int32(unix.EAGAIN)) {
		t.Error("EAGAIN is what nowait asks for")
	}
}
