package uring

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrWrongThread is returned when a ring is used on another OS thread than the one that made it.
var ErrWrongThread = errors.New("ring used on a thread that does not own it")

// ErrUnavailable is the kind of every error that says that this process cannot have io_uring at all; its
// text names the reason in one line.
var ErrUnavailable = errors.New("io_uring unavailable")

// ErrUnsupported is the kind of errors about something that this kernel's io_uring lacks.
var ErrUnsupported = errors.New("not offered by this kernel")

// ErrBusy is returned by what needs a ring without anything in flight.
var ErrBusy = errors.New("ring has operations in flight")

// callError names the system call and, where it is ours, the kind.
func callError(call string, err error) error {
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: %w", call, ErrWrongThread)
	}
	return fmt.Errorf("%s: %w", call, bare(err))
}

// bare strips the name of the call that the imported wrappers put before an errno.
func bare(err error) error {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	return err
}
