package show

import (
	"fmt"
	"io"

	"github.com/blkbench/blkbench/nvme"
)

// nsField is a numeric field of Identify Namespace.
type nsField struct {
	name  string // padded as printed
	style style
	opt   bool // there only with NSFEAT bit 4
	get   func(n *nvme.IdentifyNamespace) uint64
}

// nsText are the fields in the order of the normal output; names keep its padding.
var nsText = []nsField{
	{"nsze    :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return n.NSZE }},
	{"ncap    :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return n.NCAP }},
	{"nuse    :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return n.NUSE }},
	{"nsfeat  :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NSFEAT) }},
	{"nlbaf   :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NLBAF) }},
	{"flbas   :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.FLBAS) }},
	{"mc      :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.MC) }},
	{"dpc     :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.DPC) }},
	{"dps     :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.DPS) }},
	{"nmic    :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NMIC) }},
	{"rescap  :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.RESCAP) }},
	{"fpi     :", asHex, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.FPI) }},
	{"dlfeat  :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.DLFEAT) }},
	{"nawun   :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NAWUN) }},
	{"nawupf  :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NAWUPF) }},
	{"nacwu   :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NACWU) }},
	{"nabsn   :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NABSN) }},
	{"nabo    :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NABO) }},
	{"nabspf  :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NABSPF) }},
	{"noiob   :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NOIOB) }},
	{"nvmcap  :", asDecimal, false, nil},
	{"npwg    :", asDecimal, true, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NPWG) }},
	{"npwa    :", asDecimal, true, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NPWA) }},
	{"npdg    :", asDecimal, true, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NPDG) }},
	{"npda    :", asDecimal, true, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NPDA) }},
	{"nows    :", asDecimal, true, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NOWS) }},
	{"mssrl   :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.MSSRL) }},
	{"mcl     :", asCount, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.MCL) }},
	{"msrc    :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.MSRC) }},
	{"nulbaf  :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NULBAF) }},
	{"anagrpid:", asCount, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.ANAGRPID) }},
	{"nsattr\t:", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NSATTR) }},
	{"nvmsetid:", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.NVMSETID) }},
	{"endgid  :", asDecimal, false, func(n *nvme.IdentifyNamespace) uint64 { return uint64(n.ENDGID) }},
}

// nsJSONOrder is the order of the keys in JSON where it differs from the text's.
var nsJSONOrder = []string{
	"nsze", "ncap", "nuse", "nsfeat", "nlbaf", "flbas", "mc", "dpc", "dps", "nmic", "rescap", "fpi", "dlfeat", "nawun", "nawupf",
	"nacwu", "nabsn", "nabo", "nabspf", "noiob", "nvmcap", "nsattr", "nvmsetid", "npwg", "npwa", "npdg", "npda", "nows", "mssrl",
	"mcl", "msrc", "nulbaf", "anagrpid", "endgid",
}

// key is the field's name without the padding.
func (f *nsField) key() string {
	for i, c := range f.name {
		if c == ' ' || c == '\t' || c == ':' {
			return f.name[:i]
		}
	}
	return f.name
}

// formats is how many LBA formats the namespace describes: NLBAF and NULBAF are 0's based sums of at most 64.
func formats(n *nvme.IdentifyNamespace) int { return min(int(n.NLBAF)+int(n.NULBAF)+1, len(n.LBAF)) }

// Namespace prints Identify Namespace. human explains the bits, vendor adds the vendor specific bytes.
func Namespace(w io.Writer, nsid uint32, n *nvme.IdentifyNamespace, human, vendor bool) {
	fmt.Fprintf(w, "NVME Identify Namespace %d:\n", nsid)
	for i := range nsText {
		f := &nsText[i]
		if f.opt && n.NSFEAT&(1<<4) == 0 {
			continue
		}
		if f.get == nil {
			fmt.Fprintf(w, "%s %s\n", f.name, big128(n.NVMCAP))
			continue
		}
		v := f.get(n)
		text := f.style.text(v)
		fmt.Fprintf(w, "%s %s\n", f.name, text)
		if t := nsBits[f.key()]; human && t != nil {
			t.print(w, v)
		}
	}
	fmt.Fprintf(w, "nguid   : %x\neui64   : %x\n", n.NGUID, n.EUI64)
	for i, f := range n.LBAF[:formats(n)] {
		inUse := ""
		if i == n.FormatIndex() {
			inUse = "(in use)"
		}
		if human {
			speed := []string{"Best", "Better", "Good", "Degraded"}[f.RP&3]
			fmt.Fprintf(w, "LBA Format %2d : Metadata Size: %-3d bytes - Data Size: %-2d bytes - Relative Performance: %s %s %s\n",
				i, f.MS, int32(1)<<(f.LBADS&31), hex(uint64(f.RP)), speed, inUse)
			continue
		}
		fmt.Fprintf(w, "lbaf %2d : ms:%-3d lbads:%-2d rp:%s %s\n", i, f.MS, f.LBADS, hex(uint64(f.RP)), inUse)
	}
	if vendor {
		fmt.Fprintln(w, "vs[]:")
		Hex(w, n.VS[8:]) // behind LBSTM
	}
}

// NamespaceJSON is the same in JSON.
func NamespaceJSON(n *nvme.IdentifyNamespace) Object {
	byKey := map[string]*nsField{}
	for i := range nsText {
		byKey[nsText[i].key()] = &nsText[i]
	}
	var o Object
	for _, key := range nsJSONOrder {
		f := byKey[key]
		switch {
		case f.opt && n.NSFEAT&(1<<4) == 0:
		case f.get == nil:
			o.add(key, big128(n.NVMCAP))
		default:
			o.add(key, f.style.json(f.get(n)))
		}
	}
	o.add("eui64", fmt.Sprintf("%x", n.EUI64))
	o.add("nguid", fmt.Sprintf("%x", n.NGUID))
	lbafs := Array{}
	for _, f := range n.LBAF[:min(int(n.NLBAF)+1, len(n.LBAF))] {
		lbafs = append(lbafs, Object{{"ms", f.MS}, {"ds", f.LBADS}, {"rp", f.RP}})
	}
	o.add("lbafs", lbafs)
	return o
}

// nsBits explain the bit fields. NVM Command Set 1.0d §4.1.5.1, figure 97
var nsBits = map[string]bitTable{
	"nsfeat": parseBits(`
  [7:5] :|?Reserved
  [4:4] :|NPWG, NPWA, NPDG, NPDA, and NOWS are Not Supported|NPWG, NPWA, NPDG, NPDA, and NOWS are Supported
  [3:3] :|NGUID and EUI64 fields if non-zero, Reused|NGUID and EUI64 fields if non-zero, Never Reused
  [2:2] :|Deallocated or Unwritten Logical Block error Not Supported|Deallocated or Unwritten Logical Block error Supported
  [1:1] :|Namespace uses AWUN, AWUPF, and ACWU|Namespace uses NAWUN, NAWUPF, and NACWU
  [0:0] :|Thin Provisioning Not Supported|Thin Provisioning Supported`),
	"flbas": parseBits(`
  [7:7] :|?Reserved
  [6:5] :|Most significant 2 bits of Current LBA Format Selected
  [4:4] :|Metadata Transferred in Separate Contiguous Buffer|Metadata Transferred at End of Data LBA
  [3:0] :|Least significant 4 bits of Current LBA Format Selected`),
	"mc": parseBits(`
  [7:2] :|?Reserved
  [1:1] :|Metadata Pointer Not Supported|Metadata Pointer Supported
  [0:0] :|Metadata as Part of Extended Data LBA Not Supported|Metadata as Part of Extended Data LBA Supported`),
	"dpc": parseBits(`
  [7:5] :|?Reserved
  [4:4] :|Protection Information Transferred as Last 8 Bytes of Metadata Not Supported|Protection Information Transferred as Last 8 Bytes of Metadata Supported
  [3:3] :|Protection Information Transferred as First 8 Bytes of Metadata Not Supported|Protection Information Transferred as First 8 Bytes of Metadata Supported
  [2:2] :|Protection Information Type 3 Not Supported|Protection Information Type 3 Supported
  [1:1] :|Protection Information Type 2 Not Supported|Protection Information Type 2 Supported
  [0:0] :|Protection Information Type 1 Not Supported|Protection Information Type 1 Supported`),
	"dps": parseBits(`
  [7:4] :|?Reserved
  [3:3] :|Protection Information is Transferred as Last 8 Bytes of Metadata|Protection Information is Transferred as First 8 Bytes of Metadata
  [2:0] :|Protection Information Disabled|Protection Information Type 1 Enabled|Protection Information Type 2 Enabled|Protection Information Type 3 Enabled|Protection Information Reserved Enabled`),
	"nmic": parseBits(`
  [7:1] :|?Reserved
  [0:0] :|Namespace Multipath Not Capable|Namespace Multipath Capable`),
	"rescap": parseBits(`
  [7:7] :|Ignore Existing Key - Used as defined in revision 1.2.1 or earlier|Ignore Existing Key - Used as defined in revision 1.3 or later
  [6:6] :|Exclusive Access - All Registrants Not Supported|Exclusive Access - All Registrants Supported
  [5:5] :|Write Exclusive - All Registrants Not Supported|Write Exclusive - All Registrants Supported
  [4:4] :|Exclusive Access - Registrants Only Not Supported|Exclusive Access - Registrants Only Supported
  [3:3] :|Write Exclusive - Registrants Only Not Supported|Write Exclusive - Registrants Only Supported
  [2:2] :|Exclusive Access Not Supported|Exclusive Access Supported
  [1:1] :|Write Exclusive Not Supported|Write Exclusive Supported
  [0:0] :|Persist Through Power Loss Not Supported|Persist Through Power Loss Supported`),
	"fpi": parseBits(`
  [7:7] :|Format Progress Indicator Not Supported|Format Progress Indicator Supported
  [6:0] :|?Format Progress Indicator (Remaining %d%)`),
	"dlfeat": parseBits(`
  [7:5] :|?Reserved
  [4:4] :|Guard Field of Deallocated Logical Blocks is set to 0xFFFF|Guard Field of Deallocated Logical Blocks is set to CRC of The Value Read
  [3:3] :|Deallocate Bit in the Write Zeroes Command is Not Supported|Deallocate Bit in the Write Zeroes Command is Supported
  [2:0] :|Bytes Read From a Deallocated Logical Block and its Metadata are Not Reported|Bytes Read From a Deallocated Logical Block and its Metadata are 0x00|Bytes Read From a Deallocated Logical Block and its Metadata are 0xFF|Bytes Read From a Deallocated Logical Block and its Metadata are Reserved Value`),
}

// NamespaceList prints the identifiers of list-ns.
func NamespaceList(w io.Writer, ids []uint32) {
	for i, id := range ids {
		fmt.Fprintf(w, "[%4d]:%s\n", i, hex(uint64(id)))
	}
}

// NamespaceListJSON is the same in JSON.
func NamespaceListJSON(ids []uint32) Object {
	list := Array{}
	for _, id := range ids {
		list = append(list, Object{{"nsid", signed(id)}})
	}
	return Object{{"nsid_list", list}}
}
