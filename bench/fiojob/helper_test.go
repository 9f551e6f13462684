package fiojob

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
)

// require skips a test whose peer is missing; where peers must be there, it fails.
func require(t *testing.T, program string) string {
	t.Helper()
	bin, err := exec.LookPath(program)
	if err != nil {
		missing(t, program)
	}
	return bin
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
		t.Fatalf("requires %s", what)
	}
	t.Skipf("requires %s", what)
}

// world is an Env with these files and variables.
func world(files, vars map[string]string) Env {
	open := func(name string) (io.ReadCloser, error) {
		text, ok := files[name]
		if !ok {
			return nil, os.ErrNotExist
		}
		return io.NopCloser(bytes.NewReader([]byte(text))), nil
	}
	return Env{
		Getenv:   func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		PageSize: 4096, MemoryMB: 24000, CPUs: 2,
		Open:   open,
		OpenIn: func(dir, name string) (io.ReadCloser, error) { return open(path.Join(dir, name)) },
	}
}

// parse reads a job file of these lines.
func parse(t *testing.T, lines ...string) *Plan {
	t.Helper()
	plan, err := ParseFile("t.fio", strings.NewReader(strings.Join(lines, "\n")), world(nil, nil))
	if err != nil {
		t.Fatalf("%q: %v", lines, err)
	}
	return plan
}

// one reads a job file with a single job of these keys.
func one(t *testing.T, keys ...string) Job {
	t.Helper()
	return parse(t, append([]string{"[a]"}, keys...)...).Jobs[0]
}

// failing reads a job file that must not be accepted.
func failing(t *testing.T, kind error, want string, lines ...string) {
	t.Helper()
	_, err := ParseFile("t.fio", strings.NewReader(strings.Join(lines, "\n")), world(nil, nil))
	wantError(t, err, kind, want, lines)
}

func wantError(t *testing.T, err, kind error, want string, what any) {
	t.Helper()
	if err == nil || !errors.Is(err, kind) || !strings.Contains(err.Error(), want) {
		t.Errorf("%q: error %v; want %v with %q", what, err, kind, want)
	}
}
