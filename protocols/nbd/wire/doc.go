// Package wire has the messages of the NBD protocol as types: constants, encoders and decoders of both directions, checks and names. It does no
// I/O and imports nothing of ours, so client and server share it and both are tested and fuzzed against one text: doc/proto.md of the
// NetworkBlockDevice project, in the edition with extended headers (2023); sections are cited by their titles.
//
// Every number on the wire is big-endian. Put methods fill a slice that is long enough (the Size constants say how long), Append functions
// extend one, Parse functions look at one; none of them keeps or allocates memory unless it fails, and what a view returns points into the
// slice it was parsed from. A message that breaks the protocol is reported as an error that is [ErrMalformed], with what was wrong with it;
// after one the stream cannot be trusted, unless the text of the function says otherwise.
//
// The limits that a message is checked against are those of the protocol ([MaxString]) and ours ([MaxOption], [MaxErrorChunk]), which are
// generous against what peers send. Lengths of data depend on what was negotiated and are the caller's to check.
package wire

import (
	"errors"
	"fmt"
)

// ErrMalformed is what every error of a Parse function is.
var ErrMalformed = errors.New("malformed NBD message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// Limits in bytes.
const (
	MaxString     = 4096                  // proto.md "Conventions": names and messages
	MaxOption     = 32 << 20              // data of one option or of the reply to it: what qemu-nbd takes as well
	MaxErrorChunk = 4 + 2 + MaxString + 8 // payload of an error chunk: code, length, message, offset
	DefaultMin    = 1                     // proto.md "Block size constraints": without them a client assumes
	DefaultPref   = 4096                  // these sizes
	DefaultMax    = 32 << 20              // and sends no more than this at once
)

// Ports and sizes of messages in bytes.
const (
	Port = 10809 // IANA's, TCP

	MagicSize         = 8 // the first word, before the style is known
	OldstyleSize      = 8 + 8 + 8 + 4 + 124
	NewstyleSize      = 8 + 8 + 2
	ClientFlagsSize   = 4
	OptionSize        = 8 + 4 + 4
	OptionReplySize   = 8 + 4 + 4 + 4
	ExportNameSize    = 8 + 2 // the reply to EXPORT_NAME where NO_ZEROES was agreed
	ExportNameZeroes  = 124   // follow it where not
	CompactSize       = 4 + 2 + 2 + 8 + 8 + 4
	ExtendedSize      = 4 + 2 + 2 + 8 + 8 + 8
	SimpleReplySize   = 4 + 4 + 8
	ChunkSize         = 4 + 2 + 2 + 8 + 4
	ExtendedChunkSize = 4 + 2 + 2 + 8 + 8 + 8
	MaxReplySize      = ExtendedChunkSize

	OffsetDataSize = 8 // before the data of an OFFSET_DATA chunk
	OffsetHoleSize = 8 + 4
	StatusSize     = 4     // before the descriptors of a BLOCK_STATUS chunk
	StatusExtSize  = 4 + 4 // the same of BLOCK_STATUS_EXT
	DescriptorSize = 4 + 4
	DescriptorExt  = 8 + 8
)
