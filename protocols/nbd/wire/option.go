package wire

// OptionHeader precedes the data of an option. proto.md "Newstyle negotiation"
type OptionHeader struct {
	Option Option
	Len    uint32 // bytes of data
}

// Put writes the header, [OptionSize] bytes.
func (o OptionHeader) Put(b []byte) {
	be.PutUint64(b, MagicOption)
	be.PutUint32(b[8:], uint32(o.Option))
	be.PutUint32(b[12:], o.Len)
}

// ParseOption reads the header of an option. A length over [MaxOption] is no error here: a server skips the data, or hangs up.
func ParseOption(b []byte) (OptionHeader, error) {
	if len(b) < OptionSize {
		return OptionHeader{}, malformed("option of %d bytes", len(b))
	}
	if m := be.Uint64(b); m != MagicOption {
		return OptionHeader{}, malformed("option with magic %#016x", m)
	}
	return OptionHeader{Option(be.Uint32(b[8:])), be.Uint32(b[12:])}, nil
}

// OptionReply precedes the data of a reply to an option. proto.md "Fixed newstyle negotiation"
type OptionReply struct {
	Option Option
	Type   Rep
	Len    uint32 // bytes of data
}

// Put writes the header, [OptionReplySize] bytes.
func (o OptionReply) Put(b []byte) {
	be.PutUint64(b, MagicOptionReply)
	be.PutUint32(b[8:], uint32(o.Option))
	be.PutUint32(b[12:], uint32(o.Type))
	be.PutUint32(b[16:], o.Len)
}

// ParseOptionReply reads the header of a reply to the option asked.
func ParseOptionReply(b []byte, asked Option) (OptionReply, error) {
	if len(b) < OptionReplySize {
		return OptionReply{}, malformed("reply to %v of %d bytes", asked, len(b))
	}
	if m := be.Uint64(b); m != MagicOptionReply {
		return OptionReply{}, malformed("reply to %v with magic %#016x", asked, m)
	}
	r := OptionReply{Option(be.Uint32(b[8:])), Rep(be.Uint32(b[12:])), be.Uint32(b[16:])}
	switch {
	case r.Option != asked:
		return r, malformed("reply to %v where %v was asked", r.Option, asked)
	case r.Len > MaxOption:
		return r, malformed("reply to %v of %d bytes, the limit is %d", asked, r.Len, MaxOption)
	case r.Type.IsError() && r.Len > MaxString:
		return r, malformed("%v to %v with a message of %d bytes, the limit is %d", r.Type, asked, r.Len, MaxString)
	case r.Type == RepAck && r.Len != 0:
		return r, malformed("ACK to %v with %d bytes", asked, r.Len)
	}
	return r, nil
}

// Names are the strings of an option or of a reply to one; what they are is the message's business.

func appendString(b []byte, s string) []byte {
	return append(be.AppendUint32(b, uint32(len(s))), s...)
}

// cutString takes a string with its length before it off the front of b.
func cutString(b []byte, what string) (s, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, malformed("%s cut off", what)
	}
	n := be.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, nil, malformed("%s of %d bytes in %d", what, n, len(b))
	}
	if err := ValidString(b[:n]); err != nil {
		return nil, nil, err
	}
	return b[:n], b[n:], nil
}

// InfoRequest is the data of INFO and GO: an export's name and which facts are wanted. A view.
type InfoRequest struct {
	Name  []byte
	infos []byte
}

// AppendInfoRequest appends the data of INFO and GO.
func AppendInfoRequest(b []byte, name string, infos ...Info) []byte {
	b = appendString(b, name)
	b = be.AppendUint16(b, uint16(len(infos)))
	for _, i := range infos {
		b = be.AppendUint16(b, uint16(i))
	}
	return b
}

// ParseInfoRequest reads the data of INFO and GO.
func ParseInfoRequest(b []byte) (InfoRequest, error) {
	name, rest, err := cutString(b, "export name")
	if err != nil {
		return InfoRequest{}, err
	}
	if len(rest) < 2 || len(rest) != 2+2*int(be.Uint16(rest)) {
		return InfoRequest{}, malformed("%d bytes of information requests", len(rest))
	}
	return InfoRequest{name, rest[2:]}, nil
}

// Len returns how many facts are asked for.
func (r InfoRequest) Len() int { return len(r.infos) / 2 }

// At returns the i-th fact asked for.
func (r InfoRequest) At(i int) Info { return Info(be.Uint16(r.infos[2*i:])) }

// Wants reports whether the fact is asked for.
func (r InfoRequest) Wants(info Info) bool {
	for i := range r.Len() {
		if r.At(i) == info {
			return true
		}
	}
	return false
}

// MetaRequest is the data of LIST_META_CONTEXT and SET_META_CONTEXT: an export's name and queries. A view.
type MetaRequest struct {
	Name    []byte
	Count   int // of queries
	queries []byte
}

// AppendMetaRequest appends the data of LIST_META_CONTEXT and SET_META_CONTEXT.
func AppendMetaRequest(b []byte, name string, queries ...string) []byte {
	b = appendString(b, name)
	b = be.AppendUint32(b, uint32(len(queries)))
	for _, q := range queries {
		b = appendString(b, q)
	}
	return b
}

// ParseMetaRequest reads the data of LIST_META_CONTEXT and SET_META_CONTEXT, and checks every query.
func ParseMetaRequest(b []byte) (MetaRequest, error) {
	name, rest, err := cutString(b, "export name")
	if err != nil {
		return MetaRequest{}, err
	}
	if len(rest) < 4 {
		return MetaRequest{}, malformed("number of queries cut off")
	}
	n := be.Uint32(rest)
	rest = rest[4:]
	r := MetaRequest{name, 0, rest}
	for ; n > 0; n-- {
		if _, rest, err = cutString(rest, "query"); err != nil {
			return MetaRequest{}, err
		}
		r.Count++
	}
	if len(rest) != 0 {
		return MetaRequest{}, malformed("%d bytes after the last query", len(rest))
	}
	return r, nil
}

// Queries calls yield with each query; it is an iterator.
func (r MetaRequest) Queries(yield func([]byte) bool) {
	for rest := r.queries; len(rest) >= 4; {
		n := be.Uint32(rest)
		if !yield(rest[4 : 4+n]) {
			return
		}
		rest = rest[4+n:]
	}
}

// MetaContext is the data of a META_CONTEXT reply: a view. The ID means something after SET_META_CONTEXT only.
type MetaContext struct {
	ID   uint32
	Name []byte
}

// AppendMetaContext appends the data of a META_CONTEXT reply.
func AppendMetaContext(b []byte, id uint32, name string) []byte {
	return append(be.AppendUint32(b, id), name...)
}

// ParseMetaContext reads the data of a META_CONTEXT reply.
func ParseMetaContext(b []byte) (MetaContext, error) {
	if len(b) < 5 {
		return MetaContext{}, malformed("metadata context of %d bytes", len(b))
	}
	return MetaContext{be.Uint32(b), b[4:]}, ValidString(b[4:])
}

// ServerEntry is the data of a SERVER reply, one export of the LIST: a view. Detail is for people.
type ServerEntry struct{ Name, Detail []byte }

// AppendServerEntry appends the data of a SERVER reply.
func AppendServerEntry(b []byte, name, detail string) []byte {
	return append(appendString(b, name), detail...)
}

// ParseServerEntry reads the data of a SERVER reply.
func ParseServerEntry(b []byte) (ServerEntry, error) {
	name, rest, err := cutString(b, "export name")
	return ServerEntry{name, rest}, err
}
