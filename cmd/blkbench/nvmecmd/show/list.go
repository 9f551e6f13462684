package show

import (
	"fmt"
	"io"
	"strings"
)

// ListedController is a controller as list shows it.
type ListedController struct {
	Name         string // nvme0, or the address
	Serial       string
	Model        string
	Firmware     string
	Subsystem    string // the kernel's name of it, "" for a controller that it does not drive
	SubsystemNQN string
	Transport    string
	Address      string
	Namespaces   []ListedNamespace
}

// ListedNamespace is a namespace as list shows it.
type ListedNamespace struct {
	Name         string // nvme0n1, or the path
	Path         string
	Generic      string // the character device, "" for none
	NSID         uint32
	Blocks, Used uint64
	BlockSize    uint64
	MetadataSize uint16
	Controller   string
}

// usage is "used / size" in decimal units.
func (n *ListedNamespace) usage() string {
	used, usedUnit := siSize(float64(n.Used * n.BlockSize))
	size, sizeUnit := siSize(float64(n.Blocks * n.BlockSize))
	return fmt.Sprintf("%6s %3s / %6s %3s", used, usedUnit, size, sizeUnit)
}

// format is the block size in binary units and the metadata size.
func (n *ListedNamespace) format() string {
	v, units := float64(n.BlockSize), []string{"", "Ki", "Mi"}
	i := 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	return fmt.Sprintf("%3.0f %3s + %2d B", v, units[i]+"B", n.MetadataSize)
}

func rule(w io.Writer, widths ...int) {
	parts := make([]string, len(widths))
	for i, n := range widths {
		parts[i] = strings.Repeat("-", n)
	}
	fmt.Fprintln(w, strings.Join(parts, " "))
}

// List prints a row for every namespace.
func List(w io.Writer, ctrls []ListedController) {
	const row = "%-21s %-21s %-20s %-40s %-9v %-26s %-16s %-8s\n"
	fmt.Fprintf(w, row, "Node", "Generic", "SN", "Model", "Namespace", "Usage", "Format", "FW Rev")
	rule(w, 21, 21, 20, 40, 9, 26, 16, 8)
	for i := range ctrls {
		c := &ctrls[i]
		for j := range c.Namespaces {
			n := &c.Namespaces[j]
			fmt.Fprintf(w, row, n.Path, n.Generic, c.Serial, c.Model, n.NSID, n.usage(), n.format(), c.Firmware)
		}
	}
}

// ListJSON is the same in JSON.
func ListJSON(ctrls []ListedController) Object {
	devices := Array{}
	for i := range ctrls {
		c := &ctrls[i]
		for j := range c.Namespaces {
			n := &c.Namespaces[j]
			devices = append(devices, Object{
				{"NameSpace", n.NSID},
				{"DevicePath", n.Path},
				{"Firmware", c.Firmware},
				{"ModelNumber", c.Model},
				{"SerialNumber", c.Serial},
				{"UsedBytes", n.Used * n.BlockSize},
				{"MaximumLBA", n.Blocks},
				{"PhysicalSize", n.Blocks * n.BlockSize},
				{"SectorSize", n.BlockSize},
			})
		}
	}
	return Object{{"Devices", devices}}
}

// VerboseList prints subsystems, controllers and namespaces.
func VerboseList(w io.Writer, ctrls []ListedController) {
	const subsystem = "%-16s %-96s %-.16s\n"
	fmt.Fprintf(w, subsystem, "Subsystem", "Subsystem-NQN", "Controllers")
	rule(w, 16, 96, 16)
	for _, c := range ctrls {
		fmt.Fprintf(w, "%-16s %-96s %s\n", c.Subsystem, c.SubsystemNQN, c.Name)
	}
	fmt.Fprintf(w, "\n%-8s %-20s %-40s %-8s %-6s %-14s %-12s %-16s\n", "Device", "SN", "MN", "FR", "TxPort", "Address", "Subsystem", "Namespaces")
	rule(w, 8, 20, 40, 8, 6, 14, 12, 16)
	for i := range ctrls {
		c := &ctrls[i]
		var names []string
		for j := range c.Namespaces {
			names = append(names, c.Namespaces[j].Name)
		}
		fmt.Fprintf(w, "%-8s %-20s %-40s %-8s %-6s %-14s %-12s %s\n", c.Name, c.Serial, c.Model, c.Firmware, c.Transport, c.Address,
			c.Subsystem, strings.Join(names, ", "))
	}
	fmt.Fprintf(w, "\n%-12s %-12s %-8s %-26s %-16s %-16s\n", "Device", "Generic", "NSID", "Usage", "Format", "Controllers")
	rule(w, 12, 12, 8, 26, 16, 16)
	for i := range ctrls {
		for j := range ctrls[i].Namespaces {
			n := &ctrls[i].Namespaces[j]
			fmt.Fprintf(w, "%-12s %-12s %-8d %-26s %-16s %s\n", n.Path, n.Generic, n.NSID, n.usage(), n.format(), n.Controller)
		}
	}
}

// VerboseListJSON is the same in JSON.
func VerboseListJSON(hostNQN string, ctrls []ListedController) Object {
	subsystems := Array{}
	for i := range ctrls {
		c := &ctrls[i]
		spaces := Array{}
		for j := range c.Namespaces {
			n := &c.Namespaces[j]
			spaces = append(spaces, Object{
				{"NameSpace", n.Name},
				{"NSID", n.NSID},
				{"UsedBytes", n.Used * n.BlockSize},
				{"MaximumLBA", n.Blocks},
				{"PhysicalSize", n.Blocks * n.BlockSize},
				{"SectorSize", n.BlockSize},
			})
		}
		subsystems = append(subsystems, Object{
			{"Subsystem", c.Subsystem},
			{"SubsystemNQN", c.SubsystemNQN},
			{"Controllers", Array{Object{
				{"Controller", c.Name},
				{"SerialNumber", c.Serial},
				{"ModelNumber", c.Model},
				{"Firmware", c.Firmware},
				{"Transport", c.Transport},
				{"Address", c.Address},
				{"Namespaces", spaces},
				{"Paths", Array{}},
			}}},
			{"Namespaces", Array{}},
		})
	}
	return Object{{"Devices", Array{Object{{"HostNQN", hostNQN}, {"Subsystems", subsystems}}}}}
}
