package uring

import (
	"unsafe"

	abi "github.com/iceber/iouring-go/syscall"
)

// SQE is a submission queue entry, 64 bytes, in memory shared with the kernel. In a ring with
// FeatBigSQE it is followed by 64 more bytes, see [SQE.Cmd]. Its fields have several meanings each;
// use the Prep methods.
//
// Source: io_uring.h "struct io_uring_sqe".
type SQE struct {
	Op          Op
	Flags       uint8
	IOPrio      uint16
	FD          int32
	Off         uint64 // or addr2, or cmd_op
	Addr        uint64
	Len         uint32
	OpFlags     uint32
	UserData    uint64
	BufIndex    uint16 // or buf_group
	Personality uint16
	FileIndex   uint32 // or splice_fd_in, or addr_len
	Addr3       uint64
	_           uint64
}

// CQE is a completion queue entry, 16 bytes, in memory shared with the kernel.
//
// Source: io_uring.h "struct io_uring_cqe".
type CQE struct {
	UserData uint64
	Res      int32
	Flags    uint32
}

// Big is the second half of a completion in a ring with FeatBigCQE; elsewhere it must not be called.
func (c *CQE) Big() *[2]uint64 {
	return (*[2]uint64)(unsafe.Add(unsafe.Pointer(c), unsafe.Sizeof(*c)))
}

// Sizes that the kernel and this package have to agree on.
const (
	_ = uint(64 - unsafe.Sizeof(SQE{}))
	_ = uint(unsafe.Sizeof(SQE{}) - 64)
	_ = uint(16 - unsafe.Sizeof(CQE{}))
	_ = uint(unsafe.Sizeof(CQE{}) - 16)
)

// SQE flags. Source: io_uring.h "sqe->flags".
const (
	sqeFixedFile = abi.IOSQE_FLAGS_FIXED_FILE
	sqeIODrain   = abi.IOSQE_FLAGS_IO_DRAIN
	sqeIOLink    = abi.IOSQE_FLAGS_IO_LINK
	sqeAsync     = abi.IOSQE_FLAGS_ASYNC
)

// CQE flags. Source: io_uring.h "cqe->flags".
const (
	// CQEMore says that the same submission will complete again.
	CQEMore uint32 = 1 << 1
	// CQESockNonEmpty says that a socket has more to read.
	CQESockNonEmpty uint32 = 1 << 2
	// CQENotif marks the second completion of a zero-copy send: its buffer is free again.
	CQENotif uint32 = 1 << 3
)

// Set-up flags that are newer than the imported constants. Source: io_uring.h "io_uring_setup() flags".
const (
	setupSingleIssuer uint32 = 1 << 12
	setupDeferTaskrun uint32 = 1 << 13
	setupNoSQArray    uint32 = 1 << 16
	setupHybridIOPoll uint32 = 1 << 17
)

// Feature bits that the kernel reports. Source: io_uring.h "io_uring_params->features flags".
const (
	featExtArg = uint32(1 << 8)

	// minimumFeatures are those of Linux 5.6, the first with plain reads and writes.
	minimumFeatures = abi.IORING_FEAT_SINGLE_MMAP | abi.IORING_FEAT_NODROP | abi.IORING_FEAT_RW_CUR_POS
)

// kernelFeatures names the bits of io_uring_params.features in order.
var kernelFeatures = [...]string{
	"single-mmap", "nodrop", "submit-stable", "rw-cur-pos", "cur-personality", "fast-poll", "poll-32bits",
	"sqpoll-nonfixed", "ext-arg", "native-workers", "rsrc-tags", "cqe-skip", "linked-file", "reg-reg-ring",
	"recvsend-bundle", "min-timeout", "rw-attr", "no-iowait",
}

// io_uring_enter flags. Source: io_uring.h "io_uring_enter(2) flags".
const (
	enterGetEvents      = abi.IORING_ENTER_FLAGS_GETEVENTS
	enterSQWakeup       = abi.IORING_ENTER_FLAGS_SQ_WAKEUP
	enterExtArg         = uint32(1 << 3)
	enterRegisteredRing = uint32(1 << 4)
)

// Submission ring flags, written by the kernel. Source: io_uring.h "sq_ring->flags".
const (
	sqNeedWakeup = abi.IORING_SQ_NEED_WAKEUP
	sqCQOverflow = abi.IORING_SQ_CQ_OVERFLOW
	sqTaskrun    = uint32(1 << 2)
	sqPending    = sqCQOverflow | sqTaskrun
)

// Registration opcodes that are newer than the imported constants. Source: io_uring.h
// "io_uring_register(2) opcodes and arguments".
const (
	registerFiles2         uint8 = 13
	registerFilesUpdate2   uint8 = 14
	registerBuffers2       uint8 = 15
	registerBuffersUpdate  uint8 = 16
	registerIOWQMaxWorkers uint8 = 19
	registerRingFDs        uint8 = 20
	unregisterRingFDs      uint8 = 21
	registerResizeRings    uint8 = 33
	registerRsrcSparse           = uint32(1)
	registerRingAny              = ^uint32(0)
)

// rsrcRegister is the argument of registerFiles2 and registerBuffers2.
//
// Source: io_uring.h "struct io_uring_rsrc_register".
type rsrcRegister struct {
	nr, flags uint32
	_         uint64
	data      uint64
	tags      uint64
}

// rsrcUpdate is the argument of the ring descriptor registration.
//
// Source: io_uring.h "struct io_uring_rsrc_update".
type rsrcUpdate struct {
	offset, _ uint32
	data      uint64
}

// rsrcUpdate2 is the argument of registerFilesUpdate2 and registerBuffersUpdate.
//
// Source: io_uring.h "struct io_uring_rsrc_update2".
type rsrcUpdate2 struct {
	offset, _ uint32
	data      uint64
	tags      uint64
	nr, _     uint32
}

// getEventsArg is the extended argument of io_uring_enter.
//
// Source: io_uring.h "struct io_uring_getevents_arg".
type getEventsArg struct {
	sigmask   uint64
	sigmaskSz uint32
	minWaitUs uint32
	ts        uint64
}

// kernelTimespec has 64-bit seconds on every architecture.
//
// Source: time_types.h "struct __kernel_timespec".
type kernelTimespec struct {
	sec, nsec int64
}

// Iovec is one piece of memory, as the kernel reads it.
//
// Source: uio.h "struct iovec".
type Iovec struct {
	Base uint64
	Len  uint64
}
