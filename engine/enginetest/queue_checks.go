package enginetest

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// chunk is the i-th of ranges that do not overlap and fit the leaf; they end before an end that is not aligned.
func (r *queueRun) chunk(i int) (off, n int64) {
	n = max(r.align, int64(4096)/r.align*r.align)
	return int64(i) % (r.size / n) * n, n
}

// transfers: reads and writes of many sizes move the data that they name, beside each other.
func (r *queueRun) transfers() {
	sizes := []int64{r.align, 2 * r.align, max(r.align, int64(r.slot/2)/r.align*r.align), int64(r.slot) / r.align * r.align}
	for round, n := range sizes {
		each := min(2*r.depth, int(r.size/n))
		for _, op := range []engine.Op{engine.OpWrite, engine.OpRead} {
			for i := range each {
				r.set(i, op, (r.size/n-int64(each)+int64(i))*n, n, uint64(100*round+i+1))
			}
			r.all(each)
		}
	}
	r.content()
}

// operations: everything that the queue says it supports, and reads as before where it is not named.
func (r *queueRun) operations() {
	for i := range r.depth {
		off, n := r.chunk(i)
		r.set(i, engine.OpWrite, off, n, uint64(i)+1)
	}
	if r.path || r.ref.Info().Caps.Has(engine.CapFUA) {
		r.reqs[0].Flags = engine.FUA
	}
	r.all(r.depth)
	k := 0
	for _, op := range []engine.Op{engine.OpFlush, engine.OpZero, engine.OpDiscard, engine.OpNop, engine.OpRead} {
		if !r.supports(op) {
			continue
		}
		off, n := r.chunk(k)
		if op == engine.OpFlush || op == engine.OpNop {
			off, n = 0, 0
		}
		r.set(0, op, off, n, uint64(op))
		r.all(1)
		switch op {
		case engine.OpZero:
			clear(r.want[off : off+n])
			k++
		case engine.OpDiscard:
			if !r.cfg.Forgets {
				r.ok("read", r.ref.ReadAt(bg, r.want[off:off+n], off))
			}
			k++
		default:
		}
		r.content()
	}
}

// full: Submit takes requests from the front, as many as there is room for, and leaves the rest as it is; there is room again for what was
// polled.
func (r *queueRun) full() {
	total := len(r.reqs)
	for round := range 4 {
		for i := range total {
			off, n := r.chunk(i)
			r.set(i, engine.OpWrite, off, n, uint64(round*total+i+1))
			r.state[i] = reqIdle
		}
		taken := r.submit(0, total)
		if taken < min(r.cfg.Room, total) {
			r.Fatalf("an empty queue of depth %d takes %d of %d requests", r.depth, taken, total)
		}
		for i := taken; i < total; i++ {
			if r.reqs[i] != r.copy[i] {
				r.Fatalf("request %d was not taken and is changed", i)
			}
		}
		inFlight := taken
		if n := r.submit(taken, total); n > 0 {
			if taken+n > total || (r.path && inFlight+n > r.depth) {
				r.Fatalf("a full queue takes %d more", n)
			}
			taken, inFlight = taken+n, inFlight+n
		}
		r.ok("kick", r.q.Kick())
		for one := r.done[:1]; taken < total; {
			if k := r.poll(one); k > 0 {
				inFlight--
			} else {
				r.ok("wait", r.q.Wait(10*time.Millisecond))
				continue
			}
			n := r.submit(taken, total)
			if inFlight < r.cfg.Room && n == 0 {
				r.Fatalf("a queue with %d in flight takes nothing, an empty one %d", inFlight, r.cfg.Room)
			}
			taken, inFlight = taken+n, inFlight+n
			r.ok("kick", r.q.Kick())
		}
		r.finish(total)
		for i := range total {
			r.complete(i)
		}
		r.content()
	}
}

// fields: what is the caller's comes back as it was, and the result of an earlier use is gone.
func (r *queueRun) fields() {
	for round := range 3 {
		n := 0
		for i, op := range []engine.Op{engine.OpRead, engine.OpWrite, engine.OpFlush, engine.OpZero, engine.OpDiscard} {
			if !r.supports(op) || n == r.depth {
				continue
			}
			off, size := r.chunk(i)
			if op == engine.OpFlush {
				off, size = 0, 0
			}
			r.set(n, op, off, size, uint64(round*10+i+1))
			r.reqs[n].Fail(unix.ENOSPC)
			r.state[n] = reqIdle
			n++
		}
		for sent := 0; sent < n; {
			sent += r.submit(sent, n)
			r.finish(sent)
		}
		for i := range n {
			if err := r.reqs[i].Err(); err != nil && r.path {
				r.Fatalf("%s: %v, which may be of an earlier use", r.reqs[i].Op, err)
			}
			if r.reqs[i].Res < 0 {
				r.Fatalf("%s: result %d", r.reqs[i].Op, r.reqs[i].Res)
			}
		}
	}
}

// idle: with nothing in flight Poll has nothing and Kick nothing to do; Wait comes back in its time.
func (r *queueRun) idle() {
	for range 1000 {
		if n := r.poll(r.done); n != 0 {
			r.Fatalf("%d requests complete, and none was submitted", n)
		}
	}
	if n := r.q.Submit(nil); n != 0 {
		r.Fatalf("Submit of nothing takes %d", n)
	}
	r.ok("kick", r.q.Kick())
	for _, limit := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
		start := time.Now()
		if r.ok("wait", r.q.Wait(limit)); time.Since(start) > limit+5*time.Second {
			r.Errorf("Wait(%v) takes %v", limit, time.Since(start))
		}
	}
	if n := r.poll(nil); n != 0 {
		r.Errorf("Poll into nothing returns %d", n)
	}
}

// kicked: after Kick a request completes with nothing but Poll; each exactly once.
func (r *queueRun) kicked() {
	for i := range r.cfg.Room {
		off, n := r.chunk(i)
		r.set(i, engine.OpRead, off, n, uint64(i)+1)
	}
	n := r.submit(0, r.cfg.Room)
	r.ok("kick", r.q.Kick())
	r.ok("second kick", r.q.Kick())
	for left := n; left > 0; runtime.Gosched() {
		left -= r.poll(r.done)
	}
	if k := r.poll(r.done); k != 0 {
		r.Fatalf("%d requests more than were submitted", k)
	}
	for i := range n {
		r.complete(i)
	}
}

// waited: Wait without a limit kicks, and comes back when Poll has something.
func (r *queueRun) waited() {
	for round := range 20 {
		off, n := r.chunk(round)
		r.set(0, engine.OpWrite, off, n, uint64(round)+1)
		if r.state[0] = reqIdle; r.submit(0, 1) != 1 {
			r.Fatal("an empty queue takes nothing")
		}
		for r.state[0] != reqDone {
			r.ok("wait", r.q.Wait(-1))
			r.poll(r.done)
		}
		r.complete(0)
	}
	r.content()
}

// smallPolls: however little is asked for at a time, everything comes.
func (r *queueRun) smallPolls() {
	for round := range 3 {
		for i := range r.cfg.Room {
			off, n := r.chunk(i + round)
			r.set(i, engine.OpWrite, off, n, uint64(10*round+i)+1)
			r.state[i] = reqIdle
		}
		n := r.submit(0, r.cfg.Room)
		r.ok("kick", r.q.Kick())
		for left := n; left > 0; {
			r.poll(nil)
			k := r.poll(r.done[:1])
			if left -= k; k == 0 {
				r.ok("wait", r.q.Wait(10*time.Millisecond))
			}
		}
		for i := range n {
			r.complete(i)
		}
	}
	r.content()
}

// twoQueues: the queues of one Poller share what they like, and nothing of each other's requests.
func (r *queueRun) twoQueues() {
	r.ok("close", r.q.Close())
	p := engine.NewPoller()
	a, b := r.openQueue(p), r.openQueue(p)
	half := min(r.depth/2, r.cfg.Room)
	for i := range 2 * half {
		off, n := r.chunk(i)
		r.set(i, engine.OpWrite, off, n, uint64(i)+1)
	}
	r.q = a
	left := r.submit(0, half)
	r.q = b
	left += r.submit(half, 2*half)
	r.ok("kick", b.Kick())
	r.ok("kick", a.Kick())
	// Both in turn: a Path may wait for what its neighbour has at a leaf.
	for left > 0 {
		for _, r.q = range []engine.Queue{b, a} {
			k := r.poll(r.done)
			if left -= k; k == 0 {
				r.ok("wait", r.q.Wait(time.Millisecond))
			}
		}
	}
	r.ok("close", b.Close())
	r.q = a
	for i := range 2 * half {
		if r.state[i] == reqDone {
			r.complete(i)
		}
	}
	r.content()
	r.state[0] = reqIdle
	r.set(0, engine.OpRead, 0, r.align, 1)
	r.all(1) // a goes on without b
}

// manyThreads: queues on threads of their own do not disturb one another; what one has written the others read.
func (r *queueRun) manyThreads() {
	const threads = 3
	part := r.size / threads / 65536 * 65536
	if part == 0 {
		part = r.size / threads / r.align * r.align
	}
	var wg sync.WaitGroup
	for w := range int64(threads) {
		wg.Go(func() {
			runtime.LockOSThread()
			tr := &trial{TB: r.TB}
			err := tr.run(func() error {
				o := r.cfg.prepare(tr, r.path)
				o.ref = r.ref.Clone(r.ref.Flags())
				o.start()
				n := max(o.align, 4096)
				for round := range 10 {
					for i := range o.depth {
						o.state[i] = reqIdle
						o.set(i, engine.OpWrite, w*part+(int64(round*o.depth+i)%(part/n))*n, n, uint64(w)<<20|uint64(round*o.depth+i+1))
					}
					if int64(o.depth) <= part/n {
						o.all(o.depth)
					}
				}
				copy(r.want[w*part:(w+1)*part], o.want[w*part:])
				return nil
			})
			if err != nil {
				r.Errorf("thread %d: %v", w, err)
			}
		})
	}
	wg.Wait()
	r.content()
}

// closing: Close waits for what is in flight; after it nobody touches the buffers, and writes have arrived.
func (r *queueRun) closing() {
	for round := range 3 {
		n := r.cfg.Room
		for i := range n {
			off, size := r.chunk(i)
			r.set(i, engine.OpWrite, off, size, uint64(10*round+i)+1)
		}
		for i := range n {
			r.reqs[i].Res = int32(r.reqs[i].Len) // what is not polled may be left as it is
		}
		n = r.submit(0, n)
		if round != 1 {
			r.ok("kick", r.q.Kick())
		}
		r.ok("close", r.q.Close())
		r.q = nil
		for i := range n {
			q := &r.copy[i]
			b := dma.Bytes(q.Buf, int(q.Len))
			got := make([]byte, len(b))
			if r.ok("read", r.ref.ReadAt(bg, got, q.Off)); !r.cfg.Forgets && !bytes.Equal(got, b) && r.reqs[i].Res == int32(q.Len) {
				r.Fatalf("after the close: %s", differ(got, b, q.Off))
			}
			clear(b)
		}
		r.q = r.openQueue(engine.NewPoller())
	}
}

// events: the descriptor of an EventQueue becomes readable for what Arm did not see.
func (r *queueRun) events() {
	eq, ok := r.q.(engine.EventQueue)
	if !ok {
		return
	}
	for round := range 10 {
		off, n := r.chunk(round)
		r.set(0, engine.OpRead, off, n, 1)
		r.state[0] = reqIdle
		r.submit(0, 1)
		r.ok("kick", r.q.Kick())
		for r.state[0] != reqDone {
			if eq.Arm() {
				fds := []unix.PollFd{{Fd: int32(eq.EventFD()), Events: unix.POLLIN}}
				k, err := unix.Poll(fds, int(r.cfg.limit.Milliseconds()/2))
				if err != nil && !errors.Is(err, unix.EINTR) {
					r.Fatal(err)
				}
				if err == nil && k == 0 {
					r.Fatal("armed with a request in flight, and nothing is readable")
				}
			}
			r.poll(r.done)
		}
		r.complete(0)
	}
}

// allocations: none of the methods allocates.
func (r *queueRun) allocations() {
	n := min(4, r.cfg.Room)
	list := make([]*engine.Request, n)
	for i := range n {
		off, size := r.chunk(i)
		r.set(i, engine.OpWrite, off, size, uint64(i)+1)
		list[i] = &r.reqs[i]
	}
	cycle := func(op engine.Op) func() {
		return func() {
			for _, q := range list {
				q.Op = op
			}
			sent, got := 0, 0
			for got < n {
				sent += r.q.Submit(list[sent:])
				if r.q.Kick() != nil {
					return
				}
				if k := r.q.Poll(r.done); k > 0 {
					got += k
				} else if r.q.Wait(time.Millisecond) != nil {
					return
				}
			}
		}
	}
	for _, op := range []engine.Op{engine.OpWrite, engine.OpRead} {
		f := cycle(op)
		for range 10 {
			f() // what is taken once
		}
		if k := testing.AllocsPerRun(100, f); k > 0 {
			r.Errorf("%v allocations for %d requests (%s)", k, n, op)
		}
	}
}

// held: Poll returns at once while requests are under way, Wait after its limit, and a Wait without one when something completes.
func (r *queueRun) held() {
	release := r.hold()
	n := min(2, r.cfg.Room)
	if got := r.submit(0, n); got != n {
		r.Fatalf("an empty queue takes %d of %d", got, n)
	}
	r.ok("kick", r.q.Kick())
	for range 100 {
		if k := r.poll(r.done); k != 0 {
			r.Fatalf("%d requests complete that are held", k)
		}
	}
	for _, limit := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond} {
		if r.ok("wait", r.q.Wait(limit)); r.poll(r.done) != 0 {
			r.Fatal("a held request completes")
		}
	}
	go release(1)
	for r.state[0] != reqDone {
		r.ok("wait", r.q.Wait(-1))
		r.poll(r.done)
	}
	release(n - 1)
	r.finish(n)
}

// heldClose: Close comes back after the last request, not before.
func (r *queueRun) heldClose() {
	release := r.hold()
	n := min(2, r.cfg.Room)
	r.submit(0, n)
	r.ok("kick", r.q.Kick())
	released := make(chan struct{})
	timer := time.AfterFunc(20*time.Millisecond, func() {
		close(released)
		release(n)
	})
	defer timer.Stop()
	r.ok("close", r.q.Close())
	r.q = nil
	select {
	case <-released:
	default:
		r.Error("Close does not wait for requests in flight")
	}
}

// hold exchanges the node for one that holds requests back, with writes prepared.
func (r *queueRun) hold() (release func(n int)) {
	r.ok("close", r.q.Close())
	r.ok("close", r.ref.Close())
	r.ref, release = r.cfg.Held(r.TB, r.size)
	r.q = r.openQueue(engine.NewPoller())
	for i := range 2 {
		off, n := r.chunk(i)
		r.set(i, engine.OpWrite, off, n, uint64(i)+1)
	}
	return release
}

// errors: a request that can not be done fails with a kind, and alone.
func (r *queueRun) errors() {
	bad := []struct {
		op     engine.Op
		off, n int64
		want   error
	}{
		{engine.OpRead, -r.align, r.align, engine.ErrRange},
		{engine.OpRead, r.size, r.align, engine.ErrRange},
		{engine.OpRead, 1<<63 - 1 - r.align, r.align, engine.ErrRange},
		{engine.OpRead, r.size - r.align + 1, r.align, engine.ErrRange},
		{engine.OpDiscard, r.size - r.align + 1, r.align, engine.ErrRange},
		{engine.Op(200), 0, r.align, engine.ErrUnsupported},
	}
	if !r.ref.Info().Caps.Has(engine.CapGrowable) {
		bad = append(bad, bad[1], bad[3])
		bad[len(bad)-1].op, bad[len(bad)-2].op = engine.OpWrite, engine.OpZero
	}
	for k, c := range bad {
		r.set(0, engine.OpWrite, 0, r.align, uint64(k)+1)
		r.set(1, c.op, c.off, c.n, 1)
		r.set(2, engine.OpWrite, r.align, r.align, uint64(k)+2)
		for i := range 3 {
			r.state[i] = reqIdle
		}
		for sent := 0; sent < 3; {
			sent += r.submit(sent, 3)
			r.finish(sent)
		}
		r.complete(0)
		r.complete(2)
		if err := r.reqs[1].Err(); !errors.Is(err, c.want) {
			r.Errorf("%s at %#x+%d: %v, want %v", c.op, c.off, c.n, err, c.want)
		}
	}
	r.content()
	r.ok("close", r.q.Close())
	old := r.ref
	r.ref = old.Clone(engine.OpenFlags{})
	r.ok("close", old.Close())
	r.q = r.openQueue(engine.NewPoller())
	for _, op := range []engine.Op{engine.OpWrite, engine.OpZero, engine.OpDiscard} {
		r.set(0, op, 0, r.align, 1)
		r.state[0] = reqIdle
		r.submit(0, 1)
		if r.finish(1); !errors.Is(r.reqs[0].Err(), engine.ErrReadOnly) {
			r.Errorf("%s through a reference for reading: %v", op, r.reqs[0].Err())
		}
	}
	r.content()
}

// unaligned: a Path takes any offset, length and memory, up to an end that is not aligned.
func (r *queueRun) unaligned() {
	base := make([]dma.Handle, len(r.reqs))
	for i := range r.reqs {
		base[i] = r.reqs[i].Buf
	}
	for round, c := range [][2]int64{{1, 1}, {511, 2}, {100, 5000}, {4095, 4097}, {65535, 3}, {r.size - 1, 1}, {r.size - 700, 700}, {r.size - 5000, 5000}} {
		for k, op := range []engine.Op{engine.OpWrite, engine.OpRead, engine.OpZero, engine.OpRead} {
			r.reqs[0].Buf = base[0].Add(uint32(round % 3 * (1 + 100*(k%2))))
			r.set(0, op, c[0], c[1], uint64(10*round+k+1))
			r.state[0] = reqIdle
			if r.all(1); op == engine.OpZero {
				clear(r.want[c[0] : c[0]+c[1]])
			}
		}
	}
	r.set(0, engine.OpRead, r.size, 0, 1)
	r.state[0] = reqIdle
	r.all(1)
	r.content()
}

// history: random histories by both planes, compared with a model.
func (r *queueRun) history() {
	hc := HistoryConfig{Size: r.size, Batches: 30, Depth: 10, MaxLen: 48 << 10}
	cfg := &ReplayConfig{HistoryConfig: hc, Arena: r.cfg.Arena, Build: func(t testing.TB, _ uint64) *Graph {
		ref := r.cfg.Open(t, r.size)
		t.Cleanup(func() {
			if err := ref.Close(); err != nil {
				t.Error(err)
			}
		})
		return &Graph{Root: ref}
	}}
	r.ok("close", r.q.Close())
	r.q = nil
	r.ok("close", r.ref.Close())
	for seed := range uint64(2) {
		h := hc.Random(seed + 1)
		if err := cfg.try(r.TB, h, seed, Polled); err != nil {
			short, err := Shorten(h, err, func(h History) error { return cfg.try(r.TB, h, seed, Polled) })
			r.Fatalf("seed %d: %v\nafter\n%s", seed, err, short)
		}
	}
}
