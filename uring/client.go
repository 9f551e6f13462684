package uring

import "time"

// Client is one user of a reactor: a file, a socket. Entries carry its Tag in their user data, which is how
// its completions find it.
//
// A client polls like this, and the leaves' own loops are no longer than that:
//
//	for q, n := c.Ready(); n != 0; q, n = c.Ready() {
//		for i := range n {
//			e := q.At(i)
//			// e.UserData & SlotMask is the slot, e.Res the result
//		}
//		q.Release(n)
//	}
type Client struct {
	reactor *Reactor
	ring    *Ring
	tag     uint64
	backlog *backlog
	depth   uint32
}

// Reactor is whose client this is.
func (c *Client) Reactor() *Reactor { return c.reactor }

// Tag is what has to be in the top bits of the user data of every entry; a slot number goes below.
func (c *Client) Tag() uint64 { return c.tag }

// Ring is where SQE takes slots from, for filling a batch with [Ring.Slot] and [Ring.Take].
func (c *Client) Ring() *Ring { return c.ring }

// MakeRoom is [Ring.Room], after entering the kernel if that is less than n.
func (c *Client) MakeRoom(n uint32) uint32 {
	room := c.ring.Room()
	if room < n {
		if err := c.ring.Kick(); err != nil {
			c.reactor.err = err
		}
		room = c.ring.Room()
	}
	return min(room, n)
}

// SQE hands out a submission slot, entering the kernel to make room if there is none. It is nil if the
// kernel takes nothing just now. Reads, writes and commands of drivers go here.
func (c *Client) SQE() *SQE {
	if s := c.ring.SQE(); s != nil {
		return s
	}
	return c.makeRoom(c.ring)
}

// AuxSQE is SQE for what an IOPOLL ring refuses: fsync, fallocate, polls, sockets. Registered files and
// buffers are not there in an IOPOLL reactor; use AuxFixed to find out.
func (c *Client) AuxSQE() *SQE {
	ring, err := c.reactor.aux()
	if err != nil {
		c.reactor.err = err
		return nil
	}
	if s := ring.SQE(); s != nil {
		return s
	}
	return c.makeRoom(ring)
}

// AuxFixed reports whether entries of AuxSQE can name registered files and buffers.
func (c *Client) AuxFixed() bool { return !c.ring.feats.Has(FeatIOPoll) }

func (c *Client) makeRoom(ring *Ring) *SQE {
	if err := ring.Kick(); err != nil {
		c.reactor.err = err
		return nil
	}
	return ring.SQE()
}

// Kick shows the kernel what was prepared, by all clients.
func (c *Client) Kick() error { return c.reactor.Kick() }

// Ready is a run of the client's completions: the queue they are in, and how many from its front. At most
// so many are to be released. It enters the kernel only if the ring says that there is something to fetch;
// it never waits.
func (c *Client) Ready() (*CQ, uint32) {
	if c.backlog.end != c.backlog.head {
		return &c.backlog.CQ, c.backlog.end - c.backlog.head
	}
	q := &c.ring.cq
	n := q.Ready()
	if n == 0 {
		return c.fetch()
	}
	if c.reactor.solo != c {
		n = c.reactor.sort(c.ring, c, n)
	}
	return q, n
}

// fetch is Ready's long way: the ring is empty, so ask whether the kernel holds something back, and look at
// the second ring.
func (c *Client) fetch() (*CQ, uint32) {
	r := c.reactor
	for _, ring := range [...]*Ring{c.ring, r.side} {
		if ring == nil {
			break
		}
		n := ring.cq.Ready()
		if n == 0 && ring.Pending() {
			if err := ring.Fetch(); err != nil {
				r.err = err
				break
			}
			n = ring.cq.Ready()
		}
		if n != 0 && r.solo != c {
			n = r.sort(ring, c, n)
		}
		if n != 0 {
			return &ring.cq, n
		}
	}
	return &c.ring.cq, 0
}

// More records that a completion had CQEMore: its entry will complete again.
func (c *Client) More(aux bool) {
	if aux && c.reactor.side != nil {
		c.reactor.side.More()
		return
	}
	c.ring.More()
}

// Wait is [Reactor.Wait].
func (c *Client) Wait(limit time.Duration) error { return c.reactor.WaitN(1, limit) }

// WaitN is [Reactor.WaitN].
func (c *Client) WaitN(n uint32, limit time.Duration) error { return c.reactor.WaitN(n, limit) }

// Leave ends the client. It has nothing in flight any more, or does not care: what still completes is
// dropped, but until then the kernel may write to the memory that it named.
func (c *Client) Leave() error {
	err := c.reactor.Kick()
	c.reactor.leave(c)
	return err
}
