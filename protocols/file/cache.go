package file

import "golang.org/x/sys/unix"

// Advise is posix_fadvise(2): it goes for the descriptor that the queues use.
func (n *Node) Advise(off, length int64, random bool) error {
	advice := unix.FADV_SEQUENTIAL
	if random {
		advice = unix.FADV_RANDOM
	}
	return unix.Fadvise(n.fd, off, length, advice)
}
