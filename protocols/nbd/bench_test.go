package nbd

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// TestBlockingAllocations: the blocking plane allocates nothing a request either. (The queues' suite sees to the polled one.)
func TestBlockingAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	ref := connect(t, uri(nbdkit(t, "memory", "1M"), ""))
	p := make([]byte, 4096)
	for name, f := range map[string]func() error{
		"read":  func() error { return ref.Node().ReadAt(bg, p, 4096) },
		"write": func() error { return ref.Node().WriteAt(bg, p, 4096, engine.FUA) },
		"flush": func() error { return ref.Node().Flush(bg) },
	} {
		var err error
		// A collection may empty the pool of calls now and then.
		if n := testing.AllocsPerRun(500, func() { err = f() }); n > 0.5 || err != nil {
			t.Errorf("%s: %v allocations, %v", name, n, err)
		}
	}
}

// BenchmarkQueue: random reads at depth 32.
func BenchmarkQueue(b *testing.B) {
	for _, n := range []int{4096, 65536, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			const depth, size = 32, 64 << 20
			ref := connect(b, uri(nbdkit(b, "memory", fmt.Sprint(size)), ""))
			arena, err := dma.New(dma.Config{Size: depth * n})
			if err != nil {
				b.Fatal(err)
			}
			defer arena.Close()
			q, err := ref.Node().(engine.QueueOpener).OpenQueue(bg, engine.QueueConfig{Poller: engine.NewPoller(), Depth: depth, Arenas: []*dma.Arena{arena}})
			if err != nil {
				b.Fatal(err)
			}
			defer q.Close()
			reqs, list := make([]engine.Request, depth), make([]*engine.Request, depth)
			for i := range reqs {
				h, err := arena.Alloc(n)
				if err != nil {
					b.Fatal(err)
				}
				reqs[i] = engine.Request{Op: engine.OpRead, Buf: h, Len: uint32(n), Off: int64(i * n % size)}
				list[i] = &reqs[i]
			}
			done := make([]*engine.Request, depth)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; {
				if q.Submit(list) != len(list) {
					b.Fatal("a queue with room takes fewer")
				}
				if err := q.Wait(time.Second); err != nil {
					b.Fatal(err)
				}
				k := q.Poll(done)
				left -= k
				list = list[:copy(list[:depth], done[:k])]
			}
		})
	}
}
