package uring

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	abi "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// Kick shows the kernel what was prepared: one io_uring_enter, and none if there is nothing to submit and
// nothing to fetch. It never waits. Completions that need an enter are fetched along.
//
// Entries that the kernel cannot take yet (no memory, completion overflow) stay prepared and go with the
// next Kick; that is no error.
func (r *Ring) Kick() error {
	if r.sqPoll {
		return r.kickThread(0)
	}
	n := r.sqTail - *r.kSQHead
	flags := r.enterFlag
	if *r.kSQFlags&sqPending != 0 {
		flags |= uintptr(enterGetEvents)
	} else if n == 0 {
		return nil
	}
	*r.kSQTail = r.sqTail // the system call orders it
	done, _, errno := syscall.RawSyscall6(abi.SYS_IO_URING_ENTER, r.enterFD, uintptr(n), 0, flags, 0, 0)
	if errno == 0 && uint32(done) == n {
		return nil
	}
	return r.kickRest(uint32(done), errno)
}

// kickRest goes on after an enter that did not take everything.
func (r *Ring) kickRest(done uint32, errno syscall.Errno) error {
	for {
		switch errno {
		case 0:
			if done == 0 && r.tid != unix.Gettid() {
				return ErrWrongThread
			}
		case unix.EINTR:
		case unix.EAGAIN, unix.EBUSY:
			return nil
		default:
			return r.enterError(errno)
		}
		n := r.sqTail - *r.kSQHead
		if n == 0 || (errno == 0 && done == 0) {
			return nil
		}
		var d uintptr
		d, _, errno = syscall.RawSyscall6(abi.SYS_IO_URING_ENTER, r.enterFD, uintptr(n), 0, r.enterFlag, 0, 0)
		done = uint32(d)
	}
}

// Fetch enters only to bring completions into the ring, without waiting for any.
func (r *Ring) Fetch() error {
	for {
		_, _, errno := syscall.RawSyscall6(abi.SYS_IO_URING_ENTER, r.enterFD, 0, 0,
			r.enterFlag|uintptr(enterGetEvents), 0, 0)
		switch errno {
		case 0, unix.EAGAIN, unix.EBUSY:
			return nil
		case unix.EINTR:
		default:
			return r.enterError(errno)
		}
	}
}

// Wait is Kick, and then a wait until a completion is ready or limit has passed (negative: no limit). It
// may return early, after a signal; the caller polls and finds out.
func (r *Ring) Wait(limit time.Duration) error { return r.WaitN(1, limit) }

// WaitN is Wait until n completions are ready, which wakes the thread less often than n waits do. More than
// are in flight are not waited for.
func (r *Ring) WaitN(least uint32, limit time.Duration) error {
	least = min(least, r.Inflight())
	if r.cq.Ready() >= max(least, 1) || limit == 0 || (r.ioPoll && r.Inflight() != 0) {
		if err := r.Kick(); err != nil {
			return err
		}
		if r.Pending() {
			return r.Fetch()
		}
		return nil
	}
	if r.sqPoll {
		if err := r.kickThread(enterGetEvents); err != nil || r.cq.Ready() >= max(least, 1) {
			return err
		}
	}
	if !r.feats.Has(FeatExtArg) && limit > 0 {
		return r.waitPoll(limit)
	}
	var n uint32
	if !r.sqPoll {
		n = r.sqTail - *r.kSQHead
		*r.kSQTail = r.sqTail
	}
	flags, arg, size := r.enterFlag|uintptr(enterGetEvents), uintptr(0), uintptr(0)
	if limit > 0 {
		*r.ts = kernelTimespec{sec: int64(limit / time.Second), nsec: int64(limit % time.Second)}
		*r.arg = getEventsArg{ts: uint64(uintptr(unsafe.Pointer(r.ts)))}
		flags |= uintptr(enterExtArg)
		arg, size = uintptr(unsafe.Pointer(r.arg)), unsafe.Sizeof(*r.arg)
	}
	_, _, errno := syscall.Syscall6(abi.SYS_IO_URING_ENTER, r.enterFD, uintptr(n), uintptr(max(least, 1)), flags, arg, size)
	switch errno {
	case 0, unix.ETIME, unix.EINTR, unix.EAGAIN, unix.EBUSY:
		return nil
	default:
		return r.enterError(errno)
	}
}

// waitPoll waits through the ring's descriptor, for kernels whose enter takes no time limit.
func (r *Ring) waitPoll(limit time.Duration) error {
	if err := r.Kick(); err != nil || r.cq.Ready() != 0 {
		return err
	}
	r.pfd[0] = unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN}
	ts := unix.NsecToTimespec(int64(limit))
	if _, err := unix.Ppoll(r.pfd[:], &ts, nil); err != nil && err != unix.EINTR {
		return fmt.Errorf("poll: %w", err)
	}
	return r.Fetch()
}

// kickThread is Kick for a ring with a submission thread: the tail has to be seen before the thread's
// flags are read, else the thread might go to sleep over it.
//
// Source: io_uring_setup(2) "IORING_SETUP_SQPOLL".
func (r *Ring) kickThread(flags uint32) error {
	atomic.StoreUint32(r.kSQTail, r.sqTail)
	state := atomic.LoadUint32(r.kSQFlags)
	if state&sqNeedWakeup != 0 {
		flags |= enterSQWakeup
	}
	if state&sqCQOverflow != 0 {
		flags |= enterGetEvents
	}
	if flags == 0 {
		return nil
	}
	for {
		_, _, errno := syscall.RawSyscall6(abi.SYS_IO_URING_ENTER, r.enterFD, 0, 0, r.enterFlag|uintptr(flags), 0, 0)
		switch errno {
		case 0, unix.EAGAIN, unix.EBUSY:
			return nil
		case unix.EINTR:
		default:
			return r.enterError(errno)
		}
	}
}

// enterError says what an errno of io_uring_enter means here.
func (r *Ring) enterError(errno syscall.Errno) error {
	if errno == unix.EEXIST || r.tid != unix.Gettid() {
		return fmt.Errorf("io_uring_enter: %w", ErrWrongThread)
	}
	if errno == unix.EBADFD && !r.enabled {
		return fmt.Errorf("io_uring_enter: ring is not enabled yet: %w", errno)
	}
	if errno == unix.EOWNERDEAD {
		return fmt.Errorf("io_uring_enter: the submission thread died: %w", errno)
	}
	return fmt.Errorf("io_uring_enter: %w", errno)
}
