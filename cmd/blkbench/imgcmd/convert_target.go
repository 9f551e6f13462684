package imgcmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// compressing are the formats that store compressed clusters: asked before a target is made that could not hold them.
var compressing = []string{"qcow2", "qcow", "vmdk"}

// settle brings the options of the new image together and checks what can be checked before it is made.
func (x *conversion) settle(img *NewImage) ([]formatOption, error) {
	o := x.o
	if o.Backing != nil {
		x.backing = *o.Backing
	}
	var known []formatOption
	if !o.NoCreate {
		d, err := x.eng.Registry.Lookup(x.format)
		if err != nil {
			return nil, fmt.Errorf("Unknown file format '%s'", x.format) //nolint:staticcheck // qemu-img's words
		}
		_, protocol, err := x.call.target(x.out)
		if err != nil {
			return nil, err
		}
		if !d.CanCreate() {
			return nil, fmt.Errorf("Format driver '%s' does not support image creation", x.format) //nolint:staticcheck // qemu-img's words
		}
		known = createOptions(d, protocol)
		if img.list, err = x.list.check(known, x.warnf); err != nil {
			return nil, err
		}
		if o.Backing != nil {
			if find(known, "backing_file") == nil {
				return nil, fmt.Errorf("Backing file not supported for file format '%s'", x.format) //nolint:staticcheck // qemu-img's words
			}
			img.list.set("backing_file", *o.Backing)
		}
		if o.BackingFormat != nil {
			if find(known, "backing_fmt") == nil {
				return nil, fmt.Errorf("Backing file format not supported for file format '%s'", x.format) //nolint:staticcheck // qemu-img's words
			}
			img.list.set("backing_fmt", *o.BackingFormat)
		}
		if b, given := img.list.get("backing_file"); given {
			x.backing = b
			if _, given := img.list.get("backing_fmt"); !given {
				return nil, errors.New("Use of backing file requires explicit backing format") //nolint:staticcheck // qemu-img's words
			}
		}
		if text, given := img.list.get("size"); given {
			if img.Size, err = opts.ParseSize(text); err != nil {
				return nil, err
			}
			img.list.remove("size")
		}
	}
	if o.Compressed {
		if !o.NoCreate && !slices.Contains(compressing, x.format) {
			return nil, errors.New("Compression not supported for this file format") //nolint:staticcheck // qemu-img's words
		}
		if p, given := img.list.get("preallocation"); given && p != "off" {
			return nil, errors.New("Compression and preallocation not supported at the same time") //nolint:staticcheck // qemu-img's words
		}
	}
	if o.Bitmaps {
		return known, x.checkBitmaps()
	}
	return known, nil
}

// targetCache is -t.
func (x *conversion) targetCache() (engine.Cache, error) {
	mode := "unsafe"
	if !x.env.Link {
		mode = "writeback"
	}
	if x.o.Cache != nil {
		mode = *x.o.Cache
	}
	return ParseCache("cache", mode)
}

func (x *conversion) create(ctx context.Context, img *NewImage, known []formatOption) error {
	wrap := func(err error) error { return fmt.Errorf("%s: error while converting %s: %w", x.out, x.format, err) }
	tree, err := img.list.tree()
	if err != nil {
		return wrap(err)
	}
	if x.made, err = x.newTarget(ctx, x.out); err != nil {
		return wrap(errors.New(openReason(err)))
	}
	if err := x.made.create(ctx, img, known, tree); err != nil {
		return wrap(err)
	}
	return nil
}

// openTarget opens the target. The backing file that the user has named for it is opened as such, whatever the policy for names inside
// images.
func (x *conversion) openTarget(ctx context.Context, cache engine.Cache) error {
	flags := targetFlags(cache)
	flags.Discard = x.sparse > 0
	name := x.out
	if x.made != nil {
		name = x.made.at
	}
	own := x.backing != "" && x.made != nil && x.eng.References != engine.ReferencesAllow
	flags.NoBacking = own
	var ref *engine.Ref
	var err error
	if x.o.Level != nil {
		ref, err = x.openAtLevel(ctx, name, flags)
	} else {
		ref, err = Open(ctx, x.eng, &Image{Name: name, Format: x.format, ImageOpts: x.o.TargetOpts, Flags: flags, Probe: x.env.Link})
	}
	if err != nil {
		return err
	}
	x.target = ref
	if !own {
		return nil
	}
	b, ok := ref.Node().(engine.Backed)
	if !ok {
		return nil
	}
	backing, format := b.BackingName()
	below, err := Open(ctx, x.eng, &Image{Name: engine.ResolveName(name, backing), Format: format})
	if err != nil {
		return err
	}
	b.SetBacking(below)
	return nil
}

// targetFlags open a target. The kernel lets one request at a time write to a file of the page cache, and io_uring hands each to a worker
// of its own: the mover's thread does as well.
func targetFlags(cache engine.Cache) engine.OpenFlags {
	flags := engine.OpenFlags{Write: true, Cache: cache}
	if !cache.Direct {
		flags.Leaf.Engine = "psync"
	}
	return flags
}

// openAtLevel opens the target with a level of compression, which is an option of its format.
func (x *conversion) openAtLevel(ctx context.Context, name string, flags engine.OpenFlags) (*engine.Ref, error) {
	if _, err := strconv.Atoi(*x.o.Level); err != nil {
		return nil, fmt.Errorf("Invalid compression level: %s", *x.o.Level) //nolint:staticcheck // as qemu-img words such things
	}
	t, err := parseTarget(name, x.o.TargetOpts)
	if err != nil {
		return nil, &OpenError{Name: name, Err: err}
	}
	if !namesFormat(x.eng, t) {
		outer := opts.NewTree()
		if err := errors.Join(outer.Set("driver", x.format), outer.Set("file", t)); err != nil {
			return nil, err
		}
		t = outer
	}
	if err := t.Set("compression-level", *x.o.Level); err != nil {
		return nil, err
	}
	ref, err := x.eng.OpenTree(ctx, t, baseName(name, t), "", flags)
	if err != nil {
		return nil, &OpenError{Name: name, Err: err}
	}
	return ref, nil
}

// suits checks what only the opened target tells.
func (x *conversion) suits(total int64) error {
	_, compresses := x.target.Node().(engine.CompressedWriter)
	switch {
	case x.o.Bitmaps && asQcow2(x.target) == nil:
		return fmt.Errorf("Format driver '%s' does not support bitmaps", x.target.Info().Driver) //nolint:staticcheck // qemu-img's words
	case x.o.Compressed && !compresses:
		return errors.New("Compression not supported for this file format") //nolint:staticcheck // qemu-img's words
	case x.target.Size() < total:
		return errors.New("output file is smaller than input file")
	}
	return nil
}
