package pci_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/vfio/pci"
)

// tree is a sysfs with one NVMe function, its namespace nvme0n1 and a partition.
type tree struct {
	t    *testing.T
	root string
}

const address = "0000:01:00.0"

func newTree(t *testing.T) tree {
	b := tree{t, t.TempDir()}
	dev := "sys/bus/pci/devices/" + address
	b.file(dev+"/vendor", "0x8086\n")
	b.file(dev+"/device", "0x0a54\n")
	b.file(dev+"/class", "0x010802\n")
	b.file(dev+"/numa_node", "1\n")
	b.file(dev+"/driver_override", "(null)\n")
	b.file("sys/bus/pci/drivers/nvme/unbind", "")
	b.file("sys/bus/pci/drivers/vfio-pci/unbind", "")
	b.file("sys/bus/pci/drivers_probe", "")
	b.link(dev+"/driver", "../../../../bus/pci/drivers/nvme")
	b.file("sys/kernel/iommu_groups/7/devices/"+address+"/class", "0x010802\n")
	b.link(dev+"/iommu_group", "../../../../kernel/iommu_groups/7")
	b.file(dev+"/nvme/nvme0/serial", "S\n")
	b.file("sys/block/nvme0n1/dev", "259:0\n")
	b.file("sys/block/nvme0n1/nvme0n1p1/dev", "259:1\n")
	b.file("sys/block/nvme0n1/nvme0n1p1/partition", "1\n")
	b.file("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
	b.file("proc/swaps", "Filename Type Size Used Priority\n")
	return b
}

func (b tree) file(path, text string) {
	b.t.Helper()
	p := filepath.Join(b.root, path)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b tree) link(path, target string) {
	b.t.Helper()
	if err := os.Symlink(target, filepath.Join(b.root, path)); err != nil {
		b.t.Fatal(err)
	}
}

func (b tree) bus() pci.Bus { return pci.Bus{Root: b.root} }

func (b tree) disk(name string, size int64, at map[int64][]byte) {
	b.t.Helper()
	b.file("dev/"+name, "")
	p := filepath.Join(b.root, "dev", name)
	if err := os.Truncate(p, size); err != nil {
		b.t.Fatal(err)
	}
	f, err := os.OpenFile(p, os.O_WRONLY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	for off, data := range at {
		if _, err := f.WriteAt(data, off); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestLookup(t *testing.T) {
	b := newTree(t)
	for _, spelling := range []string{"01:00.0", address} {
		f, err := b.bus().Lookup(spelling)
		if err != nil {
			t.Fatal(err)
		}
		if f.Address != address || f.Vendor != 0x8086 || f.Class != pci.ClassNVMe || f.Driver != "nvme" || f.Group != "7" || f.NUMA != 1 {
			t.Errorf("%+v", f)
		}
	}
	for _, bad := range []string{"", "1:0.0", "0000:01:00.8", "../../etc", "0000:01:00"} {
		if _, err := b.bus().Lookup(bad); !errors.Is(err, pci.ErrAddress) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := b.bus().Lookup("0000:02:00.0"); !errors.Is(err, pci.ErrNoDevice) {
		t.Error(err)
	}
	l, err := b.bus().List(pci.ClassNVMe)
	if err != nil || len(l) != 1 {
		t.Errorf("%v %v", l, err)
	}
}

func TestUses(t *testing.T) {
	md := binary.LittleEndian.AppendUint32(nil, 0xa92b4efc)
	zfs := binary.LittleEndian.AppendUint64(nil, 0x00bab10c)
	lvm := make([]byte, 32)
	copy(lvm, "LABELONE")
	copy(lvm[24:], "LVM2 001")
	for name, c := range map[string]struct {
		make func(b tree)
		want []pci.Reason
	}{
		"free": {func(tree) {}, nil},
		"mounted": {func(b tree) {
			b.file("proc/self/mountinfo", "30 1 259:1 / /data rw shared:1 - xfs /dev/nvme0n1p1 rw\n")
		}, []pci.Reason{pci.Mounted}},
		"root":             {func(b tree) { b.file("proc/self/mountinfo", "30 1 259:1 / / rw - xfs /dev/nvme0n1p1 rw\n") }, []pci.Reason{pci.Root}},
		"btrfs by source":  {func(b tree) { b.file("proc/self/mountinfo", "30 1 0:33 / /b rw - btrfs /dev/nvme0n1 rw\n") }, []pci.Reason{pci.Mounted}},
		"swap":             {func(b tree) { b.file("proc/swaps", "Filename\n/dev/nvme0n1p1 partition 1 0 -2\n") }, []pci.Reason{pci.Swap}},
		"held":             {func(b tree) { b.file("sys/block/nvme0n1/holders/dm-0/x", "") }, []pci.Reason{pci.Held}},
		"held and mounted": {heldAndMounted, []pci.Reason{pci.Held, pci.Mounted}},
		"lvm":              {func(b tree) { b.disk("nvme0n1", 1<<20, map[int64][]byte{512: lvm}) }, []pci.Reason{pci.LVM}},
		"md 1.2":           {func(b tree) { b.disk("nvme0n1p1", 1<<20, map[int64][]byte{4096: md}) }, []pci.Reason{pci.RAID}},
		"md 1.0":           {func(b tree) { b.disk("nvme0n1", 1<<20, map[int64][]byte{1<<20 - 8192: md}) }, []pci.Reason{pci.RAID}},
		"md 0.90":          {func(b tree) { b.disk("nvme0n1", 1<<20, map[int64][]byte{1<<20 - 65536: md}) }, []pci.Reason{pci.RAID}},
		"zfs":              {func(b tree) { b.disk("nvme0n1", 4<<20, map[int64][]byte{4<<20 - 128<<10: zfs}) }, []pci.Reason{pci.ZFS}},
		"zeroes":           {func(b tree) { b.disk("nvme0n1", 4<<20, nil) }, nil},
		"group":            {func(b tree) { b.file("sys/kernel/iommu_groups/7/devices/0000:01:00.1/class", "0x020000\n") }, []pci.Reason{pci.Group}},
		"group of bridge":  {func(b tree) { b.file("sys/kernel/iommu_groups/7/devices/0000:00:01.0/class", "0x060400\n") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTree(t)
			c.make(b)
			uses, err := b.bus().Uses(address)
			if err != nil {
				t.Fatal(err)
			}
			var got []pci.Reason
			for _, u := range uses {
				got = append(got, u.Reason)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", uses, c.want)
			}
		})
	}
}

func heldAndMounted(b tree) {
	b.file("sys/block/nvme0n1/holders/dm-0/x", "")
	b.file("sys/block/dm-0/dev", "253:0\n")
	b.file("proc/self/mountinfo", "30 1 253:0 / /home rw - ext4 /dev/mapper/vg-home rw\n")
}

// What is mounted cannot be taken by any name; what is only a label can.
func TestBindRefuses(t *testing.T) {
	b := newTree(t)
	b.file("proc/self/mountinfo", "30 1 259:1 / /data rw - xfs /dev/nvme0n1p1 rw\n")
	err := b.bus().Bind(address, pci.Mounted, pci.Held, pci.LVM)
	if !errors.Is(err, pci.ErrInUse) || !strings.Contains(err.Error(), "mounted at /data") {
		t.Error(err)
	}
	b = newTree(t)
	b.file("sys/block/nvme0n1/holders/dm-0/x", "")
	err = b.bus().Bind(address)
	if !errors.Is(err, pci.ErrInUse) || !strings.Contains(err.Error(), `allow "held" by name`) {
		t.Error(err)
	}
	for _, p := range []string{"sys/bus/pci/devices/" + address + "/driver_override", "sys/bus/pci/drivers/nvme/unbind"} {
		text, err := os.ReadFile(filepath.Join(b.root, p))
		if err != nil || strings.Contains(string(text), "vfio") || strings.Contains(string(text), "01:00") {
			t.Errorf("%s was written: %q, %v", p, text, err)
		}
	}
}

func TestBindWithoutIOMMU(t *testing.T) {
	b := newTree(t)
	if err := os.Remove(filepath.Join(b.root, "sys/bus/pci/devices", address, "iommu_group")); err != nil {
		t.Fatal(err)
	}
	if err := b.bus().Bind(address); !errors.Is(err, pci.ErrNoIOMMU) || !strings.Contains(err.Error(), "intel_iommu=on") {
		t.Error(err)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"0000:01:00.0", "01:00.7", "10000:e1:00.0", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := pci.ParseAddress(s)
		if err != nil {
			return
		}
		if again, err := pci.ParseAddress(a); err != nil || again != a {
			t.Errorf("%q: %q, then %q, %v", s, a, again, err)
		}
	})
}
