package bench

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/clock"
	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/bench/layout"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/bench/verify"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// worker runs one clone of a job on a thread of its own. Its fields belong to that thread, but for those under "shared".
type worker struct {
	run   *run
	job   *fiojob.Job
	clock *clock.Clock
	ctx   context.Context

	layout     *layout.Layout
	replay     *replay // nil without read_iolog
	files      []*file
	busy       []*file // those with requests in flight
	arena      *dma.Arena
	sharedBufs bool   // a target wants its arena Shared
	memAlign   uint32 // what the targets want of a buffer's address
	slab       []engine.Request
	slots      []slot
	free       []uint32
	batch      []*engine.Request
	done       []*engine.Request
	stride     int64
	poller     *engine.Poller
	looks      looks

	traits   traits
	inFlight int
	depth    int  // wanted now: iodepth, or less while latency_target searches
	draining bool // nothing is submitted until inFlight has fallen to low
	low      int

	step    step // the next I/O, while it waits for its time or its range
	hasStep bool

	src    source
	plain  *jobSource // src, in a loop that needs nothing of what other jobs do per request
	filler filler
	check  *checking
	seen   int64 // the stamp of the last completions, while nothing has been done since but to count them; else 0
	kept   bool  // the request being completed is still in use
	tracer tracer
	pacing pacing

	spans     spans // latencies that are not in iv yet; none outside ones
	iv        *interval
	hand      hist.Handover[interval]
	sum       [3]dirCount // since the window began
	nextIv    int64
	nextLook  int64
	measuring bool
	startAt   int64 // measured window
	rampEnd   int64
	deadline  int64
	phaseFrom int64 // of the directions in use
	phaseDirs [3]bool
	ran       [3]int64
	usage0    usage
	paths0    result.PathCounts
	paths     result.PathCounts // of files closed meanwhile
	failed    bool
	left      bool // went away with requests in flight

	// Shared with other goroutines.
	phase        atomic.Int32
	stop         atomic.Bool
	tid          atomic.Int32
	began        atomic.Int64 // clock ns of the job's start
	deadlineHint atomic.Int64
	expect       atomic.Int64    // bytes that the job is going to move; 0: unknown
	gate         <-chan struct{} // closed when the batch is released
	ready        chan struct{}   // closed when setup is through: targets and engineStr may be read
	finished     chan struct{}   // closed at the end: final may be read
	badSetup     atomic.Bool
	targets      []result.Target
	engineStr    string
	final        *interval

	mu           sync.Mutex
	failure      error
	firstErrs    []result.IOError
	steadyResult *result.SteadyState
	targetResult *result.LatencyTarget
	verifyResult *result.Verify
}

// traits are facts of the job that the loop asks for with every request, found out once.
type traits struct {
	stamp     bool // requests are stamped
	hooks     bool // completions go through hooked
	serialize bool
	syncs     bool
	spin      bool // looking is the waiting
	batch     int  // most requests in a submission
	reap      int  // most completions at once
	reapMin   int
	flags     engine.WriteFlags
}

type dirCount struct{ ios, bytes uint64 }

// The phases of a worker, for the live display.
const (
	phaseSetup int32 = iota
	phaseRamp
	phaseRun
	phaseVerify
	phaseDone
)

// slot is what is kept of a request besides the request itself.
type slot struct {
	file    *file
	dir     fiojob.Dir
	sync    bool
	verify  bool
	made    int64  // clock ns
	handed  int64  // clock ns
	planned int64  // open loop: the intended start, else made
	seq     uint64 // verification: which write it is
	open    bool   // verification: a write that was not acknowledged yet
	expect  verify.Expect
}

// main is the worker's thread from beginning to end.
func (w *worker) main() {
	runtime.LockOSThread() // not unlocked: the thread's affinity and priority end with it
	w.tid.Store(int32(unix.Gettid()))
	defer close(w.finished)
	err := w.setup()
	w.badSetup.Store(err != nil)
	if err != nil {
		w.setFailure(err)
	}
	close(w.ready)
	if err == nil {
		select {
		case <-w.gate:
			w.setFailure(w.measure())
		case <-w.ctx.Done():
		}
	}
	w.setFailure(w.teardown())
	w.phase.Store(phaseDone)
}

// setFailure keeps the first error.
func (w *worker) setFailure(err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure == nil {
		w.failure = err
	}
	w.failed = true
}

// setup opens everything before the group starts, so that the measured window has I/O in it and nothing else.
func (w *worker) setup() error {
	j := w.job
	if err := pin(j.CPU.Allowed); err != nil {
		return err
	}
	if err := priority(&j.CPU); err != nil {
		return err
	}
	if err := memoryPolicy(&j.CPU); err != nil {
		return err
	}
	if err := w.run.command(j, j.Order.PreRun, "prerun"); err != nil {
		return err
	}
	w.poller = engine.NewPoller()
	if len(j.CPU.Allowed) == 1 {
		w.poller.CPU = j.CPU.Allowed[0]
	}
	var err error
	if w.replay, err = openReplay(j); err != nil {
		return err
	}
	if err := w.findFiles(); err != nil {
		return err
	}
	if err := w.allocate(); err != nil {
		return err
	}
	if err := w.makeParts(); err != nil {
		return err
	}
	return w.openFirst()
}

// bufferStride is how far apart the buffers of requests lie. Small ones share pages: at a page's distance they would all fall into the
// same few sets of a cache. None crosses a page that does not have to.
func bufferStride(block int64, memAlign uint32) int {
	stride := max(block, int64(memAlign), 512)
	if stride >= dma.PageSize {
		return int(stride+dma.PageSize-1) &^ (dma.PageSize - 1)
	}
	return 1 << bits.Len64(uint64(stride-1))
}

// allocate makes the request slab and one buffer per request.
func (w *worker) allocate() error {
	j := w.job
	depth := max(1, j.Depth.IODepth)
	stride := bufferStride(w.maxBlock(), w.memAlign)
	w.stride = int64(stride)
	huge := j.Buffer.Memory == fiojob.MemoryHuge
	size := max(stride, 1) * (depth + 1)
	if huge {
		size = max(size, dma.HugePageSize)
	}
	arena, err := dma.New(dma.Config{Size: size, NoHuge: !huge && size < dma.HugePageSize, Shared: w.sharedBufs})
	if err != nil {
		return fmt.Errorf("%s: buffers: %w", j.Name, err)
	}
	w.arena = arena
	if huge && !arena.Huge() {
		w.run.warn("%s: iomem=…huge: %s", j.Name, arena.Note())
	}
	w.depth = depth
	w.slab = make([]engine.Request, depth)
	w.slots = make([]slot, depth)
	w.batch = make([]*engine.Request, 0, depth)
	w.done = make([]*engine.Request, depth)
	w.free = make([]uint32, 0, depth)
	for i := range depth {
		r := &w.slab[i]
		if in := i * stride % dma.PageSize; in != 0 {
			r.Buf = w.slab[i-1].Buf.Add(uint32(stride))
		} else if r.Buf, err = arena.Alloc(stride); err != nil {
			return err
		}
		r.User = uint64(i)
		w.free = append(w.free, uint32(depth-1-i))
	}
	m := measuresOf(j)
	w.iv = newInterval(m)
	w.hand.Give(newInterval(m))
	return nil
}

// teardown gives everything back, whatever setup came to. What is still in flight keeps its buffers for ever.
func (w *worker) teardown() error {
	if w.left {
		return nil
	}
	var err error
	for _, f := range w.files {
		err = errors.Join(err, w.closeFile(f))
	}
	if w.check != nil {
		err = errors.Join(err, w.check.close())
	}
	if w.arena != nil {
		err = errors.Join(err, w.arena.Close())
	}
	if w.replay != nil {
		err = errors.Join(err, w.replay.close())
	}
	if w.tid.Load() != 0 && !w.badSetup.Load() {
		err = errors.Join(err, w.clearAway(), w.run.command(w.job, w.job.Order.PostRun, "postrun"))
	}
	return err
}

// bytes is the buffer of a request.
func (w *worker) bytes(r *engine.Request) []byte { return w.arena.Bytes(r.Buf, int(r.Len)) }

// maxErrors is how many failed requests are kept with their place.
const maxErrors = 16

// fail notes an I/O error and says whether the job goes on.
func (w *worker) fail(r *engine.Request, s *slot) bool {
	err := r.Err()
	errno := engine.Errno(err)
	if w.ignored(errno, s) {
		return true
	}
	w.iv.errors++
	w.mu.Lock()
	if len(w.firstErrs) < maxErrors {
		w.firstErrs = append(w.firstErrs, result.IOError{
			Target: s.file.name, Op: r.Op.String(), Off: r.Off, Len: int64(r.Len), Text: err.Error(),
		})
	}
	w.mu.Unlock()
	if w.job.Errors.Dump {
		w.run.warn("%s: %v", w.job.Name, err)
	}
	if w.job.Files.FillDevice && errno == unix.ENOSPC {
		w.iv.errors--
		s.file.full = true
		return true
	}
	if w.continues(errno, s) {
		return true
	}
	w.setFailure(fmt.Errorf("%s: %w", w.job.Name, err))
	return false
}
