package mmio

import (
	"fmt"
	"unsafe"
)

// Window is a mapped piece of a BAR. The zero Window is empty. It does not own the mapping: whoever mapped it
// keeps it alive for as long as the Window is used.
type Window struct {
	base unsafe.Pointer
	size uintptr
}

// NewWindow makes a Window over a mapping.
func NewWindow(mapping []byte) Window {
	return Window{base: unsafe.Pointer(unsafe.SliceData(mapping)), size: uintptr(len(mapping))}
}

// Size is the window's length in bytes.
func (w Window) Size() uint64 { return uint64(w.size) }

// Valid says whether the window covers anything.
func (w Window) Valid() bool { return w.size != 0 }

// Bytes is the window as memory, for a controller memory buffer. Registers are never accessed through it.
func (w Window) Bytes() []byte { return unsafe.Slice((*byte)(w.base), int(w.size)) }

// Register is the address of the naturally aligned register of width bytes at off. It panics when the register
// does not lie in the window: offsets are checked when a queue is set up, never per access.
func (w Window) Register(off, width uint64) unsafe.Pointer {
	if off%width != 0 || width > uint64(w.size) || off > uint64(w.size)-width {
		panic(fmt.Sprintf("mmio: register of %d bytes at %#x outside a window of %#x", width, off, uint64(w.size)))
	}
	return unsafe.Add(w.base, off)
}
