package qcow2

import (
	"bytes"
	"context"

	"github.com/blkbench/blkbench/engine"
)

// packedAlloc says where the next compressed cluster goes: behind the last one, in the rest of its host cluster.
type packedAlloc struct {
	next    int64 // host offset; 0 when there is no rest
	cluster int64 // the host cluster that next is in
}

// set notes that n bytes at hostOff are taken.
func (a *packedAlloc) set(hostOff, n int64, clusterBits uint32) {
	a.next = hostOff + n
	a.cluster = a.next >> clusterBits
	if a.next&(1<<clusterBits-1) == 0 {
		a.next = 0 // the cluster is full
	}
}

// forget drops the rest when its cluster was freed.
func (a *packedAlloc) forget(cluster int64) {
	if cluster == a.cluster {
		a.next = 0
	}
}

// WriteCompressed stores one cluster compressed; p is a whole cluster, or the tail of the image. A cluster that does not get shorter is
// written as it is.
func (m *Image) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	if m.dataFile {
		return engine.Errf(engine.ErrUnsupported, "images with an external data file have no compressed clusters")
	}
	if off&m.clusterMask != 0 || (int64(len(p)) != m.clusterSize && off+int64(len(p)) != m.Size()) || int64(len(p)) > m.clusterSize {
		if off&m.clusterMask == 0 && len(p) > 0 {
			return m.compressedParts(ctx, p, off)
		}
		return engine.Errf(engine.ErrAlign, "compressed writes take whole clusters of %d bytes", m.clusterSize)
	}
	if len(p) == 0 {
		return nil
	}
	dst, done := scratch(m.clusterSize)
	defer done()
	out, err := m.pack(dst, p)
	if err != nil {
		return err
	}
	if out == nil {
		return m.WriteAt(ctx, p, off, 0)
	}
	return m.WritePacked(ctx, out, off)
}

// Pack compresses a cluster, or the tail of the image; nil when that makes it no shorter. Any number of clusters may be packed at once.
func (m *Image) Pack(p []byte) ([]byte, error) {
	dst, done := scratch(m.clusterSize)
	defer done()
	out, err := m.pack(dst, p)
	return bytes.Clone(out), err
}

// pack is Pack into dst, a cluster of memory.
func (m *Image) pack(dst, p []byte) ([]byte, error) {
	if int64(len(p)) < m.clusterSize {
		whole := make([]byte, m.clusterSize)
		copy(whole, p)
		p = whole
	}
	return m.compress(dst, p)
}

// WritePacked stores what Pack made of the cluster at off.
func (m *Image) WritePacked(ctx context.Context, packed []byte, off int64) error {
	switch {
	case m.dataFile:
		return engine.Errf(engine.ErrUnsupported, "images with an external data file have no compressed clusters")
	case off&m.clusterMask != 0 || off >= m.Size() || len(packed) == 0 || int64(len(packed)) >= m.clusterSize:
		return engine.Errf(engine.ErrAlign, "%d packed bytes are no cluster at %#x", len(packed), off)
	}
	m.gate.RLock()
	defer m.gate.RUnlock()
	if err := m.beforeChange(ctx); err != nil {
		return err
	}
	defer m.bitmaps.track(off, min(m.clusterSize, m.Size()-off))
	return m.storeCompressed(ctx, packed, off)
}

// compressedParts writes several clusters one by one; only the last may be short.
func (m *Image) compressedParts(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		n := min(int64(len(p)), m.clusterSize)
		if n < m.clusterSize && off+n != m.Size() {
			return engine.Errf(engine.ErrAlign, "compressed writes take whole clusters of %d bytes", m.clusterSize)
		}
		if err := m.WriteCompressed(ctx, p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// storeCompressed allocates, writes and publishes. The gate is held.
func (m *Image) storeCompressed(ctx context.Context, out []byte, off int64) error {
	mctx := context.WithoutCancel(ctx)
	c := off >> m.clusterBits
	g := guestRange{c, c + 1}
	m.mu.Lock()
	m.await(g)
	if _, err := m.sliceForWrite(mctx, m.sliceOf(off)); err != nil {
		m.mu.Unlock()
		return err
	}
	hostOff, err := m.allocBytes(mctx, int64(len(out)))
	if err != nil {
		m.mu.Unlock()
		return err
	}
	m.inFlight = append(m.inFlight, g)
	m.mu.Unlock()

	m.file.Event(engine.EventWriteCompressed)
	err = m.file.WriteAt(ctx, out, hostOff, 0)

	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.land(g)
	var s *slice
	if err == nil {
		s, err = m.sliceForWrite(mctx, m.sliceOf(off))
	}
	if err != nil {
		first := hostOff >> m.clusterBits
		return m.undoAlloc(mctx, first, (hostOff+int64(len(out))-1)>>m.clusterBits-first+1, err)
	}
	i := m.inSlice(off)
	old, _ := m.at(s, i)
	m.file.Event(engine.EventL2UpdateCompressed)
	e := m.compressedEntry(hostOff, int64(len(out)))
	m.unpacked.forget(e)
	m.set(s, i, e, 0)
	m.freeEntry(old, freeOther)
	return nil
}

// allocBytes takes n bytes, less than a cluster, and counts a reference to each host cluster that they touch: behind the last such
// allocation where the rest of its cluster, or the cluster after it, has room. mu is held.
func (m *Image) allocBytes(ctx context.Context, n int64) (int64, error) {
	m.file.Event(engine.EventClusterAllocBytes)
	a := &m.packed
	if a.next != 0 {
		hostOff := a.next
		cluster := hostOff >> m.clusterBits
		left := (cluster+1)<<m.clusterBits - hostOff
		v, err := m.refcount(ctx, cluster)
		if err != nil {
			return 0, err
		}
		if v > 0 && v < m.refMax && n <= left {
			return hostOff, m.takeBytes(ctx, hostOff, n, cluster)
		}
		if v > 0 && v < m.refMax && left > 0 {
			// Does the free run go on behind it?
			c, _, err := m.allocRun(ctx, 1)
			if err != nil {
				return 0, err
			}
			if c == cluster+1 {
				if err := m.takeBytes(ctx, hostOff, n, cluster); err != nil {
					return 0, m.undoAlloc(ctx, c, 1, err)
				}
				return hostOff, nil
			}
			a.set(c<<m.clusterBits, n, m.clusterBits)
			return m.checkCompressedOffset(c << m.clusterBits)
		}
	}
	c, _, err := m.allocRun(ctx, 1)
	if err != nil {
		return 0, err
	}
	a.set(c<<m.clusterBits, n, m.clusterBits)
	return m.checkCompressedOffset(c << m.clusterBits)
}

// takeBytes counts a further reference to the cluster that the bytes start in.
func (m *Image) takeBytes(ctx context.Context, hostOff, n, cluster int64) error {
	if err := m.addRef(ctx, cluster, 1); err != nil {
		return err
	}
	m.packed.set(hostOff, n, m.clusterBits)
	_, err := m.checkCompressedOffset(hostOff)
	return err
}

func (m *Image) checkCompressedOffset(hostOff int64) (int64, error) {
	if hostOff >= 1<<m.csizeShift || hostOff >= 1<<56 {
		return 0, engine.Errf(engine.ErrNoSpace, "compressed data at %#x is past what an entry can name", hostOff)
	}
	return hostOff, nil
}
