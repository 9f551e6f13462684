package nvme

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// callQueue is a Queue that many goroutines share for commands they wait for: the admin queue, and the blocking I/O
// queue. Data goes through bounce memory, so that a caller that gives up leaves nothing behind that the controller
// could still write to.
type callQueue struct {
	ctrl   *Controller
	q      *Queue
	chunks chan Region // bounce memory, all of one size
	large  chan Region // one piece for what does not fit a chunk
	meta   chan Region

	mu    sync.Mutex
	calls []*call // by command identifier
	out   [16]Done
}

// call is one command somebody waits for.
type call struct {
	done      atomic.Bool
	completed Completion
	err       error // a command that ended without the controller's word
	data      Region
	home      chan Region // where data goes back to
	meta      Region
	notify    func(Completion) // instead of a waiter
	abandoned bool             // the waiter has left; guarded by callQueue.mu
}

const (
	chunkSize     = 128 << 10
	chunkCount    = 6
	largeSize     = 1 << 20
	metaSize      = 16 << 10
	callQueueSize = 64
)

// callMemory is how much bounce memory newCallQueue takes out of a region.
const callMemory = chunkCount*chunkSize + largeSize + 2*metaSize

func newCallQueue(c *Controller, q *Queue, bounce Region) *callQueue {
	s := &callQueue{
		ctrl: c, q: q, calls: make([]*call, q.Size()+1),
		chunks: make(chan Region, chunkCount), large: make(chan Region, 1), meta: make(chan Region, 2),
	}
	off := 0
	take := func(n int) Region {
		r := bounce.Slice(off, n)
		off += n
		return r
	}
	s.large <- take(largeSize)
	for range chunkCount {
		s.chunks <- take(chunkSize)
	}
	for range 2 {
		s.meta <- take(metaSize)
	}
	return s
}

// leftError is what do returns for a command that its caller has given up on, and that is still in flight.
type leftError struct {
	cid   uint16
	cause error // the context's error, or ErrTimeout
}

func (e *leftError) Error() string { return fmt.Sprintf("%v: the command is still in flight", e.cause) }
func (e *leftError) Unwrap() error { return e.cause }

// do runs one command to its end, or until ctx or the timeout gives up on it (0 for none). data and meta are copied in
// and out.
func (s *callQueue) do(ctx context.Context, cmd *Command, data, meta []byte, timeout time.Duration) (Completion, error) {
	k := &call{}
	if err := s.bounce(ctx, k, cmd, data, meta); err != nil {
		return Completion{}, err
	}
	cid, err := s.submit(ctx, k, cmd, len(data))
	if err != nil {
		s.giveBack(k)
		return Completion{}, err
	}
	if err := s.wait(ctx, k, timeout); err != nil && s.leave(k) {
		return Completion{}, &leftError{cid: cid, cause: err}
	}
	if k.err == nil && k.completed.Status.OK() && cmd.Direction()&ControllerToHost != 0 {
		copy(data, k.data.Bytes)
		copy(meta, k.meta.Bytes)
	}
	s.giveBack(k)
	return k.completed, k.err
}

// bounce gets memory for the command's data, and fills it.
func (s *callQueue) bounce(ctx context.Context, k *call, cmd *Command, data, meta []byte) error {
	if len(meta) > metaSize {
		return fmt.Errorf("%w: %d bytes of metadata in one command (at most %d)", ErrUnsupported, len(meta), metaSize)
	}
	var err error
	if len(data) > 0 {
		k.home = s.chunks
		if len(data) > chunkSize {
			k.home = s.large
		}
		if len(data) > largeSize {
			return fmt.Errorf("%w: %d bytes in one command (at most %d)", ErrUnsupported, len(data), largeSize)
		}
		if k.data, err = receive(ctx, k.home); err != nil {
			return err
		}
	}
	if len(meta) > 0 {
		if k.meta, err = receive(ctx, s.meta); err != nil {
			s.giveBack(k)
			return err
		}
		cmd.MPTR = k.meta.IOVA
	}
	if cmd.Direction()&HostToController != 0 {
		copy(k.data.Bytes, data)
		copy(k.meta.Bytes, meta)
	} else {
		// What the controller does not write must not be somebody else's old data.
		clear(k.data.Bytes[:len(data)])
		clear(k.meta.Bytes[:len(meta)])
	}
	return nil
}

func receive(ctx context.Context, from chan Region) (Region, error) {
	select {
	case r := <-from:
		return r, nil
	case <-ctx.Done():
		return Region{}, ctx.Err()
	}
}

func (s *callQueue) giveBack(k *call) {
	if k.data.Bytes != nil {
		k.home <- k.data
	}
	if k.meta.Bytes != nil {
		s.meta <- k.meta
	}
	k.data, k.meta = Region{}, Region{}
}

// submit waits for room, and for a queue that is being reset.
func (s *callQueue) submit(ctx context.Context, k *call, cmd *Command, n int) (uint16, error) {
	for w := newWaiter(); ; w.pause() {
		s.mu.Lock()
		s.poll()
		cid, ok := s.q.push(cmd, k.data.IOVA, uint32(n), s.q.tick)
		if ok {
			s.calls[cid] = k
			s.q.Kick()
			s.mu.Unlock()
			return cid, nil
		}
		dead := s.q.state.Load() == queueDead
		s.mu.Unlock()
		if dead {
			return 0, s.q.Err()
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
}

// post submits a command that nobody waits for and that may take for ever; notify gets its completion.
func (s *callQueue) post(cmd *Command, notify func(Completion)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	cid, ok := s.q.push(cmd, 0, 0, noExpiry)
	if ok {
		s.calls[cid] = &call{notify: notify}
		s.q.Kick()
	}
	return ok
}

// wait polls until k is done. Every waiter polls for all.
func (s *callQueue) wait(ctx context.Context, k *call, timeout time.Duration) error {
	start := time.Now()
	for w := newWaiter(); !k.done.Load(); w.pause() {
		s.mu.Lock()
		s.poll()
		s.mu.Unlock()
		if k.done.Load() {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if timeout > 0 && time.Since(start) > timeout {
			return ErrTimeout
		}
	}
	return nil
}

// poll hands completions to their calls. The caller holds mu.
func (s *callQueue) poll() {
	for {
		n := s.q.Poll(s.out[:])
		for _, d := range s.out[:n] {
			k := s.calls[d.CID]
			s.calls[d.CID] = nil
			if k == nil {
				continue
			}
			k.completed = Completion{CID: d.CID, SQID: s.q.id, Status: d.Status, DW0: s.q.result[d.CID][0], DW1: s.q.result[d.CID][1]}
			if d.Status == StatusHostAborted {
				k.err = s.q.Err()
				if k.err == nil {
					k.err = ErrReset
				}
			}
			if k.notify != nil {
				if k.err == nil {
					k.notify(k.completed)
				}
				continue
			}
			if k.abandoned {
				s.giveBack(k)
			}
			k.done.Store(true)
		}
		if n < len(s.out) {
			return
		}
	}
}

// leave makes the end of k, and the return of its memory, the business of whoever polls then. It says false when k
// has ended in the meantime.
func (s *callQueue) leave(k *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.abandoned = !k.done.Load()
	return k.abandoned
}

// restart makes the rings as new and lets commands in, for a controller that is being brought up.
func (s *callQueue) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.q.restart()
	s.q.cause.Store(nil)
	s.q.state.Store(queueLive)
}

// look polls for the calls that have no waiter.
func (s *callQueue) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poll()
}

// waiter is the back-off of a blocking wait: it spins for about as long as a fast device takes, then sleeps for ever
// longer moments.
type waiter struct {
	spins int
	sleep time.Duration
}

func newWaiter() *waiter { return &waiter{sleep: 10 * time.Microsecond} }

func (w *waiter) pause() {
	if w.spins < 64 {
		w.spins++
		runtime.Gosched()
		return
	}
	time.Sleep(w.sleep)
	w.sleep = min(2*w.sleep, time.Millisecond)
}
