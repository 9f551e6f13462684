package imgcmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/convert"
)

type rebaseOptions struct {
	helpOption
	Format        *string `short:"f" arg:"FORMAT" help:"format of the image"`
	Backing       *string `short:"b" arg:"FILENAME" help:"the new backing file; empty: none, the image then holds everything itself"`
	BackingFormat *string `short:"F" arg:"FORMAT" help:"format of the new backing file"`
	Unsafe        bool    `short:"u" help:"change only the name: the content that shows may become another"`
	Cache         *string `short:"t" arg:"CACHE" help:"cache mode of the image"`
	SourceCache   *string `short:"T" arg:"CACHE" help:"cache mode of the backing files"`
	progressOption
	quietOption
	objectOption
	imageOption
	shareOption
}

func rebaseVerb() command {
	return define("rebase", "FILENAME", "gives an image another backing file",
		"What the new backing file would show differently is copied into the image first, so that its content stays.", rebase)
}

func rebase(ctx context.Context, c *call, o *rebaseOptions) int {
	if len(c.args) != 1 {
		return c.tryHelp("Expecting one image file name")
	}
	if !o.Unsafe && o.Backing == nil {
		return c.tryHelp("Must specify backing file (-b) or use unsafe mode (-u)")
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	m, ok := c.meter(&o.progressOption, 1)
	if !ok {
		return exitFailed
	}
	defer m.end()
	m.of(0, 1)
	if err := c.rebase(ctx, o, m); err != nil {
		return c.fail("%v", err)
	}
	if c.env.Link {
		m.of(1, 1)
	}
	return exitOK
}

func (c *call) rebase(ctx context.Context, o *rebaseOptions, m meter) (err error) {
	cache, err := ParseCache("cache", valueOr(o.Cache, "writeback"))
	if err != nil {
		return err
	}
	source, err := ParseCache("source cache", valueOr(o.SourceCache, "writeback"))
	if err != nil {
		return err
	}
	top, err := Open(ctx, c.eng, &Image{
		Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts, Probe: c.env.Link,
		Flags: engine.OpenFlags{Write: true, Discard: true, NoBacking: o.Unsafe, Cache: cache},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, top.Close()) }()
	if o.BackingFormat != nil {
		if _, err := c.eng.Registry.Lookup(*o.BackingFormat); err != nil {
			return fmt.Errorf("Invalid format name: '%s'", *o.BackingFormat) //nolint:staticcheck // qemu-img's words
		}
	}
	if !o.Unsafe {
		if err := c.keepContent(ctx, o, top, source, m); err != nil {
			return err
		}
	}
	name := deref(o.Backing)
	cannot := func(why string) error {
		return fmt.Errorf("Could not change the backing file to '%s': %s", name, why) //nolint:staticcheck // qemu-img's words
	}
	if name != "" && o.BackingFormat == nil {
		return cannot("backing format must be specified")
	}
	b, ok := top.Node().(engine.Backed)
	if !ok {
		return cannot("Operation not supported")
	}
	format := deref(o.BackingFormat)
	if name == "" {
		format = ""
	}
	if err := b.ChangeBacking(ctx, name, format); err != nil {
		return cannot(Reason(err))
	}
	return nil
}

// keepContent copies into the image what the new backing file would show differently.
func (c *call) keepContent(ctx context.Context, o *rebaseOptions, top *engine.Ref, cache engine.Cache, m meter) error {
	flags := engine.OpenFlags{Cache: cache, ForceShare: o.ForceShare}
	var before, after *engine.Ref
	if b, ok := top.Node().(engine.Backed); ok {
		before = b.Backing()
	}
	if name := *o.Backing; name != "" {
		ref, err := open(ctx, c.eng, &Image{Name: engine.ResolveName(c.args[0], name), Format: deref(o.BackingFormat), Flags: flags})
		if err != nil {
			return fmt.Errorf("Could not open new backing file '%s': %s", name, openReason(err)) //nolint:staticcheck // qemu-img's words
		}
		defer ref.Close()
		after = ref
	}
	if before == nil && after == nil {
		return nil
	}
	if _, err := convert.Rebase(ctx, convert.RebaseOptions{Top: top, Old: before, New: after, Tuning: convert.Tuning{Progress: m.of}}); err != nil {
		return copyError(err)
	}
	if err := top.Flush(ctx); err != nil {
		return errors.New(Reason(err))
	}
	return nil
}

func valueOr(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}
