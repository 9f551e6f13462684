package blkdebug

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// machine holds the rules and what they have led to.
type machine struct {
	mu     sync.Mutex
	rules  ruleSet
	active []*rule // of the last event that had inject-error rules
	state  int
	held   []*heldRequest
	change chan struct{} // closed, and made anew, when held changes
	closed bool
}

// heldRequest is a step that a breakpoint holds.
type heldRequest struct {
	tag string
	run chan struct{} // closed when it may go on
}

func newMachine(rules ruleSet) *machine {
	m := &machine{rules: rules, state: 1, change: make(chan struct{})}
	m.event(engine.EventNone)
	return m
}

// event applies the rules of an event, and returns when no breakpoint holds it any more.
func (m *machine) event(e engine.Event) {
	m.mu.Lock()
	if len(m.rules[e]) == 0 {
		m.mu.Unlock()
		return
	}
	next, injects := m.state, false
	var waits []*heldRequest
	for _, r := range slices.Clone(m.rules[e]) {
		if r.state != 0 && r.state != m.state {
			continue
		}
		switch r.action {
		case inject:
			if !injects {
				injects, m.active = true, nil
			}
			m.active = append(m.active, r)
		case setState:
			next = r.newState
		case suspend:
			m.remove(r)
			if !m.closed {
				waits = append(waits, &heldRequest{r.tag, make(chan struct{})})
			}
		}
	}
	m.state = next
	m.held = append(m.held, waits...)
	if len(waits) > 0 {
		m.changed()
	}
	m.mu.Unlock()
	for _, h := range waits {
		<-h.run
	}
}

// check returns the error of the first active rule that a request matches, 0 when none does.
func (m *machine) check(off, n int64, t ioType) unix.Errno {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range m.active {
		if r.types&t == 0 || (r.off >= 0 && (r.off < off || r.off >= off+n)) {
			continue
		}
		if r.errno != 0 && r.once {
			m.active = slices.Delete(slices.Clone(m.active), i, i+1)
			m.remove(r)
		}
		return r.errno
	}
	return 0
}

// remove takes a rule out of its event. mu is held.
func (m *machine) remove(r *rule) {
	for e := range m.rules {
		if i := slices.Index(m.rules[e], r); i >= 0 {
			m.rules[e] = slices.Delete(slices.Clone(m.rules[e]), i, i+1)
		}
	}
}

func (m *machine) changed() {
	close(m.change)
	m.change = make(chan struct{})
}

// SetBreak implements engine.Breakpointer.
func (m *machine) SetBreak(name, tag string) error {
	e, ok := engine.ParseEvent(name)
	if !ok {
		return engine.Errf(engine.ErrNotFound, "there is no event '%s'", name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rules[e] = append(m.rules[e], &rule{action: suspend, tag: tag})
	return nil
}

// RemoveBreak implements engine.Breakpointer.
func (m *machine) RemoveBreak(tag string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := false
	for e := range m.rules {
		m.rules[e] = slices.DeleteFunc(slices.Clone(m.rules[e]), func(r *rule) bool {
			hit := r.action == suspend && r.tag == tag
			found = found || hit
			return hit
		})
	}
	for m.release(tag) {
		found = true
	}
	if !found {
		return engine.Errf(engine.ErrNotFound, "no breakpoint has the tag '%s'", tag)
	}
	return nil
}

// release lets the first request that is held under a tag go on. mu is held.
func (m *machine) release(tag string) bool {
	i := slices.IndexFunc(m.held, func(h *heldRequest) bool { return h.tag == tag })
	if i < 0 {
		return false
	}
	close(m.held[i].run)
	m.held = slices.Delete(m.held, i, i+1)
	m.changed()
	return true
}

// Resume implements engine.Breakpointer.
func (m *machine) Resume(tag string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.release(tag) {
		return engine.Errf(engine.ErrNotFound, "no request is held under the tag '%s'", tag)
	}
	return nil
}

// IsSuspended implements engine.Breakpointer.
func (m *machine) IsSuspended(tag string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.suspended(tag)
}

func (m *machine) suspended(tag string) bool {
	return slices.ContainsFunc(m.held, func(h *heldRequest) bool { return h.tag == tag })
}

// WaitSuspended implements engine.Breakpointer.
func (m *machine) WaitSuspended(ctx context.Context, tag string) error {
	for {
		m.mu.Lock()
		found, change := m.suspended(tag), m.change
		m.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// letGo lets everything go that is held.
func (m *machine) letGo() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, h := range m.held {
		close(h.run)
	}
	m.held = nil
	m.changed()
}
