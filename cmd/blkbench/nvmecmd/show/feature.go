package show

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/blkbench/blkbench/nvme"
)

var le = binary.LittleEndian

// featureNames are the names that nvme-cli prints, where they differ from those of package nvme, and of features that it
// does not know.
var featureNames = map[uint8]string{
	0x0b: "Async Event Configuration", 0x12: "Read Recovery Level", 0x13: "Predictable Latency Mode Config",
	0x14: "Predictable Latency Mode Window", 0x15: "LBA Status Interval", 0x16: "Host Behavior", 0x17: "Sanitize",
	0x18: "Endurance Event Group Configuration", 0x19: "I/O Command Set Profile", 0x1a: "Spinup Control",
	0x1d: "Flexible Direct Placement", 0x7d: "Enhanced Controller Metadata", 0x7e: "Controller Metadata",
	0x7f: "Namespace Metadata", 0x80: "Software Progress", 0x81: "Host Identifier",
	0x82: "Reservation Notification Mask", 0x83: "Reservation Persistence", 0x84: "Namespace Write Protect",
}

// FeatureName is a feature's name.
func FeatureName(fid uint8) string {
	if n, ok := featureNames[fid]; ok {
		return n
	}
	if n := nvme.FeatureName(fid); !strings.HasPrefix(n, "feature 0x") {
		return n
	}
	return "Unknown"
}

// featureID is a feature's number as nvme-cli prints it.
func featureID(fid uint8) string { return hex8(fid) }

// Feature prints a value of a feature, sel being which of its values, with its data if it has any.
func Feature(w io.Writer, fid uint8, sel nvme.FeatureSelect, v uint32, data []byte, human bool) {
	kind := map[nvme.FeatureSelect]string{
		nvme.SelectDefault: "Default", nvme.SelectSaved: "Saved", nvme.SelectCapabilities: "Supported capabilities",
	}[sel]
	if kind == "" {
		kind = "Current"
	}
	fmt.Fprintf(w, "get-feature:%s (%s), %s value:%s\n", featureID(fid), FeatureName(fid), kind, hex32(v))
	switch {
	case sel == nvme.SelectCapabilities:
		if human {
			capabilities(w, v)
		}
	case human:
		explainFeature(w, fid, v, data)
	case len(data) > 0:
		Hex(w, data)
	}
}

// capabilities explains the result of Get Features with SEL 3. NVMe Base 2.0d §5.15, figure 191
func capabilities(w io.Writer, v uint32) {
	for i, text := range []string{"Feature is saveable", "Feature is per-namespace", "Feature is changeable"} {
		if v>>i&1 != 0 {
			fmt.Fprintf(w, "  %s\n", text)
		}
	}
}

// SetFeature prints what was set.
func SetFeature(w io.Writer, fid uint8, v uint64, cdw12 uint32, save bool, data []byte) {
	value, s := "00000000", uint64(0)
	if v != 0 {
		value = fmt.Sprintf("0x%08x", v)
	}
	if save {
		s = 1
	}
	fmt.Fprintf(w, "set-feature:%s (%s), value:%s, cdw12:%s, save:%s\n", featureID(fid), FeatureName(fid), value, hex32(cdw12), hex(s))
	if len(data) > 0 {
		Hex(w, data)
	}
}

// yes and its like choose a word by a bit.
func word(bit uint32, off, on string) string {
	if bit&1 != 0 {
		return on
	}
	return off
}

// explainFeature explains dword 0 and the data. NVMe Base 2.0d §5.27.1
func explainFeature(w io.Writer, fid uint8, v uint32, data []byte) {
	if f := dwordFeatures[fid]; f != nil {
		for _, line := range f(v) {
			fmt.Fprintf(w, "\t%s\n", line)
		}
		return
	}
	if f := dataFeatures[fid]; f != nil && len(data) > 0 {
		f(w, v, data)
	}
}

// dwordFeatures explain the features that are a dword.
var dwordFeatures = map[uint8]func(v uint32) []string{
	nvme.FIDArbitration: func(v uint32) []string {
		return []string{
			fmt.Sprintf("High Priority Weight   (HPW): %d", v>>24+1), fmt.Sprintf("Medium Priority Weight (MPW): %d", v>>16&0xff+1),
			fmt.Sprintf("Low Priority Weight    (LPW): %d", v>>8&0xff+1), "Arbitration Burst       (AB): " + burst(v&7),
		}
	},
	nvme.FIDPowerManagement: func(v uint32) []string {
		hints := []string{"No Workload", "Extended Idle Period with a Burst of Random Writes", "Heavy Sequential Writes", "Reserved"}
		wh := v >> 5 & 7
		return []string{fmt.Sprintf("Workload Hint (WH): %d - %s", wh, hints[min(wh, 3)]), fmt.Sprintf("Power State   (PS): %d", v&0x1f)}
	},
	nvme.FIDTemperatureThreshold: func(v uint32) []string {
		types := []string{"Over Temperature Threshold", "Under Temperature Threshold", "Reserved", "Reserved"}
		return []string{
			fmt.Sprintf("Threshold Type Select         (THSEL): %d - %s", v>>20&3, types[v>>20&3]),
			fmt.Sprintf("Threshold Temperature Select (TMPSEL): %d - %s", v>>16&0xf, temperature(v>>16&0xf)),
			"Temperature Threshold         (TMPTH): " + celsius(uint16(v)),
		}
	},
	nvme.FIDErrorRecovery: func(v uint32) []string {
		return []string{
			"Deallocated or Unwritten Logical Block Error Enable (DULBE): " + word(v>>16, "Disabled", "Enabled"),
			fmt.Sprintf("Time Limited Error Recovery                          (TLER): %d ms", v&0xffff*100),
		}
	},
	nvme.FIDVolatileWriteCache: func(v uint32) []string {
		return []string{"Volatile Write Cache Enable (WCE): " + word(v, "Disabled", "Enabled")}
	},
	nvme.FIDNumberOfQueues: func(v uint32) []string {
		n := nvme.ParseQueueCounts(v)
		return []string{
			fmt.Sprintf("Number of IO Completion Queues Allocated (NCQA): %d", n.CQ),
			fmt.Sprintf("Number of IO Submission Queues Allocated (NSQA): %d", n.SQ),
		}
	},
	nvme.FIDInterruptCoalescing: func(v uint32) []string {
		return []string{
			fmt.Sprintf("Aggregation Time     (TIME): %d usec", v>>8&0xff*100), fmt.Sprintf("Aggregation Threshold (THR): %d", v&0xff+1),
		}
	},
	nvme.FIDInterruptVector: func(v uint32) []string {
		return []string{"Coalescing Disable (CD): " + word(v>>16, "False", "True"), fmt.Sprintf("Interrupt Vector   (IV): %d", v&0xffff)}
	},
	nvme.FIDWriteAtomicity: func(v uint32) []string { return []string{"Disable Normal (DN): " + word(v, "False", "True")} },
	nvme.FIDAsyncEvent: func(v uint32) []string {
		send := func(name string, bit uint32) string {
			return fmt.Sprintf("%-58s: %s", name, word(bit, "Do not send async event", "Send async event"))
		}
		critical := uint32(0)
		if v&0xff != 0 {
			critical = 1
		}
		return []string{
			send("Discovery Log Page Change Notices", v>>31), send("Endurance Group Event Aggregate Log Change Notices", v>>14),
			send("LBA Status Information Notices", v>>13), send("Predictable Latency Event Aggregate Log Change Notices", v>>12),
			send("Asymmetric Namespace Access Change Notices", v>>11), send("Telemetry Log Notices", v>>10),
			send("Firmware Activation Notices", v>>9), send("Namespace Attribute Notices", v>>8),
			send("SMART / Health Critical Warnings", critical),
		}
	},
	nvme.FIDKeepAlive: func(v uint32) []string {
		return []string{fmt.Sprintf("Keep Alive Timeout (KATO) in milliseconds: %d", v)}
	},
	nvme.FIDHCTM: func(v uint32) []string {
		t := func(i int, k uint32) string {
			return fmt.Sprintf("Thermal Management Temperature %d (TMT%d) : %d Kelvin (%d°C)", i, i, k, int(k)-273)
		}
		return []string{t(1, v>>16), t(2, v&0xffff)}
	},
	nvme.FIDNOPSM: func(v uint32) []string {
		return []string{"Non-Operational Power State Permissive Mode Enable (NOPPME): " + word(v, "False", "True")}
	},
	nvme.FIDReadRecovery: func(v uint32) []string { return []string{fmt.Sprintf("Read Recovery Level (RRL): %d", v&0xf)} },
	0x15: func(v uint32) []string {
		return []string{
			fmt.Sprintf("LBA Status Information Poll Interval (LSIPI)  : %d", v>>16),
			fmt.Sprintf("LBA Status Information Report Interval (LSIRI): %d", v&0xffff),
		}
	},
	nvme.FIDSanitize: func(v uint32) []string {
		return []string{fmt.Sprintf("No-Deallocate Response Mode (NODRM) : %d", v&1)}
	},
	0x18: func(v uint32) []string {
		return []string{
			fmt.Sprintf("Endurance Group Identifier (ENDGID): %d", v&0xffff), fmt.Sprintf("Endurance Group Critical Warnings  : %d", v>>16&0xff),
		}
	},
	0x1a: func(v uint32) []string {
		return []string{"Spinup control feature Enabled: " + word(v, "False", "True")}
	},
	0x80: func(v uint32) []string {
		return []string{fmt.Sprintf("Pre-boot Software Load Count (PBSLC): %d", v&0xff)}
	},
	0x82: func(v uint32) []string {
		return []string{
			"Mask Reservation Preempted Notification  (RESPRE): " + word(v>>3, "False", "True"),
			"Mask Reservation Released Notification   (RESREL): " + word(v>>2, "False", "True"),
			"Mask Registration Preempted Notification (REGPRE): " + word(v>>1, "False", "True"),
		}
	},
	0x83: func(v uint32) []string {
		return []string{"Persist Through Power Loss (PTPL): " + word(v, "False", "True")}
	},
	0x84: func(v uint32) []string {
		states := []string{"No Write Protect", "Write Protect", "Write Protect Until Power Cycle", "Permanent Write Protect", "Reserved"}
		return []string{"Namespace Write Protect: " + states[min(v, 4)]}
	},
}

// burst is the arbitration burst: 7 is no limit.
func burst(v uint32) string {
	if v == 7 {
		return "No limit"
	}
	return fmt.Sprint(1 << v)
}

// temperature is a threshold temperature select.
func temperature(v uint32) string {
	switch {
	case v == 0:
		return "Composite Temperature"
	case v <= 8:
		return fmt.Sprintf("Temperature Sensor %d", v)
	default:
		return "Reserved"
	}
}

// dataFeatures explain the features that have data.
var dataFeatures = map[uint8]func(w io.Writer, v uint32, data []byte){
	nvme.FIDLBARangeType: func(w io.Writer, v uint32, data []byte) {
		n := min(int(v&0x3f)+1, len(data)/64)
		fmt.Fprintf(w, "\tNumber of LBA Ranges (NUM): %d\n", v&0x3f+1)
		types := []string{"General Purpose", "Filesystem", "RAID", "Cache", "Page / Swap file"}
		for ; n > 0; n, data = n-1, data[64:] {
			kind := "Reserved"
			switch {
			case int(data[0]) < len(types):
				kind = types[data[0]]
			case data[0] >= 0x80:
				kind = "Vendor Specific"
			}
			fmt.Fprintf(w, "\ttype       : %s - %s\n", hex(uint64(data[0])), kind)
			fmt.Fprintf(w, "\tattributes : %s - %s, %s\n", hex(uint64(data[1])),
				word(uint32(data[1]), "LBA range should not be overwritten", "LBA range may be overwritten"),
				word(uint32(data[1]>>1), "LBA range should be visible from the OS/EFI/BIOS", "LBA range should be hidden from the OS/EFI/BIOS"))
			fmt.Fprintf(w, "\tslba       : %s\n\tnlb        : %s\n\tguid       : %x\n", hex(le.Uint64(data[16:])), hex(le.Uint64(data[24:])), data[32:48])
		}
	},
	nvme.FIDAPST: func(w io.Writer, v uint32, data []byte) {
		fmt.Fprintf(w, "\tAutonomous Power State Transition Enable (APSTE): %s\n\tAuto PST Entries\t.................\n", word(v, "Disabled", "Enabled"))
		for i := 0; i < 32 && len(data) >= 8*(i+1); i++ {
			e := le.Uint64(data[8*i:])
			fmt.Fprintf(w, "\tEntry[%2d]   \n\t.................\n", i)
			fmt.Fprintf(w, "\tIdle Time Prior to Transition (ITPT): %d ms\n\tIdle Transition Power State   (ITPS): %d\n\t.................\n", e>>8&0xffffff, e>>3&0x1f)
		}
	},
	nvme.FIDHostMemoryBuffer: func(w io.Writer, v uint32, data []byte) {
		fmt.Fprintf(w, "\tEnable Host Memory (EHM): %s\n", word(v, "Disabled", "Enabled"))
		if len(data) < 20 {
			return
		}
		fmt.Fprintf(w, "\tHost Memory Descriptor List Entry Count (HMDLEC): %d\n\tHost Memory Descriptor List Address     (HMDLAU): %s\n"+
			"\tHost Memory Descriptor List Address     (HMDLAL): %s\n\tHost Memory Buffer Size                  (HSIZE): %d\n",
			le.Uint32(data[12:]), hex(uint64(le.Uint32(data[8:]))), hex(uint64(le.Uint32(data[4:]))), le.Uint32(data))
	},
	nvme.FIDTimestamp: func(w io.Writer, _ uint32, data []byte) {
		if len(data) < 8 {
			return
		}
		t := le.Uint64(data) & (1<<48 - 1)
		fmt.Fprintf(w, "\tThe timestamp is : %d (%s)\n", t, time.UnixMilli(int64(t)).UTC().Format("Mon Jan _2 15:04:05 2006 MST"))
		fmt.Fprintf(w, "\t%s\n", word(uint32(data[6]>>1), "The Timestamp field was initialized to ‘0’ by a Controller Level Reset.",
			"The Timestamp field was initialized with a Timestamp value using a Set Features command."))
		fmt.Fprintf(w, "\t%s\n", word(uint32(data[6]), "The controller counted time in milliseconds continuously since the Timestamp value was initialized.",
			"The controller may have stopped counting during vendor specific intervals after the Timestamp value was initialized"))
	},
	nvme.FIDHostBehavior: func(w io.Writer, _ uint32, data []byte) {
		fmt.Fprintf(w, "\tHost Behavior Support: %s\n", word(uint32(data[0]), "False", "True"))
	},
	0x81: func(w io.Writer, _ uint32, data []byte) {
		if len(data) >= 8 {
			fmt.Fprintf(w, "\tHost Identifier (HOSTID):  %d\n", le.Uint64(data))
		}
	},
}
