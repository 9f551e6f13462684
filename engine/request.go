package engine

import (
	"context"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/dma"
)

// Request is one operation of the polled plane. The caller owns it, usually in a slab, and leaves it alone from Submit until Poll
// returns it. Off, Buf, Len, Op and Flags are the caller's; a Queue may change them in between and restores them.
//
// At most 128 bytes, the fields of the submission in the first cache line, no Go pointer that the fast path writes.
type Request struct {
	Off   int64      // bytes
	Buf   dma.Handle // data, in an arena that the queue was opened with
	Len   uint32     // bytes
	Op    Op
	Flags WriteFlags
	lane  uint8 // Path: what it has to undo, see below
	tries uint8 // Path: transfers that moved nothing
	Res   int32 // result: bytes moved, or the negative errno
	Slot  uint32
	User  uint64 // the caller's
	// Issued and Done are the caller's stamps (a Queue does not touch them).
	Issued int64
	Done   int64
	walk   uint32 // Path: walk number + 1, or 0 when the request went to the leaf as it is

	savedLen uint32
	savedOff int64
	savedBuf dma.Handle
	err      error
	next     *Request // slow lane
	ref      *Ref     // slow lane: whose blocking method is called
	_        [16]byte
}

const (
	laneColour uint8 = 1 << iota // of the gate that counts the request
	lanePiece                    // a piece from a Path's slab
	laneMapped                   // counted by the map gate
	laneMoved                    // Off was replaced by the leaf's
	laneShort                    // Off, Buf and Len are what a short transfer has left
	laneFUA                      // FUA was added
	laneUndo   = laneMoved | laneShort | laneFUA
)

const _ = 128 - unsafe.Sizeof(Request{}) // fails to compile when it grows

// Err returns the error of a completed request, nil when it succeeded.
func (r *Request) Err() error {
	if r.Res >= 0 {
		return nil
	}
	if r.err != nil {
		return r.err
	}
	errno := unix.Errno(-r.Res)
	return &Error{Op: r.Op.String(), Off: r.Off, Len: int64(r.Len), Kind: KindOf(errno), Cause: errno}
}

// Fail sets the result for a queue that has a better word than an errno.
func (r *Request) Fail(err error) {
	r.err = err
	r.Res = -int32(errnoOf(err))
}

// reset forgets the result of an earlier use.
func (r *Request) reset() {
	r.Res = 0
	if r.err != nil {
		r.err = nil
	}
}

// Queue is the polled plane of a leaf, or of a whole graph (a Path). It belongs to the OS thread of its Poller: every method is called
// there. None allocates.
type Queue interface {
	// Submit takes requests in order and says how many; fewer means full, which is no error. What was taken is on its way at the
	// latest after Kick, and completes exactly once.
	Submit(reqs []*Request) int
	// Kick tells the kernel or the device: at most one doorbell or system call.
	Kick() error
	// Poll puts completed requests into done and says how many. It never blocks. A read or write may have moved less than Len.
	Poll(done []*Request) int
	// Wait kicks, and returns when Poll may have something, or after limit (which is none when negative).
	Wait(limit time.Duration) error
	// Close waits until nothing is in flight and gives everything back.
	Close() error
}

// DescribedQueue is a Queue that says which way its requests go, in words for reports.
type DescribedQueue interface {
	Queue
	// Traits are the engine and what it has of what was asked for: "io_uring", "registered buffers".
	Traits() []string
	// Notes say what was asked for and is not to be had, and why.
	Notes() []string
}

// EventQueue is a Queue that others can wait for.
type EventQueue interface {
	Queue
	// EventFD is readable when Poll may have something. Arm is called before each wait; false means that there is something already.
	EventFD() int
	Arm() bool
}

// QueueConfig is what a leaf's queue is opened with.
type QueueConfig struct {
	Poller *Poller
	Depth  int          // requests in flight at most
	Arenas []*dma.Arena // where buffers will be
	Poll   bool         // the caller wants completions polled for (IOPOLL, NVMe CQ), where the leaf can
}

// QueueOpener is a leaf with a polled plane. It is called on the Poller's thread.
type QueueOpener interface {
	OpenQueue(ctx context.Context, cfg QueueConfig) (Queue, error)
}

// Poller stands for one OS thread that polls. Leaves share transports through it: one ring serves all files and sockets of a thread.
type Poller struct {
	shared map[any]*sharedEntry
	// CPU is the core that the thread is pinned to, or -1.
	CPU int
}

// Closer is closed with the last user of a shared transport.
type Closer interface{ Close() error }

type sharedEntry struct {
	value Closer
	users int
}

// NewPoller makes the Poller of the calling goroutine, which is locked to its thread by the caller.
func NewPoller() *Poller { return &Poller{shared: make(map[any]*sharedEntry), CPU: -1} }

// Shared returns the transport under key, opened by open at the first call. Release gives it back.
func (p *Poller) Shared(key any, open func() (Closer, error)) (Closer, error) {
	if e, ok := p.shared[key]; ok {
		e.users++
		return e.value, nil
	}
	v, err := open()
	if err != nil {
		return nil, err
	}
	p.shared[key] = &sharedEntry{v, 1}
	return v, nil
}

// Release gives a shared transport back; the last user closes it.
func (p *Poller) Release(key any) error {
	e, ok := p.shared[key]
	if !ok {
		return nil
	}
	if e.users--; e.users > 0 {
		return nil
	}
	delete(p.shared, key)
	return e.value.Close()
}

var clockBase = time.Now()

// clockHook lets tests and faster clocks replace Now.
var clockHook atomic.Pointer[func() int64]

// Now is the engine's clock: monotonic nanoseconds from an arbitrary start.
func Now() int64 {
	if f := clockHook.Load(); f != nil {
		return (*f)()
	}
	return int64(time.Since(clockBase))
}

// SetClock replaces the engine's clock; nil restores it.
func SetClock(f func() int64) {
	if f == nil {
		clockHook.Store(nil)
		return
	}
	clockHook.Store(&f)
}
