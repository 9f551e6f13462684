package file

import (
	"context"
	"errors"
	"sync"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/uring"
)

// Engines of the polled plane, as ioengine= and aio= name them.
const (
	engineRing    = "io_uring"
	engineThreads = "threads"
	enginePsync   = "psync"
)

// engineOf decides how requests reach the kernel: the workload's wish, then the node's option, then the
// program's.
func (n *Node) engineOf() string {
	for _, name := range [...]string{n.flags.Leaf.Engine, n.opt.AIO, n.flags.AIO} {
		switch name {
		case "":
		case "native":
			return engineRing
		default:
			return name
		}
	}
	return engineRing
}

// fallback says once that threads do what io_uring was to do.
var fallback sync.Once

// OpenQueue opens the polled plane on the poller's thread.
func (n *Node) OpenQueue(_ context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	switch name := n.engineOf(); name {
	case engineRing:
		q, err := n.openRing(cfg)
		if err == nil {
			return q, nil
		}
		if !errors.Is(err, uring.ErrUnavailable) {
			return nil, err
		}
		fallback.Do(func() {
			if n.env != nil && n.env.Warn != nil {
				n.env.Warn(err.Error() + "; threads with pread and pwrite take over")
			}
		})
		return n.openThreads(cfg)
	case engineThreads:
		return n.openThreads(cfg)
	case enginePsync:
		return n.openPsync(cfg)
	default:
		return nil, engine.Errf(engine.ErrUnsupported, "engine '%s' for files; there are io_uring, threads and psync", name)
	}
}
