package nbd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

const (
	readBuffer = 64 << 10 // bytes; larger payloads pass it by
	// maxStatus bounds the payload of a BLOCK_STATUS chunk in bytes.
	maxStatus = 16 << 20
	// cancelGrace is how long a cancelled call waits for the connection to let go of its buffer, before the connection is given up.
	cancelGrace = 5 * time.Second
)

// conn is a connection of the blocking plane.
//
// Invariant: a slot of calls is nil and in free, or its call is in flight; a call leaves its slot by the reader only, so that nobody
// touches a buffer whose caller has returned.
type conn struct {
	nc   net.Conn
	s    *session
	r    *bufio.Reader
	over chan struct{} // closed when the reader has ended

	wmu  sync.Mutex // the stream of requests
	head [wire.ExtendedSize]byte
	vec  [2][]byte
	bufs net.Buffers // of vec; here since it would escape

	mu    sync.Mutex
	calls []*call
	gens  []uint32 // of each slot, the upper half of its cookie
	free  []uint32
	busy  int
	err   error // why it is no more
}

func newConn(nc net.Conn, s *session) *conn {
	c := &conn{nc: nc, s: s, r: bufio.NewReaderSize(nc, readBuffer), over: make(chan struct{})}
	go c.read()
	return c
}

// pending is how many calls are in flight.
func (c *conn) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy
}

// dead reports why the connection is no more, nil while it is.
func (c *conn) dead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail gives the connection up; the reader ends what is in flight.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.nc.Close()
}

// do sends a request and waits for its reply. An error that is *lost says that the connection is gone.
func (c *conn) do(ctx context.Context, cl *call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	cookie, err := c.enter(cl)
	if err != nil {
		return &lost{err, true}
	}
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { c.abandon(cl, cookie, ctx.Err()) })
		defer stop()
	}
	if err := c.send(cl, cookie); err != nil {
		c.fail(err)
	}
	<-cl.done
	return cl.err
}

// enter gives a call a slot.
func (c *conn) enter(cl *call) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if len(c.free) == 0 {
		c.calls, c.gens = append(c.calls, nil), append(c.gens, 0)
		c.free = append(c.free, uint32(len(c.calls)-1))
	}
	slot := c.free[len(c.free)-1]
	c.free = c.free[:len(c.free)-1]
	c.calls[slot] = cl
	c.gens[slot]++
	c.busy++
	return uint64(c.gens[slot])<<32 | uint64(slot), nil
}

// send puts the request into the stream.
func (c *conn) send(cl *call, cookie uint64) error {
	req := wire.Request{Cookie: cookie, Off: cl.off, Len: cl.n, Flags: cl.flags, Type: cl.cmd}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if err := c.dead(); err != nil {
		return err
	}
	n := req.Put(c.head[:], c.s.replies == wire.Extended)
	var err error
	if cl.cmd == wire.CmdWrite {
		c.vec = [2][]byte{c.head[:n], cl.buf}
		c.bufs = c.vec[:]
		_, err = c.bufs.WriteTo(c.nc)
		c.vec = [2][]byte{}
	} else {
		_, err = c.nc.Write(c.head[:n])
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	if slot := uint32(cookie); c.calls[slot] != nil && c.gens[slot] == uint32(cookie>>32) {
		c.calls[slot].sent = true
	}
	c.mu.Unlock()
	return nil
}

// abandon ends a call whose caller gave up: at once where nobody is at its buffer, else when the connection lets go of it.
func (c *conn) abandon(cl *call, cookie uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := uint32(cookie)
	if c.calls[slot] != cl || c.gens[slot] != uint32(cookie>>32) || cl.finished {
		return
	}
	waits := cl
	if !cl.reading {
		// The slot stays taken until the reply is there, by a call that nobody waits for.
		waits = &call{answer: cl.answer, flags: cl.flags, orphan: true, sent: cl.sent}
		c.calls[slot] = waits
		cl.finish(err)
	}
	if waits.sent && !waits.reading {
		return
	}
	gen := c.gens[slot]
	time.AfterFunc(cancelGrace, func() {
		c.mu.Lock()
		stuck := c.calls[slot] == waits && c.gens[slot] == gen && (waits.reading || !waits.sent)
		c.mu.Unlock()
		if stuck {
			c.fail(err)
		}
	})
}

// finish ends a call; c.mu is held.
func (cl *call) finish(err error) {
	if cl.finished {
		return
	}
	cl.finished, cl.err = true, err
	if !cl.orphan {
		cl.done <- struct{}{}
	}
}

// read is the reader: it takes replies until the connection breaks, and then ends all calls.
func (c *conn) read() {
	defer close(c.over)
	err := c.replies()
	if isEOF(err) {
		err = engine.Errf(engine.ErrIO, "the server has closed the connection")
	}
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.nc.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for slot, cl := range c.calls {
		if cl != nil {
			c.calls[slot] = nil
			c.busy--
			cl.finish(&lost{cause: c.err})
		}
	}
}

func (c *conn) replies() error {
	var b [wire.MaxReplySize]byte
	var rep wire.Reply
	least := wire.MinReplySize(c.s.replies)
	for {
		if _, err := io.ReadFull(c.r, b[:least]); err != nil {
			return err
		}
		n, err := wire.ParseReply(b[:least], c.s.replies, &rep)
		if err == nil && n > least {
			if _, err = io.ReadFull(c.r, b[least:n]); err != nil {
				return err
			}
			_, err = wire.ParseReply(b[:n], c.s.replies, &rep)
		}
		if err != nil {
			return broken("%w", err)
		}
		cl, err := c.lookUp(rep.Cookie)
		if err != nil {
			return err
		}
		if err := c.take(cl, &rep); err != nil {
			return err
		}
		if rep.Done() {
			err = c.complete(cl, uint32(rep.Cookie))
		} else {
			c.release(cl)
		}
		if err != nil {
			return err
		}
	}
}

// lookUp finds the call of a reply and claims its buffer.
func (c *conn) lookUp(cookie uint64) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot, gen := uint32(cookie), uint32(cookie>>32)
	if uint64(slot) >= uint64(len(c.calls)) || c.calls[slot] == nil || c.gens[slot] != gen {
		return nil, broken("reply with cookie %#x, which is not in flight", cookie)
	}
	cl := c.calls[slot]
	cl.reading = true
	return cl, nil
}

func (c *conn) release(cl *call) {
	c.mu.Lock()
	cl.reading = false
	c.mu.Unlock()
}

// take reads what follows a header, into the call.
func (c *conn) take(cl *call, rep *wire.Reply) error {
	if rep.Simple {
		return c.takeSimple(cl, rep)
	}
	if err := cl.chunk(rep, c.s.replies); err != nil {
		return err
	}
	switch rep.Type {
	case wire.ChunkOffsetData:
		b, err := c.next(wire.OffsetDataSize)
		if err != nil {
			return err
		}
		return c.payload(cl, wire.ParseOffsetData(b), rep.Len-wire.OffsetDataSize)
	case wire.ChunkOffsetHole:
		b, err := c.next(wire.OffsetHoleSize)
		if err != nil {
			return err
		}
		off, n, err := wire.ParseOffsetHole(b)
		if err != nil {
			return broken("%w", err)
		}
		at, err := cl.data(off, uint64(n))
		if err == nil && !cl.orphan {
			clear(cl.buf[at : at+n])
		}
		return err
	case wire.ChunkNone:
		return nil
	default:
	}
	b := make([]byte, rep.Len) // bounded by the checks of the header
	if _, err := io.ReadFull(c.r, b); err != nil {
		return err
	}
	if rep.Type.IsError() {
		f, err := wire.ParseFailure(rep.Type, b)
		if err != nil {
			return broken("%w", err)
		}
		cl.failed(f.Err, f.Message)
		return nil
	}
	return cl.takeStatus(rep.Type, b, c.s.contextID)
}

// next are the n bytes that come next, until something else is read.
func (c *conn) next(n int) ([]byte, error) {
	b, err := c.r.Peek(n)
	if err != nil {
		return nil, err
	}
	_, err = c.r.Discard(n)
	return b, err
}

func (c *conn) takeSimple(cl *call, rep *wire.Reply) error {
	if err := cl.simple(rep, c.s.replies); err != nil {
		return err
	}
	if rep.Err != wire.OK {
		cl.failed(rep.Err, nil)
		return nil
	}
	if cl.cmd == wire.CmdRead {
		return c.payload(cl, cl.off, cl.n)
	}
	return nil
}

// payload reads n bytes of content at off of the export.
func (c *conn) payload(cl *call, off, n uint64) error {
	at, err := cl.data(off, n)
	if err != nil {
		return err
	}
	if cl.orphan {
		_, err = c.r.Discard(int(n))
		return err
	}
	_, err = io.ReadFull(c.r, cl.buf[at:uint64(at)+n])
	return err
}

// takeStatus keeps the runs of a block status; a last one that reaches beyond the request is cut.
func (cl *call) takeStatus(t wire.Chunk, b []byte, id uint32) error {
	st, err := wire.ParseStatus(t, b)
	switch {
	case err != nil:
		return broken("%w", err)
	case st.ID != id:
		return broken("block status of context %d, which was not agreed on", st.ID)
	case cl.status:
		return broken("block status twice in one reply")
	}
	cl.status = true
	for i, left := 0, cl.n; i < st.Count() && left > 0; i++ {
		d := st.At(i)
		d.Len = min(d.Len, left)
		left -= d.Len
		cl.runs = append(cl.runs, d)
	}
	return nil
}

// complete ends a call whose reply is whole.
func (c *conn) complete(cl *call, slot uint32) error {
	refused, err := cl.judge()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cl.reading = false
	c.calls[slot] = nil
	c.free = append(c.free, slot)
	c.busy--
	if refused != nil {
		cl.finish(refused)
		return nil
	}
	cl.finish(nil)
	return nil
}

// close takes leave of the server and waits for the reader. proto.md "Request types", NBD_CMD_DISC
func (c *conn) close() {
	c.wmu.Lock()
	if c.dead() == nil {
		_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		n := (&wire.Request{Type: wire.CmdDisc}).Put(c.head[:], c.s.replies == wire.Extended)
		_, _ = c.nc.Write(c.head[:n])
	}
	c.wmu.Unlock()
	c.fail(errors.New("closed"))
	<-c.over
}
