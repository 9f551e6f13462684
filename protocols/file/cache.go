package file

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// SyncRange is sync_file_range(2).
func (n *Node) SyncRange(_ context.Context, off, length int64, o engine.SyncRangeFlags) error {
	flags := 0
	if o.WaitBefore {
		flags |= unix.SYNC_FILE_RANGE_WAIT_BEFORE
	}
	if o.Write {
		flags |= unix.SYNC_FILE_RANGE_WRITE
	}
	if o.WaitAfter {
		flags |= unix.SYNC_FILE_RANGE_WAIT_AFTER
	}
	return unix.SyncFileRange(n.fd, off, length, flags)
}

// Advise is posix_fadvise(2): it goes for the descriptor that the queues use.
func (n *Node) Advise(off, length int64, random bool) error {
	advice := unix.FADV_SEQUENTIAL
	if random {
		advice = unix.FADV_RANDOM
	}
	return unix.Fadvise(n.fd, off, length, advice)
}
