package engine

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
)

// Perm is what a user of a node does, or lets others do; the values are those of QEMU's image locking.
type Perm uint8

// Permissions. The bit number is the byte that a lock on an image file is taken at.
const (
	PermConsistentRead Perm = 1 << iota
	PermWrite
	PermWriteUnchanged
	PermResize
	PermAll = PermConsistentRead | PermWrite | PermWriteUnchanged | PermResize
)

// nodeState is what all Refs to one open node share.
type nodeState struct {
	node   Node
	info   Info
	align  uint32 // RequestAlign, at least 1
	mem    uint32 // MemAlign, at least 1
	maxIO  int64  // MaxTransfer in whole RequestAligns
	domain *Domain
	locks  rangeLock
	paths  atomic.Int32 // how many Paths have this node as a leaf
	refs   atomic.Int32
	events EventSink // the node, where it wants to know of its user's steps

	flushFailure atomic.Pointer[flushFailure] // the last one
}

// flushFailure is a flush that failed. The system reports it once, but what it lost concerns every user of the node.
type flushFailure struct {
	turn uint64 // counts from 1
	err  error
}

// Ref is one user's checked reference to a node: the only way from one layer to the next. Its methods may be called from many
// goroutines at once.
type Ref struct {
	st     *nodeState
	flags  OpenFlags
	format bool // the user is a format driver: reading past the end gives zeroes
	closed atomic.Bool

	flushSeen atomic.Uint64 // turn of the last flush failure that this user knows of
}

// graphGen counts changes of any graph; Paths flatten again when it moves.
var graphGen atomic.Uint64

// GraphChanged tells Paths that children were exchanged. A driver calls it after it publishes the new child and before it closes the
// old one (which it does by [Ref.Retire]).
func GraphChanged() { graphGen.Add(1) }

// NewRef wraps a node that was made without the registry, as tests and tools do. flags.Write must agree with what the node allows.
func NewRef(n Node, flags OpenFlags) *Ref { return newRef(n, flags, DefaultDomain()) }

func newRef(n Node, flags OpenFlags, d *Domain) *Ref {
	info := n.Info()
	st := &nodeState{node: n, info: info, align: max(1, info.Limits.RequestAlign), mem: max(1, info.Limits.MemAlign), domain: d}
	// A transfer that is cut goes on at an address that fits again.
	st.maxIO = alignDown(int64(info.Limits.MaxTransfer), int64(max(st.align, st.mem)))
	if st.maxIO == 0 {
		st.maxIO = alignDown(int64(info.Limits.MaxTransfer), int64(st.align))
	}
	if st.maxIO == 0 {
		st.maxIO = 1 << 62
	}
	st.refs.Store(1)
	st.locks.init()
	if st.events, _ = n.(EventSink); st.events != nil {
		eventSinks.Add(1)
	}
	return &Ref{st: st, flags: flags}
}

// Clone makes another reference to the same node; the node is closed with its last reference.
func (r *Ref) Clone(flags OpenFlags) *Ref {
	r.st.refs.Add(1)
	c := &Ref{st: r.st, flags: flags, format: r.format}
	c.flushSeen.Store(r.flushSeen.Load())
	return c
}

// Node returns the node itself, for control-plane capabilities: r.Node().(Snapshotter). Data calls go through the Ref.
func (r *Ref) Node() Node { return r.st.node }

// Info returns what the node says of itself.
func (r *Ref) Info() Info { return r.st.info }

// SharedBuffers reports whether a Path over r needs Shared arenas: whether there is a node with CapSharedBuffers below.
func (r *Ref) SharedBuffers() bool {
	if r.Info().Caps.Has(CapSharedBuffers) {
		return true
	}
	p, ok := r.Node().(Parent)
	return ok && slices.ContainsFunc(p.Children(), func(c Child) bool { return c.Ref != nil && c.Ref.SharedBuffers() })
}

// Size returns the size in bytes now.
func (r *Ref) Size() int64 { return r.st.node.Size() }

// Flags returns what the reference was opened with.
func (r *Ref) Flags() OpenFlags { return r.flags }

// Domain returns the grace-period domain of the graph.
func (r *Ref) Domain() *Domain { return r.st.domain }

// Writable reports whether writes are allowed through this reference.
func (r *Ref) Writable() bool { return r.flags.Write && r.st.info.Caps.Has(CapWritable) }

// Close gives the reference back.
func (r *Ref) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	if r.st.refs.Add(-1) > 0 {
		return nil
	}
	if r.st.events != nil {
		eventSinks.Add(-1)
	}
	return r.wrap("close", 0, -1, r.st.node.Close())
}

// Retire gives the reference back after a grace period; report, which may be nil, is then told what came of it. What matters of a node
// that was written to is flushed before.
func (r *Ref) Retire(report func(error)) {
	r.st.domain.Defer(func() {
		// On its own: the node may be the last user of others, and wait for what they have deferred.
		go func() {
			if err := r.Close(); report != nil {
				report(err)
			}
		}()
	})
}

// wrap adds operation, driver, node and place to an error, once: what a layer below has said stands.
func (r *Ref) wrap(op string, off, n int64, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Driver: r.st.info.Driver, Node: r.st.info.Filename, Off: off, Len: n, Cause: err}
	if inner, ok := errors.AsType[*Error](err); ok {
		if inner.Op != "" {
			return err
		}
		if e.Kind = inner.Kind; error(inner) == err { //nolint:errorlint // the fact itself, not one inside a longer sentence
			e.Cause = inner.Cause
		}
		return e
	}
	e.Kind = KindOf(err)
	return e
}

// maxEnd is where the last byte of any node ends: rounding up to an alignment must not overflow.
const maxEnd = (1<<63 - 1) &^ (1<<30 - 1)

// check verifies a range against the node; grow says that the operation may extend it.
func (r *Ref) check(op string, off, n int64, write bool) error {
	if r.closed.Load() {
		return r.wrap(op, off, n, &Error{Kind: ErrClosed, Len: -1})
	}
	if write && !r.Writable() {
		return r.wrap(op, off, n, &Error{Kind: ErrReadOnly, Len: -1})
	}
	if off < 0 || n < 0 || off > maxEnd-n {
		return r.wrap(op, off, n, Errf(ErrRange, "offset and length make no range"))
	}
	size := r.st.node.Size()
	if off+n <= size || (write && r.st.info.Caps.Has(CapGrowable)) || (!write && r.format) {
		return nil
	}
	return r.wrap(op, off, n, Errf(ErrRange, "the end is at %#x", size))
}

// ReadAt fills p from off.
func (r *Ref) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := r.check("read", off, int64(len(p)), false); err != nil {
		return err
	}
	if r.format {
		// Below a format the end is the end of the data, not an error; the node is asked for what it has.
		n := min(int64(len(p)), max(0, r.Size()-off))
		clear(p[n:])
		p = p[:n]
	}
	return r.wrap("read", off, int64(len(p)), r.read(ctx, p, off))
}

// readTail reads a range that may reach beyond the end; what lies there reads as zeroes.
func (r *Ref) readTail(ctx context.Context, p []byte, off int64) error {
	n := min(int64(len(p)), max(0, r.Size()-off))
	clear(p[n:])
	if n == 0 {
		return nil
	}
	return r.ReadAt(ctx, p[:n], off)
}

func (r *Ref) read(ctx context.Context, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	if !r.st.fits(p, off) {
		return r.readBounced(ctx, p, off)
	}
	return r.readFitting(ctx, p, off)
}

// readFitting reads a range that keeps to the node's alignment.
func (r *Ref) readFitting(ctx context.Context, p []byte, off int64) error {
	tok := r.st.domain.Enter()
	defer r.st.domain.Exit(tok)
	for {
		n := min(int64(len(p)), r.st.maxIO)
		if err := r.st.node.ReadAt(ctx, p[:n], off); err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		off += n
	}
}

// WriteAt writes p at off.
func (r *Ref) WriteAt(ctx context.Context, p []byte, off int64, flags WriteFlags) error {
	n := int64(len(p))
	if err := r.check("write", off, n, true); err != nil {
		return err
	}
	if flags&Compressed != 0 {
		return r.writeCompressed(ctx, p, off, flags)
	}
	if r.flags.DetectZeroes != DetectOff && n > 0 && IsZero(p) {
		if r.flags.DetectZeroes == DetectUnmap {
			flags |= MayUnmap
		}
		return r.WriteZeroes(ctx, off, n, flags)
	}
	flags, after := r.durability(flags)
	if err := r.write(ctx, p, off, flags); err != nil {
		return r.wrap("write", off, n, err)
	}
	if after {
		return r.Flush(ctx)
	}
	return nil
}

func (r *Ref) writeCompressed(ctx context.Context, p []byte, off int64, flags WriteFlags) error {
	n := int64(len(p))
	cw, ok := r.st.node.(CompressedWriter)
	if !ok {
		return r.wrap("write", off, n, Errf(ErrUnsupported, "driver %s does not write compressed", r.st.info.Driver))
	}
	if n > 0 {
		tok := r.st.domain.Enter()
		err := cw.WriteCompressed(ctx, p, off)
		r.st.domain.Exit(tok)
		if err != nil {
			return r.wrap("write", off, n, err)
		}
	}
	if flags&FUA != 0 || r.flags.Cache.WriteThrough {
		return r.Flush(ctx)
	}
	return nil
}

// durability turns FUA and write-through into what the node can do: flags for it, and whether a flush must follow.
func (r *Ref) durability(flags WriteFlags) (WriteFlags, bool) {
	if r.flags.Cache.WriteThrough {
		flags |= FUA
	}
	if flags&FUA != 0 && !r.st.info.Caps.Has(CapFUA) {
		return flags &^ FUA, true
	}
	return flags, false
}

func (r *Ref) write(ctx context.Context, p []byte, off int64, flags WriteFlags) error {
	if len(p) == 0 {
		return nil
	}
	if !r.st.fits(p, off) {
		return r.writeBounced(ctx, p, off, flags)
	}
	if r.st.align > 1 {
		lock := r.st.locks.lock(off, int64(len(p)), false)
		defer r.st.locks.unlock(lock)
	}
	return r.writeFitting(ctx, p, off, flags)
}

func (r *Ref) writeFitting(ctx context.Context, p []byte, off int64, flags WriteFlags) error {
	tok := r.st.domain.Enter()
	defer r.st.domain.Exit(tok)
	for {
		n := min(int64(len(p)), r.st.maxIO)
		if err := r.st.node.WriteAt(ctx, p[:n], off, flags); err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		off += n
	}
}

// Flush makes what was completed before durable.
func (r *Ref) Flush(ctx context.Context) error {
	if r.closed.Load() {
		return r.wrap("flush", 0, -1, &Error{Kind: ErrClosed, Len: -1})
	}
	if !r.st.info.Caps.Has(CapWritable) {
		return nil
	}
	r.announceFlush()
	return r.wrap("flush", 0, -1, r.flushed(r.st.node.Flush(ctx)))
}

// flushed judges the result of a flush: one that failed is told to every other reference once, whatever came of its own flush. What the
// caller broke off lost nothing.
func (r *Ref) flushed(err error) error {
	last := &r.st.flushFailure
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		for {
			old, f := last.Load(), &flushFailure{turn: 1, err: err}
			if old != nil {
				f.turn = old.turn + 1
			}
			if last.CompareAndSwap(old, f) {
				r.flushSeen.Store(f.turn)
				return err
			}
		}
	}
	if f := last.Load(); f != nil && r.flushSeen.Swap(f.turn) < f.turn {
		return f.err
	}
	return nil
}

// Extents describes [off, off+n), as far as the node likes to say at once; at least one extent.
func (r *Ref) Extents(ctx context.Context, off, n int64, dst []Extent) ([]Extent, error) {
	if err := r.check("map", off, n, false); err != nil {
		return dst, err
	}
	if n == 0 {
		return dst, nil
	}
	if size := r.Size(); off >= size {
		return append(dst, Extent{Off: off, Len: n, Flags: ExtentZero | ExtentEOF}), nil
	} else if off+n > size {
		n = size - off
	}
	tok := r.st.domain.Enter()
	defer r.st.domain.Exit(tok)
	out, err := r.st.node.Extents(ctx, off, n, dst)
	if err != nil {
		return dst, r.wrap("map", off, n, err)
	}
	if err := checkExtents(out[len(dst):], off, n); err != nil {
		return dst, r.wrap("map", off, n, err)
	}
	return out, nil
}

func checkExtents(out []Extent, off, n int64) error {
	if len(out) == 0 {
		return errors.New("driver fault: no extent")
	}
	at := off
	for _, e := range out {
		if e.Off != at || e.Len <= 0 || e.Len > off+n-at {
			return errors.New("driver fault: extents do not follow each other inside the range")
		}
		at += e.Len
	}
	return nil
}

// Discard deallocates; a node that can't, or a reference opened without discard, ignores it as QEMU does.
func (r *Ref) Discard(ctx context.Context, off, n int64) error {
	if err := r.check("discard", off, n, true); err != nil {
		return err
	}
	d, ok := r.st.node.(Discarder)
	if !ok || !r.flags.Discard || !r.st.info.Caps.Has(CapDiscard) {
		return nil
	}
	lim := r.st.info.Limits
	unit := int64(max(lim.DiscardAlign, r.st.align))
	start, end := alignUp(off, unit), alignDown(off+n, unit)
	if r.endsNode(off + n) {
		end = off + n
	}
	for start < end {
		step := min(end-start, mostOf(lim.MaxDiscard, unit))
		if err := r.discardStep(ctx, d, start, step); err != nil {
			return r.wrap("discard", start, step, err)
		}
		start += step
	}
	return nil
}

// endsNode reports whether end is the node's end and stays so: the last block may be named in part then. A growable node may have grown
// when the driver is called.
func (r *Ref) endsNode(end int64) bool { return end == r.Size() && !r.st.info.Caps.Has(CapGrowable) }

func (r *Ref) discardStep(ctx context.Context, d Discarder, off, n int64) error {
	tok := r.st.domain.Enter()
	defer r.st.domain.Exit(tok)
	return d.Discard(ctx, off, n)
}

// mostOf turns a limit in bytes (0: none) into whole units, at least one.
func mostOf(limit, unit int64) int64 {
	if limit == 0 {
		return 1 << 62
	}
	return max(unit, alignDown(limit, unit))
}

// zeroPage is what zeroes are written from when the node cannot make them.
var zeroPage = sync.OnceValue(func() []byte { return alignedBuffer(256<<10, 4096) })

// WriteZeroes makes the range read as zeroes, by the cheapest means that flags allow.
func (r *Ref) WriteZeroes(ctx context.Context, off, n int64, flags WriteFlags) error {
	if err := r.check("write zeroes", off, n, true); err != nil {
		return err
	}
	if !r.flags.Discard {
		flags &^= MayUnmap
	}
	flags, after := r.durability(flags)
	if err := r.writeZeroes(ctx, off, n, flags); err != nil {
		return r.wrap("write zeroes", off, n, err)
	}
	if after {
		return r.Flush(ctx)
	}
	return nil
}

func (r *Ref) writeZeroes(ctx context.Context, off, n int64, flags WriteFlags) error {
	lim := r.st.info.Limits
	z, ok := r.st.node.(ZeroWriter)
	if !ok || !r.st.info.Caps.Has(CapZero) {
		if flags&NoFallback != 0 {
			return Errf(ErrUnsupported, "driver %s writes zeroes only as data", r.st.info.Driver)
		}
		return r.writeZeroData(ctx, off, n, flags)
	}
	unit := int64(max(lim.ZeroAlign, r.st.align))
	start, end := alignUp(off, unit), alignDown(off+n, unit)
	if r.endsNode(off + n) {
		end = off + n
	}
	if start >= end {
		if flags&NoFallback != 0 {
			return Errf(ErrUnsupported, "driver %s writes zeroes in units of %d bytes only", r.st.info.Driver, unit)
		}
		return r.writeZeroData(ctx, off, n, flags)
	}
	if err := r.writeZeroData(ctx, off, start-off, flags); err != nil {
		return err
	}
	for at := start; at < end; {
		step := min(end-at, mostOf(lim.MaxZero, unit))
		err := r.zeroStep(ctx, z, at, step, flags)
		if errors.Is(err, ErrUnsupported) && flags&NoFallback == 0 {
			err = r.writeZeroData(ctx, at, step, flags)
		}
		if err != nil {
			return err
		}
		at += step
	}
	return r.writeZeroData(ctx, end, off+n-end, flags)
}

func (r *Ref) zeroStep(ctx context.Context, z ZeroWriter, off, n int64, flags WriteFlags) error {
	if r.st.align > 1 {
		lock := r.st.locks.lock(off, n, false)
		defer r.st.locks.unlock(lock)
	}
	tok := r.st.domain.Enter()
	defer r.st.domain.Exit(tok)
	return z.WriteZeroes(ctx, off, n, flags)
}

func (r *Ref) writeZeroData(ctx context.Context, off, n int64, flags WriteFlags) error {
	page := zeroPage()
	for n > 0 {
		step := min(n, int64(len(page))-off%int64(len(page))) // ends at a multiple of the page, so that what follows fits
		if err := r.write(ctx, page[:step], off, flags&FUA); err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}

// Resize changes the size.
func (r *Ref) Resize(ctx context.Context, size int64, o ResizeOptions) error {
	rs, ok := r.st.node.(Resizer)
	switch {
	case !ok:
		return r.wrap("resize", 0, -1, Errf(ErrUnsupported, "driver %s has a fixed size", r.st.info.Driver))
	case r.closed.Load():
		return r.wrap("resize", 0, -1, &Error{Kind: ErrClosed, Len: -1})
	case !r.Writable():
		return r.wrap("resize", 0, -1, &Error{Kind: ErrReadOnly, Len: -1})
	case size < 0 || size > maxEnd:
		return r.wrap("resize", 0, -1, Errf(ErrRange, "size %d", size))
	}
	return r.wrap("resize", 0, -1, r.resize(ctx, rs, size, o))
}

// resize keeps apart from read-modify-writes, which put an unaligned end back where it was.
func (r *Ref) resize(ctx context.Context, rs Resizer, size int64, o ResizeOptions) error {
	if r.st.align > 1 {
		from := alignDown(min(size, r.Size()), int64(r.st.align))
		lock := r.st.locks.lock(from, maxEnd-from, true)
		defer r.st.locks.unlock(lock)
	}
	return rs.Resize(ctx, size, o)
}

// AllocatedSize returns how many bytes of storage the node takes: what it says itself, else the sum of its children, without the backing
// file. ErrUnsupported: nobody knows.
func (r *Ref) AllocatedSize(ctx context.Context) (int64, error) {
	if a, ok := r.st.node.(AllocatedSizer); ok {
		n, err := a.AllocatedSize(ctx)
		return n, r.wrap("allocated size", 0, -1, err)
	}
	var sum int64
	known := false
	if p, ok := r.st.node.(Parent); ok {
		children := p.Children()
		for i, c := range children {
			// A file that plays two parts (a data file that was not opened) counts once.
			again := slices.ContainsFunc(children[:i], func(o Child) bool { return o.Ref == c.Ref })
			if c.Ref == nil || c.Name == "backing" || again {
				continue
			}
			n, err := c.Ref.AllocatedSize(ctx)
			if err != nil {
				return 0, err
			}
			sum, known = sum+n, true
		}
	}
	if !known {
		return 0, r.wrap("allocated size", 0, -1, Errf(ErrUnsupported, "driver %s does not count its storage", r.st.info.Driver))
	}
	return sum, nil
}

// Reader reads the node as a stream of bytes from the start; for checksums and probing.
func (r *Ref) Reader(ctx context.Context) io.ReaderAt { return readerAt{ctx, r} }

type readerAt struct {
	ctx context.Context
	r   *Ref
}

func (ra readerAt) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), max(0, ra.r.Size()-off))
	if err := ra.r.ReadAt(ra.ctx, p[:n], off); err != nil {
		return 0, err
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}
