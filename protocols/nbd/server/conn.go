package server

import (
	"errors"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/protocols/nbd/wire"
	"github.com/blkbench/blkbench/uring"
)

// errStalled is why a client is hung up on that has not moved for too long.
var errStalled = errors.New("the client was idle for too long, or did not take its replies")

// conn is a client of a poller. It belongs to the poller's thread.
//
// Invariant: a conn lives as long as an entry (a receive, a poll) or an op refers to it; reap lets it go.
type conn struct {
	p     *poller
	s     *session
	who   string
	fd    int
	slot  int32 // of the registered file, or -1
	index int   // among the poller's connections

	buf      []byte // what was received and not looked at is buf[pos:end]
	addr     uint64 // of buf
	pos, end int
	cur      *op    // a request whose payload is being received
	got      uint64 // bytes of it
	skip     uint64 // bytes of payload that nobody wants

	queue    []*op // replies, the first of them sent up to sent
	sent     int
	inFlight int   // requests that were taken and whose reply is not sent
	held     int64 // bytes of buffers
	active   int64 // when it last moved

	receiving bool // an entry
	polling   bool // an entry
	dirty     bool // on the poller's list
	starved   bool // on the poller's list
	lacks     bool // for others hold what it wants
	ending    bool // nothing more is read
	failed    bool // nothing more is sent either
}

// received takes the result of a receive.
func (c *conn) received(res int32) {
	c.receiving = false
	switch {
	case res == -int32(unix.ECANCELED) || res == -int32(unix.EINTR) || res == -int32(unix.EAGAIN):
		// Nothing was wrong with the socket: again.
	case res <= 0:
		c.ending = true
		if res < 0 || c.cur != nil {
			c.fail(nil)
		}
	default:
		c.active = c.p.now
		if c.cur != nil && c.pos == c.end {
			c.got += uint64(res)
		} else {
			c.end += int(res)
		}
	}
	c.step()
	if c.ending {
		c.p.mark(c)
	}
}

// step looks at what was received and asks for more.
func (c *conn) step() {
	if c.failed || c.receiving {
		return
	}
	for c.parse() {
	}
	if c.failed || c.ending || c.starved {
		return
	}
	c.receive()
}

// receive prepares the next receive, straight into a request's buffer where its payload is not here yet.
func (c *conn) receive() {
	var addr uint64
	var n int
	flags := uint32(0)
	if c.cur != nil && c.pos == c.end {
		data := c.cur.buf.data(c.cur.w.Len)[c.got:]
		addr, n, flags = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(data)))), len(data), unix.MSG_WAITALL
	} else {
		if c.pos > 0 {
			c.end = copy(c.buf, c.buf[c.pos:c.end])
			c.pos = 0
		}
		addr, n = c.addr+uint64(c.end), len(c.buf)-c.end
	}
	s := c.entry()
	if s == nil {
		c.fail(errors.New("the ring takes nothing"))
		return
	}
	s.PrepRecv(c.ringFD(), addr, uint32(n), flags)
	c.arm(s, slotRecv)
	c.receiving = true
}

func (c *conn) entry() *uring.SQE { return c.p.client.SQE() }

func (c *conn) ringFD() int32 {
	if c.slot >= 0 {
		return c.slot
	}
	return int32(c.fd)
}

// arm finishes an entry.
func (c *conn) arm(s *uring.SQE, kind int) {
	if c.slot >= 0 {
		s.SetFixedFile()
	}
	s.UserData = c.p.client.Tag() | uint64(c.index*slotKinds+kind)
}

// parse takes one step with what was received: payload, or a header. It reports whether there may be another.
func (c *conn) parse() bool {
	have := uint64(c.end - c.pos)
	switch {
	case c.failed:
		return false
	case c.skip > 0:
		n := min(have, c.skip)
		c.pos += int(n)
		c.skip -= n
		return n > 0
	case c.cur != nil:
		o := c.cur
		n := uint64(copy(o.buf.data(o.w.Len)[c.got:], c.buf[c.pos:c.end]))
		c.pos += int(n)
		if c.got += n; c.got < o.w.Len {
			return false
		}
		c.cur, c.got = nil, 0
		o.start()
		return true
	case have < uint64(wire.RequestSize(c.s.extended())):
		return false
	}
	r, err := wire.ParseRequest(c.buf[c.pos:c.end], c.s.extended())
	if err != nil {
		c.fail(err)
		return false
	}
	return c.request(&r)
}

// request takes a request whose header is at the front. It stays there when something lacks.
func (c *conn) request(r *wire.Request) bool {
	p := c.p
	head := wire.RequestSize(c.s.extended())
	if r.Type == wire.CmdDisc {
		c.ending = true
		c.pos = c.end // whatever follows
		p.mark(c)
		return false
	}
	pay := r.Payload(c.s.extended())
	if pay > maxPayload {
		c.fail(errTooLong)
		return false
	}
	e := c.s.check(r)
	if r.Type == wire.CmdBlockStatus && e == wire.OK && pay > 0 {
		if pay > maxStatus {
			e = wire.EINVAL
		} else if c.end-c.pos < head+int(pay) {
			return false // it fits into the buffer
		}
	}
	if c.inFlight >= maxInFlight || (c.inFlight > 0 && c.inFlight > len(p.freeOps)/4) || len(p.freeOps) == 0 {
		c.starve(c.inFlight < maxInFlight)
		return false
	}
	o := p.freeOps[len(p.freeOps)-1]
	if need := c.s.bufferSize(r); e == wire.OK && need > 0 {
		buf, size, ok := p.pool.take(need, c.held)
		if !ok {
			c.starve(true)
			return false
		}
		o.buf, o.size = buf, size
		c.held += size
	}
	p.freeOps = p.freeOps[:len(p.freeOps)-1]
	c.pos += head
	c.inFlight++
	o.c, o.w = c, *r
	switch {
	case e != wire.OK:
		c.skip = pay
		o.end(e)
	case r.Type == wire.CmdBlockStatus && pay > 0:
		o.pay = slices.Clone(c.buf[c.pos : c.pos+int(pay)])
		c.pos += int(pay)
		o.start()
	case pay > 0:
		c.cur, c.got = o, 0
	default:
		o.start()
	}
	return true
}

// starve puts the connection on the list of those that wait for memory: it lacks what others have, or has enough under way.
func (c *conn) starve(lacks bool) {
	c.lacks = lacks
	if c.starved {
		return
	}
	c.starved = true
	c.p.starved = append(c.p.starved, c)
}

// fail ends a connection at once: nothing more is read or sent. err says why; nil: the client is gone.
func (c *conn) fail(err error) {
	if c.failed {
		return
	}
	c.failed, c.ending = true, true
	if err != nil {
		c.p.srv.logf("%s: %v", c.who, err)
	}
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR) // ends what is in the ring; a socket that is gone says so itself
	c.p.mark(c)
}

// reap lets a connection go that has ended and that nothing refers to.
func (c *conn) reap() {
	if !c.ending {
		return
	}
	if c.failed && !c.receiving && c.cur != nil {
		o := c.cur
		c.cur = nil
		o.free()
	}
	if c.failed {
		for _, o := range c.queue {
			o.free()
		}
		c.queue = c.queue[:0]
	}
	if c.inFlight > 0 || c.starved {
		return
	}
	if c.receiving || c.polling {
		c.fail(nil) // a client that has said goodbye and does not hang up
		return
	}
	p := c.p
	if p.conns[c.index] != c {
		return
	}
	p.conns[c.index] = nil
	p.live--
	if c.slot >= 0 {
		if err := p.reactor.DropFile(c.slot); err != nil {
			p.srv.logf("%s: %v", c.who, err)
		}
	}
	p.recv.give(c.buf)
	unix.Close(c.fd)
	p.gone(c.who)
}

// Limits of one sendmsg.
const (
	maxVec  = 128     // replies
	maxSend = 2 << 20 // bytes, after which no more replies are added
)

// send gives the socket as much as it takes. It never waits: what is left is sent when the socket says so.
func (c *conn) send() {
	for len(c.queue) > 0 && !c.polling && !c.failed {
		n, total := 0, 0
		for _, o := range c.queue {
			b := o.reply()
			if n == 0 {
				b = b[c.sent:]
			}
			v := &c.p.iov[n]
			v.Base = unsafe.SliceData(b)
			v.SetLen(len(b))
			n++
			if total += len(b); n == maxVec || total >= maxSend {
				break
			}
		}
		sent, errno := c.sendmsg(n)
		switch {
		case errno == 0:
			c.took(sent)
			if sent == total {
				continue
			}
		case errno == unix.EINTR:
			continue
		case errno != unix.EAGAIN:
			c.fail(nil)
			return
		}
		s := c.entry()
		if s == nil {
			c.fail(errors.New("the ring takes nothing"))
			return
		}
		s.PrepPollAdd(c.ringFD(), unix.POLLOUT)
		c.arm(s, slotPoll)
		c.polling = true
	}
}

// sendmsg is a system call that does not wait, so that the scheduler need not know.
func (c *conn) sendmsg(n int) (int, unix.Errno) {
	m := &c.p.msg
	m.Iov = &c.p.iov[0]
	m.SetIovlen(n)
	sent, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(c.fd), uintptr(unsafe.Pointer(m)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return int(sent), errno
}

// took drops what the socket has taken from the queue.
func (c *conn) took(n int) {
	c.active = c.p.now
	done := 0
	for n > 0 {
		o := c.queue[done]
		left := len(o.reply()) - c.sent
		if n < left {
			c.sent += n
			break
		}
		n -= left
		c.sent = 0
		o.sent()
		done++
	}
	c.queue = c.queue[:copy(c.queue, c.queue[done:])]
}
