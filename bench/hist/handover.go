package hist

import "sync/atomic"

// Handover lets one reader look at what one writer fills, without locks and
// without the writer ever waiting. Two values of T exist: the writer holds one,
// the other is empty (spare), filled (full) or with the reader. Full is
// occupied only while spare is not, so neither is ever overwritten.
//
// The zero value needs [Handover.Give] with the second value before its use.
type Handover[T any] struct {
	full   atomic.Pointer[T]
	spare  atomic.Pointer[T]
	wanted atomic.Bool
}

// Offer is the writer's side: it hands cur to the reader and answers the empty
// value to go on with. Where the reader still has that, cur itself comes back
// and goes on filling.
func (h *Handover[T]) Offer(cur *T) (next *T, handed bool) {
	next = h.spare.Load()
	if next == nil {
		return cur, false
	}
	h.spare.Store(nil)
	h.wanted.Store(false)
	h.full.Store(cur)
	return next, true
}

// Wanted tells the writer that a reader asked: one ordinary load.
func (h *Handover[T]) Wanted() bool { return h.wanted.Load() }

// Ask is the reader's side: it asks the writer for what there is so far.
func (h *Handover[T]) Ask() { h.wanted.Store(true) }

// Take answers the filled value, or nil when there is none yet. The reader
// clears it and brings it back with Give.
func (h *Handover[T]) Take() *T {
	v := h.full.Load()
	if v != nil {
		h.full.Store(nil)
	}
	return v
}

// Give puts an empty value where the writer finds it.
func (h *Handover[T]) Give(v *T) { h.spare.Store(v) }
