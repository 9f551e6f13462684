package show

import (
	"fmt"
	"io"

	"github.com/blkbench/blkbench/nvme"
)

// Command sets. NVMe Base 2.0d §3.1.3.1, "CSS"; figure 289
const (
	CSINVM = 0
	CSIZNS = 2
)

// Effects is the log of one I/O command set.
type Effects struct {
	CSI uint8
	Log *nvme.EffectsLog
}

func (e Effects) title() string {
	switch e.CSI {
	case CSINVM:
		return "NVM Command Set Log Page"
	case CSIZNS:
		return "ZNS Command Set Log Page"
	default:
		return "Unknown Command Set Log Page"
	}
}

// AdminName is the name of an admin command.
func AdminName(op uint8) string { return commandName(adminNames, op, 0xc0) }

// IOName is the name of an I/O command, of any command set.
func IOName(op uint8) string { return commandName(ioNames, op, 0x80) }

func commandName(names map[uint8]string, op, vendor uint8) string {
	if n, ok := names[op]; ok {
		return n
	}
	if op >= vendor {
		return "Vendor Specific"
	}
	return "Unknown"
}

// adminNames are the admin commands. NVMe Base 2.0d §5, figure 138
var adminNames = map[uint8]string{
	0x00: "Delete I/O Submission Queue", 0x01: "Create I/O Submission Queue", 0x02: "Get Log Page",
	0x04: "Delete I/O Completion Queue", 0x05: "Create I/O Completion Queue", 0x06: "Identify", 0x08: "Abort",
	0x09: "Set Features", 0x0a: "Get Features", 0x0c: "Asynchronous Event Request", 0x0d: "Namespace Management",
	0x10: "Firmware Commit", 0x11: "Firmware Image Download", 0x14: "Device Self-test", 0x15: "Namespace Attachment",
	0x18: "Keep Alive", 0x19: "Directive Send", 0x1a: "Directive Receive", 0x1c: "Virtualization Management",
	0x1d: "NVMe-MI Send", 0x1e: "NVMe-MI Receive", 0x20: "Capacity Management", 0x24: "Lockdown",
	0x7c: "Doorbell Buffer Config", 0x7f: "Fabrics Commands", 0x80: "Format NVM", 0x81: "Security Send",
	0x82: "Security Receive", 0x84: "Sanitize", 0x86: "Get LBA Status",
}

// ioNames are the commands of the NVM and the zoned command set. NVM Command Set 1.0d §3; Zoned Namespace Command Set
// 1.1d §3
var ioNames = map[uint8]string{
	0x00: "Flush", 0x01: "Write", 0x02: "Read", 0x04: "Write Uncorrectable", 0x05: "Compare", 0x08: "Write Zeroes",
	0x09: "Dataset Management", 0x0c: "Verify", 0x0d: "Reservation Register", 0x0e: "Reservation Report",
	0x11: "Reservation Acquire", 0x12: "I/O Management Receive", 0x15: "Reservation Release", 0x19: "Copy",
	0x1d: "I/O Management Send", 0x79: "Zone Management Send", 0x7a: "Zone Management Receive", 0x7d: "Zone Append",
}

// CommandEffects prints the Commands Supported and Effects logs of the command sets.
func CommandEffects(w io.Writer, logs []Effects, human bool) {
	for _, e := range logs {
		fmt.Fprintf(w, "%s\n--------------------------------------------------------------------------------\n", e.title())
		fmt.Fprintln(w, "Admin Commands")
		for op, v := range e.Log.ACS {
			printEffect(w, "ACS", op, AdminName(uint8(op)), v, human)
		}
		fmt.Fprintln(w, "\nI/O Commands")
		for op, v := range e.Log.IOCS {
			printEffect(w, "IOCS", op, IOName(uint8(op)), v, human)
		}
		fmt.Fprintln(w)
	}
}

func printEffect(w io.Writer, set string, op int, name string, v nvme.CommandEffects, human bool) {
	if v == 0 {
		return
	}
	fmt.Fprintf(w, "%-8s [%-32s] %08x", fmt.Sprint(set, op), name, uint32(v))
	if human {
		sign := func(name string, on bool) {
			mark := "-"
			if on {
				mark = "+"
			}
			fmt.Fprintf(w, "  %s%s", name, mark)
		}
		sign("CSUPP", v.CSUPP())
		sign("LBCC", v.LBCC())
		sign("NCC", v.NCC())
		sign("NIC", v.NIC())
		sign("CCC", v.CCC())
		sign("USS", v&(1<<19) != 0)
		restrictions := []string{
			"No command restriction", "No other command for same namespace", "No other command for any namespace", "Reserved CSE",
		}
		fmt.Fprintf(w, "  %s", restrictions[min(int(v.CSE()), 3)])
	}
	fmt.Fprintln(w)
}

// CommandEffectsJSON is the same in JSON.
func CommandEffectsJSON(logs []Effects) Array {
	list := Array{}
	for _, e := range logs {
		var admin, io Object
		for op, v := range e.Log.ACS {
			if v != 0 {
				admin.add(fmt.Sprintf("ACS_%d (%s)", op, AdminName(uint8(op))), signed(uint32(v)))
			}
		}
		for op, v := range e.Log.IOCS {
			if v != 0 {
				io.add(fmt.Sprintf("IOCS_%d (%s)", op, IOName(uint8(op))), signed(uint32(v)))
			}
		}
		list = append(list, Object{{"command_set_identifier", e.CSI}, {"admin_cmd_set", admin}, {"io_cmd_set", io}})
	}
	return list
}
