//go:build amd64 || arm64

package mmio

import "unsafe"

// Load32 reads the 32-bit register at p.
//
//go:noescape
func Load32(p unsafe.Pointer) uint32

// Load64 reads the 64-bit register at p in one access.
//
//go:noescape
func Load64(p unsafe.Pointer) uint64

// Store32 writes the 32-bit register at p, after every earlier store to DMA memory.
//
//go:noescape
func Store32(p unsafe.Pointer, v uint32)

// Store64 writes the 64-bit register at p in one access, after every earlier store to DMA memory.
//
//go:noescape
func Store64(p unsafe.Pointer, v uint64)

// FenceWC orders earlier stores to write-combining device memory before later register writes.
func FenceWC()

// Pause executes n spin-wait hints (PAUSE, YIELD): the back-off of a polling loop.
func Pause(n uint32)
