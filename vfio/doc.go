// Package vfio hands a PCI function to the process: its BARs, its configuration space, its interrupts, and memory
// that it may read and write. It knows nothing of what the function is.
//
// Two transports have the same methods, so that a driver states what it needs as an interface of its own:
//
//   - Open: the kernel's VFIO, by container and group with the type 1 (v2) IOMMU. There is no no-IOMMU mode: a
//     device that can write anywhere is not something this package hands out. A kernel with per-device files and
//     iommufd would be a second implementation of the small iommu interface in container.go.
//   - Dial: vfio-user 0.1, a software device behind a Unix stream socket (SPDK's nvmf target, any libvfio-user
//     server). Memory is shared with it as file descriptors, so only memory that is a mapping of a file can be
//     mapped for DMA.
//
// Sources: Linux include/uapi/linux/vfio.h and Documentation/driver-api/vfio.rst; the vfio-user protocol
// specification, version 0.9.x of the document, protocol version 0.1.
//
// A Device is safe for concurrent use, except that Close must be the last call. Windows taken from a Device die
// with it.
package vfio
