package enginetest

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// QueueBehaviour says how a Disk's queue behaves, within what the contract allows.
type QueueBehaviour struct {
	Room     int     // requests taken at once; 0: as many as the depth it is opened with
	Shuffle  bool    // completes in any order, some of them later
	Short    float64 // how many transfers move less than was asked for
	Manual   bool    // completes what Release says
	Seed     uint64
	Fail     func(r *engine.Request) unix.Errno // called before a request is executed; 0: let it be
	Ops      []engine.Op                        // besides read and write; nil: all
	NoEvents bool                               // no EventQueue
}

// diskQueue executes requests at random moments between Submit and Poll.
type diskQueue struct {
	d     *Disk
	b     QueueBehaviour
	rng   *rand.Rand
	room  int
	taken []*inDisk
	spare []*inDisk
	fd    int

	nothing bool // the last transfer moved nothing

	mu       sync.Mutex
	released int // requests that Release has let go, in order of submission
	total    atomic.Int64
}

type inDisk struct {
	r    *engine.Request
	done bool
}

// OpenQueue implements engine.QueueOpener.
func (d *Disk) OpenQueue(_ context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	if d.cfg.NoQueue {
		return nil, engine.Errf(engine.ErrUnsupported, "a disk without a queue")
	}
	b := d.cfg.Queue
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	q := &diskQueue{d: d, b: b, room: b.Room, fd: fd, rng: rand.New(rand.NewPCG(b.Seed, 1))}
	if q.room == 0 || q.room > cfg.Depth {
		q.room = cfg.Depth
	}
	d.queues.Add(1)
	d.mu.Lock()
	d.open = append(d.open, q)
	d.mu.Unlock()
	if b.NoEvents {
		return plainQueue{q, q}, nil
	}
	return q, nil
}

// plainQueue hides that a queue can be waited for together with others.
type plainQueue struct {
	engine.Queue
	engine.QueueOps
}

// Release lets the next n requests of every queue complete, in order of submission. Any goroutine may call it.
func (d *Disk) Release(n int) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, q := range d.open {
		q.mu.Lock()
		q.released += n
		q.mu.Unlock()
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(q.fd, one[:])
	}
}

// Held returns how many requests the queues have taken and not completed.
func (d *Disk) Held() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n := int64(0)
	for _, q := range d.open {
		n += q.total.Load()
	}
	return int(n)
}

// Supports implements engine.QueueOps.
func (q *diskQueue) Supports(op engine.Op) bool {
	if q.b.Ops == nil {
		return true
	}
	return slices.Contains(q.b.Ops, op)
}

// Submit implements engine.Queue.
func (q *diskQueue) Submit(reqs []*engine.Request) int {
	n := min(len(reqs), q.room-len(q.taken))
	for _, r := range reqs[:n] {
		if !q.Supports(r.Op) && r.Op > engine.OpWrite {
			_ = q.d.fault("%s submitted to a queue that has none", r.Op)
		}
		if len(q.spare) == 0 {
			q.spare = append(q.spare, new(inDisk))
		}
		e := q.spare[len(q.spare)-1]
		q.spare = q.spare[:len(q.spare)-1]
		*e = inDisk{r: r}
		if !q.b.Manual && (!q.b.Shuffle || q.rng.IntN(2) == 0) {
			q.execute(e)
		}
		q.taken = append(q.taken, e)
	}
	q.total.Add(int64(n))
	return n
}

// execute does a request's work.
func (q *diskQueue) execute(e *inDisk) {
	r, d := e.r, q.d
	e.done = true
	if q.b.Fail != nil {
		if errno := q.b.Fail(r); errno != 0 {
			r.Res = -int32(errno)
			return
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	r.Res = 0
	switch r.Op {
	case engine.OpRead, engine.OpWrite:
		err = q.transfer(r)
	case engine.OpFlush:
		d.flushes++
		err = d.flushed()
	case engine.OpDiscard:
		err = d.discard(r.Off, int64(r.Len))
	case engine.OpZero:
		err = d.zero(r.Off, int64(r.Len), r.Flags)
	case engine.OpNop:
	}
	if err != nil {
		r.Fail(err)
	}
}

func (q *diskQueue) transfer(r *engine.Request) error {
	d := q.d
	p := dma.Bytes(r.Buf, int(r.Len))
	if p == nil {
		return d.fault("buffer %#x is in no arena", uint64(r.Buf))
	}
	if err := d.check(r.Op.String(), p, r.Off, int64(r.Len)); err != nil {
		return err
	}
	if r.Op == engine.OpWrite && r.Flags&engine.FUA != 0 && !d.cfg.FUA {
		return d.fault("write with FUA, which it has not")
	}
	if r.Op == engine.OpWrite && r.Off+int64(r.Len) > d.Size() {
		return d.fault("fast write at %#x+%d past the end at %#x", r.Off, r.Len, d.Size())
	}
	if q.nothing = !q.nothing && q.rng.Float64() < q.b.Short; q.nothing {
		// A device moves whole blocks; now and then nothing at all, but not for ever.
		blocks := len(p) / int(d.cfg.Limits.RequestAlign)
		p = p[:q.rng.IntN(blocks)*int(d.cfg.Limits.RequestAlign)]
		if q.nothing = len(p) == 0; q.nothing {
			return nil
		}
	}
	if r.Op == engine.OpRead {
		r.Res = int32(d.read(p, r.Off)) // short at the end, as the kernel is
		return nil
	}
	r.Res = int32(len(p))
	return d.write(p, r.Off, r.Flags)
}

// Kick implements engine.Queue.
func (q *diskQueue) Kick() error { return nil }

// Poll implements engine.Queue.
func (q *diskQueue) Poll(done []*engine.Request) int {
	n, kept := 0, 0
	q.mu.Lock()
	released := q.released
	q.mu.Unlock()
	for i, e := range q.taken {
		ready := n < len(done)
		switch {
		case q.b.Manual:
			ready = ready && n < released
		case q.b.Shuffle:
			ready = ready && (q.rng.IntN(3) > 0 || (i == len(q.taken)-1 && n == 0))
		}
		if !ready {
			q.taken[kept] = e
			kept++
			continue
		}
		if !e.done {
			q.execute(e)
		}
		done[n] = e.r
		n++
		q.spare = append(q.spare, e)
	}
	q.taken = q.taken[:kept]
	if q.b.Shuffle {
		q.rng.Shuffle(n, func(i, j int) { done[i], done[j] = done[j], done[i] })
	}
	q.mu.Lock()
	q.released -= min(n, q.released)
	q.mu.Unlock()
	q.total.Add(-int64(n))
	return n
}

// Wait implements engine.Queue.
func (q *diskQueue) Wait(limit time.Duration) error {
	if !q.Arm() {
		return nil
	}
	ms := -1
	if limit >= 0 {
		ms = int((limit + time.Millisecond - 1) / time.Millisecond)
	}
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLIN}}, ms)
	if err == unix.EINTR {
		return nil
	}
	return err
}

// EventFD implements engine.EventQueue.
func (q *diskQueue) EventFD() int { return q.fd }

// Arm implements engine.EventQueue.
func (q *diskQueue) Arm() bool {
	var b [8]byte
	_, _ = unix.Read(q.fd, b[:])
	if !q.b.Manual {
		return len(q.taken) == 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.taken) == 0 || q.released == 0
}

// Close implements engine.Queue.
func (q *diskQueue) Close() error {
	done := make([]*engine.Request, 16)
	for len(q.taken) > 0 {
		if q.Poll(done) == 0 {
			if err := q.Wait(-1); err != nil {
				return err
			}
		}
	}
	q.d.mu.Lock()
	for i, o := range q.d.open {
		if o == q {
			q.d.open = append(q.d.open[:i], q.d.open[i+1:]...)
			break
		}
	}
	q.d.mu.Unlock()
	q.d.queues.Add(-1)
	return unix.Close(q.fd)
}
