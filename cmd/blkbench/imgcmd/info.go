package imgcmd

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

type infoOptions struct {
	helpOption
	Format *string `long:"format" short:"f" arg:"FORMAT" help:"format of the image; probed where absent"`
	Output *string `long:"output" arg:"human|json" help:"what to print"`
	Chain  bool    `long:"backing-chain" help:"the backing files too"`
	objectOption
	imageOption
	shareOption
}

func infoVerb() command {
	return define("info", "FILENAME", "prints what an image is: format, sizes, backing file, snapshots, bitmaps",
		"Nothing but metadata is read. With --backing-chain every image of the chain is described.", info)
}

func info(ctx context.Context, c *call, o *infoOptions) int {
	_, ok := c.outputJSON(o.Output)
	if !ok {
		return exitFailed
	}
	if len(c.args) != 1 {
		return c.tryHelp("Expecting one image file name")
	}
	ref, ok := c.openImage(ctx, &Image{
		Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts, Flags: engine.OpenFlags{NoBacking: true, NoIO: true, ForceShare: o.ForceShare},
	})
	if !ok {
		return exitFailed
	}
	c.printf("image: %s\nfile format: %s\nvirtual size: %s (%d bytes)\n", c.args[0], ref.Info().Driver, humanSize(ref.Size()), ref.Size())
	return c.close(ref)
}

// close closes an image and returns the exit code.
func (c *call) close(ref *engine.Ref) int {
	if err := ref.Close(); err != nil {
		return c.fail("%v", err)
	}
	return exitOK
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
