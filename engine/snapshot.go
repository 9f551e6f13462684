package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/opts"
)

// baseName is what the overlay's options call the node that is given to it; no node-name looks like it.
const baseName = "#base"

// overlay puts a temporary image over a node that is open for reading only: what is written goes there, and is gone with the last
// reference. The image has no name: nothing is left of it whatever happens to the process. base is the overlay's from then on, unless there
// is an error.
func (e *Env) overlay(ctx context.Context, base *Ref, flags OpenFlags) (*Ref, error) {
	name, done, err := nameless()
	if err != nil {
		return nil, err
	}
	defer done() // the overlay has it open
	target := opts.NewTree()
	if err := errors.Join(target.Set("driver", "file"), target.Set("filename", name), target.Set("locking", "off")); err != nil {
		return nil, err
	}
	flags.Write, flags.Snapshot, flags.AutoReadOnly = true, false, false
	flags.Cache = Cache{NoFlush: true}
	size := alignUp(base.Size(), 512)
	if err := e.Create(ctx, "qcow2", target.Clone(), name, size, opts.NewTree(), flags); err != nil {
		return nil, fmt.Errorf("the temporary image: %w", err)
	}
	t := opts.NewTree()
	if err := errors.Join(t.Set("driver", "qcow2"), t.Set("file", target), t.Set("backing", baseName)); err != nil {
		return nil, err
	}
	if e.named == nil {
		e.named = make(map[string]*Ref)
	}
	e.named[baseName] = base
	defer delete(e.named, baseName)
	ref, err := e.open(ctx, &OpenRequest{Env: e, Opts: t, Flags: flags, Perm: topPerm(flags), Shared: topShared(flags)})
	if err != nil {
		return nil, err
	}
	return ref, base.Close() // the overlay has its own reference
}

// nameless makes an empty file without a name in TMPDIR, or in /var/tmp, and returns a way to open it.
func nameless() (name string, done func(), err error) {
	dir := os.Getenv("TMPDIR")
	if dir == "" {
		dir = "/var/tmp"
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return fmt.Sprintf("/proc/self/fd/%d", fd), func() { _ = unix.Close(fd) }, nil
	}
	// A file system without nameless files: the name is taken away as soon as the file is open.
	f, err := os.CreateTemp(dir, "blkbench-*")
	if err != nil {
		return "", nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return "", nil, errors.Join(err, f.Close())
	}
	return fmt.Sprintf("/proc/self/fd/%d", f.Fd()), func() { _ = f.Close() }, nil
}
