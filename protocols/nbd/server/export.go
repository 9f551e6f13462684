package server

import (
	"context"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// Bitmapper is a node with dirty bitmaps: f is called for every range that is set, in order, until it fails.
type Bitmapper interface {
	DirtyRanges(ctx context.Context, name string, f func(off, n int64) error) error
}

// Export is a node under a name. Root stays the caller's, and is closed after the server has been shut down.
type Export struct {
	Name, Description string
	Root              *engine.Ref
	Offset            int64 // bytes of Root that come before the export
	Size              int64 // bytes; 0: up to the end of Root, also when that moves
	ReadOnly          bool
	AllocationDepth   bool      // offer qemu:allocation-depth
	Bitmaps           []string  // offer qemu:dirty-bitmap:NAME, bitmaps of Marks
	Marks             Bitmapper // nil: Root's node
	Single            bool      // one client at a time: several connections of one client make no sense

	min, pref uint32
	file      atomic.Bool // every leaf may be a file: worth a Path
	mu        sync.Mutex
	pollers   []*poller
}

// size is the export's size now.
func (x *Export) size() int64 {
	if x.Size > 0 {
		return x.Size
	}
	return max(0, x.Root.Size()-x.Offset)
}

// prepare checks the export and derives what clients are told.
func (x *Export) prepare() error {
	switch {
	case x.Root == nil:
		return engine.Errf(engine.ErrOption, "export '%s' without a node", x.Name)
	case len(x.Name) > wire.MaxString || len(x.Description) > wire.MaxString:
		return engine.Errf(engine.ErrOption, "export name or description of more than %d bytes", wire.MaxString)
	case x.Offset < 0 || x.Size < 0 || x.Offset > x.Root.Size() || x.Size > x.Root.Size()-x.Offset:
		return engine.Errf(engine.ErrRange, "export '%s': offset %d and size %d in a node of %d bytes", x.Name, x.Offset, x.Size, x.Root.Size())
	}
	if !x.Root.Writable() {
		x.ReadOnly = true
	}
	if len(x.Bitmaps) > 0 {
		if x.Marks == nil {
			x.Marks, _ = x.Root.Node().(Bitmapper)
		}
		if x.Marks == nil {
			return engine.Errf(engine.ErrUnsupported, "driver %s has no dirty bitmaps", x.Root.Info().Driver)
		}
		for _, name := range x.Bitmaps {
			if err := x.Marks.DirtyRanges(context.Background(), name, func(int64, int64) error { return errStop }); err != nil && err != errStop { //nolint:errorlint // our own
				return err
			}
		}
	}
	lim := x.Root.Info().Limits
	x.min = max(1, lim.RequestAlign)
	if x.min > 64<<10 || x.Offset%int64(x.min) != 0 || x.size()%int64(x.min) != 0 {
		x.min = 1 // served all the same, by reading and writing more
	}
	x.pref = max(4096, x.min)
	if c := lim.ClusterSize; bits.OnesCount32(c) == 1 && c > x.pref && c <= 32<<20 {
		x.pref = c
	}
	return nil
}

// flags are what the export can do, for a client that has agreed on a kind of replies.
func (x *Export) flags(kind wire.Replies) wire.TransmissionFlags {
	f := wire.HasFlags | wire.SendFlush | wire.SendFUA | wire.SendCache
	if x.ReadOnly {
		f |= wire.ReadOnly
	} else {
		f |= wire.SendTrim | wire.SendWriteZeroes | wire.SendFastZero
	}
	if kind != wire.Simple {
		f |= wire.SendDF
	}
	if kind == wire.Extended {
		f |= wire.BlockStatusPayload
	}
	if !x.Single {
		f |= wire.CanMultiConn
	}
	return f
}

func (x *Export) blockSizes() wire.BlockSizes {
	return wire.BlockSizes{Min: x.min, Pref: x.pref, Max: maxPayload}
}

// contexts are the names of the contexts of metadata, the commonest first.
func (x *Export) contexts() []string {
	list := []string{wire.ContextAllocation}
	if x.AllocationDepth {
		list = append(list, wire.ContextDepth)
	}
	for _, name := range x.Bitmaps {
		list = append(list, wire.ContextBitmap+name)
	}
	return list
}

// matching returns the contexts that a query of LIST_META_CONTEXT (list) or SET_META_CONTEXT asks for. proto.md "Metadata querying"; a
// query that ends in a colon is a namespace, and in that of qemu "dirty-bitmap:" is one more.
func (x *Export) matching(query string, list bool) []string {
	all := x.contexts()
	if !list {
		if slices.Contains(all, query) {
			return []string{query}
		}
		return nil
	}
	var out []string
	for _, c := range all {
		if c == query || (query == "base:" || query == "qemu:" || query == wire.ContextBitmap) && len(c) > len(query) && c[:len(query)] == query {
			out = append(out, c)
		}
	}
	return out
}
