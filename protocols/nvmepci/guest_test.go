package nvmepci_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/engine/enginetest/guest"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/vfio/pci"
)

// bound binds the controller with a serial number for the length of a test and returns its PCI address.
func bound(t *testing.T, serial string) string {
	t.Helper()
	guest.Require(t)
	address, _ := guest.FindController(t, serial)
	if err := (pci.Bus{}).Bind(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := (pci.Bus{}).Unbind(address); err != nil && !errors.Is(err, pci.ErrNoDevice) {
			t.Error(err)
		}
	})
	return address
}

func openGuest(t *testing.T, serial, name string) *engine.Ref {
	t.Helper()
	r, err := env(serial).OpenName(t.Context(), name, "nvme", engine.OpenFlags{Write: true, Discard: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Every namespace of every controller, in both planes.
func TestGuestPlanes(t *testing.T) {
	for _, c := range []struct {
		serial string
		spaces int
		option string
	}{
		{"PLAIN", 1, ""},
		{"PLAIN", 1, ",shadow-doorbells=off,sgl=off"},
		{"PLAIN", 1, ",interrupts=on"},
		{"MANY", 5, ""},
		{"SMALL", 1, ""},
		{"CMB", 1, ",cmb=on"},
	} {
		t.Run(c.serial+c.option, func(t *testing.T) {
			address := bound(t, c.serial)
			for nsid := 1; nsid <= c.spaces; nsid++ {
				t.Run(fmt.Sprint(nsid), func(t *testing.T) {
					name := fmt.Sprintf("nvme://%s/%d", address, nsid)
					if c.option != "" {
						name = fmt.Sprintf(`json:{"driver":"nvme","device":"%s","namespace":%d%s}`, address, nsid, jsonOptions(c.option))
					}
					bothPlanes(t, openGuest(t, c.serial, name))
				})
			}
		})
	}
}

func jsonOptions(s string) string {
	out := ""
	if s == "" {
		return out
	}
	for o := range strings.SplitSeq(strings.TrimPrefix(s, ","), ",") {
		k, v, _ := strings.Cut(o, "=")
		if v == "off" && (k == "sgl" || k == "shadow-doorbells") {
			out += fmt.Sprintf(`,"%s":"%s"`, k, v)
			continue
		}
		out += fmt.Sprintf(`,"%s":%v`, k, v == "on")
	}
	return out
}

func bothPlanes(t *testing.T, ref *engine.Ref) {
	t.Helper()
	blockingPlane(t, ref)
	poller(t, ref, 16, func(path *engine.Path, a *dma.Arena) {
		transfer(t, path, a, 4<<20, 512<<10, 4096, 16)
		transfer(t, path, a, 4<<20, 1<<20, 256<<10, 16)
	})
}

func blockingPlane(t *testing.T, ref *engine.Ref) {
	t.Helper()
	p := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
	if err := ref.WriteAt(t.Context(), p, 1<<20, engine.FUA); err != nil {
		t.Fatal(err)
	}
	if err := ref.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(p))
	if err := ref.ReadAt(t.Context(), got, 1<<20); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, p) {
		t.Error("blocking plane: other data")
	}
	if err := ref.WriteZeroes(t.Context(), 1<<20, 256<<10, engine.MayUnmap); err != nil {
		t.Fatal(err)
	}
	if err := ref.Discard(t.Context(), 1<<20+256<<10, 128<<10); err != nil {
		t.Fatal(err)
	}
	if err := ref.ReadAt(t.Context(), got[:256<<10], 1<<20); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[:256<<10], make([]byte, 256<<10)) {
		t.Error("zeroes read as something else")
	}
}

func TestGuestConsent(t *testing.T) {
	address := bound(t, "PLAIN")
	_, err := env("OTHER").OpenName(t.Context(), "nvme://"+address+"/1", "nvme", engine.OpenFlags{Write: true})
	if !errors.Is(err, engine.ErrConsent) || !strings.Contains(err.Error(), "--allow-destroy=PLAIN") {
		t.Errorf("write without consent: %v", err)
	}
	if _, err := env().OpenName(t.Context(), "nvme://"+address+"/7", "nvme", engine.OpenFlags{}); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("namespace 7: %v", err)
	}
}

// io_uring commands to the kernel's driver, and the ioctls beside them; what they write the block device reads.
func TestGuestPassthrough(t *testing.T) {
	guest.Require(t)
	_, name := guest.FindController(t, "KERNEL")
	char, disk := "/dev/"+strings.Replace(name, "nvme", "ng", 1)+"n1", "/dev/"+name+"n1"
	ref, err := env("KERNEL").Open(t.Context(), tree(t, "driver=io_uring_cmd,filename="+char), engine.OpenFlags{Write: true, Discard: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Close()
	if _, err := env("KERNEL").Open(t.Context(), tree(t, "driver=io_uring_cmd,filename="+char), engine.OpenFlags{Write: true}); !errors.Is(err, engine.ErrLocked) {
		t.Errorf("a second writer: %v", err)
	}
	blockingPlane(t, ref)
	for _, poll := range []bool{false, true} {
		for _, bare := range []bool{true, false} {
			t.Run(fmt.Sprintf("poll=%v,bare=%v", poll, bare), func(t *testing.T) {
				ref, err := env().Open(t.Context(), tree(t, "driver=io_uring_cmd,force-share=on,filename="+char),
					engine.OpenFlags{Leaf: engine.LeafOptions{NoFixedBufs: bare}})
				if err != nil {
					t.Fatal(err)
				}
				defer ref.Close()
				pollerWith(t, ref, 16, poll, func(path *engine.Path, a *dma.Arena) {
					h, err := a.Alloc(1 << 20)
					if err != nil {
						t.Error(err)
						return
					}
					run(t, path, 16, 100, func(i int, r *engine.Request) {
						r.Op, r.Off, r.Len, r.Buf = engine.OpRead, int64(i)*4096, 4096, h.Add(uint32(i%16)*4096)
					})
				})
			})
		}
	}
	poller(t, ref, 16, func(path *engine.Path, a *dma.Arena) {
		leafIs(t, path, "leaf:nvme-passthrough")
		transfer(t, path, a, 4<<20, 512<<10, 4096, 16)
		transfer(t, path, a, 4<<20, 1<<20, 256<<10, 16)
	})
	want := bytes.Repeat([]byte("passthrough!"), 4096/12*12)[:4096]
	if err := ref.WriteAt(t.Context(), want, 8<<20, 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, 4096)
	if _, err := f.ReadAt(got, 8<<20); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the block device reads other data (%v)", err)
	}
	if err := ref.ReadAt(t.Context(), got, ref.Size()); !errors.Is(err, engine.ErrRange) {
		t.Errorf("read beyond the end: %v", err)
	}
	if _, err := env().Open(t.Context(), tree(t, "driver=io_uring_cmd,filename="+disk), engine.OpenFlags{}); !errors.Is(err, engine.ErrOption) {
		t.Errorf("a block device in place of the character device: %v", err)
	}
}

func tree(t *testing.T, s string) *opts.Tree {
	t.Helper()
	tr, err := opts.ParseImageOpts(s)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}
