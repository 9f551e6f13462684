package nbdcmd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/blkbench/blkbench/cmd/blkbench/imgcmd"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// list is -L.
func (c *call) list(ctx context.Context) error {
	conn, where, err := c.dial(ctx)
	if err != nil {
		return fmt.Errorf("Failed to connect to '%s': %s", where, reason(err)) //nolint:staticcheck // qemu-nbd's words
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	a, err := newAsker(conn)
	if err != nil {
		return err
	}
	if c.o.TLSCreds != nil {
		cfg, err := c.clientTLS(where)
		if err != nil {
			return err
		}
		if err := a.startTLS(cfg); err != nil {
			return err
		}
	}
	exports, err := a.exports()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.env.Stdout, "exports available: %d\n", len(exports))
	for _, f := range exports {
		c.printExport(f)
	}
	return a.ask(wire.OptAbort, nil, nil)
}

// dial connects to the server that -k, or -b and -p, name.
func (c *call) dial(ctx context.Context) (conn net.Conn, where string, err error) {
	var d net.Dialer
	if c.o.Socket != nil {
		conn, err = d.DialContext(ctx, "unix", *c.o.Socket)
		return conn, *c.o.Socket, err
	}
	host, port := "0.0.0.0", "10809"
	if !c.env.Link {
		host = "127.0.0.1"
	}
	if c.o.Bind != nil {
		host = *c.o.Bind
	}
	if c.o.Port != nil {
		port = *c.o.Port
	}
	where = net.JoinHostPort(host, port)
	conn, err = d.DialContext(ctx, "tcp", where)
	return conn, where, err
}

// clientTLS checks the server's certificate against --tls-hostname, or the address that was connected to.
func (c *call) clientTLS(where string) (*tls.Config, error) {
	objects, _ := splitObjects(c.o.Objects)
	var err error
	if c.eng, err = imgcmd.NewEngine(&imgcmd.Env{Stderr: c.env.Stderr, Prog: c.env.Prog, Link: c.env.Link, Registry: c.env.Registry}, "", objects); err != nil {
		return nil, err
	}
	cr, err := c.loadCredentials(*c.o.TLSCreds, "client")
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !cr.VerifyPeer}
	if cfg.RootCAs, err = cr.pool(); err != nil {
		return nil, err
	}
	if pair, err := cr.pair("client"); err == nil {
		cfg.Certificates = []tls.Certificate{pair}
	}
	switch {
	case c.o.TLSHostname != nil:
		cfg.ServerName = *c.o.TLSHostname
	case c.o.Socket != nil:
		return nil, errors.New("a Unix socket has no host name: name the one of the certificate by --tls-hostname")
	default:
		cfg.ServerName, _, _ = net.SplitHostPort(where)
	}
	return cfg, nil
}

// exports asks for all exports and what they are.
func (a *asker) exports() ([]*facts, error) {
	type entry struct{ name, detail string }
	var names []entry
	err := a.ask(wire.OptList, nil, func(t wire.Rep, data []byte) error {
		if t != wire.RepServer {
			return fmt.Errorf("reply of type %v", t)
		}
		e, err := wire.ParseServerEntry(data)
		names = append(names, entry{string(e.Name), string(e.Detail)})
		return err
	})
	if err != nil {
		return nil, err
	}
	contexts := a.ask(wire.OptStructuredReply, nil, nil) == nil
	var list []*facts
	for _, n := range names {
		f, err := a.info(wire.OptInfo, n.name)
		if err != nil {
			return nil, err
		}
		if f.description == "" {
			f.description = n.detail
		}
		if contexts {
			// A server that does not have contexts has none to show.
			_ = a.ask(wire.OptListMetaContext, wire.AppendMetaRequest(nil, n.name), func(_ wire.Rep, data []byte) error {
				m, err := wire.ParseMetaContext(data)
				f.contexts = append(f.contexts, string(m.Name))
				return err
			})
		}
		list = append(list, f)
	}
	return list, nil
}

// flagWords are how qemu-nbd -L spells the flags, by bit.
var flagWords = []string{"", "readonly", "flush", "fua", "rotational", "trim", "zeroes", "df", "multi", "resize", "cache", "fast-zero", "block-status-payload"}

func (c *call) printExport(f *facts) {
	w := c.env.Stdout
	fmt.Fprintf(w, " export: '%s'\n", f.name)
	if f.description != "" {
		fmt.Fprintf(w, "  description: %s\n", f.description)
	}
	fmt.Fprintf(w, "  size:  %d\n", f.export.Size)
	if f.export.Flags&wire.HasFlags != 0 {
		var b strings.Builder
		for i, word := range flagWords {
			if word != "" && f.export.Flags&(1<<i) != 0 {
				b.WriteString(" " + word)
			}
		}
		fmt.Fprintf(w, "  flags: 0x%x (%s )\n", uint16(f.export.Flags), b.String())
	}
	if f.blocks != nil {
		fmt.Fprintf(w, "  min block: %d\n  opt block: %d\n  max block: %d\n", f.blocks.Min, f.blocks.Pref, f.blocks.Max)
	}
	if len(f.contexts) > 0 {
		fmt.Fprintf(w, "  available meta contexts: %d\n", len(f.contexts))
		for _, name := range f.contexts {
			fmt.Fprintf(w, "   %s\n", name)
		}
	}
}
