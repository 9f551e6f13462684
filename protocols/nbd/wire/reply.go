package wire

import "golang.org/x/sys/unix"

// Replies says which headers of replies were agreed on.
type Replies uint8

// The three kinds.
const (
	Simple     Replies = iota // simple replies only
	Structured                // chunks; simple replies to anything but READ
	Extended                  // chunks with extended headers, and nothing else
)

// Reply is the header of a simple reply or of a chunk.
type Reply struct {
	Cookie uint64
	Off    uint64 // extended: the offset of the request
	Len    uint64 // bytes of payload of a chunk
	Err    Errno  // of a simple reply
	Flags  ReplyFlags
	Type   Chunk
	Simple bool
}

// Done reports whether nothing more comes for the request.
func (r *Reply) Done() bool { return r.Simple || r.Flags&FlagDone != 0 }

// PutSimple writes a simple reply, [SimpleReplySize] bytes. proto.md "Simple reply message"
func PutSimple(b []byte, cookie uint64, err Errno) {
	_ = b[SimpleReplySize-1]
	be.PutUint32(b, MagicSimpleReply)
	be.PutUint32(b[4:], uint32(err))
	be.PutUint64(b[8:], cookie)
}

// PutChunk writes the header of a chunk, [ChunkSize] bytes. proto.md "Structured reply chunk message"
func (r *Reply) PutChunk(b []byte) {
	_ = b[ChunkSize-1]
	be.PutUint32(b, MagicChunk)
	be.PutUint16(b[4:], uint16(r.Flags))
	be.PutUint16(b[6:], uint16(r.Type))
	be.PutUint64(b[8:], r.Cookie)
	be.PutUint32(b[16:], uint32(r.Len))
}

// PutExtended writes the header of a chunk, [ExtendedChunkSize] bytes. proto.md "Extended reply chunk message"
func (r *Reply) PutExtended(b []byte) {
	_ = b[ExtendedChunkSize-1]
	be.PutUint32(b, MagicExtendedChunk)
	be.PutUint16(b[4:], uint16(r.Flags))
	be.PutUint16(b[6:], uint16(r.Type))
	be.PutUint64(b[8:], r.Cookie)
	be.PutUint64(b[16:], r.Off)
	be.PutUint64(b[24:], r.Len)
}

// Put writes the header of the kind agreed and says how long it is.
func (r *Reply) Put(b []byte, kind Replies) int {
	switch kind {
	case Simple:
		PutSimple(b, r.Cookie, r.Err)
		return SimpleReplySize
	case Structured:
		r.PutChunk(b)
		return ChunkSize
	default:
		r.PutExtended(b)
		return ExtendedChunkSize
	}
}

// MinReplySize is how many bytes a client may always wait for before it knows what is coming.
func MinReplySize(kind Replies) int {
	if kind == Extended {
		return ExtendedChunkSize
	}
	return SimpleReplySize
}

// ParseReply reads a header into r and returns its length; one that is longer than b has more to come, and r is not valid yet. b holds
// at least [MinReplySize] bytes.
func ParseReply(b []byte, kind Replies, r *Reply) (int, error) {
	if len(b) < MinReplySize(kind) {
		return 0, malformed("reply of %d bytes", len(b))
	}
	switch m := be.Uint32(b); {
	case m == MagicSimpleReply && kind != Extended:
		*r = Reply{Simple: true, Err: Errno(be.Uint32(b[4:])), Cookie: be.Uint64(b[8:])}
		return SimpleReplySize, nil
	case m == MagicChunk && kind == Structured:
		if len(b) < ChunkSize {
			return ChunkSize, nil
		}
		*r = Reply{
			Flags: ReplyFlags(be.Uint16(b[4:])), Type: Chunk(be.Uint16(b[6:])),
			Cookie: be.Uint64(b[8:]), Len: uint64(be.Uint32(b[16:])),
		}
		return ChunkSize, r.check()
	case m == MagicExtendedChunk && kind == Extended:
		*r = Reply{
			Flags: ReplyFlags(be.Uint16(b[4:])), Type: Chunk(be.Uint16(b[6:])),
			Cookie: be.Uint64(b[8:]), Off: be.Uint64(b[16:]), Len: be.Uint64(b[24:]),
		}
		return ExtendedChunkSize, r.check()
	default:
		return 0, malformed("reply with magic %#08x", m)
	}
}

// check holds the length of a chunk against its type, as far as that can be told without the request. proto.md "Structured reply types"
func (r *Reply) check() error {
	var ok bool
	switch {
	case r.Type == ChunkNone:
		ok = r.Len == 0
		if r.Flags&FlagDone == 0 {
			return malformed("NONE that is not the last chunk")
		}
	case r.Type == ChunkOffsetData:
		ok = r.Len > OffsetDataSize
	case r.Type == ChunkOffsetHole:
		ok = r.Len == OffsetHoleSize
	case r.Type == ChunkBlockStatus:
		ok = r.Len >= StatusSize+DescriptorSize && (r.Len-StatusSize)%DescriptorSize == 0
	case r.Type == ChunkBlockStatusExt:
		ok = r.Len >= StatusExtSize+DescriptorExt && (r.Len-StatusExtSize)%DescriptorExt == 0
	case r.Type == ChunkErrorOffset:
		ok = r.Len >= 14 && r.Len <= MaxErrorChunk
	case r.Type.IsError():
		ok = r.Len >= 6 && r.Len <= MaxErrorChunk
	default:
		return malformed("chunk of type %v", r.Type)
	}
	if !ok {
		return malformed("%v chunk of %d bytes", r.Type, r.Len)
	}
	return nil
}

// PutOffsetData writes what precedes the data of an OFFSET_DATA chunk, [OffsetDataSize] bytes.
func PutOffsetData(b []byte, off uint64) { be.PutUint64(b, off) }

// ParseOffsetData reads what PutOffsetData writes.
func ParseOffsetData(b []byte) uint64 { return be.Uint64(b) }

// PutOffsetHole writes the payload of an OFFSET_HOLE chunk, [OffsetHoleSize] bytes.
func PutOffsetHole(b []byte, off uint64, n uint32) {
	be.PutUint64(b, off)
	be.PutUint32(b[8:], n)
}

// ParseOffsetHole reads the payload of an OFFSET_HOLE chunk.
func ParseOffsetHole(b []byte) (off uint64, n uint32, err error) {
	if len(b) != OffsetHoleSize || be.Uint32(b[8:]) == 0 {
		return 0, 0, malformed("OFFSET_HOLE % x", b)
	}
	return be.Uint64(b), be.Uint32(b[8:]), nil
}

// ChunkFailure is the payload of an ERROR or ERROR_OFFSET chunk: a view.
type ChunkFailure struct {
	Err     Errno
	Message []byte
	Off     uint64 // ERROR_OFFSET
}

// AppendFailure appends the payload of an ERROR chunk, or of an ERROR_OFFSET chunk where off is not negative. A message over the limit is cut.
func AppendFailure(b []byte, err Errno, message string, off int64) []byte {
	message = message[:min(len(message), MaxString)]
	b = be.AppendUint32(b, uint32(err))
	b = be.AppendUint16(b, uint16(len(message)))
	b = append(b, message...)
	if off >= 0 {
		b = be.AppendUint64(b, uint64(off))
	}
	return b
}

// ParseFailure reads the payload of an error chunk. One of a type that is not known is read as far as it is like the others.
func ParseFailure(t Chunk, b []byte) (ChunkFailure, error) {
	if len(b) < 6 {
		return ChunkFailure{}, malformed("%v of %d bytes", t, len(b))
	}
	f := ChunkFailure{Err: Errno(be.Uint32(b))}
	n := int(be.Uint16(b[4:]))
	if b = b[6:]; n > len(b) {
		return ChunkFailure{}, malformed("%v with a message of %d bytes in %d", t, n, len(b))
	}
	f.Message, b = b[:n], b[n:]
	if f.Err == OK {
		return ChunkFailure{}, malformed("%v without an error", t)
	}
	if t == ChunkErrorOffset {
		if len(b) != 8 {
			return ChunkFailure{}, malformed("%v with %d bytes for its offset", t, len(b))
		}
		f.Off = be.Uint64(b)
	}
	return f, nil
}

// Error returns the failure as the system's error, and the server's words if there are any.
func (f ChunkFailure) Error() (unix.Errno, string) { return f.Err.System(), string(f.Message) }

// Descriptor is a run of one status.
type Descriptor struct {
	Len    uint64 // bytes
	Status uint64
}

// Status is the payload of a BLOCK_STATUS or BLOCK_STATUS_EXT chunk: a view.
type Status struct {
	ID  uint32 // of the context
	ext bool
	b   []byte
}

// AppendStatus appends the payload of a BLOCK_STATUS chunk (BLOCK_STATUS_EXT where ext is set); lengths and statuses are to fit.
func AppendStatus(b []byte, ext bool, id uint32, runs ...Descriptor) []byte {
	b = be.AppendUint32(b, id)
	if ext {
		b = be.AppendUint32(b, uint32(len(runs)))
	}
	for _, d := range runs {
		b = AppendDescriptor(b, ext, d)
	}
	return b
}

// AppendDescriptor appends one run.
func AppendDescriptor(b []byte, ext bool, d Descriptor) []byte {
	if ext {
		return be.AppendUint64(be.AppendUint64(b, d.Len), d.Status)
	}
	return be.AppendUint32(be.AppendUint32(b, uint32(d.Len)), uint32(d.Status))
}

// ParseStatus reads the payload of a BLOCK_STATUS or BLOCK_STATUS_EXT chunk: no run is empty.
func ParseStatus(t Chunk, b []byte) (Status, error) {
	r := Reply{Type: t, Flags: FlagDone, Len: uint64(len(b))}
	if t != ChunkBlockStatus && t != ChunkBlockStatusExt {
		return Status{}, malformed("%v where a block status was expected", t)
	}
	if err := r.check(); err != nil {
		return Status{}, err
	}
	s := Status{ID: be.Uint32(b), ext: t == ChunkBlockStatusExt, b: b[StatusSize:]}
	if s.ext {
		s.b = b[StatusExtSize:]
		if n := be.Uint32(b[4:]); uint64(n) != uint64(s.Count()) {
			return Status{}, malformed("%v with %d runs that says %d", t, s.Count(), n)
		}
	}
	for i := range s.Count() {
		if s.At(i).Len == 0 {
			return Status{}, malformed("%v with an empty run", t)
		}
	}
	return s, nil
}

// Count returns how many runs there are.
func (s Status) Count() int {
	if s.ext {
		return len(s.b) / DescriptorExt
	}
	return len(s.b) / DescriptorSize
}

// At returns the i-th run.
func (s Status) At(i int) Descriptor {
	if s.ext {
		b := s.b[i*DescriptorExt:]
		return Descriptor{be.Uint64(b), be.Uint64(b[8:])}
	}
	b := s.b[i*DescriptorSize:]
	return Descriptor{uint64(be.Uint32(b)), uint64(be.Uint32(b[4:]))}
}
