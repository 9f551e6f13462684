package uring

import (
	"strconv"

	abi "github.com/iceber/iouring-go/syscall"
)

// Op is an operation of a submission queue entry.
type Op uint8

// The operations that this package prepares, and those it only probes for, in the kernel's order.
//
// Source: io_uring.h "enum io_uring_op".
const (
	OpNop         = Op(abi.IORING_OP_NOP)
	OpReadv       = Op(abi.IORING_OP_READV)
	OpWritev      = Op(abi.IORING_OP_WRITEV)
	OpFsync       = Op(abi.IORING_OP_FSYNC)
	OpReadFixed   = Op(abi.IORING_OP_READ_FIXED)
	OpWriteFixed  = Op(abi.IORING_OP_WRITE_FIXED)
	OpPollAdd     = Op(abi.IORING_OP_POLL_ADD)
	OpPollRemove  = Op(abi.IORING_OP_POLL_REMOVE)
	OpSendmsg     = Op(abi.IORING_OP_SENDMSG)
	OpRecvmsg     = Op(abi.IORING_OP_RECVMSG)
	OpTimeout     = Op(abi.IORING_OP_TIMEOUT)
	OpAccept      = Op(abi.IORING_OP_ACCEPT)
	OpAsyncCancel = Op(abi.IORING_OP_ASYNC_CANCEL)
	OpConnect     = Op(abi.IORING_OP_CONNECT)
	OpFallocate   = Op(abi.IORING_OP_FALLOCATE)
	OpRead        = Op(abi.IORING_OP_READ)
	OpWrite       = Op(abi.IORING_OP_WRITE)
	OpSend        = Op(abi.IORING_OP_SEND)
	OpRecv        = Op(abi.IORING_OP_RECV)
	OpShutdown    = Op(abi.IORING_OP_SHUTDOWN)
	OpURingCmd    = Op(abi.IORING_OP_URING_CMD)
	OpSendZC      = Op(abi.IORING_OP_SEND_ZC)
)

// opNames holds the kernel's names in its order: the index is the opcode.
var opNames = [...]string{
	"NOP", "READV", "WRITEV", "FSYNC", "READ_FIXED", "WRITE_FIXED", "POLL_ADD", "POLL_REMOVE",
	"SYNC_FILE_RANGE", "SENDMSG", "RECVMSG", "TIMEOUT", "TIMEOUT_REMOVE", "ACCEPT", "ASYNC_CANCEL",
	"LINK_TIMEOUT", "CONNECT", "FALLOCATE", "OPENAT", "CLOSE", "FILES_UPDATE", "STATX", "READ", "WRITE",
	"FADVISE", "MADVISE", "SEND", "RECV", "OPENAT2", "EPOLL_CTL", "SPLICE", "PROVIDE_BUFFERS",
	"REMOVE_BUFFERS", "TEE", "SHUTDOWN", "RENAMEAT", "UNLINKAT", "MKDIRAT", "SYMLINKAT", "LINKAT",
	"MSG_RING", "FSETXATTR", "SETXATTR", "FGETXATTR", "GETXATTR", "SOCKET", "URING_CMD", "SEND_ZC",
	"SENDMSG_ZC", "READ_MULTISHOT", "WAITID", "FUTEX_WAIT", "FUTEX_WAKE", "FUTEX_WAITV",
	"FIXED_FD_INSTALL", "FTRUNCATE", "BIND", "LISTEN", "RECV_ZC", "EPOLL_WAIT", "READV_FIXED",
	"WRITEV_FIXED", "PIPE", "NOP128", "URING_CMD128",
}

// String is the kernel's name without its prefix.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return "OP_" + strconv.Itoa(int(o))
}
