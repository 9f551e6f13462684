package convert

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
)

// Stats say what a run moved and which way it took.
type Stats struct {
	Read    int64 // bytes
	Written int64 // bytes of data
	Zeroed  int64 // bytes written as zeroes
	Copied  int64 // bytes copied in the kernel or by reflink
	Skipped int64 // bytes that did not travel
	Paths   int   // that were opened
	Direct  uint64
	Pieces  uint64
	Slow    uint64
}

// Tuning is what all runs have in common; the zero value serves.
type Tuning struct {
	Depth    int   // chunks in flight, of all movers together; 0: 8
	Movers   int   // threads; 0: one per core, at most 4
	Chunk    int   // bytes, a power of two from 64 KiB on; 0: 256 KiB
	Memory   int64 // bytes of buffers at most; 0: 64 MiB
	Rate     int64 // bytes per second read at most; 0: as fast as can be
	Progress func(done, total int64)
}

// What a mover does with a chunk.
const (
	chunkMove uint8 = iota // read and judge
	chunkZero              // write zeroes
)

// chunk is a unit of work, in bytes of the sides and of the target.
type chunk struct {
	off  int64
	n    int64
	seq  uint64
	kind uint8
	need uint8 // sides to read, a bit each; the others are zeroes
}

// job is one run.
type job struct {
	sides  []*side
	target *engine.Ref // nil when nothing is written
	shift  int64       // from offsets of the sides to those of the target
	tune   Tuning
	total  int64
	chunks chan chunk

	// judge looks at a chunk that was read and says what is written of sides[0]; called on a mover's thread.
	judge func(c *chunk, bufs [2][]byte, dst []span) ([]span, error)
	// zeroSpans: spans of zeroes are written as zeroes; else they are left out.
	zeroSpans bool
	zeroFlags engine.WriteFlags
	inOrder   bool
	pack      *packing
	copier    *copier
	salvage   func(off int64, err error) // nil: a read error ends the run

	ctx    context.Context
	cancel context.CancelFunc
	err    atomic.Pointer[error]

	done, read, written, zeroed, copied, skipped atomic.Int64

	mu    sync.Mutex
	stats Stats
	said  int64 // when Progress was called last
}

func (j *job) fail(err error) {
	if err != nil && j.err.CompareAndSwap(nil, &err) {
		j.cancel()
	}
}

func (j *job) failed() error {
	if p := j.err.Load(); p != nil {
		return *p
	}
	return nil
}

// tell reports that n bytes of the sides are settled.
func (j *job) tell(n int64) {
	done := j.done.Add(n)
	if j.tune.Progress == nil {
		return
	}
	const every = 50e6 // ns
	now := engine.Now()
	if !j.mu.TryLock() {
		return
	}
	defer j.mu.Unlock()
	if now-j.said >= every {
		j.said = now
		j.tune.Progress(done, j.total)
	}
}

// skip settles what does not travel.
func (j *job) skip(n int64) {
	j.skipped.Add(n)
	j.tell(n)
}

// run plans and moves until all is done.
func (j *job) run(ctx context.Context, plan func(ctx context.Context) error) (Stats, error) {
	j.ctx, j.cancel = context.WithCancel(ctx)
	defer j.cancel()
	j.chunks = make(chan chunk, 256)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(j.chunks)
		if err := plan(j.ctx); err != nil {
			j.fail(err)
		}
	})
	if j.pack != nil {
		j.pack.start(j)
	}
	var movers sync.WaitGroup
	for range j.tune.Movers {
		movers.Go(func() {
			if err := j.move(); err != nil {
				j.fail(err)
			}
		})
	}
	movers.Wait()
	if j.pack != nil {
		j.pack.stop()
	}
	j.cancel() // a planner whose movers are gone
	wg.Wait()
	err := j.failed()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && j.tune.Progress != nil {
		j.tune.Progress(j.total, j.total)
	}
	s := j.stats
	s.Read, s.Written, s.Zeroed = j.read.Load(), j.written.Load(), j.zeroed.Load()
	s.Copied, s.Skipped = j.copied.Load(), j.skipped.Load()
	return s, err
}

// settle fills in what was not asked for and keeps the buffers within the memory allowed.
func (t *Tuning) settle(bufsPerChunk int, chunk int64) {
	if t.Depth <= 0 {
		t.Depth = 8
	}
	if t.Movers <= 0 {
		t.Movers = min(runtime.GOMAXPROCS(0), 4)
	}
	if t.Chunk <= 0 {
		t.Chunk = 256 << 10
	}
	t.Depth = max(2, (t.Depth+t.Movers-1)/t.Movers) // from here on per mover
	t.Chunk = int(max(int64(t.Chunk), chunk))
	if t.Memory <= 0 {
		t.Memory = 64 << 20
	}
	for int64(t.Depth)*int64(t.Movers)*int64(t.Chunk)*int64(bufsPerChunk) > t.Memory {
		switch {
		case t.Depth > 2:
			t.Depth--
		case t.Movers > 1:
			t.Movers--
		default:
			return
		}
	}
}

// send hands a chunk to the movers; false when the run is over.
func (j *job) send(ctx context.Context, c chunk) bool {
	select {
	case j.chunks <- c:
		return true
	case <-ctx.Done():
		return false
	}
}
