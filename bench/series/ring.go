package series

import "sync/atomic"

// Ring is a queue from one producer to one consumer, of a fixed length, without
// locks. Neither Push nor Put waits: what does not fit is counted and gone. What
// was Put can be drained after the next Publish, so that the one locked
// instruction is paid once a batch; Push is both.
//
// head is written by the consumer only, tail by the producer only; each side's
// own copies lie in its own cache line, so that as long as there is room (or
// something to take) neither touches the other's.
type Ring[T any] struct {
	slots []T
	mask  uint64
	_     [64]byte
	next  uint64 // slot to fill next; the producer's own
	seen  uint64 // head, as the producer last saw it
	lost  uint64
	tail  atomic.Uint64 // next, as published
	drops atomic.Uint64 // lost, as published
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

// Push adds v and shows it to the consumer; false when there is no room.
// Producer only.
func (r *Ring[T]) Push(v *T) bool {
	ok := r.Put(v)
	r.Publish()
	return ok
}

// Put adds v, to be published with others; false when there is no room.
// Producer only.
func (r *Ring[T]) Put(v *T) bool {
	if r.next-r.seen > r.mask {
		if r.seen = r.head.Load(); r.next-r.seen > r.mask {
			r.lost++
			return false
		}
	}
	r.slots[r.next&r.mask] = *v
	r.next++
	return true
}

// Publish shows what was Put to the consumer. Producer only.
func (r *Ring[T]) Publish() {
	r.tail.Store(r.next)
	if r.lost != r.drops.Load() {
		r.drops.Store(r.lost)
	}
}

// Drain hands all values that are published to use, oldest first, and frees their
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

// Dropped is how many values found no room, as of the last Publish.
func (r *Ring[T]) Dropped() uint64 { return r.drops.Load() }
