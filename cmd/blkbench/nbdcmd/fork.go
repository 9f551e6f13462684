package nbdcmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// readyEnv tells a process that it is the server behind --fork, and which descriptor its parent listens at.
const readyEnv = "BLKBENCH_NBD_READY"

// fork starts the program again, before anything is open, and waits until that one listens or gives up. What it says until then is said
// here.
func (c *call) fork() error {
	ready, readyIn, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	words, wordsIn, err := os.Pipe()
	if err != nil {
		readyIn.Close()
		return err
	}
	defer words.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	env := append(os.Environ(), readyEnv+"=3")
	p, err := os.StartProcess("/proc/self/exe", c.env.Args, &os.ProcAttr{
		Env: env, Files: []*os.File{null, c.env.Stdout, wordsIn, readyIn}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	readyIn.Close()
	wordsIn.Close()
	if err != nil {
		return err
	}
	// It ends at the latest when the server turns away from its standard error, or dies.
	_, _ = io.Copy(c.env.Stderr, words)
	var ok [1]byte
	if n, _ := ready.Read(ok[:]); n == 1 {
		return p.Release()
	}
	st, err := p.Wait()
	if err != nil {
		return err
	}
	return &childError{max(1, st.ExitCode())}
}

// readyPipe is the way to the parent of --fork; nil without one.
func readyPipe() io.WriteCloser {
	if os.Getenv(readyEnv) == "" {
		return nil
	}
	_ = os.Unsetenv(readyEnv) // programs that are started from here are not meant
	unix.CloseOnExec(socketFD)
	return os.NewFile(socketFD, "ready")
}

// detach tells the parent of --fork that the server listens, and leaves the terminal to it.
func (c *call) detach() {
	if c.ready == nil {
		return
	}
	if _, err := c.ready.Write([]byte{1}); err != nil {
		c.errorf("%v", err)
	}
	// The parent waits until nobody can speak to its standard error any more.
	if err := silence(); err != nil {
		c.errorf("%v", err)
	}
	c.ready.Close()
	c.ready = nil
}

// silence turns the standard descriptors to nowhere.
func silence() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return errors.Join(dup(null, 0), dup(null, 1), dup(null, 2))
}

func dup(f *os.File, fd int) error {
	if err := unix.Dup3(int(f.Fd()), fd, 0); err != nil {
		return fmt.Errorf("descriptor %d: %w", fd, err)
	}
	return nil
}

// childError is the exit code of a server that did not come up. It has said why.
type childError struct{ code int }

func (e *childError) Error() string { return fmt.Sprintf("the server ended with exit code %d", e.code) }
