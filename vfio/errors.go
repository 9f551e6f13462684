package vfio

import "errors"

// What can be wrong with a device before a driver ever sees it. Each error that wraps one of these names the device,
// what was found, and the command that mends it.
var (
	// ErrAddress is a malformed PCI address.
	ErrAddress = errors.New("bad PCI address")
	// ErrNoDevice is a PCI address, or a socket, with nothing behind it.
	ErrNoDevice = errors.New("no such device")
	// ErrNotBound is a device that another driver, or none, holds.
	ErrNotBound = errors.New("not bound to vfio-pci")
	// ErrNoIOMMU is a device that no IOMMU stands before.
	ErrNoIOMMU = errors.New("no IOMMU")
	// ErrNotViable is a device whose IOMMU group has members bound to other drivers.
	ErrNotViable = errors.New("IOMMU group not viable")
	// ErrPermission is a device file that may not be opened.
	ErrPermission = errors.New("permission denied")
	// ErrBusy is a device that somebody else has open.
	ErrBusy = errors.New("in use")
	// ErrMemlock is memory that cannot be pinned under RLIMIT_MEMLOCK.
	ErrMemlock = errors.New("locked memory limit")
	// ErrNotMappable is a region, or part of one, that has no mapping.
	ErrNotMappable = errors.New("region not mappable")
	// ErrProtocol is a vfio-user server that breaks the protocol.
	ErrProtocol = errors.New("vfio-user protocol error")
	// ErrGone is a device that is no longer there: removed, or the other end of its socket closed.
	ErrGone = errors.New("device gone")
	// ErrTimeout is a vfio-user server that does not answer.
	ErrTimeout = errors.New("no answer in time")
)
