// Package nvme drives NVMe controllers from userspace.
//
// The model has four nouns. A Device is the PCI function beneath (kernel VFIO or vfio-user; package vfio has both).
// A Controller is the function with its registers, its admin queue and its recovery. A Namespace is a block device
// of the controller, with its format. A Queue is one I/O queue pair: the polled hot path, owned by one thread. Beside
// them, KernelDevice speaks to a controller that the kernel drives, through its ioctls; it and Controller are both an
// Admin.
//
// What is pure is kept pure: Command and Completion, Status, the registers, the identify structures, log pages and
// features are types without I/O, named as in the specification, that parse from bytes.
//
// Sources: NVM Express Base Specification 2.0d, NVM Command Set Specification 1.0d, NVMe over PCIe Transport
// Specification 1.0d. Comments cite them as "NVMe Base", "NVM Command Set" and "NVMe PCIe".
//
// # Who may touch what
//
// A Queue belongs to one thread. What the recovery of the controller wants of a queue it writes into the queue's
// state word, one atomic that Poll looks at; only the owner walks the queue's tables. The admin queue has a lock of
// its own. Lock order: Controller.recovery, Controller.mu, adminQueue.mu.
//
// # When a command is over
//
// A command ends exactly once: when its completion is read, or when the controller can no longer touch its memory
// (its queue was deleted with success, the controller reports CSTS.RDY=0 after CC.EN=0, or the function was cut off
// from memory). Until then neither its buffer nor its command identifier is reused. A timeout alone ends nothing: it
// starts Abort, then the deletion of the queue, then a controller reset, then cutting the function off. See
// recover.go.
package nvme
