package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// detach takes the descriptor out of a new connection to the same export. It blocks from then on: io_uring waits for such sockets by itself.
func (n *Node) detach(nc net.Conn, s *session) (int, error) {
	defer nc.Close()
	if err := n.same(s); err != nil {
		return -1, err
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return -1, engine.Errf(engine.ErrUnsupported, "a connection without a descriptor")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var derr error
	if err := raw.Control(func(p uintptr) { fd, derr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || derr != nil {
		return -1, errors.Join(err, derr)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// adopt makes a descriptor the queue's connection.
func (q *ringQueue) adopt(fd int) {
	l := &q.link
	l.state, l.fd, l.file, l.fixed = linkUp, fd, int32(fd), false
	if !q.node.flags.Leaf.NoRegisterFiles && q.client.AuxFixed() {
		if i, err := q.reactor.AddFile(fd); err == nil {
			l.file, l.fixed = i, true
		}
	}
	q.in.reset()
	q.out.reset()
}

// hangUp takes leave of the server and closes the descriptor. Nothing is in flight on it. proto.md "Request types", NBD_CMD_DISC
func (q *ringQueue) hangUp() {
	l := &q.link
	if l.fd < 0 {
		return
	}
	if l.state == linkUp {
		b := make([]byte, wire.ExtendedSize)
		n := (&wire.Request{Type: wire.CmdDisc}).Put(b, q.extended())
		_ = unix.Sendto(l.fd, b[:n], unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
	}
	if l.fixed {
		_ = q.reactor.DropFile(l.file)
	}
	unix.Close(l.fd)
	l.fd, l.fixed = -1, false
}

// lose gives the connection up: the kernel's entries end by themselves then.
func (q *ringQueue) lose(err error) {
	l := &q.link
	if l.state != linkUp {
		return
	}
	l.state, l.cause = linkEnding, &lost{cause: err}
	_ = unix.Shutdown(l.fd, unix.SHUT_RDWR)
}

// mend goes on from a lost connection: when the kernel has let go of it, requests fail or wait for the next; when that is there, they are
// sent.
func (q *ringQueue) mend() {
	l := &q.link
	if l.state == linkEnding {
		for k := q.collect(); k != 0; k = q.collect() {
		}
		if q.out.sending || q.in.receiving {
			return
		}
		q.bury()
	}
	if l.state != linkDialing {
		return
	}
	a := l.arrived.Swap(nil)
	if a == nil {
		return
	}
	l.cancel()
	if a.err != nil {
		l.state = linkDown
		q.failAll(a.err)
		return
	}
	q.adopt(a.fd)
	q.node.warnUnflushed()
	q.restage()
}

// restage puts what waited for a connection into the batch, as far as there is room.
func (q *ringQueue) restage() {
	q.parked = false
	for i := range q.slots {
		s := &q.slots[i]
		if s.req == nil || s.batch != noBatch {
			continue
		}
		if !q.out.room() {
			q.parked = true
			return
		}
		s.begin(s.cmd, s.off, s.n)
		_, flags, _ := q.command(s.req)
		q.stage(uint32(i), flags)
	}
}

// bury ends what was in flight on a connection, or keeps it for the next.
func (q *ringQueue) bury() {
	l := &q.link
	q.release()
	q.hangUp()
	l.state = linkDown
	waiting := false
	for i := range q.slots {
		s := &q.slots[i]
		if s.req == nil {
			continue
		}
		sent := s.batch < q.out.number // its batch was begun
		if sent && (q.node.delay == 0 || s.replayed || errors.Is(l.cause, errBroken)) {
			q.complete(uint32(i), engine.Errf(engine.ErrIO, "%w", l.cause))
			continue
		}
		s.replayed, s.batch = s.replayed || sent, noBatch
		waiting = true
	}
	if waiting {
		q.redial()
	}
}

func (q *ringQueue) failAll(err error) {
	for i := range q.slots {
		if q.slots[i].req != nil {
			q.complete(uint32(i), err)
		}
	}
}

// redial connects in the background, for as long as reconnect-delay says; once, where it says nothing.
func (q *ringQueue) redial() {
	l := &q.link
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	if l.watch == nil {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			cancel()
			q.failAll(err)
			return
		}
		l.event, l.watch = fd, q.reactor.Watch(fd)
	}
	l.state = linkDialing
	until, event, n := time.Now().Add(q.node.delay), l.event, q.node
	l.dials.Go(func() {
		a := &arrival{fd: -1}
		nc, s, err := n.d.dialUntil(ctx, until)
		if err == nil {
			a.fd, err = n.detach(nc, s)
		}
		a.err = err
		l.arrived.Store(a)
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(event, one[:])
	})
}

// unwatch gives the event descriptor of dials back.
func (q *ringQueue) unwatch() {
	l := &q.link
	if l.watch == nil {
		return
	}
	l.dials.Wait()
	if err := q.reactor.Unwatch(l.watch); err == nil {
		unix.Close(l.event)
	}
	l.watch = nil
}
