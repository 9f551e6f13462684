package server

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// Limits of a connection.
const (
	maxPayload  = wire.DefaultMax // bytes of data in one request
	maxInFlight = 64              // requests of one client under way
	maxContexts = 32              // of metadata that a client may set
	maxStatus   = 1 << 10         // bytes of payload of BLOCK_STATUS
	statusRoom  = 16 << 10        // bytes of a reply to BLOCK_STATUS, all contexts together
	headRoom    = 64              // before the data of a reply, for its header
)

// metaContext is a context that was set.
type metaContext struct {
	id   uint32
	name string
}

// session is what a client has agreed on.
type session struct {
	srv      *Server
	exp      *Export
	replies  wire.Replies
	contexts []metaContext
}

func (s *session) extended() bool { return s.replies == wire.Extended }

// check is what is answered before the node is asked: OK, or why not. proto.md "Request types"
func (s *session) check(r *wire.Request) wire.Errno {
	if e := r.Validate(s.extended()); e != wire.OK {
		return e
	}
	writes := false
	switch r.Type {
	case wire.CmdFlush:
		return wire.OK
	case wire.CmdRead:
		if r.Len > maxPayload {
			return wire.EINVAL
		}
		if r.Flags&wire.FlagDF != 0 && s.replies == wire.Simple {
			return wire.EINVAL
		}
	case wire.CmdWrite:
		if r.Len > maxPayload {
			return wire.EINVAL
		}
		writes = true
	case wire.CmdTrim, wire.CmdWriteZeroes:
		writes = true
	case wire.CmdCache:
	case wire.CmdBlockStatus:
		if len(s.contexts) == 0 || r.Len == 0 {
			return wire.EINVAL
		}
		if r.Flags&wire.FlagPayloadLen != 0 {
			return wire.OK // the range is in the payload
		}
	default:
		return wire.EINVAL
	}
	if writes && s.exp.ReadOnly {
		return wire.EPERM
	}
	if size := uint64(s.exp.size()); r.Off > size || r.Len > size-r.Off {
		if r.Type == wire.CmdWrite || r.Type == wire.CmdWriteZeroes {
			return wire.ENOSPC
		}
		return wire.EINVAL
	}
	return wire.OK
}

// writeFlags translates a request's flags. Without NO_HOLE zeroes may be made by deallocating.
func writeFlags(r *wire.Request) engine.WriteFlags {
	var f engine.WriteFlags
	if r.Flags&wire.FlagFUA != 0 {
		f |= engine.FUA
	}
	if r.Type == wire.CmdWriteZeroes {
		if r.Flags&wire.FlagNoHole == 0 {
			f |= engine.MayUnmap
		}
		if r.Flags&wire.FlagFastZero != 0 {
			f |= engine.NoFallback
		}
	}
	return f
}

// errnoOf is what a client is told of an error.
func errnoOf(err error) wire.Errno {
	if err == nil {
		return wire.OK
	}
	return wire.FromSystem(engine.Errno(err))
}

func errnoOfRes(res int32, err error) wire.Errno {
	if res >= 0 {
		return wire.OK
	}
	if err != nil {
		return errnoOf(err)
	}
	return wire.FromSystem(unix.Errno(-res))
}

// readHeadSize is how long what precedes the data of a reply to READ is.
func (s *session) readHeadSize() int {
	switch s.replies {
	case wire.Simple:
		return wire.SimpleReplySize
	case wire.Structured:
		return wire.ChunkSize + wire.OffsetDataSize
	default:
		return wire.ExtendedChunkSize + wire.OffsetDataSize
	}
}

// putReadHead writes it, for n bytes of data from at on of a request from off on. last says that nothing comes after them.
func (s *session) putReadHead(b []byte, cookie, off, at uint64, n uint32, last bool) {
	if s.replies == wire.Simple {
		wire.PutSimple(b, cookie, wire.OK)
		return
	}
	c := wire.Reply{Cookie: cookie, Off: off, Len: uint64(n) + wire.OffsetDataSize, Type: wire.ChunkOffsetData}
	if last {
		c.Flags = wire.FlagDone
	}
	wire.PutOffsetData(b[c.Put(b, s.replies):], at)
}

// appendEnd appends the whole reply to a request that answers no data: done, or failed. A client that knows chunks is told by one when
// something failed, and always with extended headers; a READ or BLOCK_STATUS that answers nothing ends by a chunk as well.
func (s *session) appendEnd(b []byte, r *wire.Request, e wire.Errno) []byte {
	at := len(b)
	b = append(b, make([]byte, wire.MaxReplySize)...)
	bare := r.Type != wire.CmdRead && r.Type != wire.CmdBlockStatus
	switch {
	case s.replies == wire.Simple, s.replies == wire.Structured && e == wire.OK && bare:
		wire.PutSimple(b[at:], r.Cookie, e)
		return b[:at+wire.SimpleReplySize]
	case e == wire.OK:
		c := wire.Reply{Cookie: r.Cookie, Off: r.Off, Flags: wire.FlagDone, Type: wire.ChunkNone}
		return b[:at+c.Put(b[at:], s.replies)]
	}
	text := failures[min(int(r.Type), len(failures)-1)]
	c := wire.Reply{Cookie: r.Cookie, Off: r.Off, Flags: wire.FlagDone, Type: wire.ChunkError, Len: uint64(6 + len(text))}
	b = b[:at+c.Put(b[at:], s.replies)]
	return wire.AppendFailure(b, e, text, -1)
}

// failures are the messages of error chunks.
var failures = [...]string{
	wire.CmdRead: "read failed", wire.CmdWrite: "write failed", wire.CmdDisc: "disconnect failed", wire.CmdFlush: "flush failed",
	wire.CmdTrim: "trim failed", wire.CmdCache: "cache failed", wire.CmdWriteZeroes: "write of zeroes failed",
	wire.CmdBlockStatus: "block status failed", wire.CmdResize: "request not supported",
}

// endRoom is what appendEnd appends at most.
const endRoom = wire.MaxReplySize + 6 + 32

// run does a request by the node's blocking methods. data is what WRITE carries or READ is to fill.
func (s *session) run(ctx context.Context, r *wire.Request, data []byte) wire.Errno {
	root, off, n := s.exp.Root, int64(r.Off)+s.exp.Offset, int64(r.Len)
	flags := writeFlags(r)
	var err error
	switch r.Type {
	case wire.CmdRead:
		if n > 0 {
			err = root.ReadAt(ctx, data, off)
		}
	case wire.CmdWrite:
		if n > 0 {
			err = root.WriteAt(ctx, data, off, flags)
		}
	case wire.CmdFlush:
		err = root.Flush(ctx)
	case wire.CmdTrim:
		if err = root.Discard(ctx, off, n); err == nil && flags&engine.FUA != 0 {
			err = root.Flush(ctx)
		}
	case wire.CmdWriteZeroes:
		if n > 0 {
			err = root.WriteZeroes(ctx, off, n, flags)
		}
	case wire.CmdCache:
		err = s.prefetch(ctx, off, n)
	default:
		return wire.EINVAL
	}
	return errnoOf(err)
}

// prefetch reads a range for nobody, so that it is in the caches below.
func (s *session) prefetch(ctx context.Context, off, n int64) error {
	buf := make([]byte, min(n, 256<<10))
	for n = min(n, maxPayload); n > 0; {
		step := min(n, int64(len(buf)))
		if err := s.exp.Root.ReadAt(ctx, buf[:step], off); err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}
