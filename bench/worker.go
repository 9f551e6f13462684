package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/blkbench/blkbench/bench/clock"
	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// worker runs one clone of a job on a thread of its own.
type worker struct {
	run   *run
	job   *fiojob.Job
	clock *clock.Clock
	ctx   context.Context

	files     []*file
	fileCount int
	arena     *dma.Arena
	slab      []engine.Request
	slots     []slot
	free      []uint32
	batch     []*engine.Request
	done      []*engine.Request

	poller   *engine.Poller
	inFlight int
	depth    int // wanted now: iodepth, or less while latency_target searches

	step    step // the next I/O, while it waits for its time or its range
	hasStep bool
	planned int64 // its intended start; 0 when it is not paced

	src    source
	pacer  pacer
	filler filler
	check  checker
	tracer tracer

	tot       totals
	iv        *interval
	hand      hist.Handover[interval]
	nextIv    int64
	measuring bool
	phase     atomic.Int32
	startAt   int64 // measured window
	endAt     int64
	rampEnd   int64
	deadline  int64
	stop      atomic.Bool
	failure   error
	firstErrs []result.IOError
	usage     usage
	engineStr string
	elapsed   time.Duration
	paths     result.PathCounts
	targets   []result.Target
	kernelCPU time.Duration
	gate      <-chan struct{} // closed when the batch is released
	ready     chan struct{}
	finished  chan struct{}
	badSetup  atomic.Bool

	deadlineHint atomic.Int64 // deadline, for the live display
	stride       int64
	writeFlags   engine.WriteFlags

	steadyResult *result.SteadyState
	targetResult *result.LatencyTarget
	verifyResult *result.Verify
}

// The phases of a worker, for the live display.
const (
	phaseSetup int32 = iota
	phaseRamp
	phaseRun
	phaseVerify
	phaseDone
)

// file is one target of a job.
type file struct {
	name     string
	index    int
	ref      *engine.Ref
	path     *engine.Path
	size     int64 // bytes that the job may use
	offset   int64
	writes   uint64 // since the last sync
	dirty    bool
	overlaps overlaps
}

// slot is what is kept of a request besides the request itself.
type slot struct {
	file    *file
	dir     fiojob.Dir
	sync    bool
	verify  bool
	made    int64 // clock ns
	handed  int64 // clock ns
	planned int64 // open loop: the intended start, else made
	seq     uint64
}

// main is the worker's thread from beginning to end.
func (w *worker) main() {
	runtime.LockOSThread() // not unlocked: the thread's affinity and priority end with it
	defer close(w.finished)
	err := w.setup()
	w.badSetup.Store(err != nil)
	close(w.ready)
	if err == nil {
		select {
		case <-w.gate:
			err = w.measure()
		case <-w.ctx.Done():
		}
	}
	err = errors.Join(err, w.teardown())
	if err != nil && w.failure == nil {
		w.failure = err
	}
	w.phase.Store(phaseDone)
}

// setup opens everything before the group starts, so that the measured window has I/O in it and nothing else.
func (w *worker) setup() error {
	j := w.job
	if _, err := pin(j.CPU.Allowed); err != nil {
		return err
	}
	if err := priority(&j.CPU); err != nil {
		return err
	}
	if err := memoryPolicy(&j.CPU); err != nil {
		return err
	}
	w.poller = engine.NewPoller()
	if len(j.CPU.Allowed) == 1 {
		w.poller.CPU = j.CPU.Allowed[0]
	}
	if err := w.openFiles(); err != nil {
		return err
	}
	if err := w.allocate(); err != nil {
		return err
	}
	for _, f := range w.files {
		p, err := engine.OpenPath(w.ctx, f.ref, engine.PathConfig{
			Poller: w.poller, Depth: len(w.slab), Arenas: []*dma.Arena{w.arena}, Poll: j.Engine.HiPri,
		})
		if err != nil {
			return err
		}
		f.path = p
	}
	return w.makeParts()
}

// allocate makes the request slab and one buffer per request.
func (w *worker) allocate() error {
	j := w.job
	depth := max(1, j.Depth.IODepth)
	stride := (int(maxBlock(j)) + dma.PageSize - 1) &^ (dma.PageSize - 1)
	w.stride = int64(stride)
	arena, err := dma.New(dma.Config{Size: max(stride, 1) * (depth + 1), NoHuge: j.Buffer.Memory != fiojob.MemoryHuge && stride*depth < dma.HugePageSize})
	if err != nil {
		return err
	}
	w.arena = arena
	if j.Buffer.Memory == fiojob.MemoryHuge && !arena.Huge() {
		w.run.warn("%s: iomem=…huge: %s", j.Name, arena.Note())
	}
	w.depth = depth
	w.slab = make([]engine.Request, depth+1) // one more for syncs
	w.slots = make([]slot, depth+1)
	w.batch = make([]*engine.Request, 0, depth+1)
	w.done = make([]*engine.Request, depth+1)
	w.free = make([]uint32, 0, depth+1)
	for i := depth; i >= 0; i-- {
		r := &w.slab[i]
		if r.Buf, err = arena.Alloc(stride); err != nil {
			return err
		}
		r.User = uint64(i)
		w.free = append(w.free, uint32(i))
	}
	w.iv = new(interval)
	w.hand.Give(new(interval))
	return nil
}

// teardown gives everything back, whatever setup came to.
func (w *worker) teardown() error {
	var err error
	for _, f := range w.files {
		if f.path != nil {
			err = errors.Join(err, f.path.Close())
		}
	}
	for _, f := range w.files {
		if f.ref == nil {
			continue
		}
		if w.job.Sync.FsyncOnClose && f.ref.Writable() {
			err = errors.Join(err, f.ref.Flush(context.WithoutCancel(w.ctx)))
		}
		err = errors.Join(err, f.ref.Close())
	}
	if w.arena != nil {
		err = errors.Join(err, w.arena.Close())
	}
	return err
}

// bytes is the buffer of a request.
func (w *worker) bytes(r *engine.Request) []byte { return w.arena.Bytes(r.Buf, int(r.Len)) }

// fail notes an I/O error and says whether the job goes on.
func (w *worker) fail(r *engine.Request, s *slot) bool {
	err := r.Err()
	w.tot.errors++
	if len(w.firstErrs) < 16 {
		w.firstErrs = append(w.firstErrs, result.IOError{
			Target: s.file.name, Op: r.Op.String(), Off: r.Off, Len: int64(r.Len), Text: err.Error(),
		})
	}
	if w.tolerates(engine.Errno(err), s) {
		return true
	}
	if w.failure == nil {
		w.failure = fmt.Errorf("%s: %w", w.job.Name, err)
	}
	return false
}
