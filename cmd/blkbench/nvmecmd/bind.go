package nvmecmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/blkbench/blkbench/vfio/pci"
)

type bindOptions struct {
	Allow string `long:"allow" arg:"REASON" help:"take it although it is held, raid, lvm, zfs or group (a shared IOMMU group), named by commas; mounted, swap and root cannot be allowed"`
}

// function finds the PCI function that an operand names: an address, nvme://address, or the kernel's nvme0.
func (c *call) function(name string) (*pci.Function, error) {
	t, err := parseTarget(name)
	if err != nil {
		return nil, err
	}
	switch {
	case t.socket != "":
		return nil, fmt.Errorf("%s is a vfio-user server's: it needs no binding", name)
	case t.kernel != "":
		link, err := filepath.EvalSymlinks(filepath.Join(c.env.Bus.Root, "/sys/class/nvme", controllerName(filepath.Base(t.kernel)), "device"))
		if err != nil {
			return nil, fmt.Errorf("%s: no controller of the kernel's; run: blkbench nvme list", name)
		}
		t.address = filepath.Base(link)
	}
	f, err := c.env.Bus.Lookup(t.address)
	if errors.Is(err, pci.ErrNoDevice) {
		return nil, fmt.Errorf("%w; run: blkbench nvme list", err)
	}
	if err != nil {
		return nil, err
	}
	if f.Class != pci.ClassNVMe {
		return nil, fmt.Errorf("%s is no NVMe controller: its PCI class is %06x, want %06x; run: blkbench nvme list", f.Address, f.Class, pci.ClassNVMe)
	}
	return f, nil
}

func bind(_ context.Context, c *call, o *bindOptions) error {
	if len(c.args) == 0 {
		return usagef("which controller? Give its PCI address, or /dev/nvme0")
	}
	var allow []pci.Reason
	for word := range strings.SplitSeq(o.Allow, ",") {
		if word != "" {
			allow = append(allow, pci.Reason(word))
		}
	}
	for _, name := range c.args {
		f, err := c.function(name)
		if err != nil {
			return err
		}
		if err := c.env.Bus.Bind(f.Address, allow...); err != nil {
			if errors.Is(err, pci.ErrInUse) && strings.Contains(err.Error(), "by name") {
				err = fmt.Errorf("%w: --allow=REASON", err)
			}
			return err
		}
		now, err := c.env.Bus.Lookup(f.Address)
		if err != nil {
			return err
		}
		c.moved(f, now)
	}
	return nil
}

func (c *call) moved(was, now *pci.Function) {
	driver := func(f *pci.Function) string {
		if f.Driver == "" {
			return "no driver"
		}
		return f.Driver
	}
	if was.Driver == now.Driver {
		fmt.Fprintf(c.out, "%s: %s already\n", now.Address, driver(now))
		return
	}
	fmt.Fprintf(c.out, "%s: %s -> %s\n", now.Address, driver(was), driver(now))
}

type unbindOptions struct{}

func unbind(_ context.Context, c *call, _ *unbindOptions) error {
	if len(c.args) == 0 {
		return usagef("which controller? Give its PCI address")
	}
	for _, name := range c.args {
		f, err := c.function(name)
		if err != nil {
			return err
		}
		if err := c.env.Bus.Unbind(f.Address); err != nil {
			return err
		}
		now, err := c.env.Bus.Lookup(f.Address)
		if err != nil {
			return err
		}
		c.moved(f, now)
	}
	return nil
}
