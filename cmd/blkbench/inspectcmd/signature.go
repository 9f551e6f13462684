package inspectcmd

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

var (
	be = binary.BigEndian
	le = binary.LittleEndian
)

// signature is how a format is known.
type signature struct {
	format string
	off    int // bytes from the start, or from the end of the file where tail is set
	text   string
	tail   bool
	also   func(head []byte) bool // may be nil
}

// The signatures are those that the formats' own documents and readers give.
var signatures = []signature{
	{format: "qcow2", text: "QFI\xfb", also: func(b []byte) bool { return word(b, 4, be) >= 2 }},
	{format: "qcow", text: "QFI\xfb", also: func(b []byte) bool { return word(b, 4, be) == 1 }},
	{format: "qed", text: "QED\x00"},
	{format: "luks", text: "LUKS\xba\xbe"},
	{format: "vmdk", text: "KDMV"},
	{format: "vmdk", text: "COWD"},
	{format: "vmdk", text: "# Disk DescriptorFile"},
	{format: "vhdx", text: "vhdxfile"},
	{format: "vpc", text: "conectix"},
	{format: "vpc", text: "conectix", tail: true},
	{format: "vdi", off: 0x40, text: "\x7f\x10\xda\xbe"},
	{format: "parallels", text: "WithoutFreeSpace"},
	{format: "parallels", text: "WithouFreSpacExt"},
	{format: "bochs", text: "Bochs Virtual HD Image\x00"},
	{format: "cloop", text: "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"},
	{format: "dmg", text: "koly", tail: true},
	{format: "iso", off: 0x8001, text: "CD001"},
}

func word(b []byte, off int, order binary.ByteOrder) uint32 {
	if off+4 > len(b) {
		return 0
	}
	return order.Uint32(b[off:])
}

func long(b []byte, off int, order binary.ByteOrder) uint64 {
	if off+8 > len(b) {
		return 0
	}
	return order.Uint64(b[off:])
}

func (im *image) has(s *signature) bool {
	b := im.head
	if s.tail {
		b = im.tail
	}
	return s.off < len(b) && bytes.HasPrefix(b[s.off:], []byte(s.text)) && (s.also == nil || s.also(im.head))
}

// examine finds the format and looks into it. It reports whether the format is understood well enough for a verdict.
func (im *image) examine() (examined bool, err error) {
	r := &im.report
	headed := false // the first format found begins the file, so that a partition table cannot be the content of a disk
	for i := range signatures {
		s := &signatures[i]
		if !im.has(s) || slices.Contains(r.Formats, s.format) {
			continue
		}
		headed = headed || len(r.Formats) == 0 && !s.tail && s.format != "iso"
		r.Formats = append(r.Formats, s.format)
	}
	im.partitions()
	switch {
	case len(r.Formats) == 0:
		r.Formats = []string{"raw"}
	case len(r.Formats) > 1:
		r.grave("polyglot", "the same bytes are %s", strings.Join(r.Formats, " and "))
	}
	r.Format = r.Formats[0]
	if headed && len(r.Contents) > 0 {
		r.grave("polyglot", "the file begins as %s, and has a %s besides", r.Format, strings.Join(r.Contents, " and a "))
	}
	look := map[string]func() (bool, error){
		"raw": im.plain, "iso": im.plain, "qcow2": im.qcow2, "qcow": im.qcow, "qed": im.qed, "vmdk": im.vmdk, "vpc": im.vpc, "vdi": im.vdi,
		"luks": im.luks,
	}[r.Format]
	if look == nil {
		r.note("unexamined", "%s is known by its signature only", r.Format)
		return false, nil
	}
	return look()
}

// partitions recognises what a disk begins with.
func (im *image) partitions() {
	b := im.head
	if len(b) >= 512 && b[510] == 0x55 && b[511] == 0xaa {
		im.report.Contents = append(im.report.Contents, "boot sector (MBR)")
	}
	for _, at := range []int{512, 4096} {
		if at+8 <= len(b) && string(b[at:at+8]) == "EFI PART" {
			im.report.Contents = append(im.report.Contents, "partition table (GPT)")
		}
	}
}

func (im *image) plain() (bool, error) {
	im.claims(im.size)
	return true, nil
}

// claims notes the virtual size.
func (im *image) claims(size int64) { im.report.VirtualSize = &size }

// claimsUnsigned notes a virtual size that the image has as an unsigned number.
func (im *image) claimsUnsigned(size uint64) {
	if size > 1<<63-1 {
		im.report.grave("size", "the virtual size is %d bytes, more than any reader counts", size)
		return
	}
	im.claims(int64(size))
}

// qcow is version 1. QEMU docs/interop/qcow.txt, "Header".
func (im *image) qcow() (bool, error) {
	b := im.head
	im.claimsUnsigned(long(b, 24, be))
	if off, n := long(b, 8, be), word(b, 16, be); off != 0 {
		im.referTo("backing", off, n)
	}
	if method := word(b, 36, be); method != 0 {
		im.report.Encryption = "aes"
	}
	im.report.note("unexamined", "the tables of a qcow image are not looked at")
	return false, nil
}

// qed. QEMU docs/interop/qed_spec.rst, "Header".
func (im *image) qed() (bool, error) {
	b := im.head
	const backing, rawBacking, needCheck = 1, 4, 2
	features := long(b, 16, le)
	im.claimsUnsigned(long(b, 48, le))
	im.report.Dirty = features&needCheck != 0
	if features&backing != 0 {
		im.referTo("backing", uint64(word(b, 56, le)), word(b, 60, le))
		if features&rawBacking != 0 {
			im.report.References[len(im.report.References)-1].Format = "raw"
		}
	}
	if unknown := features &^ (backing | rawBacking | needCheck); unknown != 0 {
		im.report.grave("feature", "unknown incompatible features %#x", unknown)
	}
	im.report.note("unexamined", "the tables of a qed image are not looked at")
	return false, nil
}

// referTo notes a reference whose name is inside the header.
func (im *image) referTo(kind string, off uint64, n uint32) {
	if off > uint64(len(im.head)) || uint64(n) > min(4096, uint64(len(im.head))-off) {
		im.report.grave("header", "the name of the %s file is outside the header", kind)
		return
	}
	im.report.refer(kind, string(im.head[off:off+uint64(n)]), "")
}

// vpc. Virtual Hard Disk Image Format Specification, "Hard Disk Footer Format".
func (im *image) vpc() (bool, error) {
	b := im.tail
	if bytes.HasPrefix(im.head, []byte("conectix")) {
		b = im.head
	}
	const fixed, dynamic, differencing = 2, 3, 4
	im.claimsUnsigned(long(b, 48, be))
	switch kind := word(b, 60, be); kind {
	case fixed:
		if v := im.report.VirtualSize; v != nil && *v > im.size {
			im.report.grave("size", "a fixed image of %d bytes in a file of %d", *v, im.size)
		}
		return true, nil
	case dynamic:
	case differencing:
		im.report.refer("parent", utf16Name(im.head, 512+64), "vpc")
	default:
		im.report.grave("header", "disk type %d", kind)
	}
	im.report.note("unexamined", "the tables of a vpc image are not looked at")
	return false, nil
}

// utf16Name reads a big-endian name of up to 256 characters.
func utf16Name(b []byte, off int) string {
	var name strings.Builder
	for i := off; i+2 <= len(b) && i < off+512; i += 2 {
		c := be.Uint16(b[i:])
		if c == 0 {
			break
		}
		name.WriteRune(rune(c))
	}
	return name.String()
}

// vdi. The header's fields by their offsets.
func (im *image) vdi() (bool, error) {
	const difference = 4
	b := im.head
	im.claimsUnsigned(long(b, 0x170, le))
	if word(b, 0x4c, le) == difference {
		im.report.refer("parent", "(by UUID)", "vdi")
	}
	im.report.note("unexamined", "the tables of a vdi image are not looked at")
	return false, nil
}

func (im *image) luks() (bool, error) {
	im.report.Encryption = "luks"
	return true, nil
}

// vmdk. Virtual Disk Format 5.0: the header of a sparse extent, and the descriptor, which is text.
func (im *image) vmdk() (bool, error) {
	b := im.head
	var descriptor []byte
	switch {
	case bytes.HasPrefix(b, []byte("KDMV")):
		im.claimsUnsigned(min(long(b, 12, le), 1<<54) * 512)
		off, n := long(b, 28, le)*512, long(b, 36, le)*512
		if off != 0 && n != 0 {
			if off > uint64(len(b)) || n > uint64(len(b))-off {
				im.report.grave("header", "the descriptor is outside the header")
			} else {
				descriptor = b[off : off+n]
			}
		}
	case bytes.HasPrefix(b, []byte("#")):
		descriptor = b[:min(len(b), 64<<10)]
	}
	im.descriptor(string(bytes.TrimRight(descriptor, "\x00")))
	im.report.note("unexamined", "the tables of a vmdk image are not looked at")
	return false, nil
}

// descriptor reads the names of extents and of the parent.
func (im *image) descriptor(text string) {
	embedded := bytes.HasPrefix(im.head, []byte("KDMV"))
	extents := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if hint, ok := strings.CutPrefix(line, "parentFileNameHint="); ok {
			im.report.refer("parent", strings.Trim(hint, `"`), "vmdk")
			continue
		}
		access, _, _ := strings.Cut(line, " ")
		if access != "RW" && access != "RDONLY" && access != "NOACCESS" {
			continue
		}
		_, name, quoted := strings.Cut(line, `"`)
		if name, _, _ = strings.Cut(name, `"`); !quoted {
			continue
		}
		extents++
		// The one extent of an image with an embedded descriptor is the file itself, whatever it is called.
		if !embedded || extents > 1 || strings.ContainsRune(name, '/') || !strings.Contains(line, " SPARSE ") {
			im.report.refer("extent", name, "")
		}
	}
	if id, found := cutLine(text, "parentCID="); found && !strings.EqualFold(id, "ffffffff") && len(im.report.References) == 0 {
		im.report.grave("reference", "the image has a parent (%s) that it does not name", strconv.Quote(id))
	}
}

// cutLine returns the rest of the line that begins with key.
func cutLine(text, key string) (value string, found bool) {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key); ok {
			return v, true
		}
	}
	return "", false
}
