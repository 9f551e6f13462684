package nvmecmd

import (
	"context"
	"fmt"
	"os"

	"github.com/blkbench/blkbench/nvme"
)

type telemetryOptions struct {
	File       string `long:"output-file" short:"o" arg:"FILE" help:"where to write the log, header included (required)"`
	Generate   uint32 `long:"host-generate" short:"g" arg:"NUM" help:"have the controller capture its state now: 1, or 0 to read the last capture" default:"1"`
	Controller bool   `long:"controller-init" short:"c" help:"the capture that the controller itself began"`
	Area       uint8  `long:"data-area" short:"d" arg:"NUM" help:"data areas 1 to this one: 1, 2, 3 or 4" default:"3"`
}

// telemetryLog writes a telemetry log to a file. NVMe Base 2.0d §8.24
func telemetryLog(ctx context.Context, c *call, o *telemetryOptions) error {
	switch {
	case o.File == "":
		return usagef("Please provide an output file!")
	case o.Area < 1 || o.Area > 4:
		return usagef("Invalid data area parameter - %d", o.Area)
	case o.Generate > 1:
		return usagef("Invalid host-generate parameter - %d", o.Generate)
	}
	lid, capture := uint8(nvme.LIDTelemetryHost), o.Generate<<8
	if o.Controller {
		lid, capture = nvme.LIDTelemetryCtrl, 0
	}
	cmd := nvme.GetLogPage(lid, 0, nvme.TelemetryBlock, 0)
	cmd.CDW10 |= capture
	if o.Controller {
		cmd.CDW10 |= retainEvent // the event is over when all was read
	}
	head := make([]byte, nvme.TelemetryBlock)
	if _, err := c.dev.Commands.Admin(ctx, &cmd, head); err != nil {
		return fmt.Errorf("telemetry header: %w", err)
	}
	h, err := nvme.ParseTelemetryHeader(head)
	if err != nil {
		return err
	}
	size := h.Size(int(o.Area))
	if size <= nvme.TelemetryBlock {
		return fmt.Errorf("the log has no data in areas 1 to %d", o.Area)
	}
	f, err := os.Create(o.File)
	if err != nil {
		return err
	}
	if err := c.copyTelemetry(ctx, lid, size, f); err != nil {
		f.Close()
		os.Remove(o.File)
		return err
	}
	return f.Close()
}

// copyTelemetry reads the log in pieces; all but the last leave the event pending.
func (c *call) copyTelemetry(ctx context.Context, lid uint8, size int64, f *os.File) error {
	const piece = 4096
	b := make([]byte, piece)
	for off := int64(0); off < size; off += piece {
		part := b[:min(piece, size-off)]
		cmd := nvme.GetLogPage(lid, 0, len(part), uint64(off))
		if off+piece < size {
			cmd.CDW10 |= retainEvent
		}
		if _, err := c.dev.Commands.Admin(ctx, &cmd, part); err != nil {
			return fmt.Errorf("telemetry log at %d: %w", off, err)
		}
		if _, err := f.Write(part); err != nil {
			return err
		}
	}
	return nil
}
