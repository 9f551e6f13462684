//go:build !amd64 && !arm64

package mmio

import (
	"sync/atomic"
	"unsafe"
)

// fence is what the fallback orders its accesses with: an atomic read-modify-write is a full barrier everywhere.
var fence atomic.Uint32

// Load32 reads the 32-bit register at p.
//
//go:noinline
func Load32(p unsafe.Pointer) uint32 {
	v := *(*uint32)(p)
	fence.Add(1)
	return v
}

// Load64 reads the 64-bit register at p.
//
//go:noinline
func Load64(p unsafe.Pointer) uint64 {
	v := *(*uint64)(p)
	fence.Add(1)
	return v
}

// Store32 writes the 32-bit register at p, after every earlier store to DMA memory.
//
//go:noinline
func Store32(p unsafe.Pointer, v uint32) {
	fence.Add(1)
	*(*uint32)(p) = v
}

// Store64 writes the 64-bit register at p, after every earlier store to DMA memory.
//
//go:noinline
func Store64(p unsafe.Pointer, v uint64) {
	fence.Add(1)
	*(*uint64)(p) = v
}

// FenceWC orders earlier stores to write-combining device memory before later register writes.
//
//go:noinline
func FenceWC() { fence.Add(1) }

// Pause lets n short moments pass: the back-off of a polling loop.
//
//go:noinline
func Pause(n uint32) {
	for range n {
		_ = fence.Load()
	}
}
