package imgcmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/blkbench/blkbench/engine"
)

type resizeFlags struct {
	helpOption
	Format        *string `short:"f" arg:"FORMAT" help:"format of the image; to be given under our own name"`
	Preallocation *string `long:"preallocation" arg:"MODE" help:"how space is provided for what is added: off, metadata, falloc, full"`
	Shrink        bool    `long:"shrink" help:"allow the image to become smaller: what lies beyond the new end is lost"`
	quietOption
	objectOption
	imageOption
}

func resizeVerb() command {
	return defineRow(command{
		name: "resize", usage: "FILENAME [+|-]SIZE", summary: "changes the virtual size of an image", tail: true,
		long: "SIZE comes last: bytes or with a suffix (20G), or a difference (+5G, -512M). What is added reads as zeroes.",
	}, resize)
}

func resize(ctx context.Context, c *call, o *resizeFlags) int {
	prealloc := engine.PreallocOff
	if o.Preallocation != nil {
		prealloc = engine.Prealloc(*o.Preallocation)
		known := []engine.Prealloc{engine.PreallocOff, engine.PreallocMetadata, engine.PreallocFalloc, engine.PreallocFull}
		if !slices.Contains(known, prealloc) {
			return c.fail("Invalid preallocation mode '%s'", prealloc)
		}
	}
	if len(c.args) != 1 {
		return c.tryHelp("Expecting image file name and size")
	}
	text, sign := c.last, int64(0)
	switch {
	case strings.HasPrefix(text, "+"):
		text, sign = text[1:], 1
	case strings.HasPrefix(text, "-"):
		text, sign = text[1:], -1
	}
	n, hexSuffix, err := parseSize(text)
	if hexSuffix {
		c.warnf("Using a multiplier suffix on hex numbers is deprecated: %s", text)
	}
	if err != nil {
		c.errorf("Parameter 'size' expects a non-negative number below 2^64")
		fmt.Fprint(c.env.Stderr, sizeHint)
		return exitFailed
	}
	ref, ok := c.openImage(ctx, &Image{Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts, Flags: engine.OpenFlags{Write: true}})
	if !ok {
		return exitFailed
	}
	total := int64(n)
	if sign != 0 {
		total = ref.Size() + sign*int64(n)
	}
	err = c.resize(ctx, ref, total, prealloc, o.Shrink)
	if cerr := ref.Close(); err == nil && cerr != nil {
		err = errors.New(Reason(cerr))
	}
	if err != nil {
		if _, said := errors.AsType[silentError](err); !said {
			c.errorf("%v", err)
		}
		return exitFailed
	}
	c.printf("Image resized.\n")
	return exitOK
}

// silentError is a failure that has been reported.
type silentError struct{ error }

func (c *call) resize(ctx context.Context, ref *engine.Ref, total int64, prealloc engine.Prealloc, shrink bool) error {
	now := virtualSize(ref)
	switch {
	case total <= 0:
		return errors.New("New image size must be positive") //nolint:staticcheck // qemu-img's words
	case total <= now && prealloc != engine.PreallocOff:
		return errors.New("Preallocation can only be used for growing images") //nolint:staticcheck // qemu-img's words
	case total < now && !shrink:
		c.errorf("Use the --shrink option to perform a shrink operation.")
		c.warnf("Shrinking an image will delete all data beyond the shrunken image's end. " +
			"Before performing such an operation, make sure there is no important data there.")
		return silentError{errNoShrink}
	}
	err := ref.Resize(ctx, total, engine.ResizeOptions{Prealloc: prealloc, Exact: true})
	switch {
	case err == nil:
		return ref.Flush(ctx)
	case prealloc == engine.PreallocMetadata && ref.Info().Driver == "raw":
		return errors.New("Unsupported preallocation mode: metadata") //nolint:staticcheck // QEMU's words
	}
	return errors.New(Reason(err))
}

var errNoShrink = errors.New("shrinking wants --shrink")
