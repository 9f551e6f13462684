package nvme

import "unsafe"

// Command is a submission queue entry, in the layout of the wire (all supported processors are little-endian).
// NVMe Base 2.0d §3.3.3.1, figure 87
type Command struct {
	Opcode uint8
	Flags  uint8 // FUSE in bits 1:0, PSDT in bits 7:6
	CID    uint16
	NSID   uint32
	CDW2   uint32
	CDW3   uint32
	MPTR   uint64
	PRP1   uint64 // with PRP2 the data pointer: two PRP entries or one SGL descriptor
	PRP2   uint64
	CDW10  uint32
	CDW11  uint32
	CDW12  uint32
	CDW13  uint32
	CDW14  uint32
	CDW15  uint32
}

// CommandSize is the size of a submission queue entry (CC.IOSQES is its logarithm).
const CommandSize = 64

var _ [CommandSize]byte = [unsafe.Sizeof(Command{})]byte{}

// PSDT values of Command.Flags. NVMe Base 2.0d §3.3.3.1, figure 86
const (
	flagSGL = 1 << 6 // data by SGL, metadata by a contiguous buffer
)

// Completion is a completion queue entry. NVMe Base 2.0d §3.3.3.2, figure 90
type Completion struct {
	DW0    uint32
	DW1    uint32
	SQHD   uint16
	SQID   uint16
	CID    uint16
	Status Status // with the phase tag taken out
}

// CompletionSize is the size of a completion queue entry (CC.IOCQES is its logarithm).
const CompletionSize = 16

// Result is the 64-bit result, for commands that have one.
func (c Completion) Result() uint64 { return uint64(c.DW1)<<32 | uint64(c.DW0) }

// Admin command opcodes. NVMe Base 2.0d §5, figure 138
const (
	OpDeleteIOSQ       = 0x00
	OpCreateIOSQ       = 0x01
	OpGetLogPage       = 0x02
	OpDeleteIOCQ       = 0x04
	OpCreateIOCQ       = 0x05
	OpIdentify         = 0x06
	OpAbort            = 0x08
	OpSetFeatures      = 0x09
	OpGetFeatures      = 0x0a
	OpAsyncEvent       = 0x0c
	OpNSManagement     = 0x0d
	OpFirmwareCommit   = 0x10
	OpFirmwareDownload = 0x11
	OpDeviceSelfTest   = 0x14
	OpNSAttachment     = 0x15
	OpDoorbellBuffer   = 0x7c
	OpFormatNVM        = 0x80
	OpSecuritySend     = 0x81
	OpSecurityReceive  = 0x82
	OpSanitize         = 0x84
)

// I/O command opcodes. NVM Command Set 1.0d §3, figure 16
const (
	OpFlush              = 0x00
	OpWrite              = 0x01
	OpRead               = 0x02
	OpWriteUncorrectable = 0x04
	OpCompare            = 0x05
	OpWriteZeroes        = 0x08
	OpDatasetManagement  = 0x09
	OpVerify             = 0x0c
	OpCopy               = 0x19
)

// Direction is which way the data of a command goes.
type Direction uint8

// The two low bits of an opcode say it. NVMe Base 2.0d §3.3.3.1, figure 86
const (
	NoData           Direction = 0
	HostToController Direction = 1
	ControllerToHost Direction = 2
	Bidirectional    Direction = 3
)

// Direction is the data direction that the opcode's low bits encode.
func (c *Command) Direction() Direction { return Direction(c.Opcode & 3) }

// IOFlags are the bits of CDW12 that a read or write takes beside the length. NVM Command Set 1.0d §3.2.4, figure 57
type IOFlags uint32

// Flags of read, write, compare, verify and write zeroes.
const (
	LimitedRetry    IOFlags = 1 << 31
	FUA             IOFlags = 1 << 30 // force unit access
	PRAct           IOFlags = 1 << 29 // the controller inserts, or checks and strips, protection information
	CheckGuard      IOFlags = 1 << 28
	CheckAppTag     IOFlags = 1 << 27
	CheckRefTag     IOFlags = 1 << 26
	DeallocateZeros IOFlags = 1 << 25 // write zeroes only: DEAC
)

// ReadWrite builds the command for lbaCount (1 to 65536) logical blocks at slba, for every opcode that shares the
// layout: read, write, compare, verify, write zeroes, write uncorrectable. NVM Command Set 1.0d §3.2.4
func ReadWrite(op uint8, nsid uint32, slba uint64, lbaCount uint32, flags IOFlags) Command {
	return Command{
		Opcode: op,
		NSID:   nsid,
		CDW10:  uint32(slba),
		CDW11:  uint32(slba >> 32),
		CDW12:  (lbaCount-1)&0xffff | uint32(flags),
	}
}

// SetProtection adds the expected initial reference tag, application tag and its mask.
// NVM Command Set 1.0d §3.2.4, figures 58 and 59
func (c *Command) SetProtection(refTag uint32, appTag, appMask uint16) {
	c.CDW14 = refTag
	c.CDW15 = uint32(appMask)<<16 | uint32(appTag)
}

// Flush builds a flush of one namespace. NVMe Base 2.0d §7.1
func Flush(nsid uint32) Command { return Command{Opcode: OpFlush, NSID: nsid} }

// Range is one element of a dataset management command's list, or a copy's.
type Range struct {
	SLBA     uint64
	LBACount uint32
}

// MaxRanges is how many ranges a dataset management command carries at most.
const MaxRanges = 256

// DatasetManagement builds the command whose data is EncodeRanges of n ranges; deallocate is attribute AD.
// NVM Command Set 1.0d §3.2.3
func DatasetManagement(nsid uint32, n int, deallocate bool) Command {
	c := Command{Opcode: OpDatasetManagement, NSID: nsid, CDW10: uint32(n-1) & 0xff}
	if deallocate {
		c.CDW11 = 1 << 2
	}
	return c
}

// EncodeRanges is the data of a dataset management command, 16 bytes a range. NVM Command Set 1.0d §3.2.3, figure 43
func EncodeRanges(ranges []Range) []byte {
	b := make([]byte, 16*len(ranges))
	for i, r := range ranges {
		PutRange(b[16*i:], r)
	}
	return b
}

// PutRange encodes one range of a dataset management command into 16 bytes.
func PutRange(b []byte, r Range) {
	le.PutUint32(b, 0)
	le.PutUint32(b[4:], r.LBACount)
	le.PutUint64(b[8:], r.SLBA)
}

// Copy builds the command whose data is EncodeCopyRanges of n ranges, all copied one behind the other to sdlba.
// NVM Command Set 1.0d §3.2.2
func Copy(nsid uint32, sdlba uint64, n int) Command {
	return Command{
		Opcode: OpCopy, NSID: nsid, CDW10: uint32(sdlba), CDW11: uint32(sdlba >> 32), CDW12: uint32(n-1) & 0xff,
	}
}

// EncodeCopyRanges is the data of a copy command in descriptor format 0, 32 bytes a range.
// NVM Command Set 1.0d §3.2.2, figure 34
func EncodeCopyRanges(ranges []Range) []byte {
	b := make([]byte, 32*len(ranges))
	for i, r := range ranges {
		d := b[32*i:]
		le.PutUint64(d[8:], r.SLBA)
		le.PutUint16(d[16:], uint16(r.LBACount-1))
	}
	return b
}

// Identify builds the command that returns 4096 bytes. NVMe Base 2.0d §5.17
func Identify(cns uint8, nsid uint32, cntid uint16) Command {
	return Command{Opcode: OpIdentify, NSID: nsid, CDW10: uint32(cntid)<<16 | uint32(cns)}
}

// GetLogPage builds the command for n bytes (a multiple of 4) at byte offset of log page lid. NVMe Base 2.0d §5.16
func GetLogPage(lid uint8, nsid uint32, n int, offset uint64) Command {
	numd := uint32(n/4 - 1)
	return Command{
		Opcode: OpGetLogPage, NSID: nsid,
		CDW10: numd<<16 | uint32(lid), CDW11: numd >> 16,
		CDW12: uint32(offset), CDW13: uint32(offset >> 32),
	}
}

// FeatureSelect is the SEL field of Get Features. NVMe Base 2.0d §5.15, figure 189
type FeatureSelect uint8

// What Get Features can be asked for.
const (
	SelectCurrent FeatureSelect = iota
	SelectDefault
	SelectSaved
	SelectCapabilities
)

// GetFeatures builds the command. NVMe Base 2.0d §5.15
func GetFeatures(fid uint8, nsid uint32, sel FeatureSelect, cdw11 uint32) Command {
	return Command{Opcode: OpGetFeatures, NSID: nsid, CDW10: uint32(sel&7)<<8 | uint32(fid), CDW11: cdw11}
}

// SetFeatures builds the command. NVMe Base 2.0d §5.27
func SetFeatures(fid uint8, nsid uint32, save bool, cdw11 uint32) Command {
	c := Command{Opcode: OpSetFeatures, NSID: nsid, CDW10: uint32(fid), CDW11: cdw11}
	if save {
		c.CDW10 |= 1 << 31
	}
	return c
}
