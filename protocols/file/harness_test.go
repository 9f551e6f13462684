package file

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// requires skips a test whose peer or place is missing.
func requires(t testing.TB, ok bool, what string) {
	t.Helper()
	enginetest.RequireThat(t, ok, what)
}

func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	requires(t, err == nil, name)
	return path
}

// run runs a program and returns what it prints.
func run(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(program(t, name), args...).CombinedOutput()
	return string(out), err
}

func mustRun(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := run(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// places are folders on different file systems.
func places(t *testing.T, f func(t *testing.T, dir string)) {
	t.Run("disk", func(t *testing.T) { f(t, t.TempDir()) })
	t.Run("tmpfs", func(t *testing.T) { f(t, inMemory(t)) })
}

// inMemory is a folder in a tmpfs.
func inMemory(t testing.TB) string {
	t.Helper()
	st, err := os.Stat("/dev/shm")
	requires(t, err == nil && st.IsDir(), "a tmpfs at /dev/shm")
	t.Setenv("TMPDIR", "/dev/shm")
	return t.TempDir()
}

// makeFile makes a file of n random bytes.
func makeFile(t testing.TB, dir string, n int) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(dir, "image")
	content = randomBytes(n, 1)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func randomBytes(n int, seed uint64) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = rng.Read(p)
	return p
}

func newEnv(allow ...string) *engine.Env {
	return &engine.Env{Registry: engine.NewRegistry(Driver()), AllowDestroy: allow, Domain: engine.NewDomain()}
}

// tryOpen opens a file by the registry, with options as a user writes them after the file's name.
func tryOpen(t testing.TB, env *engine.Env, path string, flags engine.OpenFlags) (*engine.Ref, error) {
	t.Helper()
	ref, err := env.OpenName(context.Background(), path, "file", flags)
	if err == nil {
		t.Cleanup(func() {
			if err := ref.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	return ref, err
}

func mustOpen(t testing.TB, path string, flags engine.OpenFlags) *engine.Ref {
	t.Helper()
	ref, err := tryOpen(t, newEnv(), path, flags)
	if flags.Cache.Direct && errors.Is(err, engine.ErrUnsupported) {
		requires(t, false, "O_DIRECT on "+path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// loop attaches a loop device to a new file of n bytes.
func loop(t testing.TB, n int64) string {
	t.Helper()
	requires(t, os.Getuid() == 0, "root, for loop devices")
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "losetup", "-f", "--show", path)
	requires(t, err == nil, "a free loop device: "+out)
	dev := strings.TrimSpace(out)
	t.Cleanup(func() { mustRun(t, "losetup", "-d", dev) })
	return dev
}

func blocksOf(t testing.TB, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

func lock(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
}
