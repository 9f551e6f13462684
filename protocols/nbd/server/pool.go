package server

import (
	"math/bits"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/dma"
)

// Sizes of a poller's memory in bytes.
const (
	arenaSize = 16 << 20
	headPage  = 4096      // before the data of a buffer: the reply's header ends there
	smallMax  = 1 << 20   // data of requests that lie in the arena; larger ones have mappings of their own
	bigMax    = 256 << 20 // of all mappings together
	classes   = 9
)

// buffer is memory for the data of a request, with a page before it.
type buffer struct {
	mem   []byte     // nil: there is none
	h     dma.Handle // of mem, in the arena
	class int8       // -1: a mapping
}

// data returns the part behind the header's page.
func (b *buffer) data(n uint64) []byte { return b.mem[headPage : headPage+n] }

// pool has a poller's buffers. It belongs to the poller's thread.
type pool struct {
	arena  *dma.Arena
	free   [classes][]dma.Handle
	unused int64 // bytes of the arena that no request has
	big    int64 // bytes of mappings
}

func (p *pool) open() error {
	a, err := dma.New(dma.Config{Size: arenaSize})
	if err != nil {
		return err
	}
	p.arena, p.unused = a, int64(a.Len())
	for i := range p.free {
		p.free[i] = make([]dma.Handle, 0, arenaSize/classSize(i))
	}
	return nil
}

func classSize(class int) int { return headPage + 4096<<class }

// take returns a buffer for n bytes of data to somebody who holds held bytes already. It is refused where that is more than a share of
// what is free. Who has nothing gets a mapping where the arena has no room, as long as there may be one.
func (p *pool) take(n uint64, held int64) (b buffer, size int64, ok bool) {
	if n > smallMax {
		return p.mapping(n, held)
	}
	class := max(0, bits.Len(uint(n-1))-12)
	size = int64(classSize(class))
	if held > 0 && held+size > p.unused {
		return b, 0, false
	}
	h, ok := p.carve(class)
	if !ok {
		if held > 0 {
			return b, 0, false
		}
		return p.mapping(n, held)
	}
	p.unused -= size
	return buffer{mem: p.arena.Bytes(h, int(size)), h: h, class: int8(class)}, size, true
}

func (p *pool) mapping(n uint64, held int64) (b buffer, size int64, ok bool) {
	size = headPage + int64(n+dma.PageSize-1)&^(dma.PageSize-1)
	if p.big > 0 && p.big+size > bigMax || held > 0 && held+size > bigMax-p.big {
		return b, 0, false
	}
	mem, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return b, 0, false
	}
	p.big += size
	return buffer{mem: mem, class: -1}, size, true
}

// carve finds a free stretch of a class; where the arena has none, what other classes have put by goes back first.
func (p *pool) carve(class int) (dma.Handle, bool) {
	if list := p.free[class]; len(list) > 0 {
		h := list[len(list)-1]
		p.free[class] = list[:len(list)-1]
		return h, true
	}
	h, err := p.arena.Alloc(classSize(class))
	if err == nil {
		return h, true
	}
	for i := range p.free {
		for _, h := range p.free[i] {
			p.arena.Free(h, classSize(i))
		}
		p.free[i] = p.free[i][:0]
	}
	h, err = p.arena.Alloc(classSize(class))
	return h, err == nil
}

// give takes a buffer back.
func (p *pool) give(b *buffer) {
	switch {
	case b.mem == nil:
		return
	case b.class < 0:
		p.big -= int64(len(b.mem))
		unix.Munmap(b.mem)
	default:
		p.unused += int64(len(b.mem))
		p.free[b.class] = append(p.free[b.class], b.h)
	}
	*b = buffer{}
}

func (p *pool) close() error { return p.arena.Close() }

// slabConns is how many connections share a mapping for what they receive.
const (
	slabConns = 64
	recvSize  = 32 << 10
)

// recvBuffers have what connections receive into, one each, in pages that exist when they are touched.
type recvBuffers struct {
	slabs [][]byte
	free  [][]byte
}

func (r *recvBuffers) take() ([]byte, error) {
	if len(r.free) == 0 {
		mem, err := unix.Mmap(-1, 0, slabConns*recvSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return nil, err
		}
		if err := unix.Madvise(mem, unix.MADV_NOHUGEPAGE); err != nil {
			unix.Munmap(mem)
			return nil, err
		}
		r.slabs = append(r.slabs, mem)
		for i := range slabConns {
			r.free = append(r.free, mem[i*recvSize:(i+1)*recvSize:(i+1)*recvSize])
		}
	}
	b := r.free[len(r.free)-1]
	r.free = r.free[:len(r.free)-1]
	return b, nil
}

func (r *recvBuffers) give(b []byte) { r.free = append(r.free, b) }

func (r *recvBuffers) close() {
	for _, mem := range r.slabs {
		unix.Munmap(mem)
	}
}
