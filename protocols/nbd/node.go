package nbd

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// Node is an open export.
type Node struct {
	d     *dialer
	delay time.Duration // reconnect-delay
	most  int           // connections of the pool
	flags engine.OpenFlags
	env   *engine.Env
	info  engine.Info
	first *session // the one that the export was opened with; every later one is the same
	size  atomic.Int64
	dirty atomic.Bool // writes were acknowledged that no flush has covered

	mu      sync.Mutex
	conns   []*conn
	dialing chan struct{} // closed when the one dial under way has ended
	growing bool
	lostAt  time.Time // when the last connection was lost
	closed  bool
}

// Open connects to an export.
func Open(ctx context.Context, o *Options, flags engine.OpenFlags, env *engine.Env) (*Node, error) {
	d, err := newDialer(o, env)
	if err != nil {
		return nil, err
	}
	nc, s, err := d.dialUntil(ctx, time.Now().Add(o.OpenTimeout))
	if err != nil {
		return nil, err
	}
	n := &Node{d: d, delay: o.ReconnectDelay, most: 1, flags: flags, env: env, first: s}
	var notes []string
	if n.flags.Write && s.can(wire.ReadOnly) {
		if !n.flags.AutoReadOnly {
			newConn(nc, s).close()
			return nil, engine.Errf(engine.ErrReadOnly, "the export '%s' is read-only", o.Export)
		}
		n.flags.Write = false
		notes = append(notes, "the export is read-only")
	}
	if s.can(wire.CanMultiConn) {
		n.most = max(1, o.Connections)
	}
	n.size.Store(int64(s.export.Size))
	n.conns = []*conn{newConn(nc, s)}
	n.info = engine.Info{
		Driver: "nbd", Filename: o.uri(), Caps: s.caps(n.flags.Write), Limits: s.limits(), Detail: s.details(), Notes: notes,
	}
	return n, nil
}

// Info says what the export can do.
func (n *Node) Info() engine.Info { return n.info }

// Size is the size in bytes.
func (n *Node) Size() int64 { return n.size.Load() }

// run sends a request and gives its call back.
func (n *Node) run(ctx context.Context, cmd wire.Cmd, off, length int64, flags wire.CmdFlags, p []byte) error {
	cl := newCall(cmd, uint64(off), uint64(length), flags, p)
	err := n.do(ctx, cl)
	cl.free()
	return err
}

// ReadAt reads; the data goes from the socket into p.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	return n.run(ctx, wire.CmdRead, off, int64(len(p)), 0, p)
}

// fua is what FUA becomes: nothing where the server has no cache to speak of.
func (n *Node) fua(flags engine.WriteFlags) wire.CmdFlags {
	if flags&engine.FUA != 0 && n.first.can(wire.SendFUA) {
		return wire.FlagFUA
	}
	return 0
}

// WriteAt writes. With extended headers the length of the payload is said to be one. proto.md "Command flags", NBD_CMD_FLAG_PAYLOAD_LEN
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	return n.changed(n.run(ctx, wire.CmdWrite, off, int64(len(p)), n.writeFlags(flags), p))
}

func (n *Node) writeFlags(flags engine.WriteFlags) wire.CmdFlags {
	f := n.fua(flags)
	if n.first.replies == wire.Extended {
		f |= wire.FlagPayloadLen
	}
	return f
}

// changed notes that there is something to flush.
func (n *Node) changed(err error) error {
	if err == nil && !n.dirty.Load() {
		n.dirty.Store(true)
	}
	return err
}

// Flush makes durable what was acknowledged on any connection: with several, that is what CAN_MULTI_CONN promises.
func (n *Node) Flush(ctx context.Context) error {
	if n.flags.Cache.NoFlush || !n.first.can(wire.SendFlush) {
		return nil
	}
	was := n.dirty.Swap(false)
	err := n.run(ctx, wire.CmdFlush, 0, 0, 0, nil)
	if err != nil && was {
		n.dirty.Store(true)
	}
	return err
}

// Discard trims.
func (n *Node) Discard(ctx context.Context, off, length int64) error {
	if !n.first.can(wire.SendTrim) {
		return engine.Errf(engine.ErrUnsupported, "the server does not trim")
	}
	return n.changed(n.run(ctx, wire.CmdTrim, off, length, 0, nil))
}

// zeroFlags are those of WRITE_ZEROES; false where the server has no way to be fast only.
func (n *Node) zeroFlags(flags engine.WriteFlags) (wire.CmdFlags, bool) {
	f := n.fua(flags)
	if flags&engine.MayUnmap == 0 {
		f |= wire.FlagNoHole
	}
	if flags&engine.NoFallback != 0 {
		if !n.first.can(wire.SendFastZero) {
			return 0, false
		}
		f |= wire.FlagFastZero
	}
	return f, true
}

// WriteZeroes zeroes a range by the server's means.
func (n *Node) WriteZeroes(ctx context.Context, off, length int64, flags engine.WriteFlags) error {
	f, ok := n.zeroFlags(flags)
	if !ok || !n.first.can(wire.SendWriteZeroes) {
		return engine.Errf(engine.ErrUnsupported, "the server does not promise fast zeroes")
	}
	return n.changed(n.run(ctx, wire.CmdWriteZeroes, off, length, f, nil))
}

// Prefetch asks the server to have a range at hand. proto.md "Request types", NBD_CMD_CACHE
func (n *Node) Prefetch(ctx context.Context, off, length int64) error {
	if !n.first.can(wire.SendCache) {
		return engine.Errf(engine.ErrUnsupported, "the server has no cache to fill")
	}
	return n.run(ctx, wire.CmdCache, off, length, 0, nil)
}

// Resize changes the size of the export, where the server has the resize extension: the new size stands where the offset does.
func (n *Node) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	switch {
	case size == n.Size():
		return nil
	case !n.first.can(wire.SendResize) && o.Exact:
		return engine.Errf(engine.ErrUnsupported, "Cannot resize NBD nodes") // QEMU's words, the next ones too
	case !n.first.can(wire.SendResize) && size > n.Size():
		return engine.Errf(engine.ErrUnsupported, "Cannot grow NBD nodes")
	case !n.first.can(wire.SendResize):
		return nil
	case o.Prealloc != "" && o.Prealloc != engine.PreallocOff:
		return engine.Errf(engine.ErrUnsupported, "preallocation=%s: an NBD server has no such thing", o.Prealloc)
	case size%int64(n.first.align()) != 0:
		return engine.Errf(engine.ErrAlign, "size %d is no multiple of %d", size, n.first.align())
	}
	if err := n.run(ctx, wire.CmdResize, size, 0, 0, nil); err != nil {
		return err
	}
	n.size.Store(size)
	return nil
}

// Close takes leave of the server.
func (n *Node) Close() error {
	n.mu.Lock()
	n.closed = true
	conns, dialing := n.conns, n.dialing
	n.conns = nil
	n.mu.Unlock()
	if dialing != nil {
		<-dialing
	}
	for _, c := range conns {
		c.close()
	}
	return nil
}
