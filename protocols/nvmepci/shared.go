package nvmepci

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// sharedPair is a queue pair that several threads use, for a controller that grants fewer pairs than there are threads.
// Submission takes the lock; whoever gets the lock in Poll takes the completions of all and puts them into the mailboxes.
type sharedPair struct {
	mu      sync.Mutex
	hw      *queue // its bases cover the arenas of all members, its owner is the member that has the lock
	members map[uint16]*member
	next    uint16
	out     [64]*engine.Request
}

// member is one thread's view of the shared pair. Its requests are in its own mailbox once they are over.
type member struct {
	p      *sharedPair
	n      *node
	id     uint16
	arenas []*dma.Arena
	inbox  []*engine.Request // guarded by p.mu
	flight int               // of this member, its own thread's
}

// joinShared makes the shared pair with its first member. The caller holds h.mu.
func (h *host) joinShared(ctx context.Context, n *node, cfg engine.QueueConfig, bases []uint64) (engine.Queue, error) {
	if h.shared == nil {
		if h.ctrl.Queues() < 2 {
			return nil, engine.Errf(engine.ErrUnsupported, "the controller grants a single I/O queue, which the blocking plane has")
		}
		hw, err := h.ctrl.OpenQueueSize(ctx, n.size)
		if err != nil {
			return nil, failure(err)
		}
		q, err := newQueue(n, hw, nil, nil)
		if err != nil {
			return nil, errors.Join(failure(err), hw.Close())
		}
		h.shared = &sharedPair{hw: q, members: map[uint16]*member{}}
		h.pairs++
	}
	p := h.shared
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hw.n.ns.NSID != n.ns.NSID {
		return nil, engine.Errf(engine.ErrUnsupported, "the controller's shared queue serves namespace %d", p.hw.n.ns.NSID)
	}
	p.next++
	for id, base := range bases {
		for len(p.hw.bases) <= id {
			p.hw.bases = append(p.hw.bases, 0)
		}
		if base != 0 {
			p.hw.bases[id] = base
		}
	}
	m := &member{p: p, n: n, id: p.next, arenas: cfg.Arenas, inbox: make([]*engine.Request, 0, cfg.Depth+64)}
	p.members[m.id] = m
	return m, nil
}

// Supports says which operations have a command.
func (m *member) Supports(op engine.Op) bool { return m.p.hw.Supports(op) }

// Submit takes the lock for the batch.
func (m *member) Submit(reqs []*engine.Request) int {
	room := cap(m.inbox) - m.flight
	if len(reqs) > room {
		reqs = reqs[:max(room, 0)]
	}
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	m.p.hw.owner = m.id
	n := m.p.hw.Submit(reqs)
	m.flight += n
	return n
}

// Kick rings for everything that any member has submitted.
func (m *member) Kick() error {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	return m.p.hw.Kick()
}

// Poll empties the mailbox, after having filled all mailboxes if nobody else is about it.
func (m *member) Poll(done []*engine.Request) int {
	if !m.p.mu.TryLock() {
		return 0
	}
	defer m.p.mu.Unlock()
	if len(m.inbox) < len(done) {
		m.p.distribute()
	}
	n := copy(done, m.inbox)
	m.inbox = m.inbox[:copy(m.inbox, m.inbox[n:])]
	m.flight -= n
	return n
}

// distribute sorts finished requests by owner. The caller holds mu.
func (p *sharedPair) distribute() {
	k := p.hw.Poll(p.out[:])
	for i, r := range p.out[:k] {
		if o := p.members[p.hw.owners[i]]; o != nil {
			o.inbox = append(o.inbox, r)
		}
	}
}

// Wait polls: a shared pair has no interrupt of one thread's own.
func (m *member) Wait(limit time.Duration) error {
	if err := m.Kick(); err != nil {
		return err
	}
	start := time.Now()
	for i := 0; limit < 0 || time.Since(start) < limit; i++ {
		if m.p.mu.TryLock() {
			m.p.distribute()
			n := len(m.inbox)
			m.p.mu.Unlock()
			if n > 0 {
				return nil
			}
		}
		if i < 1000 {
			runtime.Gosched()
		} else {
			time.Sleep(20 * time.Microsecond)
		}
	}
	return nil
}

// Close waits for this member's requests; the last member closes the pair.
func (m *member) Close() error {
	var done [64]*engine.Request
	for m.flight > 0 {
		if err := m.Kick(); err != nil {
			return err
		}
		if m.Poll(done[:]) == 0 {
			runtime.Gosched()
		}
	}
	h := m.n.h
	h.mu.Lock()
	m.p.mu.Lock()
	delete(m.p.members, m.id)
	last := len(m.p.members) == 0
	m.p.mu.Unlock()
	var err error
	if last {
		err = errors.Join(failure(m.p.hw.hw.Close()), m.p.hw.freeLists())
		h.shared = nil
		h.pairs--
	}
	h.mu.Unlock()
	return errors.Join(err, h.unmapArenas(m.arenas))
}
