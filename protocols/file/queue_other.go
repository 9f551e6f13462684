package file

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/uring"
)

// completeOther finishes what is neither read nor write; false if a further step follows.
func (q *ringQueue) completeOther(r *engine.Request, slot uint32) bool {
	switch r.Op {
	case engine.OpFlush:
		if r.Res < 0 {
			q.node.flushFailed(unix.Errno(-r.Res))
		}
	case engine.OpDiscard:
		if r.Res == -int32(unix.EOPNOTSUPP) { // as Node.Discard has it
			q.node.noPunch.Store(true)
			r.Res = 0
		}
	case engine.OpZero:
		return q.zeroed(r, slot)
	case engine.OpRead, engine.OpWrite, engine.OpNop:
	}
	return true
}

// submitOther begins what is neither a read nor a write; false if there is no room.
func (q *ringQueue) submitOther(r *engine.Request) bool {
	switch {
	case !other(r.Op):
		r.Res = -int32(unix.EFAULT) // its buffer is not where it has to be
		q.ready.Push(r)
		return true
	case r.Op == engine.OpFlush && q.node.flags.Cache.NoFlush,
		r.Op == engine.OpDiscard && q.node.noPunch.Load():
		r.Res = 0
		q.ready.Push(r)
		return true
	case r.Op == engine.OpFlush:
		if err := q.node.lost.Load(); err != nil {
			r.Fail(*err)
			q.ready.Push(r)
			return true
		}
	}
	slot := q.free[len(q.free)-1]
	q.zeroing[slot] = zeroState{}
	if !q.begin(r, slot) {
		return false
	}
	q.free = q.free[:len(q.free)-1]
	q.slots[slot] = r
	return true
}

// begin fills an entry for a request that has a slot; false if there is no room.
func (q *ringQueue) begin(r *engine.Request, slot uint32) bool {
	if !other(r.Op) {
		s := q.client.SQE()
		if s == nil {
			return false
		}
		if r.Op == engine.OpNop {
			s.PrepNop()
			s.UserData = q.tag | uint64(slot)
		} else {
			q.fill(s, r, slot)
		}
		return true
	}
	s, fd, fixed := q.aux(r.Op != engine.OpFlush)
	if s == nil {
		return false
	}
	switch r.Op {
	case engine.OpFlush:
		if s.PrepFdatasync(fd); r.Flags&engine.FlushMetadata != 0 {
			s.PrepFsync(fd)
		}
	case engine.OpDiscard:
		q.prepareDiscard(s, fd, r.Off, r.Len)
	default:
		q.prepareZero(s, fd, r, slot)
	}
	if fixed && s.Op != uring.OpNop {
		s.SetFixedFile()
	}
	s.UserData = q.tag | uint64(slot)
	return true
}

// goOn begins the next steps, and other tries, of what is under way.
func (q *ringQueue) goOn() {
	for k := len(q.again); k > 0; k = len(q.again) {
		slot := q.again[k-1]
		if !q.begin(q.slots[slot], slot) {
			return
		}
		q.again = q.again[:k-1]
	}
}

// cmdDiscard is BLOCK_URING_CMD_DISCARD, Linux 6.12. Source: include/uapi/linux/blkdev.h.
const cmdDiscard = 0x12 << 8

// prepareDiscard fills an entry: a hole in a file, a command to a device.
func (q *ringQueue) prepareDiscard(s *uring.SQE, fd int32, off int64, n uint32) {
	if !q.node.device {
		s.PrepFallocate(fd, punch, uint64(off), uint64(n))
		return
	}
	s.PrepURingCmd(fd, cmdDiscard)
	s.Addr, s.Addr3 = uint64(off), uint64(n)
}

// tryCommand finds out whether the device takes discards as commands, by one of nothing: it is EINVAL where
// it is known.
func (q *ringQueue) tryCommand() error {
	s, fd, fixed := q.aux(true)
	if s == nil {
		return nil
	}
	q.prepareDiscard(s, fd, 0, 0)
	if fixed {
		s.SetFixedFile()
	}
	s.UserData = q.tag
	for {
		if err := q.client.Wait(time.Second); err != nil {
			return err
		}
		if cq, k := q.client.Ready(); k != 0 {
			q.command = cq.At(0).Res == -int32(unix.EINVAL)
			cq.Release(1)
			return nil
		}
	}
}

// aux is an entry for what a polled ring refuses, with the descriptor that is known there: that of a
// device's claim for operations on ranges.
func (q *ringQueue) aux(ranges bool) (s *uring.SQE, fd int32, fixed bool) {
	s = q.client.AuxSQE()
	if ranges && q.node.device {
		return s, int32(q.node.rangeFD), false
	}
	if q.fixed && q.client.AuxFixed() {
		return s, q.fd, true
	}
	return s, int32(q.node.fd), false
}
