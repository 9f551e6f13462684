package engine

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unsafe"
)

func alignDown(n, unit int64) int64 { return n - n%unit }

func alignUp(n, unit int64) int64 { return alignDown(n+unit-1, unit) }

// alignedBuffer returns n bytes of Go memory whose address is a multiple of align.
func alignedBuffer(n, align int) []byte {
	b := make([]byte, n+align)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & uintptr(align-1))
	return b[skip : skip+n : skip+n]
}

// fits reports whether a request keeps to the node's alignment of offset, length and memory.
func (st *nodeState) fits(p []byte, off int64) bool {
	if (off|int64(len(p)))&int64(st.align-1) != 0 {
		return false
	}
	return st.mem == 1 || uintptr(unsafe.Pointer(unsafe.SliceData(p)))&uintptr(st.mem-1) == 0
}

// bounceSize is how much is copied at a time when memory or offset do not fit, in bytes.
const bounceSize = 1 << 20

var bouncePool = sync.Pool{New: func() any {
	b := alignedBuffer(bounceSize, 4096)
	return &b
}}

func (r *Ref) readBounced(ctx context.Context, p []byte, off int64) error {
	buf := bouncePool.Get().(*[]byte)
	defer bouncePool.Put(buf)
	align := int64(r.st.align)
	for len(p) > 0 {
		start := alignDown(off, align)
		end := min(alignUp(off+int64(len(p)), align), start+bounceSize)
		b := (*buf)[:end-start]
		if err := r.readFitting(ctx, b, start); err != nil {
			return err
		}
		n := copy(p, b[off-start:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// writeBounced writes what does not fit: through an aligned copy, with read-modify-write of the first and last block under the range
// lock. An unaligned end of the node keeps its size.
func (r *Ref) writeBounced(ctx context.Context, p []byte, off int64, flags WriteFlags) error {
	buf := bouncePool.Get().(*[]byte)
	defer bouncePool.Put(buf)
	align := int64(r.st.align)
	for len(p) > 0 {
		start := alignDown(off, align)
		end := min(alignUp(off+int64(len(p)), align), start+bounceSize)
		n := min(int64(len(p)), end-off)
		if err := r.modify(ctx, (*buf)[:end-start], p[:n], start, off, flags); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// modify writes p at off by way of the aligned block b at start.
func (r *Ref) modify(ctx context.Context, b, p []byte, start, off int64, flags WriteFlags) error {
	end, last := start+int64(len(b)), off+int64(len(p))
	if start == off && end == last {
		if r.st.align > 1 {
			lock := r.st.locks.lock(start, end-start, false)
			defer r.st.locks.unlock(lock)
		}
		copy(b, p)
		return r.writeFitting(ctx, b, start, flags)
	}
	grows := r.st.info.Caps.Has(CapGrowable) && end != last
	lock, size := r.lockBlocks(start, end, grows)
	defer r.st.locks.unlock(lock)
	if r.st.paths.Load() > 0 {
		// Fast writes that were on their way before the lock was seen must have landed before the old content is read.
		if err := r.st.domain.SyncPaths(ctx); err != nil {
			return err
		}
	}
	if err := r.readEnds(ctx, b, start, off, last, size); err != nil {
		return err
	}
	copy(b[off-start:], p)
	if err := r.writeFitting(ctx, b, start, flags); err != nil {
		return err
	}
	if grows = grows && end > size; !grows {
		return nil // and others may have moved the end since
	}
	rs, ok := r.st.node.(Resizer)
	if size = max(size, last); ok && r.Size() > size {
		return rs.Resize(ctx, size, ResizeOptions{Exact: true})
	}
	return nil
}

// lockBlocks takes the range lock of a read-modify-write and returns the node's size. A block that reaches beyond the end makes a
// growable node grow to the block's end, and is cut off again after: nobody may change the size in between, so the lock then reaches to
// the largest offset there is.
func (r *Ref) lockBlocks(start, end int64, grows bool) (lock uint64, size int64) {
	lock = r.st.locks.lock(start, end-start, true)
	if size = r.Size(); !grows || end <= size {
		return lock, size
	}
	r.st.locks.unlock(lock)
	lock = r.st.locks.lock(start, maxEnd-start, true)
	return lock, r.Size()
}

// readEnds fills the first and the last block of b as far as [off, last) leaves something of them, with what the node has there.
func (r *Ref) readEnds(ctx context.Context, b []byte, start, off, last, size int64) error {
	align := int64(r.st.align)
	end := start + int64(len(b))
	fill := func(at int64) error {
		block := b[at-start : at-start+align]
		if at >= size {
			clear(block)
			return nil
		}
		return r.readFitting(ctx, block, at)
	}
	if off != start || last < start+align {
		r.Event(EventPwritevRMWHead)
		if err := fill(start); err != nil {
			return err
		}
		r.Event(EventPwritevRMWAfterHead)
	}
	if last != end && end-align > start {
		r.Event(EventPwritevRMWTail)
		if err := fill(end - align); err != nil {
			return err
		}
		r.Event(EventPwritevRMWAfterTail)
	}
	return nil
}

// rangeLock keeps read-modify-writes (exclusive) and other writes (shared) of one node apart. Exclusive locks are counted in an
// atomic that fast writes look at.
type rangeLock struct {
	mu        sync.Mutex
	cond      *sync.Cond
	held      []heldRange
	lastID    uint64
	exclusive atomic.Int32
}

type heldRange struct {
	off, end  int64
	exclusive bool
	id        uint64
}

func (l *rangeLock) init() { l.cond = sync.NewCond(&l.mu) }

// lock waits until the range is free of what conflicts; what it returns is for unlock.
func (l *rangeLock) lock(off, n int64, exclusive bool) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.conflicts(off, off+n, exclusive) {
		l.cond.Wait()
	}
	l.lastID++
	l.held = append(l.held, heldRange{off, off + n, exclusive, l.lastID})
	if exclusive {
		l.exclusive.Add(1)
	}
	return l.lastID
}

func (l *rangeLock) unlock(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, h := range l.held {
		if h.id != id {
			continue
		}
		last := len(l.held) - 1
		l.held[i] = l.held[last]
		l.held = l.held[:last]
		if h.exclusive {
			l.exclusive.Add(-1)
		}
		break
	}
	l.cond.Broadcast()
}

func (l *rangeLock) conflicts(off, end int64, exclusive bool) bool {
	for _, h := range l.held {
		if h.off < end && off < h.end && (exclusive || h.exclusive) {
			return true
		}
	}
	return false
}

// blocks reports whether a fast write of the range must take the slow lane because a read-modify-write holds it.
func (l *rangeLock) blocks(off, n int64) bool {
	if l.exclusive.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conflicts(off, off+n, false)
}

// IsZero reports whether p holds zeroes only. It looks at the ends and the middle first, since data that is not zero mostly shows
// there, and then at 64 bytes a step.
func IsZero(p []byte) bool {
	n := len(p)
	if n == 0 {
		return true
	}
	if p[0]|p[n-1]|p[n/2] != 0 {
		return false
	}
	for len(p) >= 64 {
		q := p[:64]
		v := binary.NativeEndian.Uint64(q[0:]) | binary.NativeEndian.Uint64(q[8:]) | binary.NativeEndian.Uint64(q[16:]) |
			binary.NativeEndian.Uint64(q[24:]) | binary.NativeEndian.Uint64(q[32:]) | binary.NativeEndian.Uint64(q[40:]) |
			binary.NativeEndian.Uint64(q[48:]) | binary.NativeEndian.Uint64(q[56:])
		if v != 0 {
			return false
		}
		p = p[64:]
	}
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
