package vfio

import (
	"encoding/binary"
	"errors"
	"testing"
)

// regionBytes is a region info with one sparse area, as a server sends it.
func regionBytes(size, areaOff, areaSize uint64, next uint32) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 64)
	b = le.AppendUint32(b, regionFlagRead|regionFlagWrite|regionFlagMmap|regionFlagCaps)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, 32)
	b = le.AppendUint64(b, size)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint16(b, regionCapSparseMmap)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, next)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, areaOff)
	return le.AppendUint64(b, areaSize)
}

func TestParseRegion(t *testing.T) {
	r, err := parseRegion(regionBytes(0x4000, 0x1000, 0x1000, 0))
	if err != nil || len(r.areas) != 1 || r.size != 0x4000 {
		t.Fatalf("%+v %v", r, err)
	}
	for _, c := range []struct {
		off, n uint64
		want   bool
	}{{0x1000, 4, true}, {0x1ffc, 4, true}, {0x1ffd, 4, false}, {0, 4, false}, {^uint64(0), 4, false}, {0x1000, ^uint64(0), false}} {
		if _, ok := r.contains(c.off, c.n); ok != c.want {
			t.Errorf("%#x+%#x mappable: %v", c.off, c.n, ok)
		}
	}
	for name, b := range map[string][]byte{
		"area beyond the region": regionBytes(0x1000, 0x1000, 0x1000, 0),
		"area that wraps":        regionBytes(0x4000, 0x1000, ^uint64(0)-0xfff, 0),
		"loop":                   regionBytes(0x4000, 0x1000, 0x1000, 32),
		"chain out of the info":  regionBytes(0x4000, 0x1000, 0x1000, 4096),
		"short":                  make([]byte, 31),
	} {
		if _, err := parseRegion(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestIOVASpace(t *testing.T) {
	s := newIOVASpace([]span{{0x10000000, 0x1fffffff}, {0x1000000, 0x1ffffff}})
	a, err := s.alloc(0x800000, 0x200000)
	if err != nil || a != 0x1000000 {
		t.Fatalf("%#x %v", a, err)
	}
	b, err := s.alloc(0x800001, 0x200000) // does not fit behind a
	if err != nil || b != 0x10000000 {
		t.Fatalf("%#x %v", b, err)
	}
	c, err := s.alloc(0x1000, 0x1000)
	if err != nil || c != 0x1800000 {
		t.Fatalf("%#x %v", c, err)
	}
	if !s.free(a, 0x800000) || s.free(a, 0x800000) {
		t.Error("free is not once")
	}
	d, err := s.alloc(0x400000, 0x200000)
	if err != nil || d != 0x1000000 {
		t.Errorf("freed space is not used again: %#x %v", d, err)
	}
	if _, err := s.alloc(1<<40, 4096); err == nil {
		t.Error("a terabyte in 272 MiB")
	}
	top := newIOVASpace([]span{{0, ^uint64(0)}})
	if _, err := top.alloc(^uint64(0), 1); err != nil {
		t.Error(err)
	}
	if _, err := top.alloc(1<<20, 4096); err == nil {
		t.Error("space beyond the last address")
	}
}

// The allocator against a list of what is taken.
func FuzzIOVASpace(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0x81, 200, 0x80})
	f.Fuzz(func(t *testing.T, ops []byte) {
		s := newIOVASpace([]span{{0x1000, 0xffff}, {0x20000, 0x2ffff}})
		var live []span
		for _, o := range ops {
			if o&0x80 != 0 && len(live) > 0 {
				i := int(o&0x7f) % len(live)
				if !s.free(live[i].first, live[i].last-live[i].first+1) {
					t.Fatal("cannot free what is live")
				}
				live = append(live[:i], live[i+1:]...)
				continue
			}
			size, align := uint64(o&0xf+1)*0x800, uint64(0x1000)<<(o>>4&3)
			at, err := s.alloc(size, align)
			if err != nil {
				continue
			}
			n := span{at, at + size - 1}
			if at%align != 0 || n.first < 0x1000 || n.last > 0x2ffff || (n.first <= 0xffff && n.last > 0xffff) {
				t.Fatalf("%#x+%#x", at, size)
			}
			for _, l := range live {
				if n.first <= l.last && l.first <= n.last {
					t.Fatalf("%#x overlaps %#x", n.first, l.first)
				}
			}
			live = append(live, n)
		}
	})
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]int{"": 1, "{}\x00": 1, `{"capabilities":{"max_msg_fds":8,"x":{}}}` + "\x00": 8, `{"capabilities":{"max_msg_fds":9999}}`: userMaxFDs} {
		n, err := parseVersion(append([]byte{0, 0, 1, 0}, text...))
		if err != nil || n != want {
			t.Errorf("%q: %d %v", text, n, err)
		}
	}
	for _, bad := range []string{"", "\x01\x00\x00\x00", "\x00\x00\x01\x00{", "\x00\x00\x01\x00{\"capabilities\":3}"} {
		if _, err := parseVersion([]byte(bad)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Whatever a server sends, the client does not panic, and what it accepts lies within bounds.
func FuzzServerBytes(f *testing.F) {
	f.Add(regionBytes(0x4000, 0x1000, 0x1000, 0))
	f.Add([]byte("\x00\x00\x01\x00{\"capabilities\":{\"max_msg_fds\":8}}\x00"))
	f.Add(userHeader{id: 1, command: userGetInfo, size: 32, flags: 1}.encode(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRegion(b); err == nil {
			for _, a := range r.areas {
				if a.size > r.size || a.offset > r.size-a.size {
					t.Errorf("area %#x+%#x in %#x", a.offset, a.size, r.size)
				}
			}
		}
		if n, err := parseVersion(b); err == nil && (n < 1 || n > userMaxFDs) {
			t.Errorf("%d descriptors", n)
		}
		if h, err := parseUserHeader(b); err == nil && (h.size < userHeaderSize || h.size > userMaxMessage) {
			t.Errorf("message of %d bytes", h.size)
		}
		if len(b) >= 8 {
			for _, s := range parseRanges(b) {
				if s.first >= s.last || s.first < lowestIOVA {
					t.Errorf("%+v", s)
				}
			}
		}
	})
}
