package nvme

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// KernelDevice is a controller (/dev/nvme0), or one of its namespaces (/dev/nvme0n1, /dev/ng0n1), that the kernel
// drives. Commands go through its passthrough ioctls.
type KernelDevice struct {
	f    *os.File
	name string
}

// Linux include/uapi/linux/nvme_ioctl.h
const (
	ioctlNVMeID       = 0x4e40
	ioctlNVMeReset    = 0x4e44
	ioctlNVMeSubReset = 0x4e45
	ioctlNVMeRescan   = 0x4e46
	ioctlAdmin64      = 0xc0504e47
	ioctlIO64         = 0xc0504e48
	ioctlAdmin32      = 0xc0484e41
	ioctlIO32         = 0xc0484e43
)

// Passthrough is struct nvme_passthru_cmd64, and, without its last field, the struct nvme_uring_cmd that lies in the
// big half of an io_uring SQE.
type Passthrough struct {
	Opcode      uint8
	Flags       uint8
	_           uint16
	NSID        uint32
	CDW2        uint32
	CDW3        uint32
	Metadata    uint64
	Addr        uint64
	MetadataLen uint32
	DataLen     uint32
	CDW10       uint32
	CDW11       uint32
	CDW12       uint32
	CDW13       uint32
	CDW14       uint32
	CDW15       uint32
	TimeoutMS   uint32
	_           uint32
	Result      uint64
}

// UringCommandSize is the size of struct nvme_uring_cmd, UringCommandIO the cmd_op of an I/O command.
const (
	UringCommandSize  = 72
	UringCommandIO    = 0xc0484e80
	UringCommandAdmin = 0xc0484e82
)

// SetPassthrough makes p the passthrough form of cmd with n bytes of data at addr and m bytes of metadata at meta,
// addresses of this process that stay valid until the command is over.
func (c *Command) SetPassthrough(p *Passthrough, addr uintptr, n uint32, meta uintptr, m uint32) {
	*p = Passthrough{
		Opcode: c.Opcode, Flags: c.Flags, NSID: c.NSID, CDW2: c.CDW2, CDW3: c.CDW3,
		Metadata: uint64(meta), Addr: uint64(addr), MetadataLen: m, DataLen: n,
		CDW10: c.CDW10, CDW11: c.CDW11, CDW12: c.CDW12, CDW13: c.CDW13, CDW14: c.CDW14, CDW15: c.CDW15,
	}
}

// OpenKernel opens a controller or namespace of the kernel's driver by the path of its device file.
func OpenKernel(path string) (*KernelDevice, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrPermission) {
		// Reading what a controller says of itself needs no write access.
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, err
	}
	return &KernelDevice{f: f, name: path}, nil
}

// Name is the path.
func (k *KernelDevice) Name() string { return k.name }

// File is the open device file.
func (k *KernelDevice) File() *os.File { return k.f }

// Close closes the file.
func (k *KernelDevice) Close() error { return k.f.Close() }

// NSID is the namespace that the file stands for. A controller's file has none.
func (k *KernelDevice) NSID() (uint32, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, k.f.Fd(), ioctlNVMeID, 0)
	if errno != 0 {
		return 0, fmt.Errorf("%s: namespace id: %w", k.name, errno)
	}
	return uint32(r), nil
}

// Reset resets the controller, SubsystemReset the NVM subsystem, Rescan looks for namespaces again.
func (k *KernelDevice) Reset() error { return k.simple(ioctlNVMeReset, "reset") }

// SubsystemReset resets the NVM subsystem.
func (k *KernelDevice) SubsystemReset() error { return k.simple(ioctlNVMeSubReset, "subsystem reset") }

// Rescan makes the kernel look for namespaces again.
func (k *KernelDevice) Rescan() error { return k.simple(ioctlNVMeRescan, "rescan") }

func (k *KernelDevice) simple(request uintptr, what string) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, k.f.Fd(), request, 0); errno != 0 {
		return fmt.Errorf("%s: %s: %w", k.name, what, errno)
	}
	return nil
}

// Admin runs an admin command. A deadline of ctx is the command's time limit; the call cannot be interrupted.
func (k *KernelDevice) Admin(ctx context.Context, cmd *Command, data []byte) (Completion, error) {
	return k.run(ctx, ioctlAdmin64, ioctlAdmin32, cmd, data, nil, true)
}

// IO runs an I/O command, on a namespace's file.
func (k *KernelDevice) IO(ctx context.Context, cmd *Command, data, metadata []byte) (Completion, error) {
	return k.run(ctx, ioctlIO64, ioctlIO32, cmd, data, metadata, false)
}

func (k *KernelDevice) run(ctx context.Context, wide, narrow uintptr, cmd *Command, data, meta []byte, admin bool) (Completion, error) {
	if err := ctx.Err(); err != nil {
		return Completion{}, err
	}
	var p Passthrough
	cmd.SetPassthrough(&p, uintptr(unsafe.Pointer(unsafe.SliceData(data))), uint32(len(data)),
		uintptr(unsafe.Pointer(unsafe.SliceData(meta))), uint32(len(meta)))
	if d, ok := ctx.Deadline(); ok {
		p.TimeoutMS = uint32(min(max(time.Until(d).Milliseconds(), 1), math.MaxUint32))
	}
	r, errno := passthrough(k.f.Fd(), wide, &p, data, meta)
	if errno == unix.ENOTTY { //nolint:errorlint // an errno of ioctl is compared as such
		// Kernels before 5.4 have only the struct with a 32-bit result, which lies where the padding is.
		r, errno = passthrough(k.f.Fd(), narrow, &p, data, meta)
		p.Result = uint64(*(*uint32)(unsafe.Add(unsafe.Pointer(&p), 68)))
	}
	if errno != 0 {
		return Completion{}, fmt.Errorf("%s: command %#02x: %w", k.name, cmd.Opcode, errno)
	}
	cp := Completion{DW0: uint32(p.Result), DW1: uint32(p.Result >> 32), Status: Status(r)}
	return cp, statusError(cp, cmd.Opcode, cmd.NSID, admin)
}

// passthrough keeps the buffers reachable, and in place, for as long as the kernel uses their addresses.
func passthrough(fd, request uintptr, p *Passthrough, data, meta []byte) (uintptr, unix.Errno) {
	pin := pinned(data, meta)
	defer pin.Unpin()
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(p)))
	return r, errno
}

// pinned pins Go memory whose address a system call gets as a number.
func pinned(bufs ...[]byte) *runtime.Pinner {
	p := &runtime.Pinner{}
	for _, b := range bufs {
		if len(b) > 0 {
			p.Pin(unsafe.SliceData(b))
		}
	}
	return p
}
