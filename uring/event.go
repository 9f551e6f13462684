package uring

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The ring's own descriptor is no good to its owner for waiting: with DEFER_TASKRUN a completion is only
// noted until the owner enters the ring, and nobody who polls the descriptor hears of it. A registered
// eventfd does hear of it. Its signals are switched off in the completion ring's flags but for the time of
// a wait, so that they cost a poller that does not sleep nothing.

// cqEventfdDisabled is a flag of the completion ring, written by us. Source: io_uring.h "cq_ring->flags".
const cqEventfdDisabled = uint32(1)

// event is the descriptor by which others wait for a reactor.
type event struct {
	fd    int // -1 until it is wanted
	armed bool
}

// EventFD is a descriptor that is readable, after Arm, when a completion may be there for somebody. It is
// the reactor's; -1 if there can be none.
func (r *Reactor) EventFD() int {
	if r.event.fd >= 0 {
		return r.event.fd
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		r.err = fmt.Errorf("eventfd: %w", err)
		return -1
	}
	r.event.fd = fd
	for _, ring := range [...]*Ring{r.ring, r.side} {
		if ring == nil {
			continue
		}
		if err := ring.RegisterEventfd(fd); err != nil {
			r.err = err
		}
	}
	r.signals(false)
	return fd
}

// signals switches the eventfd on or off.
func (r *Reactor) signals(on bool) {
	flags := cqEventfdDisabled
	if on {
		flags = 0
	}
	for _, ring := range [...]*Ring{r.ring, r.side} {
		if ring != nil && ring.kCQFlags != nil {
			atomic.StoreUint32(ring.kCQFlags, flags)
		}
	}
	r.event.armed = on
}

// Arm prepares for a wait on EventFD by others: it shows the kernel what was prepared and reports whether
// there is nothing yet for the client, so that the wait makes sense.
func (c *Client) Arm() (bool, error) {
	r := c.reactor
	if r.EventFD() < 0 {
		return false, r.err
	}
	var count [8]byte
	// EAGAIN: it was not rung since.
	_, _ = unix.Read(r.event.fd, count[:])
	r.signals(true)
	err := r.submit()
	_, n := c.Ready()
	if n != 0 || err != nil || (c.ring.ioPoll && c.ring.Inflight() != 0) {
		r.signals(false)
		return false, err
	}
	return true, nil
}

// EventFD is [Reactor.EventFD].
func (c *Client) EventFD() int { return c.reactor.EventFD() }

func (r *Reactor) closeEvent() error {
	if r.event.fd < 0 {
		return nil
	}
	fd := r.event.fd
	r.event.fd = -1
	return unix.Close(fd)
}
