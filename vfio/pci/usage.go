package pci

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Reason is why a function should not be taken away from its driver.
type Reason string

// Reasons. The first three cannot be overridden.
const (
	Mounted Reason = "mounted"
	Swap    Reason = "swap"
	Root    Reason = "root"
	Held    Reason = "held" // by device mapper or MD: something is assembled on it
	RAID    Reason = "raid" // an MD superblock
	LVM     Reason = "lvm"  // an LVM physical volume
	ZFS     Reason = "zfs"  // a ZFS label
	Group   Reason = "group"
)

// Overridable says whether naming the reason is enough.
func (r Reason) Overridable() bool { return r != Mounted && r != Swap && r != Root }

// Use is one thing that a function is used for.
type Use struct {
	Reason Reason
	Device string // block device, or PCI function for Group
	Detail string
}

func (u Use) String() string { return fmt.Sprintf("%s: %s", u.Device, u.Detail) }

// Uses looks at everything that would be cut off if the function changed drivers.
func (b Bus) Uses(address string) ([]Use, error) {
	f, err := b.Lookup(address)
	if err != nil {
		return nil, err
	}
	var uses []Use
	for _, p := range f.Peers {
		uses = append(uses, Use{Group, p, fmt.Sprintf("shares IOMMU group %s with %s", f.Group, f.Address)})
	}
	disks, err := b.Namespaces(f.Address)
	if err != nil {
		return nil, err
	}
	for _, d := range disks {
		for _, part := range b.partitions(d) {
			u, err := b.blockUses(part)
			if err != nil {
				return nil, err
			}
			uses = append(uses, u...)
		}
	}
	return uses, nil
}

// partitions is a disk and its partitions, as paths below /sys/block.
func (b Bus) partitions(disk string) []string {
	out := []string{disk}
	entries, err := os.ReadDir(b.path("sys/block", disk))
	if err != nil {
		return out
	}
	for _, e := range entries {
		if _, err := os.Stat(b.path("sys/block", disk, e.Name(), "partition")); err == nil {
			out = append(out, filepath.Join(disk, e.Name()))
		}
	}
	return out
}

func (b Bus) blockUses(part string) ([]Use, error) {
	name := filepath.Base(part)
	var uses []Use
	holders, err := os.ReadDir(b.path("sys/block", part, "holders"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, h := range holders {
		uses = append(uses, Use{Held, name, "held by " + h.Name()})
		// What is mounted or swapped to through the holder counts as well.
		uses = append(uses, b.mounts(h.Name(), name)...)
	}
	uses = append(uses, b.mounts(part, name)...)
	sig, err := b.signatures(name)
	if err != nil {
		return nil, err
	}
	return append(uses, sig...), nil
}

// mounts looks for the device number in the mount table and for the name in the swap table.
func (b Bus) mounts(part, as string) []Use {
	var uses []Use
	if dev, err := os.ReadFile(b.path("sys/block", part, "dev")); err == nil {
		number := strings.TrimSpace(string(dev))
		for _, m := range b.mountTable() {
			if m.device != number && m.source != "/dev/"+filepath.Base(part) {
				continue
			}
			r := Mounted
			if m.point == "/" {
				r = Root
			}
			uses = append(uses, Use{r, as, "mounted at " + m.point})
		}
	}
	swaps, err := os.ReadFile(b.path("proc/swaps"))
	if err != nil {
		return uses
	}
	for line := range strings.Lines(string(swaps)) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "/dev/"+filepath.Base(part) {
			uses = append(uses, Use{Swap, as, "is swap space"})
		}
	}
	return uses
}

type mount struct{ device, point, source string }

// mountTable is /proc/self/mountinfo: major:minor is the third field, the mount point the fifth, the source comes
// second after a lone hyphen. proc(5)
func (b Bus) mountTable() []mount {
	text, err := os.ReadFile(b.path("proc/self/mountinfo"))
	if err != nil {
		return nil
	}
	var out []mount
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		m := mount{device: f[2], point: f[4]}
		for i, s := range f {
			if s == "-" && i+2 < len(f) {
				m.source = f[i+2]
			}
		}
		out = append(out, m)
	}
	return out
}

// signatures reads what a member of an array or pool has written on itself, assembled or not.
func (b Bus) signatures(name string) ([]Use, error) {
	f, err := os.Open(b.path("dev", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for RAID, LVM and ZFS on %s: %w", name, err)
	}
	defer f.Close()
	size, err := f.Seek(0, 2)
	if err != nil {
		return nil, err
	}
	var uses []Use
	for _, s := range []struct {
		reason Reason
		detail string
		found  func(*os.File, int64) bool
	}{
		{LVM, "is an LVM physical volume", isLVM}, {RAID, "is a member of an MD RAID", isMD}, {ZFS, "is a member of a ZFS pool", isZFS},
	} {
		if s.found(f, size) {
			uses = append(uses, Use{s.reason, name, s.detail})
		}
	}
	return uses, nil
}

func readAt(f *os.File, off int64, n int) []byte {
	b := make([]byte, n)
	if off < 0 {
		return b
	}
	if _, err := f.ReadAt(b, off); err != nil {
		return make([]byte, n) // beyond the end: no signature
	}
	return b
}

// isLVM looks for the label in the first four sectors. lvm2 lib/label: "LABELONE", type "LVM2 001"
func isLVM(f *os.File, _ int64) bool {
	b := readAt(f, 0, 2048)
	for s := 0; s < 2048; s += 512 {
		if bytes.Equal(b[s:s+8], []byte("LABELONE")) && bytes.Equal(b[s+24:s+32], []byte("LVM2 001")) {
			return true
		}
	}
	return false
}

// isMD looks for the superblock of versions 0.90, 1.0 (both near the end), 1.1 and 1.2. md(4)
func isMD(f *os.File, size int64) bool {
	const magic = 0xa92b4efc
	for _, off := range []int64{0, 4096, (size - 8192) &^ 4095, size&^65535 - 65536} {
		if binary.LittleEndian.Uint32(readAt(f, off, 4)) == magic {
			return true
		}
	}
	return false
}

// isZFS looks for an uberblock in the ring of any of the four labels. ZFS On-Disk Specification, chapter 1
func isZFS(f *os.File, size int64) bool {
	const label, ring, magic = 256 << 10, 128 << 10, 0x00bab10c
	end := size &^ (label - 1)
	for _, at := range []int64{0, label, end - 2*label, end - label} {
		b := readAt(f, at+ring, label-ring)
		for i := 0; i < len(b); i += 1024 {
			if binary.LittleEndian.Uint64(b[i:]) == magic || binary.BigEndian.Uint64(b[i:]) == magic {
				return true
			}
		}
	}
	return false
}
