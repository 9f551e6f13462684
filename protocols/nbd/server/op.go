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
	small [endRoom]byte
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
		s.putReadHead(o.buf.mem[headPage-n:], o.w.Cookie, o.w.Off, uint32(o.w.Len))
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
	return o.buf.mem[headPage-o.c.s.readHeadSize() : headPage+o.w.Len]
}

func (o *op) giveBuffer() {
	o.c.held -= o.size
	o.c.p.pool.give(&o.buf)
	o.size = 0
}

// free takes the op back.
func (o *op) free() {
	if o.buf.mem != nil {
		o.giveBuffer()
	}
	c := o.c
	c.inFlight--
	o.c, o.pay, o.out = nil, nil, nil
	c.p.freeOps = append(c.p.freeOps, o)
}
