package raw

import (
	"context"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// OpenOptions are the options of a raw node.
type OpenOptions struct {
	Offset int64        `opt:"offset" kind:"size" min:"0" help:"where the image starts in the file, in bytes"`
	Size   *int64       `opt:"size" kind:"size" min:"0" help:"size of the image in bytes; the rest of the file where absent"`
	Probed opts.OptBool `opt:"probed" help:"the format was guessed: writes that make the first sector look like another format are refused"`
}

// CreateOptions are the options of a new raw image.
type CreateOptions struct {
	Preallocation  string       `opt:"preallocation" enum:"off,falloc,full" default:"off" help:"how space is provided"`
	NoCow          opts.OptBool `opt:"nocow" help:"turn copy-on-write off for the file (btrfs, empty files)"`
	ExtentSizeHint *int64       `opt:"extent_size_hint" kind:"size" min:"0" help:"extent size hint of the file, 0 to leave it alone"`
}

// NoCower is implemented by files that can be taken out of copy-on-write. It must be called before anything is written.
type NoCower interface {
	NoCow(ctx context.Context) error
}

// ExtentSizeHinter is implemented by files whose allocation can be given a granularity in bytes.
type ExtentSizeHinter interface {
	SetExtentSizeHint(ctx context.Context, bytes int64) error
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[OpenOptions, CreateOptions](engine.Driver{
		Name: "raw", Kind: engine.KindFormat, Help: "bytes as they are",
		Probe: func([]byte, string) int { return 1 },
	}, open, create)
}

func open(ctx context.Context, r *engine.OpenRequest, o *OpenOptions) (engine.Node, error) {
	c := Config{Offset: o.Offset, Size: -1, Growable: r.IsFormat}
	if o.Size != nil {
		c.Size = *o.Size
	}
	file, err := r.MustChild(ctx, "file", engine.RoleFiltered)
	if err != nil {
		return nil, err
	}
	m, err := New(file, c)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	if o.Probed.On && r.Flags.Write {
		return NewProbed(m, func(head []byte) string { return r.Env.Registry.Probe(head, "").Name }), nil
	}
	return Flat{m}, nil
}

func create(ctx context.Context, r *engine.CreateRequest, o *CreateOptions) error {
	if r.Size < 0 {
		return engine.Errf(engine.ErrOption, "Image creation needs a size parameter")
	}
	if o.NoCow.On {
		if n, ok := r.File.Node().(NoCower); ok {
			if err := n.NoCow(ctx); err != nil {
				return err
			}
		}
	}
	if n, ok := r.File.Node().(ExtentSizeHinter); ok {
		hint := int64(1 << 20)
		if o.ExtentSizeHint != nil {
			hint = *o.ExtentSizeHint
		}
		if err := n.SetExtentSizeHint(ctx, hint); err != nil {
			return err
		}
	}
	size := (r.Size + 511) &^ 511
	return r.File.Resize(ctx, size, engine.ResizeOptions{Prealloc: engine.Prealloc(o.Preallocation), Exact: true})
}
