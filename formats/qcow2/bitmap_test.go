package qcow2

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
)

// dirtyMap asks qemu-nbd and nbdinfo for a bitmap: whether each granule is dirty.
func dirtyMap(t *testing.T, path, name string, size, granularity int64) []bool {
	t.Helper()
	out := peer(t, "nbdinfo", "--json", "--map=qemu:dirty-bitmap:"+name, "--", "[", "qemu-nbd", "-r", "-f", "qcow2", "-B", name, path, "]")
	var runs []struct {
		Offset, Length int64
		Type           int
	}
	if err := json.Unmarshal([]byte(out), &runs); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dirty := make([]bool, (size+granularity-1)/granularity)
	for _, r := range runs {
		for at := r.Offset; r.Type != 0 && at < min(size, r.Offset+r.Length); at += granularity {
			dirty[at/granularity] = true
		}
	}
	return dirty
}

func ourMap(t *testing.T, m *Image, name string, granularity int64) []bool {
	t.Helper()
	dirty := make([]bool, (m.Size()+granularity-1)/granularity)
	if err := m.DirtyRanges(ctx, name, func(off, n int64) error {
		for at := off; at < off+n; at += granularity {
			dirty[at/granularity] = true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return dirty
}

func sameMap(t *testing.T, what string, got, want []bool) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d granules, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: granule %d is %t, want %t", what, i, got[i], want[i])
		}
	}
}

// TestPeerBitmaps lets both tools make, fill, merge and resize bitmaps, and compares bit for bit.
func TestPeerBitmaps(t *testing.T) {
	require(t, "qemu-img", "qemu-io", "qemu-nbd", "nbdinfo")
	const size = 20<<20 + 512
	for _, gran := range []int64{512, 64 << 10, 1 << 20} {
		for _, cluster := range []int64{512, 4096, 64 << 10} {
			t.Run(fmt.Sprintf("granularity %d cluster %d", gran, cluster), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "a.qcow2")
				rnd := testRand(t)
				p := params(size)
				p.ClusterSize = cluster
				mkImage(t, path, p)
				r := openPath(t, path, true)
				m := r.Node().(*Image)
				if err := m.AddBitmap(ctx, "ours", gran, false); err != nil {
					t.Fatal(err)
				}
				if err := m.AddBitmap(ctx, "off", gran, true); err != nil {
					t.Fatal(err)
				}
				want := make([]bool, (size+gran-1)/gran)
				write := func() {
					off := rnd.Int64N(size)
					n := min(size-off, 1+rnd.Int64N(700<<10))
					if err := r.WriteAt(ctx, bytes.Repeat([]byte{1}, int(n)), off, 0); err != nil {
						t.Fatal(err)
					}
					for at := off / gran; at <= (off+n-1)/gran; at++ {
						want[at] = true
					}
				}
				for range 5 {
					write()
				}
				closeRef(t, r)
				qemuCheck(t, path, false)
				sameMap(t, "nbdinfo", dirtyMap(t, path, "ours", size, gran), want)
				peer(t, "qemu-img", "bitmap", "--add", "-g", fmt.Sprint(gran), path, "theirs")
				qemuIO(t, path, "write -P 7 3M 65k")
				theirs := make([]bool, len(want))
				for at := 3 << 20 / gran; at <= (3<<20+65<<10-1)/gran; at++ {
					want[at], theirs[at] = true, true
				}
				r = openPath(t, path, true)
				m = r.Node().(*Image)
				sameMap(t, "ours after qemu-io", ourMap(t, m, "ours", gran), want)
				sameMap(t, "theirs", ourMap(t, m, "theirs", gran), theirs)
				if err := m.DisableBitmap(ctx, "theirs"); err != nil {
					t.Fatal(err)
				}
				write()
				sameMap(t, "disabled", ourMap(t, m, "theirs", gran), theirs)
				if err := m.MergeBitmap(ctx, "off", m, "theirs"); err != nil {
					t.Fatal(err)
				}
				if err := m.ClearBitmap(ctx, "theirs"); err != nil {
					t.Fatal(err)
				}
				if err := r.Resize(ctx, size+1<<20, resizeOff); err != nil {
					t.Fatal(err)
				}
				want = append(want, make([]bool, (size+1<<20+gran-1)/gran-int64(len(want)))...)
				theirs = append(theirs, make([]bool, len(want)-len(theirs))...)
				closeRef(t, r)
				qemuCheck(t, path, false)
				sameMap(t, "merged", dirtyMap(t, path, "off", size+1<<20, gran), theirs)
				sameMap(t, "cleared", dirtyMap(t, path, "theirs", size+1<<20, gran), make([]bool, len(want)))
				sameMap(t, "resized", dirtyMap(t, path, "ours", size+1<<20, gran), want)
				peer(t, "qemu-img", "bitmap", "--remove", path, "ours")
				r = openPath(t, path, true)
				if err := r.Node().(*Image).RemoveBitmap(ctx, "off"); err != nil {
					t.Fatal(err)
				}
				if err := r.Node().(*Image).RemoveBitmap(ctx, "theirs"); err != nil {
					t.Fatal(err)
				}
				closeRef(t, r)
				qemuCheck(t, path, false)
			})
		}
	}
}
