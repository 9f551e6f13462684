package nbd

import (
	"context"
	"errors"
	"net"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// Listed is what a server tells of an export without opening it.
type Listed struct {
	Name        string
	Description string
	Known       bool // what follows was told: older servers give names only
	Size        uint64
	Flags       wire.TransmissionFlags
	Blocks      wire.BlockSizes // zero where the server said nothing
	Contexts    []string        // of metadata
}

// List asks a server for its exports; the name in the options does not count.
func List(ctx context.Context, o *Options, env *engine.Env) ([]Listed, error) {
	d, err := newDialer(o, env)
	if err != nil {
		return nil, err
	}
	nc, err := (&net.Dialer{Timeout: d.limit}).DialContext(ctx, d.network, d.addr)
	if err != nil {
		return nil, err
	}
	var all []Listed
	h := &handshake{tls: d.tls, each: func(l Listed) { all = append(all, l) }}
	c, _, err := negotiate(ctx, nc, h, d.limit, d.limit)
	if err != nil {
		return nil, err
	}
	if h.s.style != fixedNewstyle {
		return nil, errors.Join(engine.Errf(engine.ErrUnsupported, "the server does not list its exports: it is %s", h.s.style), c.Close())
	}
	return all, c.Close()
}

// listAll tells what there is of each export, and says good-bye.
func (h *handshake) listAll() error {
	all, err := h.list()
	if err != nil {
		if r, ok := errors.AsType[*refusal](err); ok {
			return h.explain(r)
		}
		return err
	}
	for _, l := range all {
		h.export, h.s.blocks, h.s.desc = l.Name, wire.BlockSizes{}, ""
		l.Known, err = h.goOn(wire.OptInfo)
		if engine.KindOf(err) == engine.ErrNotFound || engine.KindOf(err) == engine.ErrPermission { //nolint:errorlint // sentinels
			err = nil // gone in the meantime, or not for us
		}
		if err != nil {
			return err
		}
		if l.Known {
			l.Size, l.Flags, l.Blocks = h.s.export.Size, h.s.export.Flags, h.s.blocks
			if h.s.desc != "" {
				l.Description = h.s.desc
			}
			if l.Contexts, err = h.contexts(); err != nil {
				return err
			}
		}
		h.each(l)
	}
	h.s.export, h.s.blocks = wire.Export{}, wire.BlockSizes{} // none was opened
	h.abort()
	return nil
}

// list asks for the names of all exports. proto.md "Option types", NBD_OPT_LIST
func (h *handshake) list() ([]Listed, error) {
	var all []Listed
	refused, err := h.ask(wire.OptList, nil, func(r wire.OptionReply, b []byte) error {
		if r.Type != wire.RepServer {
			return broken("%v to LIST", r.Type)
		}
		e, err := wire.ParseServerEntry(b)
		if err != nil {
			return h.malformed(err)
		}
		all = append(all, Listed{Name: string(e.Name), Description: string(e.Detail)})
		return nil
	})
	if err == nil && refused != nil {
		err = refused
	}
	return all, err
}

// contexts asks for all metadata contexts of an export. proto.md "Option types", NBD_OPT_LIST_META_CONTEXT
func (h *handshake) contexts() ([]string, error) {
	if h.s.replies == wire.Simple {
		return nil, nil
	}
	var names []string
	_, err := h.ask(wire.OptListMetaContext, wire.AppendMetaRequest(nil, h.export), func(r wire.OptionReply, b []byte) error {
		if r.Type != wire.RepMetaContext {
			return broken("%v to LIST_META_CONTEXT", r.Type)
		}
		m, err := wire.ParseMetaContext(b)
		if err != nil {
			return h.malformed(err)
		}
		names = append(names, string(m.Name))
		return nil
	})
	return names, err
}
