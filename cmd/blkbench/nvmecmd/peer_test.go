//go:build amd64

package nvmecmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/nvme"
)

// The real nvme-cli runs under ptrace on /dev/null, and its ioctls are executed by a nvme.Admin of the test: so it can
// be compared with this package on controllers that do not exist, with every bit of every structure set.

// passthru is struct nvme_passthru_cmd and, with a 64-bit result, its younger sibling.
// Linux include/uapi/linux/nvme_ioctl.h
type passthru struct {
	Opcode, Flags                                  uint8
	_                                              uint16
	NSID, CDW2, CDW3                               uint32
	Metadata, Addr                                 uint64
	MetadataLen, DataLen                           uint32
	CDW10, CDW11, CDW12, CDW13, CDW14, CDW15, Time uint32
	Result                                         [3]uint32
}

const (
	ioctlAdmin   = 0xc0484e41
	ioctlIO      = 0xc0484e43
	ioctlAdmin64 = 0xc0504e47
	ioctlIO64    = 0xc0504e48
	ioctlID      = 0x4e40
	ioctlReset   = 0x4e44
	ioctlRescan  = 0x4e46
)

var peerMu sync.Mutex

// nvmeCLI runs the real program with args, in which DEV stands for the device, on a.
func nvmeCLI(t *testing.T, a nvme.Admin, nsid uint32, stdin string, args ...string) answer {
	t.Helper()
	path := requirePeer(t)
	peerMu.Lock()
	defer peerMu.Unlock()
	var ans answer
	done := make(chan error, 1)
	go func() {
		// Every request of ptrace comes from the thread that started the process, which is thrown away afterwards.
		runtime.LockOSThread()
		done <- trace(path, replace(args), a, nsid, stdin, &ans)
	}()
	if err := <-done; err != nil {
		t.Fatalf("nvme %v: %v", args, err)
	}
	return ans
}

func requirePeer(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs another program some hundred times")
	}
	path, err := exec.LookPath("nvme")
	if err == nil {
		var text []byte
		if text, err = exec.Command(path, "version").Output(); err == nil && !strings.HasPrefix(string(text), "nvme version 2.3") {
			err = fmt.Errorf("this is %s", text)
		}
	}
	if err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatalf("requires nvme-cli 2.3: %v", err)
		}
		t.Skipf("requires nvme-cli 2.3: %v", err)
	}
	return path
}

func replace(args []string) []string {
	out := make([]string, len(args))
	for i, s := range args {
		out[i] = s
		if s == "DEV" {
			out[i] = "/dev/null"
		}
	}
	return out
}

func trace(path string, args []string, a nvme.Admin, nsid uint32, stdin string, ans *answer) error {
	cmd := exec.Command(path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil {
		return err
	}
	if err := syscall.PtraceSetOptions(pid, syscall.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_EXITKILL); err != nil {
		return err
	}
	entry, emulated := true, false
	var result uint64
	for sig := 0; ; {
		if err := syscall.PtraceSyscall(pid, sig); err != nil {
			return err
		}
		if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil {
			return err
		}
		sig = 0
		switch {
		case ws.Exited():
			ans.code = ws.ExitStatus()
			_ = cmd.Wait() // the process has been waited for; this waits for its output
			ans.stdout, ans.stderr = stdout.String(), stderr.String()
			return nil
		case ws.Signaled():
			return fmt.Errorf("killed by %v", ws.Signal())
		case !ws.Stopped():
			continue
		case ws.StopSignal() != syscall.SIGTRAP|0x80:
			sig = int(ws.StopSignal())
			continue
		}
		var r syscall.PtraceRegs
		if err := syscall.PtraceGetRegs(pid, &r); err != nil {
			return err
		}
		switch {
		case entry && r.Orig_rax == syscall.SYS_IOCTL && r.Rsi>>8&0xff == 'N':
			result, emulated = emulate(mem, a, nsid, r.Rsi, r.Rdx, ans), true
			r.Orig_rax = ^uint64(0)
			err = syscall.PtraceSetRegs(pid, &r)
		case !entry && emulated:
			emulated = false
			r.Rax = result
			err = syscall.PtraceSetRegs(pid, &r)
		}
		if err != nil {
			return err
		}
		entry = !entry
	}
}

// emulate executes one ioctl on a.
func emulate(mem *os.File, a nvme.Admin, nsid uint32, request, arg uint64, ans *answer) uint64 {
	wide := request == ioctlAdmin64 || request == ioctlIO64
	switch request {
	case ioctlID:
		return uint64(nsid)
	case ioctlReset, ioctlRescan:
		return 0
	case ioctlAdmin, ioctlIO, ioctlAdmin64, ioctlIO64:
	default:
		return negative(syscall.ENOTTY)
	}
	var p passthru
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&p)), unsafe.Sizeof(p))
	size := int64(72)
	if wide {
		size = 80
	}
	if _, err := mem.ReadAt(raw[:size], int64(arg)); err != nil {
		return negative(syscall.EFAULT)
	}
	c := nvme.Command{
		Opcode: p.Opcode, Flags: p.Flags, NSID: p.NSID, CDW2: p.CDW2, CDW3: p.CDW3,
		CDW10: p.CDW10, CDW11: p.CDW11, CDW12: p.CDW12, CDW13: p.CDW13, CDW14: p.CDW14, CDW15: p.CDW15,
	}
	data, meta := make([]byte, p.DataLen), make([]byte, p.MetadataLen)
	if _, err := mem.ReadAt(data, int64(p.Addr)); err != nil && p.DataLen > 0 {
		return negative(syscall.EFAULT)
	}
	if _, err := mem.ReadAt(meta, int64(p.Metadata)); err != nil && p.MetadataLen > 0 {
		return negative(syscall.EFAULT)
	}
	admin := request == ioctlAdmin || request == ioctlAdmin64
	ans.commands = append(ans.commands, describe(admin, &c, data, meta))
	var cp nvme.Completion
	var err error
	if admin {
		cp, err = a.Admin(context.Background(), &c, data)
	} else {
		cp, err = a.IO(context.Background(), &c, data, meta)
	}
	var se *nvme.StatusError
	if err != nil && !errors.As(err, &se) {
		return negative(syscall.EIO)
	}
	if c.Opcode&2 != 0 {
		if _, err := mem.WriteAt(data, int64(p.Addr)); err != nil {
			return negative(syscall.EFAULT)
		}
		if _, err := mem.WriteAt(meta, int64(p.Metadata)); err != nil && len(meta) > 0 {
			return negative(syscall.EFAULT)
		}
	}
	if wide {
		p.Result = [3]uint32{0, cp.DW0, cp.DW1}
	} else {
		p.Result[0] = cp.DW0
	}
	if _, err := mem.WriteAt(raw[:size], int64(arg)); err != nil {
		return negative(syscall.EFAULT)
	}
	return uint64(cp.Status)
}

func negative(e syscall.Errno) uint64 { return uint64(-int64(e)) }
