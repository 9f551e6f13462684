// Package blkverify reads from two children and compares, as QEMU's blkverify does: writes go to both, and a read whose contents or results
// differ fails and says where. `raw` holds a copy to compare with, `test` is what is tested; sizes and status are the test's.
//
// Where it differs from QEMU: a difference is an error of the read, not the end of the process, and a flush flushes both children. Zeroes
// are written as data, as there, so that both children store the same.
package blkverify

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/internal/pass"
)

// Driver is the registry's entry. It stands where a protocol does: formats are probed over it.
func Driver() engine.Driver {
	return engine.Define[engine.NoOptions, engine.NoOptions](engine.Driver{
		Name: "blkverify", Kind: engine.KindProtocol, Help: "compares two children on every read",
	}, func(ctx context.Context, r *engine.OpenRequest, _ *engine.NoOptions) (engine.Node, error) {
		raw, err := r.MustChild(ctx, "raw", engine.RoleFiltered)
		if err != nil {
			return nil, err
		}
		test, err := r.MustChild(ctx, "test", engine.RoleFiltered)
		if err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		return New(raw, test), nil
	}, nil)
}

// Node compares.
type Node struct {
	pass.Node // over the test child
	raw       *engine.Ref
	ranges    pass.Ranges // writes exclude what overlaps: both children see one order
}

// New puts a node over two children, which it owns from then on.
func New(raw, test *engine.Ref) *Node {
	n := &Node{Node: pass.Over(test, "blkverify"), raw: raw}
	n.Says.Limits = pass.Merge([]*engine.Ref{raw, test})
	n.Says.Caps &^= engine.CapDiscard | engine.CapZero | engine.CapUnmapZero
	if !raw.Info().Caps.Has(engine.CapGrowable) {
		n.Says.Caps &^= engine.CapGrowable
	}
	if !raw.Info().Caps.Has(engine.CapFUA) {
		n.Says.Caps &^= engine.CapFUA
	}
	if !raw.Writable() {
		n.Says.Caps &^= engine.CapWritable
	}
	n.Says.Filename = "blkverify:" + raw.Info().Filename + ":" + test.Info().Filename
	return n
}

// both does something to both children at once and compares how it ended.
func (n *Node) both(f func(c *engine.Ref, second bool) error) error {
	var rawErr error
	var wg sync.WaitGroup
	wg.Go(func() { rawErr = f(n.raw, true) })
	err := f(n.File, false)
	wg.Wait()
	if (err == nil) != (rawErr == nil) {
		return engine.Errf(engine.ErrIO, "return value mismatch: raw: %v; test: %w", rawErr, errors.Join(err, rawErr))
	}
	return err
}

// ReadAt implements engine.Node.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	n.ranges.Lock(off, int64(len(p)), false)
	defer n.ranges.Unlock(off, int64(len(p)), false)
	q := make([]byte, len(p))
	if err := n.both(func(c *engine.Ref, second bool) error {
		if second {
			return pass.ReadTail(ctx, c, q, off)
		}
		return pass.ReadTail(ctx, c, p, off)
	}); err != nil {
		return err
	}
	if bytes.Equal(p, q) {
		return nil
	}
	i := 0
	for p[i] == q[i] {
		i++
	}
	return engine.Errf(engine.ErrCorrupt, "contents mismatch at offset %d", off+int64(i))
}

// WriteAt implements engine.Node.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	p = n.Inside(p, off)
	count := int64(len(p))
	n.ranges.Lock(off, count, true)
	defer n.ranges.Unlock(off, count, true)
	return n.both(func(c *engine.Ref, _ bool) error { return c.WriteAt(ctx, p, off, flags) })
}

// WriteCompressed writes as it is: the copy would differ.
func (n *Node) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	return n.WriteAt(ctx, p, off, 0)
}

// Discard does nothing: what is read afterwards would differ. The waist does not call it.
func (n *Node) Discard(context.Context, int64, int64) error { return nil }

// WriteZeroes leaves it to the waist to write data.
func (n *Node) WriteZeroes(context.Context, int64, int64, engine.WriteFlags) error {
	return engine.Errf(engine.ErrUnsupported, "zeroes are written as data")
}

// Flush implements engine.Node.
func (n *Node) Flush(ctx context.Context) error {
	return n.both(func(c *engine.Ref, _ bool) error { return c.Flush(ctx) })
}

// Resize implements engine.Resizer.
func (n *Node) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	return n.both(func(c *engine.Ref, _ bool) error { return c.Resize(ctx, size, o) })
}

// Children names both.
func (n *Node) Children() []engine.Child {
	return []engine.Child{{Name: "test", Ref: n.File}, {Name: "raw", Ref: n.raw}}
}

// Close closes both.
func (n *Node) Close() error { return errors.Join(n.raw.Close(), n.Node.Close()) }
