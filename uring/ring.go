package uring

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ring is one io_uring instance. It belongs to the OS thread that called New; see the package comment.
//
// Invariant of the submission side: kSQHead <= kSQTail <= sqTail, and sqTail-kSQHead <= sqEntries, in
// 32-bit wrapping arithmetic. Slots from kSQTail to sqTail are filled and not yet shown to the kernel.
// Without SQPOLL the kernel moves kSQHead only inside io_uring_enter.
type Ring struct {
	// Submission, first cache line.
	sqes      unsafe.Pointer
	kSQHead   *uint32
	kSQTail   *uint32
	kSQFlags  *uint32
	sqTail    uint32
	sqMask    uint32
	sqEntries uint32
	sqeShift  uint8
	sqPoll    bool
	ioPoll    bool // completions come only when an enter polls for them
	enabled   bool
	enterFD   uintptr
	enterFlag uintptr

	// Completion, second cache line.
	cq        CQ
	cqEntries uint32
	again     uint32 // completions that announced another one

	fd      int
	ringIdx int32 // index among the thread's registered rings, or -1
	tid     int
	feats   Feature
	kfeats  uint32
	scratch scratch
	arg     *getEventsArg
	ts      *kernelTimespec
	iov     *Iovec
	rings   mapping
	sqeMem  mapping
	pfd     [1]unix.PollFd

	kCQFlags *uint32 // nil before Linux 5.8
}

// Features is what the ring has got.
func (r *Ring) Features() Feature { return r.feats }

// Entries is the number of submission slots.
func (r *Ring) Entries() uint32 { return r.sqEntries }

// CQEntries is the number of completion slots.
func (r *Ring) CQEntries() uint32 { return r.cqEntries }

// FD is the ring's descriptor.
func (r *Ring) FD() int { return r.fd }

// SQE hands out the next submission slot, or nil if all are taken: Kick frees them. The slot is to be
// filled by a Prep method before the next call of anything.
func (r *Ring) SQE() *SQE {
	if r.sqTail-atomic.LoadUint32(r.kSQHead) >= r.sqEntries {
		return nil
	}
	s := (*SQE)(unsafe.Add(r.sqes, uintptr(r.sqTail&r.sqMask)<<(r.sqeShift&7)))
	r.sqTail++
	return s
}

// Room is how many times SQE will not return nil before the next Kick.
func (r *Ring) Room() uint32 {
	return r.sqEntries - (r.sqTail - atomic.LoadUint32(r.kSQHead))
}

// Slot is slot i of those that there is Room for, without handing it out: a batch is filled through it and
// handed out by one Take.
func (r *Ring) Slot(i uint32) *SQE {
	return (*SQE)(unsafe.Add(r.sqes, uintptr((r.sqTail+i)&r.sqMask)<<(r.sqeShift&7)))
}

// Take hands out the first n slots, which were filled.
func (r *Ring) Take(n uint32) { r.sqTail += n }

// CQ is the ring's completion queue.
func (r *Ring) CQ() *CQ { return &r.cq }

// More records that a completion had CQEMore: its entry is still in flight.
func (r *Ring) More() { r.again++ }

// Inflight is how many entries were handed out and have not completed for the last time. Completions with
// CQEMore count as long as they are reported by More.
func (r *Ring) Inflight() uint32 { return r.sqTail - r.cq.head + r.again }

// Pending reports whether the kernel holds completions that only an enter brings into the ring.
func (r *Ring) Pending() bool {
	return atomic.LoadUint32(r.kSQFlags)&sqPending != 0 || (r.ioPoll && r.Inflight() != 0)
}
