// Package nvmepci is the driver "nvme": a namespace of an NVMe controller that this process drives itself, a PCI
// function bound to vfio-pci or a vfio-user server's.
//
//	nvme://0000:06:0d.0/1                    driver=nvme,device=0000:06:0d.0,namespace=1
//	nvme+vfio-user:///var/run/ctrl/1         driver=nvme,socket=/var/run/ctrl,namespace=1
//
// The first two are QEMU's spellings. Beyond them:
//
//   - Writing asks for consent by the controller's serial number (--allow-destroy=SERIAL); QEMU writes at once.
//   - One process may open several namespaces of a controller, and one namespace several times if all but one only
//     read. The controller is brought up by the first and shut down by the last. Another process finds it in use.
//   - Blocks of 512 bytes to 64 KiB, protection information (made and checked by the controller) and other metadata
//     (written as zeroes) are taken; QEMU takes blocks up to 4 KiB and no metadata.
//   - A discard needs no discard=on to be understood, a write of zeroes may deallocate.
//
// # Queues
//
// The blocking plane shares one I/O queue of the controller. A polled queue has a queue pair of its own, as long as
// the controller grants them; the last one granted is shared by all further threads under a lock, each taking its
// completions from a mailbox. A controller with a single I/O queue has only the blocking plane.
//
// Lock order: controllers.mu, host.mu, then a shared queue's mu.
package nvmepci
