package nbdcmd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// asker negotiates as a client does: for the list of exports, and for the kernel's driver.
type asker struct {
	conn net.Conn
}

// newAsker greets a server.
func newAsker(conn net.Conn) (*asker, error) {
	a := &asker{conn}
	b := make([]byte, wire.NewstyleSize)
	if _, err := io.ReadFull(conn, b[:16]); err != nil {
		return nil, err
	}
	style, _, err := wire.ParseStyle(b)
	if err != nil {
		return nil, err
	}
	if style != wire.Newstyle {
		return nil, errors.New("the server is of the old style, which has no list of exports")
	}
	if _, err := io.ReadFull(conn, b[16:]); err != nil {
		return nil, err
	}
	g, err := wire.ParseGreeting(b)
	if err != nil {
		return nil, err
	}
	if g.Handshake&wire.FixedNewstyle == 0 {
		return nil, errors.New("the server does not know fixed newstyle negotiation")
	}
	wire.PutClientFlags(b, wire.FixedNewstyle|g.Handshake&wire.NoZeroes)
	_, err = conn.Write(b[:wire.ClientFlagsSize])
	return a, err
}

// refused is a server's no.
type refused struct {
	rep  wire.Rep
	text string
}

func (r *refused) Error() string { return fmt.Sprintf("the server says %v: %s", r.rep, r.text) }

// ask sends an option and calls got for each reply but the last.
func (a *asker) ask(o wire.Option, data []byte, got func(t wire.Rep, data []byte) error) error {
	b := make([]byte, wire.OptionSize, wire.OptionSize+len(data))
	wire.OptionHeader{Option: o, Len: uint32(len(data))}.Put(b)
	if _, err := a.conn.Write(append(b, data...)); err != nil {
		return err
	}
	for {
		var head [wire.OptionReplySize]byte
		if _, err := io.ReadFull(a.conn, head[:]); err != nil {
			return err
		}
		r, err := wire.ParseOptionReply(head[:], o)
		if err != nil {
			return err
		}
		if r.Len > 1<<20 {
			return fmt.Errorf("reply to %v of %d bytes", o, r.Len)
		}
		text := make([]byte, r.Len)
		if _, err := io.ReadFull(a.conn, text); err != nil {
			return err
		}
		switch {
		case r.Type == wire.RepAck:
			return nil
		case r.Type.IsError():
			return &refused{r.Type, string(text)}
		case got == nil:
		default:
			if err := got(r.Type, text); err != nil {
				return err
			}
		}
	}
}

// startTLS goes over to an encrypted connection.
func (a *asker) startTLS(cfg *tls.Config) error {
	if err := a.ask(wire.OptStartTLS, nil, nil); err != nil {
		return err
	}
	c := tls.Client(a.conn, cfg)
	if err := c.Handshake(); err != nil {
		return err
	}
	a.conn = c
	return nil
}

// facts is what INFO or GO says of an export.
type facts struct {
	name, description string
	export            wire.Export
	blocks            *wire.BlockSizes
	contexts          []string
}

// info asks for the facts of an export; with GO transmission follows.
func (a *asker) info(o wire.Option, name string) (*facts, error) {
	f := &facts{name: name}
	err := a.ask(o, wire.AppendInfoRequest(nil, name, wire.InfoName, wire.InfoDescription, wire.InfoBlockSize), func(t wire.Rep, data []byte) error {
		if t != wire.RepInfo {
			return fmt.Errorf("reply of type %v", t)
		}
		it, err := wire.ParseInfo(data)
		if err != nil {
			return err
		}
		switch it.Info {
		case wire.InfoExport:
			f.export = it.Export
		case wire.InfoDescription:
			f.description = string(it.Text)
		case wire.InfoBlockSize:
			f.blocks = &it.Blocks
		case wire.InfoName:
		}
		return nil
	})
	return f, err
}
