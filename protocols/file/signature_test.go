package file

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine/enginetest"
)

// blank is an empty disk of n bytes.
func blank(n int64) *disk {
	return &disk{size: n, head: make([]byte, min(n, headLen)), tail: make([]byte, min(n, tailLen))}
}

// put writes bytes at an offset of both ends that hold it.
func (d *disk) put(off int64, p string) {
	for i := range len(p) {
		at := off + int64(i)
		if at < int64(len(d.head)) {
			d.head[at] = p[i]
		}
		if start := d.size - int64(len(d.tail)); at >= start {
			d.tail[at-start] = p[i]
		}
	}
}

func le32(v uint32) string { return string(binary.LittleEndian.AppendUint32(nil, v)) }

// surroundings make the checks around weak magic numbers succeed.
var surroundings = map[string]func(d *disk){
	"ext2/3/4 file system": func(d *disk) { d.put(0x400, le32(1000)+le32(4000)); d.put(0x418, le32(2)) },
	"NILFS2 file system":   func(d *disk) { d.put(0x400, le32(2)); d.put(0x408, "\x00\x01") },
	"FAT file system":      func(d *disk) { d.put(11, "\x00\x02\x08"); d.put(16, "\x02") },
	"HFS file system":      func(d *disk) { d.put(0x414, "\x00\x00\x10\x00") },
	"MBR partition table":  func(d *disk) { d.put(0x1be, "\x80\x00\x00\x00\x83\x00\x00\x00"+le32(2048)+le32(4096)) },
	"Sun disk label":       func(d *disk) { d.put(0x80, "\xda\xbe") },
}

func TestEveryMagicIsFound(t *testing.T) {
	enginetest.Long(t)
	for _, size := range []int64{64 << 20, 3<<20 + 512, 2 << 20} {
		for _, m := range magics {
			d := blank(size)
			off := m.off
			if off < 0 {
				off += size
			}
			d.put(off, m.text)
			if strings.HasPrefix(m.what, "LVM2") {
				d.put(off-24, "LABELONE")
			}
			if f := surroundings[m.what]; f != nil {
				if got := d.signatures(); m.also != nil && len(got) != 0 {
					t.Errorf("%s: its magic alone is taken for %v", m.what, got)
				}
				f(d)
			}
			got := d.signatures()
			if len(got) != 1 || got[0].What != m.what || got[0].Off != off {
				t.Errorf("%d bytes with %s at %#x: %v", size, m.what, off, got)
			}
		}
	}
}

func TestWhatHasNoFixedPlaceIsFound(t *testing.T) {
	for _, size := range []int64{64 << 20, 64<<20 + 12345*512} {
		for what, put := range map[string]func(d *disk) int64{
			"RAID member (md 0.90)": func(d *disk) int64 {
				off := size/65536*65536 - 65536
				d.put(off, string(mdMagic))
				return off
			},
			"RAID member (md 1.0)": func(d *disk) int64 {
				off := (size - 8192) / 4096 * 4096
				d.put(off, string(mdMagic))
				return off
			},
			"ZFS pool member": func(d *disk) int64 {
				off := size/262144*262144 - 262144 + 131072 + 5*1024
				d.put(off, string(binary.BigEndian.AppendUint64(nil, 0x00bab10c)))
				return off
			},
			"DRBD metadata": func(d *disk) int64 {
				off := size/4096*4096 - 4096
				d.put(off+60, "\x83\x74\x02\x6d")
				return off
			},
		} {
			d := blank(size)
			off := put(d)
			if got := d.signatures(); len(got) != 1 || got[0].What != what || got[0].Off != off {
				t.Errorf("%d bytes with %s at %#x: %v", size, what, off, got)
			}
		}
	}
}

func TestBlankAndRandomDisksHaveNothing(t *testing.T) {
	for _, size := range []int64{0, 1, 511, 512, 4096, 65536, 1 << 20, 32 << 20} {
		if got := blank(size).signatures(); len(got) != 0 {
			t.Errorf("%d bytes of zeroes: %v", size, got)
		}
		d := blank(size)
		copy(d.head, randomBytes(len(d.head), uint64(size)+1))
		copy(d.tail, randomBytes(len(d.tail), uint64(size)+2))
		if got := d.signatures(); len(got) != 0 {
			t.Errorf("%d random bytes: %v", size, got)
		}
	}
}

// What the tools of this machine make is recognised, and wipefs agrees with us about what is there.
func TestPeerToolsAreRecognised(t *testing.T) {
	enginetest.Long(t)
	for _, c := range []struct {
		want string
		tool []string
	}{
		{"ext2/3/4 file system", []string{"mkfs.ext4", "-q", "-F"}},
		{"XFS file system", []string{"mkfs.xfs", "-q", "-f"}},
		{"swap area", []string{"mkswap", "-q"}},
		{"Btrfs file system", []string{"mkfs.btrfs", "-q", "-f"}},
		{"FAT file system", []string{"mkfs.vfat"}},
		{"F2FS file system", []string{"mkfs.f2fs", "-q"}},
		{"LUKS encryption", []string{"cryptsetup", "-q", "luksFormat", "--key-file", "/dev/zero", "--keyfile-size", "32"}},
	} {
		t.Run(c.tool[0], func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(512 << 20); err != nil {
				t.Fatal(err)
			}
			mustRun(t, c.tool[0], append(c.tool[1:], path)...)
			d, err := readEnds(int(f.Fd()), 512<<20)
			if err != nil {
				t.Fatal(err)
			}
			got := d.signatures()
			if len(got) == 0 || got[0].What != c.want {
				t.Errorf("found %v, want %s", got, c.want)
			}
		})
	}
}

func FuzzSignatures(f *testing.F) {
	for _, m := range magics {
		if m.off >= 0 && m.off < 4096 {
			p := make([]byte, 8192)
			copy(p[m.off:], m.text)
			f.Add(p[:4096], p[4096:], int64(1<<30))
		}
	}
	f.Add([]byte{}, []byte{}, int64(0))
	f.Add([]byte("QFI\xfb"), []byte("conectix"), int64(12))
	f.Fuzz(func(t *testing.T, head, tail []byte, size int64) {
		if size < 0 || int64(len(head)) > size || int64(len(tail)) > size {
			return
		}
		d := &disk{head: head, tail: tail, size: size}
		for _, s := range d.signatures() {
			if s.Off < 0 || s.Off >= size || s.What == "" {
				t.Errorf("%+v on a disk of %d bytes", s, size)
			}
		}
	})
}
