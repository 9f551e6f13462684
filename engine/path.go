package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/dma"
)

// Path is a graph flattened into one Queue. Per request it walks the stages (admit, map), submits to the leaf's queue, and completes
// zero runs in place; what a mapper cannot answer, and what does not fit the leaf's alignment, takes the slow lane. A request that
// breaks into pieces keeps a cursor and goes on from Poll.
//
// It belongs to the thread that opened it, like every Queue. A thread that has several polls each of them that has requests in flight:
// they share rings, but completions wait in the leaf's queue until its own Path is polled, and a Path that is not keeps what it uses from
// being exchanged or freed (see grace.go).
type Path struct {
	plan
	gen    uint64 // of the graphs when it was flattened
	clones map[stageKey]*Ref

	root   *Ref // the Path's own, as all references in stages are: a node stays open as long as a stage has it
	ctx    context.Context
	cancel context.CancelFunc
	cfg    PathConfig

	walks     []walk
	freeWalks []uint32
	pieces    []Request // slab of pieces
	free      []*Request
	stalled   fifo // walks that found no piece free
	timers    timerHeap
	ready     DoneRing // completed, not yet polled
	inFlight  int      // the caller's requests

	domain     *Domain
	member     *member
	leaf, maps gate   // see grace.go
	quiet      uint64 // the barrier that all gates have passed

	lane slowLane
	fds  []unix.PollFd
	ts   unix.Timespec

	stats PathStats

	retired   sync.WaitGroup // references that were given back when the graph was exchanged
	retireErr firstError
}

// firstError keeps the first error of several goroutines.
type firstError struct{ err atomic.Pointer[error] }

func (f *firstError) put(err error) {
	if err != nil {
		f.err.CompareAndSwap(nil, &err)
	}
}

func (f *firstError) get() error {
	if p := f.err.Load(); p != nil {
		return *p
	}
	return nil
}

// PathConfig says how a graph is opened for polling.
type PathConfig struct {
	Poller  *Poller
	Depth   int          // requests in flight at most
	Arenas  []*dma.Arena // where buffers are
	Poll    bool         // ask leaves for polled completions
	Workers int          // slow-lane workers; 0 means min(Depth, 8)
}

// PathStats count which way requests went. Read them on the Path's thread.
type PathStats struct {
	Direct uint64 // to the leaf as they were, one piece
	Pieces uint64 // leaf requests made for requests that broke up
	Zeroed uint64 // runs completed in place
	Slow   uint64 // runs that took the slow lane
	Resent uint64 // short transfers sent again
	Waited uint64 // requests held back by an admitter
	Regens uint64 // times the graph was flattened again
}

// MaxDepth is how many requests a Path can have in flight.
const MaxDepth = 1 << 16

// OpenPath flattens root. It is called on the Poller's locked thread, as are all methods of the Path. root stays the caller's and may
// be closed before the Path.
func OpenPath(ctx context.Context, root *Ref, cfg PathConfig) (*Path, error) {
	if cfg.Depth <= 0 || cfg.Depth > MaxDepth {
		return nil, Errf(ErrRange, "queue depth %d: want 1 to %d", cfg.Depth, MaxDepth)
	}
	if cfg.Poller == nil {
		return nil, errors.New("driver fault: a Path needs a Poller")
	}
	if root.closed.Load() {
		return nil, root.wrap("open queue", 0, -1, &Error{Kind: ErrClosed, Len: -1})
	}
	if cfg.Workers <= 0 {
		cfg.Workers = min(cfg.Depth, 8)
	}
	p := &Path{root: root.Clone(root.flags), cfg: cfg, domain: root.st.domain, clones: map[stageKey]*Ref{}}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.makeSlabs()
	if err := p.lane.open(p.ctx, cfg.Workers, cfg.Depth+len(p.pieces)); err != nil {
		p.cancel()
		return nil, errors.Join(err, p.root.Close())
	}
	p.member = p.domain.join()
	p.leaf.post, p.maps.post = &p.member.leaf, &p.member.maps
	if err := p.flatten(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Path) makeSlabs() {
	depth := p.cfg.Depth
	nPieces := max(64, 2*depth)
	p.walks = make([]walk, depth)
	p.freeWalks = make([]uint32, depth)
	for i := range p.freeWalks {
		p.freeWalks[i] = uint32(depth - 1 - i)
	}
	p.pieces = make([]Request, nPieces)
	p.free = make([]*Request, nPieces)
	for i := range p.pieces {
		p.pieces[i].lane = lanePiece
		p.free[i] = &p.pieces[i]
	}
	p.stalled = newFIFO(depth)
	p.timers.items = make([]timer, 0, depth)
	p.ready = NewDoneRing(depth)
}

// Stats returns the counters.
func (p *Path) Stats() PathStats { return p.stats }

// InFlight returns how many of the caller's requests are under way.
func (p *Path) InFlight() int { return p.inFlight }

// Describe says which way the leaves' requests go, and what of the configuration is not to be had and why; see [DescribedQueue].
func (p *Path) Describe() (traits, notes []string) {
	for _, l := range p.leaves {
		q, ok := l.q.(DescribedQueue)
		if !ok {
			continue
		}
		for _, t := range q.Traits() {
			if !slices.Contains(traits, t) {
				traits = append(traits, t)
			}
		}
		notes = append(notes, q.Notes()...)
	}
	return traits, notes
}

// Polled reports whether waiting for the leaves is polling them: none of them can wake a thread.
func (p *Path) Polled() bool {
	return !slices.ContainsFunc(p.leaves, func(l *leaf) bool { _, ok := l.q.(EventQueue); return ok })
}

// Kick starts what was submitted: one doorbell or system call per leaf.
func (p *Path) Kick() error {
	if l := p.lone; l != nil && len(l.batch) == 0 {
		return l.q.Kick()
	}
	var first error
	for _, l := range p.leaves {
		p.push(l)
		if err := l.q.Kick(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// push gives a leaf's batch to its queue; what is not taken stays for the next time.
func (p *Path) push(l *leaf) {
	if len(l.batch) == 0 {
		return
	}
	n := l.q.Submit(l.batch)
	if n == len(l.batch) {
		l.batch = l.batch[:0]
		return
	}
	l.batch = l.batch[:copy(l.batch, l.batch[n:])]
}

// Wait returns when Poll may have something, at the latest after limit. With nothing in flight and no limit it returns at once.
func (p *Path) Wait(limit time.Duration) error {
	if !p.ready.Empty() || p.lane.pending() || (!p.stalled.empty() && len(p.free) > 0) || (p.inFlight == 0 && limit < 0) {
		return p.Kick()
	}
	if t, ok := p.timers.first(); ok {
		left := time.Duration(t - Now())
		if left <= 0 {
			return p.Kick()
		}
		if limit < 0 || left < limit {
			limit = left
		}
	}
	if p.graced {
		p.doze()
	}
	if len(p.leaves) == 1 && p.lane.idle() {
		p.push(p.leaves[0])
		return p.leaves[0].q.Wait(limit) // kicks too
	}
	if err := p.Kick(); err != nil {
		return err
	}
	return p.waitMany(limit)
}

// waitMany waits for several leaves and the slow lane by poll(2).
func (p *Path) waitMany(limit time.Duration) error {
	p.fds = p.fds[:0]
	for _, l := range p.leaves {
		eq, ok := l.q.(EventQueue)
		if !ok {
			// A leaf that cannot be waited for together with others is looked at again soon.
			if limit < 0 || limit > time.Millisecond {
				limit = time.Millisecond
			}
			continue
		}
		if !eq.Arm() {
			return nil
		}
		p.fds = append(p.fds, unix.PollFd{Fd: int32(eq.EventFD()), Events: unix.POLLIN})
	}
	if !p.lane.arm() {
		return nil
	}
	defer p.lane.disarm()
	p.fds = append(p.fds, unix.PollFd{Fd: int32(p.lane.fd), Events: unix.POLLIN})
	var ts *unix.Timespec
	if limit >= 0 {
		p.ts = unix.NsecToTimespec(int64(limit))
		ts = &p.ts
	}
	if _, err := unix.Ppoll(p.fds, ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	return nil
}

// Drain waits until nothing is in flight, throwing completions away.
func (p *Path) Drain() error {
	done := make([]*Request, 64)
	for p.inFlight > 0 {
		if p.Poll(done) == 0 {
			if err := p.Wait(100 * time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close drains and gives everything back. The root Ref stays the caller's.
func (p *Path) Close() error {
	err := p.Drain()
	p.lane.close()
	p.cancel()
	for _, l := range p.leaves {
		err = errors.Join(err, p.closeLeaf(l))
	}
	p.leaves, p.stages = nil, nil
	p.goIdle()
	p.domain.leave(p.member)
	for _, ref := range p.clones {
		err = errors.Join(err, ref.Close())
	}
	p.retired.Wait()
	return errors.Join(err, p.retireErr.get(), p.root.Close())
}
