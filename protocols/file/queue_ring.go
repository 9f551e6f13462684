package file

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/uring"
)

// ringQueue is the polled plane through the poller's reactor.
//
// Invariant: a slot is in free, or in the ring with its request in slots; never both.
type ringQueue struct {
	client  *uring.Client
	ring    *uring.Ring
	tag     uint64
	fd      int32
	flags   uint8     // of an entry: fixed file, async
	fixed   bool      // fd is an index of the registered table
	command bool      // the device takes discards as commands
	rwFlags [8]uint32 // of an entry, see rwIndex
	every   int       // requests from one that is forced to a worker to the next; 0: none
	count   int
	odd     uint64 // bits of an offset in an arena that a registered buffer must not have
	free    []uint32
	slots   []*engine.Request
	arenas  []arenaEntry // by arena number
	node    *Node
	ready   engine.DoneRing // completed without the ring

	zeroing []zeroState // by slot: requests of several steps
	zeroes  arenaEntry  // what zeroes are written from
	again   []uint32    // slots whose next step, or another try, is to be begun
	vain    int         // spurious results since the last real one
	err     error       // of a Kick that Poll made

	poller  *engine.Poller
	key     uring.Config
	buffers []uint16
	notes   []string
}

// arenaEntry translates a handle: the address of the arena, and the registered buffer of its first GiB.
type arenaEntry struct {
	base uint64
	slot uint16
	have bool // registered
}

// ringConfig is the ring that the node's options ask for. Leaves with the same wishes share it.
func (n *Node) ringConfig(poll bool) uring.Config {
	leaf := n.flags.Leaf
	cfg := uring.Config{IOPoll: poll, SQPoll: leaf.SQThreadPoll}
	if leaf.SQThreadPoll && leaf.SQThreadCPU >= 0 {
		cfg.SQThreadPin, cfg.SQThreadCPU = true, uint32(leaf.SQThreadCPU)
	}
	return cfg
}

func (n *Node) openRing(cfg engine.QueueConfig) (*ringQueue, error) {
	poll, notes := cfg.Poll, []string(nil)
	if poll {
		if err := n.pollable(); err != nil {
			poll, notes = false, append(notes, "completions are not polled for: "+err.Error())
		}
	}
	q := &ringQueue{node: n, poller: cfg.Poller, key: n.ringConfig(poll), notes: notes}
	shared, err := cfg.Poller.Shared(q.key, func() (engine.Closer, error) { return uring.NewReactor(q.key) })
	if err != nil {
		return nil, err
	}
	if err := q.open(shared.(*uring.Reactor), cfg); err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

// open joins the reactor and registers what can be.
func (q *ringQueue) open(r *uring.Reactor, cfg engine.QueueConfig) error {
	var err error
	if q.client, err = r.Join(uint32(cfg.Depth)); err != nil {
		return err
	}
	q.tag, q.ring = q.client.Tag(), q.client.Ring()
	for i := range q.rwFlags {
		q.rwFlags[i] = q.node.hints()
	}
	for _, f := range [...]engine.WriteFlags{0, engine.FUA, engine.FlushMetadata, engine.FUA | engine.FlushMetadata} {
		q.rwFlags[rwIndex(engine.OpWrite, f)] |= q.node.rwFlags(f)
	}
	q.every = q.node.flags.Leaf.ForceAsync
	q.slots = make([]*engine.Request, cfg.Depth)
	q.zeroing = make([]zeroState, cfg.Depth)
	q.again = make([]uint32, 0, cfg.Depth)
	q.ready = engine.NewDoneRing(cfg.Depth)
	q.free = make([]uint32, cfg.Depth)
	for i := range q.free {
		q.free[i] = uint32(cfg.Depth - 1 - i)
	}
	q.fd = int32(q.node.fd)
	if !q.node.flags.Leaf.NoRegisterFiles {
		if i, err := r.AddFile(q.node.fd); err == nil {
			q.fd, q.fixed = i, true
			q.flags |= uring.SQEFixedFile
		} else {
			q.note("the file is not registered: %v", err)
		}
	}
	if lim := q.node.info.Limits; q.node.flags.Cache.Direct {
		// Linux 6.1 wants every page's part of a registered buffer to be whole blocks.
		q.odd = uint64(lim.RequestAlign - 1)
	}
	if !q.node.nowait() {
		// The kernel would try each entry in vain before it gives it to a worker.
		q.flags |= uring.SQEAsync
	}
	for _, a := range cfg.Arenas {
		q.addArena(r, a)
	}
	if q.node.flags.Write {
		mem, err := zeroArena()
		if err != nil {
			return err
		}
		q.zeroes = arenaEntry{base: uint64(mem.Base())}
	}
	if q.node.flags.Write && q.node.device {
		return q.tryCommand()
	}
	return nil
}

func (q *ringQueue) note(format string, args ...any) {
	q.notes = append(q.notes, fmt.Sprintf(format, args...))
}

// addArena makes an arena's handles known, and registers its memory where that is wanted and possible.
func (q *ringQueue) addArena(r *uring.Reactor, a *dma.Arena) {
	for int(a.ID()) >= len(q.arenas) {
		q.arenas = append(q.arenas, arenaEntry{})
	}
	e := &q.arenas[a.ID()]
	e.base = uint64(a.Base())
	if q.node.flags.Leaf.NoFixedBufs {
		return
	}
	slot, err := r.AddBuffer(a.Base(), uintptr(a.Len()))
	if err != nil {
		q.note("buffers are not registered: %v", err)
		return
	}
	e.slot, e.have = slot, true
	q.buffers = append(q.buffers, slot)
}

// Traits are what the ring has of what was asked for.
func (q *ringQueue) Traits() []string {
	t := []string{"io_uring"}
	if len(q.buffers) > 0 {
		t = append(t, "registered buffers")
	}
	if q.fixed {
		t = append(t, "registered files")
	}
	if q.key.SQPoll {
		t = append(t, "submission thread")
	}
	if q.key.IOPoll {
		t = append(t, "polled completions")
	}
	return t
}

// Notes say in what the queue is less than what was asked for.
func (q *ringQueue) Notes() []string { return q.notes }

// Supports reports whether Submit takes an operation.
func (q *ringQueue) Supports(op engine.Op) bool {
	n := q.node
	switch op {
	case engine.OpRead, engine.OpFlush, engine.OpNop:
		return true
	case engine.OpWrite:
		return n.flags.Write
	case engine.OpDiscard:
		return n.flags.Write && (!n.device || (n.wholeBlocks() && q.command))
	case engine.OpZero:
		return n.flags.Write && (!n.device || n.wholeBlocks())
	}
	return false
}

// wholeBlocks reports whether requests are aligned to a device's blocks, as its commands need.
func (n *Node) wholeBlocks() bool {
	return n.info.Limits.RequestAlign >= max(n.info.Limits.LogicalBlock, 512)
}

// Submit prepares entries; Kick shows them to the kernel. A batch larger than the ring is shown in parts.
func (q *ringQueue) Submit(reqs []*engine.Request) int {
	taken := 0
	for taken < len(reqs) {
		n := q.submit(reqs[taken:])
		if n == 0 {
			break
		}
		taken += n
	}
	return taken
}

// submit takes as many requests as there are slots for, in the queue and in the ring.
func (q *ringQueue) submit(reqs []*engine.Request) int {
	n := min(len(reqs), len(q.free)-q.ready.Len())
	if n > int(q.ring.Room()) {
		n = int(q.client.MakeRoom(uint32(n)))
	}
	filled := uint32(0)
	for i, r := range reqs[:n] {
		if other(r.Op) || !q.knows(r) {
			q.ring.Take(filled)
			filled = 0
			if !q.submitOther(r) {
				return i
			}
			continue
		}
		top := len(q.free) - 1
		slot := q.free[top]
		q.free = q.free[:top]
		q.slots[slot] = r
		s := q.ring.Slot(filled)
		filled++
		if r.Op == engine.OpNop {
			s.Fill(uring.OpNop, 0, -1, 0, 0, 0, 0, 0, q.tag|uint64(slot))
			continue
		}
		q.fill(s, r, slot)
	}
	q.ring.Take(filled)
	return n
}

// fill writes the entry of a read or write. These differ by one in both of the kernel's pairs of operations.
func (q *ringQueue) fill(s *uring.SQE, r *engine.Request, slot uint32) {
	off, piece := r.Buf.Offset(), uint16(0)
	e := &q.arenas[r.Buf.Arena()]
	op := uring.OpRead
	if e.have && off&q.odd == 0 && off>>uring.BufferShift == (off+uint64(r.Len)-1)>>uring.BufferShift {
		op, piece = uring.OpReadFixed, e.slot+uint16(off>>uring.BufferShift)
	}
	flags := q.flags
	if q.every > 0 {
		if q.count++; q.count == q.every {
			q.count = 0
			flags |= uring.SQEAsync
		}
	}
	s.Fill(op+uring.Op(r.Op), flags, q.fd, e.base+off, r.Len, uint64(r.Off),
		q.rwFlags[rwIndex(r.Op, r.Flags)], piece, q.tag|uint64(slot))
}

// knows reports whether a request's buffer is in an arena that the queue was opened with, as it has to be.
func (q *ringQueue) knows(r *engine.Request) bool {
	id := int(r.Buf.Arena())
	return id < len(q.arenas) && q.arenas[id].base != 0 || r.Op == engine.OpNop
}

// other reports operations that are neither read, write nor nop.
func other(op engine.Op) bool { return op-engine.OpFlush <= engine.OpZero-engine.OpFlush }

// rwIndex puts what decides about the flags of an entry into three bits: whether it writes, FUA and
// FlushMetadata.
func rwIndex(op engine.Op, flags engine.WriteFlags) uint8 {
	return uint8(op&engine.OpWrite)<<1 | uint8(flags&engine.FUA) | uint8(flags/(engine.FlushMetadata/4))&4
}

// rwFlags are what makes a write durable, if it has to be.
func (n *Node) rwFlags(flags engine.WriteFlags) uint32 {
	switch {
	case n.flags.Cache.NoFlush, flags&engine.FUA == 0 && !n.flags.Cache.WriteThrough:
		return 0
	case flags&engine.FlushMetadata != 0:
		return unix.RWF_SYNC
	}
	return unix.RWF_DSYNC
}

// rwfDontCache is RWF_DONTCACHE, Linux 6.14. Source: include/uapi/linux/fs.h.
const rwfDontCache = 0x80

// hints are flags of all reads and writes that a workload asked for.
func (n *Node) hints() uint32 {
	flags := uint32(0)
	if n.flags.Leaf.NoWait {
		flags |= unix.RWF_NOWAIT
	}
	if n.flags.Leaf.Uncached {
		flags |= rwfDontCache
	}
	return flags
}

// Kick is one system call for all leaves of the reactor.
func (q *ringQueue) Kick() error {
	if err := q.err; err != nil {
		q.err = nil
		return err
	}
	return q.client.Kick()
}

// Poll collects completions.
func (q *ringQueue) Poll(done []*engine.Request) int {
	n := 0
	if !q.ready.Empty() {
		n = q.ready.Pop(done)
	}
	for n < len(done) {
		cq, k := q.client.Ready()
		if k == 0 {
			break
		}
		k = min(k, uint32(len(done)-n))
		for i := range k {
			e := cq.At(i)
			slot := uint32(e.UserData)
			r := q.slots[slot]
			r.Res = e.Res
			if e.Res < 0 && q.spurious(e.Res) {
				q.again = append(q.again, slot)
				continue
			}
			if r.Op == engine.OpWrite {
				if end := r.Off + int64(r.Res); end > q.node.size.Load() && r.Res > 0 {
					q.node.extended(end)
				}
			} else if other(r.Op) && !q.completeOther(r, slot) {
				continue
			}
			q.free = append(q.free, slot)
			done[n] = r
			n++
		}
		cq.Release(k)
		if cq.Ready() == 0 { // what is only noted in the kernel is for the next time
			break
		}
	}
	if n > 0 {
		q.vain = 0
	}
	if len(q.again) != 0 {
		q.goOn()
		q.err = q.client.Kick()
	}
	return n
}

// vainMax is how many requests in a row may come back for nothing before that counts as their result.
const vainMax = 10000

// spurious reports results that say nothing about the file. The kernel cancels what waits for a worker when
// it cannot start one because the thread has a signal pending, as the threads of a Go program often have.
func (q *ringQueue) spurious(res int32) bool {
	switch unix.Errno(-res) {
	case unix.ECANCELED, unix.EINTR:
	case unix.EAGAIN:
		if q.node.flags.Leaf.NoWait {
			return false // what was asked for
		}
	default:
		return false
	}
	q.vain++
	return q.vain < vainMax
}

// Wait returns when there may be something to poll for, or after limit. What was submitted and not kicked
// goes along, in the same system call.
func (q *ringQueue) Wait(limit time.Duration) error { return q.WaitN(1, limit) }

// WaitN is Wait until n requests have completed, those of other leaves on the ring included.
func (q *ringQueue) WaitN(n int, limit time.Duration) error {
	if !q.ready.Empty() {
		return q.Kick()
	}
	if q.err != nil {
		return q.Kick()
	}
	return q.client.WaitN(uint32(n), limit)
}

// EventFD is the ring's descriptor.
func (q *ringQueue) EventFD() int { return q.client.EventFD() }

// Arm shows the kernel what was prepared, before a wait on EventFD; false if there is something already.
func (q *ringQueue) Arm() bool {
	if !q.ready.Empty() || q.err != nil {
		return false
	}
	idle, err := q.client.Arm()
	return idle && err == nil
}

// Close waits for what is in flight, drops it, and gives everything back.
func (q *ringQueue) Close() error {
	var err error
	if q.client != nil {
		err = q.drain()
		r := q.client.Reactor()
		if q.fixed {
			err = errors.Join(err, r.DropFile(q.fd))
		}
		for _, slot := range q.buffers {
			err = errors.Join(err, r.DropBuffer(slot))
		}
		err = errors.Join(err, q.client.Leave())
		q.client = nil
	}
	return errors.Join(err, q.poller.Release(q.key))
}

func (q *ringQueue) drain() error {
	var done [16]*engine.Request
	for len(q.free) != len(q.slots) || !q.ready.Empty() {
		if q.Poll(done[:]) != 0 {
			continue
		}
		if err := q.Wait(time.Second); err != nil {
			return err
		}
	}
	return nil
}
