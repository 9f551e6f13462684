package nvme

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/vfio/mmio"
)

// Device is the PCI function beneath a Controller. Kernel VFIO and vfio-user devices (package vfio) have these
// methods, and so has the fake of nvmetest. All of them may be called from any goroutine.
type Device interface {
	// Name is the PCI address or the socket's path, for messages.
	Name() string
	// Load32 and its like access a register of a BAR, by a mapping or by message.
	Load32(bar int, off uint64) (uint32, error)
	Load64(bar int, off uint64) (uint64, error)
	Store32(bar int, off uint64, v uint32) error
	Store64(bar int, off uint64, v uint64) error
	// BARSize is a BAR's size in bytes, 0 for one that is not there.
	BARSize(bar int) uint64
	// Window maps part of a BAR; it lives as long as the Device. An error means that Load and Store must do.
	Window(bar int, off, size uint64) (mmio.Window, error)
	// ReadConfig and WriteConfig access configuration space.
	ReadConfig(off uint64, p []byte) error
	WriteConfig(off uint64, p []byte) error
	// MapDMA lets the function read and write mem, the mapping of file fd at fdOffset (fd is -1 for memory without
	// a file), and returns the address of mem[0] for it. UnmapDMA undoes it.
	MapDMA(mem []byte, fd int, fdOffset int64) (iova uint64, err error)
	UnmapDMA(iova uint64) error
	// ReserveIOVA sets aside addresses that MapDMA will not use.
	ReserveIOVA(size, align uint64) (uint64, error)
	// Vectors is the number of MSI-X vectors; SetVectors connects all in use with eventfds, nil disconnects.
	Vectors() int
	SetVectors(fds []int) error
	// RequestFD is an eventfd that becomes readable when somebody wants the function back, -1 for none.
	RequestFD() int
	// Gone says whether the function has left the bus, or its server the socket.
	Gone() bool
	// Reset is a function-level reset.
	Reset() error
	// Close gives the function back.
	Close() error
}

// Region is memory that a Device can reach: queue memory, PRP lists, data. The bytes lie outside the Go heap.
type Region struct {
	Bytes []byte
	IOVA  uint64
}

// Slice is n bytes of the region at off.
func (r Region) Slice(off, n int) Region {
	return Region{Bytes: r.Bytes[off : off+n : off+n], IOVA: r.IOVA + uint64(off)}
}

const (
	pageSize = 4096 // CC.MPS is always 0: every controller takes 4 KiB pages
	hugePage = 2 << 20
)

// Memory is memory that the driver allocates and maps by itself: a memfd, so that a vfio-user server can share it, in huge pages where there
// are any. SPDK can reach real hardware only in such pages, and survives an unmap only of them.
type Memory struct {
	Region
	fd   int
	huge bool
	dev  Device
	ctrl *Controller // of NewMemory
}

// NewMemory allocates at least size bytes that the controller can reach, until Free or the controller's Close.
func (c *Controller) NewMemory(size int) (*Memory, error) {
	m, err := newMemory(c.dev, size)
	if err == nil {
		m.ctrl = c
	}
	return m, err
}

// Free takes the memory away from the controller, which must not use it any more, and from the process.
func (m *Memory) Free() error {
	if err := m.free(); err != nil && !m.ctrl.isDead() {
		return err
	}
	return nil // who is gone has let go
}

// newMemory allocates at least size bytes and maps them for dev.
func newMemory(dev Device, size int) (*Memory, error) {
	m, err := allocate(size)
	if err != nil {
		return nil, fmt.Errorf("allocate %d bytes of DMA memory: %w", size, err)
	}
	if m.IOVA, err = dev.MapDMA(m.Bytes, m.fd, 0); err != nil {
		m.release()
		return nil, err
	}
	m.dev = dev
	return m, nil
}

func allocate(size int) (*Memory, error) {
	if n := roundUp(size, hugePage); n > 0 {
		if m, err := mapFile(n, unix.MFD_CLOEXEC|unix.MFD_HUGETLB); err == nil {
			m.huge = true
			return m, nil
		}
	}
	return mapFile(roundUp(size, pageSize), unix.MFD_CLOEXEC)
}

func mapFile(size int, flags int) (*Memory, error) {
	fd, err := unix.MemfdCreate("nvme", flags)
	if err != nil {
		return nil, err
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		unix.Close(fd)
		return nil, err
	}
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err := unix.Madvise(b, unix.MADV_DONTFORK); err != nil {
		unix.Munmap(b)
		unix.Close(fd)
		return nil, err
	}
	return &Memory{Region: Region{Bytes: b}, fd: fd}, nil
}

// free takes the memory away from the device and from the process. The device must not use it any more.
func (m *Memory) free() error {
	if m == nil {
		return nil
	}
	err := m.dev.UnmapDMA(m.IOVA)
	m.release()
	return err
}

func (m *Memory) release() {
	unix.Munmap(m.Bytes)
	unix.Close(m.fd)
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
