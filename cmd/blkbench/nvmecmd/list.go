package nvmecmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/cmd/blkbench/nvmecmd/show"
	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/vfio/pci"
)

type listOptions struct {
	Format  string `long:"output-format" short:"o" arg:"FMT" help:"output format: normal|json" default:"normal"`
	Verbose bool   `long:"verbose" short:"v" help:"subsystems and controllers as well"`
}

// list shows every controller of the machine, or those that the operands name: vfio-user servers are found by name only.
func list(ctx context.Context, c *call, o *listOptions) error {
	var found []show.ListedController
	if len(c.args) > 0 {
		for _, name := range c.args {
			if err := c.with(ctx, name, func() error { return c.look(ctx, &found) }); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	} else if err := c.lookAround(ctx, &found); err != nil {
		return err
	}
	object := func() any {
		if o.Verbose {
			return show.VerboseListJSON(hostNQN(c.env.Bus), found)
		}
		return show.ListJSON(found)
	}
	return c.print(output{Format: o.Format}, nil, object, func() {
		if o.Verbose {
			show.VerboseList(c.out, found)
			return
		}
		show.List(c.out, found)
	})
}

// lookAround finds the kernel's controllers in sysfs and those of vfio-pci on the bus. What cannot be opened is said,
// and left out.
func (c *call) lookAround(ctx context.Context, found *[]show.ListedController) error {
	entries, err := filepath.Glob(filepath.Join(c.env.Bus.Root, "/sys/class/nvme/nvme*"))
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b string) int { return number(a) - number(b) })
	for _, e := range entries {
		name := filepath.Base(e)
		if err := c.with(ctx, "/dev/"+name, func() error { return c.look(ctx, found) }); err != nil {
			c.errorf("%s: %v", name, err)
		}
	}
	functions, err := c.env.Bus.List(pci.ClassNVMe)
	if err != nil {
		return err
	}
	for _, f := range functions {
		switch f.Driver {
		case "vfio-pci":
			if err := c.with(ctx, f.Address, func() error { return c.look(ctx, found) }); err != nil {
				c.errorf("%v", err)
			}
		case "":
			c.errorf("%s: no driver has it; run: blkbench nvme bind %s", f.Address, f.Address)
		}
	}
	return nil
}

// number is the first number in a name's last element.
func number(path string) int {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, filepath.Base(path))
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// look describes the open device with its namespaces, or with the one that it names.
func (c *call) look(ctx context.Context, found *[]show.ListedController) error {
	id, err := c.identify(ctx)
	if err != nil {
		return err
	}
	d := c.dev
	ctrl := show.ListedController{
		Name: d.Label, Serial: id.SN, Model: id.MN, Firmware: id.FR, SubsystemNQN: id.SUBNQN, Address: d.Label, Transport: "pcie",
	}
	if d.Kernel != nil {
		c.kernelFacts(&ctrl)
	}
	ids := []uint32{d.NSID}
	if d.NSID == 0 {
		if ids, err = nvme.ActiveNamespaces(ctx, d.Commands); err != nil {
			return err
		}
	}
	for _, nsid := range ids {
		ns, err := c.identifyNS(ctx, nsid)
		if err != nil {
			return err
		}
		if ns.NSZE == 0 {
			return fmt.Errorf("namespace %d: %w", nsid, nvme.ErrNoNamespace)
		}
		ctrl.Namespaces = append(ctrl.Namespaces, d.describe(ctrl.Name, nsid, ns))
	}
	*found = append(*found, ctrl)
	return nil
}

// describe is a namespace's row. A name of ours is what the other verbs take.
func (d *Device) describe(controller string, nsid uint32, ns *nvme.IdentifyNamespace) show.ListedNamespace {
	n := show.ListedNamespace{
		NSID: nsid, Blocks: ns.NSZE, Used: ns.NUSE, BlockSize: uint64(ns.Format().DataSize()), MetadataSize: ns.Format().MS,
		Controller: controller,
	}
	switch {
	case d.Kernel != nil:
		n.Name = fmt.Sprintf("%sn%d", controller, d.instance(nsid))
		n.Path = "/dev/" + n.Name
		n.Generic = "/dev/" + strings.Replace(n.Name, "nvme", "ng", 1)
	case strings.HasPrefix(d.Label, "/"):
		n.Path = fmt.Sprintf("nvme+vfio-user://%s/%d", d.Label, nsid)
		n.Name = n.Path
	default:
		n.Path = fmt.Sprintf("nvme://%s/%d", d.Label, nsid)
		n.Name = n.Path
	}
	return n
}

// instance is the number in the name of the kernel's block device, which need not be the namespace's.
func (d *Device) instance(nsid uint32) int {
	prefix := controllerName(d.Label) + "n"
	disks, err := filepath.Glob(filepath.Join(d.bus.Root, "/sys/block", prefix+"*"))
	if err != nil {
		return int(nsid)
	}
	for _, disk := range disks {
		text, err := os.ReadFile(filepath.Join(disk, "nsid"))
		if err == nil && strings.TrimSpace(string(text)) == strconv.FormatUint(uint64(nsid), 10) {
			n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(disk), prefix))
			if err == nil {
				return n
			}
		}
	}
	return int(nsid)
}

// kernelFacts adds what only sysfs knows.
func (c *call) kernelFacts(ctrl *show.ListedController) {
	ctrl.Name = controllerName(c.dev.Label)
	dir := filepath.Join(c.env.Bus.Root, "/sys/class/nvme", ctrl.Name)
	attribute := func(name, def string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return def
		}
		return strings.TrimSpace(string(text))
	}
	ctrl.Transport = attribute("transport", "pcie")
	ctrl.Address = attribute("address", "")
	links, err := filepath.Glob(filepath.Join(c.env.Bus.Root, "/sys/class/nvme-subsystem/*", ctrl.Name))
	if err == nil && len(links) > 0 {
		ctrl.Subsystem = filepath.Base(filepath.Dir(links[0]))
	}
}

// hostNQN is the host's name as nvme-cli finds it: configured, or made of the machine's UUID.
func hostNQN(bus pci.Bus) string {
	text, err := os.ReadFile(filepath.Join(bus.Root, "/etc/nvme/hostnqn"))
	if err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text))
	}
	uuid := "00000000-0000-0000-0000-000000000000"
	text, err = os.ReadFile(filepath.Join(bus.Root, "/sys/class/dmi/id/product_uuid"))
	if err == nil && len(text) > 0 {
		uuid = strings.ToLower(strings.TrimSpace(string(text)))
	}
	return "nqn.2014-08.org.nvmexpress:uuid:" + uuid
}
