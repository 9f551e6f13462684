package file

import (
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// threadsMax is how many threads serve one queue at most.
const threadsMax = 64

// threadQueue is the polled plane by threads with blocking system calls: they take slots from a channel and
// put them into a mailbox, a ring of atomics that the poller empties.
//
// Invariant: the mailbox has as many places as there are slots, so that a place is empty when its turn
// comes again.
type threadQueue struct {
	node  *Node
	slots []*engine.Request
	free  []uint32
	batch []uint32 // submitted, not yet kicked
	jobs  chan uint32

	mailbox []atomic.Uint32 // slot + 1, or 0
	posted  atomic.Uint32
	head    uint32 // the poller's
	asleep  atomic.Uint32
	fd      int // eventfd

	threads, most int
	wg            sync.WaitGroup
}

func (n *Node) openThreads(cfg engine.QueueConfig) (engine.Queue, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	q := &threadQueue{
		node: n, fd: fd, most: min(cfg.Depth, threadsMax),
		slots: make([]*engine.Request, cfg.Depth), free: make([]uint32, cfg.Depth),
		batch: make([]uint32, 0, cfg.Depth), jobs: make(chan uint32, cfg.Depth),
		mailbox: make([]atomic.Uint32, 1<<bits.Len(uint(cfg.Depth))),
	}
	for i := range q.free {
		q.free[i] = uint32(cfg.Depth - 1 - i)
	}
	return q, nil
}

// Supports reports whether Submit takes an operation.
// Traits name the engine.
func (q *threadQueue) Traits() []string { return []string{"threads"} }

// Notes are none: nothing can be asked for.
func (q *threadQueue) Notes() []string { return nil }

func (q *threadQueue) Supports(op engine.Op) bool { return q.node.supports(op) }

// Submit collects; Kick hands out.
func (q *threadQueue) Submit(reqs []*engine.Request) int {
	reqs = reqs[:min(len(reqs), len(q.free))]
	for _, r := range reqs {
		slot := q.free[len(q.free)-1]
		q.free = q.free[:len(q.free)-1]
		q.slots[slot] = r
		q.batch = append(q.batch, slot)
	}
	return len(reqs)
}

// Kick wakes as many threads as there is work for.
func (q *threadQueue) Kick() error {
	for _, slot := range q.batch {
		if q.threads < q.most && q.threads < len(q.slots)-len(q.free) {
			q.threads++
			q.wg.Go(q.work)
		}
		q.jobs <- slot
	}
	q.batch = q.batch[:0]
	return nil
}

func (q *threadQueue) work() {
	for slot := range q.jobs {
		q.node.serve(q.slots[slot])
		at := q.posted.Add(1) - 1
		q.mailbox[at&uint32(len(q.mailbox)-1)].Store(slot + 1)
		if q.asleep.Load() != 0 {
			q.ring()
		}
	}
}

// ring makes the eventfd readable; that its counter is full means that it is.
func (q *threadQueue) ring() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(q.fd, one[:])
}

// Poll empties the mailbox.
func (q *threadQueue) Poll(done []*engine.Request) int {
	if q.asleep.Load() != 0 {
		q.asleep.Store(0) // whoever armed it is awake
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

func (q *threadQueue) pending() bool {
	return q.mailbox[q.head&uint32(len(q.mailbox)-1)].Load() != 0
}

// Wait returns when the mailbox has something, or after limit.
func (q *threadQueue) Wait(limit time.Duration) error {
	if err := q.Kick(); err != nil || !q.Arm() {
		return err
	}
	defer q.asleep.Store(0)
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
func (q *threadQueue) EventFD() int { return q.fd }

// Arm asks for EventFD to be rung; false if there is something already.
func (q *threadQueue) Arm() bool {
	var count [8]byte
	_, _ = unix.Read(q.fd, count[:])
	q.asleep.Store(1)
	if q.pending() {
		q.asleep.Store(0)
		return false
	}
	return true
}

// Close waits for what is in flight, drops it, and ends the threads.
func (q *threadQueue) Close() error {
	err := q.Kick()
	close(q.jobs)
	q.wg.Wait()
	unix.Close(q.fd)
	return err
}
