package nbdcmd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

// programEnv makes the test binary the program.
const programEnv = "NBDCMD_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) == "" {
		os.Exit(m.Run())
	}
	prog := filepath.Base(os.Args[0])
	os.Exit(Run(context.Background(), &Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Prog: prog, Link: prog == "qemu-nbd", Version: "test",
		Registry: engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver()), Args: os.Args,
	}, os.Args[1:]))
}

// ours is the command of a run of the program under a name.
func ours(t testing.TB, prog string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self) // a server outlives the test's context, which ends before the clean-up
	cmd.Args = append([]string{prog}, args...)
	cmd.Env = append(os.Environ(), programEnv+"=1")
	return cmd
}

// outcome runs a command to its end.
func outcome(t testing.TB, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("%v: %v", cmd.Args, err)
	} else if ok {
		code = e.ExitCode()
	}
	return out.String(), errs.String(), code
}

// peer runs a real program, which has to succeed.
func peer(t testing.TB, name string, args ...string) string {
	t.Helper()
	enginetest.Require(t, name)
	out, errs, code := outcome(t, exec.CommandContext(t.Context(), name, args...))
	if code != 0 {
		t.Fatalf("%s %s: exit code %d: %s%s", name, strings.Join(args, " "), code, out, errs)
	}
	return out
}

// folder has a short name, for sockets.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nbd") //nolint:usetesting // a test's own folder may be too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serve runs a server under our own name and returns the URIs that it prints, which is when it listens. It has to end well at SIGTERM.
func serve(t testing.TB, n int, args ...string) []string {
	t.Helper()
	cmd := ours(t, "blkbench", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v: %s", cmd.Args, err, errs.String())
		}
	})
	var uris []string
	for sc := bufio.NewScanner(out); len(uris) < n && sc.Scan(); {
		uris = append(uris, sc.Text())
	}
	if len(uris) < n {
		t.Fatalf("%v: no URI: %s", args, errs.String())
	}
	return uris
}

// daemon is a qemu-nbd, theirs or ours, in the background.
type daemon struct {
	sock string
	pid  int
}

// forked starts one by --fork.
func forked(t testing.TB, theirs bool, args ...string) *daemon {
	t.Helper()
	dir := folder(t)
	d := &daemon{sock: filepath.Join(dir, "s")}
	pidFile := filepath.Join(dir, "pid")
	args = append([]string{"--fork", "--pid-file=" + pidFile, "-k", d.sock}, args...)
	cmd := ours(t, "qemu-nbd", args...)
	if theirs {
		enginetest.Require(t, "qemu-nbd")
		cmd = exec.CommandContext(t.Context(), "qemu-nbd", args...)
	}
	if _, errs, code := outcome(t, cmd); code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, errs)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if d.pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(d.pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0) // it may have ended
		if !ended(t, fd) {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			t.Errorf("%v did not end at SIGTERM", args)
		}
		unix.Close(fd)
	})
	return d
}

// ended waits for a process.
func ended(t testing.TB, pidfd int) bool {
	t.Helper()
	until := time.Now().Add(20 * time.Second)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(time.Until(until).Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return err == nil && n > 0
		}
	}
}

func (d *daemon) uri(export string) string { return "nbd+unix:///" + export + "?socket=" + d.sock }

// image makes a raw file: data, a hole, data.
func image(t testing.TB, dir, name string) string {
	t.Helper()
	p := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(p)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, p[:1<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(p[3<<20:], 3<<20); err != nil {
		t.Fatal(err)
	}
	return path
}
