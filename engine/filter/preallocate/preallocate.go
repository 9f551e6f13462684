// Package preallocate extends a growing file ahead of its writer, as QEMU's preallocate filter does: the first write past the end of the
// file's storage zeroes a long stretch at once (prealloc-size, up to a multiple of prealloc-align), and those that follow find their place there. On file
// systems where each extension is dear (network, log-structured, or O_DIRECT, which waits for it) that is the difference.
//
// What the node shows as its size ends where the last write ended; the surplus is the filter's own and is given back on close. After a
// crash it is still there: zeroes behind the image's end, which formats do not mind. A write of zeroes into what was preallocated and never
// written needs no I/O.
//
// Both planes go through it: requests inside the visible size pass, what grows takes the blocking way. A child that does not grow, or that
// cannot zero without writing, is used as it is.
//
// Locks: Node.mu is held for growing and resizing, over the child's calls; writes inside the visible size do not take it.
package preallocate

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/internal/pass"
)

// OpenOptions are the options of a preallocate node, by QEMU's names.
type OpenOptions struct {
	Align int64 `opt:"prealloc-align" kind:"size" default:"1M" min:"1" help:"the file is extended to a multiple of this"`
	Size  int64 `opt:"prealloc-size" kind:"size" default:"128M" min:"0" help:"how much is preallocated beyond a write"`
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[OpenOptions, engine.NoOptions](engine.Driver{
		Name: "preallocate", Kind: engine.KindFilter, Help: "extends a growing file ahead of its writer",
	}, open, nil)
}

func open(ctx context.Context, r *engine.OpenRequest, o *OpenOptions) (engine.Node, error) {
	if o.Align%512 != 0 {
		return nil, engine.Errf(engine.ErrOption, "prealloc-align parameter of preallocate filter is not aligned to 512")
	}
	if r.Flags.Write {
		// The size is the filter's: nobody else changes it meanwhile.
		r.Perm |= engine.PermWrite | engine.PermResize
		r.Shared &^= engine.PermWrite | engine.PermResize
	}
	child, err := r.MustChild(ctx, "file", engine.RoleFiltered)
	if err != nil {
		return nil, err
	}
	n, err := New(child, *o)
	if err != nil {
		return nil, errors.Join(err, child.Close())
	}
	return n, nil
}

// Node preallocates.
type Node struct {
	pass.Node
	o      OpenOptions
	active bool         // the child grows, and this node may make it
	size   atomic.Int64 // bytes that show, where active

	mu        sync.Mutex
	fileEnd   int64 // how far the child is known to be extended; -1: preallocating does not work
	zeroStart int64 // from here on nothing was written: it reads as zeroes
	extended  int64 // how often the child was extended
}

// New puts a node over child, which it owns from then on.
func New(child *engine.Ref, o OpenOptions) (*Node, error) {
	if below := int64(child.Info().Limits.RequestAlign); below > 1 && o.Align%below != 0 {
		return nil, engine.Errf(engine.ErrOption,
			"prealloc-align parameter of preallocate filter is not aligned to underlying node request alignment (%d)", below)
	}
	n := &Node{Node: pass.Over(child, "preallocate"), o: o}
	n.active = n.Says.Caps.Has(engine.CapWritable | engine.CapGrowable)
	n.fileEnd = child.Size()
	n.zeroStart = n.fileEnd
	n.size.Store(n.fileEnd)
	return n, nil
}

// Stage implements engine.Stager: inside the visible size requests pass.
func (n *Node) Stage() engine.Stage { return engine.Stage{Child: n.File} }

// Extended returns how often the child was extended ahead of its writer.
func (n *Node) Extended() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.extended
}

// Size returns where the last write ended, not where the file does.
func (n *Node) Size() int64 {
	if !n.active {
		return n.File.Size()
	}
	return n.size.Load()
}

// ReadAt implements engine.Node.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	in := p[:min(int64(len(p)), max(0, n.Size()-off))]
	clear(p[len(in):])
	if len(in) == 0 {
		return nil
	}
	return n.Node.ReadAt(ctx, in, off)
}

// WriteAt implements engine.Node.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	end := off + int64(len(p))
	if !n.active || end <= n.size.Load() {
		return n.Node.WriteAt(ctx, p, off, flags)
	}
	n.mu.Lock()
	n.ahead(ctx, off, end, false)
	n.mu.Unlock()
	if err := n.Node.WriteAt(ctx, p, off, flags); err != nil {
		return err
	}
	n.show(end)
	return nil
}

// WriteZeroes implements engine.ZeroWriter.
func (n *Node) WriteZeroes(ctx context.Context, off, count int64, flags engine.WriteFlags) error {
	end := off + count
	if !n.active || end <= n.size.Load() {
		return n.Node.WriteZeroes(ctx, off, count, flags)
	}
	n.mu.Lock()
	done := n.ahead(ctx, off, end, flags&^engine.NoFallback == 0)
	n.mu.Unlock()
	if !done {
		if err := n.Node.WriteZeroes(ctx, off, count, flags); err != nil {
			return err
		}
	}
	n.show(end)
	return nil
}

// show makes the size at least end.
func (n *Node) show(end int64) {
	for {
		old := n.size.Load()
		if old >= end || n.size.CompareAndSwap(old, end) {
			return
		}
	}
}

func alignUp(v, unit int64) int64 { return (v + unit - 1) / unit * unit }

// ahead makes room for a write of [off, end), which ends past the visible size. It reports whether zeroes there are written already, where
// the write is one of zeroes. mu is held.
func (n *Node) ahead(ctx context.Context, off, end int64, zeroes bool) bool {
	if n.fileEnd < 0 {
		return false
	}
	blank := zeroes && off >= n.zeroStart
	if !zeroes || !blank {
		n.zeroStart = max(n.zeroStart, end)
	}
	if end <= n.fileEnd {
		return blank
	}
	from := n.fileEnd
	if blank {
		from = min(off, from)
	}
	from = alignUp(from, n.o.Align)
	to := alignUp(max(from, end)+n.o.Size, n.o.Align)
	if to < end || n.File.WriteZeroes(ctx, from, to-from, engine.NoFallback) != nil {
		// No room, or no way to make it: from here on the file grows by its writes.
		n.fileEnd = -1
		return false
	}
	n.fileEnd = to
	n.extended++
	return blank && from <= off
}

// Discard stays inside what shows.
func (n *Node) Discard(ctx context.Context, off, count int64) error {
	return n.Node.Discard(ctx, off, min(count, max(0, n.Size()-off)))
}

// Resize changes the visible size. Growing by falloc takes what is preallocated; all else drops it.
func (n *Node) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	if !n.active {
		return n.Node.Resize(ctx, size, o)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if size > n.size.Load() {
		if o.Prealloc == engine.PreallocFalloc && size <= n.fileEnd {
			n.show(size)
			n.zeroStart = max(n.zeroStart, n.size.Load())
			return nil
		}
		if err := n.drop(ctx); err != nil {
			return err
		}
	}
	if err := n.Node.Resize(ctx, size, o); err != nil {
		return err
	}
	n.fileEnd, n.zeroStart = n.File.Size(), n.File.Size()
	n.size.Store(n.fileEnd)
	return nil
}

// drop gives the surplus back. mu is held.
func (n *Node) drop(ctx context.Context) error {
	size := n.size.Load()
	if n.File.Size() <= size {
		return nil
	}
	if err := n.File.Resize(ctx, size, engine.ResizeOptions{Exact: true}); err != nil {
		return engine.Errf(engine.KindOf(err), "the preallocation behind %d is not given back: %w", size, err)
	}
	n.fileEnd = size
	return nil
}

// Close gives the surplus back.
func (n *Node) Close() error {
	var err error
	if n.active {
		n.mu.Lock()
		err = n.drop(context.Background())
		n.mu.Unlock()
	}
	return errors.Join(err, n.Node.Close())
}
