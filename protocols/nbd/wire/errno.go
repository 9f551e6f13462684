package wire

import (
	"golang.org/x/sys/unix"
)

// Errno is an error as replies carry it: numbers of the protocol's own, which happen to be Linux's. proto.md "Error values"
type Errno uint32

// The errors that there are.
const (
	OK        Errno = 0
	EPERM     Errno = 1
	EIO       Errno = 5
	ENOMEM    Errno = 12
	EINVAL    Errno = 22
	ENOSPC    Errno = 28
	EOVERFLOW Errno = 75
	ENOTSUP   Errno = 95
	ESHUTDOWN Errno = 108
)

// errnos pairs the protocol's errors with the system's.
var errnos = [...]struct {
	wire Errno
	sys  unix.Errno
}{
	{EPERM, unix.EPERM},
	{EIO, unix.EIO},
	{ENOMEM, unix.ENOMEM},
	{EINVAL, unix.EINVAL},
	{ENOSPC, unix.ENOSPC},
	{EOVERFLOW, unix.EOVERFLOW},
	{ENOTSUP, unix.EOPNOTSUPP},
	{ESHUTDOWN, unix.ESHUTDOWN},
}

// System returns the system's error for a server's; one that the protocol does not have is EINVAL, as the reference client takes it.
func (e Errno) System() unix.Errno {
	if e == OK {
		return 0
	}
	for _, p := range errnos {
		if p.wire == e {
			return p.sys
		}
	}
	return unix.EINVAL
}

// FromSystem returns what a server answers for an error of the system.
func FromSystem(e unix.Errno) Errno {
	switch e {
	case 0:
		return OK
	case unix.EDQUOT, unix.EFBIG:
		return ENOSPC // proto.md "Error values"
	case unix.EROFS, unix.EACCES:
		return EPERM
	case unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY:
		return ENOTSUP
	default:
	}
	for _, p := range errnos {
		if p.sys == e {
			return p.wire
		}
	}
	return EIO
}

func (e Errno) String() string {
	switch e {
	case OK:
		return "OK"
	case ENOTSUP:
		return "ENOTSUP"
	default:
	}
	for _, p := range errnos {
		if p.wire == e {
			return unix.ErrnoName(p.sys)
		}
	}
	return name(nil, uint64(e))
}
