package qcow2

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// qemuResult is what qemu-img check says.
type qemuResult struct {
	ImageEndOffset int64 `json:"image-end-offset"`
	TotalClusters  int64 `json:"total-clusters"`
	Allocated      int64 `json:"allocated-clusters"`
	Fragmented     int64 `json:"fragmented-clusters"`
	Compressed     int64 `json:"compressed-clusters"`
	Leaks          int64 `json:"leaks"`
	Corruptions    int64 `json:"corruptions"`
	CheckErrors    int64 `json:"check-errors"`
}

func qemuCheckResult(t testing.TB, path string) (res qemuResult, ok bool) {
	t.Helper()
	out, err := exec.Command("qemu-img", "check", "-f", "qcow2", "--output=json", path).Output()
	var ee *exec.ExitError
	if err != nil && (!errors.As(err, &ee) || ee.ExitCode() == 1) {
		return res, false
	}
	if err := json.Unmarshal(out, &res); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return res, true
}

func ourResult(t testing.TB, path string, write bool, o engine.CheckOptions) (engine.CheckResult, error) {
	t.Helper()
	r, err := tryOpen(t, path, write, func(p *Parts) { p.Check = true })
	if err != nil {
		return engine.CheckResult{}, err
	}
	res, err := r.Node().(*Image).Check(ctx, o)
	return res, errors.Join(err, r.Close())
}

// TestPeerCheck compares findings and statistics with qemu-img check, on sound images and on damaged ones, and lets qemu-img check what was
// repaired.
func TestPeerCheck(t *testing.T) {
	require(t, "qemu-img", "qemu-io")
	const size = 4 << 20
	for name, p := range variants(size) {
		if p.DataFile != "" || p.ClusterSize > 64<<10 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rnd := testRand(t)
			path := filepath.Join(dir, "a.qcow2")
			mkImage(t, path, p)
			r := openPath(t, path, true)
			for _, s := range history(rnd, size, p.ClusterSize, 30, p.Prealloc == engine.PreallocOff) {
				s.do(t, r)
			}
			if p.RefcountBits > 1 {
				if err := r.Node().(*Image).CreateSnapshot(ctx, engine.Snapshot{Name: "s", Icount: -1}); err != nil {
					t.Fatal(err)
				}
				for _, s := range history(rnd, size, p.ClusterSize, 5, false) {
					s.do(t, r)
				}
			}
			closeRef(t, r)
			compareChecks(t, path)
			sound, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for round := range 12 {
				damage(t, path, sound, p, rnd.IntN(5), func(n int64) int64 { return rnd.Int64N(n) })
				compareChecks(t, path)
				repairBoth(t, path, round)
			}
		})
	}
}

// damage changes one word of one table.
func damage(t testing.TB, path string, sound []byte, p CreateParams, what int, pick func(n int64) int64) {
	t.Helper()
	b := append([]byte(nil), sound...)
	h, err := ParseHeader(b, false)
	if err != nil {
		t.Fatal(err)
	}
	l1 := int64(h.L1TableOffset)
	i := pick(int64(h.L1Size))
	l2 := L1Entry(be.Uint64(b[l1+8*i:])).Offset()
	block := int64(be.Uint64(b[h.RefcountTableOffset:]))
	switch {
	case what == 0: // a refcount
		at := block + pick(p.ClusterSize/4)
		b[at] ^= byte(1 << pick(8))
	case what == 1 && l2 != 0: // an L2 entry is lost
		at := l2 + 8*pick(p.ClusterSize/8)
		clear(b[at : at+8])
	case what == 2 && l2 != 0: // a copied flag
		at := l2 + 16*pick(p.ClusterSize/16)
		if e := L2Entry(be.Uint64(b[at:])); e.Offset() != 0 && !e.Compressed() {
			b[at] ^= 0x80
		}
	case what == 3: // an L2 table is lost
		clear(b[l1+8*i : l1+8*i+8])
	default: // the flag of an L2 table
		if l2 != 0 {
			b[l1+8*i] ^= 0x80
		}
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func compareChecks(t testing.TB, path string) {
	t.Helper()
	want, ok := qemuCheckResult(t, path)
	var lines []string
	got, err := ourResult(t, path, false, engine.CheckOptions{Report: func(s string) { lines = append(lines, s) }})
	if err != nil || !ok {
		if (err != nil) == ok {
			t.Fatalf("ours: %v, qemu-img can check it: %t", err, ok)
		}
		return
	}
	ours := qemuResult{
		got.ImageEndOffset, got.TotalClusters, got.Allocated, got.Fragmented, got.CompressedCount, got.Leaks, got.Corruptions, got.CheckErrors,
	}
	if ours != want {
		out, _ := exec.Command("qemu-img", "check", "-f", "qcow2", path).CombinedOutput()
		t.Fatalf("ours %+v\nwant %+v\n%s\n%s", ours, want, fmt.Sprint(lines), out)
	}
}

// repairBoth repairs with ours and wants qemu-img to find nothing.
func repairBoth(t testing.TB, path string, round int) {
	t.Helper()
	if _, err := ourResult(t, path, true, engine.CheckOptions{FixErrors: true, FixLeaks: true}); err != nil {
		t.Fatalf("round %d: repair: %v", round, err)
	}
	if err := imgCheck(path, false); err != nil {
		t.Fatalf("round %d: after repair: %v", round, err)
	}
}
