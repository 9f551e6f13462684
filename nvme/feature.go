package nvme

import "fmt"

// Feature identifiers. NVMe Base 2.0d §5.27.1, figure 317
const (
	FIDArbitration          = 0x01
	FIDPowerManagement      = 0x02
	FIDLBARangeType         = 0x03
	FIDTemperatureThreshold = 0x04
	FIDErrorRecovery        = 0x05
	FIDVolatileWriteCache   = 0x06
	FIDNumberOfQueues       = 0x07
	FIDInterruptCoalescing  = 0x08
	FIDInterruptVector      = 0x09
	FIDWriteAtomicity       = 0x0a
	FIDAsyncEvent           = 0x0b
	FIDAPST                 = 0x0c
	FIDHostMemoryBuffer     = 0x0d
	FIDTimestamp            = 0x0e
	FIDKeepAlive            = 0x0f
	FIDHCTM                 = 0x10
	FIDNOPSM                = 0x11
	FIDReadRecovery         = 0x12
	FIDSanitize             = 0x17
	FIDHostBehavior         = 0x16
)

// featureNames are the names of the specification.
var featureNames = map[uint8]string{
	FIDArbitration: "Arbitration", FIDPowerManagement: "Power Management", FIDLBARangeType: "LBA Range Type",
	FIDTemperatureThreshold: "Temperature Threshold", FIDErrorRecovery: "Error Recovery",
	FIDVolatileWriteCache: "Volatile Write Cache", FIDNumberOfQueues: "Number of Queues",
	FIDInterruptCoalescing: "Interrupt Coalescing", FIDInterruptVector: "Interrupt Vector Configuration",
	FIDWriteAtomicity: "Write Atomicity Normal", FIDAsyncEvent: "Async Event Configuration",
	FIDAPST: "Autonomous Power State Transition", FIDHostMemoryBuffer: "Host Memory Buffer", FIDTimestamp: "Timestamp",
	FIDKeepAlive: "Keep Alive Timer", FIDHCTM: "Host Controlled Thermal Management",
	FIDNOPSM: "Non-Operational Power State Config", FIDReadRecovery: "Read Recovery Level Config",
	FIDHostBehavior: "Host Behavior Support", FIDSanitize: "Sanitize Config",
}

// FeatureName is the name of a feature, or its number for one that this package does not know.
func FeatureName(fid uint8) string {
	if n, ok := featureNames[fid]; ok {
		return n
	}
	return fmt.Sprintf("feature %#02x", fid)
}

// FeatureDataSize is how many bytes of data Get or Set Features moves for fid, 0 for those that fit the dword.
func FeatureDataSize(fid uint8) int {
	switch fid {
	case FIDLBARangeType:
		return 4096
	case FIDAPST:
		return 256
	case FIDTimestamp:
		return 8
	case FIDHostMemoryBuffer:
		return 4096
	case FIDHostBehavior:
		return 512
	}
	return 0
}

// Feature values that the driver itself uses.

// QueueCounts is the result of Number of Queues: how many of each the controller grants, 0's based on the wire.
// NVMe Base 2.0d §5.27.1.5
type QueueCounts struct{ SQ, CQ int }

// ParseQueueCounts decodes the completion's dword 0.
func ParseQueueCounts(dw0 uint32) QueueCounts {
	return QueueCounts{SQ: int(dw0&0xffff) + 1, CQ: int(dw0>>16) + 1}
}

// Encode is dword 11 of Set Features.
func (q QueueCounts) Encode() uint32 { return uint32(q.CQ-1)<<16 | uint32(q.SQ-1)&0xffff }

// Asynchronous events. NVMe Base 2.0d §5.2, figure 147

// AsyncEvent is the completion dword 0 of an Asynchronous Event Request.
type AsyncEvent uint32

// Type is the event's type: 0 error, 1 SMART, 2 notice, 6 I/O command specific, 7 vendor specific.
func (e AsyncEvent) Type() uint8 { return uint8(e) & 7 }

// Info is what happened within the type.
func (e AsyncEvent) Info() uint8 { return uint8(e >> 8) }

// LogPage is the page to read; reading it re-arms the event.
func (e AsyncEvent) LogPage() uint8 { return uint8(e >> 16) }

var asyncEventNames = map[[2]uint8]string{
	{0, 0}: "write to invalid doorbell register", {0, 1}: "invalid doorbell write value",
	{0, 2}: "diagnostic failure", {0, 3}: "persistent internal error", {0, 4}: "transient internal error",
	{0, 5}: "firmware image load error", {1, 0}: "NVM subsystem reliability", {1, 1}: "temperature threshold",
	{1, 2}: "spare below threshold", {2, 0}: "namespace attribute changed", {2, 1}: "firmware activation starting",
	{2, 2}: "telemetry log changed", {2, 3}: "asymmetric namespace access change",
	{6, 1}: "sanitize operation completed", {6, 2}: "sanitize operation completed with unexpected deallocation",
}

func (e AsyncEvent) String() string {
	if s, ok := asyncEventNames[[2]uint8{e.Type(), e.Info()}]; ok {
		return s
	}
	return fmt.Sprintf("asynchronous event type %d info %#02x", e.Type(), e.Info())
}
