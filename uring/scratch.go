package uring

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is memory outside the Go heap: it neither moves nor is it collected.
type mapping struct {
	addr unsafe.Pointer
	size uintptr
}

// mapFD maps size bytes of a ring's descriptor. A child process does not inherit it.
func mapFD(fd int, offset uint64, size uintptr) (mapping, error) {
	addr, err := unix.MmapPtr(fd, int64(offset), nil, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return mapping{}, fmt.Errorf("mmap of %d bytes of a ring: %w", size, err)
	}
	m := mapping{addr, size}
	return m, m.dontFork()
}

func (m mapping) dontFork() error {
	if err := unix.Madvise(unsafe.Slice((*byte)(m.addr), m.size), unix.MADV_DONTFORK); err != nil {
		return fmt.Errorf("madvise: %w", err)
	}
	return nil
}

func (m *mapping) unmap() error {
	if m.addr == nil {
		return nil
	}
	err := unix.MunmapPtr(m.addr, m.size)
	*m = mapping{}
	return err
}

const scratchChunk = 16384

// scratch hands out small pieces of mapped memory for what the kernel reads by address. Pieces are never
// given back one by one.
type scratch struct {
	chunks []mapping
	used   uintptr
}

// alloc returns size zeroed bytes, aligned to 64.
func (s *scratch) alloc(size uintptr) (unsafe.Pointer, error) {
	size = (size + 63) &^ 63
	if len(s.chunks) == 0 || s.used+size > s.chunks[len(s.chunks)-1].size {
		want := max((size+4095)&^4095, scratchChunk)
		addr, err := unix.MmapPtr(-1, 0, nil, want, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
		if err != nil {
			return nil, fmt.Errorf("mmap of %d bytes: %w", want, err)
		}
		m := mapping{addr, want}
		if err := m.dontFork(); err != nil {
			return nil, err
		}
		s.chunks, s.used = append(s.chunks, m), 0
	}
	p := unsafe.Add(s.chunks[len(s.chunks)-1].addr, s.used)
	s.used += size
	return p, nil
}

func (s *scratch) free() error {
	var first error
	for i := range s.chunks {
		if err := s.chunks[i].unmap(); err != nil && first == nil {
			first = err
		}
	}
	s.chunks = nil
	return first
}
