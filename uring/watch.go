package uring

import "golang.org/x/sys/unix"

// Watch is an event descriptor that ends waits.
type Watch struct {
	fd    int
	armed bool
	fired bool
	gone  bool
}

// Watch makes Wait return when fd (an eventfd, non-blocking) is readable, and resets it then. Between
// waits nothing is armed: an event costs a poller that does not sleep nothing.
func (r *Reactor) Watch(fd int) *Watch {
	w := &Watch{fd: fd}
	for i, old := range r.watches {
		if old.gone && !old.armed {
			r.watches[i] = w
			return w
		}
	}
	r.watches = append(r.watches, w)
	return w
}

// Unwatch ends that. The descriptor may be closed afterwards.
func (r *Reactor) Unwatch(w *Watch) error {
	w.gone = true
	ring, err := r.aux()
	if err != nil || !w.armed {
		return err
	}
	s := ring.SQE()
	for ; s == nil; s = ring.SQE() {
		if err := ring.Kick(); err != nil {
			return err
		}
	}
	s.PrepCancel(r.slotOf(w))
	s.UserData = slotIgnored
	r.own++
	r.solo = nil
	return ring.Kick()
}

// Fired reports whether the descriptor was readable since the last call.
func (w *Watch) Fired() bool {
	f := w.fired
	w.fired = false
	return f
}

func (w *Watch) fire(res int32) {
	w.armed = false
	if w.gone || res < 0 {
		return
	}
	w.fired = true
	var count [8]byte
	// EAGAIN: somebody else read it.
	_, _ = unix.Read(w.fd, count[:])
}

func (r *Reactor) slotOf(w *Watch) uint64 {
	for i := range r.watches {
		if r.watches[i] == w {
			return uint64(i)
		}
	}
	return slotIgnored
}

// arm submits the poll of a watch, once.
func (r *Reactor) arm(w *Watch) error {
	if w.armed || w.gone {
		return nil
	}
	ring, err := r.aux()
	if err != nil {
		return err
	}
	s := ring.SQE()
	if s == nil {
		if err := ring.Kick(); err != nil {
			return err
		}
		if s = ring.SQE(); s == nil {
			return nil // the kernel takes nothing just now: the wait will be short
		}
	}
	s.PrepPollAdd(int32(w.fd), unix.POLLIN)
	s.UserData = r.slotOf(w)
	w.armed = true
	r.own++
	r.solo = nil
	return nil
}
