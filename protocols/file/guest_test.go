package file

import (
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/enginetest/guest"
	"github.com/blkbench/blkbench/uring"
)

// Random histories on a device whose completions are polled for, and on the same by interrupts.
func TestGuestDevice(t *testing.T) {
	guest.Require(t)
	_, name := guest.FindController(t, "POLLED")
	dev := "/dev/" + name + "n1"
	direct := engine.Cache{Direct: true}
	for _, w := range []wish{
		{name: "polled", cache: direct, poll: true},
		{name: "polled, by a thread", cache: direct, poll: true, leaf: engine.LeafOptions{SQThreadPoll: true, SQThreadCPU: -1}},
		{name: "direct", cache: direct},
		{name: "cached"},
		{name: "threads", cache: direct, leaf: engine.LeafOptions{Engine: "threads"}},
	} {
		t.Run(w.name, func(t *testing.T) {
			flags := engine.OpenFlags{Write: true, Discard: true, Cache: w.cache, Leaf: w.leaf}
			if w.poll {
				func() {
					lock(t)
					ref, err := tryOpen(t, newEnv(dev), dev, flags)
					if err != nil {
						t.Fatal(err)
					}
					q, err := ref.Node().(*Node).OpenQueue(ctx, engine.QueueConfig{Poller: engine.NewPoller(), Depth: 4, Poll: true})
					if err != nil {
						t.Fatal(err)
					}
					if rq := q.(*ringQueue); !rq.ring.Features().Has(uring.FeatIOPoll) || len(rq.notes) != 0 {
						t.Errorf("not polled: %q", rq.notes)
					}
					if err := q.Close(); err != nil {
						t.Error(err)
					}
					if err := ref.Close(); err != nil {
						t.Error(err)
					}
				}()
			}
			const size = 4 << 20
			var sum engine.PathStats
			enginetest.Replay(t, enginetest.ReplayConfig{
				HistoryConfig: enginetest.HistoryConfig{Size: size, Batches: 20, Depth: 12, MaxLen: 64 << 10, Align: 512, Hot: 256 << 10},
				Seed:          1, Runs: 2,
				Build: func(t testing.TB, _ uint64) *enginetest.Graph {
					ref, err := tryOpen(t, newEnv(dev), dev, flags)
					if err != nil {
						t.Fatal(err)
					}
					if err := ref.WriteZeroes(ctx, 0, size, 0); err != nil {
						t.Fatal(err)
					}
					return &enginetest.Graph{Root: ref}
				},
				Polled: func(s engine.PathStats) { sum.Direct += s.Direct },
			})
			if sum.Direct == 0 {
				t.Error("nothing went to the queue")
			}
		})
	}
}
