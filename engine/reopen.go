package engine

import (
	"context"
	"errors"
	"io"
)

// LockHolder is a leaf whose locks can outlive it, so that nobody gets in between while the graph above is closed and opened again.
type LockHolder interface {
	// HoldLocks moves what the node has locked to a handle, which keeps it until it is closed; the node has none afterwards. A node
	// that is opened meanwhile finds the handle in HeldLocks, and takes over what it needs.
	HoldLocks() (io.Closer, error)
}

// HeldLocks returns what is held while a graph is exchanged.
func (e *Env) HeldLocks() []io.Closer { return e.held }

// Exchange closes a graph and opens another over the same files, with the locks of the old one held in between. When open fails, again is
// to open the graph as it was, which the locks allow; the error is open's. Nobody else may be using the graph: the caller has drained it.
// The reference is nil when nothing is open any more.
func (e *Env) Exchange(ctx context.Context, old *Ref, open, again func() (*Ref, error)) (*Ref, error) {
	if err := old.Flush(ctx); err != nil {
		return old, err
	}
	held, err := holdLocks(old, 0)
	e.held = append(e.held, held...)
	defer func() {
		for _, h := range e.held {
			_ = h.Close()
		}
		e.held = nil
	}()
	if err = errors.Join(err, old.Close()); err != nil {
		return nil, err
	}
	ref, err := open()
	if err == nil {
		return ref, nil
	}
	ref, aerr := again()
	return ref, errors.Join(err, aerr)
}

// holdLocks holds the locks of every leaf below a reference.
func holdLocks(r *Ref, depth int) ([]io.Closer, error) {
	if r == nil || depth > maxDepth {
		return nil, nil
	}
	if h, ok := r.Node().(LockHolder); ok {
		c, err := h.HoldLocks()
		if c == nil || err != nil {
			return nil, err
		}
		return []io.Closer{c}, nil
	}
	p, ok := r.Node().(Parent)
	if !ok {
		return nil, nil
	}
	var all []io.Closer
	for _, c := range p.Children() {
		held, err := holdLocks(c.Ref, depth+1)
		all = append(all, held...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}
