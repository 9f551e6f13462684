package qcow2

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// lookup is find with the slow way: a slice that is not in memory is loaded.
func (m *Image) lookup(ctx context.Context, off, n int64) (run, error) {
	for {
		if r, ok := m.find(off, n); ok {
			if r.kind == kindInvalid {
				return r, m.invalid(ctx, off, r)
			}
			return r, nil
		}
		m.mu.Lock()
		_, err := m.slice(ctx, m.sliceOf(off))
		m.mu.Unlock()
		if err != nil {
			return run{}, err
		}
	}
}

// invalid words what is wrong with an entry.
func (m *Image) invalid(ctx context.Context, off int64, r run) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l1, l2 := m.l1Index(m.sliceOf(off)), off>>m.clusterBits&(1<<m.l2Bits-1)
	switch {
	case r.entry.Zero() && m.version < 3:
		return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "Zero cluster entry found in pre-v3 image (L1 index: %#x, L2 index: %#x)", l1, l2))
	case m.dataFile && r.entry.Offset()&m.clusterMask == 0:
		return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt,
			"External data file host cluster offset %#x does not match guest cluster offset: %#x, L1 index: %#x, L2 index: %#x",
			r.entry.Offset(), off&^m.clusterMask, l1, l2))
	case r.entry.Offset()&m.clusterMask != 0:
		return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "Cluster allocation offset %#x unaligned (L1 index: %#x, L2 index: %#x)",
			r.entry.Offset(), l1, l2))
	}
	return m.corrupt(ctx, engine.Errf(engine.ErrCorrupt, "Invalid cluster entry found (L1 index: %#x, L2 index: %#x)", l1, l2))
}

// ReadAt fills p from off.
func (m *Image) ReadAt(ctx context.Context, p []byte, off int64) error {
	if m.blind {
		return errBlind
	}
	for len(p) > 0 {
		r, err := m.lookup(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		if err := m.readRun(ctx, r, p[:r.n], off); err != nil {
			return err
		}
		p, off = p[r.n:], off+r.n
	}
	return nil
}

// readRun reads a run, or the start of one.
func (m *Image) readRun(ctx context.Context, r run, p []byte, off int64) error {
	switch r.kind {
	case kindNormal:
		m.file.Event(engine.EventReadAIO)
		return m.readData(ctx, p, r.hostOff, off)
	case kindCompressed:
		return m.readCompressed(ctx, p, r.entry, off&m.clusterMask)
	case kindUnallocated, kindUnallocatedAlloc:
		if b := m.backing.Load(); b != nil {
			m.file.Event(engine.EventReadBackingAIO)
			return readPadded(ctx, b, p, off)
		}
		clear(p)
	default:
		clear(p)
	}
	return nil
}

// readData reads stored guest data.
func (m *Image) readData(ctx context.Context, p []byte, hostOff, guestOff int64) error {
	if m.crypt == nil {
		return readPadded(ctx, m.data, p, hostOff)
	}
	// Whole sectors are decrypted.
	lead := int(guestOff & 511)
	buf := make([]byte, (lead+len(p)+511)&^511)
	if err := readPadded(ctx, m.data, buf, hostOff-int64(lead)); err != nil {
		return err
	}
	m.crypt.decrypt(buf, hostOff-int64(lead), guestOff-int64(lead))
	copy(p, buf[lead:])
	return nil
}

// writeData writes guest data to where it is stored.
func (m *Image) writeData(ctx context.Context, p []byte, hostOff, guestOff int64) error {
	m.file.Event(engine.EventWriteAIO)
	if m.crypt == nil {
		return m.data.WriteAt(ctx, p, hostOff, 0)
	}
	buf := append([]byte(nil), p...)
	m.crypt.encrypt(buf, hostOff, guestOff)
	return m.data.WriteAt(ctx, buf, hostOff, 0)
}

// reads reports how a run reads: zero when it is zeroes without a look at data.
func (m *Image) readsZero(r run, off int64) bool {
	switch r.kind {
	case kindZeroPlain, kindZeroAlloc:
		return true
	case kindUnallocated, kindUnallocatedAlloc:
		b := m.backing.Load()
		return b == nil || off >= b.Size()
	default:
		return false
	}
}
