package file

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// QEMU's locks on image files: for each permission that a program uses, a shared lock on one byte; for each
// that it does not let others use, a shared lock on another. Who wants a permission sees whether anybody
// holds the byte that forbids it, and the other way round. Locks belong to the open file description, so
// that two opens in one process conflict as two processes do.
//
// Source: QEMU docs/system/images.rst "Disk image file locking"; the bytes are observable by
// /proc/locks.
const (
	permByte   = 100 // plus the bit of the permission
	sharedByte = 200 // plus the bit of the permission that is not shared
)

// permNames are the words of QEMU's messages, which scripts match.
var permNames = [...]string{"consistent read", "write", "write unchanged", "resize"}

// lockState is which bytes a node has locked.
type lockState struct {
	perm, unshared engine.Perm
	posix          bool // locks of the process, since the kernel has none of the open file description
}

// hasOFD asks the kernel for locks of the open file description; tests put something else here.
var hasOFD = sync.OnceValue(func() bool {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: 0, Len: 0}
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &l) == nil
})

// posixNote is QEMU's warning.
const posixNote = "File lock requested but OFD locking syscall is unavailable, falling back to POSIX file locks. " +
	"Due to the implementation, locks can be lost unexpectedly."

// lockAtOpen takes the locks where they are wanted. Under auto, a kernel without locks of the open file description has none, and neither
// has a file system without locks.
func (n *Node) lockAtOpen(locking opts.Tristate, perm, shared engine.Perm, held []io.Closer) error {
	switch {
	case locking == opts.Off:
		return nil
	case hasOFD():
	case locking == opts.Auto:
		return nil
	default:
		n.locks.posix = true
		n.info.Notes = append(n.info.Notes, posixNote)
	}
	n.locked = true
	err := n.lockFirst(perm, shared, held)
	if err != nil && locking == opts.Auto && !errors.Is(err, engine.ErrLocked) {
		n.locked = false
		n.info.Notes = append(n.info.Notes, n.opt.Filename+" is not locked: "+err.Error())
		return nil
	}
	return err
}

// heldLocks are the locks of a node that was closed, or will be.
type heldLocks struct {
	n Node // has a descriptor of the same open file description, and the locks
}

// HoldLocks moves the node's locks to a handle of their own.
func (n *Node) HoldLocks() (io.Closer, error) {
	if n.locks.perm|n.locks.unshared == 0 {
		return nil, nil
	}
	fd, err := unix.FcntlInt(uintptr(n.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	h := &heldLocks{}
	h.n.fd, h.n.rangeFD = fd, -1
	h.n.locks, n.locks = n.locks, lockState{posix: n.locks.posix}
	n.locked = false
	return h, nil
}

// Close drops the locks.
func (h *heldLocks) Close() error { return h.n.Close() }

// lockFirst takes the first locks of a node. What is held for the same file is taken over: others are looked for through the old open file
// description, which does not conflict with itself, and keeps its locks until the exchange is over.
func (n *Node) lockFirst(perm, shared engine.Perm, held []io.Closer) error {
	for _, c := range held {
		h, ok := c.(*heldLocks)
		if !ok || !sameFile(h.n.fd, n.fd) {
			continue
		}
		if err := h.n.Lock(perm|h.n.locks.perm, shared&^h.n.locks.unshared); err != nil {
			return err
		}
		return n.setLocks(perm&engine.PermAll, engine.PermAll&^shared)
	}
	return n.Lock(perm, shared)
}

func sameFile(a, b int) bool {
	var sa, sb unix.Stat_t
	return unix.Fstat(a, &sa) == nil && unix.Fstat(b, &sb) == nil && sa.Dev == sb.Dev && sa.Ino == sb.Ino
}

// needResize claims the size of a node that was opened without that.
func (n *Node) needResize() error {
	if !n.locked || n.locks.perm&engine.PermResize != 0 {
		return nil
	}
	return n.Lock(n.locks.perm|engine.PermResize, engine.PermAll&^n.locks.unshared)
}

// Lock declares what the node is used for, and what others may do meanwhile. What was declared before is
// replaced only if this succeeds; else the error is of kind ErrLocked and names the conflict.
func (n *Node) Lock(perm, shared engine.Perm) error {
	want := lockState{perm: perm & engine.PermAll, unshared: engine.PermAll &^ shared}
	old := n.locks
	if err := n.setLocks(want.perm|old.perm, want.unshared|old.unshared); err != nil {
		return errors.Join(err, n.setLocks(old.perm, old.unshared))
	}
	if err := n.checkLocks(want); err != nil {
		return errors.Join(err, n.setLocks(old.perm, old.unshared))
	}
	return n.setLocks(want.perm, want.unshared)
}

// setLocks takes what is missing, then drops what is too much.
func (n *Node) setLocks(perm, unshared engine.Perm) error {
	for i := range permNames {
		bit := engine.Perm(1) << i
		if err := n.setByte(permByte+int64(i), perm&bit != 0, n.locks.perm&bit != 0); err != nil {
			return lockError(err, "", i)
		}
		n.locks.perm = n.locks.perm&^bit | perm&bit
		if err := n.setByte(sharedByte+int64(i), unshared&bit != 0, n.locks.unshared&bit != 0); err != nil {
			return lockError(err, "shared ", i)
		}
		n.locks.unshared = n.locks.unshared&^bit | unshared&bit
	}
	return nil
}

func (n *Node) setByte(at int64, want, have bool) error {
	if want == have {
		return nil
	}
	l := unix.Flock_t{Type: unix.F_UNLCK, Start: at, Len: 1}
	if want {
		l.Type = unix.F_RDLCK
	}
	cmd := unix.F_OFD_SETLK
	if n.locks.posix {
		cmd = unix.F_SETLK
	}
	_, err := retry(func() (int, error) { return 0, unix.FcntlFlock(uintptr(n.fd), cmd, &l) })
	return err
}

// checkLocks looks for others whose declarations conflict.
func (n *Node) checkLocks(want lockState) error {
	for i := range permNames {
		bit := engine.Perm(1) << i
		if want.perm&bit != 0 {
			if err := n.testByte(sharedByte + int64(i)); err != nil {
				return lockError(err, "", i)
			}
		}
		if want.unshared&bit != 0 {
			if err := n.testByte(permByte + int64(i)); err != nil {
				return lockError(err, "shared ", i)
			}
		}
	}
	return nil
}

// testByte reports a lock that somebody else holds on a byte as EAGAIN.
func (n *Node) testByte(at int64) error {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1}
	cmd := unix.F_OFD_GETLK
	if n.locks.posix {
		cmd = unix.F_GETLK
	}
	_, err := retry(func() (int, error) { return 0, unix.FcntlFlock(uintptr(n.fd), cmd, &l) })
	if err == nil && l.Type != unix.F_UNLCK {
		return unix.EAGAIN
	}
	return err
}

// lockError says which lock was not to be had. The first words are QEMU's.
func lockError(err error, shared string, i int) error {
	if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("lock byte of %s%q: %w", shared, permNames[i], err)
	}
	//nolint:staticcheck // QEMU's words, capital included
	cause := fmt.Errorf("Failed to get %s%q lock", shared, permNames[i])
	return &engine.Error{Kind: engine.ErrLocked, Len: -1, Cause: cause}
}
