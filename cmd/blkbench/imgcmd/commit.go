package imgcmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/convert"
)

type commitOptions struct {
	helpOption
	Format *string `short:"f" arg:"FORMAT" help:"format of the image"`
	Base   *string `short:"b" arg:"FILENAME" help:"the backing file that is written to, anywhere in the chain; what is between becomes invalid"`
	Cache  *string `short:"t" arg:"CACHE" help:"cache mode"`
	Drop   bool    `short:"d" help:"leave the image as it is; without, it is emptied"`
	Rate   *string `short:"r" arg:"RATE" help:"bytes per second at most"`
	progressOption
	quietOption
	objectOption
	imageOption
}

func commitVerb() command {
	return define("commit", "FILENAME", "writes the content of an image into its backing file",
		"The image is emptied afterwards unless -d or -b is given. A backing file that is shorter grows.", commit)
}

func commit(ctx context.Context, c *call, o *commitOptions) int {
	if len(c.args) != 1 {
		return c.tryHelp("Expecting one image file name")
	}
	var rate int64
	if o.Rate != nil {
		var ok bool
		if rate, ok = c.number("rate limit", *o.Rate); !ok {
			return exitFailed
		}
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	m, ok := c.meter(&o.progressOption, 1)
	if !ok {
		return exitFailed
	}
	m.of(0, 1)
	err := c.commit(ctx, o, rate, m)
	if err == nil && c.env.Link {
		m.of(1, 1)
	}
	m.end()
	if err != nil {
		return c.fail("%v", err)
	}
	c.printf("Image committed.\n")
	return exitOK
}

// emptier lets go of everything an image holds itself.
type emptier interface {
	MakeEmpty(ctx context.Context) error
}

func (c *call) commit(ctx context.Context, o *commitOptions, rate int64, m meter) (err error) {
	cache, err := ParseCache("cache", valueOr(o.Cache, "writeback"))
	if err != nil {
		return err
	}
	chain, err := c.openChain(ctx, o, cache)
	if err != nil {
		return err
	}
	top, base := chain.layers[0], chain.base
	defer func() { err = errors.Join(err, top.Close()) }()
	defer func() { err = errors.Join(err, base.Close()) }()
	if base.Size() < top.Size() {
		if err := base.Resize(ctx, top.Size(), engine.ResizeOptions{Exact: true, ReadZero: true}); err != nil {
			return errors.New(Reason(err))
		}
	}
	o2 := convert.Options{
		Sources: []convert.Source{{Ref: top, Len: -1}}, Target: base, Zeroes: convert.ZeroWrite,
		Layered: true, Layers: len(chain.layers), Allocated: true, BackingSize: -1, Tuning: convert.Tuning{Rate: rate, Progress: m.of},
	}
	if _, err := convert.Copy(ctx, o2); err != nil {
		return copyError(err)
	}
	if err := base.Flush(ctx); err != nil {
		return errors.New(Reason(err))
	}
	if o.Drop || o.Base != nil {
		return nil
	}
	e, ok := top.Node().(emptier)
	if !ok {
		return fmt.Errorf("Could not empty %s: Operation not supported", c.args[0]) //nolint:staticcheck // qemu-img's words
	}
	if err := e.MakeEmpty(ctx); err != nil {
		return fmt.Errorf("Could not empty %s: %s", c.args[0], Reason(err)) //nolint:staticcheck // qemu-img's words
	}
	return nil
}

// chain is an image, what is below it down to the one that is written to, and that one.
type chain struct {
	layers []*engine.Ref
	base   *engine.Ref
}

// openChain opens the layers one by one, so that no lock for reading stands in the way of the base's for writing. The chain as a whole
// was opened before: that has applied the policy for names inside images.
func (c *call) openChain(ctx context.Context, o *commitOptions, cache engine.Cache) (ch chain, err error) {
	img := Image{Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts, Probe: c.env.Link}
	whole, err := Open(ctx, c.eng, &Image{Name: img.Name, Format: img.Format, ImageOpts: img.ImageOpts})
	if err != nil {
		return ch, err
	}
	if err := whole.Close(); err != nil {
		return ch, err
	}
	defer func() {
		if err != nil && len(ch.layers) > 0 {
			_ = ch.layers[0].Close()
		}
	}()
	img.Flags = engine.OpenFlags{Write: true, Discard: true, NoBacking: true, Cache: cache}
	for name := img.Name; ; {
		ref, err := Open(ctx, c.eng, &img)
		if err != nil {
			return ch, err
		}
		if n := len(ch.layers); n > 0 {
			ch.layers[n-1].Node().(engine.Backed).SetBacking(ref)
		}
		ch.layers = append(ch.layers, ref)
		backing, format := "", ""
		if b, ok := ref.Node().(engine.Backed); ok {
			backing, format = b.BackingName()
		}
		if backing == "" {
			if o.Base != nil {
				return ch, fmt.Errorf("Did not find '%s' in the backing chain of '%s'", *o.Base, c.args[0]) //nolint:staticcheck // qemu-img's words
			}
			return ch, errors.New("Image does not have a backing file") //nolint:staticcheck // qemu-img's words
		}
		name = engine.ResolveName(name, backing)
		if o.Base == nil || *o.Base == backing || *o.Base == name {
			ch.base, err = Open(ctx, c.eng, &Image{
				Name: name, Format: format, Flags: engine.OpenFlags{Write: true, Discard: true, Cache: cache}, Probe: c.env.Link,
			})
			return ch, err
		}
		img = Image{Name: name, Format: format, Flags: engine.OpenFlags{NoBacking: true}}
	}
}
