package file

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Signature is something that was recognised on a device.
type Signature struct {
	What string // "ext2/3/4 file system", "GPT partition table"
	Off  int64  // bytes from the start of the device
}

func (s Signature) String() string { return fmt.Sprintf("%s at %#x", s.What, s.Off) }

// How much of a device's ends the signatures need.
const (
	headLen = 1<<20 + 64<<10 // VMFS is the furthest, at 1 MiB
	tailLen = 1 << 20        // the ZFS labels, the furthest from the end
)

// magic is a string at a fixed place.
type magic struct {
	what string
	off  int64 // from the start; negative: from the end
	text string
	also func(d *disk, at int64) bool // says whether what surrounds the string makes sense; may be nil
}

// Magic numbers; blkid(8) and the projects' own headers are the sources. Numbers are written as bytes on
// disk.
var magics = []magic{
	{"LUKS encryption", 0, "LUKS\xba\xbe", nil},
	{"LUKS2 encryption (second header)", 0x4000, "SKUL\xba\xbe", nil},
	{"LUKS2 encryption (second header)", 0x8000, "SKUL\xba\xbe", nil},
	{"LUKS2 encryption (second header)", 0x10000, "SKUL\xba\xbe", nil},
	{"LUKS2 encryption (second header)", 0x20000, "SKUL\xba\xbe", nil},
	{"LUKS2 encryption (second header)", 0x40000, "SKUL\xba\xbe", nil},
	{"LUKS2 encryption (second header)", 0x80000, "SKUL\xba\xbe", nil},
	{"LUKS2 encryption (second header)", 0x100000, "SKUL\xba\xbe", nil},
	{"BitLocker encryption", 3, "-FVE-FS-", nil},
	{"ext2/3/4 file system", 0x438, "\x53\xef", (*disk).ext},
	{"XFS file system", 0, "XFSB", nil},
	{"XFS log", 0, "\xfe\xed\xba\xbe", nil},
	{"Btrfs file system", 0x10040, "_BHRfS_M", nil},
	{"bcachefs file system", 0x1018, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", nil},
	{"F2FS file system", 0x400, "\x10\x20\xf5\xf2", nil},
	{"NILFS2 file system", 0x406, "\x34\x34", (*disk).nilfs},
	{"JFS file system", 0x8000, "JFS1", nil},
	{"ReiserFS file system", 0x10034, "ReIsEr", nil},
	{"ReiserFS file system", 0x2034, "ReIsErFs", nil},
	{"Reiser4 file system", 0x10000, "ReIsEr4", nil},
	{"GFS2 file system", 0x10000, "\x01\x16\x19\x70", nil},
	{"OCFS2 file system", 0x400, "OCFSV2", nil},
	{"OCFS2 file system", 0x800, "OCFSV2", nil},
	{"OCFS2 file system", 0x1000, "OCFSV2", nil},
	{"OCFS2 file system", 0x2000, "OCFSV2", nil},
	{"EROFS file system", 0x400, "\xe2\xe1\xf5\xe0", nil},
	{"SquashFS file system", 0, "hsqs", nil},
	{"NTFS file system", 3, "NTFS    ", nil},
	{"exFAT file system", 3, "EXFAT   ", nil},
	{"FAT file system", 0x36, "FAT", (*disk).fat},
	{"FAT file system", 0x52, "FAT32   ", (*disk).fat},
	{"APFS container", 0x20, "NXSB", nil},
	{"HFS file system", 0x400, "BD", (*disk).hfs},
	{"HFS+ file system", 0x400, "H+\x00\x04", nil},
	{"HFSX file system", 0x400, "HX\x00\x05", nil},
	{"ISO 9660 file system", 0x8001, "CD001", nil},
	{"UDF file system", 0x8001, "BEA01", nil},
	{"VMFS volume", 0x100000, "\x0d\xd0\x01\xc0", nil},
	{"UFS file system", 0x255c, "\x54\x19\x01\x00", nil},
	{"UFS file system", 0x1055c, "\x19\x01\x54\x19", nil},
	{"swap area", 0xff6, "SWAPSPACE2", nil},
	{"swap area", 0x1ff6, "SWAPSPACE2", nil},
	{"swap area", 0x3ff6, "SWAPSPACE2", nil},
	{"swap area", 0x7ff6, "SWAPSPACE2", nil},
	{"swap area", 0xfff6, "SWAPSPACE2", nil},
	{"swap area", 0xff6, "SWAP-SPACE", nil},
	{"hibernation image", 0xff6, "S1SUSPEND", nil},
	{"hibernation image", 0xff6, "ULSUSPEND", nil},
	{"LVM2 physical volume", 0x018, "LVM2 001", (*disk).lvm},
	{"LVM2 physical volume", 0x218, "LVM2 001", (*disk).lvm},
	{"LVM2 physical volume", 0x418, "LVM2 001", (*disk).lvm},
	{"LVM2 physical volume", 0x618, "LVM2 001", (*disk).lvm},
	{"LVM snapshot store", 0, "SnAp", nil},
	{"RAID member (md 1.1)", 0, "\xfc\x4e\x2b\xa9\x01\x00\x00\x00", nil},
	{"RAID member (md 1.2)", 0x1000, "\xfc\x4e\x2b\xa9\x01\x00\x00\x00", nil},
	{"RAID member (DDF)", -0x200, "\xde\x11\xde\x11", nil},
	{"RAID member (DDF)", -0x200, "\x11\xde\x11\xde", nil},
	{"RAID member (Intel)", -0x400, "Intel Raid ISM Cfg Sig. ", nil},
	{"RAID member (Intel)", -0x2000, "Intel Raid ISM Cfg Sig. ", nil},
	{"bcache or bcachefs device", 0x1018, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", nil},
	{"VDO volume", 0, "dmvdo001", nil},
	{"dm-integrity volume", 0, "integrt\x00", nil},
	{"dm-verity hashes", 0, "verity\x00\x00", nil},
	{"Stratis pool", 0x204, "!Stra0tis\x86\xff\x02^\x41rh", nil},
	{"Ceph BlueStore", 0, "bluestore block device", nil},
	{"Oracle ASM disk", 0x20, "ORCLDISK", nil},
	{"SPDK blobstore", 0, "SPDKBLOB", nil},
	{"GPT partition table", 0x200, "EFI PART", nil},
	{"GPT partition table", 0x1000, "EFI PART", nil},
	{"GPT partition table (backup)", -0x200, "EFI PART", nil},
	{"GPT partition table (backup)", -0x1000, "EFI PART", nil},
	{"MBR partition table", 0x1fe, "\x55\xaa", (*disk).mbr},
	{"Apple partition map", 0x200, "PM\x00\x00", nil},
	{"BSD disk label", 0x200, "\x57\x45\x56\x82", nil},
	{"Sun disk label", 0x1fc, "\xda\xbe", (*disk).sun},
	{"qcow2 image", 0, "QFI\xfb", nil},
	{"VMDK image", 0, "KDMV", nil},
	{"VHDX image", 0, "vhdxfile", nil},
	{"VDI image", 0x40, "\x7f\x10\xda\xbe", nil},
	{"VHD image", 0, "conectix", nil},
	{"VHD image", -0x200, "conectix", nil},
	{"QED image", 0, "QED\x00", nil},
}

// disk is the two ends of a device: head from byte 0, tail to byte size. They overlap on a small one.
type disk struct {
	head, tail []byte
	size       int64
}

// at returns n bytes at off, or nil if the ends do not hold them.
func (d *disk) at(off int64, n int) []byte {
	end := off + int64(n)
	if off < 0 || n < 0 || end < off {
		return nil
	}
	if end <= int64(len(d.head)) {
		return d.head[off:end]
	}
	start := d.size - int64(len(d.tail))
	if off >= start && end <= d.size {
		return d.tail[off-start : end-start]
	}
	return nil
}

// signatures lists what is recognised, each kind once.
func (d *disk) signatures() []Signature {
	var found []Signature
	add := func(what string, off int64) {
		for _, f := range found {
			if f.What == what {
				return
			}
		}
		found = append(found, Signature{what, off})
	}
	for i := range magics {
		m := &magics[i]
		off := m.off
		if off < 0 {
			off += d.size
		}
		if p := d.at(off, len(m.text)); p == nil || string(p) != m.text {
			continue
		}
		if m.also == nil || m.also(d, off) {
			add(m.what, off)
		}
	}
	if off, ok := d.mdOld(); ok {
		add("RAID member (md 0.90)", off)
	}
	if off, ok := d.mdEnd(); ok {
		add("RAID member (md 1.0)", off)
	}
	if off, ok := d.zfs(); ok {
		add("ZFS pool member", off)
	}
	if off, ok := d.drbd(); ok {
		add("DRBD metadata", off)
	}
	return found
}

// ext looks at the fields around a magic of two bytes.
//
// Source: Linux fs/ext4/ext4.h "struct ext4_super_block".
func (d *disk) ext(int64) bool {
	s := d.at(0x400, 0x60)
	if s == nil {
		return false
	}
	inodes, blocks := binary.LittleEndian.Uint32(s[0:]), binary.LittleEndian.Uint32(s[4:])
	return inodes > 0 && blocks > 0 && binary.LittleEndian.Uint32(s[0x18:]) <= 6
}

// nilfs: revision 2 and the size of the superblock.
func (d *disk) nilfs(int64) bool {
	s := d.at(0x400, 12)
	return s != nil && binary.LittleEndian.Uint32(s) == 2 && binary.LittleEndian.Uint16(s[8:]) > 0
}

// fat looks at the BIOS parameter block: sector size, cluster size and number of tables.
//
// Source: Microsoft FAT specification 1.03, "Boot Sector and BPB Structure".
func (d *disk) fat(int64) bool {
	b := d.at(0, 512)
	if b == nil {
		return false
	}
	sector, cluster := binary.LittleEndian.Uint16(b[11:]), b[13]
	return sector >= 512 && sector&(sector-1) == 0 && cluster != 0 && cluster&(cluster-1) == 0 &&
		b[16] >= 1 && b[16] <= 2
}

// hfs: the allocation block size is a multiple of 512.
func (d *disk) hfs(int64) bool {
	b := d.at(0x400+20, 4)
	return b != nil && binary.BigEndian.Uint32(b) != 0 && binary.BigEndian.Uint32(b)%512 == 0
}

// lvm: the label header is 24 bytes before its type.
//
// Source: LVM2 lib/label/label.h "struct label_header".
func (d *disk) lvm(off int64) bool {
	return bytes.Equal(d.at(off-24, 8), []byte("LABELONE"))
}

// mbr tells a partition table from a boot sector: four entries with a sane flag, at least one in use.
func (d *disk) mbr(int64) bool {
	t := d.at(0x1be, 64)
	used := false
	for ; len(t) >= 16; t = t[16:] {
		if t[0]&0x7f != 0 {
			return false
		}
		used = used || (t[4] != 0 && binary.LittleEndian.Uint32(t[12:]) != 0)
	}
	return used
}

// sun: the label's words XOR to zero.
func (d *disk) sun(int64) bool {
	var x uint16
	for b := d.at(0, 512); len(b) >= 2; b = b[2:] {
		x ^= binary.BigEndian.Uint16(b)
	}
	return x == 0
}

var mdMagic = []byte{0xfc, 0x4e, 0x2b, 0xa9}

// mdOld finds a superblock of version 0.90: 64 KiB before the last multiple of 64 KiB.
//
// Source: Linux include/uapi/linux/raid/md_p.h "MD_NEW_SIZE_SECTORS".
func (d *disk) mdOld() (int64, bool) {
	off := d.size&^0xffff - 0x10000
	b := d.at(off, 4)
	return off, bytes.Equal(b, mdMagic) || bytes.Equal(b, []byte{0xa9, 0x2b, 0x4e, 0xfc})
}

// mdEnd finds a superblock of version 1.0: 8 KiB before the end, rounded down to 4 KiB.
//
// Source: Linux drivers/md/md.c "super_1_load".
func (d *disk) mdEnd() (int64, bool) {
	off := (d.size - 0x2000) &^ 0xfff
	return off, bytes.Equal(d.at(off, 4), mdMagic)
}

// zfs looks for uberblocks in the four labels of 256 KiB, two at either end.
//
// Source: OpenZFS include/sys/vdev_impl.h "vdev_label" and uberblock_impl.h "UBERBLOCK_MAGIC".
func (d *disk) zfs() (int64, bool) {
	const label = 256 << 10
	end := d.size &^ (label - 1)
	for _, at := range [...]int64{0, label, end - 2*label, end - label} {
		for off := at + 128<<10; off < at+label; off += 1 << 10 {
			switch b := d.at(off, 8); {
			case b == nil:
			case binary.LittleEndian.Uint64(b) == 0x00bab10c, binary.BigEndian.Uint64(b) == 0x00bab10c:
				return off, true
			}
		}
	}
	return 0, false
}

// drbd finds internal metadata of version 8 or 9 in the last 4 KiB.
//
// Source: drbd-utils user/shared/drbdmeta.c "struct md_on_disk_08".
func (d *disk) drbd() (int64, bool) {
	off := d.size&^0xfff - 0x1000
	switch b := d.at(off+60, 4); {
	case b == nil:
	case binary.BigEndian.Uint32(b)&^0xf == 0x83740260:
		return off, true
	}
	return 0, false
}
