package nvmecmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/cmd/blkbench/nvmecmd/show"
	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/vfio/mmio"
)

type showRegsOptions struct {
	Format string `long:"output-format" short:"o" arg:"FMT" help:"output format: normal|json|binary" default:"normal"`
	Human  bool   `long:"human-readable" short:"H" help:"explain every register"`
}

func showRegs(_ context.Context, c *call, o *showRegsOptions) error {
	r, err := c.dev.registers()
	if err != nil {
		return err
	}
	return c.print(output{Format: o.Format}, r.Raw[:], func() any { return show.RegistersJSON(r) }, func() { show.Registers(c.out, r, o.Human) })
}

// registers takes a snapshot: of a controller of ours through its device, of the kernel's through BAR 0 in sysfs.
func (d *Device) registers() (*nvme.Registers, error) {
	if d.Controller != nil {
		return d.Controller.Registers()
	}
	if d.Kernel == nil {
		return nil, errors.New("a device without registers")
	}
	file := filepath.Join(d.bus.Root, "/sys/class/nvme", controllerName(d.Label), "device/resource0")
	f, err := os.OpenFile(file, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no PCI function: %w", controllerName(d.Label), err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM) {
		return nil, fmt.Errorf("%s: the kernel keeps the registers of a driver to itself; boot with iomem=relaxed, or bind the controller to vfio-pci", file)
	}
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", file, err)
	}
	defer unix.Munmap(b)
	return nvme.ReadRegisters(&bar{w: mmio.NewWindow(b)})
}

// bar is as much of a Device as ReadRegisters needs.
type bar struct {
	nvme.Device
	w mmio.Window
}

func (b *bar) Load32(_ int, off uint64) (uint32, error) {
	return mmio.Load32(b.w.Register(off, 4)), nil
}

// Load64 reads two halves: not every controller takes 8-byte reads. NVMe PCIe 1.0d §3.1
func (b *bar) Load64(_ int, off uint64) (uint64, error) {
	return uint64(mmio.Load32(b.w.Register(off, 4))) | uint64(mmio.Load32(b.w.Register(off+4, 4)))<<32, nil
}
