// Package dma provides arenas: memory outside the Go heap that devices and the kernel may read and write while a request is in
// flight. An arena never moves and is not scanned by the garbage collector, so its addresses may stand in submission queue
// entries, PRP lists and iovecs.
//
// A buffer is named by a [Handle]: the arena's number and the offset in it. A leaf registers whole arenas once (with io_uring, with
// an IOMMU) and translates a handle by one table look-up. Alignment of every allocation is at least [PageSize].
//
// Arenas are marked MADV_DONTFORK: a child process must not share pages that a device writes to.
package dma

// PageSize is the alignment of every arena and of every allocation in it, in bytes.
const PageSize = 4096

// HugePageSize is the alignment of arenas of that size or more, in bytes.
const HugePageSize = 2 << 20
