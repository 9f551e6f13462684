package nbdcmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine/enginetest/guest"
)

// TestGuest boots a machine whose kernel has the nbd driver.
func TestGuest(t *testing.T) {
	if guest.Inside() {
		t.Skip("this is the guest")
	}
	if testing.Short() {
		t.Skip("boots a machine")
	}
	guest.Run(t, guest.Machine{Kernel: "no_timer_check"}, guest.Image{Tests: []string{"cmd/blkbench/nbdcmd"}, Modules: []string{"nbd"}},
		guest.GoTest("cmd/blkbench/nbdcmd", "TestGuest."))
}

// -c makes the kernel's driver the client: what is written to the device is in the image, and -d ends both.
func TestGuestKernelClient(t *testing.T) {
	guest.Require(t)
	const dev = "/dev/nbd0"
	dir := folder(t)
	img := image(t, dir, "i.raw")
	before, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	// A server behind --fork that outlives its parent is found by its file; it has to be gone after -d.
	pid := filepath.Join(dir, "pid")
	_, errs, code := outcome(t, ours(t, "qemu-nbd", "--fork", "--pid-file", pid, "-k", filepath.Join(dir, "s"), "-c", dev, "-f", "raw", img))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(before))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, before) {
		t.Errorf("the device does not read as the image: %v", err)
	}
	want := bytes.Repeat([]byte("nbd!"), 64<<8)
	if _, err := f.WriteAt(want, 1<<20); err != nil {
		t.Error(err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	f.Close()
	out, errs, code := outcome(t, ours(t, "qemu-nbd", "-d", dev))
	if code != 0 || !strings.Contains(out, dev+" disconnected") {
		t.Errorf("-d: exit code %d: %s%s", code, out, errs)
	}
	if _, err := os.Stat("/sys/block/nbd0/pid"); err == nil {
		t.Error("the kernel still has the device")
	}
	copy(before[1<<20:], want)
	if got, err := os.ReadFile(img); err != nil || !bytes.Equal(got, before) {
		t.Errorf("the image is not what was written to the device: %v", err)
	}
	if out, errs, code := outcome(t, ours(t, "qemu-nbd", "-c", "/dev/nbd99", "-f", "raw", img)); code != 1 || !strings.Contains(errs, "Failed to open /dev/nbd99") {
		t.Errorf("a device that is not there: %d %s%s", code, out, errs)
	}
}
