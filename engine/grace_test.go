package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine/dma"
)

// The scenarios of this file drive a Domain, a Path over a leaf whose completions are released by hand, blocking calls and a driver that
// unpublishes and defers, in all orders of their atomic steps up to a number of preemptions. Places are offsets in the leaf; a place is
// free when the deferred work has run, and whoever uses a free place fails the order.

const placeSize = 1 << 16

// graceBed is the common part of the scenarios. It stands in for the domain's goroutines.
type graceBed struct {
	x       *explorer
	d       *Domain
	path    *Path
	leaf    *handLeaf
	mapper  *oneMapping
	freed   map[int64]bool
	deferts int // how often Defer was called, and how many have run
	ran     int
	locked  bool // the domain's lock is held by an actor that yields
	over    bool // the Path's owner has ended
	err     error
}

func (b *graceBed) failf(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// use reports a use of a place that may be freed.
func (b *graceBed) use(what string, place int64) {
	if b.freed[place/placeSize*placeSize] {
		b.failf("%s at place %d, which is free", what, place/placeSize)
	}
}

// handLeaf is a leaf whose requests end when release says so.
type handLeaf struct {
	idleLeaf
	b     *graceBed
	queue *handQueue
	place int64 // added to offsets, to tell leaves apart

	lastOut bool
}

type handQueue struct {
	leaf     *handLeaf
	taken    []*Request // the first of them released
	released int
	lastOut  bool // the latest request ends first
}

func (l *handLeaf) OpenQueue(context.Context, QueueConfig) (Queue, error) {
	l.queue = &handQueue{leaf: l, lastOut: l.lastOut}
	return l.queue, nil
}

func (q *handQueue) Submit(reqs []*Request) int {
	for _, r := range reqs {
		q.leaf.b.use("submission", q.leaf.place+r.Off)
	}
	q.taken = append(q.taken, reqs...)
	return len(reqs)
}

func (q *handQueue) Poll(done []*Request) int {
	n := min(len(done), q.released)
	for i, r := range q.taken[:n] {
		r.Res = int32(r.Len)
		done[i] = r
	}
	q.taken = append([]*Request(nil), q.taken[n:]...)
	q.released -= n
	return n
}

// release ends the next request: until now the device may have touched its place.
func (q *handQueue) release() {
	at := q.released
	if q.lastOut {
		at = len(q.taken) - 1
	}
	r := q.taken[at]
	q.leaf.b.use("completion", q.leaf.place+r.Off)
	copy(q.taken[q.released+1:], q.taken[q.released:at])
	q.taken[q.released] = r
	q.released++
}

func (q *handQueue) Kick() error              { return nil }
func (q *handQueue) Wait(time.Duration) error { return nil }
func (q *handQueue) Close() error             { return nil }

// oneMapping maps everything to one place, which the driver changes; look-ups yield on both sides of the load.
type oneMapping struct {
	idleLeaf
	b     *graceBed
	place atomic.Int64
	run   int64 // at most so long a run; 0: no limit
	miss  bool  // the first run is not known
	child atomic.Pointer[Ref]
}

func (m *oneMapping) OpenQueue()        {}
func (m *oneMapping) Children() []Child { return []Child{{Name: "file", Ref: m.child.Load()}} }
func (m *oneMapping) Map(_ Op, off, n int64) (Mapping, bool) {
	m.b.x.yield()
	at := m.place.Load()
	m.b.x.yield()
	if m.miss && off < m.run {
		return Mapping{}, false
	}
	if m.run > 0 {
		n = min(n, m.run)
	}
	return Mapping{Off: at + off, Len: n}, true
}

// newGraceBed makes a Path over a mapper over a hand leaf. Nothing of it runs by itself.
func newGraceBed(x *explorer, align uint32, depth int) *graceBed {
	b := &graceBed{x: x, d: NewDomain(), freed: map[int64]bool{}}
	b.d.running, b.d.acting = true, true
	b.leaf = &handLeaf{idleLeaf: idleLeaf{size: 1 << 30, lim: Limits{RequestAlign: align}}, b: b}
	b.mapper = &oneMapping{idleLeaf: idleLeaf{size: placeSize}, b: b}
	b.mapper.child.Store(newRef(b.leaf, OpenFlags{Write: true}, b.d))
	b.d.step = x.yield
	p, err := OpenPath(context.Background(), newRef(b.mapper, OpenFlags{Write: true}, b.d),
		PathConfig{Poller: NewPoller(), Depth: depth, Workers: 1})
	if err != nil {
		panic(err)
	}
	p.lane.started = p.lane.workers // the scenario works itself
	b.path = p
	return b
}

// collect is one round of the domain's goroutines.
func (b *graceBed) collect() {
	b.locked = true
	b.d.collect()
	b.locked = false
	b.d.running = true
	for _, fn := range b.d.due {
		fn()
	}
	b.d.due = nil
}

// wakeups does the rounds that the domain is woken for.
func (b *graceBed) wakeups() {
	for len(b.d.wake) > 0 {
		<-b.d.wake
		b.collect()
	}
}

// collector looks what is due whenever it is woken, as the domain's goroutine does, until all others have ended.
func (b *graceBed) collector() {
	b.x.actor("collect", func(a *actor) {
		for {
			b.x.await(a, func() bool { return len(b.d.wake) > 0 || b.x.alone(a) })
			if len(b.d.wake) == 0 {
				return
			}
			<-b.d.wake
			b.collect()
		}
	})
}

// moves is a driver that moves the mapping n times: publish the new place, and free the old one after a grace period.
func (b *graceBed) moves(n int) {
	b.x.actor("move", func(a *actor) {
		for i := range int64(n) {
			b.mapper.place.Store((i + 1) * placeSize)
			b.x.yield()
			b.enqueue(a, func() { b.freed[i*placeSize] = true })
		}
	})
}

func (b *graceBed) enqueue(a *actor, fn func()) {
	b.x.await(a, func() bool { return !b.locked })
	b.deferts++
	b.d.Defer(func() { b.ran++; fn() })
}

// device ends up to n requests at the leaf, and at others.
func (b *graceBed) device(n int, others ...*handLeaf) {
	b.x.actor("device", func(a *actor) {
		for range n {
			var q *handQueue
			b.x.await(a, func() bool {
				for _, l := range append(others, b.leaf) {
					if q = l.queue; q != nil && len(q.taken) > q.released {
						return true
					}
				}
				return b.over
			})
			if b.over {
				return
			}
			q.release()
		}
	})
}

// worker is the slow lane's: it ends up to n requests.
func (b *graceBed) worker(n int) {
	b.x.actor("worker", func(a *actor) {
		for range n {
			b.x.await(a, func() bool { return len(b.path.lane.ch) > 0 || b.over })
			if b.over {
				return
			}
			r := <-b.path.lane.ch
			b.x.yield()
			b.use("slow lane", r.ref.st.node.(*handLeaf).place+r.Off)
			r.Res = int32(r.Len)
			b.path.lane.finish(r)
		}
	})
}

// ender is the device, or the worker where runs do not fit the leaf.
func (b *graceBed) ender(run uint32, n int, others ...*handLeaf) {
	if run%512 == 0 {
		b.device(n, others...)
	} else {
		b.worker(n)
	}
}

// requests is a Path's owner: it submits reads one after the other, as far as they are taken, and polls until all are complete. doze
// says that it prepares to sleep after each Poll that gave nothing.
func (b *graceBed) requests(n int, length uint32, doze bool) {
	slab, done := make([]Request, n), make([]*Request, n)
	b.x.actor("path", func(a *actor) {
		sent, got := 0, 0
		for got < n {
			before := sent
			if sent < n {
				r := &slab[sent]
				r.Op, r.Len = OpRead, length
				sent += b.path.Submit([]*Request{r})
				b.x.yield()
			}
			k := b.path.Poll(done)
			for _, r := range done[:k] {
				if r.Err() != nil {
					b.failf("request: %v", r.Err())
				}
			}
			got += k
			switch {
			case k > 0 || got == n:
				b.x.yield()
				continue
			case doze:
				b.path.doze()
			}
			if sent == before {
				b.x.await(a, b.somethingToPoll)
			} else {
				b.x.yield()
			}
		}
		b.over = true
	})
}

func (b *graceBed) somethingToPoll() bool {
	for _, l := range b.path.leaves {
		if l.q.(*handQueue).released > 0 {
			return true
		}
	}
	return b.path.lane.pending()
}

// check ends the scenario: everything deferred runs in the end.
func (b *graceBed) check() error {
	b.d.step, b.x.current = nil, nil
	if b.err != nil {
		return b.err
	}
	if n := b.path.InFlight(); n != 0 {
		return fmt.Errorf("%d requests in flight", n)
	}
	if b.ran != b.deferts {
		return fmt.Errorf("%d of %d deferred calls have run", b.ran, b.deferts)
	}
	return errors.Join(b.err, b.path.Close())
}

var deep = flag.Bool("deep", false, "try orders with one preemption more: minutes")

// graceBound is the number of preemptions; large scenarios have none in the short run.
func graceBound(large bool) int {
	switch {
	case *deep:
		return 2
	case large && testing.Short():
		return 0
	}
	return 1
}

func TestGraceLeaf(t *testing.T) {
	for _, doze := range []bool{false, true} {
		t.Run(fmt.Sprintf("doze=%v", doze), func(t *testing.T) {
			explore(t, graceBound(false), func(x *explorer) func() error {
				b := newGraceBed(x, 1, 2)
				b.requests(2, 512, doze)
				b.device(2)
				b.moves(2)
				b.collector()
				return b.check
			})
		})
	}
}

// TestGraceSlow has requests that pass the mapper and then take the slow lane, because they do not fit the leaf.
func TestGraceSlow(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short")
	}
	for _, doze := range []bool{false, true} {
		t.Run(fmt.Sprintf("doze=%v", doze), func(t *testing.T) {
			explore(t, graceBound(false), func(x *explorer) func() error {
				b := newGraceBed(x, 512, 2)
				b.requests(2, 100, doze)
				b.worker(2)
				b.moves(2)
				b.collector()
				return b.check
			})
		})
	}
}

// TestGraceWalk has a request that breaks up, with one piece in the slab: the walk stalls, and looks up again from Poll. Its pieces go
// to the leaf, or do not fit and take the slow lane.
func TestGraceWalk(t *testing.T) {
	if testing.Short() {
		t.Skip("left out by -short")
	}
	walkWays(t, func(t *testing.T, run uint32, doze bool) {
		explore(t, graceBound(false), func(x *explorer) func() error {
			b := newGraceBed(x, 512, 1)
			b.mapper.run = int64(run)
			b.path.free = b.path.free[:1]
			b.requests(1, 2*run, doze)
			b.ender(run, 2)
			b.moves(2)
			b.collector()
			return b.check
		})
	})
}

func walkWays(t *testing.T, f func(t *testing.T, run uint32, doze bool)) {
	for _, way := range []struct {
		name string
		run  uint32
	}{{"leaf", 512}, {"slow", 100}} {
		for _, doze := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/doze=%v", way.name, doze), func(t *testing.T) { f(t, way.run, doze) })
		}
	}
}

// TestGraceBlocking has blocking calls between Enter and Exit.
func TestGraceBlocking(t *testing.T) {
	explore(t, graceBound(false), func(x *explorer) func() error {
		b := newGraceBed(x, 1, 1)
		for i := range 2 {
			x.actor(fmt.Sprint("reader", i), func(*actor) {
				for range 2 - i {
					tok := b.d.Enter()
					at := b.mapper.place.Load()
					b.x.yield()
					b.use("blocking call", at)
					b.d.Exit(tok)
				}
			})
		}
		b.moves(2)
		b.collector()
		return b.check
	})
}

// TestGraceExchange exchanges the child below a walk that is not at its end: the old child must not be used after its grace period.
func TestGraceExchange(t *testing.T) {
	walkWays(t, func(t *testing.T, run uint32, doze bool) {
		bound := graceBound(true)
		if run%512 != 0 && !*deep {
			bound = 0 // what interrupts a walk is the same by both ways
		}
		explore(t, bound, func(x *explorer) func() error {
			b := newGraceBed(x, 512, 1)
			b.mapper.run = int64(run)
			b.path.free = b.path.free[:1]
			second := &handLeaf{idleLeaf: b.leaf.idleLeaf, b: b, place: 7 * placeSize}
			b.requests(2, 2*run, doze)
			b.ender(run, 4, second)
			x.actor("exchange", func(a *actor) {
				b.mapper.child.Store(newRef(second, OpenFlags{Write: true}, b.d))
				b.x.yield()
				GraphChanged()
				b.x.yield()
				b.enqueue(a, func() { b.freed[0] = true })
			})
			b.collector()
			return b.check
		})
	})
}

// TestRangeLock has a read-modify-write beside fast writes of the same block: from the end of its wait for the Paths to the end of its
// lock no fast write is at the leaf, and none of them waits for ever.
func TestRangeLock(t *testing.T) {
	a, err := dma.New(dma.Config{Size: 4096, NoHuge: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	buf, err := a.Alloc(4096)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []Op{OpWrite, OpZero} {
		t.Run(op.String(), func(t *testing.T) {
			explore(t, graceBound(true), func(x *explorer) func() error {
				b := &graceBed{x: x, d: NewDomain(), freed: map[int64]bool{}}
				b.d.running, b.d.acting = true, true
				b.leaf = &handLeaf{idleLeaf: idleLeaf{size: 1 << 20, lim: Limits{RequestAlign: 512}, caps: CapZero}, b: b}
				ref := newRef(b.leaf, OpenFlags{Write: true}, b.d)
				b.d.step = x.yield
				p, err := OpenPath(context.Background(), ref, PathConfig{Poller: NewPoller(), Depth: 2, Workers: 1})
				if err != nil {
					return func() error { return err }
				}
				p.leaves[0].ops[OpZero] = true
				p.lane.started = p.lane.workers
				b.path = p
				b.writes(ref, op, buf)
				b.modifier(ref)
				b.collector()
				return b.check
			})
		})
	}
}

// writes submits two writes of the first block, and ends those that take the slow lane once the range lock lets them.
func (b *graceBed) writes(ref *Ref, op Op, buf dma.Handle) {
	slab, done := make([]Request, 2), make([]*Request, 2)
	b.x.actor("path", func(a *actor) {
		for i := range slab {
			slab[i] = Request{Op: op, Len: 512, Buf: buf}
			b.path.Submit([]*Request{&slab[i]})
			b.x.yield()
			b.path.Poll(done)
			b.x.yield()
		}
		for b.path.InFlight() > 0 {
			b.path.doze()
			b.x.await(a, b.somethingToPoll)
			b.path.Poll(done)
		}
		b.over = true
	})
	b.device(2)
	b.x.actor("worker", func(a *actor) {
		for {
			b.x.await(a, func() bool { return b.over || len(b.path.lane.ch) > 0 })
			if b.over {
				return
			}
			r := <-b.path.lane.ch
			b.x.await(a, func() bool { return !ref.st.locks.conflicts(0, 512, false) })
			b.path.lane.finish(r)
		}
	})
}

// modifier is what Ref.modify does, without what it waits on channels for.
func (b *graceBed) modifier(ref *Ref) {
	b.x.actor("modify", func(a *actor) {
		lock := ref.st.locks.lock(0, 512, true)
		b.x.await(a, func() bool { return !b.locked })
		synced := make(chan struct{})
		b.d.enqueue(deferred{pathsOnly: true, done: synced})
		b.x.await(a, func() bool {
			select {
			case <-synced:
				return true
			default:
				return false
			}
		})
		if q := b.leaf.queue; len(q.taken) > q.released {
			b.failf("%d fast writes at the leaf when the block is read", len(q.taken)-q.released)
		}
		b.freed[0] = true // nobody may use the block now
		b.x.yield()
		b.freed[0] = false
		ref.st.locks.unlock(lock)
	})
}

// TestGraceHandover is the smallest case of a request that leaves the leaf gate's care for the map gate's: with more preemptions, for
// the order in which the domain reads the gates.
func TestGraceHandover(t *testing.T) {
	if testing.Short() {
		t.Skip("three preemptions take seconds")
	}
	explore(t, 3, func(x *explorer) func() error {
		b := newGraceBed(x, 512, 1)
		b.requests(1, 100, false)
		b.worker(1)
		b.moves(1)
		b.collector()
		return b.check
	})
}

// TestGraceLastOut ends the latest request first: what was submitted before two barriers outlives what came between them.
func TestGraceLastOut(t *testing.T) {
	b := newGraceBed(&explorer{}, 1, 4)
	b.d.step = nil
	b.leaf.queue.lastOut = true
	slab, done := make([]Request, 3), make([]*Request, 4)
	for i := range slab {
		slab[i] = Request{Op: OpRead, Len: 512}
		b.path.Submit([]*Request{&slab[i]})
		b.mapper.place.Add(placeSize)
		b.d.Defer(func() { b.freed[int64(i)*placeSize] = true })
		b.path.Poll(done)
		b.collect()
	}
	for range slab {
		b.leaf.queue.release()
		b.path.Poll(done)
		b.collect()
	}
	b.collect()
	if b.err != nil {
		t.Error(b.err)
	}
	if len(b.freed) != len(slab) {
		t.Errorf("%d of %d places are free in the end", len(b.freed), len(slab))
	}
}

// TestGraceBusyPath has a Path that is never idle: barriers pass all the same, by both gates.
func TestGraceBusyPath(t *testing.T) {
	for _, length := range []uint32{512, 100} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			b := newGraceBed(&explorer{}, 512, 2)
			b.d.step = nil
			slab, done := make([]Request, 2), make([]*Request, 1)
			end := func() {
				if length%512 == 0 {
					b.leaf.queue.release()
					return
				}
				r := <-b.path.lane.ch
				r.Res = int32(r.Len)
				b.path.lane.finish(r)
			}
			submit := func(r *Request) {
				*r = Request{Op: OpRead, Len: length}
				b.path.Submit([]*Request{r})
			}
			submit(&slab[0])
			ran := false
			b.d.Defer(func() { ran = true })
			for i := 1; i <= 6 && !ran; i++ {
				submit(&slab[i%2])
				end()
				b.path.Poll(done)
				if b.path.InFlight() != 1 {
					t.Fatalf("%d requests in flight", b.path.InFlight())
				}
				b.wakeups()
			}
			if !ran {
				t.Error("a barrier does not pass a Path that is busy all the time")
			}
		})
	}
}

// TestGraceDozeWakesDomain: a Path that goes to sleep with nothing at its leaves tells the domain, since what would wake it may wait for
// that.
func TestGraceDozeWakesDomain(t *testing.T) {
	b := newGraceBed(&explorer{}, 512, 1)
	b.d.step = nil
	r, done := &Request{Op: OpRead, Len: 100}, make([]*Request, 1)
	b.path.Submit([]*Request{r})
	b.path.Poll(done)
	synced := make(chan struct{})
	b.d.enqueue(deferred{pathsOnly: true, done: synced})
	b.wakeups()
	select {
	case <-synced:
		t.Fatal("a busy Path was not waited for")
	default:
	}
	b.path.doze()
	b.wakeups()
	select {
	case <-synced:
	default:
		t.Error("nobody told the domain that the Path sleeps")
	}
}

// TestGraceDozeHoldsWalk exchanges the child while the Path sleeps over a walk whose first run is with the slow lane, unmapped: the walk
// goes on over the old graph, so the old child stays until it has ended.
func TestGraceDozeHoldsWalk(t *testing.T) {
	b := newGraceBed(&explorer{}, 512, 1)
	b.d.step = nil
	b.mapper.run, b.mapper.miss = 512, true
	b.path.free = b.path.free[:1]
	r, done := &Request{Op: OpRead, Len: 1024}, make([]*Request, 1)
	b.path.startWalkFor(r, 512)
	b.path.doze()
	exchanged := false
	b.d.Defer(func() { exchanged = true })
	b.collect()
	if exchanged {
		t.Error("deferred work has run under a walk that is not at its end")
	}
	q := <-b.path.lane.ch
	q.Res = int32(q.Len)
	b.path.lane.finish(q)
	b.path.Poll(done) // the walk goes on, to the leaf
	if n := len(b.leaf.queue.taken); n != 1 {
		t.Fatalf("%d requests at the leaf after the sleep", n)
	}
	b.mapper.place.Store(placeSize)
	b.d.Defer(func() { b.freed[0] = true })
	b.path.Poll(done)
	b.collect()
	if b.freed[0] {
		t.Error("deferred work has run while a request that looked up after the sleep is at the leaf")
	}
	b.leaf.queue.release()
	b.path.Poll(done)
	b.wakeups()
	if b.err != nil || b.path.InFlight() != 0 || !b.freed[0] || !exchanged {
		t.Errorf("in the end: %v, %d in flight, freed %v, %v", b.err, b.path.InFlight(), b.freed[0], exchanged)
	}
}

// startWalkFor puts a request under way whose walk has handed on its first n bytes to the slow lane at the root, and has no piece for
// the rest.
func (p *Path) startWalkFor(r *Request, n int64) {
	p.goBusy()
	p.inFlight++
	i := p.freeWalks[len(p.freeWalks)-1]
	p.freeWalks = p.freeWalks[:len(p.freeWalks)-1]
	p.walks[i] = walk{req: r}
	r.walk = i + 1
	p.piece(i, &p.walks[i], r, &p.stages[0], run{off: r.Off, n: n}, true)
	p.stall(i)
}

// TestPathsWaitForTheirOwnRequest is the whole of it with real threads: a Path sleeps without limit over an unaligned write, whose
// read-modify-write waits for all Paths.
func TestPathsWaitForTheirOwnRequest(t *testing.T) {
	bed := newBed(t, idleRef(512))
	r := bed.reqs[0]
	r.Op, r.Off, r.Len = OpWrite, 100, 100
	if bed.path.Submit(bed.reqs[:1]) != 1 {
		t.Fatal("not taken")
	}
	for bed.path.Poll(bed.done) == 0 {
		if err := bed.path.Wait(-1); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Err(); err != nil || r.Res != 100 {
		t.Errorf("result %d, %v", r.Res, err)
	}
}
