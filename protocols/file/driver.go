package file

import (
	"context"
	"errors"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// Options are the keys of the drivers file and host_device.
type Options struct {
	Filename    string        `opt:"filename" required:"true" help:"path of the file or block device"`
	Locking     opts.Tristate `opt:"locking" default:"auto" help:"lock the file as QEMU does, so that two programs do not write at once"`
	AIO         string        `opt:"aio" enum:"io_uring,threads,native" help:"how requests reach the kernel; native is served by io_uring"`
	AIOMaxBatch uint32        `opt:"aio-max-batch" help:"accepted for QEMU's sake: batches are as large as the queue"`
	ShareRW     bool          `opt:"share-rw" help:"let other programs write at the same time"`
}

// CreateOptions are those of a new file.
type CreateOptions struct {
	Preallocation  engine.Prealloc `opt:"preallocation" default:"off" enum:"off,falloc,full" help:"provide the space now"`
	NoCOW          bool            `opt:"nocow" help:"no copy on write, for new files on Btrfs"`
	ExtentSizeHint uint64          `opt:"extent_size_hint" kind:"size" default:"1M" help:"allocate in units of this size, where the file system takes hints; 0 for no hint"`
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define(engine.Driver{
		Name:    "file",
		Aliases: []string{"host_device", "host_cdrom"},
		Kind:    engine.KindProtocol,
		Help:    "a file or block device of this machine",
		Remove:  remove,
	}, open, create)
}

func open(_ context.Context, r *engine.OpenRequest, o *Options) (engine.Node, error) {
	n, err := openGiven(o, r.Flags, r.Env, r.Opened(o.Filename))
	if err != nil {
		return nil, err
	}
	shared := r.Shared
	if o.ShareRW && !r.IsFormat {
		shared |= engine.PermWrite | engine.PermResize
	}
	perm := r.Perm
	if !n.flags.Write {
		perm &^= engine.PermWrite | engine.PermWriteUnchanged | engine.PermResize
	}
	if err := n.lockAtOpen(o.Locking, perm, shared, r.Env.HeldLocks()); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}
