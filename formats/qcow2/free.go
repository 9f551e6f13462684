package qcow2

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// freeClass says which of the pass-discard options a freed range falls under.
type freeClass uint8

const (
	freeRequest freeClass = iota
	freeSnapshot
	freeOther
	freeAlways
)

// pendingFree is a host range that loses one reference when the disk says so and a grace period has passed.
type pendingFree struct {
	cluster, n int64
	class      freeClass
}

// maxPending is how many clusters may wait before the metadata is written back to get at them.
const maxPending = 16384

// free notes that clusters lose a reference. What referred to them is changed already. mu is held.
func (m *Image) free(f pendingFree) {
	m.frees = appendFree(m.frees, f)
}

// release hands the first n written frees, which are durable now, to the grace period. mu is held.
func (m *Image) release(n int) {
	n = min(n, len(m.written))
	if n == 0 {
		return
	}
	m.draining = append(m.draining, m.written[:n]...)
	m.written = append([]pendingFree(nil), m.written[n:]...)
	// Counted from the start: what older work takes from the front must not move the mark of younger work on.
	upTo := m.drained + int64(len(m.draining))
	m.domain.Defer(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.closed {
			return
		}
		m.freeDrained(context.Background(), upTo)
	})
}

// freeDrained frees what was handed to grace periods up to a mark. mu is held.
func (m *Image) freeDrained(ctx context.Context, upTo int64) {
	n := min(max(0, upTo-m.drained), int64(len(m.draining)))
	for i := range m.draining[:n] {
		// An error leaves the rest counted: a leak, which check finds.
		if err := m.freeNow(ctx, &m.draining[i]); err != nil {
			break
		}
	}
	m.draining = m.draining[n:]
	m.drained += n
}

// freeNow takes the reference away. mu is held.
func (m *Image) freeNow(ctx context.Context, f *pendingFree) error {
	m.file.Event(engine.EventClusterFree)
	pass := f.class == freeAlways ||
		(f.class == freeRequest && m.cfg.PassDiscardRequest) ||
		(f.class == freeSnapshot && m.cfg.PassDiscardSnap) ||
		(f.class == freeOther && m.cfg.PassDiscardOther)
	for f.n > 0 {
		// The stretch that ends up free is deallocated at once. f shrinks as it goes: after an error nothing is taken away twice.
		start, freed := f.cluster, int64(0)
		for f.n > 0 {
			if err := m.addRef(ctx, f.cluster, -1); err != nil {
				return err
			}
			f.cluster, f.n = f.cluster+1, f.n-1
			if v, err := m.refcount(ctx, f.cluster-1); err != nil || v != 0 {
				break
			}
			freed++
		}
		if pass && freed > 0 {
			// Deallocating is a kindness: that it does not work changes nothing.
			if end := min((start+freed)<<m.clusterBits, m.file.Size()); end > start<<m.clusterBits {
				_ = m.file.Discard(ctx, start<<m.clusterBits, end-start<<m.clusterBits)
			}
		}
	}
	return nil
}

// beforeAlloc gets at pending space when there is much of it, and sets the dirty bit where refcounts are lazy.
func (m *Image) beforeAlloc(ctx context.Context) error {
	if m.lazy && m.hdr.Incompatible&IncompatDirty == 0 {
		if err := m.setIncompatible(ctx, IncompatDirty); err != nil {
			return err
		}
	}
	var pending int64
	for i := range m.frees {
		pending += m.frees[i].n
	}
	if pending < maxPending && len(m.frees) < 1024 {
		return nil
	}
	if err := m.writeBack(ctx); err != nil {
		return err
	}
	if err := m.barrier(ctx); err != nil {
		return err
	}
	m.release(len(m.written))
	return nil
}
