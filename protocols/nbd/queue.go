package nbd

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
	"github.com/blkbench/blkbench/uring"
)

// OpenQueue opens the polled plane on the poller's thread: a connection of its own through io_uring where the server allows several and
// nothing is in the way, else goroutines over the node's connections.
func (n *Node) OpenQueue(ctx context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	switch {
	case n.d.tls != nil:
		return n.openLanes(cfg, "TLS goes through goroutines, not io_uring")
	case !n.first.can(wire.CanMultiConn):
		return n.openLanes(cfg, "the server does not say CAN_MULTI_CONN: requests share one connection, through goroutines")
	}
	q, err := n.openRing(ctx, cfg)
	if errors.Is(err, uring.ErrUnavailable) {
		return n.openLanes(cfg, err.Error()+"; goroutines take over")
	}
	if err != nil {
		return nil, err
	}
	return q, nil
}

// slot is a request of the polled plane on its way.
type slot struct {
	answer
	req      *engine.Request
	gen      uint32 // the upper half of the cookie
	replayed bool   // has lost a connection already
	batch    uint64 // number of the batch that it is sent with, or noBatch
	over     bool   // the reply came while the kernel may still be at the buffer
	err      error  // what it said
}

// noBatch is of requests that wait for a connection.
const noBatch = ^uint64(0)

// ringQueue is the polled plane over one connection: one send and one receive of the poller's ring, at most, are in flight.
//
// Invariant: a slot is in free, or has a request that is in the batch being filled, or sent, or parked until there is a connection; the kernel
// has addresses of its buffer only while sending or receiving is set.
type ringQueue struct {
	client *uring.Client
	tag    uint64
	node   *Node
	link   link
	out    sender
	in     receiver

	slots  []slot
	free   []uint32
	ready  ready
	arenas []uint64 // base address by arena number, 0: not one of ours
	mem    *dma.Arena

	parked   bool // some slots are to be put into a batch
	prepared bool // entries that the kernel was not shown
	vain     int  // spurious results in a row
	err      error

	reactor *uring.Reactor
	poller  *engine.Poller
	key     uring.Config
}

func (n *Node) openRing(ctx context.Context, cfg engine.QueueConfig) (*ringQueue, error) {
	// Sockets are not polled for completions: a ring with IOPOLL would need a second one.
	key := uring.Config{SQPoll: n.flags.Leaf.SQThreadPoll}
	if key.SQPoll && n.flags.Leaf.SQThreadCPU >= 0 {
		key.SQThreadPin, key.SQThreadCPU = true, uint32(n.flags.Leaf.SQThreadCPU)
	}
	shared, err := cfg.Poller.Shared(key, func() (engine.Closer, error) { return uring.NewReactor(key) })
	if err != nil {
		return nil, err
	}
	q := &ringQueue{node: n, poller: cfg.Poller, key: key, reactor: shared.(*uring.Reactor)}
	q.link.fd = -1
	if err := q.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

func (q *ringQueue) open(ctx context.Context, cfg engine.QueueConfig) error {
	q.slots = make([]slot, cfg.Depth)
	q.free = make([]uint32, cfg.Depth)
	for i := range q.free {
		q.free[i] = uint32(cfg.Depth - 1 - i)
	}
	q.ready = newReady(cfg.Depth)
	for _, a := range cfg.Arenas {
		for int(a.ID()) >= len(q.arenas) {
			q.arenas = append(q.arenas, 0)
		}
		q.arenas[a.ID()] = uint64(a.Base())
	}
	if err := q.allocate(cfg.Depth); err != nil {
		return err
	}
	var err error
	if q.client, err = q.reactor.Join(4); err != nil {
		return err
	}
	q.tag = q.client.Tag()
	nc, s, err := q.node.d.dialUntil(ctx, time.Now().Add(q.node.delay))
	if err != nil {
		return err
	}
	fd, err := q.node.detach(nc, s)
	if err != nil {
		return err
	}
	q.adopt(fd)
	return nil
}

// Supports reports whether Submit takes an operation.
func (q *ringQueue) Supports(op engine.Op) bool { return q.node.supports(op) }

// supports is for both kinds of queues.
func (n *Node) supports(op engine.Op) bool {
	switch op {
	case engine.OpRead, engine.OpFlush, engine.OpNop:
		return true
	case engine.OpWrite:
		return n.flags.Write
	case engine.OpDiscard:
		return n.flags.Write && n.first.can(wire.SendTrim)
	case engine.OpZero:
		return n.flags.Write && n.first.can(wire.SendWriteZeroes)
	}
	return false
}

// Submit puts requests into the batch that the next send takes.
func (q *ringQueue) Submit(reqs []*engine.Request) int {
	for i, r := range reqs {
		if len(q.free) <= q.ready.len() || !q.out.room() {
			return i
		}
		q.submit(r)
	}
	return len(reqs)
}

func (q *ringQueue) submit(r *engine.Request) {
	cmd, flags, immediate := q.command(r)
	if immediate {
		q.ready.push(r)
		return
	}
	top := len(q.free) - 1
	i := q.free[top]
	q.free = q.free[:top]
	s := &q.slots[i]
	s.req, s.replayed, s.batch, s.over = r, false, noBatch, false
	off, n := uint64(r.Off), uint64(r.Len)
	if cmd == wire.CmdFlush {
		off, n = 0, 0
	}
	s.begin(cmd, off, n)
	switch q.link.state {
	case linkUp:
		q.stage(i, flags)
	case linkDown:
		q.redial()
	case linkEnding, linkDialing: // it waits with those that were lost
	}
}

// command is what a request is on the wire; some are done at once, with a result.
func (q *ringQueue) command(r *engine.Request) (cmd wire.Cmd, flags wire.CmdFlags, immediate bool) {
	n := q.node
	r.Res = 0
	switch r.Op {
	case engine.OpRead, engine.OpWrite:
		if id := int(r.Buf.Arena()); id >= len(q.arenas) || q.arenas[id] == 0 {
			r.Res = -int32(unix.EFAULT) // its buffer is not where it has to be
			return 0, 0, true
		}
		if r.Op == engine.OpWrite {
			return wire.CmdWrite, n.writeFlags(r.Flags), false
		}
		return wire.CmdRead, 0, false
	case engine.OpFlush:
		return wire.CmdFlush, 0, n.flags.Cache.NoFlush || !n.first.can(wire.SendFlush)
	case engine.OpDiscard:
		return wire.CmdTrim, 0, false
	case engine.OpZero:
		f, ok := n.zeroFlags(r.Flags)
		if !ok {
			r.Res = -int32(unix.EOPNOTSUPP)
		}
		return wire.CmdWriteZeroes, f, !ok
	default:
		return 0, 0, true
	}
}

// cookie is what the reply has to come with.
func (q *ringQueue) cookie(i uint32) uint64 { return uint64(q.slots[i].gen)<<32 | uint64(i) }

// complete ends the request of a slot. What it is done with is for Poll.
func (q *ringQueue) complete(i uint32, err error) {
	s := &q.slots[i]
	r := s.req
	switch {
	case err != nil:
		r.Fail(err)
	case r.Op <= engine.OpWrite:
		r.Res = int32(r.Len)
	default:
		r.Res = 0
	}
	if r.Op != engine.OpRead && r.Op != engine.OpFlush && err == nil && !q.node.dirty.Load() {
		q.node.dirty.Store(true)
	}
	if r.Op == engine.OpFlush && err == nil {
		q.node.dirty.Store(false)
	}
	s.req, s.over = nil, false
	s.gen++
	q.free = append(q.free, i)
	q.ready.push(r)
}

// inFlight is how many requests have not come to an end.
func (q *ringQueue) inFlight() int { return len(q.slots) - len(q.free) }

// Kick sends what was submitted, unless a send is under way: that is continued by Poll.
func (q *ringQueue) Kick() error {
	if err := q.err; err != nil {
		q.err = nil
		return err
	}
	q.pump()
	q.prepared = false
	return q.client.Kick()
}

// pump prepares the entries that there is something to do for.
func (q *ringQueue) pump() {
	if q.link.state != linkUp {
		return
	}
	if !q.out.sending && q.out.filled() {
		q.send()
		if q.parked {
			q.restage()
		}
	}
	if !q.in.receiving && q.inFlight() != 0 {
		q.receive()
	}
}

// Poll looks at what the kernel has done.
func (q *ringQueue) Poll(done []*engine.Request) int {
	if q.link.state != linkUp {
		q.mend()
	}
	for k := q.collect(); k != 0; k = q.collect() {
	}
	n := q.ready.take(done)
	q.pump()
	if q.prepared && n == 0 {
		// Nobody else may come along and show it to the kernel.
		q.prepared = false
		q.err = q.client.Kick()
	}
	return n
}

// collect takes the completions that are there.
func (q *ringQueue) collect() uint32 {
	cq, k := q.client.Ready()
	for i := range k {
		e := cq.At(i)
		switch e.UserData & uring.SlotMask {
		case entrySend:
			q.out.sending = false
			q.sent(e.Res)
		case entryReceive:
			q.in.receiving = false
			q.received(e.Res)
		}
	}
	if k != 0 {
		cq.Release(k)
	}
	return k
}

// Slots of the ring's user data.
const (
	entrySend    uint64 = 1
	entryReceive uint64 = 2
)

// vainMax is how many spurious results in a row are believed.
const vainMax = 10000

// spurious reports results that say nothing about the connection: the kernel cancels what waits for a worker when it cannot start one, since
// the thread has a signal pending, as the threads of a Go program often have.
func (q *ringQueue) spurious(res int32) bool {
	switch unix.Errno(-res) {
	case unix.ECANCELED, unix.EINTR, unix.EAGAIN:
	default:
		return false
	}
	q.vain++
	return q.vain < vainMax
}

// Wait kicks, and returns when there may be something to poll for.
func (q *ringQueue) Wait(limit time.Duration) error { return q.WaitN(1, limit) }

// WaitN is Wait: how many requests one completion ends is not known before.
func (q *ringQueue) WaitN(_ int, limit time.Duration) error {
	if q.ready.len() != 0 || q.err != nil {
		return q.Kick()
	}
	if q.link.state != linkUp {
		q.mend()
		if q.ready.len() != 0 {
			return nil
		}
	}
	q.pump()
	q.prepared = false
	return q.client.Wait(limit)
}

// EventFD is the reactor's.
func (q *ringQueue) EventFD() int { return q.client.EventFD() }

// Arm shows the kernel what was prepared; false if there is something already, or a connection is being made, which EventFD does not tell.
func (q *ringQueue) Arm() bool {
	if q.ready.len() != 0 || q.err != nil || q.link.state != linkUp {
		return false
	}
	q.pump()
	q.prepared = false
	idle, err := q.client.Arm()
	return idle && err == nil
}

// Close waits for what is in flight, drops it, and gives everything back.
func (q *ringQueue) Close() error {
	var err error
	if q.client != nil {
		q.link.cancel()
		err = q.drain()
		q.hangUp()
		q.unwatch()
		err = errors.Join(err, q.client.Leave())
		q.client = nil
	}
	if q.mem != nil {
		err = errors.Join(err, q.mem.Close())
		q.mem = nil
	}
	return errors.Join(err, q.poller.Release(q.key))
}

func (q *ringQueue) drain() error {
	var done [16]*engine.Request
	for q.inFlight() != 0 || q.ready.len() != 0 || q.out.sending || q.in.receiving || q.link.state == linkDialing {
		if q.Poll(done[:]) != 0 {
			continue
		}
		if err := q.Wait(time.Second); err != nil {
			return err
		}
	}
	return nil
}

// ready is a list of completed requests of fixed size, first in, first out.
type ready struct {
	list       []*engine.Request
	head, tail uint32
}

// newReady has room for n.
func newReady(n int) ready {
	size := 1
	for size < n {
		size *= 2
	}
	return ready{list: make([]*engine.Request, size)}
}

func (y *ready) len() int { return int(y.tail - y.head) }

func (y *ready) push(r *engine.Request) {
	y.list[y.tail&uint32(len(y.list)-1)] = r
	y.tail++
}

// take moves as many as fit to done.
func (y *ready) take(done []*engine.Request) int {
	n := 0
	for ; n < len(done) && y.head != y.tail; n++ {
		done[n] = y.list[y.head&uint32(len(y.list)-1)]
		y.head++
	}
	return n
}

// arrival is what came of a dial in the background.
type arrival struct {
	fd  int
	err error
}

// link is the connection of a queue and its life.
type link struct {
	state   linkState
	fd      int
	file    int32 // index of the registered table, where fixed
	fixed   bool
	cause   error // why it was lost
	arrived atomic.Pointer[arrival]
	event   int // eventfd that a dial rings, 0 until there is one
	watch   *uring.Watch
	stop    context.CancelFunc
	dials   sync.WaitGroup
}

type linkState uint8

const (
	linkUp      linkState = iota
	linkEnding            // lost; the kernel still has entries
	linkDialing           // a goroutine connects
	linkDown              // the next request connects again
)

func (l *link) cancel() {
	if l.stop != nil {
		l.stop()
	}
}
