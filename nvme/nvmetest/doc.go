// Package nvmetest is a software NVMe controller for tests: it executes commands from real queues in shared memory,
// polls real doorbells on a thread of its own, and misbehaves on request.
//
// It is used in two ways. As a Controller in the process it is itself the device that package nvme drives. Behind
// Serve it speaks vfio-user on a Unix socket, so that the transport is in the test as well.
//
// It shares no code with package nvme: not the layout of a command, not a status code. What both have wrong in the
// same way they have wrong independently. The numbers are from the NVMe Base Specification 2.0d, the NVM Command Set
// Specification 1.0d and the vfio-user protocol document.
//
// It does what QEMU's emulated controller cannot: sanitize, host memory buffers, write uncorrectable, and faults.
package nvmetest
