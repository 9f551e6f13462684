package file

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// claims are the block devices that this process has claimed, so that nobody else may mount, swap to or
// write to them exclusively. A device is claimed once, however often it is open here.
var claims = struct {
	sync.Mutex
	held map[uint64]*deviceClaim
}{held: map[uint64]*deviceClaim{}}

type deviceClaim struct {
	fd    int
	users int
}

// claim takes the exclusive claim of the device for the node. Its descriptor is also the one for zeroing
// and discarding: over another one the kernel cannot drop what it has cached of the range (EBUSY).
func (n *Node) claim(rdev uint64) error {
	claims.Lock()
	defer claims.Unlock()
	if c := claims.held[rdev]; c != nil {
		c.users++
		n.claimed, n.rangeFD = rdev, c.fd
		return nil
	}
	path := n.opt.Filename
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0) })
	if err != nil {
		return busy(path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Rdev != rdev {
		return errors.Join(fmt.Errorf("%s changed while it was opened", path), err, unix.Close(fd))
	}
	claims.held[rdev] = &deviceClaim{fd: fd, users: 1}
	n.claimed, n.rangeFD = rdev, fd
	return nil
}

// disclaim gives the claim back; the last user's ends it.
func (n *Node) disclaim() {
	if n.claimed == 0 {
		return
	}
	claims.Lock()
	defer claims.Unlock()
	c := claims.held[n.claimed]
	if c.users--; c.users == 0 {
		unix.Close(c.fd)
		delete(claims.held, n.claimed)
	}
	n.claimed = 0
}
