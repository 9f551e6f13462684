package engine

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// slowLane runs requests by the nodes' blocking methods. Workers are goroutines that never wait for one another; they hand results back
// on a lock-free list that Poll drains, and ring an eventfd when the Path sleeps.
type slowLane struct {
	ctx     context.Context
	ch      chan *Request
	workers int
	started int
	out     int // sent and not yet taken; the Path's thread only
	fd      int
	wg      sync.WaitGroup
	done    atomic.Pointer[Request]
	asleep  atomic.Uint32
}

func (l *slowLane) open(ctx context.Context, workers, depth int) error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return err
	}
	l.ctx, l.workers, l.fd = ctx, workers, fd
	l.ch = make(chan *Request, depth)
	return nil
}

// send never blocks: the channel holds every request and piece that can exist. Workers start with the first requests.
func (l *slowLane) send(r *Request) {
	if l.started < l.workers && l.started <= l.out {
		l.started++
		l.wg.Add(1)
		go l.work()
	}
	l.out++
	l.ch <- r
}

func (l *slowLane) work() {
	defer l.wg.Done()
	for r := range l.ch {
		r.execute(l)
		l.finish(r)
	}
}

// finish hands a request back to the Path.
func (l *slowLane) finish(r *Request) {
	for {
		head := l.done.Load()
		r.next = head
		if l.done.CompareAndSwap(head, r) {
			break
		}
	}
	if l.asleep.Load() != 0 {
		l.ring()
	}
}

func (l *slowLane) ring() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// A full counter means that it is readable already.
	_, _ = unix.Write(l.fd, one[:])
}

// pending reports whether take has something.
func (l *slowLane) pending() bool { return l.done.Load() != nil }

// idle reports whether nothing is at the workers.
func (l *slowLane) idle() bool { return l.out == 0 }

// take returns the finished requests, linked by next.
func (l *slowLane) take() *Request {
	r := l.done.Swap(nil)
	for q := r; q != nil; q = q.next {
		l.out--
	}
	return r
}

// arm asks for a ring; false means that something is there already.
func (l *slowLane) arm() bool {
	l.asleep.Store(1)
	if l.pending() {
		l.disarm()
		return false
	}
	return true
}

func (l *slowLane) disarm() {
	l.asleep.Store(0)
	var b [8]byte
	_, _ = unix.Read(l.fd, b[:])
}

func (l *slowLane) close() {
	close(l.ch)
	l.wg.Wait()
	unix.Close(l.fd)
}

// fifo is a queue of walk numbers of fixed size.
type fifo struct {
	items      []uint32
	head, tail int // tail - head elements
}

func newFIFO(n int) fifo { return fifo{items: make([]uint32, n+1)} }

func (f *fifo) empty() bool { return f.head == f.tail }

func (f *fifo) push(i uint32) {
	f.items[f.tail] = i
	if f.tail++; f.tail == len(f.items) {
		f.tail = 0
	}
}

func (f *fifo) pop() uint32 {
	i := f.items[f.head]
	if f.head++; f.head == len(f.items) {
		f.head = 0
	}
	return i
}

// timerHeap holds walks that wait for a time; ties go in order of arrival.
type timerHeap struct {
	items []timer
	count uint64
}

type timer struct {
	at   int64
	turn uint64
	walk uint32
}

func (h *timerHeap) len() int { return len(h.items) }

func (h *timerHeap) first() (int64, bool) {
	if len(h.items) == 0 {
		return 0, false
	}
	return h.items[0].at, true
}

func (t timer) before(o timer) bool { return t.at < o.at || (t.at == o.at && t.turn < o.turn) }

func (h *timerHeap) push(at int64, w uint32) {
	h.count++
	h.items = append(h.items, timer{at, h.count, w})
	for i := len(h.items) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.items[i].before(h.items[up]) {
			return
		}
		h.items[i], h.items[up] = h.items[up], h.items[i]
		i = up
	}
}

func (h *timerHeap) pop() uint32 {
	w := h.items[0].walk
	last := len(h.items) - 1
	h.items[0] = h.items[last]
	h.items = h.items[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			return w
		}
		if c+1 < last && h.items[c+1].before(h.items[c]) {
			c++
		}
		if !h.items[c].before(h.items[i]) {
			return w
		}
		h.items[i], h.items[c] = h.items[c], h.items[i]
		i = c
	}
}
