package vfio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// iommu maps process memory for a device. The container is the one implementation; per-device files with an iommufd
// I/O address space would be the other.
type iommu interface {
	mapDMA(mem []byte, iova uint64) error
	unmapDMA(iova, size uint64) error
	space() *iovaSpace
	pageSize() uint64
	close() error
}

// container is a VFIO container with a type 1 (v2) IOMMU. Linux vfio.h "VFIO_IOMMU_MAP_DMA"
type container struct {
	fd        int
	pageSizes uint64
	limit     uint32 // mappings that were free when the IOMMU was set; 0 when the kernel does not say
	iova      *iovaSpace
}

func openContainer() (*container, error) {
	const path = "/dev/vfio/vfio"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV):
		return nil, fmt.Errorf("%w: %s is not there; run: modprobe vfio-pci", ErrNoDevice, path)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("%w: open %s: %w; it is mode 0666 by default", ErrPermission, path, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	c := &container{fd: fd}
	if v, err := ioctl(fd, ioctlGetAPIVersion, 0); err != nil || v != apiVersion {
		c.close()
		return nil, fmt.Errorf("%s: API version %d (%w), want %d", path, v, err, apiVersion)
	}
	if ok, err := ioctl(fd, ioctlCheckExtension, type1v2); err != nil || ok != 1 {
		c.close()
		return nil, fmt.Errorf("%s: no type 1 (v2) IOMMU support; run: modprobe vfio_iommu_type1", path)
	}
	return c, nil
}

// setIOMMU is legal only once a group is in the container; it also learns what the IOMMU can do.
func (c *container) setIOMMU() error {
	if _, err := ioctl(c.fd, ioctlSetIOMMU, type1v2); err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("%w: the platform cannot isolate interrupts (no interrupt remapping): enable it in the firmware, "+
				"or accept the risk with: modprobe vfio_iommu_type1 allow_unsafe_interrupts=1", ErrNoIOMMU)
		}
		return fmt.Errorf("set IOMMU: %w", err)
	}
	return c.readInfo()
}

// readInfo asks with room for the capability chain; the kernel says how much it wanted.
func (c *container) readInfo() error {
	info := make([]byte, 4096)
	le := binary.LittleEndian
	for {
		le.PutUint32(info, uint32(len(info)))
		if err := ioctlPtr(c.fd, ioctlIOMMUInfo, unsafe.SliceData(info)); err != nil {
			return fmt.Errorf("IOMMU info: %w", err)
		}
		if need := int(le.Uint32(info)); need > len(info) {
			info = make([]byte, need)
			continue
		}
		break
	}
	c.pageSizes = 4096
	flags := le.Uint32(info[4:])
	if flags&iommuFlagPageSizes != 0 {
		c.pageSizes = le.Uint64(info[8:])
	}
	usable := defaultSpans()
	if flags&iommuFlagCaps != 0 {
		caps, err := capabilities(info, le.Uint32(info[16:]))
		if err != nil {
			return fmt.Errorf("IOMMU info: %w", err)
		}
		for _, k := range caps {
			switch {
			case k.id == iommuCapIOVARange && len(k.body) >= 8:
				usable = parseRanges(k.body)
			case k.id == iommuCapDMAAvail && len(k.body) >= 4:
				c.limit = le.Uint32(k.body)
			}
		}
	}
	c.iova = newIOVASpace(usable)
	return nil
}

// lowestIOVA keeps address 0 and its neighbourhood free: a zeroed PRP entry must fault, not hit a buffer.
const lowestIOVA = 16 << 20

// defaultSpans is what a kernel that does not report its ranges is assumed to translate: 39 bits (the smallest
// width in use) without the x86 interrupt window.
func defaultSpans() []span {
	return []span{{lowestIOVA, 0xfedfffff}, {0xfef00000, 1<<39 - 1}}
}

func parseRanges(body []byte) []span {
	le := binary.LittleEndian
	n := min(uint64(le.Uint32(body)), uint64(len(body)-8)/16)
	var out []span
	for i := range n {
		s := span{le.Uint64(body[8+16*i:]), le.Uint64(body[16+16*i:])}
		s.first = max(s.first, lowestIOVA)
		if s.first < s.last {
			out = append(out, s)
		}
	}
	return out
}

func (c *container) space() *iovaSpace { return c.iova }

// pageSize is the smallest page of the IOMMU: every mapping is a multiple of it.
func (c *container) pageSize() uint64 { return c.pageSizes & -c.pageSizes }

func (c *container) mapDMA(mem []byte, iova uint64) error {
	arg := dmaMap{
		argsz: uint32(unsafe.Sizeof(dmaMap{})),
		flags: dmaFlagRead | dmaFlagWrite,
		vaddr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))),
		iova:  iova,
		size:  uint64(len(mem)),
	}
	err := ioctlPtr(c.fd, ioctlMapDMA, &arg)
	switch {
	case errors.Is(err, unix.ENOMEM):
		return memlockError(uint64(len(mem)))
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("map %d bytes for DMA: the kernel's limit of %d mappings is reached; raise it with: "+
			"echo N > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit", len(mem), c.limit)
	case err != nil:
		return fmt.Errorf("map %d bytes for DMA at %#x: %w", len(mem), iova, err)
	}
	return nil
}

// memlockError explains ENOMEM: pinned pages count against RLIMIT_MEMLOCK unless CAP_IPC_LOCK is held.
func memlockError(size uint64) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &r); err != nil {
		return fmt.Errorf("map %d bytes for DMA: %w", size, unix.ENOMEM)
	}
	if r.Cur == unix.RLIM_INFINITY || os.Geteuid() == 0 {
		return fmt.Errorf("map %d bytes for DMA: %w", size, unix.ENOMEM)
	}
	return fmt.Errorf("%w: cannot pin %d bytes for DMA with RLIMIT_MEMLOCK at %d; run: ulimit -l unlimited (as root, or in "+
		"/etc/security/limits.conf)", ErrMemlock, size, r.Cur)
}

func (c *container) unmapDMA(iova, size uint64) error {
	arg := dmaUnmap{argsz: uint32(unsafe.Sizeof(dmaUnmap{})), iova: iova, size: size}
	if err := ioctlPtr(c.fd, ioctlUnmapDMA, &arg); err != nil {
		return fmt.Errorf("unmap %d bytes at %#x: %w", size, iova, err)
	}
	if arg.size != size {
		return fmt.Errorf("unmap %d bytes at %#x: %d were mapped", size, iova, arg.size)
	}
	return nil
}

func (c *container) close() error { return unix.Close(c.fd) }
