package qcow2

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
)

// Image is an open qcow2 image.
type Image struct {
	geometry
	file     *engine.Ref // metadata, and data unless there is a data file
	data     *engine.Ref // guest data: file, or the external data file
	backing  atomic.Pointer[engine.Ref]
	cfg      Config
	info     engine.Info
	domain   *engine.Domain
	unpacked unpacked
	crypt    dataCipher // between mapping and data; nil when the image is not encrypted

	size      atomic.Int64          // guest bytes
	index     atomic.Pointer[index] // L1 and the slices that are in memory
	fastWrite atomic.Bool           // Map answers for writes
	broken    atomic.Bool           // marked corrupt: no more writes
	dirtyGen  atomic.Uint64         // counts changes of the mapping
	cleanGen  atomic.Uint64         // the change up to which all is durable

	gate sync.RWMutex // see doc.go

	mu       sync.Mutex
	cond     *sync.Cond // something is no longer in flight
	hdr      Header
	inFlight []guestRange
	cache    l2Cache
	refs     refState
	l1Dirty  map[int64]struct{} // sectors of the L1 table that differ from the disk
	frees    []pendingFree      // unpublished in memory
	written  []pendingFree      // unpublished on disk, but the write is not yet durable
	draining []pendingFree      // waiting for a grace period
	drained  int64              // how many have left draining
	packed   packedAlloc        // where compressed clusters go
	snaps    []SnapshotRecord
	snapLen  int64              // bytes of the snapshot table on disk
	tables   map[int64]struct{} // clusters of active L2 tables and of refcount blocks, see overlap.go
	bitmaps  bitmapState
	writable bool
	blind    bool // opened for its metadata only: guest data is out of reach
	lazy     bool // refcounts are written when the image is closed
	closed   bool
	trim     bool // the file is to be cut behind the last cluster in use
	detail   *Detail
	notes    []string

	prealloc struct {
		once     sync.Once
		metadata bool
	}
}

// guestRange is a range of guest clusters, [from, to).
type guestRange struct{ from, to int64 }

// Config are the choices of an open image, see [OpenOptions].
type Config struct {
	L2CacheBytes       int64
	RefcountCacheBytes int64
	PassDiscardRequest bool // discarded clusters are deallocated in the file
	PassDiscardSnap    bool // what a deleted snapshot frees
	PassDiscardOther   bool
	LazyRefcounts      *bool // nil: as the image says
	FastWrites         bool  // writes of allocated clusters go in place without a lock
	CompressionLevel   int
	CompressionWindow  int // bytes, zlib
}

// Info describes the image.
func (m *Image) Info() engine.Info { return m.info }

// Size returns the virtual size in bytes.
func (m *Image) Size() int64 { return m.size.Load() }

// Children of an image, in the order that mappings count them in.
const (
	childFile = iota
	childBacking
	childData
)

// Children returns file, backing and data-file; the last two may be nil.
func (m *Image) Children() []engine.Child {
	kids := []engine.Child{{Name: "file", Ref: m.file}, {Name: "backing", Ref: m.backing.Load()}, {Name: "data-file"}}
	if m.dataFile {
		kids[childData].Ref = m.data
	}
	return kids
}

// Flush makes everything that was completed before durable: data, then metadata in its order.
func (m *Image) Flush(ctx context.Context) error {
	m.mu.Lock()
	gen := m.dirtyGen.Load()
	err := m.writeBack(ctx)
	n := len(m.written)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if m.dataFile {
		if err := m.data.Flush(ctx); err != nil {
			return err
		}
	}
	if err := m.file.Flush(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cleanGen.Load() < gen {
		m.cleanGen.Store(gen)
	}
	m.release(n)
	return nil
}

// Close writes all metadata, gives pending space back and closes the children.
func (m *Image) Close() error {
	ctx := context.Background()
	var err error
	m.gate.Lock()
	defer m.gate.Unlock()
	if m.writable && !m.broken.Load() {
		err = m.closeClean(ctx)
	}
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	err = errors.Join(err, m.closeChildren())
	return err
}

// closeClean leaves an image without leaks and without a dirty bit.
func (m *Image) closeClean(ctx context.Context) error {
	if err := m.storeBitmaps(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.settle(ctx); err != nil {
		return err
	}
	if m.hdr.Incompatible&IncompatDirty != 0 {
		return m.clearIncompatible(ctx, IncompatDirty)
	}
	return nil
}

// commit makes the whole metadata durable and sends what is pending through its grace period. mu is held.
func (m *Image) commit(ctx context.Context) error {
	gen := m.dirtyGen.Load()
	if err := m.writeBack(ctx); err != nil {
		return err
	}
	if err := m.barrier(ctx); err != nil {
		return err
	}
	m.cleanGen.Store(max(gen, m.cleanGen.Load()))
	m.release(len(m.written))
	return nil
}

// settle is commit for the end: nobody can be reading any more, so what is pending is freed at once. mu is held.
func (m *Image) settle(ctx context.Context) error {
	if err := m.writeBack(ctx); err != nil {
		return err
	}
	if len(m.written) > 0 {
		if err := m.barrier(ctx); err != nil {
			return err
		}
	}
	m.draining = append(m.draining, m.written...)
	m.written = nil
	for i := range m.draining {
		if err := m.freeNow(ctx, &m.draining[i]); err != nil {
			return err
		}
	}
	m.drained += int64(len(m.draining))
	m.draining = nil
	if err := m.writeRefs(ctx); err != nil {
		return err
	}
	if err := m.trimNow(ctx); err != nil {
		return err
	}
	return m.barrier(ctx)
}

func (m *Image) closeChildren() error {
	var err error
	if m.dataFile && m.data != nil {
		err = errors.Join(err, m.data.Close())
	}
	if b := m.backing.Load(); b != nil {
		err = errors.Join(err, b.Close())
	}
	return errors.Join(err, m.file.Close())
}

// barrier makes what was written to the files durable.
func (m *Image) barrier(ctx context.Context) error {
	if m.dataFile {
		if err := m.data.Flush(ctx); err != nil {
			return err
		}
	}
	return m.file.Flush(ctx)
}

// readFile reads metadata; what lies past the end of the file is zeroes.
func (m *Image) readFile(ctx context.Context, p []byte, hostOff int64) error {
	return readPadded(ctx, m.file, p, hostOff)
}

func readPadded(ctx context.Context, r *engine.Ref, p []byte, off int64) error {
	n := min(int64(len(p)), max(0, r.Size()-off))
	clear(p[n:])
	if n == 0 {
		return nil
	}
	return r.ReadAt(ctx, p[:n], off)
}

// errBroken is what writes answer after the image was found corrupt.
func (m *Image) checkWritable() error {
	if m.broken.Load() {
		return engine.Errf(engine.ErrCorrupt, "image is marked corrupt; refusing to write")
	}
	return nil
}

// corrupt states a fact that makes further writing dangerous: the image is marked, where it can be. mu is held.
func (m *Image) corrupt(ctx context.Context, err error) error {
	if m.broken.Swap(true) {
		return err
	}
	m.fastWrite.Store(false)
	if m.writable && m.version >= 3 && m.hdr.Incompatible&IncompatCorrupt == 0 {
		if serr := m.setIncompatible(ctx, IncompatCorrupt); serr != nil {
			return errors.Join(err, serr)
		}
	}
	return err
}

// dataCipher is the stage between the mapping and the data of an encrypted image. Both work in place on whole 512-byte sectors; hostOff
// and guestOff are where the first byte lives, since methods differ in which of them they tweak with.
type dataCipher interface {
	encrypt(p []byte, hostOff, guestOff int64)
	decrypt(p []byte, hostOff, guestOff int64)
}
