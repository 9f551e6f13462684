package uring

import (
	"sync/atomic"
	"unsafe"
)

// CQ is a queue of completions: a ring's own, shared with the kernel, or the list of those that were found
// for a client while another one looked.
//
// Invariant: head is what *kHead says; the entries from head to *kTail are the reader's, in 32-bit wrapping
// arithmetic.
type CQ struct {
	cqes  unsafe.Pointer
	kHead *uint32
	kTail *uint32
	head  uint32
	mask  uint32
	shift uint8 // of the size of an entry
}

// Ready is how many completions there are. It does not enter the kernel.
func (q *CQ) Ready() uint32 { return atomic.LoadUint32(q.kTail) - q.head }

// At is completion i of those that are ready, valid until Release.
func (q *CQ) At(i uint32) *CQE {
	return (*CQE)(unsafe.Add(q.cqes, uintptr((q.head+i)&q.mask)<<(q.shift&7)))
}

// Release gives the first n completions back.
func (q *CQ) Release(n uint32) {
	q.head += n
	storeRelease(q.kHead, q.head)
}

// backlog is a CQ in ordinary memory.
type backlog struct {
	CQ
	mem        []uint64
	rHead, end uint32
}

// newBacklog has room for at least n completions of 1<<shift bytes.
func newBacklog(n uint32, shift uint8) *backlog {
	n = powerOfTwo(max(n, 2))
	b := &backlog{mem: make([]uint64, n<<(shift-3))}
	b.CQ = CQ{cqes: unsafe.Pointer(&b.mem[0]), kHead: &b.rHead, kTail: &b.end, mask: n - 1, shift: shift}
	return b
}

// push copies a completion of the same size to the end; false if there is no room.
func (b *backlog) push(e *CQE) bool {
	if b.end-b.head > b.mask {
		return false
	}
	at := (*CQE)(unsafe.Add(b.cqes, uintptr(b.end&b.mask)<<(b.shift&7)))
	*at = *e
	if b.shift == 5 {
		*at.Big() = *e.Big()
	}
	b.end++
	return true
}
