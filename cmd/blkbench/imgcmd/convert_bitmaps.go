package imgcmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/formats/qcow2"
)

func asQcow2(ref *engine.Ref) *qcow2.Image {
	m, _ := ref.Node().(*qcow2.Image)
	return m
}

// checkBitmaps looks whether the source's bitmaps can be copied.
func (x *conversion) checkBitmaps() error {
	if len(x.sources) > 1 {
		return errors.New("Copying bitmaps only possible with single source") //nolint:staticcheck // qemu-img's words
	}
	src := asQcow2(x.first)
	if src == nil {
		return errors.New("Source lacks bitmap support") //nolint:staticcheck // qemu-img's words
	}
	for _, b := range src.Bitmaps() {
		if b.Inconsistent && !x.o.SkipBroken {
			return hintError{
				fmt.Errorf("Cannot copy inconsistent bitmap '%s'", b.Name), //nolint:staticcheck // qemu-img's words
				"Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove'\n",
			}
		}
	}
	return nil
}

// copyBitmaps makes the source's bitmaps in the target and fills them.
func (x *conversion) copyBitmaps(ctx context.Context) error {
	src, dst := asQcow2(x.first), asQcow2(x.target)
	for _, b := range src.Bitmaps() {
		if b.Inconsistent {
			x.warnf("Skipping inconsistent bitmap '%s'", b.Name)
			continue
		}
		if err := dst.AddBitmap(ctx, b.Name, b.Granularity, true); err != nil {
			return fmt.Errorf("Failed to create bitmap %s: %s", b.Name, Reason(err)) //nolint:staticcheck // qemu-img's words
		}
		if err := dst.MergeBitmap(ctx, b.Name, src, b.Name); err != nil {
			return fmt.Errorf("Failed to populate bitmap %s: %s", b.Name, Reason(err)) //nolint:staticcheck // qemu-img's words
		}
		if b.Enabled {
			if err := dst.EnableBitmap(ctx, b.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
