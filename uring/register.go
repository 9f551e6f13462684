package uring

import (
	"errors"
	"fmt"
	"unsafe"

	abi "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// Registration is synchronous: the kernel has read its arguments when the call returns, so that these may
// be Go memory as long as every pointer on the way is one that the Go runtime knows (a stack may move
// before the call).

// register is io_uring_register with what the ring knows about errors.
func (r *Ring) register(op uint8, arg unsafe.Pointer, n uint32) error {
	if err := abi.IOURingRegister(r.fd, op, arg, n); err != nil {
		return callError(registerName(op), err)
	}
	return nil
}

func registerName(op uint8) string {
	if name, ok := registerNames[op]; ok {
		return "io_uring_register " + name
	}
	return fmt.Sprintf("io_uring_register %d", op)
}

var registerNames = map[uint8]string{
	abi.IORING_REGISTER_BUFFERS:      "buffers",
	abi.IORING_UNREGISTER_BUFFERS:    "no buffers",
	abi.IORING_REGISTER_FILES:        "files",
	abi.IORING_UNREGISTER_FILES:      "no files",
	abi.IORING_REGISTER_FILES_UPDATE: "files update",
	abi.IORING_REGISTER_EVENTFD:      "eventfd",
	abi.IORING_UNREGISTER_EVENTFD:    "no eventfd",
	abi.IORING_REGISTER_PROBE:        "probe",
	abi.IORING_REGISTER_ENABLE_RINGS: "enable",
	registerFiles2:                   "sparse files",
	registerFilesUpdate2:             "files update",
	registerBuffers2:                 "sparse buffers",
	registerBuffersUpdate:            "buffers update",
	registerIOWQMaxWorkers:           "worker limits",
	registerRingFDs:                  "ring descriptor",
	unregisterRingFDs:                "no ring descriptor",
	registerResizeRings:              "resize",
}

// RegisterRing registers the ring's own descriptor with the thread, so that an enter need not look it up.
// At most 16 rings of a thread can be.
func (r *Ring) RegisterRing() error {
	if r.ringIdx >= 0 {
		return nil
	}
	u := &rsrcUpdate{offset: registerRingAny, data: uint64(r.fd)}
	if err := r.register(registerRingFDs, unsafe.Pointer(u), 1); err != nil {
		return err
	}
	r.ringIdx = int32(u.offset)
	r.enterFD, r.enterFlag = uintptr(u.offset), uintptr(enterRegisteredRing)
	r.feats |= FeatRegisteredRing
	return nil
}

func (r *Ring) unregisterRing() error {
	u := &rsrcUpdate{offset: uint32(r.ringIdx)}
	r.ringIdx = -1
	r.enterFD, r.enterFlag = uintptr(r.fd), 0
	r.feats &^= FeatRegisteredRing
	return r.register(unregisterRingFDs, unsafe.Pointer(u), 1)
}

// RegisterBuffers registers pieces of mapped memory, each at most 1 GiB: their index is what the Fixed
// operations name. The pages are pinned until UnregisterBuffers or Close and count against
// RLIMIT_MEMLOCK without CAP_IPC_LOCK.
func (r *Ring) RegisterBuffers(bufs []Iovec) error {
	if len(bufs) == 0 {
		return nil
	}
	return r.register(abi.IORING_REGISTER_BUFFERS, unsafe.Pointer(&bufs[0]), uint32(len(bufs)))
}

// RegisterBufferTable makes an empty table of n slots, for UpdateBuffer (Linux 5.19).
func (r *Ring) RegisterBufferTable(n uint32) error {
	return r.registerTable(registerBuffers2, n)
}

// UpdateBuffer puts buf into slot i of the table; a zero Iovec empties it.
func (r *Ring) UpdateBuffer(i uint32, buf Iovec) error {
	*r.iov = buf
	u := &rsrcUpdate2{offset: i, data: uint64(uintptr(unsafe.Pointer(r.iov))), nr: 1}
	return r.register(registerBuffersUpdate, unsafe.Pointer(u), uint32(unsafe.Sizeof(*u)))
}

// UnregisterBuffers drops the table.
func (r *Ring) UnregisterBuffers() error {
	return r.register(abi.IORING_UNREGISTER_BUFFERS, nil, 0)
}

// RegisterFiles registers descriptors; -1 leaves a slot empty.
func (r *Ring) RegisterFiles(fds []int32) error {
	if len(fds) == 0 {
		return nil
	}
	return r.register(abi.IORING_REGISTER_FILES, unsafe.Pointer(&fds[0]), uint32(len(fds)))
}

// RegisterFileTable makes an empty table of n slots, for UpdateFile.
func (r *Ring) RegisterFileTable(n uint32) error {
	err := r.registerTable(registerFiles2, n)
	if err == nil || !errors.Is(err, unix.EINVAL) {
		return err
	}
	fds := make([]int32, n)
	for i := range fds {
		fds[i] = -1
	}
	return r.RegisterFiles(fds)
}

func (r *Ring) registerTable(op uint8, n uint32) error {
	t := &rsrcRegister{nr: n, flags: registerRsrcSparse}
	return r.register(op, unsafe.Pointer(t), uint32(unsafe.Sizeof(*t)))
}

// UpdateFile puts descriptor fd into slot i of the table; -1 empties it. Entries that were submitted
// before keep the file they named.
func (r *Ring) UpdateFile(i uint32, fd int32) error {
	u := &abi.IOURingFilesUpdate{Offset: i, Fds: &fd}
	return r.register(abi.IORING_REGISTER_FILES_UPDATE, unsafe.Pointer(u), 1)
}

// UnregisterFiles drops the table.
func (r *Ring) UnregisterFiles() error {
	return r.register(abi.IORING_UNREGISTER_FILES, nil, 0)
}

// RegisterEventfd makes every completion signal the event descriptor.
func (r *Ring) RegisterEventfd(fd int) error {
	v := int32(fd)
	return r.register(abi.IORING_REGISTER_EVENTFD, unsafe.Pointer(&v), 1)
}

// UnregisterEventfd ends that.
func (r *Ring) UnregisterEventfd() error {
	return r.register(abi.IORING_UNREGISTER_EVENTFD, nil, 0)
}

// LimitWorkers sets how many kernel workers this thread's rings may use for operations that end (bounded:
// files and block devices) and that may not (unbounded: sockets, pipes). Zero leaves a limit as it is.
func (r *Ring) LimitWorkers(bounded, unbounded uint32) error {
	v := [2]uint32{bounded, unbounded}
	return r.register(registerIOWQMaxWorkers, unsafe.Pointer(&v), 2)
}
