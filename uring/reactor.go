package uring

import (
	"errors"
	"fmt"
	"time"
	"unsafe"
)

// The user data of an entry is the client's number in the top 16 bits and the client's own slot below.
// Number 0 is the reactor itself.
const (
	clientShift = 48
	// SlotMask are the bits of an entry's user data that belong to the client.
	SlotMask = uint64(1)<<clientShift - 1

	maxClients = 1 << 12
)

// Slots of the reactor's own entries: the index of a Watch, or this.
const slotIgnored = SlotMask

// Reactor is the ring of one poller, shared by its clients. It is made, used and closed on one locked
// OS thread.
type Reactor struct {
	ring *Ring
	side *Ring // for what an IOPOLL ring refuses; made when first needed

	clients []*Client // by number; 0 is nil
	live    int
	depth   uint32  // of all clients together
	solo    *Client // the only one that can have completions, or nil
	own     int     // the reactor's own entries in flight
	orphans bool    // a client left while something was in flight
	err     error   // from an enter that could not report it

	files   fileTable
	buffers bufferTable
	watches []*Watch
	event   event
}

// NewReactor makes a reactor for the calling OS thread, with its ring registered and enabled. Errors are
// those of [New].
func NewReactor(cfg Config) (*Reactor, error) {
	ring, err := openRing(cfg)
	if err != nil {
		return nil, err
	}
	r := &Reactor{ring: ring, clients: make([]*Client, 1), event: event{fd: -1}}
	r.files.open(ring)
	r.buffers.open(ring)
	if err := ring.Enable(); err != nil {
		return nil, errors.Join(err, ring.Close())
	}
	return r, nil
}

// openRing makes a ring and registers its descriptor where that is possible.
func openRing(cfg Config) (*Ring, error) {
	ring, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if !cfg.Without.Has(FeatRegisteredRing) {
		// Older kernels cannot, and a thread has 16 of them: entering by descriptor serves as well.
		_ = ring.RegisterRing()
	}
	return ring, nil
}

// Ring is the reactor's ring, for what has no method here.
func (r *Reactor) Ring() *Ring { return r.ring }

// Features is what the reactor's ring has got.
func (r *Reactor) Features() Feature { return r.ring.feats }

// Scratch returns size bytes of zeroed memory, 64-aligned, whose address may go into entries (msghdrs,
// iovecs, socket addresses). It is the caller's until the reactor is closed.
func (r *Reactor) Scratch(size uintptr) (unsafe.Pointer, error) { return r.ring.scratch.alloc(size) }

// aux is the ring for sockets, polls, fsync and fallocate: the only one unless that is an IOPOLL ring.
func (r *Reactor) aux() (*Ring, error) {
	if !r.ring.feats.Has(FeatIOPoll) {
		return r.ring, nil
	}
	if r.side != nil {
		return r.side, nil
	}
	cfg := Config{BigSQE: r.ring.feats.Has(FeatBigSQE), BigCQE: r.ring.feats.Has(FeatBigCQE)}
	side, err := openRing(cfg)
	if err != nil {
		return nil, err
	}
	if err := side.Enable(); err != nil {
		return nil, errors.Join(err, side.Close())
	}
	if r.event.fd >= 0 {
		if err := side.RegisterEventfd(r.event.fd); err != nil {
			return nil, errors.Join(err, side.Close())
		}
	}
	r.side = side
	return side, nil
}

// Join makes a client that has at most depth entries in flight. The ring grows to hold the completions of
// all clients where the kernel can do that; where it cannot, the kernel keeps what overflows.
func (r *Reactor) Join(depth uint32) (*Client, error) {
	id := 1
	for id < len(r.clients) && r.clients[id] != nil {
		id++
	}
	if id >= maxClients {
		return nil, fmt.Errorf("reactor: %d clients are too many", id)
	}
	if want := r.depth + depth; want > r.ring.cqEntries && want <= maxCQEntries {
		err := r.ring.Resize(0, want)
		if err != nil && !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrBusy) {
			return nil, err
		}
	}
	c := &Client{
		reactor: r, ring: r.ring, tag: uint64(id) << clientShift, depth: depth,
		backlog: newBacklog(depth+8, r.ring.cq.shift),
	}
	if id == len(r.clients) {
		r.clients = append(r.clients, nil)
	}
	r.clients[id] = c
	r.live++
	r.depth += depth
	r.findSolo()
	return c, nil
}

func (r *Reactor) inflight() bool {
	return r.ring.Inflight() != 0 || (r.side != nil && r.side.Inflight() != 0)
}

// leave forgets a client. What is still in flight for it is dropped when it completes.
func (r *Reactor) leave(c *Client) {
	id := c.tag >> clientShift
	if r.clients[id] != c {
		return
	}
	r.clients[id] = nil
	r.live--
	r.depth -= c.depth
	r.orphans = r.inflight()
	r.findSolo()
}

// findSolo keeps the short way open: with one client and nothing of our own in flight, every completion
// is that client's.
func (r *Reactor) findSolo() {
	r.solo = nil
	r.orphans = r.orphans && r.inflight()
	if r.live != 1 || r.own != 0 || r.orphans {
		return
	}
	for _, c := range r.clients {
		if c != nil {
			r.solo = c
		}
	}
}

// Kick shows the kernel what all clients prepared.
func (r *Reactor) Kick() error {
	if r.event.armed {
		r.signals(false) // whoever waited is awake
	}
	return r.submit()
}

func (r *Reactor) submit() error {
	if r.err != nil {
		return r.err
	}
	err := r.ring.Kick()
	if r.side != nil {
		err = errors.Join(err, r.side.Kick())
	}
	return err
}

// sort looks at n completions of a ring for client c: those of others at the front go where they belong,
// then the run of c's own is counted.
func (r *Reactor) sort(ring *Ring, c *Client, n uint32) uint32 {
	q := &ring.cq
	for n > 0 && q.At(0).UserData&^SlotMask != c.tag {
		if !r.divert(q.At(0)) {
			return 0
		}
		q.Release(1)
		n--
	}
	for i := range n {
		if q.At(i).UserData&^SlotMask != c.tag {
			return i
		}
	}
	return n
}

// divert hands a completion to whom it belongs; false if that client has no room, since it was not polled.
func (r *Reactor) divert(e *CQE) bool {
	id := e.UserData >> clientShift
	switch {
	case id == 0:
		r.complete(e)
	case id < uint64(len(r.clients)) && r.clients[id] != nil:
		return r.clients[id].backlog.push(e)
	}
	return true
}

// complete takes a completion of the reactor's own.
func (r *Reactor) complete(e *CQE) {
	if r.own--; r.own == 0 {
		r.findSolo()
	}
	if slot := e.UserData & SlotMask; slot < uint64(len(r.watches)) {
		r.watches[slot].fire(e.Res)
	}
}

// backlogged reports whether a client has completions that it has not looked at.
func (r *Reactor) backlogged() bool {
	for _, c := range r.clients {
		if c != nil && c.backlog.Ready() != 0 {
			return true
		}
	}
	return false
}

// Wait is Kick, and then a wait until any client may have a completion, a Watch has fired or limit has
// passed (negative: no limit). It may return early. An IOPOLL ring with I/O in flight is polled, not waited
// for.
func (r *Reactor) Wait(limit time.Duration) error { return r.WaitN(1, limit) }

// WaitN is Wait until n completions are there, of all clients together; with a Watch, until one is.
func (r *Reactor) WaitN(n uint32, limit time.Duration) error {
	if len(r.watches) != 0 {
		n = 1
	}
	if r.err != nil {
		return r.err
	}
	if r.backlogged() || (r.ring.ioPoll && r.ring.Inflight() != 0) {
		return r.Kick()
	}
	for _, w := range r.watches {
		if err := r.arm(w); err != nil {
			return err
		}
	}
	ring := r.ring
	if r.side != nil {
		if err := r.ring.Kick(); err != nil {
			return err
		}
		ring = r.side
	}
	if err := ring.WaitN(n, limit); err != nil {
		return err
	}
	if r.own != 0 {
		r.dispatch(ring)
	}
	return nil
}

// dispatch empties a ring into backlogs, so that the reactor's own completions take effect.
func (r *Reactor) dispatch(ring *Ring) {
	for n := ring.cq.Ready(); n > 0; n-- {
		if !r.divert(ring.cq.At(0)) {
			return
		}
		ring.cq.Release(1)
	}
}

// Close closes the rings, after cancelling and waiting for whatever is in flight.
func (r *Reactor) Close() error {
	if r.ring == nil {
		return nil
	}
	var err error
	if r.side != nil {
		err = r.side.Close()
	}
	err = errors.Join(err, r.ring.Close(), r.closeEvent())
	if !errors.Is(err, ErrWrongThread) {
		r.ring, r.side = nil, nil
	}
	return err
}
