package show

import (
	"fmt"
	"io"

	"github.com/blkbench/blkbench/nvme"
)

// register is one controller register as show-regs prints it.
type register struct {
	key   string // in JSON
	label string // in the normal output
	off   int
	wide  bool
}

// registers in the order of the normal output. NVMe Base 2.0d §3.1.3, figure 33
var registers = []register{
	{"cap", "cap     :", 0x00, true},
	{"vs", "version :", 0x08, false},
	{"cc", "cc      :", 0x14, false},
	{"csts", "csts    :", 0x1c, false},
	{"nssr", "nssr    :", 0x20, false},
	{"crto", "crto    :", 0x68, false},
	{"intms", "intms   :", 0x0c, false},
	{"intmc", "intmc   :", 0x10, false},
	{"aqa", "aqa     :", 0x24, false},
	{"asq", "asq     :", 0x28, true},
	{"acq", "acq     :", 0x30, true},
	{"cmbloc", "cmbloc  :", 0x38, false},
	{"cmbsz", "cmbsz   :", 0x3c, false},
	{"bpinfo", "bpinfo  :", 0x40, false},
	{"bprsel", "bprsel  :", 0x44, false},
	{"bpmbl", "bpmbl   :", 0x48, true},
	{"cmbmsc", "cmbmsc\t:", 0x50, true},
	{"cmbsts", "cmbsts\t:", 0x58, false},
	{"pmrcap", "pmrcap  :", 0xe00, false},
	{"pmrctl", "pmrctl  :", 0xe04, false},
	{"pmrsts", "pmrsts  :", 0xe08, false},
	{"pmrebs", "pmrebs  :", 0xe0c, false},
	{"pmrswtp", "pmrswtp :", 0xe10, false},
	{"pmrmscl", "pmrmscl\t:", 0xe14, false},
	{"pmrmscu", "pmrmscu\t:", 0xe18, false},
}

// jsonRegisters is the order in JSON.
var jsonRegisters = []string{
	"cap", "vs", "intms", "intmc", "cc", "csts", "nssr", "crto", "aqa", "asq", "acq", "cmbloc", "cmbsz", "bpinfo", "bprsel", "bpmbl",
	"cmbmsc", "cmbsts", "pmrcap", "pmrctl", "pmrsts", "pmrebs", "pmrswtp", "pmrmscl", "pmrmscu",
}

func (g *register) value(r *nvme.Registers) uint64 {
	if g.wide {
		return le.Uint64(r.Raw[g.off:])
	}
	return uint64(le.Uint32(r.Raw[g.off:]))
}

// Registers prints the controller's registers.
func Registers(w io.Writer, r *nvme.Registers, human bool) {
	for i := range registers {
		g := &registers[i]
		fmt.Fprintf(w, "%s %x\n", g.label, g.value(r))
		if human {
			explainRegister(w, g.key, g.value(r), r)
		}
	}
}

// RegistersJSON is the same in JSON.
func RegistersJSON(r *nvme.Registers) Object {
	var o Object
	for _, key := range jsonRegisters {
		for i := range registers {
			g := &registers[i]
			switch v := g.value(r); {
			case g.key != key:
			case g.wide:
				o.add(key, v)
			default:
				o.add(key, signed(uint32(v)))
			}
		}
	}
	return o
}
