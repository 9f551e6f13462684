package engine

import (
	"context"
	"errors"
	"slices"

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
		own, err := pd.takeOptions(d, co)
		if err != nil {
			return err
		}
		empty := &CreateRequest{
			Env: e, Driver: pd, Opts: own, Size: 0, Filename: filename, Target: target.Clone(), Flags: flags, BackingSize: -1,
		}
		if err := pd.create(ctx, empty); err != nil {
			return openError(filename, err)
		}
	}
	err = e.format(ctx, r)
	if err != nil && pd.create != nil && pd.Remove != nil {
		err = errors.Join(err, pd.Remove(ctx, target))
	}
	return err
}

// format lets a format driver write into the file that the protocol has made.
func (e *Env) format(ctx context.Context, r *CreateRequest) error {
	flags := r.Flags
	flags.Write = true
	ref, err := e.open(ctx, &OpenRequest{
		Env: e, Opts: r.Target.Clone(), Flags: flags, Perm: topPerm(flags), Shared: topShared(flags), Filename: r.Filename, IsFormat: true, Create: true,
	})
	if err != nil {
		return err
	}
	r.File = ref
	err = r.Driver.create(ctx, r)
	if cerr := ref.Close(); err == nil {
		err = cerr
	}
	return err
}

// Remove takes back a new file or device that Create made by its protocol's driver.
func (e *Env) Remove(ctx context.Context, target *opts.Tree) error {
	d, err := e.driverOf(target)
	if err == nil && d == nil {
		d, err = e.Registry.Lookup("file")
	}
	if err != nil || d.Remove == nil {
		return err
	}
	return d.Remove(ctx, target)
}

// takeOptions gives a protocol its part of the create options: those that the format does not know, and of those that both know the ones
// that are about the file (nocow, extent_size_hint), not about the size that the format decides.
func (d *Driver) takeOptions(format *Driver, co *opts.Tree) (*opts.Tree, error) {
	own := opts.NewTree()
	for _, o := range d.CreateOptions() {
		v, ok := co.Get(o.Name)
		if !ok {
			continue
		}
		shared := slices.ContainsFunc(format.CreateOptions(), func(f opts.Option) bool { return f.Name == o.Name })
		if shared && o.Name == "preallocation" {
			continue
		}
		if err := own.Set(o.Name, v); err != nil {
			return nil, err
		}
		if !shared {
			co.Delete(o.Name)
		}
	}
	return own, nil
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
