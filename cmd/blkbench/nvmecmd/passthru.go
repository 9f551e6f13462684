package nvmecmd

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/blkbench/blkbench/cmd/blkbench/nvmecmd/show"
	"github.com/blkbench/blkbench/nvme"
)

type passthruOptions struct {
	Opcode   uint16 `long:"opcode" short:"o" arg:"NUM" help:"opcode (required)" default:"0x100"`
	Flags    uint8  `long:"flags" short:"f" arg:"NUM" help:"command flags"`
	Prefill  uint8  `long:"prefill" short:"p" arg:"NUM" help:"what the buffers hold before"`
	Reserved uint16 `long:"rsvd" short:"R" arg:"NUM" help:"accepted; the field has no place in a command"`
	NSID     uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace"`
	Len      uint32 `long:"data-len" short:"l" arg:"NUM" help:"bytes of data"`
	MetaLen  uint32 `long:"metadata-len" short:"m" arg:"NUM" help:"bytes of metadata"`
	Timeout  uint32 `long:"timeout" short:"t" arg:"NUM" help:"milliseconds until the command is given up"`
	CDW2     uint32 `long:"cdw2" short:"2" arg:"NUM" help:"command dword 2"`
	CDW3     uint32 `long:"cdw3" short:"3" arg:"NUM" help:"command dword 3"`
	CDW10    uint32 `long:"cdw10" short:"4" arg:"NUM" help:"command dword 10"`
	CDW11    uint32 `long:"cdw11" short:"5" arg:"NUM" help:"command dword 11"`
	CDW12    uint32 `long:"cdw12" short:"6" arg:"NUM" help:"command dword 12"`
	CDW13    uint32 `long:"cdw13" short:"7" arg:"NUM" help:"command dword 13"`
	CDW14    uint32 `long:"cdw14" short:"8" arg:"NUM" help:"command dword 14"`
	CDW15    uint32 `long:"cdw15" short:"9" arg:"NUM" help:"command dword 15"`
	Input    string `long:"input-file" short:"i" arg:"FILE" help:"file with the data, or for it"`
	Metadata string `long:"metadata" short:"M" arg:"FILE" help:"file with the metadata, or for it"`
	Raw      bool   `long:"raw-binary" short:"b" help:"print the data as it is"`
	Show     bool   `long:"show-command" short:"s" help:"print the command before it is sent"`
	Dry      bool   `long:"dry-run" short:"d" help:"print the command instead of sending it"`
	Read     bool   `long:"read" short:"r" help:"data comes from the controller"`
	Write    bool   `long:"write" short:"w" help:"data goes to the controller"`
	Latency  bool   `long:"latency" short:"T" help:"show how long it took"`
	consent
}

func adminPassthru(ctx context.Context, c *call, o *passthruOptions) error {
	return c.passthru(ctx, o, "Admin", show.AdminName(uint8(o.Opcode)), harmlessAdmin[uint8(o.Opcode)],
		func(ctx context.Context, cmd *nvme.Command, data, _ []byte) (nvme.Completion, error) {
			return c.dev.Commands.Admin(ctx, cmd, data)
		})
}

func ioPassthru(ctx context.Context, c *call, o *passthruOptions) error {
	return c.passthru(ctx, o, "IO", show.IOName(uint8(o.Opcode)), harmlessIO[uint8(o.Opcode)], c.dev.Commands.IO)
}

type sendFunc func(ctx context.Context, cmd *nvme.Command, data, meta []byte) (nvme.Completion, error)

func (c *call) passthru(ctx context.Context, o *passthruOptions, kind, name string, harmless bool, send sendFunc) error {
	if o.Opcode > math.MaxUint8 {
		return usagef("an opcode of one byte is required: -o NUM")
	}
	cmd := nvme.Command{
		Opcode: uint8(o.Opcode), Flags: o.Flags, NSID: o.NSID, CDW2: o.CDW2, CDW3: o.CDW3, CDW10: o.CDW10, CDW11: o.CDW11,
		CDW12: o.CDW12, CDW13: o.CDW13, CDW14: o.CDW14, CDW15: o.CDW15,
	}
	if o.Show || o.Dry {
		c.showPassthru(o)
	}
	if o.Dry {
		return nil
	}
	if o.Len > largestTransfer || o.MetaLen > largestTransfer {
		return usagef("data-len too large: at most %d bytes go into a command", largestTransfer)
	}
	direction := cmd.Direction()
	if o.Len > 0 && (o.Read && direction&nvme.ControllerToHost == 0 || o.Write && direction&nvme.HostToController == 0) {
		return usagef("opcode %#02x moves data the other way: its two low bits say so", o.Opcode)
	}
	if !harmless {
		scope := o.NSID
		if scope == 0 {
			scope = everyNamespace
		}
		if err := c.mayDestroy(ctx, o.consent, scope); err != nil {
			return err
		}
	}
	data, meta := bytes.Repeat([]byte{o.Prefill}, int(o.Len)), bytes.Repeat([]byte{o.Prefill}, int(o.MetaLen))
	if direction&nvme.HostToController != 0 {
		// On the standard input the metadata comes first.
		if err := c.fill(o.Metadata, meta); err != nil {
			return err
		}
		if err := c.fill(o.Input, data); err != nil {
			return err
		}
	}
	ctx, cancel := deadline(ctx, o.Timeout)
	defer cancel()
	start := time.Now()
	cp, err := send(ctx, &cmd, data, meta)
	if o.Latency {
		fmt.Fprintf(c.out, "%s Command %s latency: %d us\n", kind, name, time.Since(start).Microseconds())
	}
	if err != nil {
		return err
	}
	c.errorf("%s Command %s is Success and result: 0x%08x", kind, name, cp.DW0)
	if direction&nvme.ControllerToHost == 0 {
		return nil
	}
	return c.received(o, data, meta)
}

// received delivers what came from the controller.
func (c *call) received(o *passthruOptions, data, meta []byte) error {
	if o.Metadata != "" && len(meta) > 0 {
		if err := writeAll(o.Metadata, meta); err != nil {
			return err
		}
	}
	switch {
	case len(data) == 0:
		return nil
	case o.Input != "":
		return writeAll(o.Input, data)
	case o.Raw:
		_, err := c.out.Write(data)
		return err
	}
	show.Hex(c.out, data)
	return nil
}

func (c *call) showPassthru(o *passthruOptions) {
	fmt.Fprintf(c.out, "opcode       : %02x\nflags        : %02x\nrsvd1        : %04x\nnsid         : %08x\n", o.Opcode, o.Flags, o.Reserved, o.NSID)
	for _, d := range []struct {
		name string
		v    uint32
	}{
		{"cdw2", o.CDW2},
		{"cdw3", o.CDW3},
		{"data_len", o.Len},
		{"metadata_len", o.MetaLen},
		{"cdw10", o.CDW10},
		{"cdw11", o.CDW11},
		{"cdw12", o.CDW12},
		{"cdw13", o.CDW13},
		{"cdw14", o.CDW14},
		{"cdw15", o.CDW15},
		{"timeout_ms", o.Timeout},
	} {
		fmt.Fprintf(c.out, "%-12s : %08x\n", d.name, d.v)
	}
}
