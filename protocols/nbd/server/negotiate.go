package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// Limits of negotiation.
const (
	maxOptions    = 1024     // a client that asks for more is hung up on
	maxOptionData = 64 << 10 // bytes of an option that are looked at
)

var (
	errAborted   = errors.New("the client ended the negotiation")
	errTooMany   = errors.New("too many options")
	errNotFixed  = errors.New("the client does not know fixed newstyle negotiation")
	errNeedsTLS  = errors.New("the client did not ask for TLS")
	errNoExport  = errors.New("no such export")
	errBadOption = errors.New("option too long")
)

// negotiation is the handshake of one connection. proto.md "Newstyle negotiation"
type negotiation struct {
	srv  *Server
	conn net.Conn
	tls  bool // the connection is encrypted

	noZeroes bool
	replies  wire.Replies
	metaFor  string // export that contexts were set for
	metas    []metaContext
	buf      []byte
	out      []byte
}

// run speaks with the client until transmission begins. It reads no byte of what follows the last option.
func (n *negotiation) run() (*session, error) {
	g := wire.Greeting{Style: wire.Newstyle, Handshake: wire.FixedNewstyle | wire.NoZeroes}
	var b [wire.NewstyleSize]byte
	g.Put(b[:])
	if _, err := n.conn.Write(b[:]); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(n.conn, b[:wire.ClientFlagsSize]); err != nil {
		return nil, err
	}
	f, err := wire.ParseClientFlags(b[:])
	if err != nil {
		return nil, err
	}
	n.noZeroes = f&wire.NoZeroes != 0
	for range maxOptions {
		s, err := n.option(f&wire.FixedNewstyle != 0)
		if err != nil || s != nil {
			return s, err
		}
	}
	return nil, errTooMany
}

// option reads one option and answers it; a session ends the negotiation.
func (n *negotiation) option(fixed bool) (*session, error) {
	var head [wire.OptionSize]byte
	if _, err := io.ReadFull(n.conn, head[:]); err != nil {
		return nil, err
	}
	o, err := wire.ParseOption(head[:])
	if err != nil {
		return nil, err
	}
	if o.Len > maxOptionData {
		if o.Option == wire.OptExportName || o.Len > wire.MaxOption {
			return nil, fmt.Errorf("%w: %v of %d bytes", errBadOption, o.Option, o.Len)
		}
		if _, err := io.CopyN(io.Discard, n.conn, int64(o.Len)); err != nil {
			return nil, err
		}
		return nil, n.reply(o.Option, wire.RepErrTooBig, "option too long")
	}
	if cap(n.buf) < int(o.Len) {
		n.buf = make([]byte, o.Len)
	}
	data := n.buf[:o.Len]
	if _, err := io.ReadFull(n.conn, data); err != nil {
		return nil, err
	}
	if !fixed && o.Option != wire.OptExportName {
		return nil, errNotFixed
	}
	if n.srv.cfg.TLS != nil && !n.tls {
		switch o.Option {
		case wire.OptStartTLS, wire.OptAbort:
		case wire.OptExportName:
			return nil, errNeedsTLS
		default:
			return nil, n.reply(o.Option, wire.RepErrTLSReqd, "Use STARTTLS before other options")
		}
	}
	return n.dispatch(o.Option, data)
}

func (n *negotiation) dispatch(o wire.Option, data []byte) (*session, error) {
	switch o {
	case wire.OptExportName:
		return n.exportName(data)
	case wire.OptAbort:
		return nil, errors.Join(errAborted, n.reply(o, wire.RepAck, ""))
	case wire.OptList:
		return nil, n.list(data)
	case wire.OptStartTLS:
		return nil, n.startTLS(data)
	case wire.OptInfo, wire.OptGo:
		return n.info(o, data)
	case wire.OptStructuredReply, wire.OptExtendedHeaders:
		if len(data) != 0 {
			return nil, n.reply(o, wire.RepErrInvalid, "the option has no data")
		}
		switch {
		case n.replies == wire.Extended && o == wire.OptStructuredReply:
			return nil, n.reply(o, wire.RepErrExtHeaderReqd, "extended headers were agreed")
		case o == wire.OptStructuredReply:
			n.replies = wire.Structured
		default:
			n.replies = wire.Extended
		}
		return nil, n.reply(o, wire.RepAck, "")
	case wire.OptListMetaContext, wire.OptSetMetaContext:
		return nil, n.meta(o, data)
	default:
		return nil, n.reply(o, wire.RepErrUnsup, fmt.Sprintf("option %d is not supported", uint32(o)))
	}
}

// reply sends a reply with text, if there is any, as its data.
func (n *negotiation) reply(o wire.Option, t wire.Rep, text string) error {
	return n.send(o, t, []byte(text))
}

func (n *negotiation) send(o wire.Option, t wire.Rep, data []byte) error {
	n.queue(o, t, data)
	return n.flush()
}

// queue puts a reply with those that flush sends.
func (n *negotiation) queue(o wire.Option, t wire.Rep, data []byte) {
	at := len(n.out)
	n.out = append(n.out, make([]byte, wire.OptionReplySize)...)
	wire.OptionReply{Option: o, Type: t, Len: uint32(len(data))}.Put(n.out[at:])
	n.out = append(n.out, data...)
}

func (n *negotiation) flush() error {
	_, err := n.conn.Write(n.out)
	n.out = n.out[:0]
	return err
}

// exportName is the option of old clients: there is no way to say no but to hang up.
func (n *negotiation) exportName(data []byte) (*session, error) {
	if err := wire.ValidString(data); err != nil {
		return nil, err
	}
	x := n.srv.find(string(data))
	if x == nil {
		return nil, fmt.Errorf("%w: '%s'", errNoExport, data)
	}
	b := make([]byte, wire.ExportNameSize+wire.ExportNameZeroes)
	wire.Export{Size: uint64(x.size()), Flags: x.flags(n.replies)}.Put(b)
	if n.noZeroes {
		b = b[:wire.ExportNameSize]
	}
	if _, err := n.conn.Write(b); err != nil {
		return nil, err
	}
	return n.session(x), nil
}

func (n *negotiation) session(x *Export) *session {
	s := &session{srv: n.srv, exp: x, replies: n.replies}
	if n.metaFor == x.Name {
		s.contexts = n.metas
	}
	return s
}

func (n *negotiation) list(data []byte) error {
	if len(data) != 0 {
		return n.reply(wire.OptList, wire.RepErrInvalid, "the option has no data")
	}
	for _, x := range n.srv.exports() {
		n.queue(wire.OptList, wire.RepServer, wire.AppendServerEntry(nil, x.Name, x.Description))
	}
	return n.reply(wire.OptList, wire.RepAck, "")
}

// startTLS forgets what was agreed on before. proto.md "NBD_OPT_STARTTLS"
func (n *negotiation) startTLS(data []byte) error {
	switch {
	case len(data) != 0:
		return n.reply(wire.OptStartTLS, wire.RepErrInvalid, "the option has no data")
	case n.tls:
		return n.reply(wire.OptStartTLS, wire.RepErrInvalid, "TLS is on already")
	case n.srv.cfg.TLS == nil:
		return n.reply(wire.OptStartTLS, wire.RepErrPolicy, "TLS not configured")
	}
	if err := n.reply(wire.OptStartTLS, wire.RepAck, ""); err != nil {
		return err
	}
	c := tls.Server(n.conn, n.srv.cfg.TLS)
	if err := c.Handshake(); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	if n.srv.cfg.Authorize != nil {
		if err := n.srv.cfg.Authorize(c.ConnectionState()); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
	}
	n.conn, n.tls = c, true
	n.replies, n.metas, n.metaFor = wire.Simple, nil, ""
	return nil
}

// info answers INFO and GO.
func (n *negotiation) info(o wire.Option, data []byte) (*session, error) {
	r, err := wire.ParseInfoRequest(data)
	if err != nil {
		return nil, n.reply(o, wire.RepErrInvalid, err.Error())
	}
	x := n.srv.find(string(r.Name))
	if x == nil {
		return nil, n.reply(o, wire.RepErrUnknown, fmt.Sprintf("export '%s' not present", r.Name))
	}
	if r.Wants(wire.InfoName) {
		n.queue(o, wire.RepInfo, wire.AppendInfoText(nil, wire.InfoName, x.Name))
	}
	if r.Wants(wire.InfoDescription) && x.Description != "" {
		n.queue(o, wire.RepInfo, wire.AppendInfoText(nil, wire.InfoDescription, x.Description))
	}
	n.queue(o, wire.RepInfo, wire.AppendInfoBlockSize(nil, x.blockSizes()))
	n.queue(o, wire.RepInfo, wire.AppendInfoExport(nil, wire.Export{Size: uint64(x.size()), Flags: x.flags(n.replies)}))
	if err := n.reply(o, wire.RepAck, ""); err != nil || o == wire.OptInfo {
		return nil, err
	}
	return n.session(x), nil
}

// meta answers LIST_META_CONTEXT and SET_META_CONTEXT.
func (n *negotiation) meta(o wire.Option, data []byte) error {
	r, err := wire.ParseMetaRequest(data)
	if err != nil {
		return n.reply(o, wire.RepErrInvalid, err.Error())
	}
	set := o == wire.OptSetMetaContext
	if set {
		n.metas, n.metaFor = nil, ""
	}
	if n.replies == wire.Simple {
		return n.reply(o, wire.RepErrInvalid, "structured replies have to be agreed on first")
	}
	x := n.srv.find(string(r.Name))
	if x == nil {
		return n.reply(o, wire.RepErrUnknown, fmt.Sprintf("export '%s' not present", r.Name))
	}
	var names []string
	if !set && r.Count == 0 {
		names = x.contexts()
	}
	for q := range r.Queries {
		for _, c := range x.matching(string(q), !set) {
			if !slices.Contains(names, c) && len(names) < maxContexts {
				names = append(names, c)
			}
		}
	}
	for i, c := range names {
		id := uint32(0)
		if set {
			id = uint32(i) + 1
			n.metas = append(n.metas, metaContext{id, c})
		}
		n.queue(o, wire.RepMetaContext, wire.AppendMetaContext(nil, id, c))
	}
	n.metaFor = x.Name
	return n.reply(o, wire.RepAck, "")
}
