package show

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/blkbench/blkbench/nvme"
)

// Errors prints the Error Information log.
func Errors(w io.Writer, device string, entries []nvme.ErrorLogEntry) {
	const rule = "................."
	fmt.Fprintf(w, "Error Log Entries for device:%s entries:%d\n%s\n", device, len(entries), rule)
	for i := range entries {
		e := &entries[i]
		fmt.Fprintf(w, " Entry[%2d]   \n%s\n", i, rule)
		fmt.Fprintf(w, "error_count\t: %d\nsqid\t\t: %d\ncmdid\t\t: %s\n", e.ErrorCount, e.SQID, hex(uint64(e.CMDID)))
		name, _, _ := strings.Cut(e.Status().String(), "(")
		fmt.Fprintf(w, "status_field\t: %s(%s)\n", hex(uint64(e.Status())), strings.TrimSpace(name))
		fmt.Fprintf(w, "phase_tag\t: %s\nparm_err_loc\t: %s\n", hex(uint64(e.StatusField&1)), hex(uint64(e.ParamErrorLoc)))
		fmt.Fprintf(w, "lba\t\t: %s\nnsid\t\t: %s\nvs\t\t: %d\n", hex(e.LBA), hex(uint64(e.NSID)), e.VS)
		fmt.Fprintf(w, "trtype\t\t: %s\n", transport(e.TRTYPE))
		fmt.Fprintf(w, "cs\t\t: %s\ntrtype_spec_info: %s\n%s\n", hex(e.CommandSpec), hex(uint64(e.TransportSpec)), rule)
	}
}

// transport is a transport type. NVMe Base 2.0d §5.16.1.2, figure 206, "TRTYPE"
func transport(v uint8) string {
	switch v {
	case 0:
		return "The transport type is not indicated or the error is not transport related."
	case 1:
		return "RDMA Transport error."
	case 2:
		return "Fibre Channel Transport error."
	case 3:
		return "TCP Transport error."
	case 254:
		return "Intra-host Transport error."
	default:
		return "Reserved"
	}
}

// ErrorsJSON is the same in JSON.
func ErrorsJSON(entries []nvme.ErrorLogEntry) Object {
	list := Array{}
	for i := range entries {
		e := &entries[i]
		list = append(list, Object{
			{"error_count", e.ErrorCount},
			{"sqid", e.SQID},
			{"cmdid", e.CMDID},
			{"status_field", e.StatusField >> 1},
			{"phase_tag", e.StatusField & 1},
			{"parm_error_location", e.ParamErrorLoc},
			{"lba", e.LBA},
			{"nsid", signed(e.NSID)},
			{"vs", e.VS},
			{"trtype", e.TRTYPE},
			{"cs", e.CommandSpec},
			{"trtype_spec_info", e.TransportSpec},
		})
	}
	return Object{{"errors", list}}
}

// slotText is a firmware revision with what has no glyph as dots.
func slotText(v uint64) string {
	return printable(binary.LittleEndian.AppendUint64(nil, v))
}

// Firmware prints the Firmware Slot log.
func Firmware(w io.Writer, device string, f *nvme.FirmwareLog) {
	fmt.Fprintf(w, "Firmware Log for device:%s\nafi  : %s\n", device, hex(uint64(f.AFI)))
	for i, v := range f.Raw {
		if v != 0 {
			fmt.Fprintf(w, "frs%d : 0x%014x (%s)\n", i+1, v, slotText(v))
		}
	}
}

// FirmwareJSON is the same in JSON.
func FirmwareJSON(device string, f *nvme.FirmwareLog) Object {
	o := Object{{"Active Firmware Slot (afi)", f.AFI}}
	for i, v := range f.Raw {
		if v != 0 {
			o.add(fmt.Sprintf("Firmware Rev Slot %d", i+1), fmt.Sprintf("%d (%s)", v, slotText(v)))
		}
	}
	return Object{{device, o}}
}

// sanitizeStates are the texts of SSTAT bits 2:0. NVMe Base 2.0d §5.16.1.25, figure 260
var sanitizeStates = []string{
	nvme.SanitizeNever:      "NVM Subsystem has never been sanitized.",
	nvme.SanitizeSuccess:    "Most Recent Sanitize Command Completed Successfully.",
	nvme.SanitizeInProgress: "Sanitize in Progress.",
	nvme.SanitizeFailed:     "Most Recent Sanitize Command Failed.",
	nvme.SanitizeSuccessND:  "Most Recent Sanitize Command (No-Deallocate After Sanitize) Completed Successfully.",
	5:                       "Unknown",
}

func sanitizeText(s *nvme.SanitizeLog) string {
	return sanitizeStates[min(s.State(), len(sanitizeStates)-1)]
}

// Sanitize prints the Sanitize Status log.
func Sanitize(w io.Writer, s *nvme.SanitizeLog, human bool) {
	fmt.Fprintf(w, "Sanitize Progress                      (SPROG) :  %d", s.SPROG)
	if human && s.State() == nvme.SanitizeInProgress {
		fmt.Fprintf(w, " (%f%%)", float64(s.SPROG)*100/0x10000)
	}
	fmt.Fprintf(w, "\nSanitize Status                        (SSTAT) :  %s\n", hex(uint64(s.SSTAT&7)))
	if human {
		fmt.Fprintf(w, "\t[2:0]\t%s\n", sanitizeText(s))
		fmt.Fprintf(w, "\t[7:3]\tNumber of completed passes if most recent operation was overwrite:\t%d\n", s.Passes())
		erased := "cleared: a NS LB in the NVM subsystem has been written to or a PMR in the NVM subsystem has been enabled"
		if s.GlobalD {
			erased = "set: no NS LB in the NVM subsystem has been written to and no PMR in the NVM subsystem has been enabled"
		}
		fmt.Fprintf(w, "\t  [8]\tGlobal Data Erased %s\n", erased)
	}
	fmt.Fprintf(w, "Sanitize Command Dword 10 Information (SCDW10) :  %s\n", hex(uint64(s.SCDW10)))
	for _, t := range []struct {
		name string
		v    uint32
	}{
		{"Estimated Time For Overwrite                   ", s.ETO},
		{"Estimated Time For Block Erase                 ", s.ETBE},
		{"Estimated Time For Crypto Erase                ", s.ETCE},
		{"Estimated Time For Overwrite (No-Deallocate)   ", s.ETOND},
		{"Estimated Time For Block Erase (No-Deallocate) ", s.ETBEND},
		{"Estimated Time For Crypto Erase (No-Deallocate)", s.ETCEND},
	} {
		none := ""
		if t.v == 0xffffffff {
			none = " (No time period reported)"
		}
		fmt.Fprintf(w, "%s:  %d%s\n", t.name, t.v, none)
	}
}

// SanitizeJSON is the same in JSON.
func SanitizeJSON(device string, s *nvme.SanitizeLog) Object {
	global := 0
	if s.GlobalD {
		global = 1
	}
	return Object{{device, Object{
		{"sprog", s.SPROG},
		{"sstat", Object{
			{"global_erased", global},
			{"no_cmplted_passes", s.Passes()},
			{"status", fmt.Sprintf("(%d) %s", s.State(), sanitizeText(s))},
		}},
		{"cdw10_info", signed(s.SCDW10)},
		{"time_over_write", signed(s.ETO)},
		{"time_block_erase", signed(s.ETBE)},
		{"time_crypto_erase", signed(s.ETCE)},
		{"time_over_write_no_dealloc", signed(s.ETOND)},
		{"time_block_erase_no_dealloc", signed(s.ETBEND)},
		{"time_crypto_erase_no_dealloc", signed(s.ETCEND)},
	}}}
}
