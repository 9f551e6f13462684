package nvmecmd

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/blkbench/blkbench/nvme"
)

type fwDownloadOptions struct {
	File     string `long:"fw" short:"f" arg:"FILE" help:"firmware image (required)"`
	Xfer     uint32 `long:"xfer" short:"x" arg:"NUM" help:"bytes of one transfer"`
	Offset   uint32 `long:"offset" short:"o" arg:"NUM" help:"dword of the image to start from"`
	Progress bool   `long:"progress" short:"p" help:"show the progress"`
	Ignore   bool   `long:"ignore-ovr" short:"i" help:"go on after an overlapping range"`
}

// statusOverlap is the status of a piece of an image that came before. NVMe Base 2.0d §5.12, figure 182
const statusOverlap nvme.Status = 0x114

// fwDownload is Firmware Image Download. NVMe Base 2.0d §5.12
func fwDownload(ctx context.Context, c *call, o *fwDownloadOptions) error {
	if o.File == "" {
		return usagef("a firmware file is required: -f FILE")
	}
	image, err := os.ReadFile(o.File)
	if err != nil {
		return err
	}
	if len(image) == 0 || len(image)%4 != 0 {
		return fmt.Errorf("Invalid size:%d for f/w image: want a multiple of 4", len(image)) //nolint:revive,staticcheck // nvme-cli's words
	}
	const piece = 4096
	// FWUG is the granularity of offset and length in 4 KiB, 0xff for none. NVMe Base 2.0d §5.17.2.1, figure 275
	xfer := int(o.Xfer) / piece * piece
	if xfer == 0 {
		xfer = piece
		if id, err := c.identify(ctx); err == nil && id.FWUG != 0 && id.FWUG != 0xff {
			xfer *= int(id.FWUG)
		}
	}
	for off := int(o.Offset) * 4; off < len(image); off += xfer {
		part := image[off:min(off+xfer, len(image))]
		cmd := nvme.Command{Opcode: nvme.OpFirmwareDownload, CDW10: uint32(len(part)/4 - 1), CDW11: uint32(off / 4)}
		_, err := c.dev.Commands.Admin(ctx, &cmd, part)
		status, ok := errors.AsType[*nvme.StatusError](err)
		if err != nil && (!ok || !o.Ignore || statusOf(status) != statusOverlap) {
			return fmt.Errorf("firmware at byte %d: %w", off, err)
		}
		if o.Progress {
			c.errorf("Firmware download: transferring %#x/%#x bytes: %.2f%%", off+len(part), len(image), 100*float64(off+len(part))/float64(len(image)))
		}
	}
	fmt.Fprintln(c.out, "Firmware download success")
	return nil
}

type fwCommitOptions struct {
	Slot   uint8 `long:"slot" short:"s" arg:"NUM" help:"slot 1 to 7, 0 for the controller's choice"`
	Action uint8 `long:"action" short:"a" arg:"NUM" help:"0 replace, 1 replace and activate at the next reset, 2 activate at the next reset, 3 activate now"`
	BPID   uint8 `long:"bpid" short:"b" arg:"NUM" help:"boot partition"`
}

// Statuses of a commit that was done and needs a reset. NVMe Base 2.0d §5.11, figure 178
var needsReset = map[nvme.Status]string{
	0x10b: "conventional reset", 0x110: "NVM subsystem reset", 0x111: "Controller Level Reset",
}

// fwCommit is Firmware Commit. NVMe Base 2.0d §5.11
func fwCommit(ctx context.Context, c *call, o *fwCommitOptions) error {
	switch {
	case o.Slot > 7:
		return usagef("invalid slot:%d", o.Slot)
	case o.Action > 7 || o.Action == 4 || o.Action == 5:
		return usagef("invalid action:%d", o.Action)
	case o.BPID > 1:
		return usagef("invalid boot partition id:%d", o.BPID)
	}
	cmd := nvme.Command{Opcode: nvme.OpFirmwareCommit, CDW10: uint32(o.BPID)<<31 | uint32(o.Action)<<3 | uint32(o.Slot)}
	cp, err := c.dev.Commands.Admin(ctx, &cmd, nil)
	reset := ""
	if status, ok := errors.AsType[*nvme.StatusError](err); ok {
		reset = needsReset[status.Status.Code()]
	}
	if err != nil && reset == "" {
		return err
	}
	fmt.Fprintf(c.out, "Success committing firmware action:%d slot:%d", o.Action, o.Slot)
	if reset != "" {
		fmt.Fprintf(c.out, ", but firmware requires %s", reset)
	}
	fmt.Fprintf(c.out, "\nMultiple Update Detected (MUD) Value: %d\n", cp.DW0)
	return nil
}
