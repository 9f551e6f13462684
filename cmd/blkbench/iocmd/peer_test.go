package iocmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/cmd/blkbench/imgcmd"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/blkdebug"
	"github.com/blkbench/blkbench/engine/filter/copyonread"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

// asTool is set in a process that is to be the program.
const asTool = "BLKBENCH_TEST_AS_IO"

func TestMain(m *testing.M) {
	switch prog := os.Getenv(asTool); prog {
	case "":
	case "qemu-img":
		os.Exit(imgcmd.Run(context.Background(), &imgcmd.Env{
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Prog: prog, Link: true, Version: "test", Registry: registry(),
		}, os.Args[1:]))
	default:
		os.Exit(Run(context.Background(), &Env{
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Prog: prog, Link: prog == "qemu-io", Version: "test",
			Registry: registry(),
		}, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func registry() *engine.Registry {
	return engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver(), blkdebug.Driver(), copyonread.Driver())
}

// ours is the program as a process of its own, under a name.
func ours(t *testing.T, prog string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asTool+"="+prog)
	return cmd
}

// outcome is what a program has left.
type outcome struct {
	stdout, stderr string
	code           int
}

var masks = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9:]+\.[0-9]+( sec)? \(.*ops/sec\)`), "TIME"},
	{regexp.MustCompile(`(?m)^([0-9]+,[0-9]+),.*$`), "$1,TIME"},
}

func finish(t *testing.T, cmd *exec.Cmd, stdin string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	o := outcome{stdout: out.String(), stderr: errs.String()}
	for _, m := range masks {
		o.stdout = m.re.ReplaceAllString(o.stdout, m.with)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		// A signal is -1 here and something else in each of the two; its name is the same.
		if o.code = exit.ExitCode(); o.code < 0 {
			o.stderr += exit.String()
		}
	} else if err != nil {
		t.Fatal(err)
	}
	return o
}

// images makes the images that scripts work on.
func images(t *testing.T, dir string) {
	t.Helper()
	for _, args := range [][]string{
		{"create", "-q", "-f", "qcow2", "a.q", "1M"},
		{"create", "-q", "-f", "raw", "a.raw", "1M"},
		{"create", "-q", "-f", "raw", "base.raw", "1M"},
		{"create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "base.raw", "-F", "raw", "o.q", "2M"},
		{"create", "-q", "-f", "qcow2", "-o", "cluster_size=16k,extended_l2=on", "x.q", "1M"},
		{"create", "-q", "-f", "qcow2", "-o", "compat=0.10", "old.q", "1M"},
	} {
		cmd := exec.Command("qemu-img", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
		}
	}
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20/16)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for name, b := range map[string][]byte{"all": all, "base.raw": data, "odd.raw": data[:100001], "empty.raw": nil, "pattern": data[:1000]} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// compare runs a script through both programs, each in a copy of the images.
func compare(t *testing.T, master string, args []string, stdin string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("qemu-io %q, standard input %q", args, stdin)
		}
	}()
	dirs := [2]string{t.TempDir(), t.TempDir()}
	for _, d := range dirs {
		if err := os.CopyFS(d, os.DirFS(master)); err != nil {
			t.Fatal(err)
		}
	}
	peer := exec.CommandContext(t.Context(), "qemu-io", args...)
	mine := ours(t, "qemu-io", args...)
	peer.Dir, mine.Dir = dirs[0], dirs[1]
	want, got := finish(t, peer, stdin), finish(t, mine, stdin)
	if got.code != want.code {
		t.Errorf("exit code %d, want %d", got.code, want.code)
	}
	firstDifference(t, "standard output", got.stdout, want.stdout)
	firstDifference(t, "standard error", got.stderr, want.stderr)
	for _, name := range []string{"a.q", "a.raw", "base.raw", "o.q", "x.q", "old.q", "odd.raw"} {
		same(t, filepath.Join(dirs[0], name), filepath.Join(dirs[1], name))
	}
}

// firstDifference says where two texts part.
func firstDifference(t *testing.T, what, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			t.Errorf("%s differs from line %d on:\n%s\nwant\n%s", what, i+1, strings.Join(g[min(i, len(g)):min(i+3, len(g))], "\n"),
				strings.Join(w[min(i, len(w)):min(i+3, len(w))], "\n"))
			return
		}
	}
}

// same compares the content of two images.
func same(t *testing.T, a, b string) {
	t.Helper()
	ab, errA := os.ReadFile(a)
	bb, errB := os.ReadFile(b)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(ab, bb) {
		return
	}
	if strings.HasSuffix(a, ".raw") {
		t.Errorf("%s differs", filepath.Base(a))
		return
	}
	if out, err := exec.Command("qemu-img", "compare", a, b).CombinedOutput(); err != nil {
		t.Errorf("%s: %s", filepath.Base(a), out)
	}
	if out, err := exec.Command("qemu-img", "check", "-q", b).CombinedOutput(); err != nil {
		t.Errorf("check %s: %s", b, out)
	}
}

// cmds makes -c arguments of the lines of a text.
func cmds(text string) []string {
	var args []string
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		args = append(args, "-c", strings.TrimPrefix(strings.TrimSpace(line), "."))
	}
	return args
}

func TestPeerScripts(t *testing.T) {
	enginetest.Require(t, "qemu-io", "qemu-img")
	master := t.TempDir()
	images(t, master)
	for i, c := range scripts {
		if testing.Short() && i%8 != 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			compare(t, master, append(slices.Clone(c.args), cmds(c.commands)...), "")
		})
	}
}

func TestPeerStandardInput(t *testing.T) {
	enginetest.Require(t, "qemu-io", "qemu-img")
	master := t.TempDir()
	images(t, master)
	for _, in := range []string{"length\nquit\nlength\n", "length\nfoo\n", "length", "", "\n\n  \nlength\n", "open -r a.raw\nlength\nclose\nlength\n"} {
		compare(t, master, []string{"-f", "raw", "a.raw"}, in)
		if testing.Short() {
			return
		}
	}
	compare(t, master, nil, "open -o driver=raw a.raw\nwrite 0 512\nclose\nopen nofile\nquit\n")
}

// randomCommands makes lines of which most work.
func randomCommands(r *rand.Rand, n int, format string) string {
	var b strings.Builder
	size := int64(1 << 20)
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	span := func() (int64, int64) {
		unit := int64(1) << r.IntN(17)
		off := r.Int64N(size/unit+1) * unit
		return off, min(r.Int64N(128<<10)/unit*unit+unit, max(0, size-off))
	}
	for range n {
		off, k := span()
		switch r.IntN(16) {
		case 0, 1, 2:
			fmt.Fprintf(&b, "write %s -P %d %d %d\n", pick("", "-q", "-f", "-C", "-p"), r.IntN(256), off, k)
		case 3:
			fmt.Fprintf(&b, "write -z %s %d %d\n", pick("", "-u", "-f", "-q"), off, k)
		case 4:
			fmt.Fprintf(&b, "discard %s %d %d\n", pick("", "-q", "-C"), off, k)
		case 5:
			// No compressed writes among others: over discarded clusters QEMU 7.2 loses what is written next to them.
			fmt.Fprintf(&b, "write -P %d %d 64k\n", r.IntN(256), off&^0xffff)
		case 6:
			fmt.Fprintf(&b, "read -v %d %d\n", off, min(k, 100))
		case 7:
			fmt.Fprintf(&b, "read -P %d -s %d -l %d %d %d\n", r.IntN(3), r.IntN(64), r.IntN(64), off, k)
		case 8:
			fmt.Fprintf(&b, "readv -v %d %d %d\n", off, r.IntN(40), r.IntN(40))
		case 9:
			fmt.Fprintf(&b, "writev -P %d %d %d %d 512\n", r.IntN(256), off, r.IntN(5000), r.IntN(5000))
		case 10:
			fmt.Fprintf(&b, "aio_write -P %d %d %d\naio_flush\n", r.IntN(256), off, k)
		case 11:
			fmt.Fprintf(&b, "aio_read -P %d %d %d\naio_flush\n", r.IntN(2), off, k)
		case 12:
			if format == "raw" || r.IntN(2) == 0 {
				fmt.Fprintf(&b, "alloc %d %d\n", off, k)
			} else {
				b.WriteString("map\n")
			}
		case 13:
			size = 512<<10 + r.Int64N(2048)*512
			fmt.Fprintf(&b, "truncate %d\nlength\n", size)
		case 14:
			b.WriteString(pick("reopen -r\nwrite 0 512\nreopen -w\n", "flush\n", "reopen -c none\nreopen -c writeback\n", "length\n"))
		case 15:
			fmt.Fprintf(&b, "%s %d %d\n", pick("read -k", "write -n", "discard -q", "read", "write -P 300", "aio_write -u"), off+size, k)
		}
	}
	return b.String()
}

func TestPeerRandomScripts(t *testing.T) {
	enginetest.Require(t, "qemu-io", "qemu-img")
	master := t.TempDir()
	images(t, master)
	n := uint64(4)
	if testing.Short() {
		n = 1
	}
	for _, target := range []struct{ format, name string }{{"raw", "a.raw"}, {"qcow2", "a.q"}, {"qcow2", "o.q"}, {"qcow2", "x.q"}, {"qcow2", "old.q"}} {
		for seed := range n {
			t.Run(fmt.Sprintf("%s/%d", target.name, seed), func(t *testing.T) {
				commands := randomCommands(rand.New(rand.NewPCG(seed, 1)), 40, target.format)
				args := append([]string{"-f", target.format}, cmds(commands)...)
				compare(t, master, append(args, target.name), "")
			})
		}
	}
}
