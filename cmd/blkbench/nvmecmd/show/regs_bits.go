package show

import (
	"fmt"
	"io"

	"github.com/blkbench/blkbench/nvme"
)

// line is one explained field: the label with its colon, and the text for a value.
type line struct {
	label string
	text  string
}

func explainRegister(w io.Writer, key string, v uint64, r *nvme.Registers) {
	f := registerLines[key]
	if f == nil {
		return
	}
	for _, l := range f(v, r) {
		fmt.Fprintf(w, "\t%s %s\n", l.label, l.text)
	}
	if !tight[key] {
		fmt.Fprintln(w)
	}
}

// tight are the registers whose explanation has no empty line behind.
var tight = map[string]bool{"crto": true, "bpinfo": true, "bprsel": true, "bpmbl": true, "pmrcap": true, "pmrctl": true, "pmrsts": true, "pmrebs": true, "pmrswtp": true}

func bitText(v uint64, bit uint, off, on string) string {
	if v>>bit&1 != 0 {
		return on
	}
	return off
}

func pick(v uint64, texts ...string) string { return texts[min(v, uint64(len(texts)-1))] }

const (
	supported    = "Supported"
	notSupported = "Not Supported"
)

// registerLines explain the registers. NVMe Base 2.0d §3.1.3
var registerLines = map[string]func(v uint64, r *nvme.Registers) []line{
	"cap": explainCAP,
	"vs": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"NVMe specification", fmt.Sprintf("%d.%d", v>>16, v>>8&0xff)}}
	},
	"cc":   explainCC,
	"csts": explainCSTS,
	"nssr": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"NVM Subsystem Reset Control (NSSRC):", fmt.Sprint(v)}}
	},
	"crto": func(v uint64, _ *nvme.Registers) []line {
		return []line{
			{"CRIMT                               :", fmt.Sprintf("%d secs", v>>16/2)}, {"CRWMT                               :", fmt.Sprintf("%d secs", v&0xffff/2)},
		}
	},
	"intms": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"Interrupt Vector Mask Set (IVMS):", fmt.Sprintf("%x", v)}}
	},
	"intmc": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"Interrupt Vector Mask Clear (IVMC):", fmt.Sprintf("%x", v)}}
	},
	"aqa": func(v uint64, _ *nvme.Registers) []line {
		return []line{
			{"Admin Completion Queue Size (ACQS):", fmt.Sprint(v>>16&0xfff + 1)}, {"Admin Submission Queue Size (ASQS):", fmt.Sprint(v&0xfff + 1)},
		}
	},
	"asq": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"Admin Submission Queue Base (ASQB):", fmt.Sprintf("%x", v)}}
	},
	"acq": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"Admin Completion Queue Base (ACQB):", fmt.Sprintf("%x", v)}}
	},
	"cmbloc": explainCMBLOC,
	"cmbsz":  explainCMBSZ,
	"bpinfo": func(v uint64, _ *nvme.Registers) []line {
		return []line{
			{"Active Boot Partition ID      (ABPID):", fmt.Sprint(v >> 31 & 1)},
			{"Boot Read Status                (BRS):", pick(v>>24&3, "No Boot Partition read operation requested",
				"Boot Partition read in progress", "Boot Partition read completed successfully", "Error completing Boot Partition read")},
			{"Boot Partition Size            (BPSZ):", fmt.Sprint(v & 0x7fff)},
		}
	},
	"bprsel": func(v uint64, _ *nvme.Registers) []line {
		return []line{
			{"Boot Partition Identifier      (BPID):", fmt.Sprint(v >> 31 & 1)},
			{"Boot Partition Read Offset    (BPROF):", fmt.Sprintf("%x", v>>10&0xfffff)},
			{"Boot Partition Read Size      (BPRSZ):", fmt.Sprintf("%x", v&0x3ff)},
		}
	},
	"bpmbl": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"Boot Partition Memory Buffer Base Address (BMBBA):", fmt.Sprintf("%x", v)}}
	},
	"cmbmsc": func(v uint64, _ *nvme.Registers) []line {
		return []line{
			{"Controller Base Address         (CBA):", fmt.Sprintf("%x", v>>12)},
			{"Controller Memory Space Enable (CMSE):", fmt.Sprint(v >> 1 & 1)},
			{"Capabilities Registers Enabled  (CRE):", "CMBLOC and CMBSZ registers are " + bitText(v, 0, "NOT enabled", "enabled")},
		}
	},
	"cmbsts": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"Controller Base Address Invalid (CBAI):", fmt.Sprint(v & 1)}}
	},
	"pmrcap": explainPMRCAP,
	"pmrctl": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"Enable (EN):", bitText(v, 0, "PMR is Disabled", "PMR is Ready")}}
	},
	"pmrsts":  explainPMRSTS,
	"pmrebs":  explainPMREBS,
	"pmrswtp": explainPMRSWTP,
	"pmrmscl": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"Controller Base Address         (CBA):", fmt.Sprintf("%x", v>>12)}, {"Controller Memory Space Enable (CMSE):", fmt.Sprint(v >> 1 & 1)}}
	},
	"pmrmscu": func(v uint64, _ *nvme.Registers) []line {
		return []line{{"Controller Base Address         (CBA):", fmt.Sprintf("%x", v)}}
	},
}

func explainCAP(v uint64, _ *nvme.Registers) []line {
	c := nvme.CAP(v)
	return []line{
		{"Controller Ready With Media Support (CRWMS):", bitText(v, 59, notSupported, supported)},
		{"Controller Ready Independent of Media Support (CRIMS):", bitText(v, 60, notSupported, supported)},
		{"Controller Memory Buffer Supported (CMBS):", "The Controller Memory Buffer is " + bitText(v, 57, notSupported, supported)},
		{"Persistent Memory Region Supported (PMRS):", "The Persistent Memory Region is " + bitText(v, 56, notSupported, supported)},
		{"Memory Page Size Maximum         (MPSMAX):", fmt.Sprintf("%d bytes", 4096<<c.MPSMAX())},
		{"Memory Page Size Minimum         (MPSMIN):", fmt.Sprintf("%d bytes", 4096<<c.MPSMIN())},
		{"Boot Partition Support              (BPS):", bitText(v, 45, "No", "Yes")},
		{"Command Sets Supported              (CSS):", "NVM command set is " + bitText(v, 37, notSupported, supported)},
		{"                                          ", "One or more I/O Command Sets are " + bitText(v, 43, notSupported, supported)},
		{"                                          ", bitText(v, 44, "I/O Command Set is Supported", "Only Admin Command Set Supported")},
		{"NVM Subsystem Reset Supported     (NSSRS):", bitText(v, 36, "No", "Yes")},
		{"Doorbell Stride                   (DSTRD):", fmt.Sprintf("%d bytes", c.Stride())},
		{"Timeout                              (TO):", fmt.Sprintf("%d ms", int(c.TO())*500)},
		{"Arbitration Mechanism Supported     (AMS):", "Weighted Round Robin with Urgent Priority Class is " + bitText(v, 17, "not supported", "supported")},
		{"Contiguous Queues Required          (CQR):", bitText(v, 16, "No", "Yes")},
		{"Maximum Queue Entries Supported    (MQES):", fmt.Sprint(int(c.MQES()) + 1)},
	}
}

func explainCC(v uint64, _ *nvme.Registers) []line {
	return []line{
		{"Controller Ready Independent of Media Enable (CRIME):", bitText(v, 24, "Disabled", "Enabled")},
		{"I/O Completion Queue Entry Size (IOCQES):", fmt.Sprintf("%d bytes", 1<<(v>>20&0xf))},
		{"I/O Submission Queue Entry Size (IOSQES):", fmt.Sprintf("%d bytes", 1<<(v>>16&0xf))},
		{"Shutdown Notification              (SHN):", pick(v>>14&3, "No notification; no effect", "Normal shutdown notification", "Abrupt shutdown notification", "Reserved")},
		{"Arbitration Mechanism Selected     (AMS):", pick(v>>11&7, "Round Robin", "Weighted Round Robin with Urgent Priority Class", "Reserved",
			"Reserved", "Reserved", "Reserved", "Reserved", "Vendor Specific")},
		{"Memory Page Size                   (MPS):", fmt.Sprintf("%d bytes", 4096<<(v>>7&0xf))},
		{"I/O Command Set Selected           (CSS):", pick(v>>4&7, "NVM Command Set", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved",
			"All supported I/O Command Sets", "Admin Command Set only")},
		{"Enable                              (EN):", bitText(v, 0, "No", "Yes")},
	}
}

func explainCSTS(v uint64, _ *nvme.Registers) []line {
	return []line{
		{"Processing Paused               (PP):", bitText(v, 5, "No", "Yes")},
		{"NVM Subsystem Reset Occurred (NSSRO):", bitText(v, 4, "No", "Yes")},
		{"Shutdown Status               (SHST):", pick(v>>2&3, "Normal operation (no shutdown has been requested)", "Shutdown processing occurring",
			"Shutdown processing complete", "Reserved")},
		{"Controller Fatal Status        (CFS):", bitText(v, 1, "False", "True")},
		{"Ready                          (RDY):", bitText(v, 0, "No", "Yes")},
	}
}

func explainCMBLOC(v uint64, r *nvme.Registers) []line {
	if r.CMBSZ == 0 {
		return []line{{"Controller Memory Buffer feature is", "not supported"}}
	}
	return []line{
		{"Offset                                                        (OFST):", hexInUnits(v >> 12)},
		{"CMB Queue Dword Alignment                                     (CQDA):", fmt.Sprint(v >> 8 & 1)},
		{"CMB Data Metadata Mixed Memory Support                      (CDMMMS):", enforced(v, 7)},
		{"CMB Data Pointer and Command Independent Locations Support (CDPCILS):", enforced(v, 6)},
		{"CMB Data Pointer Mixed Locations Support                    (CDPMLS):", enforced(v, 5)},
		{"CMB Queue Physically Discontiguous Support                   (CQPDS):", enforced(v, 4)},
		{"CMB Queue Mixed Memory Support                               (CQMMS):", enforced(v, 3)},
		{"Base Indicator Register                                        (BIR):", hex(v & 7)},
	}
}

func hexInUnits(v uint64) string { return hex(v) + " (See cmbsz.szu for granularity)" }

func enforced(v uint64, bit uint) string { return bitText(v, bit, "Enforced", "Not Enforced") }

func explainCMBSZ(v uint64, _ *nvme.Registers) []line {
	if v == 0 {
		return []line{{"Controller Memory Buffer feature is", "not supported"}}
	}
	use := func(bit uint, what string) string { return what + bitText(v, bit, " Not supported", " supported") }
	return []line{
		{"Size                      (SZ):", fmt.Sprint(v >> 12)},
		{"Size Units               (SZU):", pick(v>>8&0xf, "4 KB", "64 KB", "1 MB", "16 MB", "256 MB", "4 GB", "64 GB", "Reserved")},
		{"Write Data Support       (WDS):", use(4, "Write Data and metadata transfer in Controller Memory Buffer is")},
		{"Read Data Support        (RDS):", use(3, "Read Data and metadata transfer in Controller Memory Buffer is")},
		{"PRP SGL List Support   (LISTS):", use(2, "PRP/SG Lists in Controller Memory Buffer is")},
		{"Completion Queue Support (CQS):", use(1, "Admin and I/O Completion Queues in Controller Memory Buffer is")},
		{"Submission Queue Support (SQS):", use(0, "Admin and I/O Submission Queues in Controller Memory Buffer is")},
	}
}

func explainPMRCAP(v uint64, _ *nvme.Registers) []line {
	return []line{
		{"Controller Memory Space Supported                   (CMSS):", "Referencing PMR with host supplied addresses is " + bitText(v, 24, notSupported, supported)},
		{"Persistent Memory Region Timeout                   (PMRTO):", fmt.Sprint(v >> 16 & 0xff)},
		{"Persistent Memory Region Write Barrier Mechanisms (PMRWBM):", fmt.Sprint(v >> 10 & 0xf)},
		{"Persistent Memory Region Time Units                (PMRTU):", "PMR time unit is " + bitText(v, 8, "500 milliseconds", "minutes")},
		{"Base Indicator Register                              (BIR):", fmt.Sprint(v >> 5 & 7)},
		{"Write Data Support                                   (WDS):", "Write data to the PMR is " + bitText(v, 4, "not supported", "supported")},
		{"Read Data Support                                    (RDS):", "Read data from the PMR is " + bitText(v, 3, "not supported", "supported")},
	}
}

func explainPMRSTS(v uint64, _ *nvme.Registers) []line {
	return []line{
		{"Controller Base Address Invalid (CBAI):", fmt.Sprint(v >> 12 & 1)},
		{"Health Status                   (HSTS):", pick(v>>9&7, "Normal Operation", "Restore Error", "Read Only", "Unreliable", "Reserved")},
		{"Not Ready                       (NRDY):", "The Persistent Memory Region is " +
			bitText(v, 8, "ready to process PCI Express memory read and write requests", "Not Ready to process PCI Express memory read and write requests")},
		{"Error                            (ERR):", fmt.Sprint(v & 0xff)},
	}
}

func explainPMREBS(v uint64, _ *nvme.Registers) []line {
	return []line{
		{"PMR Elasticity Buffer Size Base  (PMRWBZ):", fmt.Sprintf("%x", v>>8)},
		{"Read Bypass Behavior                     :", "memory reads not conflicting with memory writes in the PMR Elasticity Buffer " +
			bitText(v, 4, "MAY", "SHALL") + " bypass those memory writes"},
		{"PMR Elasticity Buffer Size Units (PMRSZU):", pick(v&0xf, "Bytes", "One KB", "One MB", "One GB", "Reserved")},
	}
}

func explainPMRSWTP(v uint64, _ *nvme.Registers) []line {
	return []line{
		{"PMR Sustained Write Throughput       (PMRSWTV):", fmt.Sprintf("%x", v>>8)},
		{"PMR Sustained Write Throughput Units (PMRSWTU):", pick(v&0xf, "Bytes/second", "One KB / second", "One MB / second", "One GB / second", "Reserved")},
	}
}
