package nvme

import "fmt"

// Log page identifiers. NVMe Base 2.0d §5.16.1, figure 202
const (
	LIDSupportedPages  = 0x00
	LIDError           = 0x01
	LIDSMART           = 0x02
	LIDFirmwareSlot    = 0x03
	LIDChangedNS       = 0x04
	LIDCommandsEffects = 0x05
	LIDSelfTest        = 0x06
	LIDTelemetryHost   = 0x07
	LIDTelemetryCtrl   = 0x08
	LIDSanitize        = 0x81
)

// ErrorLogEntry is one entry of the Error Information log. NVMe Base 2.0d §5.16.1.2, figure 206
type ErrorLogEntry struct {
	ErrorCount    uint64
	SQID          uint16
	CMDID         uint16
	StatusField   uint16 // as in the completion: phase tag in bit 0
	ParamErrorLoc uint16
	LBA           uint64
	NSID          uint32
	VS            uint8
	TRTYPE        uint8
	CommandSpec   uint64
	TransportSpec uint16
}

// Status is StatusField without the phase tag.
func (e *ErrorLogEntry) Status() Status { return Status(e.StatusField >> 1) }

const errorEntrySize = 64

// ParseErrorLog decodes as many 64-byte entries as b holds.
func ParseErrorLog(b []byte) []ErrorLogEntry {
	out := make([]ErrorLogEntry, 0, len(b)/errorEntrySize)
	for ; len(b) >= errorEntrySize; b = b[errorEntrySize:] {
		out = append(out, ErrorLogEntry{
			ErrorCount: le.Uint64(b), SQID: le.Uint16(b[8:]), CMDID: le.Uint16(b[10:]), StatusField: le.Uint16(b[12:]),
			ParamErrorLoc: le.Uint16(b[14:]), LBA: le.Uint64(b[16:]), NSID: le.Uint32(b[24:]), VS: b[28], TRTYPE: b[29],
			CommandSpec: le.Uint64(b[32:]), TransportSpec: le.Uint16(b[40:]),
		})
	}
	return out
}

// SMARTLog is the SMART / Health Information log. NVMe Base 2.0d §5.16.1.3, figure 207
type SMARTLog struct {
	CriticalWarning         uint8
	CompositeTemperature    uint16 // kelvin
	AvailableSpare          uint8
	AvailableSpareThreshold uint8
	PercentageUsed          uint8
	EnduranceGroupWarning   uint8
	DataUnitsRead           Uint128 // thousands of 512 bytes
	DataUnitsWritten        Uint128
	HostReads               Uint128
	HostWrites              Uint128
	ControllerBusyTime      Uint128 // minutes
	PowerCycles             Uint128
	PowerOnHours            Uint128
	UnsafeShutdowns         Uint128
	MediaErrors             Uint128
	ErrorLogEntries         Uint128
	WarningTempTime         uint32 // minutes
	CriticalTempTime        uint32
	TemperatureSensors      [8]uint16 // kelvin, 0 for none
	ThermalMgmtT1Count      uint32
	ThermalMgmtT2Count      uint32
	ThermalMgmtT1Time       uint32 // seconds
	ThermalMgmtT2Time       uint32
}

// SMARTLogSize is the size of the page.
const SMARTLogSize = 512

// ParseSMARTLog decodes the page.
func ParseSMARTLog(b []byte) (*SMARTLog, error) {
	if len(b) < SMARTLogSize {
		return nil, fmt.Errorf("SMART log of %d bytes", len(b))
	}
	s := &SMARTLog{
		CriticalWarning: b[0], CompositeTemperature: le.Uint16(b[1:]), AvailableSpare: b[3], AvailableSpareThreshold: b[4],
		PercentageUsed: b[5], EnduranceGroupWarning: b[6],
		DataUnitsRead: uint128(b[32:]), DataUnitsWritten: uint128(b[48:]), HostReads: uint128(b[64:]),
		HostWrites: uint128(b[80:]), ControllerBusyTime: uint128(b[96:]), PowerCycles: uint128(b[112:]),
		PowerOnHours: uint128(b[128:]), UnsafeShutdowns: uint128(b[144:]), MediaErrors: uint128(b[160:]),
		ErrorLogEntries: uint128(b[176:]), WarningTempTime: le.Uint32(b[192:]), CriticalTempTime: le.Uint32(b[196:]),
		ThermalMgmtT1Count: le.Uint32(b[216:]), ThermalMgmtT2Count: le.Uint32(b[220:]),
		ThermalMgmtT1Time: le.Uint32(b[224:]), ThermalMgmtT2Time: le.Uint32(b[228:]),
	}
	for i := range s.TemperatureSensors {
		s.TemperatureSensors[i] = le.Uint16(b[200+2*i:])
	}
	return s, nil
}

// FirmwareLog is the Firmware Slot Information log. NVMe Base 2.0d §5.16.1.4, figure 208
type FirmwareLog struct {
	AFI uint8
	FRS [7]string // revision in slot 1 to 7, empty for none
	Raw [7]uint64 // the same 8 bytes as a number
}

// FirmwareLogSize is the size of the page.
const FirmwareLogSize = 512

// ActiveSlot is the slot that the running firmware was loaded from.
func (f *FirmwareLog) ActiveSlot() int { return int(f.AFI & 7) }

// NextSlot is the slot of the next controller reset, 0 when it is not set.
func (f *FirmwareLog) NextSlot() int { return int(f.AFI >> 4 & 7) }

// ParseFirmwareLog decodes the page.
func ParseFirmwareLog(b []byte) (*FirmwareLog, error) {
	if len(b) < 64 {
		return nil, fmt.Errorf("firmware log of %d bytes", len(b))
	}
	f := &FirmwareLog{AFI: b[0]}
	for i := range f.FRS {
		s := b[8+8*i : 16+8*i]
		f.FRS[i], f.Raw[i] = ascii(s), le.Uint64(s)
	}
	return f, nil
}

// CommandEffects is one entry of the Commands Supported and Effects log. NVMe Base 2.0d §5.16.1.6, figure 211
type CommandEffects uint32

// CSUPP says that the command is supported.
func (e CommandEffects) CSUPP() bool { return e&1 != 0 }

// LBCC says that the command may change user data.
func (e CommandEffects) LBCC() bool { return e&2 != 0 }

// NCC says that it may change a namespace's capabilities.
func (e CommandEffects) NCC() bool { return e&4 != 0 }

// NIC says that it may change the inventory of namespaces.
func (e CommandEffects) NIC() bool { return e&8 != 0 }

// CCC says that it may change the controller's capabilities.
func (e CommandEffects) CCC() bool { return e&16 != 0 }

// CSE is the restriction on submission: 0 none, 1 no other command to the namespace, 2 to any.
func (e CommandEffects) CSE() uint8 { return uint8(e>>16) & 7 }

// EffectsLog is the Commands Supported and Effects log, indexed by opcode.
type EffectsLog struct {
	ACS  [256]CommandEffects // admin
	IOCS [256]CommandEffects // I/O
}

// EffectsLogSize is the size of the page.
const EffectsLogSize = 4096

// ParseEffectsLog decodes the page.
func ParseEffectsLog(b []byte) (*EffectsLog, error) {
	if len(b) < 2048 {
		return nil, fmt.Errorf("effects log of %d bytes", len(b))
	}
	e := &EffectsLog{}
	for i := range 256 {
		e.ACS[i] = CommandEffects(le.Uint32(b[4*i:]))
		e.IOCS[i] = CommandEffects(le.Uint32(b[1024+4*i:]))
	}
	return e, nil
}

// SanitizeLog is the Sanitize Status log. NVMe Base 2.0d §5.16.1.25, figure 260
type SanitizeLog struct {
	SPROG   uint16 // progress in 65536ths; 65535 when none runs
	SSTAT   uint16
	SCDW10  uint32 // dword 10 of the command that started it
	ETO     uint32 // estimated seconds: overwrite
	ETBE    uint32 // block erase
	ETCE    uint32 // crypto erase
	ETOND   uint32 // the same with no-deallocate
	ETBEND  uint32
	ETCEND  uint32
	GlobalD bool // no block was written since the last successful sanitize
}

// Sanitize states, SSTAT bits 2:0.
const (
	SanitizeNever      = 0
	SanitizeSuccess    = 1
	SanitizeInProgress = 2
	SanitizeFailed     = 3
	SanitizeSuccessND  = 4 // success, and blocks were not deallocated as asked
)

// SanitizeLogSize is the size of the page.
const SanitizeLogSize = 512

// State is SSTAT bits 2:0.
func (s *SanitizeLog) State() int { return int(s.SSTAT & 7) }

// Passes is how many overwrite passes are complete.
func (s *SanitizeLog) Passes() int { return int(s.SSTAT >> 3 & 0x1f) }

// ParseSanitizeLog decodes the page.
func ParseSanitizeLog(b []byte) (*SanitizeLog, error) {
	if len(b) < 32 {
		return nil, fmt.Errorf("sanitize log of %d bytes", len(b))
	}
	s := &SanitizeLog{
		SPROG: le.Uint16(b), SSTAT: le.Uint16(b[2:]), SCDW10: le.Uint32(b[4:]), ETO: le.Uint32(b[8:]),
		ETBE: le.Uint32(b[12:]), ETCE: le.Uint32(b[16:]), ETOND: le.Uint32(b[20:]), ETBEND: le.Uint32(b[24:]),
		ETCEND: le.Uint32(b[28:]),
	}
	s.GlobalD = s.SSTAT&(1<<8) != 0
	return s, nil
}

// SelfTestResult is one result of the Device Self-test log. NVMe Base 2.0d §5.16.1.7, figure 213
type SelfTestResult struct {
	Result       uint8 // bits 3:0; 15 for an unused entry
	Code         uint8 // 1 short, 2 extended, 14 vendor specific
	SegmentNum   uint8
	ValidInfo    uint8
	PowerOnHours uint64
	NSID         uint32
	FailingLBA   uint64
	SCT          uint8
	SC           uint8
	VS           [2]byte
}

// SelfTestLog is the Device Self-test log. NVMe Base 2.0d §5.16.1.7, figure 212
type SelfTestLog struct {
	Current    uint8 // 0 none, 1 short, 2 extended in progress
	Completion uint8 // percent
	Results    [20]SelfTestResult
}

// SelfTestLogSize is the size of the page.
const SelfTestLogSize = 564

// ParseSelfTestLog decodes the page.
func ParseSelfTestLog(b []byte) (*SelfTestLog, error) {
	if len(b) < SelfTestLogSize {
		return nil, fmt.Errorf("self-test log of %d bytes", len(b))
	}
	s := &SelfTestLog{Current: b[0] & 0xf, Completion: b[1] & 0x7f}
	for i := range s.Results {
		r := b[4+28*i:]
		s.Results[i] = SelfTestResult{
			Result: r[0] & 0xf, Code: r[0] >> 4, SegmentNum: r[1], ValidInfo: r[2], PowerOnHours: le.Uint64(r[4:]),
			NSID: le.Uint32(r[12:]), FailingLBA: le.Uint64(r[16:]), SCT: r[24], SC: r[25], VS: [2]byte(r[26:28]),
		}
	}
	return s, nil
}

// TelemetryHeader starts the Telemetry Host-Initiated and Controller-Initiated logs.
// NVMe Base 2.0d §5.16.1.8, figure 214
type TelemetryHeader struct {
	LID            uint8
	IEEE           [3]byte
	Area1LastBlock uint16 // last 512-byte block of data area 1, counted from the header
	Area2LastBlock uint16
	Area3LastBlock uint16
	Area4LastBlock uint32
	HostGeneration uint8
	CtrlAvailable  uint8
	CtrlGeneration uint8
	Reason         [128]byte
}

// TelemetryBlock is the unit of a telemetry log; the header is the first.
const TelemetryBlock = 512

// ParseTelemetryHeader decodes the first block.
func ParseTelemetryHeader(b []byte) (*TelemetryHeader, error) {
	if len(b) < TelemetryBlock {
		return nil, fmt.Errorf("telemetry header of %d bytes", len(b))
	}
	return &TelemetryHeader{
		LID: b[0], IEEE: [3]byte(b[5:8]), Area1LastBlock: le.Uint16(b[8:]), Area2LastBlock: le.Uint16(b[10:]),
		Area3LastBlock: le.Uint16(b[12:]), Area4LastBlock: le.Uint32(b[16:]), HostGeneration: b[381],
		CtrlAvailable: b[382], CtrlGeneration: b[383], Reason: [128]byte(b[384:512]),
	}, nil
}

// Size is how many bytes the log has with data areas 1 to area, the header included.
func (t *TelemetryHeader) Size(area int) int64 {
	last := int64(0)
	switch area {
	case 1:
		last = int64(t.Area1LastBlock)
	case 2:
		last = int64(t.Area2LastBlock)
	case 3:
		last = int64(t.Area3LastBlock)
	case 4:
		last = int64(t.Area4LastBlock)
	}
	return (last + 1) * TelemetryBlock
}
