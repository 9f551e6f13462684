package nvme

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/vfio/mmio"
)

// Queue is an I/O queue pair: one submission and one completion queue of the same size. It belongs to one thread;
// only Err, Dead and EventFD may be called from others.
//
// The invariant of the rings: at most size-1 commands are in flight, so the submission queue can never overflow,
// since every command in flight or not yet fetched has an identifier of its own; and at most size-1 completions are
// unread or read but not yet given back, so the controller always has room to complete what it took.
type Queue struct {
	// What every Prepare and Poll touches.
	state  atomic.Uint32
	tail   uint32 // next submission slot
	rung   uint32 // tail as the controller knows it
	head   uint32 // next completion slot
	phase  uint32 // of a new completion, in bit 16 of its last dword
	unread uint32 // completions taken since the head was last given back
	mask   uint32 // size-1; the size is a power of two
	nfree  uint32
	tick   uint32                 // the controller's clock as of the last look
	check  uint32                 // the queue's identifier where a completion has it
	sq     *[MaxQueueSize]Command // only the first size entries exist
	cq     *[MaxQueueSize]cqe
	sqBell doorbell
	cqBell doorbell

	// What only slow paths touch.
	ctrl    *Controller
	id      uint16
	vector  uint16
	eventFD int
	mem     *Memory
	sqMem   Region // within mem, or in the controller's memory buffer
	cqMem   Region
	lists   Region // a PRP list page for each identifier
	inCMB   bool
	sgl     bool // SGLs for what does not fit two PRP entries
	sgl4    bool // they must be dword aligned
	expiry  uint32
	result  [][2]uint32 // by identifier: dwords 0 and 1 of the completion; nil on a queue that is not asked
	cause   atomic.Pointer[error]
	rested  atomic.Bool // the owner has seen that the queue stops, with nothing in flight
	retired bool        // the completion queue is not to be read any more

	// Tables of fixed size, so that a masked index needs no bounds check.
	shape [MaxQueueSize]uint32 // by slot: CDW12 of a slot whose other dwords are those of a one-page transfer, or noShape
	free  [MaxQueueSize]uint16 // free command identifiers, last in first out
	level [MaxQueueSize]uint8  // by identifier: how far the recovery of a late command has got
	// issued is, by identifier, the tick of submission, 0 when free, noExpiry for a command that may wait for ever. It has
	// an entry for every value that a completion can carry.
	issued [1 << 16]uint32
}

// MaxQueueSize is the largest number of entries of a queue pair.
const (
	MaxQueueSize = 4096
	indexMask    = MaxQueueSize - 1
)

// cqe is a completion queue entry as the controller writes it: the phase is in the last dword, which is written last.
type cqe struct {
	dw0, dw1 uint32
	sqhdSQID uint32
	cidPhase uint32
}

const (
	phaseBit = 1 << 16
	noShape  = ^uint32(0)
	noExpiry = ^uint32(0)
)

// Queue states. The recovery moves live to stopping to quiet and drained to live or dead; only the owner moves quiet
// to drained.
const (
	queueLive     = iota
	queueStopping // no new commands; completions are still read
	queueQuiet    // the controller can touch nothing of this queue any more
	queueDrained  // nothing is in flight, and the owner will touch no doorbell
	queueDead     // for good
)

// Done is a command that is over.
type Done struct {
	CID    uint16
	Status Status
}

// ID is the queue identifier.
func (q *Queue) ID() uint16 { return q.id }

// Size is how many commands can be in flight.
func (q *Queue) Size() int { return int(q.mask) }

// InFlight is how many commands are.
func (q *Queue) InFlight() int { return int(q.mask - q.nfree) }

// EventFD is signalled when a completion arrives, or -1 on a polled queue.
func (q *Queue) EventFD() int { return q.eventFD }

// Err is why the queue does not take commands, nil while it does.
func (q *Queue) Err() error {
	if p := q.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// Dead says that the queue will never take commands again, and that everything that was in flight has been reported.
func (q *Queue) Dead() bool { return q.state.Load() == queueDead }

// Prepare puts a command with lbaCount logical blocks, whose n bytes of data are contiguous at iova for the device
// (n may be 0), into the next slot and returns its identifier. ok is false when the queue is full, or is not taking
// commands (Err then says why). The controller sees it after Kick.
//
// The range has been checked by the caller: lbaCount is 1 to 65536, n at most what Controller.MaxTransfer says.
func (q *Queue) Prepare(op uint8, nsid uint32, slba uint64, cdw12 uint32, iova uint64, n uint32) (cid uint16, ok bool) {
	if q.state.Load() != queueLive || q.nfree == 0 {
		return 0, false
	}
	top := q.nfree - 1
	q.nfree = top
	cid = q.free[top&indexMask]
	q.issued[cid] = q.tick
	slot := q.tail & q.mask & indexMask
	c := &q.sq[slot]
	if q.shape[slot] == cdw12 && n <= pageSize-uint32(iova&(pageSize-1)) {
		// The slot holds such a command already: three stores make it this one.
		*(*uint64)(unsafe.Pointer(c)) = uint64(op) | uint64(cid)<<16 | uint64(nsid)<<32
		c.PRP1 = iova
		*(*uint64)(unsafe.Pointer(&c.CDW10)) = slba
	} else {
		q.fill(c, slot, cid, op, nsid, slba, cdw12, iova, n)
	}
	q.tail++
	return cid, true
}

// fill writes a whole slot.
func (q *Queue) fill(c *Command, slot uint32, cid uint16, op uint8, nsid uint32, slba uint64, cdw12 uint32, iova uint64, n uint32) {
	full := Command{
		Opcode: op, CID: cid, NSID: nsid, CDW10: uint32(slba), CDW11: uint32(slba >> 32), CDW12: cdw12,
	}
	q.setData(&full, iova, n)
	q.shape[slot] = noShape
	if full.PRP2 == 0 && full.Flags == 0 {
		q.shape[slot] = cdw12
	}
	*c = full
}

func (q *Queue) setData(c *Command, iova uint64, n uint32) {
	if n == 0 {
		return
	}
	if q.sgl && n > 2*pageSize && (!q.sgl4 || (iova|uint64(n))&3 == 0) {
		setSGL(c, iova, n)
		return
	}
	setPRP(c, iova, n, q.lists.Slice(int(c.CID)*pageSize, pageSize))
}

// Push puts any command into the next slot, its data (n bytes at iova, n may be 0) described by the queue. The other
// fields are the caller's, the metadata pointer among them. ok as with Prepare.
func (q *Queue) Push(cmd *Command, iova uint64, n uint32) (cid uint16, ok bool) {
	return q.push(cmd, iova, n, q.tick)
}

func (q *Queue) push(cmd *Command, iova uint64, n, tick uint32) (cid uint16, ok bool) {
	if q.state.Load() != queueLive || q.nfree == 0 {
		return 0, false
	}
	q.nfree--
	cid = q.free[q.nfree]
	q.issued[cid] = tick
	slot := q.tail & q.mask
	c := *cmd
	c.CID = cid
	q.setData(&c, iova, n)
	q.shape[slot] = noShape
	q.sq[slot] = c
	q.tail++
	return cid, true
}

// Kick tells the controller of everything prepared, with one doorbell.
func (q *Queue) Kick() {
	if q.state.Load() != queueLive || q.tail == q.rung {
		return
	}
	q.rung = q.tail
	if q.inCMB {
		mmio.FenceWC()
	}
	q.sqBell.ring(q.tail & q.mask)
}

// Poll takes up to len(out) finished commands. It never blocks. After an empty look at a deep queue it pauses for
// some tens of cycles, so as not to take the completion queue's cache line away from the controller all the time.
func (q *Queue) Poll(out []Done) int {
	t := q.ctrl.tick.Load()
	if q.state.Load() != queueLive || t != q.tick {
		return q.pollSlow(out, t)
	}
	n := q.harvest(out)
	if n == 0 {
		mmio.Pause(min(q.mask-q.nfree, 32) / 2)
		return 0
	}
	q.release(n)
	return n
}

// giveBack is how many completions are kept at most before the head doorbell is rung, room permitting.
const giveBack = 16

// harvest reads completions.
func (q *Queue) harvest(out []Done) int {
	head, phase, nfree, mask, results := q.head, q.phase, q.nfree, q.mask, q.result
	n := 0
	for n < len(out) {
		e := &q.cq[head&indexMask]
		w := atomic.LoadUint32(&e.cidPhase)
		if w&phaseBit != phase {
			break
		}
		cid := uint16(w)
		// The submission queue's identifier must be ours, its head within the ring, and the command in flight.
		if e.sqhdSQID^q.check > mask || q.issued[cid] == 0 {
			q.malformed(e, w)
			break
		}
		if results != nil {
			results[cid] = [2]uint32{e.dw0, e.dw1}
		}
		q.issued[cid] = 0
		q.free[nfree&indexMask] = cid
		nfree++
		*(*uint32)(unsafe.Pointer(&out[n])) = w&0xffff | w>>17<<16 // both fields of Done in one store
		n++
		if head++; head > mask {
			head = 0
			phase ^= phaseBit
		}
	}
	q.head, q.phase, q.nfree = head, phase, nfree
	return n
}

// release gives n entries of the completion queue back, now or together with later ones.
func (q *Queue) release(n int) {
	q.unread += uint32(n)
	if q.unread >= giveBack || q.unread+(q.mask-q.nfree) >= q.mask || q.eventFD >= 0 {
		q.unread = 0
		q.cqBell.ring(q.head)
	}
}

// malformed reports a completion that answers nothing. The rings can no longer be trusted, so everything in flight is
// failed once the controller has been reset.
func (q *Queue) malformed(e *cqe, w uint32) {
	if q.retired {
		return
	}
	q.retired = true
	q.ctrl.report(q, fault{kind: faultController, err: fmt.Errorf("%w: queue %d: command %d, submission queue %d, head %d, status %#x",
		ErrMalformed, q.id, uint16(w), e.sqhdSQID>>16, e.sqhdSQID&0xffff, w>>17)})
}

// pollSlow is Poll when the clock has moved or the queue is not live.
func (q *Queue) pollSlow(out []Done, tick uint32) int {
	switch q.state.Load() {
	case queueLive:
		q.tick = tick
		n := q.harvest(out)
		if n > 0 {
			q.release(n)
		}
		q.expire(tick)
		return n
	case queueStopping:
		q.tick = tick
		if q.retired {
			return 0
		}
		n := q.harvest(out) // no doorbell: the queue may be gone on the other side
		if q.nfree == q.mask {
			q.rested.Store(true)
		}
		return n
	case queueQuiet:
		return q.drain(out)
	default:
		return 0
	}
}

// drain ends everything that is in flight, once: first what the controller did complete, then the rest as aborted by
// the host. The controller can touch nothing any more.
func (q *Queue) drain(out []Done) int {
	n := 0
	if !q.retired {
		n = q.harvest(out)
	}
	if n == len(out) {
		return n
	}
	q.retired = true
	for cid := range q.mask {
		if n == len(out) {
			return n
		}
		if q.issued[cid] == 0 {
			continue
		}
		q.issued[cid] = 0
		q.free[q.nfree] = uint16(cid)
		q.nfree++
		out[n] = Done{CID: uint16(cid), Status: StatusHostAborted}
		n++
	}
	if q.nfree == q.mask {
		q.rested.Store(true)
		q.state.Store(queueDrained)
		if q.ctrl.isDead() { // after the store: whoever buries the controller looks the other way round
			q.state.CompareAndSwap(queueDrained, queueDead)
		}
		q.ctrl.wakeRecovery()
	}
	return n
}

// Levels of a late command.
const (
	levelNone = iota
	levelAbort
	levelQueue
)

// expire looks for commands that are late, once per tick of the clock.
func (q *Queue) expire(tick uint32) {
	if q.expiry == 0 || q.nfree == q.mask {
		return
	}
	for cid, at := range q.issued[:q.mask] {
		if at == 0 || at == noExpiry {
			q.level[cid] = levelNone
			continue
		}
		age := tick - at
		switch {
		case age <= q.expiry:
			q.level[cid] = levelNone
		case q.level[cid] == levelNone:
			q.level[cid] = levelAbort
			q.ctrl.report(q, fault{kind: faultCommand, cid: uint16(cid), err: fmt.Errorf("%w: queue %d: command %d after %v",
				ErrTimeout, q.id, cid, q.ctrl.opt.Timeout)})
		case q.level[cid] == levelAbort && age > q.expiry+q.ctrl.abortTicks:
			q.level[cid] = levelQueue
			q.ctrl.report(q, fault{kind: faultQueue, err: fmt.Errorf("%w: queue %d: command %d after %v and an abort",
				ErrTimeout, q.id, cid, q.ctrl.opt.Timeout)})
		}
	}
}

// Wait sleeps until a completion may have arrived, at most max, on a queue with interrupts. It returns at once when
// one is there already.
func (q *Queue) Wait(limit time.Duration) error {
	if q.eventFD < 0 {
		return fmt.Errorf("queue %d: %w: it has no interrupt", q.id, ErrUnsupported)
	}
	if q.Ready() {
		return nil
	}
	p := []unix.PollFd{{Fd: int32(q.eventFD), Events: unix.POLLIN}}
	n, err := unix.Poll(p, int(limit.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("queue %d: %w", q.id, err)
	}
	if n > 0 {
		q.ClearEvent()
	}
	return nil
}

// ClearEvent takes the signal out of EventFD: before Poll, so that no completion can be missed.
func (q *Queue) ClearEvent() {
	var b [8]byte
	_, _ = unix.Read(q.eventFD, b[:])
}

// Ready says whether Poll has something to do: a completion, or a queue that is being recovered.
func (q *Queue) Ready() bool {
	return atomic.LoadUint32(&q.cq[q.head].cidPhase)&phaseBit == q.phase || q.state.Load() != queueLive
}

// restart makes the rings as new. Nothing is in flight and the queue does not exist in the controller.
func (q *Queue) restart() {
	q.tail, q.rung, q.head, q.unread = 0, 0, 0, 0
	q.phase = phaseBit
	q.retired = false
	q.rested.Store(false)
	q.sqBell.last, q.cqBell.last = 0, 0
	clear(q.cqMem.Bytes[:(int(q.mask)+1)*CompletionSize])
	for i := range q.shape {
		q.shape[i] = noShape
	}
	q.check = uint32(q.id) << 16
	q.nfree = 0
	for cid := range q.mask {
		q.free[q.nfree] = uint16(q.mask - 1 - cid)
		q.nfree++
	}
	clear(q.issued[:q.mask])
	clear(q.level[:])
	q.tick = q.ctrl.tick.Load()
}
