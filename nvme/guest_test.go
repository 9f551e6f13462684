package nvme_test

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/enginetest/guest"
	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/vfio"
	"github.com/blkbench/blkbench/vfio/pci"
)

// take binds the controller with a serial number to vfio-pci for the length of a test and attaches to it.
func take(t *testing.T, serial string, opt nvme.Options) *nvme.Controller {
	t.Helper()
	address, _ := guest.FindController(t, serial)
	if err := (pci.Bus{}).Bind(address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := (pci.Bus{}).Unbind(address); err != nil && !errors.Is(err, pci.ErrNoDevice) {
			t.Error(err)
		}
	})
	return attachVFIO(t, address, opt)
}

func attachVFIO(t *testing.T, address string, opt nvme.Options) *nvme.Controller {
	t.Helper()
	opt.Log = slog.New(slog.NewTextHandler(testLog{t}, nil))
	d, err := vfio.Open(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := nvme.Attach(t.Context(), d, opt)
	if err != nil {
		d.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// kernelDisk waits until the kernel's driver has the controller again and returns its first namespace.
func kernelDisk(t *testing.T, serial, suffix string) string {
	t.Helper()
	var path string
	waitFor(t, "kernel's block device of "+serial, func() bool {
		_, name := guest.FindController(t, serial)
		path = "/dev/" + name + suffix
		_, err := os.Stat(path)
		return name != "" && err == nil
	})
	return path
}

// roundTrip writes random data through the queue and reads it back, for every namespace.
func roundTrip(t *testing.T, c *nvme.Controller, q *nvme.Queue, nsid uint32, rounds int) {
	t.Helper()
	ns, err := nvme.OpenNamespace(t.Context(), c, nsid, c.MaxTransfer())
	if err != nil {
		t.Fatal(err)
	}
	buf := buffer(t, c, 1<<20)
	rng := rand.New(rand.NewPCG(uint64(nsid), 9))
	for i := range rounds {
		blocks := 1 + rng.Uint32N(min(ns.MaxBlocks, 256<<10/ns.WireBlock()))
		n := blocks * ns.WireBlock()
		slba := rng.Uint64N(ns.Blocks - uint64(blocks))
		out, in := buf.Slice(4*rng.IntN(900), int(n)), buf.Slice(512<<10, int(n))
		for j := range out.Bytes {
			out.Bytes[j] = byte(rng.Uint32())
		}
		clear(in.Bytes)
		for _, step := range []struct {
			op  uint8
			mem nvme.Region
		}{{nvme.OpWrite, out}, {nvme.OpRead, in}} {
			cmd := nvme.ReadWrite(step.op, nsid, slba, blocks, ns.Flags())
			cmd.SetProtection(uint32(slba), 0, 0)
			if _, ok := q.Push(&cmd, step.mem.IOVA, n); !ok {
				t.Fatal(q.Err())
			}
			q.Kick()
			if d := reap(t, q, 1); !d[0].Status.OK() {
				t.Fatalf("namespace %d round %d: opcode %d, %d blocks at %d: %v", nsid, i, step.op, blocks, slba, d[0].Status)
			}
		}
		if !bytes.Equal(in.Bytes, out.Bytes) {
			t.Fatalf("namespace %d round %d: %d blocks at %d read back as other data", nsid, i, blocks, slba)
		}
	}
}

func TestGuestReadBack(t *testing.T) {
	guest.Require(t)
	for _, c := range []struct {
		serial string
		opt    nvme.Options
		spaces uint32
	}{
		{"PLAIN", nvme.Options{}, 1},
		{"PLAIN", nvme.Options{NoShadowDoorbells: true, NoSGL: true}, 1},
		{"MANY", nvme.Options{}, 4},
		{"SMALL", nvme.Options{}, 1},
		{"CMB", nvme.Options{CMB: true}, 1},
	} {
		t.Run(c.serial, func(t *testing.T) {
			ctrl := take(t, c.serial, c.opt)
			q := openQueue(t, ctrl)
			for nsid := range c.spaces {
				roundTrip(t, ctrl, q, nsid+1, 20)
			}
			if ctrl.Resets() != 0 {
				t.Errorf("%d controller resets", ctrl.Resets())
			}
		})
	}
}

// Metadata and protection information made and checked by the host, in a buffer of their own and between the blocks.
func TestGuestProtection(t *testing.T) {
	guest.Require(t)
	ctrl := take(t, "MANY", nvme.Options{})
	for _, nsid := range []uint32{3, 4, 5} {
		ns := identifyNS(t, ctrl, nsid)
		p, ok := ns.Protection()
		if !ok || p.Extended != (nsid == 4) || p.First != (nsid == 5) {
			t.Fatalf("namespace %d: protection %+v, %v", nsid, p, ok)
		}
		const blocks = 5
		size, metaSize := blocks*int(ns.BlockSize), blocks*int(ns.MetadataSize)
		if p.Extended {
			size, metaSize = size+metaSize, 0
		}
		data, meta := make([]byte, size), make([]byte, metaSize)
		for i := range data {
			data[i] = byte(3 * i)
		}
		p.Generate(blocks, data, meta, 77, 0xbeef)
		flags := nvme.CheckGuard | nvme.CheckRefTag
		write := nvme.ReadWrite(nvme.OpWrite, nsid, 77, blocks, flags)
		write.SetProtection(77, 0xbeef, 0xffff)
		if _, err := ctrl.IO(t.Context(), &write, data, meta); err != nil {
			t.Fatalf("namespace %d: %v", nsid, err)
		}
		gotData, gotMeta := make([]byte, size), make([]byte, metaSize)
		read := write
		read.Opcode = nvme.OpRead
		if _, err := ctrl.IO(t.Context(), &read, gotData, gotMeta); err != nil {
			t.Fatalf("namespace %d: %v", nsid, err)
		}
		if !bytes.Equal(gotData, data) || !bytes.Equal(gotMeta, meta) {
			t.Errorf("namespace %d: other data or metadata", nsid)
		}
		if err := p.Check(blocks, gotData, gotMeta, 77, 0xbeef, 0xffff); err != nil {
			t.Errorf("namespace %d: %v", nsid, err)
		}
		// A wrong guard is the controller's to find.
		data[1] ^= 1
		_, err := ctrl.IO(t.Context(), &write, data, meta)
		if !errors.Is(err, &nvme.StatusError{Status: nvme.StatusGuardCheck}) {
			t.Errorf("namespace %d: wrong guard: %v", nsid, err)
		}
	}
}

// What the kernel wrote we read, and the other way round, with QEMU's own userspace driver as a third.
func TestGuestKernelInterop(t *testing.T) {
	guest.Require(t)
	address, _ := guest.FindController(t, "KERNEL")
	disk := kernelDisk(t, "KERNEL", "n1")
	ours, theirs := make([]byte, 1<<20), make([]byte, 1<<20)
	for i := range theirs {
		theirs[i], ours[i] = byte(i*7), byte(i*11+1)
	}
	writeDisk(t, disk, 1<<20, theirs)
	before := runTool(t, "nvme", "id-ctrl", "/dev/"+strings.TrimSuffix(filepath.Base(disk), "n1"), "-o", "json")
	func() {
		ctrl := take(t, "KERNEL", nvme.Options{})
		got := make([]byte, 1<<20)
		for off := 0; off < len(got); off += 64 << 10 {
			lba := uint64(1<<20+off) / 512
			cmd := nvme.ReadWrite(nvme.OpRead, 1, lba, 128, 0)
			if _, err := ctrl.IO(t.Context(), &cmd, got[off:off+64<<10], nil); err != nil {
				t.Fatal(err)
			}
			cmd = nvme.ReadWrite(nvme.OpWrite, 1, lba+4096, 128, nvme.FUA)
			if _, err := ctrl.IO(t.Context(), &cmd, ours[off:off+64<<10], nil); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, theirs) {
			t.Error("what the kernel wrote reads back as other data")
		}
		if err := ctrl.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	text := runTool(t, "qemu-img", "info", "nvme://"+address+"/1")
	if !strings.Contains(text, "64 MiB") {
		t.Errorf("qemu-img info: %s", text)
	}
	if err := (pci.Bus{}).Unbind(address); err != nil {
		t.Fatal(err)
	}
	disk = kernelDisk(t, "KERNEL", "n1")
	got := make([]byte, 1<<20)
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(got, 3<<20); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, ours) {
		t.Error("what we wrote the kernel reads as other data")
	}
	after := runTool(t, "nvme", "id-ctrl", "/dev/"+strings.TrimSuffix(filepath.Base(disk), "n1"), "-o", "json")
	if before != after {
		t.Errorf("id-ctrl differs before and after")
	}
}

func runTool(t *testing.T, name string, args ...string) string {
	t.Helper()
	text, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %v: %v: %s", name, args, err, text)
	}
	return string(text)
}

func writeDisk(t *testing.T, disk string, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// The same structures through our admin queue and through the kernel's ioctl.
func TestGuestKernelDevice(t *testing.T) {
	guest.Require(t)
	disk := kernelDisk(t, "PLAIN", "n1")
	k, err := nvme.OpenKernel(strings.TrimSuffix(disk, "n1"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	b, err := nvme.IdentifyData(t.Context(), k, nvme.CNSController, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	id, err := nvme.ParseIdentifyController(b)
	if err != nil || id.SN != "PLAIN" {
		t.Fatalf("%+v %v", id, err)
	}
	n, err := nvme.OpenKernel(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if nsid, err := n.NSID(); err != nil || nsid != 1 {
		t.Errorf("namespace id %d, %v", nsid, err)
	}
	want, got := bytes.Repeat([]byte{0xc3}, 4096), make([]byte, 4096)
	cmd := nvme.ReadWrite(nvme.OpWrite, 1, 8, 8, 0)
	if _, err := n.IO(t.Context(), &cmd, want, nil); err != nil {
		t.Fatal(err)
	}
	cmd = nvme.ReadWrite(nvme.OpRead, 1, 8, 8, 0)
	if _, err := n.IO(t.Context(), &cmd, got, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("other data")
	}
	cmd = nvme.ReadWrite(nvme.OpRead, 1, 1<<40, 8, 0)
	_, err = n.IO(t.Context(), &cmd, got, nil)
	if !errors.Is(err, &nvme.StatusError{Status: nvme.StatusLBAOutOfRange}) {
		t.Errorf("read beyond the end: %v", err)
	}
	k.Close()
	n.Close()
	ctrl := take(t, "PLAIN", nvme.Options{})
	ours, err := nvme.IdentifyData(t.Context(), ctrl, nvme.CNSController, 0, 0)
	if err != nil || !bytes.Equal(ours, b) {
		t.Errorf("identify differs between the kernel's ioctl and our queue: %v", err)
	}
}

// A wait on an interrupt costs no CPU time.
func TestGuestInterrupts(t *testing.T) {
	guest.Require(t)
	ctrl := take(t, "PLAIN", nvme.Options{Interrupts: true})
	q, buf := openQueue(t, ctrl), buffer(t, ctrl, 1<<20)
	done := make([]nvme.Done, 4)
	for i := range uint64(50) {
		if _, ok := q.Prepare(nvme.OpRead, 1, i, 0, buf.IOVA, 512); !ok {
			t.Fatal(q.Err())
		}
		q.Kick()
		for start := time.Now(); q.Poll(done) == 0; {
			if err := q.Wait(5 * time.Second); err != nil {
				t.Fatal(err)
			}
			if time.Since(start) > 5*time.Second {
				t.Fatal("no interrupt for a completion")
			}
		}
	}
	var a, b unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &a); err != nil {
		t.Fatal(err)
	}
	start, wakes := time.Now(), 0
	for ; time.Since(start) < 500*time.Millisecond; wakes++ {
		if err := q.Wait(500 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &b); err != nil {
		t.Fatal(err)
	}
	if wakes > 3 { // an interrupt of the last completions may still be on its way
		t.Errorf("%d wake-ups of an idle queue", wakes)
	}
	if cpu := time.Duration(b.Utime.Nano() + b.Stime.Nano() - a.Utime.Nano() - a.Stime.Nano()); cpu > 20*time.Millisecond {
		t.Errorf("an idle wait of half a second cost %v of CPU time", cpu)
	}
}

// A wrong address faults in the IOMMU: memory is intact, the kernel has logged the fault, and the next command works.
// What the command's own status is depends on the device; QEMU's completes it with success.
func TestGuestWrongIOVA(t *testing.T) {
	guest.Require(t)
	ctrl := take(t, "PLAIN", nvme.Options{})
	q, buf := openQueue(t, ctrl), buffer(t, ctrl, 1<<20)
	for i := range buf.Bytes {
		buf.Bytes[i] = 0x5a
	}
	const wrong = 0x7654321000
	log := kernelLog(t)
	status := one(t, q, nvme.OpRead, 0, 8, wrong, 4096)
	waitFor(t, "fault in the kernel's log", func() bool { return strings.Contains(log(), "fault addr 0x7654321000") })
	t.Logf("status of the read: %v", status)
	for i, b := range buf.Bytes {
		if b != 0x5a {
			t.Fatalf("byte %d was overwritten", i)
		}
	}
	works(t, q, buf)
}

// kernelLog collects the kernel's messages from now on.
func kernelLog(t *testing.T) func() string {
	t.Helper()
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.Seek(fd, 0, 2); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	return func() string {
		b := make([]byte, 8192)
		for {
			n, err := unix.Read(fd, b)
			if err != nil || n <= 0 {
				return all.String()
			}
			all.Write(b[:n])
		}
	}
}

// blkdebug beneath the drive fails one sector.
func TestGuestMediaError(t *testing.T) {
	guest.Require(t)
	ctrl := take(t, "FAULTY", nvme.Options{})
	q, buf := openQueue(t, ctrl), buffer(t, ctrl, 1<<20)
	s := one(t, q, nvme.OpRead, 2048, 8, buf.IOVA, 4096)
	if s.OK() || s.SCT() != 2 && s.Code() != nvme.StatusInternalError {
		t.Errorf("read of a bad sector: %v", s)
	}
	if s := one(t, q, nvme.OpRead, 4096, 8, buf.IOVA, 4096); !s.OK() {
		t.Errorf("read of a good sector: %v", s)
	}
}

// A controller reset while a full queue is in flight: everything ends once, and the queue goes on.
func TestGuestResetUnderLoad(t *testing.T) {
	guest.Require(t)
	ctrl := take(t, "PLAIN", nvme.Options{})
	q, buf := openQueue(t, ctrl), buffer(t, ctrl, 1<<20)
	cids := submit(t, q, buf, 64)
	if err := ctrl.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	settle(t, q, cids)
	works(t, q, buf)
	roundTrip(t, ctrl, q, 1, 5)
}

// The host pulls the device while I/O runs: what is in flight finishes, then the device is let go.
func TestGuestUnplug(t *testing.T) {
	guest.Require(t)
	ctrl := take(t, "PULLED", nvme.Options{})
	address, _ := guest.FindController(t, "PULLED")
	q, buf := openQueue(t, ctrl), buffer(t, ctrl, 1<<20)
	guest.Host(t, "device_del PULLED")
	done, inFlight, total := make([]nvme.Done, 32), 0, 0
	for deadline := time.Now().Add(30 * time.Second); ; {
		refused := false
		for inFlight < 16 && !refused {
			_, ok := q.Prepare(nvme.OpRead, 1, uint64(total%1000), 0, buf.IOVA, 512)
			refused = !ok
			if ok {
				inFlight++
				total++
			}
		}
		q.Kick()
		n := q.Poll(done)
		for _, d := range done[:n] {
			if !d.Status.OK() {
				t.Fatalf("in flight at the removal: %v", d.Status)
			}
		}
		inFlight -= n
		if refused && inFlight == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("device still taken after %d commands, %d in flight", total, inFlight)
		}
	}
	if !errors.Is(q.Err(), nvme.ErrRemoved) {
		t.Errorf("cause: %v", q.Err())
	}
	waitFor(t, "device gone from the bus", func() bool {
		_, err := os.Stat("/sys/bus/pci/devices/" + address)
		return errors.Is(err, os.ErrNotExist)
	})
}

// Bad input says what is wrong and what mends it.
func TestGuestBadInput(t *testing.T) {
	guest.Require(t)
	address, _ := guest.FindController(t, "PLAIN")
	for _, c := range []struct {
		address string
		want    error
		text    string
	}{
		{"0000:99:00.0", vfio.ErrNoDevice, "nvme list"},
		{"nonsense", vfio.ErrAddress, "0000:06:0d.0"},
		{address, vfio.ErrNotBound, "nvme bind " + address},
	} {
		d, err := vfio.Open(c.address)
		if err == nil {
			d.Close()
		}
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.address, err)
		}
	}
	if err := (pci.Bus{}).Bind(address); err != nil {
		t.Fatal(err)
	}
	a, err := vfio.Open(address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vfio.Open(address); !errors.Is(err, vfio.ErrBusy) {
		t.Errorf("opened twice: %v", err)
	}
	a.Close()
	if err := (pci.Bus{}).Unbind(address); err != nil {
		t.Fatal(err)
	}
}
