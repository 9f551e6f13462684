package series

import "sync/atomic"

// Ring is a queue from one producer to one consumer, of a fixed length, without
// locks. Push never waits: what does not fit is counted and gone.
//
// head is written by the consumer only, tail by the producer only; each keeps a
// copy of the other's, so that as long as there is room (or something to take)
// neither touches the other's cache line.
type Ring[T any] struct {
	slots []T
	mask  uint64
	_     [64]byte
	tail  atomic.Uint64 // next slot to fill
	seen  uint64        // head, as the producer last saw it
	drops atomic.Uint64
	_     [64]byte
	head  atomic.Uint64 // next slot to take
	_     [64]byte
}

// NewRing makes a ring for at least n values.
func NewRing[T any](n int) *Ring[T] {
	size := 1
	for size < n {
		size *= 2
	}
	return &Ring[T]{slots: make([]T, size), mask: uint64(size - 1)}
}

// Push adds v; false when there is no room. Producer only.
func (r *Ring[T]) Push(v *T) bool {
	tail := r.tail.Load()
	if tail-r.seen > r.mask {
		if r.seen = r.head.Load(); tail-r.seen > r.mask {
			r.drops.Store(r.drops.Load() + 1) // one producer: no lock needed
			return false
		}
	}
	r.slots[tail&r.mask] = *v
	r.tail.Store(tail + 1)
	return true
}

// Drain hands all values that are there to use, oldest first, and frees their
// room; it answers how many. Consumer only.
func (r *Ring[T]) Drain(use func([]T)) int {
	head, tail := r.head.Load(), r.tail.Load()
	total := int(tail - head)
	for head != tail {
		first := head & r.mask
		n := min(tail-head, uint64(len(r.slots))-first)
		use(r.slots[first : first+n])
		head += n
		r.head.Store(head)
	}
	return total
}

// Dropped is how many values found no room.
func (r *Ring[T]) Dropped() uint64 { return r.drops.Load() }
