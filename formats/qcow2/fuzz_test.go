package qcow2

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// seedImages are small images that have a bit of everything.
func seedImages(f *testing.F) [][]byte {
	list := [][]byte{faultImage(f, 512, false), faultImage(f, 512, true)}
	for _, change := range []func(p *CreateParams){
		func(p *CreateParams) { p.ClusterSize = 512 },
		func(p *CreateParams) { p.ClusterSize, p.Version = 512, 2 },
		func(p *CreateParams) { p.ClusterSize, p.ExtendedL2 = 16384, true },
		func(p *CreateParams) { p.ClusterSize, p.RefcountBits, p.Zstd = 4096, 1, true },
	} {
		p := params(64 << 10)
		change(&p)
		node := &memNode{}
		file := engine.NewRef(node, engine.OpenFlags{Write: true})
		if err := Format(ctx, file, nil, p); err != nil {
			f.Fatal(err)
		}
		r := openOn(f, file, DefaultConfig())
		err := errors.Join(
			r.WriteAt(ctx, bytes.Repeat([]byte{1}, 5000), 700, 0),
			r.WriteAt(ctx, bytes.Repeat([]byte{2}, int(p.ClusterSize)), 32<<10, engine.Compressed),
			r.WriteZeroes(ctx, 48<<10, 4096, 0), r.Close(),
		)
		if err != nil {
			f.Fatal(err)
		}
		list = append(list, node.data)
	}
	return list
}

func FuzzHeader(f *testing.F) {
	for _, b := range seedImages(f) {
		f.Add(b[:min(len(b), 4096)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b, true)
		if err != nil {
			return
		}
		if err := h.Validate(false); err != nil {
			return
		}
		out, err := h.Marshal()
		if err != nil {
			return // it had no end mark, and has no room for one
		}
		again, err := ParseHeader(append(out, make([]byte, max(0, 512-len(out)))...), true)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !reflect.DeepEqual(h.Extensions, again.Extensions) && len(h.Extensions)+len(again.Extensions) > 0 {
			t.Fatalf("extensions %v became %v", h.Extensions, again.Extensions)
		}
		if h.BackingFile != again.BackingFile || h.Size != again.Size || h.L1TableOffset != again.L1TableOffset || h.Incompatible != again.Incompatible {
			t.Fatalf("%+v became %+v", h, again)
		}
	})
}

func FuzzSnapshotTable(f *testing.F) {
	f.Add(MarshalSnapshots([]SnapshotRecord{{ID: "1", Name: "one"}, {ID: "2", Name: "two", Extra: []byte("more"), VMStateSize: 1 << 40}}), uint8(2))
	f.Add([]byte{}, uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		list, used, err := ParseSnapshots(b, int(n), 1<<20)
		if err != nil {
			return
		}
		if used > len(b)+7 {
			t.Fatalf("%d bytes used of %d", used, len(b))
		}
		again, _, err := ParseSnapshots(MarshalSnapshots(list), int(n), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			list[i].extraLen, again[i].extraLen = 0, 0
		}
		if len(list) > 0 && !reflect.DeepEqual(list, again) {
			t.Fatalf("%+v became %+v", list, again)
		}
	})
}

func FuzzBitmapDirectory(f *testing.F) {
	f.Add(MarshalBitmapDirectory([]BitmapRecord{
		{TableOffset: 1 << 16, TableSize: 3, Flags: BitmapAuto, Type: 1, GranularityBits: 16, Name: "b"},
		{TableOffset: 2 << 16, TableSize: 1, Flags: BitmapInUse, Type: 1, GranularityBits: 9, Name: "longer", Extra: []byte("x")},
	}), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		list, err := ParseBitmapDirectory(b, int(n), 511)
		if err != nil {
			return
		}
		again, err := ParseBitmapDirectory(MarshalBitmapDirectory(list), int(n), 511)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 && !reflect.DeepEqual(list, again) {
			t.Fatalf("%+v became %+v", list, again)
		}
	})
}

func FuzzEntry(f *testing.F) {
	f.Add(uint64(1<<62|0x12345), uint64(0), uint8(16), false)
	f.Add(uint64(1<<63|0x50000), uint64(0xf0000000f), uint8(16), true)
	f.Fuzz(func(t *testing.T, w, bm uint64, bits uint8, extended bool) {
		h := Header{Version: 3, ClusterBits: uint32(bits)%13 + 9, RefcountOrder: 4}
		if extended {
			h.ClusterBits = max(14, h.ClusterBits)
			h.Incompatible = IncompatExtendedL2
		}
		g := h.geometry()
		e := L2Entry(w)
		if g.entryString(e, Subclusters(bm)) == "" {
			t.Fatal("nothing to say")
		}
		if !e.Compressed() {
			k := g.classify(e, Subclusters(bm), int(w%32))
			if k == kindNormal && e.Offset() == 0 {
				t.Fatalf("%#x is data at 0", w)
			}
			return
		}
		off, n := g.compressedRange(e)
		if n <= 0 || n > g.clusterSize*2+512 || off < 0 {
			t.Fatalf("%#x is compressed at %#x+%d", w, off, n)
		}
		o2, n2 := g.compressedRange(g.compressedEntry(off, n))
		if o2 != off || n2 != n {
			t.Fatalf("%#x+%d became %#x+%d", off, n, o2, n2)
		}
	})
}

func FuzzRefcounts(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, uint8(4), uint8(1), uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, order, i uint8, v uint64) {
		b = b[:len(b)&^7]
		o := uint32(order % 7)
		n := len(b) * 8 >> o
		if n == 0 {
			return
		}
		at := int(i) % n
		if o < 6 {
			v &= 1<<(1<<o) - 1
		}
		before := make([]uint64, n)
		for k := range before {
			before[k] = refGet(b, o, k)
		}
		refSet(b, o, at, v)
		for k := range before {
			want := before[k]
			if k == at {
				want = v
			}
			if got := refGet(b, o, k); got != want {
				t.Fatalf("refcount %d of width %d is %d, want %d", k, 1<<o, got, want)
			}
		}
		want := n
		for k := n - 1; k >= 0; k-- {
			if refGet(b, o, k) == 0 {
				want = k
			}
		}
		if got := refFree(b, o, 0, n); got != want {
			t.Fatalf("the first free one is %d, want %d", got, want)
		}
	})
}

func FuzzDecompress(f *testing.F) {
	z := compressZlib(nil, bytes.Repeat([]byte("blk"), 2000), zlibWindow, 0)
	s, err := enzstd(nil, bytes.Repeat([]byte("blk"), 2000), 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(z, uint8(0))
	f.Add(s, uint8(1))
	f.Fuzz(func(_ *testing.T, b []byte, typ uint8) {
		dst := make([]byte, 4096)
		_ = decompress(typ%2, dst, b) // no panic, nothing past dst
	})
}

// FuzzImage opens what the fuzzer makes of an image, reads it, describes it, checks it, repairs it and checks it again.
func FuzzImage(f *testing.F) {
	for _, b := range seedImages(f) {
		f.Add(b, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	}
	f.Fuzz(func(t *testing.T, b, writes []byte) {
		if len(b) > 1<<20 {
			return
		}
		disk := &smallNode{memNode{data: bytes.Clone(b)}}
		open := func(write, check bool) (*engine.Ref, *Image) {
			file := engine.NewRef(disk, engine.OpenFlags{Write: write, Discard: true})
			h, err := ReadHeader(ctx, file, false)
			if err != nil || h.Incompatible&IncompatDataFile != 0 {
				return nil, nil
			}
			m, err := New(ctx, Parts{Header: h, File: file.Clone(file.Flags()), Write: write, Check: check, Config: DefaultConfig()})
			if err != nil {
				return nil, nil
			}
			return engine.NewRef(m, engine.OpenFlags{Write: write, Discard: true}), m
		}
		if r, m := open(false, false); r != nil {
			look(r, m)
			r.Close()
		}
		if r, _ := open(true, false); r != nil {
			for i := 0; i+2 < len(writes); i += 3 {
				off := min(int64(writes[i])<<8, max(0, r.Size()-1))
				n := min(int64(writes[i+1])<<4, max(0, r.Size()-off))
				switch writes[i+2] % 4 {
				case 0:
					_ = r.Discard(ctx, off, n)
				case 1:
					_ = r.WriteZeroes(ctx, off, n, engine.MayUnmap)
				default:
					_ = r.WriteAt(ctx, make([]byte, n), off, 0)
				}
			}
			r.Close()
		}
		if r, m := open(true, true); r != nil {
			if res, err := m.Check(ctx, engine.CheckOptions{FixErrors: true, FixLeaks: true}); err == nil && res.Corruptions == 0 && res.CheckErrors == 0 {
				if err := checkClean(t, r); err != nil {
					t.Fatalf("after a repair that says it was complete: %v", err)
				}
			}
			r.Close()
		}
	})
}

// smallNode is a file on a small disk.
type smallNode struct{ memNode }

const smallSize = 8 << 20

func (n *smallNode) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	if off+int64(len(p)) > smallSize {
		return unix.ENOSPC
	}
	return n.memNode.WriteAt(ctx, p, off, flags)
}

func (n *smallNode) Discard(context.Context, int64, int64) error { return nil }

func (n *smallNode) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	if size > smallSize {
		return unix.ENOSPC
	}
	return n.memNode.Resize(ctx, size, o)
}

// look reads and describes a part of an image, whatever size it claims.
func look(r *engine.Ref, m *Image) {
	buf := make([]byte, 64<<10)
	size := r.Size()
	for _, off := range []int64{0, size / 2, size - 1} {
		if off < 0 {
			continue
		}
		n := min(int64(len(buf)), size-off)
		if n > 0 {
			_ = r.ReadAt(ctx, buf[:n], off)
			_, _ = r.Extents(ctx, off, n, nil)
		}
	}
	_, _ = m.Check(ctx, engine.CheckOptions{})
	m.Detail()
	for _, b := range m.Bitmaps() {
		_ = m.DirtyRanges(ctx, b.Name, func(int64, int64) error { return nil })
	}
	list, _ := m.Snapshots(ctx)
	for _, s := range list {
		if m.OpenSnapshot(ctx, s.ID) == nil && m.Size() > 0 {
			_ = r.ReadAt(ctx, buf[:min(int64(len(buf)), m.Size())], 0)
		}
	}
}
