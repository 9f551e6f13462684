package qcow2

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// TestPeerAmend changes versions, refcount widths and lazy refcounts of an image with snapshots and zero clusters; content and snapshots
// stay, and qemu-img finds nothing.
func TestPeerAmend(t *testing.T) {
	require(t, "qemu-img", "qemu-io")
	const size = 3 << 20
	on, off := true, false
	for _, cluster := range []int64{512, 4096, 64 << 10} {
		for _, backed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d backed %t", cluster, backed), func(t *testing.T) {
				dir := t.TempDir()
				rnd := testRand(t)
				path := filepath.Join(dir, "a.qcow2")
				p := params(size)
				p.ClusterSize = cluster
				mo := make([]byte, size)
				if backed {
					base := step{"write", 0, size, 9}
					peer(t, "qemu-img", "create", "-q", "-f", "qcow2", filepath.Join(dir, "base.qcow2"), fmt.Sprint(size))
					qemuIO(t, filepath.Join(dir, "base.qcow2"), base.command())
					apply(mo, base)
					p.BackingFile, p.BackingFormat = "base.qcow2", "qcow2"
				}
				mkImage(t, path, p)
				r := openPath(t, path, true)
				m := r.Node().(*Image)
				work := func(n int) {
					for _, s := range history(rnd, size, cluster, n, false) {
						if s.op == "discard" && backed && m.version < 3 {
							continue // it would bring the backing file to light
						}
						s.do(t, r)
						apply(mo, s)
					}
				}
				work(20)
				if err := m.CreateSnapshot(ctx, engine.Snapshot{Name: "s", Icount: -1}); err != nil {
					t.Fatal(err)
				}
				snap := bytes.Clone(mo)
				work(10)
				for i, c := range []AmendParams{
					{Size: -1, RefcountBits: 64},
					{Size: -1, Lazy: &on},
					{Size: -1, RefcountBits: 2, Lazy: &off},
					{Size: -1, RefcountBits: 16},
					{Size: -1, Version: 2},
					{Size: -1, Version: 3, RefcountBits: 32},
				} {
					if err := m.AmendTo(ctx, c, nil); err != nil {
						t.Fatalf("change %d: %v", i, err)
					}
					sameBytes(t, fmt.Sprint("change ", i), readAll(t, r), mo)
					work(3)
					closeRef(t, r)
					qemuCheck(t, path, false)
					info := peer(t, "qemu-img", "info", "-U", path)
					if want := map[bool]string{true: "compat: 0.10", false: "compat: 1.1"}[c.Version == 2]; !strings.Contains(info, want) {
						t.Fatalf("change %d: want %q in %s", i, want, info)
					}
					r = openPath(t, path, true)
					m = r.Node().(*Image)
					sameBytes(t, fmt.Sprint("reopened after change ", i), readAll(t, r), mo)
				}
				if err := m.ApplySnapshot(ctx, "s"); err != nil {
					t.Fatal(err)
				}
				sameBytes(t, "snapshot", readAll(t, r), snap)
				closeRef(t, r)
				qemuCheck(t, path, false)
			})
		}
	}
}

// TestPeerEmpty is the end of a commit: all is unallocated, and the file is small again.
func TestPeerEmpty(t *testing.T) {
	require(t, "qemu-img", "qemu-io")
	dir := t.TempDir()
	base, path := filepath.Join(dir, "base.qcow2"), filepath.Join(dir, "a.qcow2")
	peer(t, "qemu-img", "create", "-q", "-f", "qcow2", base, "8M")
	qemuIO(t, base, "write -P 3 0 8M")
	p := params(8 << 20)
	p.BackingFile, p.BackingFormat = "base.qcow2", "qcow2"
	mkImage(t, path, p)
	r := openPath(t, path, true)
	if err := r.WriteAt(ctx, bytes.Repeat([]byte{1}, 5<<20), 1<<20, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.Node().(*Image).MakeEmpty(ctx); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte{3}, 8<<20)
	sameBytes(t, "emptied", readAll(t, r), want)
	closeRef(t, r)
	qemuCheck(t, path, false)
	f := openFile(t, path, false, false)
	if f.Size() > 1<<20 {
		t.Fatalf("the file has %d bytes still", f.Size())
	}
	closeRef(t, f)
	r = openPath(t, path, true)
	m := r.Node().(*Image)
	if err := m.ChangeBacking(ctx, "some/very/much/longer/name/of/a/file", "raw"); err != nil {
		t.Fatal(err)
	}
	if name, format := m.BackingName(); name != "some/very/much/longer/name/of/a/file" || format != "raw" {
		t.Fatal(name, format)
	}
	if err := m.ChangeBacking(ctx, "base.qcow2", "qcow2"); err != nil {
		t.Fatal(err)
	}
	closeRef(t, r)
	qemuCheck(t, path, false)
	r = openPath(t, path, false)
	sameBytes(t, "reopened", readAll(t, r), want)
	closeRef(t, r)
}

// TestPeerMeasure compares sizes with qemu-img measure.
func TestPeerMeasure(t *testing.T) {
	require(t, "qemu-img")
	for name, p := range variants(0) {
		if p.DataFile != "" {
			continue
		}
		for _, size := range []int64{0, 512, 1 << 20, 1 << 30, 1 << 40} {
			p.Size = size
			got, err := MeasureImage(p, 0)
			if err != nil {
				if size < 1<<40 || p.ClusterSize > 1024 {
					t.Errorf("%s %d: %v", name, size, err)
				}
				continue // clusters of 512 bytes do not reach 1 TiB, in qemu-img neither
			}
			out := peer(t, "qemu-img", "measure", "--output=json", "-O", "qcow2", "-o", qemuOptions(p), "--size", fmt.Sprint(size))
			var want Measure
			if err := json.Unmarshal([]byte(out), &want); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s %d: %+v, want %+v", name, size, got, want)
			}
		}
	}
}

// TestPeerInfo compares the format-specific part of info.
func TestPeerInfo(t *testing.T) {
	require(t, "qemu-img")
	for name, p := range variants(1 << 20) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a.qcow2")
			if p.DataFile != "" {
				p.DataFile = filepath.Join(dir, p.DataFile)
			}
			mkImage(t, path, p)
			r := openPath(t, path, true)
			m := r.Node().(*Image)
			if p.Version > 2 {
				if err := m.AddBitmap(ctx, "b", 0, false); err != nil {
					t.Fatal(err)
				}
				if err := m.AddBitmap(ctx, "c", 1<<20, true); err != nil {
					t.Fatal(err)
				}
			}
			got, err := json.Marshal(m.Detail())
			if err != nil {
				t.Fatal(err)
			}
			closeRef(t, r)
			var info struct {
				Specific struct {
					Data map[string]any `json:"data"`
				} `json:"format-specific"`
			}
			if err := json.Unmarshal([]byte(peer(t, "qemu-img", "info", "--output=json", path)), &info); err != nil {
				t.Fatal(err)
			}
			var ours map[string]any
			if err := json.Unmarshal(got, &ours); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(ours, info.Specific.Data) {
				t.Fatalf("ours %v\nwant %v", ours, info.Specific.Data)
			}
		})
	}
}

// TestUnknown: unknown incompatible bits are refused by the name that the image brings, unknown autoclear bits go at the first writable
// open, unknown extensions and compatible bits stay.
func TestUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.qcow2")
	mkImage(t, path, params(1<<20))
	edit := func(change func(h *Header)) {
		f := openFile(t, path, true, false)
		h, err := ReadHeader(ctx, f, true)
		if err != nil {
			t.Fatal(err)
		}
		change(h)
		b, err := h.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.WriteAt(ctx, b, 0, 0); err != nil {
			t.Fatal(err)
		}
		closeRef(t, f)
	}
	edit(func(h *Header) {
		h.Incompatible |= 1 << 9
		h.SetExtension(ExtFeatureNames, appendFeatureNames(nil, []FeatureName{{0, 9, "time travel"}}))
	})
	if _, err := tryOpen(t, path, false); err == nil || !strings.Contains(err.Error(), "time travel") {
		t.Fatalf("unknown feature: %v", err)
	}
	blob := []byte("kept byte for byte\x00\xff")
	edit(func(h *Header) {
		h.Incompatible &^= 1 << 9
		h.Compatible |= 1 << 40
		h.Autoclear |= 1 << 50
		h.SetExtension(0x12345678, blob)
	})
	r := openPath(t, path, true)
	m := r.Node().(*Image)
	if err := m.AddBitmap(ctx, "b", 0, false); err != nil { // rewrites the header
		t.Fatal(err)
	}
	if err := m.ChangeBacking(ctx, strings.Repeat("x", 300), "raw"); err != nil {
		t.Fatal(err)
	}
	closeRef(t, r)
	f := openFile(t, path, false, false)
	h, err := ReadHeader(ctx, f, false)
	if err != nil {
		t.Fatal(err)
	}
	if e := h.Extension(0x12345678); e == nil || !bytes.Equal(e.Data, blob) {
		t.Fatalf("unknown extension: %+v", e)
	}
	if h.Compatible&(1<<40) == 0 || h.Autoclear != AutoclearBitmaps || h.BackingFile != strings.Repeat("x", 300) {
		t.Fatalf("%+v", h)
	}
	closeRef(t, f)
}

// TestDirtyAndCorrupt: a dirty image is repaired by the first writer, a corrupt one takes no writer, and both can be read.
func TestDirtyAndCorrupt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.qcow2")
	p := params(1 << 20)
	p.Lazy = true
	mkImage(t, path, p)
	r := openPath(t, path, true)
	data := bytes.Repeat([]byte{7}, 200<<10)
	if err := r.WriteAt(ctx, data, 100, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	// As a crash would leave it: flushed, not closed.
	m := r.Node().(*Image)
	if m.hdr.Incompatible&IncompatDirty == 0 {
		t.Fatal("lazy refcounts without the dirty bit")
	}
	m.broken.Store(true) // Close writes nothing
	closeRef(t, r)
	r = openPath(t, path, false)
	if d := r.Info().Detail.(*Detail); !d.Dirty {
		t.Fatal("not dirty")
	}
	sameBytes(t, "dirty", readAll(t, r)[100:100+len(data)], data)
	closeRef(t, r)
	r = openPath(t, path, true)
	if err := checkClean(t, r); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "repaired", readAll(t, r)[100:100+len(data)], data)
	m = r.Node().(*Image)
	m.mu.Lock()
	err := m.setIncompatible(ctx, IncompatCorrupt)
	m.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	closeRef(t, r)
	if _, err := tryOpen(t, path, true); err == nil || !strings.Contains(err.Error(), "corrupt") {
		t.Fatalf("corrupt, for writing: %v", err)
	}
	r = openPath(t, path, false)
	sameBytes(t, "corrupt", readAll(t, r)[100:100+len(data)], data)
	closeRef(t, r)
	if _, err := ourResult(t, path, true, engine.CheckOptions{FixErrors: true, FixLeaks: true}); err != nil {
		t.Fatal(err)
	}
	closeRef(t, openPath(t, path, true))
}
