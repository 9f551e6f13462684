package nbd

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
	"github.com/blkbench/blkbench/uring"
)

// msghdr is struct msghdr of 64-bit Linux.
type msghdr struct {
	name       uint64
	nameLen    uint32
	_          uint32
	iov        uint64
	iovLen     uint64
	control    uint64
	controlLen uint64
	flags      int32
	_          int32
}

// iovMax is UIO_MAXIOV.
const iovMax = 1024

// batch is a run of requests that one send takes: headers side by side in memory of ours, and the payloads of WRITEs where they are.
type batch struct {
	heads []byte // what is filled of the room for headers
	addr  uint64 // of heads
	iov   []uring.Iovec
	iovAt uint64
}

// sender is the outgoing half: one batch is filled while the other is sent.
type sender struct {
	batches [2]batch
	fill    uint8  // which one is filled
	number  uint64 // of the batch being filled; those below have been begun
	sending bool
	first   int      // iov of the batch being sent that is not through
	left    uint64   // bytes of it
	early   []uint32 // slots that were answered before their batch was through
	msg     *msghdr
	msgAt   uint64
}

// room reports whether one more request fits the batch.
func (o *sender) room() bool { return len(o.batches[o.fill].iov) <= iovMax-2 }

func (o *sender) filled() bool { return o.left != 0 || len(o.batches[o.fill].iov) != 0 }

func (o *sender) reset() {
	for i := range o.batches {
		b := &o.batches[i]
		b.heads, b.iov = b.heads[:0], b.iov[:0]
	}
	o.left, o.first = 0, 0
	o.number++
}

// allocate takes the memory that the kernel is given addresses of.
func (q *ringQueue) allocate(depth int) error {
	heads := depth * wire.ExtendedSize
	iovs := min(2*depth+2, iovMax) * int(unsafe.Sizeof(uring.Iovec{}))
	size := 2*(heads+iovs) + 2*int(unsafe.Sizeof(msghdr{})) + 2*int(unsafe.Sizeof(uring.Iovec{})) + stageSize + 64*8
	mem, err := dma.New(dma.Config{Size: size, NoHuge: true})
	if err != nil {
		return err
	}
	q.mem = mem
	q.out.early = make([]uint32, 0, depth)
	at := 0
	take := func(n int) ([]byte, uint64) {
		b := mem.Bytes(dma.Handle(uint64(mem.ID())<<48|uint64(at)), n)
		addr := uint64(mem.Base()) + uint64(at)
		at += (n + 63) &^ 63
		return b, addr
	}
	for i := range q.out.batches {
		b := &q.out.batches[i]
		var mem []byte
		mem, b.addr = take(heads)
		b.heads = mem[:0]
		mem, b.iovAt = take(iovs)
		b.iov = unsafe.Slice((*uring.Iovec)(unsafe.Pointer(&mem[0])), len(mem)/int(unsafe.Sizeof(uring.Iovec{})))[:0]
	}
	b, addr := take(int(unsafe.Sizeof(msghdr{})))
	q.out.msg, q.out.msgAt = (*msghdr)(unsafe.Pointer(&b[0])), addr
	b, addr = take(int(unsafe.Sizeof(msghdr{})))
	q.in.msg, q.in.msgAt = (*msghdr)(unsafe.Pointer(&b[0])), addr
	b, q.in.iovAt = take(2 * int(unsafe.Sizeof(uring.Iovec{})))
	q.in.iov = (*[2]uring.Iovec)(unsafe.Pointer(&b[0]))
	q.in.buf, q.in.addr = take(stageSize)
	return nil
}

func (q *ringQueue) extended() bool { return q.node.first.replies == wire.Extended }

// stage adds a request to the batch being filled. Headers that follow each other are one piece of memory.
func (q *ringQueue) stage(i uint32, flags wire.CmdFlags) {
	s := &q.slots[i]
	b := &q.out.batches[q.out.fill]
	s.batch = q.out.number
	req := wire.Request{Cookie: q.cookie(i), Off: s.off, Len: s.n, Flags: flags, Type: s.cmd}
	at := len(b.heads)
	n := wire.RequestSize(q.extended())
	b.heads = b.heads[:at+n]
	req.Put(b.heads[at:], q.extended())
	addr := b.addr + uint64(at)
	if k := len(b.iov); k != 0 && b.iov[k-1].Base+b.iov[k-1].Len == addr {
		b.iov[k-1].Len += uint64(n)
	} else {
		b.iov = append(b.iov, uring.Iovec{Base: addr, Len: uint64(n)})
	}
	if s.cmd == wire.CmdWrite {
		b.iov = append(b.iov, uring.Iovec{Base: q.address(s.req), Len: uint64(s.req.Len)})
	}
}

// address of a request's buffer.
func (q *ringQueue) address(r *engine.Request) uint64 {
	return q.arenas[r.Buf.Arena()] + r.Buf.Offset()
}

// send prepares the entry for the batch that is filled, or for what is left of the one before.
func (q *ringQueue) send() {
	o := &q.out
	e := q.client.AuxSQE()
	if e == nil {
		return // the kernel takes nothing just now; Poll comes back to it
	}
	if o.left == 0 {
		o.first = 0
		for _, v := range o.batches[o.fill].iov {
			o.left += v.Len
		}
		o.fill ^= 1
		o.number++
		next := &o.batches[o.fill]
		next.heads, next.iov = next.heads[:0], next.iov[:0]
	}
	b := &o.batches[o.fill^1]
	if rest := b.iov[o.first:]; len(rest) == 1 {
		e.PrepSend(q.link.file, rest[0].Base, uint32(rest[0].Len), unix.MSG_WAITALL|unix.MSG_NOSIGNAL)
	} else {
		*o.msg = msghdr{iov: b.iovAt + uint64(o.first)*uint64(unsafe.Sizeof(uring.Iovec{})), iovLen: uint64(len(rest))}
		e.PrepSendmsg(q.link.file, o.msgAt, unix.MSG_WAITALL|unix.MSG_NOSIGNAL)
	}
	if q.link.fixed {
		e.SetFixedFile()
	}
	e.UserData = q.tag | entrySend
	o.sending, q.prepared = true, true
}

// sent takes note of how much went out.
func (q *ringQueue) sent(res int32) {
	o := &q.out
	switch {
	case res < 0 && q.spurious(res):
		return
	case res <= 0:
		o.left = 0
		q.lose(unix.Errno(-res))
		return
	}
	q.vain = 0
	if o.left -= uint64(res); o.left == 0 {
		q.release()
		return
	}
	b := &o.batches[o.fill^1]
	for n := uint64(res); n != 0; {
		v := &b.iov[o.first]
		if n < v.Len {
			v.Base, v.Len = v.Base+n, v.Len-n
			return
		}
		n -= v.Len
		o.first++
	}
}
