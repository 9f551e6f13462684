package server

import (
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// op is a request on its way through a poller.
type op struct {
	req   engine.Request // User is the op's number
	w     wire.Request
	c     *conn
	buf   buffer
	size  int64 // of buf, as the connection's share counts it
	pay   []byte
	out   []byte // the reply, where it is not in buf
	done  uint64 // bytes of a READ that were sent in chunks before the present one
	chunk uint32 // bytes of data of the present one
	small [endRoom]byte
}

// pieceSize is how much of a long READ is read, and sent in a chunk, at a time: less than a processor's cache holds, so that the data is
// copied to the socket from there. It also is all the memory that such a request takes.
const pieceSize = 256 << 10

// inPieces reports whether the reply to a READ may be, and is, several chunks of data.
func (s *session) inPieces(r *wire.Request) bool {
	return s.replies != wire.Simple && r.Len > pieceSize && r.Flags&wire.FlagDF == 0
}

// bufferSize is how much memory a request takes for its data.
func (s *session) bufferSize(r *wire.Request) uint64 {
	switch {
	case r.Type == wire.CmdRead && s.inPieces(r):
		return pieceSize
	case r.Type == wire.CmdRead, r.Type == wire.CmdWrite:
		return r.Len
	default:
		return 0
	}
}

// maxPathLen is how much a request of the polled plane discards or zeroes, in bytes.
const maxPathLen = 1 << 30

// start sends a request on its way: to the graph, or to a goroutine where the polled plane does not have it.
func (o *op) start() {
	r := &o.req
	switch o.w.Type {
	case wire.CmdRead:
		r.Op = engine.OpRead
	case wire.CmdWrite:
		r.Op = engine.OpWrite
	case wire.CmdFlush:
		r.Op = engine.OpFlush
	case wire.CmdTrim:
		r.Op = engine.OpDiscard
	case wire.CmdWriteZeroes:
		r.Op = engine.OpZero
	default:
		o.chill()
		return
	}
	flags := writeFlags(&o.w)
	switch {
	case r.Op == engine.OpFlush:
		o.w.Off, o.w.Len, flags = 0, 0, 0
	case o.w.Len == 0:
		o.end(wire.OK)
		return
	case r.Op <= engine.OpWrite && o.buf.class < 0,
		o.w.Len > maxPathLen,
		r.Op == engine.OpDiscard && flags&engine.FUA != 0:
		o.chill()
		return
	}
	r.Off, r.Len, r.Flags = int64(o.w.Off)+o.c.s.exp.Offset, uint32(o.w.Len), flags
	if r.Op <= engine.OpWrite {
		r.Buf = o.buf.h.Add(headPage)
	}
	if r.Op == engine.OpRead {
		o.read()
		return
	}
	o.c.p.batch = append(o.c.p.batch, r)
}

// read asks the graph for the data of the next chunk.
func (o *op) read() {
	r := &o.req
	o.chunk = uint32(o.w.Len - o.done)
	if o.c.s.inPieces(&o.w) {
		o.chunk = min(o.chunk, pieceSize)
	}
	r.Off, r.Len, r.Flags = int64(o.w.Off+o.done)+o.c.s.exp.Offset, o.chunk, 0
	o.c.p.batch = append(o.c.p.batch, r)
}

// chill has a goroutine do the request by the node's blocking methods.
func (o *op) chill() { go o.runCold() }

func (o *op) runCold() {
	s := o.c.s
	ctx := o.c.p.coldContext()
	if o.w.Type == wire.CmdBlockStatus {
		o.out = s.appendStatus(ctx, o.out[:0], &o.w, o.pay)
	} else {
		var data []byte
		if o.buf.mem != nil {
			data = o.buf.data(o.w.Len)
			o.chunk = uint32(o.w.Len)
		}
		o.finish(s.run(ctx, &o.w, data))
	}
	o.c.p.answered(o)
}

// complete takes the graph's result.
func (o *op) complete() {
	e := wire.OK
	if o.req.Res < 0 {
		e = errnoOfRes(o.req.Res, o.req.Err())
	}
	o.finish(e)
	o.answer()
}

// end answers a request without the graph.
func (o *op) end(e wire.Errno) {
	o.out = o.c.s.appendEnd(o.small[:0], &o.w, e)
	o.answer()
}

// finish makes the reply.
func (o *op) finish(e wire.Errno) {
	s := o.c.s
	if e == wire.OK && o.w.Type == wire.CmdRead && o.w.Len > 0 {
		n := s.readHeadSize()
		s.putReadHead(o.buf.mem[headPage-n:], o.w.Cookie, o.w.Off, o.w.Off+o.done, o.chunk, o.done+uint64(o.chunk) == o.w.Len)
		o.out = nil
		return
	}
	o.out = s.appendEnd(o.small[:0], &o.w, e)
}

// answer queues the reply; what was written is not needed any more.
func (o *op) answer() {
	if o.out != nil && o.buf.mem != nil {
		o.giveBuffer()
	}
	o.c.queue = append(o.c.queue, o)
	o.c.p.mark(o.c)
}

// reply is what is sent.
func (o *op) reply() []byte {
	if o.out != nil {
		return o.out
	}
	return o.buf.mem[headPage-o.c.s.readHeadSize() : headPage+o.chunk]
}

func (o *op) giveBuffer() {
	o.c.held -= o.size
	o.c.p.pool.give(&o.buf)
	o.size = 0
}

// sent is told that the socket has taken the reply, or a chunk of it.
func (o *op) sent() {
	if o.out == nil && o.done+uint64(o.chunk) < o.w.Len {
		o.done += uint64(o.chunk)
		o.read()
		return
	}
	o.free()
}

// free takes the op back.
func (o *op) free() {
	if o.buf.mem != nil {
		o.giveBuffer()
	}
	c := o.c
	c.inFlight--
	o.c, o.pay, o.out, o.done, o.chunk = nil, nil, nil, 0, 0
	c.p.freeOps = append(c.p.freeOps, o)
}
