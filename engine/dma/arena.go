package dma

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Handle names a byte in an arena: 16 bits of arena number, 48 bits of offset. Handle 0 is the first byte of arena 0, which is
// never given out: the zero Handle means "no buffer".
type Handle uint64

const offsetBits = 48

// MaxArenas is how many arenas may exist at once in a process.
const MaxArenas = 1 << 12

// Arena returns the number of the arena.
func (h Handle) Arena() uint16 { return uint16(h >> offsetBits) }

// Offset returns the offset in the arena, in bytes.
func (h Handle) Offset() uint64 { return uint64(h) & (1<<offsetBits - 1) }

// Add returns the handle n bytes further on in the same arena.
func (h Handle) Add(n uint32) Handle { return h + Handle(n) }

// Config says what kind of memory an arena is made of.
type Config struct {
	Size   int  // bytes; rounded up to HugePageSize when Huge pages serve, else to PageSize
	Shared bool // backed by a memfd, so that another process can map it (vfio-user)
	NoHuge bool // ordinary pages only
}

// Arena is a stretch of memory outside the Go heap. Its methods may be called from any goroutine; the memory itself is shared
// without synchronisation, as memory that a device writes to always is.
type Arena struct {
	id    uint16
	mem   []byte
	base  unsafe.Pointer
	fd    int
	huge  bool
	fault string

	mu   sync.Mutex
	free []span // sorted by offset, coalesced
}

type span struct{ off, n uint64 }

var table struct {
	sync.Mutex
	arenas [MaxArenas]atomic.Pointer[Arena]
}

// ErrFull says that an arena has no free stretch of the size asked for.
var ErrFull = errors.New("dma arena is full")

// New maps an arena. Explicit huge pages are taken when the system has them reserved, else transparent ones are asked for; which
// of them it became is told by [Arena.Huge]. Pages are populated, so that no page fault falls into a measurement.
func New(cfg Config) (*Arena, error) {
	if cfg.Size <= 0 || cfg.Size >= 1<<offsetBits {
		return nil, fmt.Errorf("dma arena of %d bytes: want 1 to %d", cfg.Size, uint64(1)<<offsetBits-1)
	}
	a := &Arena{fd: -1}
	if err := a.mapMemory(cfg); err != nil {
		return nil, err
	}
	if err := unix.Madvise(a.mem, unix.MADV_DONTFORK); err != nil {
		return nil, errors.Join(fmt.Errorf("dma arena: madvise: %w", err), a.unmap())
	}
	a.base = unsafe.Pointer(unsafe.SliceData(a.mem))
	a.free = []span{{0, uint64(len(a.mem))}}
	table.Lock()
	defer table.Unlock()
	for i := 1; i < MaxArenas; i++ {
		if table.arenas[i].Load() == nil {
			a.id = uint16(i)
			table.arenas[i].Store(a)
			return a, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("dma arena: all %d arenas of the process are in use", MaxArenas), a.unmap())
}

func (a *Arena) mapMemory(cfg Config) error {
	hugeSize := roundUp(uint64(cfg.Size), HugePageSize)
	if !cfg.NoHuge && cfg.Size >= HugePageSize/2 {
		if err := a.mmap(int(hugeSize), cfg.Shared, true); err == nil {
			a.huge = true
			return nil
		}
		a.fault = "no explicit huge pages: reserve them with sysctl vm.nr_hugepages"
	}
	size := roundUp(uint64(cfg.Size), PageSize)
	if err := a.mmap(int(size), cfg.Shared, false); err != nil {
		return fmt.Errorf("dma arena of %d bytes: %w", size, err)
	}
	if !cfg.NoHuge {
		// Advice only: a kernel without transparent huge pages answers EINVAL, and ordinary pages serve.
		_ = unix.Madvise(a.mem, unix.MADV_HUGEPAGE)
	}
	return populate(a.mem)
}

func (a *Arena) mmap(size int, shared, huge bool) error {
	prot := unix.PROT_READ | unix.PROT_WRITE
	if !shared {
		flags := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
		if huge {
			flags |= unix.MAP_HUGETLB | unix.MAP_POPULATE
		}
		mem, err := unix.Mmap(-1, 0, size, prot, flags)
		a.mem = mem
		return err
	}
	flags := unix.MFD_CLOEXEC
	if huge {
		flags |= unix.MFD_HUGETLB
	}
	fd, err := unix.MemfdCreate("blkbench-dma", flags)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		unix.Close(fd)
		return err
	}
	mem, err := unix.Mmap(fd, 0, size, prot, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		unix.Close(fd)
		return err
	}
	a.mem, a.fd = mem, fd
	return nil
}

// populate faults every page in for writing, which MAP_POPULATE does not do for a mapping that is advised afterwards.
func populate(mem []byte) error {
	err := unix.Madvise(mem, unix.MADV_POPULATE_WRITE)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.14
		for i := 0; i < len(mem); i += PageSize {
			mem[i] = 0
		}
		return nil
	}
	return err
}

// ID returns the arena's number, the index into a leaf's translation table.
func (a *Arena) ID() uint16 { return a.id }

// Base returns the address of the first byte.
func (a *Arena) Base() uintptr { return uintptr(a.base) }

// Len returns the size in bytes.
func (a *Arena) Len() int { return len(a.mem) }

// FD returns the memfd of a Shared arena, else -1.
func (a *Arena) FD() int { return a.fd }

// Huge reports whether the arena consists of explicit huge pages.
func (a *Arena) Huge() bool { return a.huge }

// Note says why the arena is less than what was asked for, or is empty.
func (a *Arena) Note() string { return a.fault }

// Alloc returns a stretch of n bytes that starts at a multiple of PageSize. Its content is whatever was there.
func (a *Arena) Alloc(n int) (Handle, error) {
	if n <= 0 {
		return 0, fmt.Errorf("dma allocation of %d bytes", n)
	}
	need := roundUp(uint64(n), PageSize)
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, s := range a.free {
		if s.n < need {
			continue
		}
		if s.n == need {
			a.free = slices.Delete(a.free, i, i+1)
		} else {
			a.free[i] = span{s.off + need, s.n - need}
		}
		return Handle(uint64(a.id)<<offsetBits | s.off), nil
	}
	return 0, fmt.Errorf("%w: %d bytes of %d asked for", ErrFull, n, len(a.mem))
}

// Free gives a stretch back; n is what it was allocated with.
func (a *Arena) Free(h Handle, n int) {
	s := span{h.Offset(), roundUp(uint64(n), PageSize)}
	a.mu.Lock()
	defer a.mu.Unlock()
	i, _ := slices.BinarySearchFunc(a.free, s.off, func(f span, off uint64) int { return int(int64(f.off) - int64(off)) })
	a.free = slices.Insert(a.free, i, s)
	if i+1 < len(a.free) && a.free[i].off+a.free[i].n == a.free[i+1].off {
		a.free[i].n += a.free[i+1].n
		a.free = slices.Delete(a.free, i+1, i+2)
	}
	if i > 0 && a.free[i-1].off+a.free[i-1].n == a.free[i].off {
		a.free[i-1].n += a.free[i].n
		a.free = slices.Delete(a.free, i, i+1)
	}
}

// Bytes returns the n bytes at h as a slice. It panics when they are not inside the arena, as a slice expression does.
func (a *Arena) Bytes(h Handle, n int) []byte {
	off := h.Offset()
	return a.mem[off : off+uint64(n) : off+uint64(n)]
}

// Addr returns the address of h, which lies in this arena.
func (a *Arena) Addr(h Handle) uintptr { return uintptr(a.base) + uintptr(h.Offset()) }

// Close unmaps the arena. Nothing may be in flight on it any more.
func (a *Arena) Close() error {
	table.Lock()
	table.arenas[a.id].CompareAndSwap(a, nil)
	table.Unlock()
	return a.unmap()
}

func (a *Arena) unmap() error {
	if a.mem == nil {
		return nil
	}
	err := unix.Munmap(a.mem)
	a.mem = nil
	if a.fd >= 0 {
		unix.Close(a.fd)
		a.fd = -1
	}
	return err
}

// Bytes returns the n bytes at h of whichever arena it names; nil when no such arena is open.
func Bytes(h Handle, n int) []byte {
	id := h.Arena()
	if id >= MaxArenas {
		return nil
	}
	a := table.arenas[id].Load()
	if a == nil {
		return nil
	}
	return a.Bytes(h, n)
}

func roundUp(n, unit uint64) uint64 {
	if bits.OnesCount64(unit) != 1 {
		panic("dma: unit is not a power of two")
	}
	return (n + unit - 1) &^ (unit - 1)
}
