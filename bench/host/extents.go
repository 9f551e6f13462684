package host

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Documentation/filesystems/fiemap.rst, linux/fiemap.h
const (
	fsIocFiemap       = 0xc020660b
	fiemapLast        = 0x1
	fiemapUnwritten   = 0x800
	fiemapBatch       = 128
	fiemapMaxBatches  = 64 // of a badly fragmented file only a part is looked at
	fiemapHeaderBytes = 32
	fiemapExtentBytes = 56
)

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

type fiemap struct {
	start, length        uint64
	flags, mapped, count uint32
	_                    uint32
	extents              [fiemapBatch]fiemapExtent
}

var (
	_ [fiemapExtentBytes]byte = [unsafe.Sizeof(fiemapExtent{})]byte{}
	_ [fiemapHeaderBytes]byte = [unsafe.Offsetof(fiemap{}.extents)]byte{}
)

// unwritten adds up the extents of a file that are allocated but read as zeroes.
func unwritten(name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var total, at uint64
	m := new(fiemap)
	for range fiemapMaxBatches {
		*m = fiemap{start: at, length: ^uint64(0) - at, count: fiemapBatch}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(m)))
		runtime.KeepAlive(f)
		if errno != 0 {
			return 0, os.NewSyscallError("fiemap", errno)
		}
		for _, e := range m.extents[:min(m.mapped, fiemapBatch)] {
			if e.flags&fiemapUnwritten != 0 {
				total += e.length
			}
			at = e.logical + e.length
			if e.flags&fiemapLast != 0 {
				return int64(total), nil
			}
		}
		if m.mapped == 0 {
			break
		}
	}
	return int64(total), nil
}
