package nbd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

const fixedNewstyle = "fixed newstyle"

// maxReply bounds the data of one reply to an option, in bytes: names and messages of [wire.MaxString] fit.
const maxReply = 64 << 10

// maxReplies bounds how many replies one option gets.
const maxReplies = 1 << 16

// handshake is the conversation before transmission.
type handshake struct {
	c       net.Conn
	export  string
	context string // of metadata, wanted
	tls     *tls.Config
	s       session
	buf     []byte
	each    func(Listed) // set: the exports are listed, and none is opened
}

// negotiate brings a fresh connection to transmission; it closes what it was given when it fails. The connection that it returns may be
// another one, which has TLS over the one given. Of the limit, which errors name, as much is left as left says.
func negotiate(ctx context.Context, c net.Conn, h *handshake, limit, left time.Duration) (net.Conn, *session, error) {
	h.c = c
	if err := c.SetDeadline(time.Now().Add(left)); err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	err := h.run()
	if !stop() && err == nil {
		err = ctx.Err() // the deadline may be gone already
	}
	if err == nil {
		err = h.s.check()
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = engine.Errf(engine.ErrTimeout, "%w within %v (open-timeout=)", err, limit)
		case h.s.style == fixedNewstyle:
			h.abort()
		}
		return nil, nil, errors.Join(err, c.Close())
	}
	s := h.s
	return h.c, &s, nil
}

func (h *handshake) run() error {
	b := make([]byte, wire.OldstyleSize)
	if err := h.read(b[:16], "the greeting: a server with all places taken sends none"); err != nil {
		return err
	}
	_, n, err := wire.ParseStyle(b)
	if err != nil {
		return h.malformed(err)
	}
	if err := h.read(b[16:n], "the greeting"); err != nil {
		return err
	}
	g, err := wire.ParseGreeting(b[:n])
	switch {
	case err != nil:
		return h.malformed(err)
	case g.Style == wire.Oldstyle:
		return h.oldstyle(g)
	}
	flags := g.Handshake & (wire.FixedNewstyle | wire.NoZeroes)
	wire.PutClientFlags(b, flags)
	if err := h.write(b[:wire.ClientFlagsSize]); err != nil {
		return err
	}
	if flags&wire.FixedNewstyle == 0 {
		if h.tls != nil {
			return engine.Errf(engine.ErrUnsupported, "the server has no TLS: it is newstyle, not fixed newstyle")
		}
		if h.s.style = "newstyle"; h.each != nil {
			return nil
		}
		return h.exportName(flags)
	}
	h.s.style = fixedNewstyle
	return h.fixed(flags)
}

// oldstyle: there is nothing to negotiate. proto.md "Oldstyle negotiation"
func (h *handshake) oldstyle(g wire.Greeting) error {
	switch {
	case h.tls != nil:
		return engine.Errf(engine.ErrUnsupported, "the server has no TLS: it is oldstyle")
	case h.export != "":
		return engine.Errf(engine.ErrUnsupported, "the server is oldstyle and has one export without a name, not '%s'", h.export)
	case h.context != "":
		return engine.Errf(engine.ErrUnsupported, "the server is oldstyle and has no metadata context %s", h.context)
	}
	h.s.style, h.s.export = "oldstyle", g.Export
	return nil
}

// fixed negotiates by options: TLS first, since what is said before it is in the open.
func (h *handshake) fixed(flags wire.HandshakeFlags) error {
	if err := h.prepare(); err != nil {
		return err
	}
	if h.each != nil {
		return h.listAll()
	}
	if err := h.setContext(); err != nil {
		return err
	}
	known, err := h.goOn(wire.OptGo)
	if err != nil || known {
		return err
	}
	return h.exportName(flags)
}

// prepare agrees on what does not depend on the export.
func (h *handshake) prepare() error {
	if h.tls != nil {
		if err := h.startTLS(); err != nil {
			return err
		}
	}
	for _, try := range []struct {
		opt  wire.Option
		kind wire.Replies
	}{{wire.OptExtendedHeaders, wire.Extended}, {wire.OptStructuredReply, wire.Structured}} {
		ok, err := h.agree(try.opt)
		if err != nil {
			return err
		}
		if ok {
			h.s.replies = try.kind
			break
		}
	}
	return nil
}

// agree asks for an option without data; false where the server does not have it.
func (h *handshake) agree(opt wire.Option) (bool, error) {
	refused, err := h.ask(opt, nil, func(r wire.OptionReply, _ []byte) error {
		return broken("%v to %v", r.Type, opt)
	})
	switch {
	case err != nil:
		return false, err
	case refused == nil:
		return true, nil
	case refused.rep == wire.RepErrTLSReqd || refused.rep == wire.RepErrShutdown:
		return false, h.explain(refused)
	}
	return false, nil
}

// startTLS. proto.md "TLS support"
func (h *handshake) startTLS() error {
	refused, err := h.ask(wire.OptStartTLS, nil, func(r wire.OptionReply, _ []byte) error {
		return broken("%v to STARTTLS", r.Type)
	})
	switch {
	case err != nil:
		return err
	case refused != nil:
		return engine.Errf(engine.ErrUnsupported, "the server refuses TLS: %w", refused)
	}
	t := tls.Client(h.c, h.tls)
	if err := t.Handshake(); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("TLS is not agreed on: %w", err)
		}
		return engine.Errf(engine.ErrPermission, "TLS: %w", err)
	}
	h.c, h.s.tls = t, true
	return nil
}

// setContext asks for the metadata context. proto.md "Option types", NBD_OPT_SET_META_CONTEXT
func (h *handshake) setContext() error {
	want := h.context
	if want == "" {
		want = wire.ContextAllocation
	}
	missing := func() error {
		if h.context == "" {
			return nil
		}
		return engine.Errf(engine.ErrUnsupported, "the server has no metadata context '%s' (x-dirty-bitmap=) for this export", h.context)
	}
	if h.s.replies == wire.Simple {
		return missing()
	}
	refused, err := h.ask(wire.OptSetMetaContext, wire.AppendMetaRequest(nil, h.export, want), func(r wire.OptionReply, b []byte) error {
		if r.Type != wire.RepMetaContext {
			return broken("%v to SET_META_CONTEXT", r.Type)
		}
		m, err := wire.ParseMetaContext(b)
		switch {
		case err != nil:
			return h.malformed(err)
		case string(m.Name) != want:
			return broken("metadata context %q where %q was asked for", m.Name, want)
		case h.s.context != "":
			return broken("metadata context %q twice", m.Name)
		}
		h.s.context, h.s.contextID = want, m.ID
		return nil
	})
	switch {
	case err != nil:
		return err
	case refused != nil && refused.rep == wire.RepErrUnknown:
		return nil // GO will say so as well
	case refused != nil && (refused.rep == wire.RepErrTLSReqd || refused.rep == wire.RepErrShutdown):
		return h.explain(refused)
	case h.s.context == "":
		return missing()
	}
	return nil
}

// goOn opens the export, or asks about it by INFO; false where the server is too old for that. proto.md "Option types", NBD_OPT_GO
func (h *handshake) goOn(opt wire.Option) (bool, error) {
	have := false
	refused, err := h.ask(opt, wire.AppendInfoRequest(nil, h.export, wire.InfoBlockSize, wire.InfoDescription), func(r wire.OptionReply, b []byte) error {
		if r.Type != wire.RepInfo {
			return broken("%v to %v", r.Type, opt)
		}
		it, err := wire.ParseInfo(b)
		if err != nil {
			return h.malformed(err)
		}
		switch it.Info {
		case wire.InfoExport:
			h.s.export, have = it.Export, true
		case wire.InfoBlockSize:
			h.s.blocks = it.Blocks
		case wire.InfoDescription:
			h.s.desc = string(it.Text)
		case wire.InfoName:
		}
		return nil
	})
	switch {
	case err != nil:
		return false, err
	case refused != nil && refused.rep == wire.RepErrUnsup:
		return false, nil
	case refused != nil:
		return false, h.explain(refused)
	case !have:
		return false, broken("%v without the size of the export", opt)
	}
	return true, nil
}

// exportName opens the export the older way: a server that does not want to hangs up. proto.md "Newstyle negotiation"
func (h *handshake) exportName(flags wire.HandshakeFlags) error {
	b := make([]byte, wire.OptionSize, wire.OptionSize+len(h.export))
	wire.OptionHeader{Option: wire.OptExportName, Len: uint32(len(h.export))}.Put(b)
	if err := h.write(append(b, h.export...)); err != nil {
		return err
	}
	b = make([]byte, wire.ExportNameSize+wire.ExportNameZeroes)
	if flags&wire.NoZeroes != 0 {
		b = b[:wire.ExportNameSize]
	}
	if err := h.read(b, "the size of the export"); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return engine.Errf(engine.ErrNotFound, "the server hangs up when asked for export '%s': it has none of that name, as older servers say it", h.export)
		}
		return err
	}
	var err error
	if h.s.export, err = wire.ParseExport(b); err != nil {
		return h.malformed(err)
	}
	return nil
}

// refusal is an option that the server answered with an error.
type refusal struct {
	opt  wire.Option
	rep  wire.Rep
	text string
}

func (r *refusal) Error() string {
	if r.text == "" {
		return fmt.Sprintf("%v to %v", r.rep, r.opt)
	}
	return fmt.Sprintf("%v to %v: %q", r.rep, r.opt, r.text)
}

// explain turns a refusal into what the user can do about it.
func (h *handshake) explain(r *refusal) error {
	switch r.rep {
	case wire.RepErrTLSReqd:
		return engine.Errf(engine.ErrPermission, "the server requires TLS: nbds://… or tls-creds=ID (%w)", r)
	case wire.RepErrUnknown:
		return engine.Errf(engine.ErrNotFound, "the server has no export '%s'%s (%w)", h.export, h.others(), r)
	case wire.RepErrPolicy:
		return engine.Errf(engine.ErrPermission, "the server refuses export '%s' (%w)", h.export, r)
	case wire.RepErrShutdown:
		return engine.Errf(engine.ErrIO, "the server is shutting down (%w)", r)
	default:
		return engine.Errf(engine.ErrIO, "the server refuses export '%s' (%w)", h.export, r)
	}
}

// others lists the exports that there are, for the message.
func (h *handshake) others() string {
	const most = 20
	all, err := h.list()
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	slices.Sort(names)
	switch {
	case err != nil || len(names) == 0:
		return ""
	case len(names) > most:
		return fmt.Sprintf("; it has '%s' and %d more", strings.Join(names[:most], "', '"), len(names)-most)
	}
	return fmt.Sprintf("; it has '%s'", strings.Join(names, "', '"))
}

// ask sends an option and hands every reply but the last to each. A refusal is no error of the conversation.
func (h *handshake) ask(opt wire.Option, data []byte, each func(wire.OptionReply, []byte) error) (*refusal, error) {
	b := make([]byte, wire.OptionSize, wire.OptionSize+len(data))
	wire.OptionHeader{Option: opt, Len: uint32(len(data))}.Put(b)
	if err := h.write(append(b, data...)); err != nil {
		return nil, err
	}
	var head [wire.OptionReplySize]byte
	for range maxReplies {
		if err := h.read(head[:], "the reply to "+opt.String()); err != nil {
			return nil, err
		}
		r, err := wire.ParseOptionReply(head[:], opt)
		if err != nil {
			return nil, h.malformed(err)
		}
		if r.Len > maxReply {
			return nil, broken("%v to %v of %d bytes", r.Type, opt, r.Len)
		}
		if cap(h.buf) < int(r.Len) {
			h.buf = make([]byte, r.Len)
		}
		h.buf = h.buf[:r.Len]
		if err := h.read(h.buf, "the reply to "+opt.String()); err != nil {
			return nil, err
		}
		switch {
		case r.Type == wire.RepAck:
			return nil, nil
		case r.Type.IsError():
			return &refusal{opt, r.Type, string(h.buf)}, nil
		}
		if err := each(r, h.buf); err != nil {
			return nil, err
		}
	}
	return nil, broken("more than %d replies to %v", maxReplies, opt)
}

func (h *handshake) malformed(err error) error { return broken("%w", err) }

// abort says good-bye before transmission; what becomes of it does not matter. proto.md "Termination of the session during option haggling"
func (h *handshake) abort() {
	var b [wire.OptionSize]byte
	wire.OptionHeader{Option: wire.OptAbort}.Put(b[:])
	_, _ = h.c.Write(b[:])
}

func (h *handshake) read(b []byte, what string) error {
	if _, err := io.ReadFull(h.c, b); err != nil {
		return fmt.Errorf("no %s: %w", strings.TrimPrefix(what, "the "), err)
	}
	return nil
}

func (h *handshake) write(b []byte) error {
	_, err := h.c.Write(b)
	return err
}
