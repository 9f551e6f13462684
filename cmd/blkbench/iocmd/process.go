package iocmd

import (
	"context"
	"io"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func quit(_ context.Context, c *call) bool {
	c.s.quit = true
	return true
}

func help(_ context.Context, c *call) bool {
	if len(c.args) == 0 {
		for i := range c.s.table {
			c.printf("%s", c.s.table[i].oneLine())
		}
		c.printf("\nUse 'help commandname' for extended help.\n")
		return true
	}
	cmd := c.s.lookup(c.args[0])
	if cmd == nil {
		c.printf("command %s not found\n", c.args[0])
		return false
	}
	c.printf("%s%s", cmd.oneLine(), cmd.long)
	return true
}

func sleep(ctx context.Context, c *call) bool {
	ms, err := strconv.ParseInt(c.args[0], 0, 64)
	if err != nil || ms < 0 || ms > int64(1<<63-1)/int64(time.Millisecond) {
		c.printf("%s is not a valid number\n", c.args[0])
		return false
	}
	t := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return true
}

// lastSignal is the last real-time signal.
const lastSignal = 64

func sigraise(_ context.Context, c *call) bool {
	sig, ok := c.number(c.args[0])
	if !ok {
		return false
	}
	if sig > lastSignal {
		c.printf("signal argument '%s' is too large to be a valid signal\n", c.args[0])
		return false
	}
	raise(unix.Signal(sig))
	return true
}

func abort(context.Context, *call) bool {
	raise(unix.SIGABRT)
	return false
}

// raise sends a signal to this process, with the effect that it has by default: no handler of the language's run time comes first.
func raise(sig unix.Signal) {
	// struct sigaction of the kernel, all zero: SIG_DFL.
	var action struct {
		handler  uintptr
		flags    uint64
		restorer uintptr
		mask     uint64
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(action.mask), 0, 0)
	_ = unix.Kill(unix.Getpid(), sig)
}

// readFull fills p as far as r goes.
func readFull(r io.Reader, p []byte) (int, error) {
	n, err := io.ReadFull(r, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // io.ReadFull returns exactly these
		err = nil
	}
	return n, err
}
