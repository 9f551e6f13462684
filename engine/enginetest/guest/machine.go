package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Machine is a virtual machine with an IOMMU and NVMe controllers.
type Machine struct {
	// Memory in MiB, 1024 if 0.
	Memory int
	// Controllers are the NVMe controllers. Each sits behind a root port of its own, so that it can be pulled out.
	Controllers []Controller
	// Kernel is added to the kernel's command line.
	Kernel string
	// Args are added to QEMU's.
	Args []string
}

// Controller is an emulated NVMe controller.
type Controller struct {
	// Serial is its serial number, by which the guest finds it, and its identifier for the monitor.
	Serial string
	// Options are added to "-device nvme": "mdts=3,max_ioqpairs=2".
	Options string
	// Namespaces; one of 64 MiB if empty.
	Namespaces []Namespace
}

// Namespace is a namespace with a sparse file beneath it.
type Namespace struct {
	// Size in MiB, 64 if 0.
	Size int
	// Options are added to "-device nvme-ns": "logical_block_size=4096,physical_block_size=4096".
	Options string
	// Rules is a blkdebug configuration beneath the namespace, for media errors.
	Rules string
}

// args are QEMU's arguments for the machine, its disks in dir.
func (m Machine) args(dir string) ([]string, error) {
	memory := m.Memory
	if memory == 0 {
		memory = 1024
	}
	args := []string{
		"-M", "q35,kernel-irqchip=split", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", fmt.Sprint(memory),
		"-display", "none", "-vga", "none", "-nic", "none", "-no-reboot", "-nodefaults",
		"-device", "intel-iommu,intremap=on",
	}
	for i, c := range m.Controllers {
		port := fmt.Sprintf("port%d", i)
		args = append(args,
			"-device", fmt.Sprintf("pcie-root-port,id=%s,chassis=%d,slot=%d", port, i+1, i+1),
			"-device", join(fmt.Sprintf("nvme,id=%s,serial=%s,bus=%s", c.Serial, c.Serial, port), c.Options))
		spaces := c.Namespaces
		if len(spaces) == 0 {
			spaces = []Namespace{{}}
		}
		for j, n := range spaces {
			drive, err := n.drive(dir, fmt.Sprintf("%s-%d", c.Serial, j+1))
			if err != nil {
				return nil, err
			}
			args = append(args, "-blockdev", drive,
				"-device", join(fmt.Sprintf("nvme-ns,bus=%s,drive=%s-%d,nsid=%d", c.Serial, c.Serial, j+1, j+1), n.Options))
		}
	}
	return append(args, m.Args...), nil
}

func join(parts ...string) string {
	var full []string
	for _, p := range parts {
		if p != "" {
			full = append(full, p)
		}
	}
	return strings.Join(full, ",")
}

// drive makes the file and describes the node over it.
func (n Namespace) drive(dir, name string) (string, error) {
	size := n.Size
	if size == 0 {
		size = 64
	}
	file := filepath.Join(dir, name+".img")
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := f.Truncate(int64(size) << 20); err != nil {
		return "", err
	}
	node := fmt.Sprintf("driver=file,filename=%s,cache.no-flush=on,discard=unmap", file)
	if n.Rules != "" {
		rules := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(rules, []byte(n.Rules), 0o600); err != nil {
			return "", err
		}
		node = fmt.Sprintf("driver=blkdebug,config=%s,image.driver=file,image.filename=%s,image.cache.no-flush=on,discard=unmap", rules, file)
	}
	return "driver=raw,node-name=" + name + ",discard=unmap," + prefixed("file.", node), nil
}

// prefixed puts p before every key of a comma-separated list.
func prefixed(p, list string) string {
	parts := strings.Split(list, ",")
	for i := range parts {
		parts[i] = p + parts[i]
	}
	return strings.Join(parts, ",")
}
