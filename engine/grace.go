package engine

import (
	"context"
	"sync"
	"sync/atomic"
)

// Grace periods: when may a range that was mapped be reused?
//
// A driver goes unpublish, drain, act. "Unpublish" makes the mapping invisible to new look-ups by an atomic store. "Act" (free, move,
// shrink) is given to Defer. Between them lies a grace period: every Path and every blocking call that may have looked before the
// unpublishing has finished what it started.
//
// The domain counts barriers in seq. Defer adds one and waits until each member has passed it. Everything below rests on Go's atomics
// being sequentially consistent.
//
//   - A Path has two gates. The leaf gate counts its requests at the leaves. The map gate counts what else still uses a look-up: reads
//     that passed a mapper and then took the slow lane. A gate shows one word: the barrier it has passed, and whether it is busy; an
//     idle gate holds nobody up.
//   - The leaf gate goes busy before the first look-up. Of the two pairs (driver: unpublish, load word) and (Path: store word, look up)
//     at least one side sees the other: a driver that reads "idle" knows that the Path's look-up comes later and finds the mapping gone.
//   - A busy Path loads seq once per Poll. When it has moved, a gate flips the colour that it counts new requests under. Look-ups after
//     the load see the unpublishing, which came before the Add; look-ups before it are counted under the old colour. When the old
//     colour's count is zero the gate has passed the barrier it had seen when it flipped. The next flip waits for that, so two colours
//     suffice.
//   - A request moves from the leaf gate's care to the map gate's before the leaf gate passes anything; so the domain reads all leaf gates
//     first and all map gates after: what has left the one is seen in the other. A request at a leaf never changes gates: a short
//     transfer goes on at the leaf under the colour it had.
//   - The map gate is held, passing nothing, while the Path walks a graph that was exchanged meanwhile, and while it sleeps over walks that
//     are not at their end: both have look-ups to come in what may be about to go.
//   - Blocking calls are counted in two colours as well, by Enter and Exit. Enter counts, and looks again whether the colour still holds;
//     a call that sees the colour of before a flip is waited for.
//
// The gates are apart because of SyncPaths, by which a blocking call waits for fast writes: it asks for leaf gates only. The call may
// itself be a request that a Path counts in its map gate, and would wait for itself. So a write may use a look-up at a leaf only. One that
// passed a mapper and that no leaf takes (its place is not aligned, lies past the end, is locked, must be durable; a deeper mapper says
// nothing) begins again at the blocking methods of the first mapper, whose driver keeps its own calls apart from the verbs that call
// SyncPaths. For the same reason a Path that sleeps with nothing
// at its leaves leaves its leaf gate: the request that would wake it may be the one that waits for it.
//
// Deferred work runs on a goroutine of the domain, never on a Path's thread or under a driver's lock; it may call SyncPaths and
// Synchronize, because the goroutine that finds out what is due is another one. It must not wait for other deferred work: references
// are given back by Retire, since closing a node may do that.
//
// A Path that is busy and whose owner stops polling holds up reclamation: space is then not reused, which is safe.

// Domain is the set of Paths and calls that a driver's Defer waits for. One per process is the rule ([DefaultDomain]); tests have
// their own.
type Domain struct {
	seq     atomic.Uint64
	colour  atomic.Uint32
	readers [2]paddedCount
	waiting atomic.Int32 // how much is pending: whether anybody wants to hear of progress
	wake    chan struct{}

	mu      sync.Mutex
	members []*member
	pending []deferred
	due     []func() // to be run by act, in order
	flipped uint64   // barrier of the last flip of colour
	settled uint64   // barrier up to which blocking calls have finished
	running bool     // run has a goroutine
	acting  bool     // act has one

	// step is called between the atomic steps of the protocol, for the test that tries their orders; nil otherwise.
	step func()
}

type paddedCount struct {
	n atomic.Int64
	_ [56]byte
}

// deferred is what waits for a barrier: work, or somebody's channel to be closed.
type deferred struct {
	seq       uint64
	pathsOnly bool
	fn        func()
	done      chan struct{}
}

// member is a Path's part in the protocol.
type member struct{ leaf, maps post }

// post is what a gate shows: the barrier passed, shifted left by one, and a low bit that says busy.
type post struct {
	word atomic.Uint64
	_    [56]byte
}

var defaultDomain = sync.OnceValue(NewDomain)

// DefaultDomain is the domain of everything opened through a registry.
func DefaultDomain() *Domain { return defaultDomain() }

// NewDomain makes a domain of its own.
func NewDomain() *Domain { return &Domain{wake: make(chan struct{}, 1)} }

func (d *Domain) yield() {
	if d.step != nil {
		d.step()
	}
}

// Enter marks the start of a blocking call that looks at mappings; Exit, with what Enter returned, its end.
func (d *Domain) Enter() uint32 {
	for {
		c := d.colour.Load() & 1
		d.yield()
		d.readers[c].n.Add(1)
		d.yield()
		if d.colour.Load()&1 == c {
			return c
		}
		d.Exit(c)
	}
}

// Exit ends what Enter began.
func (d *Domain) Exit(c uint32) {
	if d.readers[c].n.Add(-1) == 0 && d.waiting.Load() > 0 {
		d.notify()
	}
}

// Defer runs fn on a goroutine of the domain after a grace period, in the order of the calls. It never blocks; a driver may hold its
// locks.
func (d *Domain) Defer(fn func()) { d.enqueue(deferred{fn: fn}) }

// Synchronize waits for a grace period. It must not be called between Enter and Exit, which includes every method of a Node that a Ref
// calls for data, nor under a driver's lock or on a Path's thread.
func (d *Domain) Synchronize(ctx context.Context) error { return d.wait(ctx, false) }

// SyncPaths waits until every Path has finished the leaf requests that it had submitted before. It may be called inside a blocking
// call, not on a Path's thread.
func (d *Domain) SyncPaths(ctx context.Context) error { return d.wait(ctx, true) }

// Barrier waits until everything that was deferred before has run; for a driver's Close. It must not be called where Synchronize must
// not, nor by deferred work.
func (d *Domain) Barrier(ctx context.Context) error {
	done := make(chan struct{})
	d.Defer(func() { close(done) })
	return await(ctx, done)
}

func (d *Domain) wait(ctx context.Context, pathsOnly bool) error {
	done := make(chan struct{})
	d.enqueue(deferred{pathsOnly: pathsOnly, done: done})
	return await(ctx, done)
}

func await(ctx context.Context, done chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Domain) enqueue(p deferred) {
	d.mu.Lock()
	d.waiting.Add(1)
	p.seq = d.seq.Add(1)
	d.pending = append(d.pending, p)
	if !d.running {
		d.running = true
		go d.run()
	}
	d.mu.Unlock()
	d.notify()
}

func (d *Domain) notify() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run finds out what is due; it ends when nothing is pending.
func (d *Domain) run() {
	for range d.wake {
		if d.collect() {
			return
		}
	}
}

// act runs deferred work; it ends when there is none.
func (d *Domain) act() {
	for {
		d.mu.Lock()
		if len(d.due) == 0 {
			d.acting = false
			d.mu.Unlock()
			return
		}
		fn := d.due[0]
		d.due = d.due[1:]
		d.mu.Unlock()
		fn()
	}
}

// collect hands on what is due, and reports whether nothing is pending any more and run's goroutine has ended.
func (d *Domain) collect() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	leaves := d.passed(func(m *member) *post { return &m.leaf })
	d.yield()
	maps := d.passed(func(m *member) *post { return &m.maps })
	d.yield()
	d.settleReaders()
	kept := d.pending[:0]
	for _, p := range d.pending {
		switch {
		case p.seq > leaves || (!p.pathsOnly && p.seq > min(maps, d.settled)):
			kept = append(kept, p)
			continue
		case p.done != nil:
			close(p.done)
		default:
			d.due = append(d.due, p.fn)
		}
		d.waiting.Add(-1)
	}
	clear(d.pending[len(kept):])
	d.pending = kept
	if len(d.due) > 0 && !d.acting {
		d.acting = true
		go d.act()
	}
	if len(kept) == 0 {
		d.running = false
	}
	return len(kept) == 0
}

// passed returns the barrier that every Path's gate has passed.
func (d *Domain) passed(gate func(*member) *post) uint64 {
	low := d.seq.Load()
	for _, m := range d.members {
		if w := gate(m).word.Load(); w&1 != 0 {
			low = min(low, w>>1)
		}
	}
	return low
}

// settleReaders moves the colours of blocking calls on as far as they have drained: a call that sees the flip of another barrier is
// counted apart from those that don't.
func (d *Domain) settleReaders() {
	for d.readers[(d.colour.Load()&1)^1].n.Load() == 0 {
		d.settled = d.flipped
		seq := d.seq.Load()
		if d.settled == seq {
			return
		}
		d.yield()
		d.flipped = seq
		d.colour.Add(1)
		d.yield()
	}
}

func (d *Domain) join() *member {
	m := new(member)
	d.mu.Lock()
	d.members = append(d.members, m)
	d.mu.Unlock()
	return m
}

func (d *Domain) leave(m *member) {
	d.mu.Lock()
	for i, o := range d.members {
		if o == m {
			last := len(d.members) - 1
			d.members[i] = d.members[last]
			d.members[last] = nil
			d.members = d.members[:last]
			break
		}
	}
	d.mu.Unlock()
	d.notify()
}

// gate is the Path's side of a post: requests counted in two colours. The Path's thread only.
type gate struct {
	post     *post
	n        [2]int32
	colour   uint8
	busy     bool
	flipping bool   // the old colour is draining
	seen     uint64 // barrier of the last flip
	passed   uint64
}

func (g *gate) empty() bool { return g.n[0]|g.n[1] == 0 }

// enter goes busy: barriers after the one given are not passed. Nothing is counted yet.
func (g *gate) enter(seen uint64) {
	g.busy, g.flipping = true, false
	g.seen, g.passed = seen, seen
	g.post.word.Store(seen<<1 | 1)
}

// leave goes idle; nothing is counted any more, and nothing will be looked up before the next enter.
func (g *gate) leave() {
	g.busy = false
	g.post.word.Store(0)
}

// look notes that the Path has seen barrier s, and reports whether a barrier was passed.
func (g *gate) look(s uint64) bool {
	before := g.passed
	for {
		if g.flipping {
			if g.n[g.colour^1] != 0 {
				break
			}
			g.flipping, g.passed = false, g.seen
		}
		if s == g.seen {
			break
		}
		g.seen, g.flipping = s, true
		g.colour ^= 1
	}
	if g.passed == before {
		return false
	}
	g.post.word.Store(g.passed<<1 | 1)
	return true
}

// goBusy is called before look-ups. The leaf gate's last barrier is an old one after a pause; that is the safe side.
func (p *Path) goBusy() {
	p.domain.yield()
	p.leaf.enter(p.leaf.seen)
	p.domain.yield()
}

// goIdle is called when nothing is in flight.
func (p *Path) goIdle() {
	if p.leaf.busy {
		p.leaf.leave()
	}
	if p.maps.busy {
		p.maps.leave()
	}
	p.tellDomain()
}

// doze leaves the leaf gate before a sleep with nothing at the leaves. Walks that are not at their end hold the map gate instead.
func (p *Path) doze() {
	if !p.leaf.busy || !p.leaf.empty() {
		return
	}
	switch {
	case len(p.freeWalks) < len(p.walks):
		p.holdMaps()
	case p.maps.busy && p.maps.empty():
		p.maps.leave()
	}
	p.leaf.leave()
	p.tellDomain()
}

// holdMaps makes the map gate busy, if it is not.
func (p *Path) holdMaps() {
	if !p.maps.busy {
		p.maps.enter(p.leaf.seen)
		p.domain.yield()
	}
}

// quiesce looks at the domain's barrier, once per Poll.
func (p *Path) quiesce() {
	if s := p.domain.seq.Load(); s != p.quiet {
		p.pass(s)
	}
}

// pass goes through the gates as far as possible. The graph's generation is loaded after the barrier: a driver exchanges a child, moves
// the generation and then defers.
func (p *Path) pass(s uint64) {
	moved, stale := false, graphGen.Load() != p.gen
	switch {
	case stale:
		p.holdMaps()
	case p.maps.busy:
		moved = p.maps.look(s)
		if p.maps.empty() {
			p.maps.leave()
			moved = true
		}
	}
	p.domain.yield()
	if p.leaf.busy && p.leaf.look(s) {
		moved = true
	}
	if !stale && p.leaf.passed == s && (!p.maps.busy || p.maps.passed == s) {
		p.quiet = s
	}
	if moved {
		p.tellDomain()
	}
}

func (p *Path) tellDomain() {
	if p.domain.waiting.Load() > 0 {
		p.domain.notify()
	}
}
