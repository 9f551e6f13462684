package nbd

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	"github.com/blkbench/blkbench/engine/opts"
)

var bg = context.Background()

// scratch is a folder with a name short enough for a Unix socket, in memory where that is possible: servers sync a lot.
func scratch(t testing.TB) string {
	t.Helper()
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "nbd") //nolint:usetesting // t.TempDir has the name of the test in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// nbdkit starts a server on a Unix socket and returns the socket. It goes to the background by itself, and listens when the command returns.
func nbdkit(t testing.TB, args ...string) string {
	t.Helper()
	dir := scratch(t)
	sock := filepath.Join(dir, "s")
	nbdkitArgs(t, dir, append([]string{"-U", sock}, args...)...)
	return sock
}

func nbdkitArgs(t testing.TB, dir string, args ...string) {
	t.Helper()
	enginetest.Require(t, "nbdkit")
	pid := filepath.Join(dir, "pid")
	out, err := exec.Command("nbdkit", append([]string{"-P", pid}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("nbdkit %s: %v: %s", strings.Join(args, " "), err, out)
	}
	t.Cleanup(func() { endByFile(t, pid) })
}

// endByFile ends a process that a test started, by the file with its number.
func endByFile(t testing.TB, name string) {
	b, err := os.ReadFile(name)
	if err != nil {
		return
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
		_ = unix.Kill(pid, unix.SIGTERM)
	}
}

// qemuNBD starts qemu-nbd on a Unix socket.
func qemuNBD(t testing.TB, args ...string) string {
	t.Helper()
	enginetest.Require(t, "qemu-nbd")
	sock := filepath.Join(scratch(t), "s")
	cmd := exec.Command("qemu-nbd", append([]string{"-t", "-k", sock}, args...)...)
	var text strings.Builder
	cmd.Stderr = &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	listens(t, "unix", sock, &text)
	return sock
}

// nbdServer starts nbd-server with one export of a file, and further lines of its configuration.
func nbdServer(t testing.TB, size int64, more string) string {
	t.Helper()
	enginetest.Require(t, "nbd-server")
	dir := scratch(t)
	sock, disk := filepath.Join(dir, "s"), filepath.Join(dir, "disk")
	file(t, disk, size)
	conf := fmt.Sprintf("[generic]\nunixsock = %s\nallowlist = true\nuser = root\ngroup = root\n[disk]\nexportname = %s\nflush = true\nfua = true\ntrim = true\n%s", sock, disk, more)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(dir, "pid")
	out, err := exec.Command("nbd-server", "-C", filepath.Join(dir, "conf"), "-p", pid).CombinedOutput()
	if err != nil {
		t.Fatalf("nbd-server: %v: %s", err, out)
	}
	t.Cleanup(func() { endByFile(t, pid) })
	listens(t, "unix", sock, nil)
	return sock
}

func file(t testing.TB, name string, size int64) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
}

// listens returns when somebody does.
func listens(t testing.TB, network, addr string, why fmt.Stringer) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if network == "unix" {
			// A connection would use up the place of a server with one client; 10000 is __SO_ACCEPTCON.
			b, _ := os.ReadFile("/proc/net/unix")
			for line := range strings.Lines(string(b)) {
				if f := strings.Fields(line); len(f) == 8 && f[7] == addr && f[3] == "00010000" {
					return
				}
			}
		} else if c, err := net.Dial(network, addr); err == nil {
			c.Close()
			return
		}
		if time.Now().After(until) {
			t.Fatalf("nobody listens on %s: %v", addr, why)
		}
	}
}

func env() *engine.Env {
	return &engine.Env{Registry: engine.NewRegistry(Driver()), Objects: new(opts.Objects), Warn: func(string) {}}
}

// attempt opens a name as a user writes it.
func attempt(e *engine.Env, name string, write bool) (*engine.Ref, error) {
	var t *opts.Tree
	var err error
	if strings.HasPrefix(name, "driver=") {
		t, err = opts.ParseImageOpts(name)
	} else {
		t, err = opts.ParseName(name)
	}
	if err != nil {
		return nil, err
	}
	return e.Open(bg, t, engine.OpenFlags{Write: write, Discard: write})
}

// connect opens a name for reading and writing, and closes it with the test.
func connect(t testing.TB, name string) *engine.Ref {
	t.Helper()
	ref := mustOpen(t, name, true)
	t.Cleanup(func() { ref.Close() })
	return ref
}

func mustOpen(t testing.TB, name string, write bool) *engine.Ref {
	t.Helper()
	ref, err := attempt(env(), name, write)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return ref
}

func uri(sock, export string) string { return "nbd+unix:///" + export + "?socket=" + sock }

// wantError checks kind and words of an error.
func wantError(t testing.TB, err, kind error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %v", words)
	}
	if kind != nil && !errors.Is(err, kind) && engine.KindOf(err) != kind { //nolint:errorlint // a sentinel
		t.Errorf("%v: want the kind %q", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v: want %q in it", err, w)
		}
	}
}
