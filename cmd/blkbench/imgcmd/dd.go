package imgcmd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/convert"
)

type ddOptions struct {
	helpOption
	Format    *string `short:"f" arg:"FORMAT" help:"format of the input"`
	OutFormat *string `short:"O" arg:"FORMAT" help:"format of the output; raw where absent"`
	objectOption
	imageOption
	shareOption
}

func ddVerb() command {
	return define("dd", "if=INPUT of=OUTPUT [bs=BLOCK_SIZE] [count=BLOCKS] [skip=BLOCKS]", "copies a part of an image into a new one",
		"The output is made anew, as large as what is copied.", dd)
}

// ddOperands are what follows the options.
type ddOperands struct {
	in, out         string
	bs, count, skip int64
	haveIn, haveOut bool
	counted         bool
}

func (c *call) ddOperands() (d ddOperands, ok bool) {
	d.bs = 512
	for _, arg := range c.args {
		key, value, given := strings.Cut(arg, "=")
		if !given {
			c.errorf("unrecognized operand %s", arg)
			return d, false
		}
		ok := true
		switch key {
		case "if":
			d.in, d.haveIn = value, true
		case "of":
			d.out, d.haveOut = value, true
		case "bs":
			d.bs, ok = c.numberIn("bs", value, 1, math.MaxInt32)
		case "count":
			d.count, ok = c.number("count", value)
			d.counted = true
		case "skip":
			d.skip, ok = c.number("skip", value)
		default:
			c.errorf("unrecognized operand %s", key)
			return d, false
		}
		if !ok {
			return d, false
		}
	}
	if !d.haveIn || !d.haveOut {
		c.errorf("Must specify both input and output files")
		return d, false
	}
	return d, true
}

func dd(ctx context.Context, c *call, o *ddOptions) int {
	d, ok := c.ddOperands()
	if !ok {
		return exitFailed
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	if err := c.dd(ctx, o, &d); err != nil {
		return c.fail("%v", err)
	}
	return exitOK
}

func (c *call) dd(ctx context.Context, o *ddOptions, d *ddOperands) (err error) {
	src, err := Open(ctx, c.eng, &Image{
		Name: d.in, Format: deref(o.Format), ImageOpts: o.ImageOpts, Flags: engine.OpenFlags{ForceShare: o.ForceShare}, Probe: c.env.Link,
	})
	if err != nil {
		return err
	}
	defer src.Close()
	format := valueOr(o.OutFormat, "raw")
	driver, err := c.eng.Registry.Lookup(format)
	if err != nil {
		return errors.New("Unknown file format") //nolint:staticcheck // qemu-img's words
	}
	if !driver.CanCreate() {
		return fmt.Errorf("Format driver '%s' does not support image creation", format) //nolint:staticcheck // qemu-img's words
	}
	// As in QEMU, count is measured from the start of the input.
	end := src.Size()
	if d.counted && d.count <= math.MaxInt64/d.bs {
		end = min(end, d.count*d.bs)
	}
	from, past := end, d.skip > end/d.bs
	if !past {
		from = d.skip * d.bs
	}
	size := end - from
	img := &NewImage{Name: d.out, Format: format, Size: size}
	made, err := c.newTarget(ctx, d.out)
	wrap := func(err error) error { return fmt.Errorf("%s: error while creating output image: %w", d.out, err) }
	if err != nil {
		return wrap(errors.New(openReason(err)))
	}
	defer made.abandon()
	_, protocol, err := c.target(d.out)
	if err != nil {
		return wrap(err)
	}
	tree, err := img.list.tree()
	if err != nil {
		return wrap(err)
	}
	if err := made.create(ctx, img, createOptions(driver, protocol), tree); err != nil {
		return wrap(err)
	}
	if past {
		c.errorf("%s: cannot skip to specified offset", d.in)
		return made.finish()
	}
	target, err := Open(ctx, c.eng, &Image{Name: made.at, Format: format, Flags: engine.OpenFlags{Write: true}, Probe: c.env.Link})
	if err != nil {
		return err
	}
	defer target.Close()
	_, err = convert.Copy(ctx, convert.Options{
		Sources: []convert.Source{{Ref: src, Off: from, Len: size}}, Target: target, Sparse: 4096,
		InOrder: c.env.Link,
	})
	if err != nil {
		return copyError(err)
	}
	if err := errors.Join(target.Flush(ctx), target.Close()); err != nil {
		return fmt.Errorf("%s: %s", d.out, Reason(err))
	}
	return made.finish()
}
