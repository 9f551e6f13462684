package imgcmd

import (
	"context"
	"math"

	"github.com/blkbench/blkbench/engine"
)

type bitmapFlags struct {
	helpOption
	Add          bool     `long:"add" help:"make an empty bitmap that records writes"`
	Remove       bool     `long:"remove" help:"remove the bitmap"`
	Clear        bool     `long:"clear" help:"clear all bits"`
	Enable       bool     `long:"enable" help:"record writes from now on"`
	Disable      bool     `long:"disable" help:"record no more writes"`
	Merge        []string `long:"merge" arg:"SOURCE" help:"add what another bitmap has set"`
	Granularity  *string  `long:"granularity" short:"g" arg:"SIZE" help:"how many bytes a bit of a new bitmap stands for"`
	SourceFile   *string  `long:"source-file" short:"b" arg:"FILENAME" help:"image that the bitmaps of --merge are in"`
	SourceFormat *string  `long:"source-format" short:"F" arg:"FORMAT" help:"its format"`
	Format       *string  `short:"f" arg:"FORMAT" help:"format of the image; to be given under our own name"`
	objectOption
	imageOption
}

func bitmapVerb() command {
	return define("bitmap", "FILENAME BITMAP", "adds, removes, clears, enables, disables and merges persistent dirty bitmaps",
		"Actions are done in the order in which they are given.", bitmap)
}

func bitmap(ctx context.Context, c *call, o *bitmapFlags) int {
	var granularity int64
	if o.Granularity != nil {
		var ok bool
		if granularity, ok = c.numberIn("granularity", *o.Granularity, 0, math.MaxInt64); !ok {
			return exitFailed
		}
	}
	var actions []bitmapAction
	for _, f := range c.found {
		switch f.Option.Long {
		case "add", "remove", "clear", "enable", "disable", "merge":
			actions = append(actions, bitmapAction{f.Option.Long, f.Value})
		}
	}
	switch {
	case len(actions) == 0:
		return c.fail("Need at least one of --add, --remove, --clear, --enable, --disable, or --merge")
	case o.Granularity != nil && !o.Add:
		return c.fail("granularity only supported with --add")
	case o.SourceFormat != nil && o.SourceFile == nil:
		return c.fail("-F only supported with -b")
	case o.SourceFile != nil && len(o.Merge) == 0:
		return c.fail("Merge bitmap source file only supported with --merge")
	case len(c.args) != 2:
		return c.fail("Expecting filename and bitmap name")
	}
	noBacking := c.eng.References != engine.ReferencesAllow
	ref, ok := c.openImage(ctx, &Image{
		Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts, Flags: engine.OpenFlags{Write: true, NoBacking: noBacking},
	})
	if !ok {
		return exitFailed
	}
	source := ref
	if o.SourceFile != nil {
		source, ok = c.openImage(ctx, &Image{Name: *o.SourceFile, Format: deref(o.SourceFormat), Flags: engine.OpenFlags{NoBacking: noBacking}})
		if !ok {
			_ = c.close(ref)
			return exitFailed
		}
	}
	code := c.bitmapActions(ctx, ref, source, c.args[1], granularity, actions)
	if source != ref {
		if closed := c.close(source); code == exitOK {
			code = closed
		}
	}
	if closed := c.close(ref); code == exitOK {
		code = closed
	}
	return code
}

// bitmapAction is one of the verb's actions; source is that of merge.
type bitmapAction struct{ name, source string }

func (c *call) bitmapActions(ctx context.Context, ref, source *engine.Ref, name string, granularity int64, actions []bitmapAction) int {
	for _, a := range actions {
		if err := doBitmap(ctx, ref, source, name, granularity, a); err != nil {
			return c.fail("Operation %s on bitmap %s failed: %s", a.name, name, Reason(err))
		}
	}
	return exitOK
}

func doBitmap(ctx context.Context, ref, source *engine.Ref, name string, granularity int64, a bitmapAction) error {
	b, ok := ref.Node().(engine.Bitmapper)
	if !ok {
		if a.name == "add" {
			return engine.Errf(engine.ErrUnsupported, "Can't store persistent bitmaps to %s: Operation not supported", ref.Info().Filename)
		}
		return engine.Errf(engine.ErrNotFound, "Dirty bitmap '%s' not found", name)
	}
	switch a.name {
	case "add":
		return b.AddBitmap(ctx, name, granularity, false)
	case "remove":
		return b.RemoveBitmap(ctx, name)
	case "clear":
		return b.ClearBitmap(ctx, name)
	case "enable":
		return b.EnableBitmap(ctx, name)
	case "disable":
		return b.DisableBitmap(ctx, name)
	}
	src, ok := source.Node().(engine.Bitmapper)
	if !ok {
		return engine.Errf(engine.ErrNotFound, "Dirty bitmap '%s' not found", a.source)
	}
	return b.MergeBitmap(ctx, name, src, a.source)
}
