package nvmecmd

import (
	"context"
	"fmt"

	"github.com/blkbench/blkbench/cmd/blkbench/nvmecmd/show"
	"github.com/blkbench/blkbench/nvme"
)

// output is how a structure is printed.
type output struct {
	Format string `long:"output-format" short:"o" arg:"FMT" help:"output format: normal|json|binary" default:"normal"`
	Raw    bool   `long:"raw-binary" short:"b" help:"print the structure as it is"`
}

// print prints in the format that was asked for: raw bytes, an object, or text.
func (c *call) print(o output, raw []byte, object func() any, text func()) error {
	switch {
	case o.Raw, o.Format == "binary":
		_, err := c.out.Write(raw)
		return err
	case o.Format == "json":
		return show.JSON(c.out, object())
	case o.Format == "normal":
		text()
		return nil
	}
	return usagef("output format '%s': want normal, json or binary", o.Format)
}

type idCtrlOptions struct {
	Vendor bool `long:"vendor-specific" short:"v" help:"dump the vendor specific bytes"`
	output
	Human bool `long:"human-readable" short:"H" help:"explain every field"`
}

func idCtrl(ctx context.Context, c *call, o *idCtrlOptions) error {
	id, err := c.identify(ctx)
	if err != nil {
		return err
	}
	return c.print(o.output, id.Raw, func() any { return show.ControllerJSON(id) }, func() { show.Controller(c.out, id, o.Human, o.Vendor) })
}

type idNSOptions struct {
	NSID   uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace"`
	Force  bool   `long:"force" help:"a namespace that is allocated and not attached as well"`
	Vendor bool   `long:"vendor-specific" short:"v" help:"dump the vendor specific bytes"`
	output
	Human bool `long:"human-readable" short:"H" help:"explain every field"`
}

func idNS(ctx context.Context, c *call, o *idNSOptions) error {
	nsid, err := c.namespace(o.NSID)
	if err != nil {
		return err
	}
	cns := uint8(nvme.CNSNamespace)
	if o.Force {
		cns = nvme.CNSAllocatedNS
	}
	b, err := nvme.IdentifyData(ctx, c.dev.Commands, cns, nsid, 0)
	if err != nil {
		return err
	}
	n, err := nvme.ParseIdentifyNamespace(b)
	if err != nil {
		return err
	}
	return c.print(o.output, n.Raw, func() any { return show.NamespaceJSON(n) }, func() { show.Namespace(c.out, nsid, n, o.Human, o.Vendor) })
}

type listNSOptions struct {
	NSID   uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"the first namespace of the list" default:"1"`
	CSI    string `long:"csi" short:"y" arg:"NUM" help:"I/O command set"`
	All    bool   `long:"all" short:"a" help:"namespaces that are allocated, attached or not"`
	Format string `long:"output-format" short:"o" arg:"FMT" help:"output format: normal|json" default:"normal"`
}

// Identify values for the namespaces of one command set. NVMe Base 2.0d §5.17, figure 274
const (
	cnsActiveOfSet    = 0x07
	cnsAllocatedOfSet = 0x1a
)

func listNS(ctx context.Context, c *call, o *listNSOptions) error {
	if o.NSID == 0 {
		return usagef("invalid nsid parameter")
	}
	cns := uint8(nvme.CNSActiveNamespaces)
	if o.All {
		cns = nvme.CNSAllocatedList
	}
	cmd := nvme.Identify(cns, o.NSID-1, 0)
	if o.CSI != "" {
		csi, err := parseByte("csi", o.CSI)
		if err != nil {
			return err
		}
		cns = cnsActiveOfSet
		if o.All {
			cns = cnsAllocatedOfSet
		}
		cmd = nvme.Identify(cns, o.NSID-1, 0)
		cmd.CDW11 = uint32(csi) << 24
	}
	b := make([]byte, nvme.IdentifySize)
	if _, err := c.dev.Commands.Admin(ctx, &cmd, b); err != nil {
		return fmt.Errorf("identify %#02x: %w", cns, err)
	}
	ids := nvme.ParseNamespaceList(b)
	return c.print(output{Format: o.Format}, b, func() any { return show.NamespaceListJSON(ids) }, func() { show.NamespaceList(c.out, ids) })
}
