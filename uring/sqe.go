package uring

import "unsafe"

// Every Prep method writes all 64 bytes of an entry, UserData included (as zero): a slot still holds what
// its last user left there. UserData is set after it.

// prep writes the first five words' worth of an entry and clears the rest.
func (s *SQE) prep(op Op, fd int32, addr uint64, n uint32, off uint64) {
	w := (*[8]uint64)(unsafe.Pointer(s))
	w[0] = uint64(op) | uint64(uint32(fd))<<32
	w[1] = off
	w[2] = addr
	w[3] = uint64(n)
	w[4], w[5], w[6], w[7] = 0, 0, 0, 0
}

// Flags for Fill, as SetFixedFile and SetAsync set them.
const (
	SQEFixedFile = sqeFixedFile
	SQEAsync     = sqeAsync
)

// Fill writes a whole entry at once: what the Prep methods and their Set companions do in several steps,
// for the hot path of a leaf.
func (s *SQE) Fill(op Op, flags uint8, fd int32, addr uint64, n uint32, off uint64, opFlags uint32, buf uint16, userData uint64) {
	w := (*[8]uint64)(unsafe.Pointer(s))
	w[0] = uint64(op) | uint64(flags)<<8 | uint64(uint32(fd))<<32
	w[1] = off
	w[2] = addr
	w[3] = uint64(n) | uint64(opFlags)<<32
	w[4] = userData
	w[5] = uint64(buf)
	w[6], w[7] = 0, 0
}

// SetFixedFile says that the entry's descriptor is an index of the registered table.
func (s *SQE) SetFixedFile() { s.Flags |= sqeFixedFile }

// SetLink makes the next entry start after this one has succeeded; if it fails, the next is cancelled.
func (s *SQE) SetLink() { s.Flags |= sqeIOLink }

// SetDrain makes this entry start after all earlier ones have completed.
func (s *SQE) SetDrain() { s.Flags |= sqeIODrain }

// SetAsync sends the entry to a kernel worker without trying it first.
func (s *SQE) SetAsync() { s.Flags |= sqeAsync }

// PrepNop prepares an operation that does nothing.
func (s *SQE) PrepNop() { s.prep(OpNop, -1, 0, 0, 0) }

// PrepRead prepares a read of n bytes at off into the memory at addr. The result is the number read.
func (s *SQE) PrepRead(fd int32, addr uint64, n uint32, off uint64) {
	s.prep(OpRead, fd, addr, n, off)
}

// PrepWrite prepares a write of n bytes at off from the memory at addr; rwFlags are those of pwritev2
// (RWF_DSYNC and the like).
func (s *SQE) PrepWrite(fd int32, addr uint64, n uint32, off uint64, rwFlags uint32) {
	s.prep(OpWrite, fd, addr, n, off)
	s.OpFlags = rwFlags
}

// PrepReadFixed is PrepRead into registered buffer buf, which has to cover addr and n.
func (s *SQE) PrepReadFixed(fd int32, addr uint64, n uint32, off uint64, buf uint16) {
	s.prep(OpReadFixed, fd, addr, n, off)
	s.BufIndex = buf
}

// PrepWriteFixed is PrepWrite from registered buffer buf, which has to cover addr and n.
func (s *SQE) PrepWriteFixed(fd int32, addr uint64, n uint32, off uint64, rwFlags uint32, buf uint16) {
	s.prep(OpWriteFixed, fd, addr, n, off)
	s.OpFlags = rwFlags
	s.BufIndex = buf
}

// PrepReadv prepares a read into count pieces of memory listed at iovs.
func (s *SQE) PrepReadv(fd int32, iovs uint64, count uint32, off uint64) {
	s.prep(OpReadv, fd, iovs, count, off)
}

// PrepWritev prepares a write from count pieces of memory listed at iovs.
func (s *SQE) PrepWritev(fd int32, iovs uint64, count uint32, off uint64, rwFlags uint32) {
	s.prep(OpWritev, fd, iovs, count, off)
	s.OpFlags = rwFlags
}

// PrepFsync prepares an fsync.
func (s *SQE) PrepFsync(fd int32) { s.prep(OpFsync, fd, 0, 0, 0) }

// PrepFdatasync prepares an fdatasync.
func (s *SQE) PrepFdatasync(fd int32) {
	s.prep(OpFsync, fd, 0, 0, 0)
	s.OpFlags = 1 // IORING_FSYNC_DATASYNC
}

// PrepFallocate prepares fallocate(fd, mode, off, n).
func (s *SQE) PrepFallocate(fd int32, mode uint32, off, n uint64) {
	s.prep(OpFallocate, fd, n, mode, off)
}

// PrepPollAdd prepares a wait for events (POLLIN and the like); the result is the mask of those that came.
func (s *SQE) PrepPollAdd(fd int32, events uint32) {
	s.prep(OpPollAdd, fd, 0, 0, 0)
	s.OpFlags = events
}

// PrepPollMultishot is PrepPollAdd that goes on after the first event: each completion but the last has
// CQEMore.
func (s *SQE) PrepPollMultishot(fd int32, events uint32) {
	s.prep(OpPollAdd, fd, 0, 1, 0)
	s.OpFlags = events
}

// PrepTimeout prepares a wait of the time at ts (a timespec with 64-bit fields), or until count other
// completions if count is not zero. The result is -ETIME.
func (s *SQE) PrepTimeout(ts uint64, count uint32) {
	s.prep(OpTimeout, -1, ts, 1, uint64(count))
}

// PrepSend prepares a send of n bytes at addr.
func (s *SQE) PrepSend(fd int32, addr uint64, n, msgFlags uint32) {
	s.prep(OpSend, fd, addr, n, 0)
	s.OpFlags = msgFlags
}

// PrepSendZC is PrepSend without a copy: it completes twice (CQEMore, then CQENotif), and the memory is
// the kernel's until the second time.
func (s *SQE) PrepSendZC(fd int32, addr uint64, n, msgFlags uint32) {
	s.prep(OpSendZC, fd, addr, n, 0)
	s.OpFlags = msgFlags
}

// PrepRecv prepares a receive of at most n bytes to addr.
func (s *SQE) PrepRecv(fd int32, addr uint64, n, msgFlags uint32) {
	s.prep(OpRecv, fd, addr, n, 0)
	s.OpFlags = msgFlags
}

// PrepSendmsg prepares a sendmsg of the msghdr at addr.
func (s *SQE) PrepSendmsg(fd int32, msghdr uint64, msgFlags uint32) {
	s.prep(OpSendmsg, fd, msghdr, 1, 0)
	s.OpFlags = msgFlags
}

// PrepRecvmsg prepares a recvmsg of the msghdr at addr.
func (s *SQE) PrepRecvmsg(fd int32, msghdr uint64, msgFlags uint32) {
	s.prep(OpRecvmsg, fd, msghdr, 1, 0)
	s.OpFlags = msgFlags
}

// PrepAccept prepares an accept4; sockaddr and socklen may be zero. The result is the new descriptor.
func (s *SQE) PrepAccept(fd int32, sockaddr, socklen uint64, acceptFlags uint32) {
	s.prep(OpAccept, fd, sockaddr, 0, socklen)
	s.OpFlags = acceptFlags
}

// PrepAcceptMultishot prepares an accept4 that goes on: each completion but the last has CQEMore.
func (s *SQE) PrepAcceptMultishot(fd int32, acceptFlags uint32) {
	s.prep(OpAccept, fd, 0, 0, 0)
	s.IOPrio = 1 // IORING_ACCEPT_MULTISHOT
	s.OpFlags = acceptFlags
}

// PrepConnect prepares a connect to the n bytes of socket address at sockaddr.
func (s *SQE) PrepConnect(fd int32, sockaddr uint64, n uint32) {
	s.prep(OpConnect, fd, sockaddr, 0, uint64(n))
}

// PrepShutdown prepares a shutdown.
func (s *SQE) PrepShutdown(fd int32, how uint32) { s.prep(OpShutdown, fd, 0, how, 0) }

// PrepCancel prepares the cancellation of the entry that was submitted with userData. The result is 0,
// -ENOENT (not found: it has completed) or -EALREADY (found, and running).
func (s *SQE) PrepCancel(userData uint64) { s.prep(OpAsyncCancel, -1, userData, 0, 0) }

// PrepCancelFD prepares the cancellation of all entries on fd. The result is how many.
func (s *SQE) PrepCancelFD(fd int32) {
	s.prep(OpAsyncCancel, fd, 0, 0, 0)
	s.OpFlags = cancelAll | cancelFD
}

// PrepCancelAny prepares the cancellation of everything in the ring. The result is how many.
func (s *SQE) PrepCancelAny() {
	s.prep(OpAsyncCancel, -1, 0, 0, 0)
	s.OpFlags = cancelAll | cancelAny
}

// Flags of ASYNC_CANCEL. Source: io_uring.h "ASYNC_CANCEL flags".
const (
	cancelAll uint32 = 1 << 0
	cancelFD  uint32 = 1 << 1
	cancelAny uint32 = 1 << 2
)

// PrepURingCmd prepares command cmdOp of the driver behind fd. The command's own bytes go to [SQE.Cmd].
func (s *SQE) PrepURingCmd(fd int32, cmdOp uint32) {
	s.prep(OpURingCmd, fd, 0, 0, uint64(cmdOp))
}

// SetCmdFixed makes a command's memory come from registered buffer buf.
func (s *SQE) SetCmdFixed(buf uint16) {
	s.OpFlags |= 1 // IORING_URING_CMD_FIXED
	s.BufIndex = buf
}

// Cmd is the room for a command in an entry of a ring with FeatBigSQE. It holds what its last user left
// there. In other rings only the first 16 bytes are the entry's.
func (s *SQE) Cmd() *[80]byte { return (*[80]byte)(unsafe.Pointer(&s.Addr3)) }
