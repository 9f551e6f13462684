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
// The domain counts barriers in seq. Defer adds one and then asks each member:
//
//   - A Path that is idle (active is 0) is quiescent. A Path goes busy by storing active=1 before its first look-up. All atomics in Go
//     are sequentially consistent, so of the two pairs (driver: unpublish, load active) and (Path: store active, look up) at least one
//     side sees the other: if the driver reads active as 0, the Path's look-up comes later and finds the mapping gone.
//   - A busy Path looks at seq once per Poll. When it has moved, the Path flips the colour that it counts new leaf requests under. Look-ups
//     after the load of seq see the unpublishing, since it came before the Add; look-ups before it are counted under the old colour.
//     When the old colour's count is zero the Path acknowledges the barrier it had seen when it flipped. A second flip waits for the
//     first, so two colours suffice. When a Path goes idle it acknowledges everything.
//   - Blocking calls are counted in two colours as well, by Enter and Exit. Enter counts, and looks again whether the colour still holds;
//     a call that sees the colour of before a flip is waited for.
//
// Requests in the slow lane are blocking calls; they are not counted as a Path's own, so a blocking call may wait for Paths (SyncPaths)
// without waiting for itself. Deferred work runs on the domain's goroutine, never on a Path's thread or under a driver's lock.
//
// A Path that is busy and whose owner stops polling holds up reclamation: space is then not reused, which is safe.

// Domain is the set of Paths and calls that a driver's Defer waits for. One per process is the rule ([DefaultDomain]); tests have
// their own.
type Domain struct {
	seq     atomic.Uint64
	colour  atomic.Uint32
	readers [2]paddedCount
	waiting atomic.Int32 // whether anybody wants to hear of acknowledgements
	wake    chan struct{}

	mu      sync.Mutex
	members []*member
	pending []deferred
	flipped uint64 // barrier of the last flip of colour
	settled uint64 // barrier up to which blocking calls have finished
	running bool
}

type paddedCount struct {
	n atomic.Int64
	_ [56]byte
}

type deferred struct {
	seq       uint64
	pathsOnly bool
	fn        func()
}

// member is a Path's part in the protocol.
type member struct {
	active atomic.Uint32
	acked  atomic.Uint64
	_      [48]byte
}

var defaultDomain = sync.OnceValue(NewDomain)

// DefaultDomain is the domain of everything opened through a registry.
func DefaultDomain() *Domain { return defaultDomain() }

// NewDomain makes a domain of its own.
func NewDomain() *Domain { return &Domain{wake: make(chan struct{}, 1)} }

// Enter marks the start of a blocking call that looks at mappings; Exit, with what Enter returned, its end.
func (d *Domain) Enter() uint32 {
	for {
		c := d.colour.Load() & 1
		d.readers[c].n.Add(1)
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

// Defer runs fn on the domain's goroutine after a grace period. It never blocks; a driver may hold its locks.
func (d *Domain) Defer(fn func()) { d.enqueue(fn, false) }

// Synchronize waits for a grace period. It must not be called between Enter and Exit, under a driver's lock or on a Path's thread.
func (d *Domain) Synchronize(ctx context.Context) error { return d.wait(ctx, false) }

// SyncPaths waits until every Path has finished the leaf requests that it had submitted before. It may be called inside a blocking
// call, not on a Path's thread.
func (d *Domain) SyncPaths(ctx context.Context) error { return d.wait(ctx, true) }

func (d *Domain) wait(ctx context.Context, pathsOnly bool) error {
	done := make(chan struct{})
	d.enqueue(func() { close(done) }, pathsOnly)
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Domain) enqueue(fn func(), pathsOnly bool) {
	d.mu.Lock()
	d.waiting.Add(1)
	d.pending = append(d.pending, deferred{d.seq.Add(1), pathsOnly, fn})
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

// run is the domain's goroutine; it ends when nothing is pending.
func (d *Domain) run() {
	for range d.wake {
		for {
			due, idle := d.collect()
			for _, fn := range due {
				fn()
			}
			d.waiting.Add(-int32(len(due)))
			if idle {
				return
			}
			if len(due) == 0 {
				break
			}
		}
	}
}

// collect takes the deferred work that is due; idle says that the goroutine has ended.
func (d *Domain) collect() (due []func(), idle bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) == 0 {
		d.running = false
		return nil, true
	}
	paths := d.pathsAcked()
	d.settleReaders()
	kept := d.pending[:0]
	for _, p := range d.pending {
		if p.seq <= paths && (p.pathsOnly || p.seq <= d.settled) {
			due = append(due, p.fn)
		} else {
			kept = append(kept, p)
		}
	}
	clear(d.pending[len(kept):])
	d.pending = kept
	return due, false
}

// pathsAcked returns the barrier that every Path has passed.
func (d *Domain) pathsAcked() uint64 {
	low := d.seq.Load()
	for _, m := range d.members {
		if m.active.Load() != 0 {
			low = min(low, m.acked.Load())
		}
	}
	return low
}

// settleReaders moves the colours of blocking calls on as far as they have drained.
func (d *Domain) settleReaders() {
	for range 2 {
		old := (d.colour.Load() & 1) ^ 1
		if d.readers[old].n.Load() != 0 {
			return
		}
		d.settled = d.flipped
		seq := d.seq.Load()
		if d.settled >= seq {
			return
		}
		d.flipped = seq
		d.colour.Add(1)
	}
	if d.readers[(d.colour.Load()&1)^1].n.Load() == 0 {
		d.settled = d.flipped
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
			d.members = append(d.members[:i], d.members[i+1:]...)
			break
		}
	}
	d.mu.Unlock()
	d.notify()
}
