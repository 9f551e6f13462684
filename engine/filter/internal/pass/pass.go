// Package pass is what filters have in common: a node that hands every call to its one child. A filter embeds a [Node] and overrides what
// it is there for; what it does not override, it has decided to let through.
//
// Capabilities of the control plane (snapshots, checks, bitmaps, copying in the kernel) are not passed on: a graph with a filter in it can
// never be used past the filter.
package pass

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// Node passes everything on.
type Node struct {
	File *engine.Ref
	Says engine.Info // what Info answers; a filter changes it before the node is used
}

// Over makes the node, which owns the child from then on.
func Over(child *engine.Ref, driver string) Node {
	below := child.Info()
	n := Node{File: child, Says: engine.Info{Driver: driver, Filename: below.Filename, Caps: below.Caps, Limits: below.Limits}}
	if !child.Writable() {
		n.Says.Caps &^= engine.CapWritable
	}
	return n
}

// Info is the child's but for the driver's name.
func (n *Node) Info() engine.Info { return n.Says }

// Size is the child's.
func (n *Node) Size() int64 { return n.File.Size() }

// ReadAt reads from the child.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	return ReadTail(ctx, n.File, p, off)
}

// ReadTail reads a range that may end in the child's last block, beyond its end: zeroes there.
func ReadTail(ctx context.Context, child *engine.Ref, p []byte, off int64) error {
	in := p[:min(int64(len(p)), max(0, child.Size()-off))]
	clear(p[len(in):])
	if len(in) == 0 {
		return nil
	}
	return child.ReadAt(ctx, in, off)
}

// WriteAt writes to the child.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	return n.File.WriteAt(ctx, n.Inside(p, off), off, flags)
}

// Inside cuts from a write what lies beyond the end in the last block of a node that does not grow.
func (n *Node) Inside(p []byte, off int64) []byte {
	if n.Says.Caps.Has(engine.CapGrowable) {
		return p
	}
	return p[:min(int64(len(p)), max(0, n.File.Size()-off))]
}

// WriteCompressed writes to the child, compressed.
func (n *Node) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	return n.File.WriteAt(ctx, p, off, engine.Compressed)
}

// Flush flushes the child.
func (n *Node) Flush(ctx context.Context) error { return n.File.Flush(ctx) }

// Discard discards in the child.
func (n *Node) Discard(ctx context.Context, off, count int64) error {
	return n.File.Discard(ctx, off, count)
}

// WriteZeroes writes zeroes in the child.
func (n *Node) WriteZeroes(ctx context.Context, off, count int64, flags engine.WriteFlags) error {
	return n.File.WriteZeroes(ctx, off, count, flags)
}

// Resize changes the child's size.
func (n *Node) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	return n.File.Resize(ctx, size, o)
}

// Extents are the child's.
func (n *Node) Extents(ctx context.Context, off, count int64, dst []engine.Extent) ([]engine.Extent, error) {
	first := len(dst)
	dst, err := n.File.Extents(ctx, off, count, dst)
	for i := first; i < len(dst); i++ {
		if e := &dst[i]; e.File == nil {
			e.File, e.HostOff = n.File, e.Off
			e.Flags |= engine.ExtentOffset
		}
	}
	return dst, err
}

// Children names the child.
func (n *Node) Children() []engine.Child { return []engine.Child{{Name: "file", Ref: n.File}} }

// AllocatedSize returns the bytes of storage that the child takes.
func (n *Node) AllocatedSize(ctx context.Context) (int64, error) {
	if a, ok := n.File.Node().(interface {
		AllocatedSize(ctx context.Context) (int64, error)
	}); ok {
		return a.AllocatedSize(ctx)
	}
	return 0, engine.Errf(engine.ErrUnsupported, "driver %s does not count its storage", n.File.Info().Driver)
}

// Close closes the child.
func (n *Node) Close() error { return n.File.Close() }
