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

// CreateOptions are the options of a new raw image. NoCow and ExtentSizeHint are the file's own, to be taken by it when it is made.
type CreateOptions struct {
	Preallocation  string       `opt:"preallocation" enum:"off,falloc,full" default:"off" help:"how space is provided"`
	NoCow          opts.OptBool `opt:"nocow" help:"turn copy-on-write off for the file (btrfs, empty files)"`
	ExtentSizeHint *int64       `opt:"extent_size_hint" kind:"size" min:"0" help:"extent size hint of the file, 0 to leave it alone"`
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[OpenOptions, CreateOptions](engine.Driver{
		Name: "raw", Kind: engine.KindFormat, Help: "bytes as they are",
		Probe:   func([]byte, string) int { return 1 },
		Measure: measure,
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
	size := (r.Size + 511) &^ 511
	if !r.File.Info().Caps.Has(engine.CapGrowable) && r.File.Size() >= size && o.Preallocation == string(engine.PreallocOff) {
		return nil // a device or an export may be larger
	}
	return r.File.Resize(ctx, size, engine.ResizeOptions{Prealloc: engine.Prealloc(o.Preallocation)})
}

// measure is the size: holes are the file system's affair.
func measure(_ context.Context, r *engine.MeasureRequest) (engine.Measurement, error) {
	size := (r.Size + 511) &^ 511
	return engine.Measurement{Required: size, FullyAllocated: size, Bitmaps: -1}, nil
}
