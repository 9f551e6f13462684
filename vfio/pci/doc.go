// Package pci lists PCI functions and moves them between drivers through sysfs.
//
// Bind hands a function to vfio-pci by driver_override and remembers, in a file under /run, which driver it came from
// and what the override was; Unbind undoes exactly that. A function that vfio-pci got by other means (modprobe with
// ids=, new_id) can be used as it is, and is left as it is.
//
// Before a storage controller is taken from its driver its block devices are looked at (see usage.go): what is
// mounted, swapped to or holds the root is never taken; what is held by device mapper, MD RAID, LVM or ZFS, and a
// function that shares its IOMMU group, only when the caller names that very reason.
//
// Source: Linux Documentation/ABI/testing/sysfs-bus-pci and Documentation/driver-api/vfio.rst.
package pci
