package wire

// Request is the header of a request. Len is the effect's length, or that of the payload behind the header where [FlagPayloadLen] is set
// and extended headers were agreed; a WRITE with compact headers has Len bytes of payload.
type Request struct {
	Cookie uint64
	Off    uint64 // bytes
	Len    uint64 // bytes; 32 bits in a compact header
	Flags  CmdFlags
	Type   Cmd
}

// RequestSize returns the length of a header in bytes.
func RequestSize(extended bool) int {
	if extended {
		return ExtendedSize
	}
	return CompactSize
}

// PutCompact writes the header, [CompactSize] bytes. proto.md "Compact request message"
func (r *Request) PutCompact(b []byte) {
	_ = b[CompactSize-1]
	be.PutUint32(b, MagicRequest)
	be.PutUint16(b[4:], uint16(r.Flags))
	be.PutUint16(b[6:], uint16(r.Type))
	be.PutUint64(b[8:], r.Cookie)
	be.PutUint64(b[16:], r.Off)
	be.PutUint32(b[24:], uint32(r.Len))
}

// PutExtended writes the header, [ExtendedSize] bytes. proto.md "Extended request message"
func (r *Request) PutExtended(b []byte) {
	_ = b[ExtendedSize-1]
	be.PutUint32(b, MagicExtended)
	be.PutUint16(b[4:], uint16(r.Flags))
	be.PutUint16(b[6:], uint16(r.Type))
	be.PutUint64(b[8:], r.Cookie)
	be.PutUint64(b[16:], r.Off)
	be.PutUint64(b[24:], r.Len)
}

// Put writes the header of the kind agreed and says how long it is.
func (r *Request) Put(b []byte, extended bool) int {
	if extended {
		r.PutExtended(b)
		return ExtendedSize
	}
	r.PutCompact(b)
	return CompactSize
}

// ParseRequest reads a header of the kind agreed.
func ParseRequest(b []byte, extended bool) (Request, error) {
	want, magic := CompactSize, uint32(MagicRequest)
	if extended {
		want, magic = ExtendedSize, MagicExtended
	}
	if len(b) < want {
		return Request{}, malformed("request of %d bytes", len(b))
	}
	if m := be.Uint32(b); m != magic {
		return Request{}, malformed("request with magic %#08x, not %#08x", m, magic)
	}
	r := Request{
		Flags: CmdFlags(be.Uint16(b[4:])), Type: Cmd(be.Uint16(b[6:])),
		Cookie: be.Uint64(b[8:]), Off: be.Uint64(b[16:]),
	}
	if extended {
		r.Len = be.Uint64(b[24:])
	} else {
		r.Len = uint64(be.Uint32(b[24:]))
	}
	return r, nil
}

// Payload returns how many bytes follow the header. proto.md "Request message"
func (r *Request) Payload(extended bool) uint64 {
	switch {
	case extended && r.Flags&FlagPayloadLen != 0, r.Type == CmdWrite:
		return r.Len
	}
	return 0
}

// cmdFlags are the flags that each request may carry. proto.md "Command flags"; FUA is let through on all since clients are known to set it.
var cmdFlags = [...]CmdFlags{
	CmdRead:        FlagFUA | FlagDF,
	CmdWrite:       FlagFUA | FlagPayloadLen,
	CmdDisc:        FlagFUA,
	CmdFlush:       FlagFUA,
	CmdTrim:        FlagFUA,
	CmdCache:       FlagFUA,
	CmdWriteZeroes: FlagFUA | FlagNoHole | FlagFastZero,
	CmdBlockStatus: FlagFUA | FlagReqOne | FlagPayloadLen,
	CmdResize:      FlagFUA,
}

// Validate is what a server answers before it looks at the export: EINVAL for a request or a flag that is not known, EINVAL for a range
// that wraps. Whether the export allows the request is the server's to say.
func (r *Request) Validate(extended bool) Errno {
	if int(r.Type) >= len(cmdFlags) {
		return EINVAL
	}
	allowed := cmdFlags[r.Type]
	if !extended {
		allowed &^= FlagPayloadLen
	}
	if r.Flags&^allowed != 0 || r.Off > 1<<63-1 || r.Len > 1<<63-1-r.Off {
		return EINVAL
	}
	if extended && r.Type == CmdWrite && r.Flags&FlagPayloadLen == 0 {
		return EINVAL
	}
	return OK
}

// StatusPayload is the payload of BLOCK_STATUS with [FlagPayloadLen]: how far, and which contexts. A view.
type StatusPayload struct {
	Len uint64 // bytes of the export
	ids []byte
}

// AppendStatusPayload appends the payload of BLOCK_STATUS.
func AppendStatusPayload(b []byte, n uint64, ids ...uint32) []byte {
	b = be.AppendUint64(b, n)
	for _, id := range ids {
		b = be.AppendUint32(b, id)
	}
	return b
}

// ParseStatusPayload reads the payload of BLOCK_STATUS.
func ParseStatusPayload(b []byte) (StatusPayload, error) {
	if len(b) < 12 || len(b)%4 != 0 {
		return StatusPayload{}, malformed("BLOCK_STATUS with a payload of %d bytes", len(b))
	}
	return StatusPayload{be.Uint64(b), b[8:]}, nil
}

// Count returns how many contexts are asked for.
func (p StatusPayload) Count() int { return len(p.ids) / 4 }

// ID returns the i-th context asked for.
func (p StatusPayload) ID(i int) uint32 { return be.Uint32(p.ids[4*i:]) }
