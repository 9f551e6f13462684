// Package uring is an io_uring transport for pollers: threads that own their ring, fill it in
// batches, enter the kernel once a batch and never allocate.
//
// Four nouns:
//
//   - A [Ring] is one io_uring instance: submission slots ([SQE]), completions ([CQE]), registered
//     files, buffers and ring descriptor. It belongs to the OS thread that called [New].
//   - A [Reactor] is the one ring of one poller, shared by its clients: file leaves, sockets, event
//     descriptors. It sorts completions by client and owns the registered tables.
//   - A [Client] submits through the reactor's ring and sees only its own completions.
//   - A [Probe] is what this kernel offers, or the one-line reason why it offers nothing.
//
// # Thread
//
// A ring is created disabled, registered, enabled, polled and closed on one locked OS thread
// (runtime.LockOSThread), which outlives its I/O: the kernel cancels what a thread has in flight when
// the thread exits. With SINGLE_ISSUER other threads are answered EEXIST, which this package returns as
// [ErrWrongThread]. Nothing here takes a lock and nothing may be called at once from two threads.
//
// # Memory
//
// No address of Go memory goes into an SQE: buffers, iovecs, msghdrs, sockaddrs and timespecs are
// memory that was mapped (an arena, or [Reactor.Scratch]), since the kernel reads or writes it after the
// call that named it has returned.
//
// # System calls
//
// An io_uring_enter that cannot sleep (submission, GETEVENTS with nothing to wait for) is a
// RawSyscall6: it does not give up the processor and costs no scheduler bookkeeping. One that waits is a
// Syscall6. Interruption by a signal is normal (the Go runtime preempts with SIGURG) and never an error.
//
// A signal that is pending while the kernel wants to start a worker makes it cancel what waits for that
// worker: a completion with ECANCELED that nobody asked for means "again", as EINTR does.
//
// # Waiting
//
// A thread waits in its own ring, for one completion or for several ([Ring.WaitN]). What others wait for by
// poll(2) is an event descriptor ([Reactor.EventFD]), not the ring's: with DEFER_TASKRUN nobody who polls
// that hears of a completion. The other way round, a [Watch] lets an event descriptor end the ring's wait.
//
// # Degrading
//
// New asks for SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN, TASKRUN_FLAG, SUBMIT_ALL, NO_SQARRAY and
// R_DISABLED and takes one step down at a time where a kernel answers EINVAL, to Linux 5.6. What was
// got is [Ring.Features]. SQPOLL excludes the task-run flags; IOPOLL rings take neither fsync nor
// fallocate nor sockets, so that a reactor with IOPOLL makes a second ring for them.
//
// # ABI
//
// Source: Linux include/uapi/linux/io_uring.h. Set-up, registration, their structures and the constants
// known to it come from github.com/iceber/iouring-go/syscall; what is newer is in abi.go. That module's
// SQE types are reached through an interface, so the two structures of the hot path are our own.
package uring
