package file

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/uring"
)

// perIO reports nanoseconds of this thread's processor time, which other people's work on the machine does
// not count in.
func perIO(b *testing.B, start int64, batch int) {
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N)/float64(batch), "cpu-ns/io")
	b.ReportAllocs()
}

func cpuTime() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return ts.Nano()
}

// The bare loop that the queue is compared with: a ring, a batch, an array of requests.
func BenchmarkNopBare(b *testing.B) {
	lock(b)
	r, err := uring.NewReactor(uring.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	ring := r.Ring()
	start := cpuTime()
	for b.Loop() {
		for i := range uint64(bedDepth) {
			s := ring.SQE()
			s.PrepNop()
			s.UserData = i
		}
		if err := ring.Kick(); err != nil {
			b.Fatal(err)
		}
		for got := uint32(0); got < bedDepth; {
			n := ring.CQ().Ready()
			ring.CQ().Release(n)
			got += n
		}
	}
	perIO(b, start, bedDepth)
}

// drive keeps a queue busy with batches of the same operation at random places.
func drive(b *testing.B, bd *bed, op engine.Op, block, batch int, size int64) {
	reqs := make([]*engine.Request, batch)
	done := make([]*engine.Request, batch)
	for i := range reqs {
		reqs[i] = &bd.reqs[i]
		bd.reqs[i] = engine.Request{Op: op, Len: uint32(block), Buf: bd.handle(i)}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	start := cpuTime()
	for b.Loop() {
		if op == engine.OpRead {
			for _, r := range reqs {
				r.Off = rng.Int64N(size/int64(block)) * int64(block)
			}
		}
		if bd.q.Submit(reqs) != batch {
			b.Fatal("not taken")
		}
		if err := bd.q.Kick(); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < batch; {
			got += bd.q.Poll(done)
		}
	}
	perIO(b, start, batch)
	for _, r := range reqs {
		if r.Err() != nil {
			b.Fatal(r.Err())
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	path, _ := makeFile(b, inMemory(b), 64<<20)
	b.Run("nop", func(b *testing.B) { drive(b, makeBed(b, path, wish{}), engine.OpNop, 0, bedDepth, 0) })
	for _, w := range wishes {
		if w.poll || w.leaf.SQThreadPoll {
			continue
		}
		for _, batch := range []int{1, bedDepth} {
			b.Run(fmt.Sprintf("%s/4k/batch=%d", w.name, batch), func(b *testing.B) {
				drive(b, makeBed(b, path, w), engine.OpRead, 4096, batch, 64<<20)
			})
		}
	}
}
