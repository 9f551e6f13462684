package show

import (
	"fmt"
	"io"

	"github.com/blkbench/blkbench/nvme"
)

// style is how a field is printed.
type style int

const (
	asHex     style = iota
	asDecimal       // unsigned, in text and in JSON
	asSigned        // signed, in text and in JSON
	asCount         // unsigned in text, signed in JSON
	asHexInt        // hex in text, signed in JSON
)

// ctrlField is a numeric field of Identify Controller.
type ctrlField struct {
	name  string
	style style
	get   func(c *nvme.IdentifyController) uint32
}

// text is the field's value in the normal output, json in JSON.
func (s style) text(v uint64) string {
	switch s {
	case asHex, asHexInt:
		return hex(v)
	case asSigned:
		return fmt.Sprint(int32(v))
	default:
		return decimal(v)
	}
}

func (s style) json(v uint64) any {
	switch s {
	case asSigned, asCount, asHexInt:
		return signed(uint32(v))
	default:
		return v
	}
}

// special fields are printed by functions of their own, which stand in ctrlFields as nil getters.
var ctrlFields = []ctrlField{
	{"vid", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.VID) }},
	{"ssvid", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.SSVID) }},
	{"sn", 0, nil},
	{"mn", 0, nil},
	{"fr", 0, nil},
	{"rab", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.RAB) }},
	{"ieee", 0, nil},
	{"cmic", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.CMIC) }},
	{"mdts", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.MDTS) }},
	{"cntlid", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.CNTLID) }},
	{"ver", asHexInt, func(c *nvme.IdentifyController) uint32 { return uint32(c.VER) }},
	{"rtd3r", asHexInt, func(c *nvme.IdentifyController) uint32 { return c.RTD3R }},
	{"rtd3e", asHexInt, func(c *nvme.IdentifyController) uint32 { return c.RTD3E }},
	{"oaes", asHexInt, func(c *nvme.IdentifyController) uint32 { return c.OAES }},
	{"ctratt", asHexInt, func(c *nvme.IdentifyController) uint32 { return c.CTRATT }},
	{"rrls", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.RRLS) }},
	{"cntrltype", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.CNTRLTYPE) }},
	{"fguid", 0, nil},
	{"crdt1", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.CRDT1) }},
	{"crdt2", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.CRDT2) }},
	{"crdt3", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.CRDT3) }},
	{"nvmsr", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.NVMSR) }},
	{"vwci", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.VWCI) }},
	{"mec", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.MEC) }},
	{"oacs", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.OACS) }},
	{"acl", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.ACL) }},
	{"aerl", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.AERL) }},
	{"frmw", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.FRMW) }},
	{"lpa", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.LPA) }},
	{"elpe", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.ELPE) }},
	{"npss", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.NPSS) }},
	{"avscc", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.AVSCC) }},
	{"apsta", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.APSTA) }},
	{"wctemp", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.WCTEMP) }},
	{"cctemp", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.CCTEMP) }},
	{"mtfa", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.MTFA) }},
	{"hmpre", asSigned, func(c *nvme.IdentifyController) uint32 { return c.HMPRE }},
	{"hmmin", asSigned, func(c *nvme.IdentifyController) uint32 { return c.HMMIN }},
	{"tnvmcap", 0, nil},
	{"unvmcap", 0, nil},
	{"rpmbs", asHexInt, func(c *nvme.IdentifyController) uint32 { return c.RPMBS }},
	{"edstt", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.EDSTT) }},
	{"dsto", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.DSTO) }},
	{"fwug", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.FWUG) }},
	{"kas", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.KAS) }},
	{"hctma", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.HCTMA) }},
	{"mntmt", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.MNTMT) }},
	{"mxtmt", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.MXTMT) }},
	{"sanicap", asHexInt, func(c *nvme.IdentifyController) uint32 { return c.SANICAP }},
	{"hmminds", asCount, func(c *nvme.IdentifyController) uint32 { return c.HMMINDS }},
	{"hmmaxd", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.HMMAXD) }},
	{"nsetidmax", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.NSETIDMAX) }},
	{"endgidmax", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.ENDGIDMAX) }},
	{"anatt", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.ANATT) }},
	{"anacap", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.ANACAP) }},
	{"anagrpmax", asCount, func(c *nvme.IdentifyController) uint32 { return c.ANAGRPMAX }},
	{"nanagrpid", asCount, func(c *nvme.IdentifyController) uint32 { return c.NANAGRPID }},
	{"pels", asCount, func(c *nvme.IdentifyController) uint32 { return c.PELS }},
	{"domainid", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.DOMAINID) }},
	{"megcap", 0, nil},
	{"sqes", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.SQES) }},
	{"cqes", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.CQES) }},
	{"maxcmd", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.MAXCMD) }},
	{"nn", asSigned, func(c *nvme.IdentifyController) uint32 { return c.NN }},
	{"oncs", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.ONCS) }},
	{"fuses", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.FUSES) }},
	{"fna", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.FNA) }},
	{"vwc", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.VWC) }},
	{"awun", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.AWUN) }},
	{"awupf", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.AWUPF) }},
	{"icsvscc", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.ICSVSCC) }},
	{"nwpc", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.NWPC) }},
	{"acwu", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.ACWU) }},
	{"ocfs", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.OCFS) }},
	{"sgls", asHexInt, func(c *nvme.IdentifyController) uint32 { return c.SGLS }},
	{"mnan", asCount, func(c *nvme.IdentifyController) uint32 { return c.MNAN }},
	{"maxdna", 0, nil},
	{"maxcna", asCount, func(c *nvme.IdentifyController) uint32 { return c.MAXCNA }},
	{"subnqn", 0, nil},
	{"ioccsz", asCount, func(c *nvme.IdentifyController) uint32 { return c.IOCCSZ }},
	{"iorcsz", asCount, func(c *nvme.IdentifyController) uint32 { return c.IORCSZ }},
	{"icdoff", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.ICDOFF) }},
	{"fcatt", asHex, func(c *nvme.IdentifyController) uint32 { return uint32(c.FCATT) }},
	{"msdbd", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.MSDBD) }},
	{"ofcs", asDecimal, func(c *nvme.IdentifyController) uint32 { return uint32(c.OFCS) }},
}

// ctrlTexts are the fields that are no numbers of 32 bits. Text fields keep their padding.
func ctrlText(c *nvme.IdentifyController, name string) string {
	switch name {
	case "sn":
		return cstring(c.Raw[4:24])
	case "mn":
		return cstring(c.Raw[24:64])
	case "fr":
		return cstring(c.Raw[64:72])
	case "ieee":
		return fmt.Sprintf("%06x", c.IEEE)
	case "fguid":
		return uuid(c.FGUID)
	case "tnvmcap":
		return big128(c.TNVMCAP)
	case "unvmcap":
		return big128(c.UNVMCAP)
	case "megcap":
		return big128(c.MEGCAP)
	case "maxdna":
		return big128(c.MAXDNA)
	default: // subnqn
		return cstring(c.Raw[768:1024])
	}
}

// Controller prints Identify Controller. human explains the bits, vendor adds the vendor specific bytes.
func Controller(w io.Writer, c *nvme.IdentifyController, human, vendor bool) {
	fmt.Fprintln(w, "NVME Identify Controller:")
	for _, f := range ctrlFields {
		if f.get == nil {
			text := ctrlText(c, f.name)
			fmt.Fprintf(w, "%-9s : %s\n", f.name, text)
			if note := ctrlNotes[f.name]; human && note != "" {
				fmt.Fprintf(w, "[127:0] : %s\n\t%s\n\n", text, note)
			}
			continue
		}
		v := uint64(f.get(c))
		fmt.Fprintf(w, "%-9s : %s\n", f.name, f.style.text(v))
		if human {
			explainController(w, f.name, v)
		}
	}
	for i := range states(c) {
		printPowerState(w, i, &c.PSD[i])
	}
	if vendor {
		fmt.Fprintln(w, "vs[]:")
		Hex(w, c.VS)
	}
}

func states(c *nvme.IdentifyController) int { return min(int(c.NPSS)+1, len(c.PSD)) }

// ControllerJSON is the same in JSON.
func ControllerJSON(c *nvme.IdentifyController) Object {
	var o Object
	for _, f := range ctrlFields {
		switch {
		case f.name == "ieee":
			o.add(f.name, c.IEEE)
		case f.get == nil:
			if text := ctrlText(c, f.name); text != "" || f.name != "subnqn" {
				o.add(f.name, text)
			}
		default:
			o.add(f.name, f.style.json(uint64(f.get(c))))
		}
	}
	psds := Array{}
	for _, p := range c.PSD[:states(c)] {
		psds = append(psds, Object{
			{"max_power", p.MP},
			{"flags", p.Flags},
			{"entry_lat", signed(p.ENLAT)},
			{"exit_lat", signed(p.EXLAT)},
			{"read_tput", p.RRT},
			{"read_lat", p.RRL},
			{"write_tput", p.RWT},
			{"write_lat", p.RWL},
			{"idle_power", p.IDLP},
			{"idle_scale", p.IPS},
			{"active_power", p.ACTP},
			{"active_power_work", p.APWS & 7},
			{"active_scale", p.APWS >> 6},
		})
	}
	o.add("psds", psds)
	return o
}
