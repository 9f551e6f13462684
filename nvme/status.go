package nvme

import (
	"errors"
	"fmt"
	"slices"
)

// Status is the status field of a completion without the phase tag: SC in bits 7:0, SCT in 10:8, CRD in 12:11, M in
// 13, DNR in 14. Zero is success. NVMe Base 2.0d §3.3.3.2.1, figure 93
type Status uint16

// SC is the status code.
func (s Status) SC() uint8 { return uint8(s) }

// SCT is the status code type.
func (s Status) SCT() uint8 { return uint8(s>>8) & 7 }

// CRD is the index of the command retry delay time, 0 for none.
func (s Status) CRD() uint8 { return uint8(s>>11) & 3 }

// More says that the error log has an entry with more about it.
func (s Status) More() bool { return s&(1<<13) != 0 }

// DoNotRetry says that the same command would fail again.
func (s Status) DoNotRetry() bool { return s&(1<<14) != 0 }

// OK says that the command succeeded.
func (s Status) OK() bool { return s&0x7ff == 0 }

// Code is type and code together, the value that the constants below have.
func (s Status) Code() Status { return s & 0x7ff }

// Status codes that something is decided by. NVMe Base 2.0d §3.3.3.2.1, figures 95 to 100
const (
	StatusSuccess                Status = 0x000
	StatusInvalidOpcode          Status = 0x001
	StatusInvalidField           Status = 0x002
	StatusCommandIDConflict      Status = 0x003
	StatusDataTransferError      Status = 0x004
	StatusInternalError          Status = 0x006
	StatusAbortRequested         Status = 0x007
	StatusAbortedSQDeletion      Status = 0x008
	StatusInvalidNamespace       Status = 0x00b
	StatusSanitizeFailed         Status = 0x01c
	StatusSanitizeInProgress     Status = 0x01d
	StatusNamespaceProtected     Status = 0x020
	StatusCommandInterrupted     Status = 0x021
	StatusLBAOutOfRange          Status = 0x080
	StatusCapacityExceeded       Status = 0x081
	StatusNamespaceNotReady      Status = 0x082
	StatusFormatInProgress       Status = 0x084
	StatusInvalidQueueID         Status = 0x101
	StatusInvalidQueueSize       Status = 0x102
	StatusAsyncEventLimit        Status = 0x105
	StatusInvalidLogPage         Status = 0x109
	StatusFeatureNotSaveable     Status = 0x10d
	StatusConflictingAttributes  Status = 0x180
	StatusInvalidProtectionInfo  Status = 0x181
	StatusReadOnlyRange          Status = 0x182
	StatusWriteFault             Status = 0x280
	StatusUnrecoveredRead        Status = 0x281
	StatusGuardCheck             Status = 0x282
	StatusApplicationTagCheck    Status = 0x283
	StatusReferenceTagCheck      Status = 0x284
	StatusCompareFailure         Status = 0x285
	StatusAccessDenied           Status = 0x286
	StatusDeallocatedBlock       Status = 0x287
	StatusInternalPathError      Status = 0x300
	StatusControllerPathingError Status = 0x360
	StatusHostPathingError       Status = 0x370
	StatusHostAborted            Status = 0x371
)

// statusNames are the names of the specification, in nvme-cli's wording.
var statusNames = map[Status]string{
	0x000: "Successful Completion", 0x001: "Invalid Command Opcode", 0x002: "Invalid Field in Command",
	0x003: "Command ID Conflict", 0x004: "Data Transfer Error", 0x005: "Commands Aborted due to Power Loss Notification",
	0x006: "Internal Error", 0x007: "Command Abort Requested", 0x008: "Command Aborted due to SQ Deletion",
	0x009: "Command Aborted due to Failed Fused Command", 0x00a: "Command Aborted due to Missing Fused Command",
	0x00b: "Invalid Namespace or Format", 0x00c: "Command Sequence Error", 0x00d: "Invalid SGL Segment Descriptor",
	0x00e: "Invalid Number of SGL Descriptors", 0x00f: "Data SGL Length Invalid", 0x010: "Metadata SGL Length Invalid",
	0x011: "SGL Descriptor Type Invalid", 0x012: "Invalid Use of Controller Memory Buffer", 0x013: "PRP Offset Invalid",
	0x014: "Atomic Write Unit Exceeded", 0x015: "Operation Denied", 0x016: "SGL Offset Invalid",
	0x018: "Host Identifier Inconsistent Format", 0x019: "Keep Alive Timer Expired", 0x01a: "Keep Alive Timeout Invalid",
	0x01b: "Command Aborted due to Preempt and Abort", 0x01c: "Sanitize Failed", 0x01d: "Sanitize In Progress",
	0x01e: "SGL Data Block Granularity Invalid", 0x01f: "Command Not Supported for Queue in CMB",
	0x020: "Namespace is Write Protected", 0x021: "Command Interrupted", 0x022: "Transient Transport Error",
	0x023: "Command Prohibited by Command and Feature Lockdown", 0x024: "Admin Command Media Not Ready",
	0x080: "LBA Out of Range", 0x081: "Capacity Exceeded", 0x082: "Namespace Not Ready", 0x083: "Reservation Conflict",
	0x084: "Format In Progress", 0x085: "Invalid Value Size", 0x086: "Invalid Key Size", 0x087: "KV Key Does Not Exist",
	0x088: "Unrecovered Error", 0x089: "Key Exists",

	0x100: "Completion Queue Invalid", 0x101: "Invalid Queue Identifier", 0x102: "Invalid Queue Size",
	0x103: "Abort Command Limit Exceeded", 0x105: "Asynchronous Event Request Limit Exceeded",
	0x106: "Invalid Firmware Slot", 0x107: "Invalid Firmware Image", 0x108: "Invalid Interrupt Vector",
	0x109: "Invalid Log Page", 0x10a: "Invalid Format",
	0x10b: "Firmware Activation Requires Conventional Reset", 0x10c: "Invalid Queue Deletion",
	0x10d: "Feature Identifier Not Saveable", 0x10e: "Feature Not Changeable", 0x10f: "Feature Not Namespace Specific",
	0x110: "Firmware Activation Requires NVM Subsystem Reset", 0x111: "Firmware Activation Requires Controller Level Reset",
	0x112: "Firmware Activation Requires Maximum Time Violation", 0x113: "Firmware Activation Prohibited",
	0x114: "Overlapping Range", 0x115: "Namespace Insufficient Capacity", 0x116: "Namespace Identifier Unavailable",
	0x118: "Namespace Already Attached", 0x119: "Namespace Is Private", 0x11a: "Namespace Not Attached",
	0x11b: "Thin Provisioning Not Supported", 0x11c: "Controller List Invalid", 0x11d: "Device Self-test In Progress",
	0x11e: "Boot Partition Write Prohibited", 0x11f: "Invalid Controller Identifier",
	0x120: "Invalid Secondary Controller State", 0x121: "Invalid Number of Controller Resources",
	0x122: "Invalid Resource Identifier", 0x123: "Sanitize Prohibited While Persistent Memory Region is Enabled",
	0x124: "ANA Group Identifier Invalid", 0x125: "ANA Attach Failed", 0x126: "Insufficient Capacity",
	0x127: "Namespace Attachment Limit Exceeded", 0x128: "Prohibition of Command Execution Not Supported",
	0x129: "The I/O command set is not supported", 0x12a: "The I/O command set is not enabled",
	0x12b: "The I/O command set combination is rejected", 0x12c: "The I/O command set is invalid",
	0x12d: "Identifier Unavailable",
	0x180: "Conflicting Attributes", 0x181: "Invalid Protection Information", 0x182: "Attempted Write to Read Only Range",
	0x183: "Command Size Limit Exceeded", 0x1b8: "Zoned Boundary Error", 0x1b9: "Zone Is Full",
	0x1ba: "Zone Is Read Only", 0x1bb: "Zone Is Offline", 0x1bc: "Zone Invalid Write", 0x1bd: "Too Many Active Zones",
	0x1be: "Too Many Open Zones", 0x1bf: "Invalid Zone State Transition",

	0x280: "Write Fault", 0x281: "Unrecovered Read Error", 0x282: "End-to-end Guard Check Error",
	0x283: "End-to-end Application Tag Check Error", 0x284: "End-to-end Reference Tag Check Error",
	0x285: "Compare Failure", 0x286: "Access Denied", 0x287: "Deallocated or Unwritten Logical Block",
	0x288: "End-to-End Storage Tag Check Error",

	0x300: "Internal Path Error", 0x301: "Asymmetric Access Persistent Loss", 0x302: "Asymmetric Access Inaccessible",
	0x303: "Asymmetric Access Transition", 0x360: "Controller Pathing Error", 0x370: "Host Pathing Error",
	0x371: "Command Aborted By Host",
}

var statusTypes = [8]string{
	"generic", "command specific", "media and data integrity", "path related", "reserved", "reserved", "reserved", "vendor specific",
}

// String is the name and the value, as nvme-cli prints them: "Invalid Field in Command(0x4002)".
func (s Status) String() string {
	name, ok := statusNames[s.Code()]
	if !ok {
		name = fmt.Sprintf("Unknown (%s status %#02x)", statusTypes[s.SCT()], s.SC())
	}
	return fmt.Sprintf("%s(%#x)", name, uint16(s))
}

// Retryable says whether the specification lets the host send the same command again: the controller did not say Do
// Not Retry, and the status is not a statement about the command itself. NVMe Base 2.0d §3.3.3.2.1, figure 93, "DNR"
func (s Status) Retryable() bool {
	if s.OK() || s.DoNotRetry() {
		return false
	}
	return slices.Contains(transient, s.Code())
}

// transient are the statuses that say something about the moment.
var transient = []Status{
	StatusDataTransferError, StatusInternalError, StatusAbortedSQDeletion, StatusCommandInterrupted,
	0x022 /* transient transport error */, 0x024 /* admin command media not ready */, StatusNamespaceNotReady,
	StatusFormatInProgress, StatusInternalPathError,
}

// StatusError is a command that the controller completed with an error.
type StatusError struct {
	Status Status
	Opcode uint8
	Admin  bool
	NSID   uint32
}

func (e *StatusError) Error() string {
	set := "I/O"
	if e.Admin {
		set = "admin"
	}
	s := fmt.Sprintf("%s command %#02x: %v", set, e.Opcode, e.Status)
	if e.Status.DoNotRetry() {
		s += ", do not retry"
	}
	return s
}

// Is makes two StatusErrors equal when type and code are.
func (e *StatusError) Is(target error) bool {
	var t *StatusError
	return errors.As(target, &t) && t.Status.Code() == e.Status.Code()
}

// What ends a command, or a controller, without a status from the controller.
var (
	// ErrTimeout is a command, or a step of the bring-up, that took longer than it may.
	ErrTimeout = errors.New("timed out")
	// ErrFatal is a controller that reports CSTS.CFS.
	ErrFatal = errors.New("controller fatal status")
	// ErrRemoved is a controller that is no longer on the bus.
	ErrRemoved = errors.New("controller removed")
	// ErrReset is a command that was in flight when its queue or controller had to be reset.
	ErrReset = errors.New("aborted by reset")
	// ErrMalformed is a completion that answers no command in flight.
	ErrMalformed = errors.New("malformed completion")
	// ErrClosed is a queue or controller that was closed.
	ErrClosed = errors.New("closed")
	// ErrNotNVMe is a PCI function that is no NVMe controller.
	ErrNotNVMe = errors.New("not an NVMe controller")
	// ErrNoNamespace is a namespace that the controller does not have, or has not attached.
	ErrNoNamespace = errors.New("no such namespace")
	// ErrNoQueue is a controller whose I/O queues are all in use.
	ErrNoQueue = errors.New("no I/O queue left")
	// ErrUnsupported is what this controller, or this driver, cannot do.
	ErrUnsupported = errors.New("not supported")
)
