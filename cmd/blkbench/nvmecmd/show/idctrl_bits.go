package show

import (
	"fmt"
	"io"
)

// ctrlNotes name the 128-bit fields that are explained.
var ctrlNotes = map[string]string{"tnvmcap": "Total NVM Capacity (TNVMCAP)", "unvmcap": "Unallocated NVM Capacity (UNVMCAP)"}

func explainController(w io.Writer, name string, v uint64) {
	switch name {
	case "cntrltype":
		fmt.Fprintf(w, "  [7:2] : %s\tReserved\n", hex(v>>2))
		kinds := []string{"Controller type not reported", "I/O Controller", "Discovery Controller", "Administrative Controller"}
		fmt.Fprintf(w, "  [1:0] : %s\t%s\n", hex(v&3), kinds[v&3])
	case "wctemp", "cctemp", "mntmt", "mxtmt":
		notes := map[string]string{
			"wctemp": "Warning Composite Temperature Threshold (WCTEMP)", "cctemp": "Critical Composite Temperature Threshold (CCTEMP)",
			"mntmt": "Minimum Thermal Management Temperature (MNTMT)", "mxtmt": "Maximum Thermal Management Temperature (MXTMT)",
		}
		fmt.Fprintf(w, " [15:0] : %s\t%s\n\n", celsius(uint16(v)), notes[name])
	case "sgls":
		if v&3 == 0 {
			sglsWithout.print(w, v)
			return
		}
		ctrlBits[name].print(w, v)
	default:
		if t := ctrlBits[name]; t != nil {
			t.print(w, v)
		}
	}
}

var sglsWithout = parseBits(`
 [31:22]:|?Reserved
 [15:8] :|SGL Descriptor Threshold
 [1:0]  :|Scatter-Gather Lists Not Supported`)

// ctrlBits explain the bit fields of Identify Controller. NVMe Base 2.0d §5.17.2.1, figure 275
var ctrlBits = map[string]bitTable{
	"cmic": parseBits(`
  [7:4] :|?Reserved
  [3:3] :|ANA not supported|ANA supported
  [2:2] :|PCI|SR-IOV
  [1:1] :|Single Controller|Multi Controller
  [0:0] :|Single Port|Multi Port`),
	"oaes": parseBits(`
  [31:31] :|Discovery Log Change Notice Not Supported|Discovery Log Change Notice Supported
  [30:28] :|?Reserved
  [27:27] :|Zone Descriptor Changed Notices Not Supported|Zone Descriptor Changed Notices Supported
  [26:16] :|?Reserved
  [15:15] :|Normal NSS Shutdown Event Not Supported|Normal NSS Shutdown Event Supported
  [14:14] :|Endurance Group Event Aggregate Log Page Change Notice Not Supported|Endurance Group Event Aggregate Log Page Change Notice Supported
  [13:13] :|LBA Status Information Notices Not Supported|LBA Status Information Notices Supported
  [12:12] :|Predictable Latency Event Aggregate Log Change Notices Not Supported|Predictable Latency Event Aggregate Log Change Notices Supported
  [11:11] :|Asymmetric Namespace Access Change Notices Not Supported|Asymmetric Namespace Access Change Notices Supported
  [10:10] :|?Reserved
  [9:9] :|Firmware Activation Notices Not Supported|Firmware Activation Notices Supported
  [8:8] :|Namespace Attribute Changed Event Not Supported|Namespace Attribute Changed Event Supported
  [7:0] :|?Reserved`),
	"ctratt": parseBits(`
 [31:20] :|?Reserved
  [19:19] :|Flexible Data Placement Not Supported|Flexible Data Placement Supported
  [18:16] :|?Reserved
  [15:15] :|Extended LBA Formats Not Supported|Extended LBA Formats Supported
  [14:14] :|Delete NVM Set Not Supported|Delete NVM Set Supported
  [13:13] :|Delete Endurance Group Not Supported|Delete Endurance Group Supported
  [12:12] :|Variable Capacity Management Not Supported|Variable Capacity Management Supported
  [11:11] :|Fixed Capacity Management Not Supported|Fixed Capacity Management Supported
  [10:10] :|Multi Domain Subsystem Not Supported|Multi Domain Subsystem Supported
  [9:9] :|UUID List Not Supported|UUID List Supported
  [8:8] :|SQ Associations Not Supported|SQ Associations Supported
  [7:7] :|Namespace Granularity Not Supported|Namespace Granularity Supported
  [6:6] :|Traffic Based Keep Alive Not Supported|Traffic Based Keep Alive Supported
  [5:5] :|Predictable Latency Mode Not Supported|Predictable Latency Mode Supported
  [4:4] :|Endurance Groups Not Supported|Endurance Groups Supported
  [3:3] :|Read Recovery Levels Not Supported|Read Recovery Levels Supported
  [2:2] :|NVM Sets Not Supported|NVM Sets Supported
  [1:1] :|Non-Operational Power State Permissive Not Supported|Non-Operational Power State Permissive Supported
  [0:0] :|128-bit Host Identifier Not Supported|128-bit Host Identifier Supported`),
	"nvmsr": parseBits(`
 [7:2] :|?Reserved
  [1:1] :|NVM subsystem Not part of an Enclosure|NVM subsystem part of an Enclosure
  [0:0] :|NVM subsystem Not part of an Storage Device|NVM subsystem part of an Storage Device`),
	"vwci": parseBits(`
  [7:7] :|VPD Write Cycles Remaining field is Not valid.|VPD Write Cycles Remaining field is valid.
  [6:0] :|VPD Write Cycles Remaining `),
	"mec": parseBits(`
 [7:2] :|?Reserved
  [1:1] :|NVM subsystem Not contains a Management Endpoint on a PCIe port|NVM subsystem contains a Management Endpoint on a PCIe port
  [0:0] :|NVM subsystem Not contains a Management Endpoint on an SMBus/I2C port|NVM subsystem contains a Management Endpoint on an SMBus/I2C port`),
	"oacs": parseBits(`
 [15:11] :|?Reserved
  [10:10] :|Lockdown Command and Feature Not Supported|Lockdown Command and Feature Supported
  [9:9] :|Get LBA Status Capability Not Supported|Get LBA Status Capability Supported
  [8:8] :|Doorbell Buffer Config Not Supported|Doorbell Buffer Config Supported
  [7:7] :|Virtualization Management Not Supported|Virtualization Management Supported
  [6:6] :|NVMe-MI Send and Receive Not Supported|NVMe-MI Send and Receive Supported
  [5:5] :|Directives Not Supported|Directives Supported
  [4:4] :|Device Self-test Not Supported|Device Self-test Supported
  [3:3] :|NS Management and Attachment Not Supported|NS Management and Attachment Supported
  [2:2] :|FW Commit and Download Not Supported|FW Commit and Download Supported
  [1:1] :|Format NVM Not Supported|Format NVM Supported
  [0:0] :|Security Send and Receive Not Supported|Security Send and Receive Supported`),
	"frmw": parseBits(`
  [7:6] :|?Reserved
  [5:5] :|Multiple FW or Boot Update Detection Not Supported|Multiple FW or Boot Update Detection Supported
  [4:4] :|Firmware Activate Without Reset Not Supported|Firmware Activate Without Reset Supported
  [3:1] :|Number of Firmware Slots
  [0:0] :|Firmware Slot 1 Read/Write|Firmware Slot 1 Read-Only`),
	"lpa": parseBits(`
  [7:7] :|?Reserved
  [6:6] :|Telemetry Log Data Area 4 Not Supported|Telemetry Log Data Area 4 Supported
  [5:5] :|LID 0x0, Scope of each command in LID 0x5, 0x12, 0x13 Not Supported|LID 0x0, Scope of each command in LID 0x5, 0x12, 0x13 Supported
  [4:4] :|Persistent Event log Not Supported|Persistent Event log Supported
  [3:3] :|Telemetry host/controller initiated log page Not Supported|Telemetry host/controller initiated log page Supported
  [2:2] :|Extended data for Get Log Page Not Supported|Extended data for Get Log Page Supported
  [1:1] :|Command Effects Log Page Not Supported|Command Effects Log Page Supported
  [0:0] :|SMART/Health Log Page per NS Not Supported|SMART/Health Log Page per NS Supported`),
	"elpe": parseBits("  [7:0] :|=%d (0's based)\tError Log Page Entries (ELPE)"),
	"npss": parseBits("  [7:0] :|=%d (0's based)\tNumber of Power States Support (NPSS)"),
	"avscc": parseBits(`
  [7:1] :|?Reserved
  [0:0] :|Admin Vendor Specific Commands uses Vendor Specific Format|Admin Vendor Specific Commands uses NVMe Format`),
	"apsta": parseBits(`
  [7:1] :|?Reserved
  [0:0] :|Autonomous Power State Transitions Not Supported|Autonomous Power State Transitions Supported`),
	"rpmbs": parseBits(`
 [31:24]:|Access Size
 [23:16]:|Total Size
 [15:6] :|?Reserved
  [5:3] :|Authentication Method
  [2:0] :|Number of RPMB Units`),
	"hctma": parseBits(`
 [15:1] :|?Reserved
  [0:0] :|Host Controlled Thermal Management Not Supported|Host Controlled Thermal Management Supported`),
	"sanicap": parseBits(`
  [31:30] :|Additional media modification after sanitize operation completes successfully is not defined|Media is not additionally modified after sanitize operation completes successfully|Media is additionally modified after sanitize operation completes successfully|Reserved
  [29:29] :|No-Deallocate After Sanitize bit in Sanitize command Supported|No-Deallocate After Sanitize bit in Sanitize command Not Supported
  [28:3] :|?Reserved
    [2:2] :|Overwrite Sanitize Operation Not Supported|Overwrite Sanitize Operation Supported
    [1:1] :|Block Erase Sanitize Operation Not Supported|Block Erase Sanitize Operation Supported
    [0:0] :|Crypto Erase Sanitize Operation Not Supported|Crypto Erase Sanitize Operation Supported`),
	"anacap": parseBits(`
  [7:7] :|Non-zero group ID Not Supported|Non-zero group ID Supported
  [6:6] :|Group ID does change|Group ID does not change
 [5:5] :|?Reserved
  [4:4] :|ANA Change state Not Supported|ANA Change state Supported
  [3:3] :|ANA Persistent Loss state Not Supported|ANA Persistent Loss state Supported
  [2:2] :|ANA Inaccessible state Not Supported|ANA Inaccessible state Supported
  [1:1] :|ANA Non-optimized state Not Supported|ANA Non-optimized state Supported
  [0:0] :|ANA Optimized state Not Supported|ANA Optimized state Supported`),
	"sqes": parseBits(`
  [7:4] :|Max SQ Entry Size (%p)
  [3:0] :|Min SQ Entry Size (%p)`),
	"cqes": parseBits(`
  [7:4] :|Max CQ Entry Size (%p)
  [3:0] :|Min CQ Entry Size (%p)`),
	"oncs": parseBits(`
 [15:9] :|?Reserved
  [8:8] :|Copy Not Supported|Copy Supported
  [7:7] :|Verify Not Supported|Verify Supported
  [6:6] :|Timestamp Not Supported|Timestamp Supported
  [5:5] :|Reservations Not Supported|Reservations Supported
  [4:4] :|Save and Select Not Supported|Save and Select Supported
  [3:3] :|Write Zeroes Not Supported|Write Zeroes Supported
  [2:2] :|Data Set Management Not Supported|Data Set Management Supported
  [1:1] :|Write Uncorrectable Not Supported|Write Uncorrectable Supported
  [0:0] :|Compare Not Supported|Compare Supported`),
	"fuses": parseBits(`
 [15:1] :|?Reserved
  [0:0] :|Fused Compare and Write Not Supported|Fused Compare and Write Supported`),
	"fna": parseBits(`
  [7:4] :|?Reserved
  [3:3] :|Format NVM Broadcast NSID (FFFFFFFFh) Supported|Format NVM Broadcast NSID (FFFFFFFFh) Not Supported
  [2:2] :|Crypto Erase Not Supported as part of Secure Erase|Crypto Erase Supported as part of Secure Erase
  [1:1] :|Crypto Erase Applies to Single Namespace(s)|Crypto Erase Applies to All Namespace(s)
  [0:0] :|Format Applies to Single Namespace(s)|Format Applies to All Namespace(s)`),
	"vwc": parseBits(`
  [7:3] :|?Reserved
  [2:1] :|Support for the NSID field set to FFFFFFFFh is not indicated|Reserved|The Flush command does not support NSID set to FFFFFFFFh|The Flush command supports NSID set to FFFFFFFFh
  [0:0] :|Volatile Write Cache Not Present|Volatile Write Cache Present`),
	"icsvscc": parseBits(`
  [7:1] :|?Reserved
  [0:0] :|NVM Vendor Specific Commands uses Vendor Specific Format|NVM Vendor Specific Commands uses NVMe Format`),
	"nwpc": parseBits(`
  [7:3] :|?Reserved
  [2:2] :|Permanent Write Protect Not Supported|Permanent Write Protect Supported
  [1:1] :|Write Protect Until Power Supply Not Supported|Write Protect Until Power Supply Supported
  [0:0] :|No Write Protect and Write Protect Namespace Not Supported|No Write Protect and Write Protect Namespace Supported`),
	"ocfs": parseBits(`
  [15:2] :|?Reserved
  [1:1] :|Controller Copy Format 1h Not Supported|Controller Copy Format 1h Supported
  [0:0] :|Controller Copy Format 0h Not Supported|Controller Copy Format 0h Supported`),
	"sgls": parseBits(`
 [31:22]:|?Reserved
 [21:21]:|Transport SGL Data Block Descriptor Not Supported|Transport SGL Data Block Descriptor Supported
 [20:20]:|Address Offsets Not Supported|Address Offsets Supported
 [19:19]:|Metadata Pointer Containing SGL Descriptor is Not Supported|Metadata Pointer Containing SGL Descriptor is Supported
 [18:18]:|SGL Length Larger than Buffer Not Supported|SGL Length Larger than Buffer Supported
 [17:17]:|Byte-Aligned Contig. MD Buffer Not Supported|Byte-Aligned Contig. MD Buffer Supported
 [16:16]:|SGL Bit-Bucket Not Supported|SGL Bit-Bucket Supported
 [15:8] :|SGL Descriptor Threshold
 [7:3] :|?Reserved
  [2:2] :|Keyed SGL Data Block descriptor Not Supported|Keyed SGL Data Block descriptor Supported
  [1:0] :|Scatter-Gather Lists Not Supported|Scatter-Gather Lists Supported. No Dword alignment required.|Scatter-Gather Lists Supported. Dword alignment required.|Reserved`),
	"fcatt": parseBits(`
  [7:1] :|?Reserved
  [0:0] :|Dynamic Controller Model|Static Controller Model`),
	"ofcs": parseBits(`
  [15:1] :|?Reserved
  [0:0] :|Disconnect command Not Supported|Disconnect command  Supported`),
}
