package file

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/uring"
)

// A write of zeroes is a row of steps, each begun when the one before has completed: those ways that the
// file system has, in the order of Node.zeroFile, and a flush if the zeroes have to be durable.

type zeroStep uint8

const (
	stepPunch    zeroStep = iota // deallocate, if that is allowed
	stepZero                     // FALLOC_FL_ZERO_RANGE
	stepRepunch                  // deallocate, and
	stepAllocate                 // allocate again
	stepWrite                    // data, in pieces
	stepRefuse                   // nothing is left that the request allows
	stepFlush
)

// zeroState is how far a slot's write of zeroes has come.
type zeroState struct {
	step   zeroStep
	cursor uint32 // stepWrite: bytes written
}

// zeroChunk is how much is written in one piece, bytes.
const zeroChunk = 1 << 20

// zeroArena is the memory that zeroes are written from; it stays for the life of the process.
var zeroArena = sync.OnceValues(func() (*dma.Arena, error) {
	return dma.New(dma.Config{Size: zeroChunk, NoHuge: true})
})

// possible reports whether the file system may have a step, and whether the request allows it.
func (n *Node) possible(step zeroStep, flags engine.WriteFlags) bool {
	switch step {
	case stepPunch:
		return flags&engine.MayUnmap != 0 && !n.noPunch.Load()
	case stepZero:
		return !n.noZero.Load()
	case stepRepunch:
		return !n.noPunch.Load() && !n.noAllocate.Load()
	case stepWrite:
		return flags&engine.NoFallback == 0
	case stepFlush:
		return n.rwFlags(flags) != 0
	case stepAllocate, stepRefuse:
	}
	return true
}

// prepareZero fills an entry with the first possible step from the slot's state on.
func (q *ringQueue) prepareZero(s *uring.SQE, fd int32, r *engine.Request, slot uint32) {
	z := &q.zeroing[slot]
	for !q.node.possible(z.step, r.Flags) {
		if z.step++; z.step == stepAllocate {
			z.step++ // only after its punch
		}
	}
	off, n := uint64(r.Off), uint64(r.Len)
	switch z.step {
	case stepPunch, stepRepunch:
		s.PrepFallocate(fd, punch, off, n)
	case stepZero:
		// Unlike the blocking call, this extends: there is no second step for the size.
		s.PrepFallocate(fd, unix.FALLOC_FL_ZERO_RANGE, off, n)
	case stepAllocate:
		s.PrepFallocate(fd, 0, off, n)
	case stepWrite:
		piece := min(r.Len-z.cursor, zeroChunk)
		s.PrepWrite(fd, q.zeroes.base, piece, off+uint64(z.cursor), 0)
	case stepRefuse:
		s.PrepNop()
	case stepFlush:
		s.PrepFdatasync(fd)
	}
}

// zeroed takes the completion of a step; true if it was the last.
func (q *ringQueue) zeroed(r *engine.Request, slot uint32) bool {
	z := &q.zeroing[slot]
	if !q.next(z, r) {
		q.again = append(q.again, slot)
		return false
	}
	if r.Res >= 0 {
		r.Res = 0
		q.node.extended(r.Off + int64(r.Len))
	}
	return true
}

// next decides what follows a step; true if nothing does.
func (q *ringQueue) next(z *zeroState, r *engine.Request) bool {
	if r.Res == -int32(unix.EOPNOTSUPP) && z.step < stepWrite {
		switch z.step {
		case stepPunch, stepRepunch:
			q.node.noPunch.Store(true)
			z.step++
		case stepZero:
			q.node.noZero.Store(true)
			z.step++
		default:
			q.node.noAllocate.Store(true)
			z.step = stepWrite
		}
		if z.step == stepAllocate {
			z.step = stepWrite
		}
		return false
	}
	if r.Res < 0 {
		return true
	}
	switch z.step {
	case stepPunch:
		if r.Off+int64(r.Len) > q.node.size.Load() { // a hole beyond the end is none
			z.step = stepZero
			return false
		}
	case stepRepunch:
		z.step = stepAllocate
		return false
	case stepWrite:
		if z.cursor += uint32(r.Res); z.cursor < r.Len {
			if r.Res == 0 {
				r.Res = -int32(unix.EIO)
				return true
			}
			return false
		}
	case stepRefuse:
		r.Res = -int32(unix.EOPNOTSUPP)
		return true
	case stepFlush:
		return true
	case stepZero, stepAllocate:
	}
	if q.node.possible(stepFlush, r.Flags) {
		z.step = stepFlush
		return false
	}
	return true
}
