package vfio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/vfio/mmio"
)

// Device is a PCI function behind the kernel's VFIO.
type Device struct {
	name        string
	fd          int
	group       int
	inContainer bool
	mmu         iommu
	regions     []region
	vectors     int
	resettable  bool
	requestFD   int

	mu       sync.Mutex
	mappings map[mapKey][]byte // windows, unmapped at Close
	dma      map[uint64]uint64 // size by IOVA
	irqsOn   bool
	closed   bool
}

// open says whether the device is still there to be used.
func (d *Device) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("%s: %w: closed", d.name, ErrGone)
	}
	return nil
}

// mapKey is one mapped area of a BAR.
type mapKey struct {
	bar    int
	offset uint64
}

// Name is the PCI address.
func (d *Device) Name() string { return d.name }

func (d *Device) readInfo() error {
	info := deviceInfo{argsz: uint32(unsafe.Sizeof(deviceInfo{}))}
	if err := ioctlPtr(d.fd, ioctlDeviceInfo, &info); err != nil {
		return fmt.Errorf("device info: %w", err)
	}
	if info.flags&deviceFlagPCI == 0 || info.regions <= regionConfig {
		return fmt.Errorf("%w: not a PCI function (flags %#x, %d regions)", ErrNoDevice, info.flags, info.regions)
	}
	d.resettable = info.flags&deviceFlagReset != 0
	d.mappings = map[mapKey][]byte{}
	d.dma = map[uint64]uint64{}
	for i := range uint32(regionConfig + 1) {
		r, err := d.readRegion(i)
		if err != nil {
			return fmt.Errorf("region %d: %w", i, err)
		}
		d.regions = append(d.regions, r)
	}
	msix := irqInfo{argsz: uint32(unsafe.Sizeof(irqInfo{})), index: irqMSIX}
	if err := ioctlPtr(d.fd, ioctlIRQInfo, &msix); err == nil {
		d.vectors = int(msix.count)
	}
	return d.armRequest()
}

func (d *Device) readRegion(index uint32) (region, error) {
	info := make([]byte, 256)
	le := binary.LittleEndian
	for {
		le.PutUint32(info, uint32(len(info)))
		le.PutUint32(info[8:], index)
		err := ioctlPtr(d.fd, ioctlRegionInfo, unsafe.SliceData(info))
		if errors.Is(err, unix.EINVAL) {
			return region{}, nil // an absent region
		}
		if err != nil {
			return region{}, err
		}
		if need := int(le.Uint32(info)); need > len(info) {
			info = make([]byte, need)
			continue
		}
		return parseRegion(info)
	}
}

// armRequest makes an eventfd fire when the kernel, or an administrator, wants the device back.
func (d *Device) armRequest() error {
	info := irqInfo{argsz: uint32(unsafe.Sizeof(irqInfo{})), index: irqRequest}
	if err := ioctlPtr(d.fd, ioctlIRQInfo, &info); err != nil || info.count == 0 {
		return nil //nolint:nilerr // an old kernel has no such interrupt; the device works without it
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if err := d.setIRQs(irqRequest, 0, []int{fd}); err != nil {
		unix.Close(fd)
		return fmt.Errorf("request interrupt: %w", err)
	}
	d.requestFD = fd
	return nil
}

// RequestFD is an eventfd that becomes readable when somebody wants the device back, or -1.
func (d *Device) RequestFD() int { return d.requestFD }

// Gone says whether the device has left the bus: its vendor id then reads as all ones, or not at all.
func (d *Device) Gone() bool {
	var id [2]byte
	err := d.ReadConfig(0, id[:])
	return err != nil || id == [2]byte{0xff, 0xff}
}

func (d *Device) bar(index int) (*region, error) {
	if index < 0 || index > 5 || d.regions[index].size == 0 {
		return nil, fmt.Errorf("%w: no BAR %d", ErrNoDevice, index)
	}
	return &d.regions[index], nil
}

// BARSize is the size of a BAR in bytes, 0 for one that is not there.
func (d *Device) BARSize(bar int) uint64 {
	if bar < 0 || bar > 5 {
		return 0
	}
	return d.regions[bar].size
}

// Window maps size bytes of a BAR at off. The mapping lives until Close. Asking again for bytes that are already
// mapped returns the same mapping.
func (d *Device) Window(bar int, off, size uint64) (mmio.Window, error) {
	r, err := d.bar(bar)
	if err != nil {
		return mmio.Window{}, err
	}
	a, ok := r.contains(off, size)
	if !ok {
		return mmio.Window{}, fmt.Errorf("%w: BAR %d %#x+%#x", ErrNotMappable, bar, off, size)
	}
	if err := d.open(); err != nil {
		return mmio.Window{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m, err := mapArea(d.mappings, d.fd, bar, r, a)
	if err != nil {
		return mmio.Window{}, err
	}
	return mmio.NewWindow(m[off-a.offset : off-a.offset+size]), nil
}

// mapArea maps a whole area once.
func mapArea(mappings map[mapKey][]byte, fd, bar int, r *region, a area) ([]byte, error) {
	key := mapKey{bar, a.offset}
	if m, ok := mappings[key]; ok {
		return m, nil
	}
	prot := 0
	if r.flags&regionFlagRead != 0 {
		prot |= unix.PROT_READ
	}
	if r.flags&regionFlagWrite != 0 {
		prot |= unix.PROT_WRITE
	}
	m, err := unix.Mmap(fd, int64(r.offset+a.offset), int(a.size), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map BAR %d %#x+%#x: %w", bar, a.offset, a.size, err)
	}
	if err := unix.Madvise(m, unix.MADV_DONTFORK); err != nil {
		unix.Munmap(m)
		return nil, fmt.Errorf("map BAR %d: %w", bar, err)
	}
	mappings[key] = m
	return m, nil
}

// register is the address of a register in a mapped BAR.
func (d *Device) register(bar int, off, width uint64) (unsafe.Pointer, error) {
	w, err := d.Window(bar, off, width)
	if err != nil {
		return nil, err
	}
	if off%width != 0 {
		return nil, fmt.Errorf("BAR %d: register of %d bytes at %#x", bar, width, off)
	}
	return w.Register(0, width), nil
}

// Load32 reads a register. A part of a BAR that cannot be mapped is read through the device file.
func (d *Device) Load32(bar int, off uint64) (uint32, error) {
	if p, err := d.register(bar, off, 4); err == nil {
		return mmio.Load32(p), nil
	}
	var b [4]byte
	err := d.access(bar, off, b[:], false)
	return binary.LittleEndian.Uint32(b[:]), err
}

// Load64 reads a 64-bit register in one access where the BAR is mapped.
func (d *Device) Load64(bar int, off uint64) (uint64, error) {
	if p, err := d.register(bar, off, 8); err == nil {
		return mmio.Load64(p), nil
	}
	var b [8]byte
	err := d.access(bar, off, b[:], false)
	return binary.LittleEndian.Uint64(b[:]), err
}

// Store32 writes a register.
func (d *Device) Store32(bar int, off uint64, v uint32) error {
	if p, err := d.register(bar, off, 4); err == nil {
		mmio.Store32(p, v)
		return nil
	}
	return d.access(bar, off, binary.LittleEndian.AppendUint32(nil, v), true)
}

// Store64 writes a 64-bit register in one access where the BAR is mapped.
func (d *Device) Store64(bar int, off uint64, v uint64) error {
	if p, err := d.register(bar, off, 8); err == nil {
		mmio.Store64(p, v)
		return nil
	}
	return d.access(bar, off, binary.LittleEndian.AppendUint64(nil, v), true)
}

// access reads or writes region index through the device file.
func (d *Device) access(index int, off uint64, p []byte, write bool) error {
	if index < 0 || index >= len(d.regions) {
		return fmt.Errorf("%w: no region %d", ErrNoDevice, index)
	}
	r := &d.regions[index]
	if uint64(len(p)) > r.size || off > r.size-uint64(len(p)) {
		return fmt.Errorf("region %d: %#x+%d outside its %#x bytes", index, off, len(p), r.size)
	}
	var n int
	var err error
	if write {
		n, err = unix.Pwrite(d.fd, p, int64(r.offset+off))
	} else {
		n, err = unix.Pread(d.fd, p, int64(r.offset+off))
	}
	if err == nil && n != len(p) {
		err = fmt.Errorf("%d of %d bytes", n, len(p))
	}
	if err != nil {
		return fmt.Errorf("region %d at %#x: %w", index, off, err)
	}
	return nil
}

// ReadConfig reads configuration space.
func (d *Device) ReadConfig(off uint64, p []byte) error { return d.access(regionConfig, off, p, false) }

// WriteConfig writes configuration space; the kernel filters what a user must not change.
func (d *Device) WriteConfig(off uint64, p []byte) error { return d.access(regionConfig, off, p, true) }

// Reset is a function-level reset, or what the kernel has in its place.
func (d *Device) Reset() error {
	if !d.resettable {
		return fmt.Errorf("%s: the kernel knows no way to reset this function", d.name)
	}
	if _, err := ioctl(d.fd, ioctlDeviceReset, 0); err != nil {
		return fmt.Errorf("%s: reset: %w", d.name, err)
	}
	return nil
}

// MapDMA lets the device read and write mem, and returns the address it uses for mem[0]. mem is a multiple of the
// IOMMU's page size, aligned to it, and outside the Go heap; fd and fdOffset, the file behind it, are not needed
// here.
func (d *Device) MapDMA(mem []byte, _ int, _ int64) (uint64, error) {
	if err := d.open(); err != nil {
		return 0, err
	}
	page := d.mmu.pageSize()
	vaddr := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	if len(mem) == 0 || uint64(vaddr)%page != 0 || uint64(len(mem))%page != 0 {
		return 0, fmt.Errorf("%s: map %d bytes at %#x for DMA: not a multiple of the IOMMU's page size %d", d.name, len(mem), vaddr, page)
	}
	iova, err := d.mmu.space().alloc(uint64(len(mem)), max(page, dmaAlign(vaddr, uint64(len(mem)))))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", d.name, err)
	}
	if err := d.mmu.mapDMA(mem, iova); err != nil {
		d.mmu.space().free(iova, uint64(len(mem)))
		return 0, fmt.Errorf("%s: %w", d.name, err)
	}
	d.mu.Lock()
	d.dma[iova] = uint64(len(mem))
	d.mu.Unlock()
	return iova, nil
}

// UnmapDMA takes back what MapDMA gave. When it returns the device cannot reach the memory any more: an access
// faults in the IOMMU.
func (d *Device) UnmapDMA(iova uint64) error {
	if err := d.open(); err != nil {
		return err
	}
	d.mu.Lock()
	size, ok := d.dma[iova]
	delete(d.dma, iova)
	d.mu.Unlock()
	if !ok {
		return fmt.Errorf("%s: unmap %#x: not mapped", d.name, iova)
	}
	if err := d.mmu.unmapDMA(iova, size); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	d.mmu.space().free(iova, size)
	return nil
}

// ReserveIOVA sets aside addresses that no mapping will use, for memory on the device itself.
func (d *Device) ReserveIOVA(size, align uint64) (uint64, error) {
	return d.mmu.space().alloc(size, align)
}

// Close gives the device back. It is the caller's business that the device is quiet by then; bus mastering is
// switched off by the kernel in any case.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, m := range d.mappings {
		retire(m)
		delete(d.mappings, k)
	}
	if d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
	if d.requestFD >= 0 {
		unix.Close(d.requestFD)
		d.requestFD = -1
	}
	if d.group >= 0 {
		if d.inContainer {
			_, _ = ioctl(d.group, ioctlGroupUnset, 0) // closing the files does it too
		}
		unix.Close(d.group)
		d.group = -1
	}
	if d.mmu != nil && !d.closed {
		d.mmu.close()
	}
	d.closed = true
	return nil
}

// retire puts ordinary memory in the place of a mapping. The device file cannot be released while a mapping of it
// exists, and a thread that still rings a doorbell of a device that was given back must hit nothing worse.
func retire(m []byte) {
	p := unsafe.Pointer(unsafe.SliceData(m))
	_, err := unix.MmapPtr(-1, 0, p, uintptr(len(m)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED)
	if err != nil {
		unix.Munmap(m)
	}
}
