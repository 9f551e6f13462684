package qcow2

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/blkbench/blkbench/engine"
)

// mapEntry is a run as qemu-img map prints it.
type mapEntry struct {
	Start, Length       int64
	Depth               int
	Present, Zero, Data bool
	Offset              *int64
}

func (e mapEntry) String() string {
	off := int64(-1)
	if e.Offset != nil {
		off = *e.Offset
	}
	return fmt.Sprintf("%#x+%#x depth %d present %t zero %t data %t at %#x", e.Start, e.Length, e.Depth, e.Present, e.Zero, e.Data, off)
}

// joined merges runs that go on from one another.
func joined(list []mapEntry, offsets bool) []mapEntry {
	var out []mapEntry
	for _, e := range list {
		if !offsets {
			e.Offset = nil
		}
		if n := len(out); n > 0 {
			l := &out[n-1]
			contiguous := (l.Offset == nil) == (e.Offset == nil) && (e.Offset == nil || *l.Offset+l.Length == *e.Offset)
			if l.Depth == e.Depth && l.Present == e.Present && l.Zero == e.Zero && l.Data == e.Data && contiguous {
				l.Length += e.Length
				continue
			}
		}
		if e.Offset != nil {
			o := *e.Offset
			e.Offset = &o
		}
		out = append(out, e)
	}
	return out
}

func qemuMap(t testing.TB, path string) []mapEntry {
	t.Helper()
	var list []mapEntry
	out := peer(t, "qemu-img", "map", "-f", "qcow2", "--output=json", path)
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func extentMap(t testing.TB, r *engine.Ref) []mapEntry {
	t.Helper()
	var list []mapEntry
	for off := int64(0); off < r.Size(); {
		part, err := r.Extents(ctx, off, r.Size()-off, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range part {
			m := mapEntry{
				Start: e.Off, Length: e.Len, Depth: e.Depth, Present: e.Flags&engine.ExtentAllocated != 0,
				Zero: e.Flags&engine.ExtentZero != 0, Data: e.Flags&engine.ExtentData != 0,
			}
			if e.Flags&engine.ExtentOffset != 0 {
				o := e.HostOff
				m.Offset = &o
			}
			list = append(list, m)
			off += e.Len
		}
	}
	return list
}

func sameExtents(t testing.TB, what string, got, want []mapEntry, offsets bool) {
	t.Helper()
	got, want = joined(got, offsets), joined(want, offsets)
	for i := range min(len(got), len(want)) {
		if got[i].String() != want[i].String() {
			t.Fatalf("%s: run %d is %v, want %v", what, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d runs, want %d", what, len(got), len(want))
	}
}

// dataIsData forgets holes that the file has inside stored data.
func dataIsData(list []mapEntry) []mapEntry {
	for i := range list {
		if list[i].Data {
			list[i].Zero = false
		}
	}
	return list
}

// holes forgets them where space was allocated and not written: what reading, or reading ahead, has brought into the page cache counts as
// data there, so that they move from one look to the next. QEMU allocates so for every new cluster.
func holes(p CreateParams, list []mapEntry) []mapEntry {
	if p.Prealloc == engine.PreallocOff || p.Prealloc == engine.PreallocMetadata {
		return list
	}
	return dataIsData(list)
}

// step is one operation of a history.
type step struct {
	op     string
	off, n int64
	pat    byte
}

func (s step) command() string {
	switch s.op {
	case "write":
		return fmt.Sprintf("write -P %d %d %d", s.pat, s.off, s.n)
	case "zero":
		return fmt.Sprintf("write -z %d %d", s.off, s.n)
	case "unmap":
		return fmt.Sprintf("write -z -u %d %d", s.off, s.n)
	case "compressed":
		return fmt.Sprintf("write -c -P %d %d %d", s.pat, s.off, s.n)
	}
	return fmt.Sprintf("discard %d %d", s.off, s.n)
}

func (s step) do(t testing.TB, r *engine.Ref) {
	t.Helper()
	var err error
	switch s.op {
	case "write":
		err = r.WriteAt(ctx, bytes.Repeat([]byte{s.pat}, int(s.n)), s.off, 0)
	case "zero":
		err = r.WriteZeroes(ctx, s.off, s.n, 0)
	case "unmap":
		err = r.WriteZeroes(ctx, s.off, s.n, engine.MayUnmap)
	case "compressed":
		err = r.WriteAt(ctx, bytes.Repeat([]byte{s.pat}, int(s.n)), s.off, engine.Compressed)
	case "discard":
		err = r.Discard(ctx, s.off, s.n)
	}
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
}

// history makes random steps. Compressed clusters stay out of extended L2 tables: where a zeroed range ends inside one, QEMU writes all of
// the range, and we only what is in that cluster; offsets are sectors, as qemu-io wants them. Discards are whole clusters, so that both do the same.
func history(rnd *rand.Rand, size, cluster int64, n int, compressed bool) []step {
	var list []step
	fresh := make(map[int64]bool)
	for range n {
		off := rnd.Int64N(size/512) * 512
		s := step{off: off, n: min(size-off, (1+rnd.Int64N(400))*512), pat: byte(1 + rnd.IntN(255))}
		switch rnd.IntN(8) {
		case 0:
			s.op = "zero"
		case 1:
			s.op = "unmap"
		case 2:
			s.op = "discard"
			s.off &^= cluster - 1
			s.n = (s.n + cluster - 1) &^ (cluster - 1)
			if s.off+s.n > size {
				s.n = size - s.off
			}
		case 3:
			// qemu refuses to compress over an allocated cluster.
			c := off &^ (cluster - 1)
			if !compressed || fresh[c] || c+cluster > size {
				s.op = "write"
				break
			}
			s.op, s.off, s.n = "compressed", c, cluster
		default:
			s.op = "write"
		}
		for c := s.off &^ (cluster - 1); c < s.off+s.n; c += cluster {
			fresh[c] = true
		}
		list = append(list, s)
	}
	return list
}

func apply(mo []byte, s step) {
	switch s.op {
	case "write", "compressed":
		copy(mo[s.off:], bytes.Repeat([]byte{s.pat}, int(s.n)))
	default:
		clear(mo[s.off : s.off+s.n])
	}
}

// TestPeerHistory replays one history through both and compares bytes and maps; over a backing file that is shorter than the image and
// without one.
func TestPeerHistory(t *testing.T) {
	require(t, "qemu-img", "qemu-io")
	const size, backingSize = 5<<20 + 512*7, 3<<20 + 512*5
	for name, p := range variants(size) {
		for _, backed := range []bool{false, true} {
			if backed && (p.DataFileRaw || (p.Prealloc != engine.PreallocOff && !p.ExtendedL2)) || p.DataFile != "" {
				continue
			}
			t.Run(fmt.Sprintf("%s backed %t", name, backed), func(t *testing.T) {
				dir := t.TempDir()
				rnd := testRand(t)
				ours, theirs := filepath.Join(dir, "ours.qcow2"), filepath.Join(dir, "theirs.qcow2")
				mo := make([]byte, size)
				var args []string
				if backed {
					base := filepath.Join(dir, "base.qcow2")
					peer(t, "qemu-img", "create", "-q", "-f", "qcow2", base, fmt.Sprint(backingSize))
					for range 6 {
						s := step{"write", rnd.Int64N(backingSize/512) * 512, 0, byte(1 + rnd.IntN(255))}
						s.n = min(backingSize-s.off, (1+rnd.Int64N(400))*512)
						qemuIO(t, base, s.command())
						apply(mo, s)
					}
					args = []string{"-b", "base.qcow2", "-F", "qcow2"}
					p.BackingFile, p.BackingFormat = "base.qcow2", "qcow2"
				}
				mkImage(t, ours, p)
				args = append([]string{"create", "-q", "-f", "qcow2", "-o", qemuOptions(p)}, args...)
				peer(t, "qemu-img", append(args, theirs, fmt.Sprint(size))...)
				for round := range 3 {
					steps := history(rnd, size, p.ClusterSize, 25, round == 0 && p.Prealloc == engine.PreallocOff && !p.ExtendedL2)
					r := openPath(t, ours, true)
					var cmds []string
					for _, s := range steps {
						if s.op == "discard" && p.Version < 3 && backed {
							continue // neither does it
						}
						s.do(t, r)
						cmds = append(cmds, s.command())
						apply(mo, s)
						if os.Getenv("QCOW2_TRACE") != "" {
							t.Logf("%s %#x %#x (%#x)", s.op, s.off, s.n, s.off+s.n)
						}
					}
					sameBytes(t, "while open", readAll(t, r), mo)
					closeRef(t, r)
					qemuIO(t, theirs, cmds...)
					qemuCheck(t, ours, false)
					peer(t, "qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", ours, theirs)
					sameExtents(t, "maps of the two images", dataIsData(qemuMap(t, ours)), dataIsData(qemuMap(t, theirs)), false)
					r = openPath(t, ours, false)
					sameExtents(t, "map of ours", holes(p, extentMap(t, r)), holes(p, qemuMap(t, ours)), true)
					sameBytes(t, "reopened", readAll(t, r), mo)
					closeRef(t, r)
					r = openPath(t, theirs, false)
					sameExtents(t, "map of theirs", dataIsData(extentMap(t, r)), dataIsData(qemuMap(t, theirs)), true)
					sameBytes(t, "theirs", readAll(t, r), mo)
					closeRef(t, r)
				}
			})
		}
	}
}
