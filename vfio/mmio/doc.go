// Package mmio reads and writes device registers that are mapped into the process.
//
// A register is not memory: an access must happen exactly once, at its own width, in program order. Go's own
// means do not promise that. The compiler may merge or drop plain accesses, and on amd64 atomic.StoreUint32 is
// an XCHG, a locked access, which on an uncacheable mapping locks the bus. The four accessors here are therefore
// a few lines of assembly each (an un-inlined plain access on other architectures).
//
// Ordering, on every architecture:
//
//   - Store32 and Store64 make earlier stores to DMA memory visible to the device before the register write. On
//     amd64 the store order of the processor does that; on arm64 a DMB OSHST stands before the store.
//   - Load32 and Load64 keep later loads from DMA memory behind the register read. On arm64 a DMB OSHLD follows.
//   - FenceWC drains stores to write-combining or uncacheable memory of the device (a controller memory buffer)
//     ahead of a later Store32: SFENCE on amd64, DMB OSHST on arm64.
//
// DMA memory itself (a completion queue's phase word) is ordinary coherent memory: atomic.Load is right for it,
// and free.
package mmio
