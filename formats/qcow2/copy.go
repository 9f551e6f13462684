package qcow2

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// CopyFrom stores a range of another file as guest data by a copy inside the kernel, whole clusters of it. The last one of the image may be
// short. Where the clusters have to be made first they come in runs as long as the file has room for, so that a reflink shares much at once.
func (m *Image) CopyFrom(ctx context.Context, src engine.Node, srcOff, off, n int64, reflink bool) error {
	c, ok := m.data.Node().(engine.Copier)
	switch {
	case !ok || !m.data.Writable():
		return engine.Errf(engine.ErrUnsupported, "driver %s does not copy", m.data.Info().Driver)
	case m.crypt != nil:
		return engine.Errf(engine.ErrUnsupported, "the image is encrypted")
	case max(1, m.data.Info().Limits.RequestAlign) > 1<<m.subBits:
		// A read-modify-write beside it could put old bytes back: the copy takes no range lock.
		return engine.Errf(engine.ErrUnsupported, "subclusters are smaller than blocks")
	case off&m.clusterMask != 0 || (n&m.clusterMask != 0 && off+n != m.Size()):
		return engine.Errf(engine.ErrUnsupported, "copies are whole clusters of %d bytes", m.clusterSize)
	}
	m.gate.RLock()
	defer m.gate.RUnlock()
	if err := m.beforeChange(ctx); err != nil {
		return err
	}
	defer m.bitmaps.track(off, n)
	for n > 0 {
		r, err := m.lookup(ctx, off, n)
		if err != nil {
			return err
		}
		var k int64
		if r.kind == kindNormal && r.copied {
			if err = m.checkForeign(ctx, r); err == nil {
				k, err = r.n, c.CopyFrom(ctx, src, srcOff, r.hostOff, r.n, reflink)
			}
		} else {
			k, err = m.writeAlloc(ctx, off, min(n, maxCopyBytes), func(pl *plan) error { return m.copyInto(ctx, c, src, srcOff, pl, reflink) })
		}
		if err != nil {
			return err
		}
		srcOff, off, n = srcOff+k, off+k, n-k
	}
	return nil
}

// maxCopyBytes is the most that one allocation of a copy covers.
const maxCopyBytes = 256 << 20

// copyInto is fill for copies, which have no edges but one: what the last cluster has behind the end of the image becomes zeroes.
func (m *Image) copyInto(ctx context.Context, c engine.Copier, src engine.Node, srcOff int64, pl *plan, reflink bool) error {
	tail := pl.to - pl.end
	if pl.from != pl.off || (tail > 0 && pl.end != m.Size()) {
		return engine.Errf(engine.ErrUnsupported, "a part of the cluster at %#x stays", pl.off)
	}
	hostOff := pl.host + pl.off - pl.first
	if tail > 0 {
		if err := m.writeData(ctx, make([]byte, tail), hostOff+pl.end-pl.off, pl.end); err != nil {
			return err
		}
	}
	return c.CopyFrom(ctx, src, srcOff, hostOff, pl.end-pl.off, reflink)
}
