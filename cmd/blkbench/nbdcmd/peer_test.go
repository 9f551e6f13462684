package nbdcmd

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/enginetest"
)

func requireClients(t *testing.T) {
	t.Helper()
	enginetest.Require(t, "qemu-img", "qemu-io", "qemu-nbd", "nbdinfo", "nbdcopy", "fio")
}

// One server, a raw and a qcow2 image with a backing file, and every client that there is.
func TestPeerClients(t *testing.T) {
	requireClients(t)
	dir := folder(t)
	rawImg, base := image(t, dir, "a.raw"), image(t, dir, "base.raw")
	qcow := filepath.Join(dir, "b.qcow2")
	peer(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", qcow)
	peer(t, "qemu-io", "-f", "qcow2", "-c", "write -P 7 2M 64k", qcow)
	sock := filepath.Join(dir, "s")
	list := serve(t, 2, "-k", sock, "--references=allow", "-A", "--discard=unmap", rawImg, qcow)
	a, b := "nbd+unix:///a.raw?socket="+sock, "nbd+unix:///b.qcow2?socket="+sock

	if out := peer(t, "nbdinfo", "--list", "nbd+unix://?socket="+sock); !strings.Contains(out, `export="a.raw"`) || !strings.Contains(out, `export="b.qcow2"`) {
		t.Errorf("%s", out)
	}
	for i, uri := range []string{a, b} {
		if got := strings.TrimSpace(peer(t, "nbdinfo", "--size", list[i])); got != "4194304" {
			t.Errorf("size %s", got)
		}
		peer(t, "qemu-img", "info", uri)
	}
	words := strings.Join(strings.Fields(peer(t, "nbdinfo", "--map", a)), " ")
	if words != "0 1048576 0 data 1048576 2097152 3 hole,zero 3145728 1048576 0 data" {
		t.Errorf("map of a.raw: %s", words)
	}
	words = strings.Join(strings.Fields(peer(t, "nbdinfo", "--map=qemu:allocation-depth", b)), " ")
	if !strings.Contains(words, "1 local") || !strings.Contains(words, "2 backing depth 2") {
		t.Errorf("depth of b.qcow2: %s", words)
	}
	peer(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", b, qcow, "-U")

	t.Run("copy", func(t *testing.T) {
		for _, args := range [][]string{{}, {"--connections=1"}, {"--request-size=4194304"}, {"--synchronous"}} {
			out := filepath.Join(dir, "out.raw")
			peer(t, "nbdcopy", append(args, a, out)...)
			same(t, rawImg, out)
		}
		out := filepath.Join(dir, "conv.raw")
		peer(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", a, out)
		same(t, rawImg, out)
		peer(t, "nbdcopy", out, b)
		peer(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", b, out)
	})
	t.Run("qemu-io", func(t *testing.T) {
		out := peer(t, "qemu-io", "-f", "raw",
			"-c", "write -P 0x11 64k 128k", "-c", "write -z 100k 4k", "-c", "write -z -u 256k 64k", "-c", "discard 512k 64k", "-c", "write -f -P 0x22 1M 512",
			"-c", "flush", "-c", "read -P 0x11 64k 32k", "-c", "read -P 0 100k 4k", "-c", "read -P 0x22 1M 512",
			"-c", "aio_write -P 0x33 2M 1M", "-c", "aio_write -P 0x44 3M 512k", "-c", "aio_flush", "-c", "read -P 0x33 2M 1M", "-c", "read -P 0x44 3M 512k", a)
		if strings.Contains(out, "failed") {
			t.Error(out)
		}
		if text := readAt(t, rawImg, 2<<20, 4); text != "\x33\x33\x33\x33" {
			t.Errorf("%q in the file", text)
		}
	})
	t.Run("fio", func(t *testing.T) {
		for _, uri := range []string{a, b} {
			peer(t, "fio", "--name=j", "--ioengine=nbd", "--uri="+uri, "--rw=randwrite", "--bs=4k-64k", "--iodepth=32", "--size=4m", "--verify=crc32c",
				"--verify_state_save=0", "--output="+filepath.Join(dir, "fio.log"))
		}
	})
	t.Run("many", func(t *testing.T) {
		cmds := make([]*exec.Cmd, 6)
		for i := range cmds {
			cmds[i] = exec.CommandContext(t.Context(), "nbdcopy", []string{a, b}[i%2], "null:")
			if err := cmds[i].Start(); err != nil {
				t.Fatal(err)
			}
		}
		for _, cmd := range cmds {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
	})
}

func same(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	y, err2 := os.ReadFile(b)
	if err != nil || err2 != nil || string(x) != string(y) {
		t.Errorf("%s and %s differ (%v, %v)", a, b, err, err2)
	}
}

func readAt(t *testing.T, name string, off int64, n int) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What clients see of an image with bitmaps and a chain is what they see of the real server.
func TestPeerMaps(t *testing.T) {
	requireClients(t)
	dir := folder(t)
	base, mid, img := image(t, dir, "base.raw"), filepath.Join(dir, "mid.qcow2"), filepath.Join(dir, "top.qcow2")
	peer(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", mid)
	peer(t, "qemu-io", "-f", "qcow2", "-c", "write 128k 128k", "-c", "write -z 3M 64k", mid)
	peer(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", mid, "-F", "qcow2", img)
	peer(t, "qemu-img", "bitmap", "--add", "-g", "64k", img, "b0")
	peer(t, "qemu-img", "bitmap", "--add", "-g", "4k", img, "b1")
	peer(t, "qemu-io", "-f", "qcow2", "-c", "write 0 64k", "-c", "write 1M 10k", "-c", "write -z 2M 128k", img)
	peer(t, "qemu-img", "bitmap", "--disable", img, "b0")
	peer(t, "qemu-img", "bitmap", "--disable", img, "b1")
	args := []string{"-t", "-r", "-A", "-B", "b0", "-B", "b1", "-f", "qcow2", "-x", "disk", "-D", "a disk", img}
	theirs := forked(t, true, args...)
	mine := forked(t, false, args...)
	for _, what := range []string{"base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:b0", "qemu:dirty-bitmap:b1"} {
		want := peer(t, "nbdinfo", "--map="+what, theirs.uri("disk"))
		if got := peer(t, "nbdinfo", "--map="+what, mine.uri("disk")); got != want {
			t.Errorf("%s:\n%swant\n%s", what, got, want)
		}
	}
	opt := func(d *daemon, more string) string {
		return "driver=nbd,server.type=unix,server.path=" + d.sock + ",export=disk" + more
	}
	for _, more := range []string{"", ",x-dirty-bitmap=qemu:dirty-bitmap:b0", ",x-dirty-bitmap=qemu:allocation-depth"} {
		want := peer(t, "qemu-img", "map", "--output=json", "--image-opts", opt(theirs, more))
		if got := peer(t, "qemu-img", "map", "--output=json", "--image-opts", opt(mine, more)); got != want {
			t.Errorf("qemu-img map%s:\n%swant\n%s", more, got, want)
		}
	}
	// -L of both programs, against both servers.
	for _, d := range []*daemon{theirs, mine} {
		want, _, _ := outcome(t, exec.CommandContext(t.Context(), "qemu-nbd", "-L", "-k", d.sock))
		got, errs, code := outcome(t, ours(t, "qemu-nbd", "-L", "-k", d.sock))
		if got != want || code != 0 {
			t.Errorf("-L:\n%s%swant\n%s", got, errs, want)
		}
	}
	if err := mine.pidGone(t); err == nil {
		t.Error("a persistent server ended")
	}
}

// pidGone is nil when the process is gone.
func (d *daemon) pidGone(t *testing.T) error {
	t.Helper()
	if unix.Kill(d.pid, 0) == nil {
		return unix.EBUSY
	}
	return nil
}

// Wrong command lines, side by side.
func TestPeerCommandLine(t *testing.T) {
	enginetest.Require(t, "qemu-nbd")
	dir := folder(t)
	img := image(t, dir, "i.raw")
	t.Chdir(dir)
	for _, line := range []string{
		"", "a b", "--zzz x", "-k", "/nonexistent", "-e -1 x", "-e x x", "--share=x x", "-k rel x", "-o x x", "--cache=z x", "--aio=z x", "--discard=z x",
		"--detect-zeroes=z x", "--detect-zeroes=unmap x", "-f zz i.raw -k DIR/s", "-n --cache=none i.raw", "--aio=threads --aio=threads i.raw",
		"--discard=on --discard=on i.raw", "-L x", "-L --fork", "-L -x y", "--tls-hostname=x i.raw", "--tls-authz=x i.raw", "--tls-creds=t i.raw -k DIR/s",
		"-B nope -f raw -r i.raw -k DIR/s", "-o 100000000 -r -f raw i.raw -k DIR/s", "-d", "-d /dev/nbdx", "-c /dev/nbd77 -r -f raw i.raw",
		"-l zz -f raw -r i.raw -k DIR/s", "-k /nonexist/dir/s -r -f raw i.raw", "-b 203.0.113.4 -p 1234 -r -f raw i.raw", "--fork -k /nonexist/s -r -f raw i.raw",
		"--pid-file=/nonexist/p -k DIR/s -r -f raw i.raw", "--fork --pid-file=/nonexist/p -k DIR/s2 -r -f raw i.raw", "-f qcow2 -r i.raw -k DIR/s",
		"--image-opts -f raw x -k DIR/s", "--image-opts driver=raw,file.filename=/nonex -k DIR/z", "-L -k /nonexist", "-L -p 1 -b 127.0.0.1", "--object foo,id=x i.raw",
	} {
		args := strings.Fields(strings.ReplaceAll(line, "DIR", dir))
		out, errs, code := outcome(t, exec.CommandContext(t.Context(), "qemu-nbd", args...))
		gotOut, gotErrs, gotCode := outcome(t, ours(t, "qemu-nbd", args...))
		if gotOut != out || gotErrs != errs || gotCode != code {
			t.Errorf("qemu-nbd %s: exit code %d, %q %q\nwant %d, %q %q", line, gotCode, gotOut, gotErrs, code, out, errs)
		}
	}
	_ = img
}

// Without -t the server ends with its last client; one that only asked for a list does not count.
func TestPeerLastClient(t *testing.T) {
	requireClients(t)
	dir := folder(t)
	d := forked(t, false, "-f", "raw", image(t, dir, "i.raw"))
	fd, err := unix.PidfdOpen(d.pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	outcome(t, ours(t, "qemu-nbd", "-L", "-k", d.sock))
	peer(t, "nbdcopy", "--connections=1", d.uri(""), "null:")
	if !ended(t, fd) {
		t.Error("the server is still there")
	}
	if _, err := net.Dial("unix", d.sock); err == nil {
		t.Error("somebody still listens")
	}
}

// A client that is killed while it reads holds nothing, and the server goes on.
func TestPeerKilledClient(t *testing.T) {
	requireClients(t)
	dir := folder(t)
	uri := serve(t, 1, "-r", image(t, dir, "i.raw"))[0]
	for range 3 {
		cmd := exec.CommandContext(t.Context(), "fio", "--name=j", "--ioengine=nbd", "--uri="+uri, "--rw=randread", "--bs=64k", "--iodepth=16", "--time_based",
			"--runtime=60", "--size=4m", "--status-interval=1", "--output-format=terse")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_, _ = out.Read(make([]byte, 1)) // the first status: it is at work
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	peer(t, "nbdcopy", uri, "null:")
}

var address = regexp.MustCompile(`^nbd://127\.0\.0\.1:[0-9]+/i\.raw$`)

// Under our own name a port alone means loopback.
func TestPeerTCP(t *testing.T) {
	requireClients(t)
	uri := serve(t, 1, "-p", "0", "-r", image(t, folder(t), "i.raw"))[0]
	if !address.MatchString(uri) {
		t.Error(uri)
	}
	peer(t, "nbdcopy", uri, "null:")
	peer(t, "nbdinfo", strings.TrimSuffix(uri, "i.raw")) // the only export is the default one
}
