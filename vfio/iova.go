package vfio

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// span is a range of I/O virtual addresses, last included: the whole 64-bit space fits.
type span struct{ first, last uint64 }

// iovaSpace hands out I/O virtual addresses, first fit, inside the ranges that the IOMMU can translate.
type iovaSpace struct {
	mu     sync.Mutex
	usable []span // sorted, disjoint
	taken  []span // sorted, disjoint
}

func newIOVASpace(usable []span) *iovaSpace {
	s := &iovaSpace{usable: slices.Clone(usable)}
	slices.SortFunc(s.usable, func(a, b span) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	return s
}

// alloc reserves size bytes at a multiple of align, a power of two.
func (s *iovaSpace) alloc(size, align uint64) (uint64, error) {
	if size == 0 || align == 0 || align&(align-1) != 0 {
		return 0, fmt.Errorf("IOVA range of %d bytes aligned to %d", size, align)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.usable {
		at, ok := alignUp(u.first, align)
		for _, t := range s.taken {
			if !ok || t.last < at {
				continue
			}
			if t.first > at && t.first-at >= size {
				break
			}
			if t.last == ^uint64(0) {
				ok = false
				continue
			}
			at, ok = alignUp(t.last+1, align)
		}
		if !ok || at > u.last || u.last-at < size-1 {
			continue
		}
		s.insert(span{at, at + size - 1})
		return at, nil
	}
	return 0, fmt.Errorf("no %d bytes of I/O virtual address space left in %s", size, s.describe())
}

func (s *iovaSpace) insert(n span) {
	i, _ := slices.BinarySearchFunc(s.taken, n, func(a, b span) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	s.taken = slices.Insert(s.taken, i, n)
}

// free gives back what alloc returned.
func (s *iovaSpace) free(first, size uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.taken, span{first, first + size - 1})
	if i < 0 {
		return false
	}
	s.taken = slices.Delete(s.taken, i, i+1)
	return true
}

func (s *iovaSpace) describe() string {
	var out strings.Builder
	for _, u := range s.usable {
		fmt.Fprintf(&out, "[%#x-%#x]", u.first, u.last)
	}
	return out.String()
}

func alignUp(v, align uint64) (uint64, bool) {
	r := (v + align - 1) &^ (align - 1)
	return r, r >= v
}

// dmaAlign is what a mapping of size bytes at vaddr is aligned to: huge pages keep their size in the IOMMU only when
// the virtual and the I/O virtual address agree modulo the huge page.
func dmaAlign(vaddr uintptr, size uint64) uint64 {
	const huge = 2 << 20
	if size >= huge && vaddr%huge == 0 {
		return huge
	}
	return 4096
}
