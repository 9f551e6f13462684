// Package compress makes every write a compressed one, as QEMU's compress filter does. The node's alignment is the format's cluster, so
// that the waist reads what a small write leaves of one. Zeroes and discards go through as they are. The node is opaque to the polled
// plane: compressing is the slow lane's work.
package compress

import (
	"context"
	"errors"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/internal/pass"
)

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[engine.NoOptions, engine.NoOptions](engine.Driver{
		Name: "compress", Kind: engine.KindFilter, Help: "writes compressed",
	}, func(ctx context.Context, r *engine.OpenRequest, _ *engine.NoOptions) (engine.Node, error) {
		child, err := r.MustChild(ctx, "file", engine.RoleFiltered)
		if err != nil {
			return nil, err
		}
		n, err := New(child)
		if err != nil {
			return nil, errors.Join(err, child.Close())
		}
		return n, nil
	}, nil)
}

// Node writes compressed.
type Node struct{ pass.Node }

// New puts a node over child, which it owns from then on.
func New(child *engine.Ref) (*Node, error) {
	info := child.Info()
	cluster := info.Limits.ClusterSize
	if _, ok := child.Node().(engine.CompressedWriter); !ok || cluster == 0 {
		return nil, engine.Errf(engine.ErrUnsupported, "Compression is not supported for underlying format: %s", info.Driver)
	}
	if cluster > 1<<20 || cluster&(cluster-1) != 0 {
		return nil, engine.Errf(engine.ErrUnsupported, "clusters of %d bytes are more than a request is aligned to", cluster)
	}
	n := &Node{pass.Over(child, "compress")}
	lim := &n.Says.Limits
	lim.RequestAlign = max(lim.RequestAlign, cluster)
	if lim.MaxTransfer != 0 && lim.MaxTransfer < cluster {
		lim.MaxTransfer = cluster
	}
	return n, nil
}

// WriteAt implements engine.Node.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	return n.File.WriteAt(ctx, n.Inside(p, off), off, flags|engine.Compressed)
}
