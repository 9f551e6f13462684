package wire

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

var be = binary.BigEndian

// Style is how a server negotiates. proto.md "Handshake"
type Style uint8

// The styles; a newstyle server is "fixed" by its handshake flags.
const (
	Oldstyle Style = iota
	Newstyle
)

// Greeting is what a server says first.
type Greeting struct {
	Style     Style
	Handshake HandshakeFlags // newstyle
	Export    Export         // oldstyle: there is one export, and this is it
}

// Size returns the length of the whole greeting in bytes.
func (g *Greeting) Size() int {
	if g.Style == Oldstyle {
		return OldstyleSize
	}
	return NewstyleSize
}

// Put writes the greeting to b, Size bytes.
func (g *Greeting) Put(b []byte) {
	be.PutUint64(b, MagicInit)
	if g.Style == Newstyle {
		be.PutUint64(b[8:], MagicOption)
		be.PutUint16(b[16:], uint16(g.Handshake))
		return
	}
	clear(b[8:OldstyleSize])
	be.PutUint64(b[8:], MagicOldstyle)
	be.PutUint64(b[16:], g.Export.Size)
	be.PutUint32(b[24:], uint32(g.Export.Flags))
}

// ParseStyle tells the style from the first 16 bytes: how long the greeting is in all.
func ParseStyle(b []byte) (Style, int, error) {
	if len(b) < 16 {
		return 0, 0, malformed("greeting of %d bytes", len(b))
	}
	if m := be.Uint64(b); m != MagicInit {
		return 0, 0, malformed("not an NBD server: its first word is %#016x (%q)", m, b[:8])
	}
	switch m := be.Uint64(b[8:]); m {
	case MagicOption:
		return Newstyle, NewstyleSize, nil
	case MagicOldstyle:
		return Oldstyle, OldstyleSize, nil
	default:
		return 0, 0, malformed("neither oldstyle nor newstyle: the second word is %#016x", m)
	}
}

// ParseGreeting reads a whole greeting.
func ParseGreeting(b []byte) (Greeting, error) {
	style, n, err := ParseStyle(b)
	if err != nil {
		return Greeting{}, err
	}
	if len(b) < n {
		return Greeting{}, malformed("greeting of %d bytes, not %d", len(b), n)
	}
	g := Greeting{Style: style}
	if style == Newstyle {
		g.Handshake = HandshakeFlags(be.Uint16(b[16:]))
		return g, nil
	}
	g.Export = Export{be.Uint64(b[16:]), TransmissionFlags(be.Uint32(b[24:]))}
	return g, g.Export.Validate()
}

// PutClientFlags writes the client's answer to a newstyle greeting. proto.md "Client flags"
func PutClientFlags(b []byte, f HandshakeFlags) { be.PutUint32(b, uint32(f)) }

// ParseClientFlags reads a client's answer; a flag that is not known ends the connection.
func ParseClientFlags(b []byte) (HandshakeFlags, error) {
	if len(b) < ClientFlagsSize {
		return 0, malformed("client flags of %d bytes", len(b))
	}
	v := be.Uint32(b)
	if v&^uint32(FixedNewstyle|NoZeroes) != 0 {
		return 0, malformed("client flags %#x are not known", v)
	}
	return HandshakeFlags(v), nil
}

// Export is the size in bytes and what can be done: the payload of INFO_EXPORT without its type, and the reply to EXPORT_NAME.
type Export struct {
	Size  uint64
	Flags TransmissionFlags
}

// Validate refuses what no file can have.
func (e Export) Validate() error {
	if e.Size > 1<<63-1 {
		return malformed("export of %d bytes", e.Size)
	}
	return nil
}

// Put writes the reply to EXPORT_NAME, [ExportNameSize] bytes; [ExportNameZeroes] zeroes follow unless NO_ZEROES was agreed.
func (e Export) Put(b []byte) {
	be.PutUint64(b, e.Size)
	be.PutUint16(b[8:], uint16(e.Flags))
}

// ParseExport reads what Put writes.
func ParseExport(b []byte) (Export, error) {
	if len(b) < ExportNameSize {
		return Export{}, malformed("export of %d bytes", len(b))
	}
	e := Export{be.Uint64(b), TransmissionFlags(be.Uint16(b[8:]))}
	return e, e.Validate()
}

// ValidString checks a name or a message. proto.md "Conventions"
func ValidString(s []byte) error {
	switch {
	case len(s) > MaxString:
		return malformed("string of %d bytes, the limit is %d", len(s), MaxString)
	case bytes.IndexByte(s, 0) >= 0:
		return malformed("string with a NUL: %q", s)
	case !utf8.Valid(s):
		return malformed("string that is not UTF-8: %q", s)
	}
	return nil
}
