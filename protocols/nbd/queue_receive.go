package nbd

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
	"github.com/blkbench/blkbench/uring"
)

const (
	// stageSize is the room for what is received before it is known what it is, in bytes: many small replies in one go.
	stageSize = 128 << 10
	// directSize is what has to be missing of a payload for it to be received straight into the request's buffer, in bytes; below, a copy is
	// cheaper than a receive.
	directSize = 16 << 10
	// peekSize is how much is received into the stage where payloads are large, in bytes.
	peekSize = 512
)

// receiver is the incoming half: a stream that is cut into replies. What of a payload is missing goes straight into the buffer that it is
// for, and what follows it into the stage.
type receiver struct {
	buf       []byte // the stage
	addr      uint64 // of it
	from, to  int    // what in it is not looked at yet
	receiving bool
	direct    uint32 // bytes at the front of the receive under way that go to a request's buffer

	payload uint32 // bytes missing of the payload of a slot
	at      uint32 // where in its buffer they belong
	slot    uint32
	last    bool // the reply ends with it
	large   bool // the last payload was received directly: little is taken beyond the next header, to be copied

	msg   *msghdr
	msgAt uint64
	iov   *[2]uring.Iovec
	iovAt uint64
	rep   wire.Reply
}

func (in *receiver) reset() {
	in.from, in.to, in.payload, in.direct = 0, 0, 0, 0
}

// makeRoom moves what is not looked at yet to the front, where the stage is half full: a header, or an error's message.
func (in *receiver) makeRoom() {
	if in.from == in.to {
		in.from, in.to = 0, 0
	} else if len(in.buf)-in.to < len(in.buf)/2 {
		in.to = copy(in.buf, in.buf[in.from:in.to])
		in.from = 0
	}
}

// receive prepares the entry.
func (q *ringQueue) receive() {
	in := &q.in
	e := q.client.AuxSQE()
	if e == nil {
		return
	}
	in.makeRoom()
	in.direct = 0
	room := uint64(len(in.buf) - in.to)
	if in.large {
		room = min(room, peekSize)
	}
	if in.payload != 0 && (in.large || in.payload >= directSize) {
		in.direct = in.payload
		in.iov[0] = uring.Iovec{Base: q.address(q.slots[in.slot].req) + uint64(in.at), Len: uint64(in.payload)}
		in.iov[1] = uring.Iovec{Base: in.addr + uint64(in.to), Len: room}
		*in.msg = msghdr{iov: in.iovAt, iovLen: 2}
		e.PrepRecvmsg(q.link.file, in.msgAt, 0)
	} else {
		e.PrepRecv(q.link.file, in.addr+uint64(in.to), uint32(room), 0)
	}
	if q.link.fixed {
		e.SetFixedFile()
	}
	e.UserData = q.tag | entryReceive
	in.receiving, q.prepared = true, true
}

var errHungUp = errors.New("the server has closed the connection")

// received cuts what came into replies.
func (q *ringQueue) received(res int32) {
	in := &q.in
	switch {
	case q.link.state != linkUp:
		return // what comes after the end counts for nothing
	case res < 0 && q.spurious(res):
		return
	case res < 0:
		q.lose(unix.Errno(-res))
		return
	case res == 0:
		q.lose(errHungUp)
		return
	}
	q.vain = 0
	n := uint32(res)
	direct := min(n, in.direct)
	in.payload, in.at = in.payload-direct, in.at+direct
	in.to += int(n - direct)
	if direct != 0 && in.payload == 0 {
		if err := q.payloadDone(); err != nil {
			q.lose(err)
			return
		}
	}
	if err := q.parse(); err != nil {
		q.lose(err)
	}
}

// parse takes whole replies out of the stage, and as much of a payload as is there.
func (q *ringQueue) parse() error {
	in := &q.in
	kind := q.node.first.replies
	least := wire.MinReplySize(kind)
	for {
		if in.payload != 0 {
			n := min(int(in.payload), in.to-in.from)
			if n == 0 {
				return nil
			}
			copy(q.bytes(in.slot, in.at, uint32(n)), in.buf[in.from:])
			in.from += n
			in.payload, in.at = in.payload-uint32(n), in.at+uint32(n)
			if in.payload != 0 {
				return nil
			}
			if err := q.payloadDone(); err != nil {
				return err
			}
			continue
		}
		b := in.buf[in.from:in.to]
		if len(b) < least {
			return nil
		}
		n, err := wire.ParseReply(b, kind, &in.rep)
		if err != nil {
			return broken("%w", err)
		}
		if n > len(b) {
			return nil
		}
		used, err := q.reply(b[n:])
		if err != nil || used < 0 {
			return err
		}
		in.from += n + used
	}
}

// bytes are n bytes at an offset of a slot's buffer.
func (q *ringQueue) bytes(slot, at, n uint32) []byte {
	return dma.Bytes(q.slots[slot].req.Buf.Add(at), int(n))
}

// reply takes what follows a header, of which b is there: how much it used, or -1 when that is not all yet. The data of a payload is not
// part of it.
func (q *ringQueue) reply(b []byte) (int, error) {
	in := &q.in
	rep := &in.rep
	i, gen := uint32(rep.Cookie), uint32(rep.Cookie>>32)
	if uint64(i) >= uint64(len(q.slots)) || q.slots[i].req == nil || q.slots[i].gen != gen || q.slots[i].batch >= q.out.number || q.slots[i].over {
		return 0, broken("reply with cookie %#x, which is not in flight", rep.Cookie)
	}
	s := &q.slots[i]
	if rep.Simple {
		if err := s.simple(rep, q.node.first.replies); err != nil {
			return 0, err
		}
		if rep.Err == wire.OK && s.cmd == wire.CmdRead {
			return 0, q.payloadOf(i, s.off, s.n)
		}
		if rep.Err != wire.OK {
			s.failed(rep.Err, nil)
		}
		return 0, q.ended(i)
	}
	if err := s.chunk(rep, q.node.first.replies); err != nil {
		return 0, err
	}
	switch rep.Type {
	case wire.ChunkNone:
		return 0, q.ended(i)
	case wire.ChunkOffsetData:
		if len(b) < wire.OffsetDataSize {
			return -1, nil
		}
		return wire.OffsetDataSize, q.payloadOf(i, wire.ParseOffsetData(b), rep.Len-wire.OffsetDataSize)
	default:
	}
	if uint64(len(b)) < rep.Len { // bounded by the checks of the header, far below the stage
		return -1, nil
	}
	b = b[:rep.Len]
	if rep.Type == wire.ChunkOffsetHole {
		off, n, err := wire.ParseOffsetHole(b)
		if err != nil {
			return 0, broken("%w", err)
		}
		at, err := s.data(off, uint64(n))
		if err != nil {
			return 0, err
		}
		clear(q.bytes(i, at, n))
	} else {
		f, err := wire.ParseFailure(rep.Type, b)
		if err != nil {
			return 0, broken("%w", err)
		}
		s.failed(f.Err, f.Message)
	}
	if rep.Done() {
		return len(b), q.ended(i)
	}
	return len(b), nil
}

// payloadOf expects n bytes of content at off of the export.
func (q *ringQueue) payloadOf(i uint32, off, n uint64) error {
	at, err := q.slots[i].data(off, n)
	if err != nil {
		return err
	}
	in := &q.in
	in.slot, in.at, in.payload, in.last = i, at, uint32(n), in.rep.Done()
	in.large = n >= directSize
	return nil
}

func (q *ringQueue) payloadDone() error {
	if q.in.last {
		return q.ended(q.in.slot)
	}
	return nil
}

// ended judges a reply that is whole.
func (q *ringQueue) ended(i uint32) error {
	s := &q.slots[i]
	refused, err := s.judge()
	if err != nil {
		return err
	}
	var result error
	if refused != nil {
		result = refused
	}
	if s.cmd == wire.CmdWrite && q.out.sending && s.batch == q.out.number-1 {
		// A server may refuse before it has read everything; the kernel may still be at the buffer.
		s.over, s.err = true, result
		q.out.early = append(q.out.early, i)
		return nil
	}
	q.complete(i, result)
	return nil
}

// release completes what was answered before it was sent, now that the send has ended.
func (q *ringQueue) release() {
	for _, i := range q.out.early {
		if s := &q.slots[i]; s.over {
			err := s.err
			s.err = nil
			q.complete(i, err)
		}
	}
	q.out.early = q.out.early[:0]
}

var _ engine.EventQueue = (*ringQueue)(nil)
