package file

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
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
}

// Lock declares what the node is used for, and what others may do meanwhile. What was declared before is
// replaced only if this succeeds; else the error is of kind ErrLocked and names the conflict.
func (n *Node) Lock(perm, shared engine.Perm) error {
	want := lockState{perm & engine.PermAll, engine.PermAll &^ shared}
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
	_, err := retry(func() (int, error) { return 0, unix.FcntlFlock(uintptr(n.fd), unix.F_OFD_SETLK, &l) })
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
	_, err := retry(func() (int, error) { return 0, unix.FcntlFlock(uintptr(n.fd), unix.F_OFD_GETLK, &l) })
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
