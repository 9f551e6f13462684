package imgcmd

import (
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// printed is the order in which qemu-img prints the create options of a format, and the values of those that it prints when they are not
// given. Options of the file come behind. A format that is not listed has size first and then the order of its struct.
var printed = map[string]string{
	"raw": "size nocow preallocation extent_size_hint",
	"qcow2": "encryption encrypt.format encrypt.key-secret encrypt.cipher-alg encrypt.cipher-mode encrypt.ivgen-alg " +
		"encrypt.ivgen-hash-alg encrypt.hash-alg encrypt.iter-time cluster_size=65536 extended_l2=off preallocation compression_type=zlib " +
		"size compat backing_file backing_fmt data_file data_file_raw lazy_refcounts=off refcount_bits=16",
	"qcow":      "size backing_file backing_fmt encryption encrypt.format encrypt.key-secret",
	"qed":       "size backing_file backing_fmt cluster_size=65536 table_size",
	"luks":      "size key-secret cipher-alg cipher-mode ivgen-alg ivgen-hash-alg hash-alg iter-time",
	"vdi":       "size static=off",
	"vmdk":      "size adapter_type backing_file backing_fmt compat6=off hwversion=undefined toolsversion subformat zeroed_grain",
	"vpc":       "size subformat force_size",
	"vhdx":      "size log_size=1048576 block_size=0 subformat block_state_zero",
	"parallels": "size cluster_size=1048576",
	"file":      "size nocow preallocation extent_size_hint",
}

// formatOption is a create option of a format or of the protocol below it.
type formatOption struct {
	opts.Option
	shown string // the value that is printed when none is given; empty: not printed
	file  bool   // the protocol's alone
}

// createOptions lists the create options of a format and, where protocol is not nil, of the protocol below, in the order of printing.
func createOptions(format, protocol *engine.Driver) []formatOption {
	size := opts.Option{Name: "size", Type: "size", Help: "Virtual disk size"}
	var list []formatOption
	add := func(d *engine.Driver, file bool) {
		known := append([]opts.Option{size}, d.CreateOptions()...)
		for _, item := range optionOrder(d.Name, known) {
			name, shown, _ := strings.Cut(item, "=")
			if find(list, name) != nil {
				continue
			}
			for _, o := range known {
				if o.Name == name {
					list = append(list, formatOption{Option: o, shown: shown, file: file})
				}
			}
		}
	}
	add(format, false)
	if protocol != nil && protocol != format {
		add(protocol, true)
	}
	return list
}

// optionOrder is the printed order, then what it does not mention.
func optionOrder(driver string, known []opts.Option) []string {
	order := strings.Fields(printed[driver])
	for _, o := range known {
		mentioned := false
		for _, item := range order {
			name, _, _ := strings.Cut(item, "=")
			mentioned = mentioned || name == o.Name
		}
		switch {
		case mentioned:
		case o.Default == "" || printed[driver] != "":
			order = append(order, o.Name)
		case o.Type == "size":
			n, _ := opts.ParseSize(o.Default)
			order = append(order, o.Name+"="+itoa(n))
		default:
			order = append(order, o.Name+"="+o.Default)
		}
	}
	return order
}

// find returns the option of a name; encrypt.… belongs to a struct's encrypt when that is a node of its own.
func find(list []formatOption, name string) *formatOption {
	name = strings.ReplaceAll(name, "-", "_")
	var parent *formatOption
	for i := range list {
		n := strings.ReplaceAll(list[i].Name, "-", "_")
		if n == name {
			return &list[i]
		}
		if strings.HasPrefix(name, n+".") && list[i].Type == "node" {
			parent = &list[i]
		}
	}
	return parent
}
