package engine

import (
	"context"

	"github.com/blkbench/blkbench/engine/opts"
)

// CreateRequest is what a driver makes a new image from. A protocol driver makes an empty file or device of the size; a format driver
// writes its metadata into File, which was made before.
type CreateRequest struct {
	Env      *Env
	Driver   *Driver
	Opts     *opts.Tree // create options, without size
	Size     int64      // bytes; -1 when not given
	Filename string
	Target   *opts.Tree // the protocol node's options
	File     *Ref       // formats: the protocol node, open for writing
	Flags    OpenFlags
	// BackingSize is the size of the backing file where one is named and was looked at, else -1.
	BackingSize int64
}

// Create makes a new image: the protocol's file first, then the format in it. Target is what opts.ParseName made of filename.
func (e *Env) Create(ctx context.Context, format string, target *opts.Tree, filename string, size int64, co *opts.Tree, flags OpenFlags) error {
	d, err := e.Registry.Lookup(format)
	if err != nil {
		return err
	}
	if d.create == nil {
		return Errf(ErrUnsupported, "format driver '%s' does not support image creation", format)
	}
	pd, err := e.driverOf(target)
	if err != nil {
		return err
	}
	if pd == nil {
		if pd, err = e.Registry.Lookup("file"); err != nil {
			return err
		}
	}
	r := &CreateRequest{Env: e, Driver: d, Opts: co, Size: size, Filename: filename, Target: target, Flags: flags, BackingSize: -1}
	if r.BackingSize, err = e.backingSize(ctx, r); err != nil {
		return err
	}
	if d.Kind == KindProtocol {
		return d.create(ctx, r)
	}
	if pd.create != nil {
		// The file starts empty; the format grows it, and preallocates by its own options.
		empty := &CreateRequest{
			Env: e, Driver: pd, Opts: opts.NewTree(), Size: 0, Filename: filename, Target: target.Clone(), Flags: flags, BackingSize: -1,
		}
		if err := pd.create(ctx, empty); err != nil {
			return openError(filename, err)
		}
	}
	flags.Write = true
	ref, err := e.open(ctx, &OpenRequest{
		Env: e, Opts: target.Clone(), Flags: flags, Perm: topPerm(flags), Shared: topShared(flags), Filename: filename, IsFormat: true, Create: true,
	})
	if err != nil {
		return err
	}
	r.File = ref
	err = d.create(ctx, r)
	if cerr := ref.Close(); err == nil {
		err = cerr
	}
	return err
}

// backingSize looks at the backing file that the options name, where the new image is to be as large as it: the user names it, so the
// policy for references inside images has no say.
func (e *Env) backingSize(ctx context.Context, r *CreateRequest) (int64, error) {
	name, _ := r.Opts.String("backing_file")
	if name == "" || r.Size >= 0 || r.Flags.NoBacking {
		return -1, nil
	}
	format, _ := r.Opts.String("backing_fmt")
	ref, err := e.OpenName(ctx, ResolveName(r.Filename, name), format, OpenFlags{Cache: r.Flags.Cache, NoBacking: true, NoIO: true})
	if err != nil {
		return -1, err
	}
	return ref.Size(), ref.Close()
}
