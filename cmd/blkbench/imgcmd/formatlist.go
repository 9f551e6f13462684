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
		known := append([]opts.Option{size}, expand(d.CreateOptions(), createEncrypt)...)
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

// The options of encryption, for formats that describe it as a node of its own.
var (
	createEncrypt = []opts.Option{
		{Name: "encrypt.format", Type: "string", Help: "method of encryption (allowed values: aes, luks)"},
		{Name: "encrypt.key-secret", Type: "string", Help: "id of the secret with the key or the passphrase"},
		{Name: "encrypt.cipher-alg", Type: "string", Help: "cipher"},
		{Name: "encrypt.cipher-mode", Type: "string", Help: "mode of the cipher"},
		{Name: "encrypt.ivgen-alg", Type: "string", Help: "how initialisation vectors are made"},
		{Name: "encrypt.ivgen-hash-alg", Type: "string", Help: "hash for them"},
		{Name: "encrypt.hash-alg", Type: "string", Help: "hash of the key derivation"},
		{Name: "encrypt.iter-time", Type: "int", Help: "time for the key derivation in milliseconds"},
	}
	amendEncrypt = []opts.Option{
		{Name: "encrypt.state", Type: "string", Help: "what becomes of key slots (allowed values: active, inactive)"},
		{Name: "encrypt.new-secret", Type: "string", Help: "id of the secret for new key slots"},
		{Name: "encrypt.old-secret", Type: "string", Help: "id of the secret whose key slots are changed"},
		{Name: "encrypt.keyslot", Type: "int", Help: "the one key slot that is changed"},
		{Name: "encrypt.iter-time", Type: "int", Help: "time for the key derivation in milliseconds"},
	}
)

// expand puts the options of encryption in the place of a node that stands for them.
func expand(list, encrypt []opts.Option) []opts.Option {
	var out []opts.Option
	for _, o := range list {
		if o.Name == "encrypt" && o.Type == "node" {
			out = append(out, encrypt...)
			continue
		}
		out = append(out, o)
	}
	return out
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

// find returns the option of a name; underscore and hyphen are the same.
func find(list []formatOption, name string) *formatOption {
	same := strings.NewReplacer("-", "_")
	for i := range list {
		if same.Replace(list[i].Name) == same.Replace(name) {
			return &list[i]
		}
	}
	return nil
}
