package engine

import "context"

// Breakpointer is a node that can hold requests: one that comes to a named event while a breakpoint is set there waits until its tag is
// resumed. The fault filter has it; `io` drives it by break, wait_break, resume and remove_break.
type Breakpointer interface {
	// SetBreak holds the next requests that come to the event. ErrNotFound: there is no such event.
	SetBreak(event, tag string) error
	// RemoveBreak takes the breakpoints of a tag away, and lets go what they hold. ErrNotFound: there are none.
	RemoveBreak(tag string) error
	// Resume lets one held request of a tag go on, and removes its breakpoint. ErrNotFound: none is held.
	Resume(tag string) error
	// IsSuspended reports whether a request is held under the tag.
	IsSuspended(tag string) bool
	// WaitSuspended returns as soon as one is.
	WaitSuspended(ctx context.Context, tag string) error
}

// FindBreakpointer returns the first node from r downwards that has breakpoints, nil when there is none. It goes by the way that QEMU
// calls primary: the one child of a filter, the storage child of a format; never to a backing file.
func FindBreakpointer(r *Ref) Breakpointer {
	for range maxDepth {
		if r == nil {
			return nil
		}
		if b, ok := r.Node().(Breakpointer); ok {
			return b
		}
		r = primaryChild(r.Node())
	}
	return nil
}

func primaryChild(n Node) *Ref {
	p, ok := n.(Parent)
	if !ok {
		return nil
	}
	for _, c := range p.Children() {
		if c.Name != "backing" && c.Name != "data-file" {
			return c.Ref
		}
	}
	return nil
}
