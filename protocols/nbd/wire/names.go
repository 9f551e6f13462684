package wire

import (
	"strconv"
	"strings"
)

var (
	handshakeNames    = []string{"FIXED_NEWSTYLE", "NO_ZEROES"}
	transmissionNames = []string{
		"HAS_FLAGS", "READ_ONLY", "SEND_FLUSH", "SEND_FUA", "ROTATIONAL", "SEND_TRIM", "SEND_WRITE_ZEROES", "SEND_DF", "CAN_MULTI_CONN",
		"SEND_RESIZE", "SEND_CACHE", "SEND_FAST_ZERO", "BLOCK_STATUS_PAYLOAD",
	}
	cmdFlagNames = []string{"FUA", "NO_HOLE", "DF", "REQ_ONE", "FAST_ZERO", "PAYLOAD_LEN"}
	optionNames  = []string{
		"", "EXPORT_NAME", "ABORT", "LIST", "PEEK_EXPORT", "STARTTLS", "INFO", "GO", "STRUCTURED_REPLY", "LIST_META_CONTEXT",
		"SET_META_CONTEXT", "EXTENDED_HEADERS",
	}
	repNames    = []string{"", "ACK", "SERVER", "INFO", "META_CONTEXT"}
	repErrNames = []string{
		"", "ERR_UNSUP", "ERR_POLICY", "ERR_INVALID", "ERR_PLATFORM", "ERR_TLS_REQD", "ERR_UNKNOWN", "ERR_SHUTDOWN", "ERR_BLOCK_SIZE_REQD",
		"ERR_TOO_BIG", "ERR_EXT_HEADER_REQD",
	}
	infoNames  = []string{"EXPORT", "NAME", "DESCRIPTION", "BLOCK_SIZE"}
	cmdNames   = []string{"READ", "WRITE", "DISC", "FLUSH", "TRIM", "CACHE", "WRITE_ZEROES", "BLOCK_STATUS", "RESIZE"}
	chunkNames = []string{"NONE", "OFFSET_DATA", "OFFSET_HOLE", "", "", "BLOCK_STATUS", "BLOCK_STATUS_EXT"}
	chunkErrs  = []string{"", "ERROR", "ERROR_OFFSET"}
)

func name(names []string, v uint64) string {
	if v < uint64(len(names)) && names[v] != "" {
		return names[v]
	}
	return "unknown(" + strconv.FormatUint(v, 10) + ")"
}

func flags(names []string, v uint64) string {
	var set []string
	for i := range 64 {
		switch {
		case v&(1<<i) == 0:
		case i < len(names):
			set = append(set, names[i])
		default:
			set = append(set, "bit"+strconv.Itoa(i))
		}
	}
	if set == nil {
		return "0"
	}
	return strings.Join(set, "|")
}

func (f HandshakeFlags) String() string    { return flags(handshakeNames, uint64(f)) }
func (f TransmissionFlags) String() string { return flags(transmissionNames, uint64(f)) }
func (f CmdFlags) String() string          { return flags(cmdFlagNames, uint64(f)) }
func (f ReplyFlags) String() string        { return flags([]string{"DONE"}, uint64(f)) }
func (o Option) String() string            { return name(optionNames, uint64(o)) }
func (i Info) String() string              { return name(infoNames, uint64(i)) }
func (c Cmd) String() string               { return name(cmdNames, uint64(c)) }

func (r Rep) String() string {
	if r.IsError() {
		return name(repErrNames, uint64(r&^repError))
	}
	return name(repNames, uint64(r))
}

func (c Chunk) String() string {
	if c.IsError() {
		return name(chunkErrs, uint64(c&^chunkError))
	}
	return name(chunkNames, uint64(c))
}
