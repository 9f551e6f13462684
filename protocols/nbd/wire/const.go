package wire

// Magic numbers, in the order in which they are met.
const (
	MagicInit          = 0x4e42444d41474943 // "NBDMAGIC": every server's first word
	MagicOldstyle      = 0x00420281861253   // second word of oldstyle servers
	MagicOption        = 0x49484156454F5054 // "IHAVEOPT": second word of newstyle servers, first of every option
	MagicOptionReply   = 0x0003e889045565a9
	MagicRequest       = 0x25609513
	MagicExtended      = 0x21e41c71
	MagicSimpleReply   = 0x67446698
	MagicChunk         = 0x668e33ef
	MagicExtendedChunk = 0x6e8a278c
)

// HandshakeFlags are what a newstyle server says of itself, and a client back. proto.md "Handshake flags", "Client flags"
type HandshakeFlags uint16

// The handshake flags; the client's have the same bits.
const (
	FixedNewstyle HandshakeFlags = 1 << iota
	NoZeroes
)

// TransmissionFlags are what an export can do. proto.md "Transmission flags"
type TransmissionFlags uint16

// The transmission flags.
const (
	HasFlags TransmissionFlags = 1 << iota
	ReadOnly
	SendFlush
	SendFUA
	Rotational
	SendTrim
	SendWriteZeroes
	SendDF
	CanMultiConn
	SendResize // of the resize extension
	SendCache
	SendFastZero
	BlockStatusPayload
)

// Option is what a client asks for before transmission. proto.md "Option types"
type Option uint32

// The options.
const (
	OptExportName Option = iota + 1
	OptAbort
	OptList
	OptPeekExport // withdrawn; not used
	OptStartTLS
	OptInfo
	OptGo
	OptStructuredReply
	OptListMetaContext
	OptSetMetaContext
	OptExtendedHeaders
)

// Rep is the type of a reply to an option; those with the highest bit are errors. proto.md "Option reply types"
type Rep uint32

const repError Rep = 1 << 31

// The replies.
const (
	RepAck         Rep = 1
	RepServer      Rep = 2
	RepInfo        Rep = 3
	RepMetaContext Rep = 4

	RepErrUnsup         = repError + 1
	RepErrPolicy        = repError + 2
	RepErrInvalid       = repError + 3
	RepErrPlatform      = repError + 4
	RepErrTLSReqd       = repError + 5
	RepErrUnknown       = repError + 6
	RepErrShutdown      = repError + 7
	RepErrBlockSizeReqd = repError + 8
	RepErrTooBig        = repError + 9
	RepErrExtHeaderReqd = repError + 10
)

// IsError reports whether the option was refused.
func (r Rep) IsError() bool { return r&repError != 0 }

// Info is a kind of fact about an export. proto.md "Option types", NBD_OPT_GO
type Info uint16

// The facts.
const (
	InfoExport Info = iota
	InfoName
	InfoDescription
	InfoBlockSize
)

// Cmd is the type of a request. proto.md "Request types"
type Cmd uint16

// The requests.
const (
	CmdRead Cmd = iota
	CmdWrite
	CmdDisc
	CmdFlush
	CmdTrim
	CmdCache
	CmdWriteZeroes
	CmdBlockStatus
	CmdResize // of the resize extension: Off is the new size in bytes, Len is zero
)

// CmdFlags modify a request. proto.md "Command flags"
type CmdFlags uint16

// The command flags.
const (
	FlagFUA CmdFlags = 1 << iota
	FlagNoHole
	FlagDF
	FlagReqOne
	FlagFastZero
	FlagPayloadLen
)

// ReplyFlags come with a chunk. proto.md "Structured reply flags"
type ReplyFlags uint16

// FlagDone means: the last chunk of the reply.
const FlagDone ReplyFlags = 1

// Chunk is the type of a chunk of a reply; those with the highest bit are errors. proto.md "Structured reply types"
type Chunk uint16

const chunkError Chunk = 1 << 15

// The chunks.
const (
	ChunkNone           Chunk = 0
	ChunkOffsetData     Chunk = 1
	ChunkOffsetHole     Chunk = 2
	ChunkBlockStatus    Chunk = 5
	ChunkBlockStatusExt Chunk = 6
	ChunkError                = chunkError + 1
	ChunkErrorOffset          = chunkError + 2
)

// IsError reports whether the chunk says that the request failed, known or not.
func (c Chunk) IsError() bool { return c&chunkError != 0 }

// Contexts of metadata that have a meaning here, and the bits of their status. proto.md "The base:allocation metadata context"; the qemu
// ones are described by docs/interop/nbd.txt of QEMU.
const (
	ContextAllocation = "base:allocation"
	ContextDepth      = "qemu:allocation-depth" // the status is the depth: 0 unallocated, 1 this layer, 2 the one below, …
	ContextBitmap     = "qemu:dirty-bitmap:"    // and the bitmap's name

	StateHole  = 1 << 0 // base:allocation: not allocated
	StateZero  = 1 << 1 // base:allocation: reads as zeroes
	StateDirty = 1 << 0 // qemu:dirty-bitmap
)
