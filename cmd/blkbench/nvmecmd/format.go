package nvmecmd

import (
	"context"
	"fmt"

	"github.com/blkbench/blkbench/nvme"
)

type formatOptions struct {
	NSID    uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace; 0xffffffff for all"`
	Timeout uint32 `long:"timeout" short:"t" arg:"NUM" help:"milliseconds until the command is given up" default:"600000"`
	LBAF    uint8  `long:"lbaf" short:"l" arg:"NUM" help:"LBA format; the present one otherwise" default:"0xff"`
	SES     uint8  `long:"ses" short:"s" arg:"NUM" help:"secure erase: 0 none, 1 user data, 2 cryptographic"`
	PI      uint8  `long:"pi" short:"i" arg:"NUM" help:"protection information: 0 off, or type 1 to 3" default:"0xff"`
	PIL     uint8  `long:"pil" short:"p" arg:"NUM" help:"where it lies in the metadata: 0 last 8 bytes, 1 first" default:"0xff"`
	MS      uint8  `long:"ms" short:"m" arg:"NUM" help:"metadata: 0 in a buffer of its own, 1 behind each block" default:"0xff"`
	Reset   bool   `long:"reset" short:"r" help:"reset the controller afterwards"`
	Force   bool   `long:"force" help:"accepted; the serial number is asked for all the same"`
	Block   uint64 `long:"block-size" short:"b" arg:"IONUM" kind:"size" help:"take the LBA format with blocks of this size and no metadata"`
	consent
}

const unset = 0xff

// FNA: format applies to all namespaces, secure erase does. NVMe Base 2.0d §5.17.2.1, figure 275
const (
	fnaFormatAll = 1 << 0
	fnaEraseAll  = 1 << 1
)

func format(ctx context.Context, c *call, o *formatOptions) error {
	id, err := c.identify(ctx)
	if err != nil {
		return err
	}
	nsid := o.NSID
	if nsid == 0 {
		nsid = c.dev.NSID
	}
	if nsid == 0 {
		return usagef("Invalid namespace ID, specify a namespace to format or use '-n 0xffffffff' to format all namespaces on this controller.")
	}
	if err := o.choose(ctx, c, nsid); err != nil {
		return err
	}
	switch {
	case o.SES > 2:
		return usagef("invalid secure erase settings:%d", o.SES)
	case o.LBAF > 63:
		return usagef("invalid lbaf:%d", o.LBAF)
	case o.PI > 3:
		return usagef("invalid pi:%d", o.PI)
	case o.PIL > 1:
		return usagef("invalid pil:%d", o.PIL)
	case o.MS > 1:
		return usagef("invalid ms:%d", o.MS)
	}
	scope := nsid
	if id.FNA&fnaFormatAll != 0 || o.SES != 0 && id.FNA&fnaEraseAll != 0 {
		scope = everyNamespace
	}
	if err := c.mayDestroy(ctx, o.consent, scope); err != nil {
		return err
	}
	if err := c.sendFormat(ctx, o, nsid); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "Success formatting namespace:%x\n", nsid)
	if o.Reset {
		return c.resetController(ctx)
	}
	return nil
}

// choose fills in what was not given from the namespace as it is.
func (o *formatOptions) choose(ctx context.Context, c *call, nsid uint32) error {
	def := func(p *uint8, v uint8) {
		if *p == unset {
			*p = v
		}
	}
	if nsid == everyNamespace {
		def(&o.LBAF, 0)
		def(&o.PI, 0)
		def(&o.PIL, 0)
		def(&o.MS, 0)
		return nil
	}
	ns, err := c.identifyNS(ctx, nsid)
	if err != nil {
		return err
	}
	if o.Block != 0 {
		if o.LBAF != unset {
			return usagef("You can specify only one of lbaf or block size")
		}
		i, err := formatOfSize(ns, o.Block)
		if err != nil {
			return err
		}
		o.LBAF = uint8(i)
	}
	def(&o.LBAF, uint8(ns.FormatIndex()))
	def(&o.PI, ns.ProtectionType())
	def(&o.PIL, ns.DPS>>3&1)
	def(&o.MS, ns.FLBAS>>4&1)
	return nil
}

// formatOfSize is the LBA format with blocks of a size and no metadata.
func formatOfSize(ns *nvme.IdentifyNamespace, size uint64) (int, error) {
	for i, f := range ns.LBAF[:min(int(ns.NLBAF)+1, len(ns.LBAF))] {
		if uint64(f.DataSize()) == size && f.MS == 0 {
			return i, nil
		}
	}
	return 0, usagef("LBAF corresponding to given block size %d not found; id-ns lists the formats", size)
}

// sendFormat is Format NVM. NVMe Base 2.0d §5.14, figure 188
func (c *call) sendFormat(ctx context.Context, o *formatOptions, nsid uint32) error {
	ctx, cancel := deadline(ctx, o.Timeout)
	defer cancel()
	lbaf := uint32(o.LBAF)
	cmd := nvme.Command{
		Opcode: nvme.OpFormatNVM, NSID: nsid,
		CDW10: lbaf&0xf | uint32(o.MS)<<4 | uint32(o.PI)<<5 | uint32(o.PIL)<<8 | uint32(o.SES)<<9 | lbaf>>4<<12,
	}
	if _, err := c.dev.Commands.Admin(ctx, &cmd, nil); err != nil {
		return err
	}
	if c.dev.Kernel != nil {
		// The kernel notices a new block size by itself; if not, its block device is stale until the next scan.
		return c.rescan()
	}
	return nil
}

// rescan makes the kernel look at its namespaces again. It is a help: a kernel that cannot has noticed already.
func (c *call) rescan() error {
	k, err := nvme.OpenKernel("/dev/" + controllerName(c.dev.Label))
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	defer k.Close()
	_ = k.Rescan() // see above
	return nil
}

type resetOptions struct{}

func reset(ctx context.Context, c *call, _ *resetOptions) error { return c.resetController(ctx) }

func (c *call) resetController(ctx context.Context) error {
	switch {
	case c.dev.Controller != nil:
		return c.dev.Controller.Reset(ctx)
	case c.dev.Kernel != nil:
		if c.dev.NSID == 0 {
			return c.dev.Kernel.Reset()
		}
		k, err := nvme.OpenKernel("/dev/" + controllerName(c.dev.Label))
		if err != nil {
			return err
		}
		defer k.Close()
		return k.Reset()
	}
	return fmt.Errorf("%s has no reset", c.dev.Label)
}
