package nbd

import (
	"context"
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// lanesMax is how many requests of one queue are under way at most; the rest waits for its turn.
const lanesMax = 128

// laneQueue is the polled plane by goroutines that call the blocking methods: they take slots from a channel and put them into a mailbox,
// which the poller empties.
//
// Invariant: the mailbox has as many places as there are slots, so that a place is empty when its turn comes again.
type laneQueue struct {
	node  *Node
	note  string
	slots []*engine.Request
	free  []uint32
	batch []uint32 // submitted, not yet kicked
	jobs  chan uint32
	lanes int
	wg    sync.WaitGroup

	mailbox []atomic.Uint32 // slot + 1, or 0
	posted  atomic.Uint32
	head    uint32 // the poller's
	asleep  atomic.Bool
	fd      int // eventfd
}

func (n *Node) openLanes(cfg engine.QueueConfig, why string) (engine.Queue, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	q := &laneQueue{
		node: n, note: why, fd: fd, slots: make([]*engine.Request, cfg.Depth), free: make([]uint32, cfg.Depth),
		batch: make([]uint32, 0, cfg.Depth), jobs: make(chan uint32, cfg.Depth),
		mailbox: make([]atomic.Uint32, 1<<bits.Len(uint(cfg.Depth))),
	}
	for i := range q.free {
		q.free[i] = uint32(cfg.Depth - 1 - i)
	}
	return q, nil
}

// Notes say in what the queue is less than what was asked for.
func (q *laneQueue) Notes() []string { return []string{q.note} }

// Supports reports whether Submit takes an operation.
func (q *laneQueue) Supports(op engine.Op) bool { return q.node.supports(op) }

// Submit collects; Kick hands out.
func (q *laneQueue) Submit(reqs []*engine.Request) int {
	reqs = reqs[:min(len(reqs), len(q.free))]
	for _, r := range reqs {
		top := len(q.free) - 1
		slot := q.free[top]
		q.free = q.free[:top]
		q.slots[slot] = r
		q.batch = append(q.batch, slot)
	}
	return len(reqs)
}

// Kick starts as many goroutines as there is work for.
func (q *laneQueue) Kick() error {
	for _, slot := range q.batch {
		if q.lanes < lanesMax && q.lanes < len(q.slots)-len(q.free) {
			q.lanes++
			q.wg.Go(q.work)
		}
		q.jobs <- slot
	}
	q.batch = q.batch[:0]
	return nil
}

func (q *laneQueue) work() {
	for slot := range q.jobs {
		q.node.serve(q.slots[slot])
		at := q.posted.Add(1) - 1
		q.mailbox[at&uint32(len(q.mailbox)-1)].Store(slot + 1)
		if q.asleep.Load() {
			var one [8]byte
			binary.NativeEndian.PutUint64(one[:], 1)
			_, _ = unix.Write(q.fd, one[:]) // that the counter is full means that it is readable
		}
	}
}

// serve does one request by the blocking methods.
func (n *Node) serve(r *engine.Request) {
	ctx := context.Background()
	r.Res = 0
	var err error
	switch r.Op {
	case engine.OpRead, engine.OpWrite:
		p := dma.Bytes(r.Buf, int(r.Len))
		switch {
		case p == nil:
			err = unix.EFAULT
		case r.Op == engine.OpRead:
			err = n.ReadAt(ctx, p, r.Off)
		default:
			err = n.WriteAt(ctx, p, r.Off, r.Flags)
		}
		r.Res = int32(r.Len)
	case engine.OpFlush:
		err = n.Flush(ctx)
	case engine.OpDiscard:
		err = n.Discard(ctx, r.Off, int64(r.Len))
	case engine.OpZero:
		err = n.WriteZeroes(ctx, r.Off, int64(r.Len), r.Flags)
	case engine.OpNop:
	}
	if err != nil {
		r.Fail(err)
	}
}

// Poll empties the mailbox.
func (q *laneQueue) Poll(done []*engine.Request) int {
	if q.asleep.Load() {
		q.asleep.Store(false) // whoever armed it is awake
	}
	n := 0
	for ; n < len(done); n++ {
		place := &q.mailbox[q.head&uint32(len(q.mailbox)-1)]
		v := place.Load()
		if v == 0 {
			break
		}
		place.Store(0)
		q.head++
		done[n] = q.slots[v-1]
		q.free = append(q.free, v-1)
	}
	return n
}

// Wait returns when the mailbox has something, or after limit.
func (q *laneQueue) Wait(limit time.Duration) error {
	if err := q.Kick(); err != nil || !q.Arm() {
		return err
	}
	defer q.asleep.Store(false)
	fds := [1]unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLIN}}
	var ts *unix.Timespec
	if limit >= 0 {
		t := unix.NsecToTimespec(int64(limit))
		ts = &t
	}
	if _, err := unix.Ppoll(fds[:], ts, nil); err != nil && err != unix.EINTR { //nolint:errorlint // a bare errno
		return err
	}
	return nil
}

// EventFD is readable when the mailbox has something, after Arm.
func (q *laneQueue) EventFD() int { return q.fd }

// Arm asks for EventFD to be rung; false if there is something already.
func (q *laneQueue) Arm() bool {
	var count [8]byte
	_, _ = unix.Read(q.fd, count[:])
	q.asleep.Store(true)
	if q.mailbox[q.head&uint32(len(q.mailbox)-1)].Load() != 0 {
		q.asleep.Store(false)
		return false
	}
	return true
}

// Close waits for what is in flight, drops it, and ends the goroutines.
func (q *laneQueue) Close() error {
	err := q.Kick()
	close(q.jobs)
	q.wg.Wait()
	unix.Close(q.fd)
	return err
}
