package engine

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/dma"
)

// Path is a graph flattened into one Queue. Per request it walks the stages (admit, map, transform), submits to the leaf's queue, and
// completes zero runs in place; what a mapper cannot answer, and what does not fit the leaf's alignment, takes the slow lane. A request
// that breaks into pieces keeps a cursor and goes on from Poll.
//
// It belongs to the thread that opened it, like every Queue.
type Path struct {
	root   *Ref
	ctx    context.Context
	cancel context.CancelFunc
	cfg    PathConfig
	gen    uint64 // of the graph when it was flattened

	stages []stage
	leaves []*leaf
	simple bool // no admission, transformation or observation: a request that is one piece needs no walk
	graced bool // mappings or read-modify-writes are at stake: take part in grace periods

	walks     []walk
	freeWalks []uint32
	pieces    []Request // slab of pieces
	free      []*Request
	stalled   fifo // walks that found no piece free
	timers    timerHeap
	ready     []*Request // completed, not yet polled
	readyHead int
	inFlight  int // the caller's requests

	member   *member
	domain   *Domain
	colour   uint8
	atLeaf   [2]int // leaf requests in flight by colour
	seen     uint64 // barrier of the last flip
	flipping bool   // the old colour is draining

	lane slowLane

	stats PathStats
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

type stageKind uint8

const (
	stageMap stageKind = iota
	stageFilter
	stageLeaf
	stageOpaque
)

type stage struct {
	kind     stageKind
	admitBit uint8   // filter: its bit in walk.admitted
	belowMap bool    // filter: there is a mapper above it
	next     int32   // filter: the stage below
	children []int32 // map: the stage of each child
	leaf     *leaf
	mapper   Mapper
	filter   Stage
	ref      *Ref
}

type leaf struct {
	q       Queue
	ref     *Ref
	batch   []*Request // to be submitted, in order; what the queue did not take stays at the front
	mask    uint64     // request alignment - 1
	memMask uint64
	maxIO   uint32
	ops     [OpNop + 1]bool
}

// QueueOps is implemented by leaf queues that can do more than read, write and flush.
type QueueOps interface {
	// Supports reports whether Submit takes the operation.
	Supports(op Op) bool
}

// OpenPath flattens root. It is called on the Poller's locked thread, as are all methods of the Path.
func OpenPath(ctx context.Context, root *Ref, cfg PathConfig) (*Path, error) {
	if cfg.Depth <= 0 || cfg.Depth > 1<<16 {
		return nil, Errf(ErrRange, "queue depth %d: want 1 to 65536", cfg.Depth)
	}
	if cfg.Poller == nil {
		return nil, errors.New("driver fault: a Path needs a Poller")
	}
	if cfg.Workers <= 0 {
		cfg.Workers = min(cfg.Depth, 8)
	}
	p := &Path{root: root, cfg: cfg, domain: root.st.domain}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.member = p.domain.join()
	nPieces := max(64, 2*cfg.Depth)
	p.walks = make([]walk, cfg.Depth)
	p.freeWalks = make([]uint32, cfg.Depth)
	for i := range p.freeWalks {
		p.freeWalks[i] = uint32(cfg.Depth - 1 - i)
	}
	p.pieces = make([]Request, nPieces)
	p.free = make([]*Request, nPieces)
	for i := range p.pieces {
		p.pieces[i].lane = lanePiece
		p.free[i] = &p.pieces[i]
	}
	p.stalled = newFIFO(cfg.Depth)
	p.timers.items = make([]timer, 0, cfg.Depth)
	p.ready = make([]*Request, 0, cfg.Depth)
	if err := p.lane.open(p.ctx, cfg.Workers, cfg.Depth+nPieces); err != nil {
		p.domain.leave(p.member)
		return nil, err
	}
	if err := p.flatten(); err != nil {
		p.closeLeaves()
		p.lane.close()
		p.domain.leave(p.member)
		return nil, err
	}
	return p, nil
}

// flatten compiles the graph into stages. Stage 0 is the root.
func (p *Path) flatten() error {
	p.gen = graphGen.Load()
	p.stages = p.stages[:0]
	p.simple, p.graced = true, false
	seen := map[*nodeState]int32{}
	admits := uint8(0)
	var add func(ref *Ref, depth int, belowMap bool) (int32, error)
	credits := 0
	add = func(ref *Ref, depth int, belowMap bool) (int32, error) {
		if at, ok := seen[ref.st]; ok {
			return at, nil
		}
		if depth > maxDepth {
			return 0, Errf(ErrUnsupported, "graph deeper than %d layers", maxDepth)
		}
		at := int32(len(p.stages))
		if at > 254 {
			return 0, Errf(ErrUnsupported, "graph of more than 254 nodes")
		}
		seen[ref.st] = at
		p.stages = append(p.stages, stage{ref: ref, kind: stageOpaque})
		switch n := ref.st.node.(type) {
		case QueueOpener:
			l, err := p.openLeaf(n, ref)
			if errors.Is(err, ErrUnsupported) {
				return at, nil // no polled plane in this configuration: the slow lane serves
			}
			if err != nil {
				return 0, err
			}
			p.stages[at].kind, p.stages[at].leaf = stageLeaf, l
			p.graced = p.graced || l.mask != 0
		case Mapper:
			var children []int32
			for _, c := range n.Children() {
				below := int32(-1)
				if c.Ref != nil {
					var err error
					if below, err = add(c.Ref, depth+1, true); err != nil {
						return 0, err
					}
				}
				children = append(children, below)
			}
			st := &p.stages[at]
			st.kind, st.mapper, st.children = stageMap, n, children
			p.graced = true
		case Stager:
			f := n.Stage()
			if f.Transform != nil || (belowMap && f.Observe != nil) || (belowMap && f.Admit != nil && credits > 0) {
				return at, nil // the blocking methods do it
			}
			if belowMap && f.Admit != nil {
				credits++
			}
			below, err := add(f.Child, depth+1, belowMap)
			if err != nil {
				return 0, err
			}
			st := &p.stages[at]
			st.kind, st.filter, st.next, st.belowMap = stageFilter, f, below, belowMap
			if f.Admit != nil {
				if admits == 8 {
					return 0, Errf(ErrUnsupported, "more than 8 throttles and delays in one graph")
				}
				st.admitBit = 1 << admits
				admits++
			}
			if f.Admit != nil || f.Observe != nil {
				p.simple = false
			}
		}
		return at, nil
	}
	_, err := add(p.root, 0, false)
	return err
}

const maxDepth = 200

func (p *Path) openLeaf(n QueueOpener, ref *Ref) (*leaf, error) {
	for _, l := range p.leaves {
		if l.ref.st == ref.st {
			return l, nil
		}
	}
	q, err := n.OpenQueue(p.ctx, QueueConfig{Poller: p.cfg.Poller, Depth: p.cfg.Depth + len(p.pieces), Arenas: p.cfg.Arenas, Poll: p.cfg.Poll})
	if err != nil {
		return nil, ref.wrap("open queue", 0, -1, err)
	}
	lim := ref.st.info.Limits
	l := &leaf{q: q, ref: ref, mask: uint64(ref.st.align - 1), memMask: uint64(ref.st.mem - 1), maxIO: 1 << 30}
	if lim.MaxTransfer > 0 {
		l.maxIO = uint32(ref.st.maxIO)
	}
	l.batch = make([]*Request, 0, p.cfg.Depth+len(p.pieces))
	l.ops[OpRead], l.ops[OpWrite] = true, true
	if s, ok := q.(QueueOps); ok {
		for op := range l.ops {
			l.ops[op] = l.ops[op] || s.Supports(Op(op))
		}
	}
	ref.st.paths.Add(1)
	p.leaves = append(p.leaves, l)
	return l, nil
}

// Stats returns the counters.
func (p *Path) Stats() PathStats { return p.stats }

// InFlight returns how many of the caller's requests are under way.
func (p *Path) InFlight() int { return p.inFlight }

// Kick starts what was submitted: one doorbell or system call per leaf.
func (p *Path) Kick() error {
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

// Wait returns when Poll may have something, at the latest after max (never by itself when max is negative).
func (p *Path) Wait(max time.Duration) error {
	if p.readyHead < len(p.ready) || p.lane.pending() || !p.stalled.empty() {
		return nil
	}
	if t, ok := p.timers.first(); ok {
		left := time.Duration(t - Now())
		if left <= 0 {
			return nil
		}
		if max < 0 || left < max {
			max = left
		}
	}
	if len(p.leaves) == 1 && p.lane.idle() {
		p.push(p.leaves[0])
		return p.leaves[0].q.Wait(max) // kicks too
	}
	if err := p.Kick(); err != nil {
		return err
	}
	return p.waitMany(max)
}

// waitMany waits for several leaves and the slow lane by poll(2).
func (p *Path) waitMany(max time.Duration) error {
	fds := make([]unix.PollFd, 0, len(p.leaves)+1)
	for _, l := range p.leaves {
		eq, ok := l.q.(EventQueue)
		if !ok {
			// A leaf that cannot be waited for together with others is looked at again soon.
			if max < 0 || max > time.Millisecond {
				max = time.Millisecond
			}
			continue
		}
		if !eq.Arm() {
			return nil
		}
		fds = append(fds, unix.PollFd{Fd: int32(eq.EventFD()), Events: unix.POLLIN})
	}
	if !p.lane.arm() {
		return nil
	}
	defer p.lane.disarm()
	fds = append(fds, unix.PollFd{Fd: int32(p.lane.fd), Events: unix.POLLIN})
	var ts *unix.Timespec
	if max >= 0 {
		t := unix.NsecToTimespec(int64(max))
		ts = &t
	}
	if _, err := unix.Ppoll(fds, ts, nil); err != nil && !errors.Is(err, unix.EINTR) {
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
	err = errors.Join(err, p.closeLeaves())
	p.goIdle()
	p.domain.leave(p.member)
	return err
}

func (p *Path) closeLeaves() error {
	var err error
	for _, l := range p.leaves {
		l.ref.st.paths.Add(-1)
		err = errors.Join(err, l.q.Close())
	}
	p.leaves = nil
	return err
}

// regenerate flattens again after a change of the graph; nothing is in flight.
func (p *Path) regenerate() error {
	p.stats.Regens++
	if err := p.closeLeaves(); err != nil {
		return err
	}
	return p.flatten()
}

// Flattened describes the stages for tests and `--verbose`: one word per stage, in order.
func (p *Path) Flattened() []string {
	var out []string
	for i := range p.stages {
		st := &p.stages[i]
		word := map[stageKind]string{stageMap: "map", stageFilter: "filter", stageLeaf: "leaf", stageOpaque: "opaque"}[st.kind]
		out = append(out, word+":"+st.ref.st.info.Driver)
	}
	return out
}

// goBusy and goIdle are the Path's side of grace.go.
func (p *Path) goBusy() {
	p.member.active.Store(1)
	s := p.domain.seq.Load()
	p.member.acked.Store(s)
	p.seen, p.flipping = s, false
}

func (p *Path) goIdle() {
	if p.member.active.Load() == 0 {
		return
	}
	p.flipping = false
	p.member.active.Store(0)
	if p.domain.waiting.Load() > 0 {
		p.domain.notify()
	}
}

// quiesce looks at the domain's barrier, once per Poll.
func (p *Path) quiesce() {
	if p.flipping && p.atLeaf[p.colour^1] == 0 {
		p.flipping = false
		p.member.acked.Store(p.seen)
		if p.domain.waiting.Load() > 0 {
			p.domain.notify()
		}
	}
	if s := p.domain.seq.Load(); s != p.seen && !p.flipping {
		p.seen = s
		p.colour ^= 1
		p.flipping = true
		if p.atLeaf[p.colour^1] == 0 {
			p.flipping = false
			p.member.acked.Store(s)
			if p.domain.waiting.Load() > 0 {
				p.domain.notify()
			}
		}
	}
}
