package pci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ClassNVMe is the class of NVM Express I/O controllers. PCI Code and ID Assignment 1.11 §1.2
const ClassNVMe = 0x010802

// Bus is where sysfs, /proc, /dev and /run are. The zero value is the machine's own.
type Bus struct {
	// Root is put before every path; tests point it at a tree of their own.
	Root string
}

// Function is a PCI function as sysfs shows it.
type Function struct {
	Address string // 0000:06:0d.0
	Vendor  uint16
	Device  uint16
	Class   uint32
	Driver  string // the driver's name, "" for none
	Group   string // the IOMMU group's number, "" for none
	Peers   []string
	NUMA    int // -1 when unknown
}

// What can be wrong with an address or a binding.
var (
	ErrAddress  = errors.New("bad PCI address")
	ErrNoDevice = errors.New("no such PCI function")
	ErrNoIOMMU  = errors.New("no IOMMU")
	ErrInUse    = errors.New("in use")
)

var addressForm = regexp.MustCompile(`^([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]$`)

// ParseAddress makes 06:0d.0 and 0000:06:0D.0 into 0000:06:0d.0.
func ParseAddress(s string) (string, error) {
	if !addressForm.MatchString(s) {
		return "", fmt.Errorf("%w: %q; want DOMAIN:BUS:SLOT.FUNCTION like 0000:06:0d.0", ErrAddress, s)
	}
	if strings.Count(s, ":") == 1 {
		s = "0000:" + s
	}
	return strings.ToLower(s), nil
}

func (b Bus) path(elem ...string) string {
	return filepath.Join(append([]string{b.Root, "/"}, elem...)...)
}

func (b Bus) device(address string, elem ...string) string {
	return b.path(append([]string{"sys/bus/pci/devices", address}, elem...)...)
}

// List is every function of the class, in order of address.
func (b Bus) List(class uint32) ([]Function, error) {
	entries, err := os.ReadDir(b.path("sys/bus/pci/devices"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a machine without PCI
	}
	if err != nil {
		return nil, err
	}
	var out []Function
	for _, e := range entries {
		f, err := b.Lookup(e.Name())
		if errors.Is(err, ErrNoDevice) {
			continue // removed in the meantime
		}
		if err != nil {
			return nil, err
		}
		if f.Class == class {
			out = append(out, *f)
		}
	}
	return out, nil
}

// Lookup reads one function's attributes.
func (b Bus) Lookup(address string) (*Function, error) {
	address, err := ParseAddress(address)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(b.device(address)); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrNoDevice, address)
	}
	f := &Function{Address: address, NUMA: -1, Driver: b.link(address, "driver"), Group: b.link(address, "iommu_group")}
	vendor, err := b.hex(address, "vendor")
	if err != nil {
		return nil, err
	}
	device, err := b.hex(address, "device")
	if err != nil {
		return nil, err
	}
	class, err := b.hex(address, "class")
	if err != nil {
		return nil, err
	}
	f.Vendor, f.Device, f.Class = uint16(vendor), uint16(device), uint32(class)
	if s, err := os.ReadFile(b.device(address, "numa_node")); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(s))); err == nil {
			f.NUMA = n
		}
	}
	if f.Group != "" {
		f.Peers, err = b.peers(address, f.Group)
	}
	return f, err
}

// link is the last element of a symbolic link's target, "" when there is none.
func (b Bus) link(address, name string) string {
	t, err := os.Readlink(b.device(address, name))
	if err != nil {
		return ""
	}
	return filepath.Base(t)
}

func (b Bus) hex(address, name string) (uint64, error) {
	v, err := readHex(b.device(address, name))
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrNoDevice, address, err)
	}
	return v, nil
}

func readHex(path string) (uint64, error) {
	s, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(string(s)), "0x"), 16, 32)
}

// peers are the other functions in the group. Bridges do not count: they have no driver that could do DMA.
func (b Bus) peers(address, group string) ([]string, error) {
	entries, err := os.ReadDir(b.path("sys/kernel/iommu_groups", group, "devices"))
	if err != nil {
		return nil, fmt.Errorf("%s: IOMMU group %s: %w", address, group, err)
	}
	var out []string
	for _, e := range entries {
		if e.Name() == address {
			continue
		}
		class, err := readHex(b.path("sys/kernel/iommu_groups", group, "devices", e.Name(), "class"))
		const bridge = 0x06
		if err == nil && class>>16 == bridge {
			continue
		}
		out = append(out, e.Name())
	}
	slices.Sort(out)
	return out, nil
}

// Namespaces are the names of the block devices that the kernel has on the function: nvme0n1.
func (b Bus) Namespaces(address string) ([]string, error) {
	controllers, err := os.ReadDir(b.device(address, "nvme"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	block, err := os.ReadDir(b.path("sys/block"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []string
	for _, c := range controllers {
		prefix := c.Name() + "n"
		for _, d := range block {
			if strings.HasPrefix(d.Name(), prefix) {
				out = append(out, d.Name())
			}
		}
	}
	return out, nil
}
