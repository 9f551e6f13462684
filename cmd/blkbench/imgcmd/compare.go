package imgcmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/convert"
)

// Exit codes of compare besides 0 and those of a wrong command line.
const (
	compareDiffers = 1
	compareFailed  = 2 // an image could not be opened or read
)

type compareOptions struct {
	helpOption
	Format       *string `short:"f" arg:"FORMAT" help:"format of the first image"`
	SecondFormat *string `short:"F" arg:"FORMAT" help:"format of the second image"`
	Cache        *string `short:"T" arg:"CACHE" help:"cache mode of both"`
	Strict       bool    `short:"s" help:"sizes and allocation have to be the same too"`
	progressOption
	quietOption
	objectOption
	imageOption
	shareOption
}

func compareVerb() command {
	cmd := define("compare", "FILENAME1 FILENAME2", "compares the content of two images",
		"The exit code is 0 when they are the same, 1 when they are not, 2 and more when something failed. Where one is longer, the rest of it "+
			"has to be zeroes.", compare)
	return cmd
}

func compare(ctx context.Context, c *call, o *compareOptions) int {
	if len(c.args) != 2 {
		return c.tryHelp("Expecting two image file names")
	}
	failed := func(err error) int {
		c.errorf("%v", err)
		return compareFailed
	}
	m, ok := c.meter(&o.progressOption, 2)
	if !ok {
		return compareFailed
	}
	defer m.end()
	flags := engine.OpenFlags{ForceShare: o.ForceShare}
	if o.Cache != nil {
		var err error
		if flags.Cache, err = ParseCache("source cache", *o.Cache); err != nil {
			return failed(err)
		}
	}
	var refs [2]*engine.Ref
	for i, format := range []*string{o.Format, o.SecondFormat} {
		ref, err := Open(ctx, c.eng, &Image{Name: c.args[i], Format: deref(format), ImageOpts: o.ImageOpts, Flags: flags})
		if err != nil {
			return failed(err)
		}
		defer ref.Close()
		refs[i] = ref
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	code, err := c.compare(ctx, refs[0], refs[1], o.Strict, m)
	if err != nil {
		return failed(err)
	}
	return code
}

func (c *call) compare(ctx context.Context, a, b *engine.Ref, strict bool, m meter) (int, error) {
	common := min(a.Size(), b.Size())
	differ := a.Size() != b.Size()
	if strict && differ {
		c.printf("Strict mode: Image size mismatch!\n")
		return compareDiffers, nil
	}
	d, _, err := convert.Compare(ctx, convert.CompareOptions{A: a, B: b, Strict: strict, Tuning: convert.Tuning{Progress: m.of}})
	if err != nil {
		return 0, c.compareError(err)
	}
	if differ && (!d.Found || d.Off >= common) {
		c.printf("Warning: Image size mismatch!\n")
	}
	switch {
	case d.Found && d.Status:
		c.printf("Strict mode: Offset %d block status mismatch!\n", d.Off)
	case d.Found:
		c.printf("Content mismatch at offset %d!\n", d.Off)
	default:
		c.printf("Images are identical.\n")
		return exitOK, nil
	}
	return compareDiffers, nil
}

func (c *call) compareError(err error) error {
	e, ok := errors.AsType[*convert.Error](err)
	if !ok {
		return err
	}
	if e.Phase == convert.Mapping {
		return fmt.Errorf("Sector allocation test failed for %s: %s", c.args[e.Side], Reason(e.Err)) //nolint:staticcheck // qemu-img's words
	}
	return fmt.Errorf("Error while reading offset %d of %s: %s", e.Off, c.args[e.Side], Reason(e.Err)) //nolint:staticcheck // qemu-img's words
}
