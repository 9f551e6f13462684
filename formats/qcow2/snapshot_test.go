package qcow2

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// TestPeerSnapshots makes snapshots with one tool and applies and deletes them with the other.
func TestPeerSnapshots(t *testing.T) {
	require(t, "qemu-img", "qemu-io")
	const size = 3<<20 + 512
	for name, p := range variants(size) {
		if p.RefcountBits < 4 || p.DataFile != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rnd := testRand(t)
			path, raw := filepath.Join(dir, "a.qcow2"), filepath.Join(dir, "a.raw")
			mkImage(t, path, p)
			mo := &model{make([]byte, size)}
			saved := map[string][]byte{}
			scribble := func(r *engine.Ref, n int) {
				for range n {
					off := rnd.Int64N(size)
					buf := bytes.Repeat([]byte{byte(rnd.IntN(255) + 1)}, int(min(size-off, 1+rnd.Int64N(100<<10))))
					if err := r.WriteAt(ctx, buf, off, 0); err != nil {
						t.Fatal(err)
					}
					mo.write(buf, off)
				}
			}
			r := openPath(t, path, true)
			m := r.Node().(*Image)
			snap := func(name string) {
				if err := m.CreateSnapshot(ctx, engine.Snapshot{Name: name, DateSec: 1e9, Icount: -1}); err != nil {
					t.Fatal(err)
				}
				saved[name] = bytes.Clone(mo.b)
			}
			scribble(r, 6)
			snap("one")
			scribble(r, 6)
			if p.RefcountBits > 2 {
				snap("two")
				scribble(r, 6)
			}
			sameBytes(t, "after writes", readAll(t, r), mo.b)
			closeRef(t, r)
			qemuCheck(t, path, false)

			peer(t, "qemu-img", "snapshot", "-c", "three", path)
			saved["three"] = bytes.Clone(mo.b)
			r = openPath(t, path, true)
			m = r.Node().(*Image)
			scribble(r, 5)
			if err := m.ApplySnapshot(ctx, "one"); err != nil {
				t.Fatal(err)
			}
			copy(mo.b, saved["one"])
			sameBytes(t, "applied", readAll(t, r), mo.b)
			scribble(r, 5)
			if err := m.DeleteSnapshot(ctx, "one"); err != nil {
				t.Fatal(err)
			}
			sameBytes(t, "deleted", readAll(t, r), mo.b)
			scribble(r, 3)
			closeRef(t, r)
			qemuCheck(t, path, false)
			mo.file(t, raw)
			peer(t, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, raw)

			peer(t, "qemu-img", "snapshot", "-a", "three", path)
			r = openPath(t, path, true)
			sameBytes(t, "applied by qemu-img", readAll(t, r), saved["three"])
			copy(mo.b, saved["three"])
			scribble(r, 5)
			closeRef(t, r)
			peer(t, "qemu-img", "snapshot", "-d", "three", path)
			qemuCheck(t, path, false)
			r = openPath(t, path, false)
			sameBytes(t, "at the end", readAll(t, r), mo.b)
			list, _ := r.Node().(*Image).Snapshots(ctx)
			if want := map[bool]int{true: 1, false: 0}[p.RefcountBits > 2]; len(list) != want {
				t.Fatalf("%d snapshots, want %d", len(list), want)
			}
			if len(list) > 0 {
				m := r.Node().(*Image)
				if err := m.OpenSnapshot(ctx, "two"); err != nil {
					t.Fatal(err)
				}
				sameBytes(t, "snapshot opened", readAll(t, r), saved["two"])
			}
			closeRef(t, r)
		})
	}
}

// TestSnapshotRefcountOverflow: a snapshot that the refcount width cannot count changes nothing.
func TestSnapshotRefcountOverflow(t *testing.T) {
	require(t, "qemu-img")
	for _, bits := range []int{1, 2} {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.qcow2")
			p := params(1 << 20)
			p.RefcountBits = bits
			mkImage(t, path, p)
			r := openPath(t, path, true)
			if err := r.WriteAt(ctx, bytes.Repeat([]byte{7}, 300<<10), 1234, 0); err != nil {
				t.Fatal(err)
			}
			m := r.Node().(*Image)
			var err error
			n := 0
			for ; err == nil; n++ {
				err = m.CreateSnapshot(ctx, engine.Snapshot{Name: fmt.Sprint(n), Icount: -1})
			}
			if want := 1<<bits - 1; n != want {
				t.Fatalf("snapshot %d failed (%v), want %d", n, err, want)
			}
			closeRef(t, r)
			qemuCheck(t, path, false)
		})
	}
}
