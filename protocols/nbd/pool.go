package nbd

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/blkbench/blkbench/engine"
)

// crowd is how many calls a connection has before another one is opened, where there may be several.
const crowd = 2

// triesMax is how many connections a call may find dead before it was sent on one.
const triesMax = 16

// do sends a call on one of the connections. A call that loses its connection is sent once more, on another one, if there is time for that.
func (n *Node) do(ctx context.Context, cl *call) error {
	replayed := false
	for tries := 1; ; tries++ {
		c, err := n.pick(ctx)
		if err != nil {
			return err
		}
		err = c.do(ctx, cl)
		l, ok := errors.AsType[*lost](err)
		if !ok {
			return err
		}
		n.drop(c)
		if l.unsent && tries < triesMax {
			continue
		}
		if n.delay == 0 || replayed || errors.Is(l, errBroken) {
			return engine.Errf(engine.ErrIO, "%w", l)
		}
		cl.again()
		replayed = true
	}
}

// drop forgets a connection that was lost.
func (n *Node) drop(c *conn) {
	<-c.over // everything that was in flight on it has ended
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.Index(n.conns, c); i >= 0 {
		n.conns = slices.Delete(n.conns, i, i+1)
		n.lostAt = time.Now()
	}
}

// pick chooses the connection with the least to do, and opens one where there is none.
func (n *Node) pick(ctx context.Context) (*conn, error) {
	for {
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			return nil, engine.Errf(engine.ErrClosed, "the node is closed")
		}
		if c, least := n.idlest(); c != nil {
			if least >= crowd && len(n.conns) < n.most && !n.growing {
				n.growing = true
				go n.grow()
			}
			n.mu.Unlock()
			return c, nil
		}
		if wait := n.dialing; wait != nil {
			n.mu.Unlock()
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		ready := make(chan struct{})
		n.dialing = ready
		until := n.lostAt.Add(n.delay)
		n.mu.Unlock()
		c, err := n.connect(ctx, until)
		n.mu.Lock()
		n.dialing = nil
		close(ready)
		if err == nil {
			err = n.admit(c)
		}
		n.mu.Unlock()
		if err != nil {
			return nil, err
		}
		return c, nil
	}
}

// idlest is the live connection with the fewest calls; n.mu is held.
func (n *Node) idlest() (best *conn, least int) {
	for _, c := range n.conns {
		if c.dead() != nil {
			continue // whoever lost a call on it drops it
		}
		if k := c.pending(); best == nil || k < least {
			best, least = c, k
		}
	}
	return best, least
}

// admit takes a new connection into the pool; n.mu is held.
func (n *Node) admit(c *conn) error {
	if n.closed {
		go c.close()
		return engine.Errf(engine.ErrClosed, "the node is closed")
	}
	n.conns = slices.DeleteFunc(n.conns, func(c *conn) bool { return c.dead() != nil })
	n.conns = append(n.conns, c)
	return nil
}

// grow opens one more connection in the background. One that the server does not want is no error: what there is serves.
func (n *Node) grow() {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeLimit)
	defer cancel()
	c, err := n.another(ctx, time.Time{})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.growing = false
	if err == nil {
		err = n.admit(c)
	}
	if err != nil {
		n.most = max(1, len(n.conns))
	}
}

// connect replaces what was lost.
func (n *Node) connect(ctx context.Context, until time.Time) (*conn, error) {
	c, err := n.another(ctx, until)
	if err != nil {
		return nil, err
	}
	n.warnUnflushed()
	return c, nil
}

func (n *Node) warnUnflushed() {
	if n.dirty.Load() && n.env != nil && n.env.Warn != nil {
		n.env.Warn(n.info.Filename + ": connected again; writes were acknowledged before and not flushed: they are lost if the server was")
	}
}

// another opens a connection to the same export.
func (n *Node) another(ctx context.Context, until time.Time) (*conn, error) {
	nc, s, err := n.d.dialUntil(ctx, until)
	if err != nil {
		return nil, err
	}
	c := newConn(nc, s)
	if err := n.same(s); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// same holds a new session against the first.
func (n *Node) same(s *session) error {
	old := *n.first
	old.export.Size = uint64(n.size.Load())
	return s.same(&old)
}
