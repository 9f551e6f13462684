// Package copyonread keeps what is read from a backing file in the image above it, as QEMU's copy-on-read filter does: a cluster is read
// from below once.
//
// A read of what the child does not hold itself copies whole clusters: they are read through the child and written to it unchanged
// (zeroes as zeroes). Nothing that is written meanwhile is lost: copies exclude writes, and look again at what is allocated before they copy. The node is
// opaque to the polled plane, since every read may have to write.
//
// Locks: Node.mu is shared by writes and held alone by a copy, over the child's calls.
package copyonread

import (
	"context"
	"sync"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/internal/pass"
)

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[engine.NoOptions, engine.NoOptions](engine.Driver{
		Name: "copy-on-read", Kind: engine.KindFilter, Help: "keeps what is read from a backing file in the image",
	}, func(ctx context.Context, r *engine.OpenRequest, _ *engine.NoOptions) (engine.Node, error) {
		r.Perm |= engine.PermWriteUnchanged
		child, err := r.MustChild(ctx, "file", engine.RoleFiltered)
		if err != nil {
			return nil, err
		}
		return New(child), nil
	}, nil)
}

// Node copies on reads.
type Node struct {
	pass.Node
	unit int64 // bytes that are copied together
	mu   sync.RWMutex
}

// maxCopy is how much is copied at a time, in bytes.
const maxCopy = 1 << 20

// New puts a node over child, which it owns from then on.
func New(child *engine.Ref) *Node {
	n := &Node{Node: pass.Over(child, "copy-on-read")}
	n.unit = max(int64(n.Says.Limits.ClusterSize), int64(n.Says.Limits.RequestAlign), 4096)
	if !child.Writable() {
		n.Says.Notes = []string{"copy-on-read: the image is open for reading only, so nothing is copied"}
	}
	return n
}

// ReadAt implements engine.Node.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	if n.File.Writable() {
		if err := n.copyIn(ctx, off, int64(len(p))); err != nil {
			return err
		}
	}
	return n.Node.ReadAt(ctx, p, off)
}

// own reports whether the child itself decides the content of a run.
func own(e engine.Extent) bool { return e.Depth == 0 && e.Flags&engine.ExtentAllocated != 0 }

// copyIn makes a range the child's own.
func (n *Node) copyIn(ctx context.Context, off, count int64) error {
	size := n.File.Size()
	end := min(off+count, size)
	var buf [8]engine.Extent
	for off < end {
		ext, err := n.File.Extents(ctx, off, end-off, buf[:0])
		if err != nil {
			return err
		}
		for _, e := range ext {
			if !own(e) {
				from, to := e.Off/n.unit*n.unit, min((e.Off+e.Len+n.unit-1)/n.unit*n.unit, size)
				for ; from < to; from += maxCopy {
					if err := n.copyRange(ctx, from, min(maxCopy, to-from)); err != nil {
						return err
					}
				}
			}
			off = e.Off + e.Len
		}
	}
	return nil
}

// copyRange copies what of a range is not the child's own yet.
func (n *Node) copyRange(ctx context.Context, off, count int64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var p []byte
	for end := off + count; off < end; {
		ext, err := n.File.Extents(ctx, off, end-off, nil)
		if err != nil {
			return err
		}
		for _, e := range ext {
			off = e.Off + e.Len
			if own(e) {
				continue
			}
			if p == nil {
				p = make([]byte, count)
			}
			if err := n.File.ReadAt(ctx, p[:e.Len], e.Off); err != nil {
				return err
			}
			n.File.Event(engine.EventCorWrite)
			if engine.IsZero(p[:e.Len]) {
				err = n.File.WriteZeroes(ctx, e.Off, e.Len, 0)
			} else {
				err = n.File.WriteAt(ctx, p[:e.Len], e.Off, 0)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteAt implements engine.Node.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.Node.WriteAt(ctx, p, off, flags)
}

// WriteCompressed implements engine.CompressedWriter.
func (n *Node) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.Node.WriteCompressed(ctx, p, off)
}

// WriteZeroes implements engine.ZeroWriter.
func (n *Node) WriteZeroes(ctx context.Context, off, count int64, flags engine.WriteFlags) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.Node.WriteZeroes(ctx, off, count, flags)
}

// Discard implements engine.Discarder.
func (n *Node) Discard(ctx context.Context, off, count int64) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.Node.Discard(ctx, off, count)
}

// Resize implements engine.Resizer.
func (n *Node) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Node.Resize(ctx, size, o)
}
