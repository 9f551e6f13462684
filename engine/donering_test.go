package engine

import "testing"

// TestDoneRingKeepsOrderAndDepth goes round the ring many times, for depths that are powers of two and others.
func TestDoneRingKeepsOrderAndDepth(t *testing.T) {
	for depth := 1; depth <= 9; depth++ {
		q := NewDoneRing(depth)
		slab := make([]Request, 64)
		in, out := 0, 0
		for step := range 200 {
			want := step%7 + 1
			room := q.Room(want)
			if free := depth - (in - out); room != min(want, free) {
				t.Fatalf("depth %d holding %d: room for %d of %d", depth, in-out, room, want)
			}
			for range room {
				q.Push(&slab[in%len(slab)])
				in++
			}
			done := make([]*Request, step%5)
			for _, r := range done[:q.Pop(done)] {
				if r != &slab[out%len(slab)] {
					t.Fatalf("depth %d: request %d out of order", depth, out)
				}
				out++
			}
			if q.Empty() != (in == out) {
				t.Fatalf("depth %d: empty %v with %d held", depth, q.Empty(), in-out)
			}
		}
	}
}
