package blkdebug

import (
	"context"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/internal/pass"
)

// Node fails requests by rules.
type Node struct {
	pass.Node
	*machine
	zeroAlign, discardAlign int64
}

// refuse returns the error that the rules have for a request.
func (n *Node) refuse(off, count int64, t ioType) error {
	if errno := n.check(off, count, t); errno != 0 {
		return errno
	}
	return nil
}

// Event implements engine.EventSink.
func (n *Node) Event(e engine.Event) { n.event(e) }

// ReadAt implements engine.Node.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := n.refuse(off, int64(len(p)), ioRead); err != nil {
		return err
	}
	return n.Node.ReadAt(ctx, p, off)
}

// WriteAt implements engine.Node.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	n.event(engine.EventPwritev)
	if err := n.refuse(off, int64(len(p)), ioWrite); err != nil {
		return err
	}
	err := n.Node.WriteAt(ctx, p, off, flags)
	n.event(engine.EventPwritevDone)
	return err
}

// WriteZeroes implements engine.ZeroWriter.
func (n *Node) WriteZeroes(ctx context.Context, off, count int64, flags engine.WriteFlags) error {
	n.event(engine.EventPwritevZero)
	if count < n.zeroAlign {
		return engine.Errf(engine.ErrUnsupported, "fewer than %d bytes are not zeroed", n.zeroAlign)
	}
	if err := n.refuse(off, count, ioZeroes); err != nil {
		return err
	}
	err := n.Node.WriteZeroes(ctx, off, count, flags)
	n.event(engine.EventPwritevDone)
	return err
}

// Discard implements engine.Discarder.
func (n *Node) Discard(ctx context.Context, off, count int64) error {
	if count < n.discardAlign {
		return nil
	}
	if err := n.refuse(off, count, ioDiscard); err != nil {
		return err
	}
	return n.Node.Discard(ctx, off, count)
}

// Flush implements engine.Node.
func (n *Node) Flush(ctx context.Context) error {
	if err := n.refuse(0, 0, ioFlush); err != nil {
		return err
	}
	return n.Node.Flush(ctx)
}

// Extents implements engine.Node.
func (n *Node) Extents(ctx context.Context, off, count int64, dst []engine.Extent) ([]engine.Extent, error) {
	if err := n.refuse(off, count, ioStatus); err != nil {
		return dst, err
	}
	return n.Node.Extents(ctx, off, count, dst)
}

// Children names the child as QEMU does.
func (n *Node) Children() []engine.Child { return []engine.Child{{Name: "image", Ref: n.File}} }

// Close lets go what is held.
func (n *Node) Close() error {
	n.letGo()
	return n.Node.Close()
}
