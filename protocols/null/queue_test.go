package null_test

import (
	"runtime"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/null"
)

const batch = 32

// requests are a batch of reads of 4 KiB without data, which a null target without read-zeroes never touches.
func requests() []*engine.Request {
	reqs := make([]*engine.Request, batch)
	for i := range reqs {
		reqs[i] = &engine.Request{Op: engine.OpRead, Off: int64(i) << 12, Len: 4096}
	}
	return reqs
}

func openQueue(tb testing.TB, o null.Options) engine.Queue {
	tb.Helper()
	runtime.LockOSThread()
	tb.Cleanup(runtime.UnlockOSThread)
	o.Size = 1 << 30
	q, err := null.New(o, true).OpenQueue(tb.Context(), engine.QueueConfig{Poller: engine.NewPoller(), Depth: 2 * batch})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := q.Close(); err != nil {
			tb.Error(err)
		}
	})
	return q
}

func round(q engine.Queue, reqs, done []*engine.Request) {
	q.Submit(reqs)
	_ = q.Kick()
	for got := 0; got < len(reqs); {
		got += q.Poll(done)
	}
}

// BenchmarkQueue measures the target without latency in batches of 32: it is what every other figure stands on, so it costs next to
// nothing.
func BenchmarkQueue(b *testing.B) {
	q, reqs, done := openQueue(b, null.Options{}), requests(), make([]*engine.Request, batch)
	b.ReportAllocs()
	for b.Loop() {
		round(q, reqs, done)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/req")
}

func TestQueueAllocatesNothing(t *testing.T) {
	for name, o := range map[string]null.Options{
		"instant": {},
		"delayed": {Latency: 1000, Jitter: 500, Seed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			q, reqs, done := openQueue(t, o), requests(), make([]*engine.Request, batch)
			if n := testing.AllocsPerRun(100, func() { round(q, reqs, done) }); n != 0 {
				t.Errorf("%v allocations in a batch of %d", n, batch)
			}
		})
	}
}
