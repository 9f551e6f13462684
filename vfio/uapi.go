package vfio

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Linux include/uapi/linux/vfio.h: _IO(';', 100 + n).
const (
	ioctlGetAPIVersion  = 0x3b64 + 0
	ioctlCheckExtension = 0x3b64 + 1
	ioctlSetIOMMU       = 0x3b64 + 2
	ioctlGroupStatus    = 0x3b64 + 3
	ioctlGroupContainer = 0x3b64 + 4
	ioctlGroupUnset     = 0x3b64 + 5
	ioctlGroupDevice    = 0x3b64 + 6
	ioctlDeviceInfo     = 0x3b64 + 7
	ioctlRegionInfo     = 0x3b64 + 8
	ioctlIRQInfo        = 0x3b64 + 9
	ioctlSetIRQs        = 0x3b64 + 10
	ioctlDeviceReset    = 0x3b64 + 11
	ioctlIOMMUInfo      = 0x3b64 + 12
	ioctlMapDMA         = 0x3b64 + 13
	ioctlUnmapDMA       = 0x3b64 + 14
)

const (
	apiVersion = 0
	type1v2    = 3

	groupViable = 1 << 0

	deviceFlagReset = 1 << 0
	deviceFlagPCI   = 1 << 1

	regionFlagRead  = 1 << 0
	regionFlagWrite = 1 << 1
	regionFlagMmap  = 1 << 2
	regionFlagCaps  = 1 << 3

	regionCapSparseMmap   = 1
	regionCapMSIXMappable = 3

	iommuFlagPageSizes = 1 << 0
	iommuFlagCaps      = 1 << 1
	iommuCapIOVARange  = 1
	iommuCapDMAAvail   = 3

	dmaFlagRead  = 1 << 0
	dmaFlagWrite = 1 << 1

	irqDataNone      = 1 << 0
	irqDataEventFD   = 1 << 2
	irqActionTrigger = 1 << 5
)

// Region and interrupt indices of a PCI device; vfio-user has taken them over unchanged.
const (
	regionConfig = 7
	irqMSIX      = 2
	irqRequest   = 4
)

type groupStatus struct{ argsz, flags uint32 }

type deviceInfo struct{ argsz, flags, regions, _, _, _ uint32 }

type irqInfo struct{ argsz, _, index, count uint32 }

type dmaMap struct {
	argsz, flags      uint32
	vaddr, iova, size uint64
}

type dmaUnmap struct {
	argsz, _   uint32
	iova, size uint64
}

func ioctl(fd int, request uintptr, arg uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

func ioctlPtr[T any](fd int, request uintptr, arg *T) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(arg)))
	if errno != 0 {
		return errno
	}
	return nil
}

// capability is one element of the chain that ends a region's or an IOMMU's info.
type capability struct {
	id      uint16
	version uint16
	body    []byte // what follows the 8-byte header, to the end of the info
}

// capabilities walks the chain that starts at first. Offsets count from the start of the info; 0 ends the chain.
// The offsets come from a server in the vfio-user case, so a chain that leaves the info or loops is an error.
func capabilities(info []byte, first uint32) ([]capability, error) {
	var out []capability
	le := binary.LittleEndian
	for off := first; off != 0; {
		if uint64(off)+8 > uint64(len(info)) || off%4 != 0 {
			return nil, fmt.Errorf("capability at %#x outside an info of %d bytes", off, len(info))
		}
		if len(out) > len(info)/8 {
			return nil, fmt.Errorf("capability chain loops at %#x", off)
		}
		h := info[off:]
		out = append(out, capability{id: le.Uint16(h), version: le.Uint16(h[2:]), body: h[8:]})
		off = le.Uint32(h[4:])
	}
	return out, nil
}
