package iocmd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/enginetest"
)

// holder is a program that has an image open, and takes commands.
type holder struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs bytes.Buffer
}

func hold(t *testing.T, dir, prog string, args ...string) *holder {
	t.Helper()
	h := &holder{t: t, cmd: tool(t, prog, args...)}
	h.cmd.Dir, h.cmd.Stderr = dir, &h.errs
	in, err := h.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.in, h.out = in, bufio.NewReader(out)
	h.prompted()
	return h
}

// do runs commands, each when the one before is done.
func (h *holder) do(commands ...string) {
	h.t.Helper()
	for _, c := range commands {
		if _, err := io.WriteString(h.in, c+"\n"); err != nil {
			h.t.Fatal(err)
		}
		h.prompted()
	}
}

// prompted reads up to the next prompt.
func (h *holder) prompted() {
	h.t.Helper()
	var seen []byte
	for !bytes.HasSuffix(seen, []byte("qemu-io> ")) {
		b, err := h.out.ReadByte()
		if err != nil {
			h.t.Fatalf("the holder ended: %s", h.errs.String())
		}
		seen = append(seen, b)
	}
}

func (h *holder) stop() {
	h.t.Helper()
	_ = h.in.Close()
	_, _ = io.Copy(io.Discard, h.out)
	_ = h.cmd.Wait()
}

// tool is a program: QEMU's, or with a star in front our own of that name.
func tool(t *testing.T, prog string, args ...string) *exec.Cmd {
	t.Helper()
	if name, own := strings.CutPrefix(prog, "*"); own {
		return ours(t, name, args...)
	}
	return exec.CommandContext(t.Context(), prog, args...)
}

// lockedBytes lists which of the bytes that stand for permissions are locked, by anybody. Each is asked for: /proc/locks, which is read in
// pieces, loses lines while other processes lock.
func lockedBytes(t *testing.T, path string) []int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []int
	for _, base := range []int{100, 200} {
		for i := range 8 {
			l := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(base + i), Len: 1}
			if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err != nil {
				t.Fatal(err)
			}
			if l.Type != unix.F_UNLCK {
				list = append(list, base+i)
			}
		}
	}
	return list
}

// TestPeerLockedBytes follows the locks through opening, reopening, a change of size and closing. Of a raw image that is reopened for writing
// QEMU locks the byte of writing with the first write, and we at once.
func TestPeerLockedBytes(t *testing.T) {
	enginetest.Require(t, "qemu-io", "qemu-img")
	dir := t.TempDir()
	images(t, dir)
	ofRaw := []string{"length", "reopen -r", "length", "reopen -w; write -P 7 512 512", "truncate 1M", "close"}
	ofFormat := []string{"length", "reopen -r", "length", "reopen -w", "write -P 7 512 512", "truncate 1M", "reopen -c writethrough", "close"}
	for _, c := range []struct {
		args     []string
		watch    []string
		commands []string
	}{
		{[]string{"-f", "raw", "a.raw"}, []string{"a.raw"}, ofRaw},
		{[]string{"-r", "-f", "raw", "a.raw"}, []string{"a.raw"}, ofRaw},
		{[]string{"-f", "qcow2", "a.q"}, []string{"a.q"}, ofFormat},
		{[]string{"-r", "-f", "qcow2", "a.q"}, []string{"a.q"}, ofFormat},
		{[]string{"-rU", "-f", "qcow2", "a.q"}, []string{"a.q"}, []string{"length", "reopen -r", "close"}},
		{[]string{"-f", "qcow2", "o.q"}, []string{"o.q", "base.raw"}, ofFormat},
		{[]string{"-r", "-f", "qcow2", "o.q"}, []string{"o.q", "base.raw"}, ofFormat},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			follow := func(prog string) []string {
				h := hold(t, dir, prog, c.args...)
				defer h.stop()
				var seen []string
				for _, command := range c.commands {
					h.do(strings.Split(command, "; ")...)
					for _, name := range c.watch {
						seen = append(seen, fmt.Sprintf("%s, %s: %v", command, name, lockedBytes(t, filepath.Join(dir, name))))
					}
				}
				return seen
			}
			want, got := follow("qemu-io"), follow("*qemu-io")
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s, want %s", got[i], want[i])
				}
			}
		})
	}
}

// contenders are what is tried beside a holder.
var contenders = [][]string{
	{"qemu-io", "-c", "length"},
	{"qemu-io", "-r", "-c", "length"},
	{"qemu-io", "-r", "-U", "-c", "length"},
	{"qemu-io", "-U", "-c", "length"},
	{"qemu-img", "info"},
	{"qemu-img", "info", "-U"},
}

func contend(t *testing.T, dir, own string, args []string, format, image string) outcome {
	t.Helper()
	cmd := tool(t, own+args[0], append(slices.Clone(args[1:]), "-f", format, image)...)
	cmd.Dir = dir
	o := finish(t, cmd, "")
	o.stdout = ""
	return o
}

// TestPeerLocksExclude tries everything beside everything: who holds the image and who comes second, QEMU or we, makes no difference.
func TestPeerLocksExclude(t *testing.T) {
	enginetest.Require(t, "qemu-io", "qemu-img")
	dir := t.TempDir()
	images(t, dir)
	refused := 0
	for _, image := range []struct{ format, name string }{{"raw", "a.raw"}, {"qcow2", "a.q"}} {
		for _, mode := range [][]string{{}, {"-r"}} {
			outcomes := map[string][]outcome{}
			for _, prog := range []string{"qemu-io", "*qemu-io"} {
				h := hold(t, dir, prog, append(slices.Clone(mode), "-f", image.format, image.name)...)
				for _, own := range []string{"", "*"} {
					for _, args := range contenders {
						outcomes[prog+own] = append(outcomes[prog+own], contend(t, dir, own, args, image.format, image.name))
					}
				}
				h.stop()
			}
			want := outcomes["qemu-io"]
			for who, got := range outcomes {
				for i := range got {
					if got[i] != want[i] {
						t.Errorf("%s %v, %s: %v: got code %d, %swant code %d, %s", image.name, mode, who, contenders[i], got[i].code, got[i].stderr, want[i].code, want[i].stderr)
					}
					if strings.Contains(got[i].stderr, `"write" lock`) && strings.Contains(got[i].stderr, "Is another process using the image ["+image.name+"]?") {
						refused++
					}
				}
			}
		}
	}
	// Of a qcow2 image held for writing: opening, reading and info, in each of the four pairs; of one that is read: opening.
	if refused < 16 {
		t.Errorf("%d openings were refused", refused)
	}
}

// TestPeerNBDServer holds the image by qemu-nbd.
func TestPeerNBDServer(t *testing.T) {
	enginetest.Require(t, "qemu-io", "qemu-img", "qemu-nbd")
	dir := t.TempDir()
	images(t, dir)
	for _, image := range []struct{ format, name string }{{"raw", "a.raw"}, {"qcow2", "a.q"}} {
		for _, mode := range []string{"--persistent", "--read-only"} {
			server := exec.CommandContext(t.Context(), "qemu-nbd", "-k", filepath.Join(dir, "socket"), "-f", image.format, mode, "--persistent", "--fork",
				"--pid-file", "pid", image.name)
			server.Dir = dir
			if out, err := server.CombinedOutput(); err != nil {
				t.Fatalf("qemu-nbd: %v\n%s", err, out)
			}
			for _, args := range contenders {
				want, got := contend(t, dir, "", args, image.format, image.name), contend(t, dir, "*", args, image.format, image.name)
				if got != want {
					t.Errorf("%s %s: %v: got code %d, %swant code %d, %s", image.name, mode, args, got.code, got.stderr, want.code, want.stderr)
				}
			}
			stopServer(t, filepath.Join(dir, "pid"))
		}
	}
}

// stopServer ends the server that has written its process ID, and waits until it has.
func stopServer(t *testing.T, pidFile string) {
	t.Helper()
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unixPidfd(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := waitPidfd(fd); err != nil {
		t.Fatal(err)
	}
}

// TestReopenBesideAReader: an image that somebody else reads is not reopened for writing, and stays open.
func TestPeerReopenBesideAReader(t *testing.T) {
	enginetest.Require(t, "qemu-io", "qemu-img")
	dir := t.TempDir()
	images(t, dir)
	var first []string
	for _, prog := range []string{"qemu-io", "*qemu-io"} {
		for _, other := range []string{"qemu-io", "*qemu-io"} {
			reader := hold(t, dir, other, "-r", "-f", "qcow2", "a.q")
			h := hold(t, dir, prog, "-r", "-f", "qcow2", "a.q")
			h.do("reopen -w", "write 0 512", "read -P 0 0 512")
			reader.stop()
			h.do("reopen -w", "write -P 0 0 512")
			h.stop()
			first = append(first, h.errs.String())
			if h.errs.String() != first[0] || !strings.Contains(first[0], `Failed to get "write" lock`) {
				t.Errorf("%s beside %s: %s\nwant %s", prog, other, h.errs.String(), first[0])
			}
		}
	}
}

// TestOwnNameIsStricter: under our own name not even a raw image is written by two.
func TestOwnNameIsStricter(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.raw"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	h := hold(t, dir, "*qemu-io", "-f", "raw", "a.raw")
	defer h.stop()
	again := ours(t, "blkbench", "-f", "raw", "-c", "write 0 512", "a.raw")
	again.Dir = dir
	want := "blkbench: can't open device a.raw: Failed to get shared \"write\" lock\nIs another process using the image [a.raw]?\n"
	if o := finish(t, again, ""); o.code != exitFailed || o.stderr != want {
		t.Errorf("code %d, %s", o.code, o.stderr)
	}
	probed := ours(t, "blkbench", "-U", "-r", "-c", "write 0 512", "a.raw")
	probed.Dir = dir
	if o := finish(t, probed, ""); o.code != exitFailed || !strings.Contains(o.stderr, "Block node is read-only") {
		t.Errorf("code %d, %s", o.code, o.stderr)
	}
}

// TestProbedIsRead: under our own name an image whose format was probed is opened, and not written to.
func TestProbedIsRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.raw"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := ours(t, "blkbench", "-c", "read -P 0 0 512", "-c", "write 0 512", "a.raw")
	cmd.Dir = dir
	o := finish(t, cmd, "")
	if o.code != exitFailed || !strings.HasPrefix(o.stdout, "read 512/512") || !strings.Contains(o.stderr, "name it by -f") {
		t.Errorf("code %d\n%s%s", o.code, o.stdout, o.stderr)
	}
}

// share-rw lets two write to a raw image, and never to the metadata of a format.
func TestShareRW(t *testing.T) {
	enginetest.Require(t, "qemu-img")
	dir := t.TempDir()
	images(t, dir)
	for _, c := range []struct {
		format, name string
		shared       bool
	}{{"raw", "a.raw", true}, {"qcow2", "a.q", false}} {
		image := "driver=" + c.format + ",file.driver=file,file.filename=" + c.name + ",file.share-rw=on"
		h := hold(t, dir, "*qemu-io", "--image-opts", image)
		cmd := ours(t, "blkbench", "--image-opts", "-c", "write 0 512", image)
		cmd.Dir = dir
		o := finish(t, cmd, "")
		if (o.code == exitOK) != c.shared || !c.shared && !strings.Contains(o.stderr, `Failed to get "write" lock`) {
			t.Errorf("%s: code %d, %s", c.format, o.code, o.stderr)
		}
		h.stop()
	}
}
