package imgcmd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/throttle"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
	"github.com/blkbench/blkbench/protocols/nbd"
	"github.com/blkbench/blkbench/protocols/null"
)

// asProgram is the variable that lets the test binary be the program under the name that it holds.
const asProgram = "BLKBENCH_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if name := os.Getenv(asProgram); name != "" {
		os.Exit(program(name, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func program(name string, args []string) int {
	env := &Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Prog: name, Link: name == "qemu-img", Version: "test",
		Registry: engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver(), null.Driver(), nbd.Driver(), throttle.Driver()),
	}
	return Run(context.Background(), env, args)
}

// result is what a program left behind.
type result struct {
	code     int
	out, err string
}

// run runs a program in a folder: "qemu-img" and "blkbench" are the test binary, "peer" is the real qemu-img.
func run(t *testing.T, name, dir string, args ...string) result {
	t.Helper()
	path := os.Args[0]
	if name == "peer" {
		enginetest.Require(t, "qemu-img")
		path = "qemu-img"
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	if name != "peer" {
		cmd.Env = append(cmd.Env, asProgram+"="+name)
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// peers are two folders with the same images: the real program works in one, ours in the other.
type peers struct {
	theirs, ours string
	filter       func(output string) string // takes out what cannot be the same; may be nil
}

// long skips a test that runs the program many times. The race detector's run leaves it out too: each start of a program that is built for
// it takes long, and what runs at once is tested where it is written.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short")
	}
}

// prepare makes the images by the real program, with one command line per string.
func prepare(t *testing.T, commands ...string) peers {
	t.Helper()
	long(t)
	p := peers{theirs: t.TempDir(), ours: filepath.Join(t.TempDir(), "ours")}
	for _, line := range commands {
		tool := "qemu-img"
		if rest, ok := strings.CutPrefix(line, "qemu-io "); ok {
			tool, line = "qemu-io", rest
		}
		enginetest.Require(t, tool)
		cmd := exec.CommandContext(t.Context(), tool, words(line)...)
		cmd.Dir = p.theirs
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", tool, line, err, out)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", "--sparse=always", p.theirs, p.ours).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return p
}

// words splits a command line; single quotes keep words together.
func words(line string) []string {
	var list []string
	var b strings.Builder
	quoted, open := false, false
	for _, r := range line {
		switch {
		case r == '\'':
			quoted, open = !quoted, true
		case r == ' ' && !quoted:
			if open {
				list = append(list, b.String())
			}
			b.Reset()
			open = false
		default:
			b.WriteRune(r)
			open = true
		}
	}
	if open {
		list = append(list, b.String())
	}
	return list
}

// same runs a command line in both folders and compares exit code and output.
func (p peers) same(t *testing.T, line string) {
	t.Helper()
	want := run(t, "peer", p.theirs, words(line)...)
	got := run(t, "qemu-img", p.ours, words(line)...)
	if p.filter != nil {
		want.out, got.out = p.filter(want.out), p.filter(got.out)
	}
	if got.code != want.code {
		t.Errorf("qemu-img %s: exit code %d, want %d\n got %s%s\nwant %s%s", line, got.code, want.code, got.out, got.err, want.out, want.err)
		return
	}
	if got.out != want.out {
		t.Errorf("qemu-img %s: standard output\n got %s\nwant %s", line, got.out, want.out)
	}
	if got.err != want.err {
		t.Errorf("qemu-img %s: standard error\n got %s\nwant %s", line, got.err, want.err)
	}
}

// sameCode is same for what each program says in words of its own.
func (p peers) sameCode(t *testing.T, line string) {
	t.Helper()
	want := run(t, "peer", p.theirs, words(line)...)
	got := run(t, "qemu-img", p.ours, words(line)...)
	if got.code != want.code {
		t.Errorf("qemu-img %s: exit code %d, want %d\n got %s%s\nwant %s%s", line, got.code, want.code, got.out, got.err, want.out, want.err)
	}
}

// sameImage lets the real program check our image and compare it with its own.
func (p peers) sameImage(t *testing.T, name string) {
	t.Helper()
	theirs, ours := filepath.Join(p.theirs, name), filepath.Join(p.ours, name)
	if r := run(t, "peer", p.ours, "check", "-q", name); r.code != 0 && r.code != 63 {
		t.Errorf("%s: check says %d: %s%s", name, r.code, r.out, r.err)
	}
	if r := run(t, "peer", p.ours, "compare", theirs, ours); r.code != 0 {
		t.Errorf("%s: compare says %d: %s%s", name, r.code, r.out, r.err)
	}
}

// serve lets qemu-nbd serve an image on the socket s of its folder, until the test ends.
func serve(t *testing.T, dir string, readOnly bool, args ...string) {
	t.Helper()
	enginetest.Require(t, "qemu-nbd")
	// --fork returns when the socket is there; --pid-file says who to end.
	if readOnly {
		args = append([]string{"-r"}, args...)
	}
	args = append([]string{"--fork", "-t", "-k", filepath.Join(dir, "s"), "--pid-file=pid"}, args...)
	cmd := exec.CommandContext(t.Context(), "qemu-nbd", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("qemu-nbd: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGTERM) })
}
