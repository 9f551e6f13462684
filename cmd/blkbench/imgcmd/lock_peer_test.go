package imgcmd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestImageInUseSaysWhatThePeerSays(t *testing.T) {
	p := prepare(t, "create -q -f qcow2 a.q 1M", "create -q -f raw a.raw 1M", "create -q -f qcow2 -b a.q -F qcow2 o.q")
	p.ours = p.theirs
	serve(t, p.theirs, false, "-f", "qcow2", "a.q")
	lines := []string{
		"info a.q", "info -U a.q", "info --output=json -U a.q", "check a.q", "check -r all a.q", "check -U a.q", "check -U -r all a.q", "map a.q",
		"map -U a.q", "resize a.q 2M", "snapshot -l a.q", "snapshot -l -U a.q", "snapshot -c s a.q", "snapshot -U -c s a.q", "amend -o compat=1.1 a.q",
		"bitmap --add a.q b", "measure a.q", "measure -U a.q", "map o.q", "map -U o.q", "info --backing-chain o.q", "info -U --backing-chain o.q",
		"create -f qcow2 -b a.q -F qcow2 n.q", "create -f qcow2 a.q 1M", "create -f raw a.q 1M",
		"info --image-opts driver=qcow2,file.driver=file,file.filename=a.q,file.locking=off",
		"info --image-opts driver=qcow2,force-share=on,file.filename=a.q",
	}
	for _, line := range lines {
		p.same(t, line)
	}
}

func TestProgressIsPrinted(t *testing.T) {
	p := prepare(t, "create -q -f qcow2 -o compat=0.10 a.q 1M")
	p.same(t, "amend -p -o compat=0.10 a.q")
	p.same(t, "amend -q -p -o compat=0.10 a.q")
	var out, errOut bytes.Buffer
	c := &call{env: &Env{Stdout: &out, Stderr: &errOut}}
	bar := c.startProgress(true, 1)
	for _, done := range []int64{1, 5, 12, 100, 99, 1000} {
		bar.of(done, 1000)
	}
	bar.end()
	const want = "    (0.00/100%)\r    (1.20/100%)\r    (10.00/100%)\r    (100.00/100%)\r\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	bar = c.startProgress(false, 1)
	defer bar.end()
	bar.of(1, 4)
	if errOut.Len() > 0 {
		t.Errorf("printed %q though nobody asked", errOut.String())
	}
	if err := unix.Kill(os.Getpid(), unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for len(bar.signals) == 0 { // until it is delivered
		runtime.Gosched()
	}
	bar.of(2, 4)
	if errOut.String() != "    (50.00/100%)\n" {
		t.Errorf("after SIGUSR1 printed %q", errOut.String())
	}
}

func TestStandardOptionsAreThePeers(t *testing.T) {
	p := prepare(t, "create -q -f qcow2 a.q 1M")
	for _, line := range []string{"", "foo", "--foo info a.q", "-x", "-T", "--trace= snapshot -l a.q", "--tra"} {
		p.same(t, line)
	}
	for _, line := range []string{"-h", "--help", "-V", "--version", "info -h", "info --help", "create --he", "-V info", "-hx", "info -hx"} {
		p.sameCode(t, line)
	}
	for _, verb := range commands() {
		r := run(t, "qemu-img", p.ours, verb.name, "--help")
		if r.code != 0 || !strings.Contains(r.out, "\nSupported formats: ") || !strings.HasPrefix(r.out, "qemu-img version 7.2") {
			t.Errorf("%s --help through the link: %d, %.80q", verb.name, r.code, r.out)
		}
		r = run(t, "blkbench", p.ours, verb.name, "--help")
		if r.code != 0 || !strings.Contains(r.out, "blkbench "+verb.name+": ") {
			t.Errorf("%s --help: %d, %.80q", verb.name, r.code, r.out)
		}
	}
	r := run(t, "qemu-img", p.ours, "--version")
	if !strings.HasPrefix(r.out, "qemu-img version 7.2") {
		t.Errorf("--version: %q", r.out)
	}
}

func TestFailedCreationLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if r := run(t, "qemu-img", dir, "create", "-f", "qcow2", "x", "100P"); r.code != 1 {
		t.Fatalf("%+v", r)
	}
	if _, err := os.Stat(filepath.Join(dir, "x")); err == nil {
		t.Error("half an image stands under its name")
	}
	if _, err := exec.LookPath("qemu-img"); err == nil {
		// What somebody uses is neither emptied nor removed.
		p := prepare(t, "create -q -f qcow2 a.q 1M")
		serve(t, p.ours, false, "-f", "qcow2", "a.q")
		if r := run(t, "qemu-img", p.ours, "create", "-f", "qcow2", "-o", "cluster_size=3", "a.q", "1M"); r.code != 1 {
			t.Errorf("%+v", r)
		}
		if r := run(t, "peer", p.ours, "check", "-U", "a.q"); r.code != 0 {
			t.Errorf("the image in use is damaged: %+v", r)
		}
	}
}
