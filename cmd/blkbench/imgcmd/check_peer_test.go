package imgcmd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// damage overwrites bytes of an image in both folders.
func (p peers) damage(t *testing.T, name string, off int64, b ...byte) {
	t.Helper()
	for _, dir := range []string{p.theirs, p.ours} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, off); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

const cluster = 64 << 10

// damages are what is done to an image of 64 KiB clusters: its header is cluster 0, refcount table and block are 1 and 2, L1 is 3, the
// first L2 table is 4.
var damages = map[string]func(t *testing.T, p peers){
	"clean":             func(*testing.T, peers) {},
	"leak":              func(t *testing.T, p peers) { p.damage(t, "a.q", 2*cluster+2*30, 0, 1) },
	"two leaks":         func(t *testing.T, p peers) { p.damage(t, "a.q", 2*cluster+2*30, 0, 1, 0, 2) },
	"refcount too low":  func(t *testing.T, p peers) { p.damage(t, "a.q", 2*cluster+2*5, 0, 0) },
	"refcount too high": func(t *testing.T, p peers) { p.damage(t, "a.q", 2*cluster+2*5, 0, 3) },
	"copied flag":       func(t *testing.T, p peers) { p.damage(t, "a.q", 4*cluster, 0) },
	"L2 entry outside":  func(t *testing.T, p peers) { p.damage(t, "a.q", 4*cluster, 0x80, 0, 0, 0x7f) },
	"L2 unaligned":      func(t *testing.T, p peers) { p.damage(t, "a.q", 4*cluster+6, 2) },
	"L1 unaligned":      func(t *testing.T, p peers) { p.damage(t, "a.q", 3*cluster+6, 2) },
	"L1 outside":        func(t *testing.T, p peers) { p.damage(t, "a.q", 3*cluster, 0x80, 0, 0, 0x7f) },
	"L2 reserved bit":   func(t *testing.T, p peers) { p.damage(t, "a.q", 4*cluster+7, 2) },
	"refblock outside":  func(t *testing.T, p peers) { p.damage(t, "a.q", 1*cluster+8, 0, 0, 0, 0, 0x10, 0, 0, 0) },
	"refblock unaligned": func(t *testing.T, p peers) {
		p.damage(t, "a.q", 1*cluster+8, 0, 0, 0, 0, 0, 1, 2, 0)
	},
	"dirty bit":   func(t *testing.T, p peers) { p.damage(t, "a.q", 72+7, 1) },
	"corrupt bit": func(t *testing.T, p peers) { p.damage(t, "a.q", 72+7, 2) },
	"unknown bit": func(t *testing.T, p peers) { p.damage(t, "a.q", 72+6, 2) },
	"no magic":    func(t *testing.T, p peers) { p.damage(t, "a.q", 0, 0) },
	"version":     func(t *testing.T, p peers) { p.damage(t, "a.q", 7, 9) },
}

func TestCheckFindsWhatThePeerFinds(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			p := prepare(t, "create -q -f qcow2 a.q 2M", "qemu-io -c 'write -P 1 0 256k' -c 'write -P 1 1M 64k' a.q")
			damage(t, p)
			exact := strings.Contains(name, "leak") || name == "clean" || name == "no magic" || name == "version" || name == "dirty bit" ||
				name == "corrupt bit"
			for _, line := range []string{"check a.q", "check --output=json -f qcow2 a.q", "check -r leaks a.q", "check -r all a.q", "check -q a.q", "check a.q"} {
				switch {
				case exact:
					p.same(t, line)
				case line == "check a.q":
					p.sameCode(t, line)
				default:
					// How often a repair runs over what it finds is each program's own.
					run(t, "peer", p.theirs, words(line)...)
					run(t, "qemu-img", p.ours, words(line)...)
				}
			}
			theirs, ours := run(t, "peer", p.theirs, "check", "a.q"), run(t, "peer", p.ours, "check", "a.q")
			if ours.code != theirs.code && ours.code != 0 {
				t.Errorf("after the repair the peer's check of our image ends with %d\n%s%s, of its own with %d", ours.code, ours.out, ours.err, theirs.code)
			}
		})
	}
}

func TestCheckSaysWhatThePeerSays(t *testing.T) {
	p := prepare(t, append(slices.Clone(mapImages), chainImages[1:]...)...)
	for _, line := range []string{
		"check base.raw", "check -f raw mid.q", "check nowhere", "check", "check a b", "check -r foo mid.q", "check -r", "check --output=xml mid.q",
		"check -T foo mid.q", "check -T none mid.q", "check --rep all mid.q", "check -q mid.q", "check mid.q", "check top.q", "check comp.q", "check pre.q",
		"check full.q", "check sub.q", "check data.q", "check v2.q", "check empty.q", "check odd.raw", "check -U mid.q", "check --output=json top.q",
		"check --output=json comp.q", "check --output=json -q comp.q", "check -r all top.q", "check --image-opts driver=qcow2,file.filename=top.q",
		"check o.q", "check broken.q", "check -r all broken.q", "check -U -r all o.q",
	} {
		p.same(t, line)
	}
}
