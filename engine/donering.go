package engine

// DoneRing holds finished requests, in order, until they are polled: what a Path and the queues that finish requests as they are
// submitted have in common. It never holds more than its depth, which is its owner's to see to.
//
// Invariant: the requests held are those from head up to tail, modulo the size; head and tail count up without end.
type DoneRing struct {
	items      []*Request // a power of two
	head, tail uint32
	depth      uint32
}

// NewDoneRing makes a ring for at most depth requests.
func NewDoneRing(depth int) DoneRing {
	size := 1
	for size < depth {
		size *= 2
	}
	return DoneRing{items: make([]*Request, size), depth: uint32(depth)}
}

// Len is how many requests are held.
func (q *DoneRing) Len() int { return int(q.tail - q.head) }

// Empty reports whether nothing is held.
func (q *DoneRing) Empty() bool { return q.head == q.tail }

// Room is how many of n requests there is room for.
func (q *DoneRing) Room(n int) int { return min(n, int(q.depth-(q.tail-q.head))) }

// Push adds one request; there is room.
func (q *DoneRing) Push(r *Request) {
	q.items[int(q.tail)&(len(q.items)-1)] = r
	q.tail++
}

// Pop moves the oldest requests to done, as many as it takes, and says how many.
func (q *DoneRing) Pop(done []*Request) int {
	n := min(len(done), int(q.tail-q.head))
	for i := range done[:n] {
		done[i] = q.items[int(q.head)&(len(q.items)-1)]
		q.head++
	}
	return n
}
