package convert_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/convert"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

func env() *engine.Env {
	return &engine.Env{
		Registry:   engine.NewRegistry(file.Driver(), raw.Driver(), qcow2.Driver()),
		References: engine.ReferencesAllow,
	}
}

// create makes an image and returns its name.
func create(t testing.TB, name, format string, size int64, options ...string) string {
	t.Helper()
	co := opts.NewTree()
	for i := 0; i < len(options); i += 2 {
		if err := co.Set(options[i], options[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	target, err := opts.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := env().Create(t.Context(), format, target, name, size, co, engine.OpenFlags{}); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t testing.TB, name, format string, write bool) *engine.Ref {
	t.Helper()
	ref, err := env().OpenName(t.Context(), name, format, engine.OpenFlags{Write: write, Discard: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ref.Close() })
	return ref
}

// content is a quarter random, half text, a quarter hole, in stretches of different lengths.
func content(n int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	p := make([]byte, n)
	for at := 0; at < n; {
		run := min(n-at, 512+rng.IntN(200<<10))
		switch rng.IntN(4) {
		case 0:
			for i := range run {
				p[at+i] = byte(rng.Uint32())
			}
		case 1, 2:
			for i := range run {
				p[at+i] = byte('a' + (at+i)/7%11 + rng.IntN(3))
			}
		}
		at += run
	}
	return p
}

func writeFile(t testing.TB, name string, p []byte) string {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at := 0; at < len(p); at += 4096 {
		b := p[at:min(at+4096, len(p))]
		if engine.IsZero(b) {
			continue
		}
		if _, err := f.WriteAt(b, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(int64(len(p))); err != nil {
		t.Fatal(err)
	}
	return name
}

func readAll(t testing.TB, ref *engine.Ref) []byte {
	t.Helper()
	p := make([]byte, ref.Size())
	if err := ref.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

func wantContent(t testing.TB, ref *engine.Ref, want []byte) {
	t.Helper()
	got := readAll(t, ref)
	if len(got) != len(want) {
		t.Fatalf("%d bytes, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("byte %#x is %#x, want %#x", i, got[i], want[i])
		}
	}
}

// TestCopy copies there and back in every mode, and looks at the way that the data took.
func TestCopy(t *testing.T) {
	data := content(9<<20+512, 1)
	for _, c := range []struct {
		name    string
		o       convert.Options
		options []string
	}{
		{"plain", convert.Options{Sparse: 4096}, nil},
		{"small chunks", convert.Options{Sparse: 4096, Tuning: convert.Tuning{Chunk: 64 << 10, Depth: 3}}, nil},
		{"in order", convert.Options{Sparse: 4096, InOrder: true}, nil},
		{"full", convert.Options{Zeroes: convert.ZeroData}, nil},
		{"write zeroes", convert.Options{Zeroes: convert.ZeroWrite, Sparse: 512}, nil},
		{"compressed", convert.Options{Sparse: 4096, Compressed: true}, nil},
		{"compressed in order", convert.Options{Sparse: 4096, Compressed: true, InOrder: true}, []string{"compression_type", "zstd"}},
		{"large clusters", convert.Options{Sparse: 4096}, []string{"cluster_size", "2M"}},
		{"large clusters compressed", convert.Options{Sparse: 4096, Compressed: true}, []string{"cluster_size", "2M"}},
		{"small clusters", convert.Options{Sparse: 4096, InOrder: true}, []string{"cluster_size", "512"}},
		{"subclusters", convert.Options{Sparse: 4096}, []string{"extended_l2", "on"}},
		{"rate", convert.Options{Sparse: 4096, Tuning: convert.Tuning{Rate: 1 << 30}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			src := open(t, writeFile(t, filepath.Join(dir, "src"), data), "raw", false)
			img := create(t, filepath.Join(dir, "img"), "qcow2", int64(len(data)), c.options...)
			o := c.o
			o.Sources, o.Target = []convert.Source{{Ref: src, Len: -1}}, open(t, img, "qcow2", true)
			s, err := convert.Copy(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if s.Paths == 0 || s.Direct+s.Pieces == 0 {
				t.Errorf("nothing went through a Path: %+v", s)
			}
			if o.Zeroes == convert.ZeroSkip && s.Skipped == 0 && o.Target.Info().Limits.ClusterSize < 1<<20 {
				t.Errorf("no hole was skipped: %+v", s)
			}
			wantContent(t, o.Target, data)
			if err := o.Target.Close(); err != nil {
				t.Fatal(err)
			}
			back := create(t, filepath.Join(dir, "back"), "raw", int64(len(data)))
			o = convert.Options{Sources: []convert.Source{{Ref: open(t, img, "qcow2", false), Len: -1}}, Target: open(t, back, "raw", true), Sparse: 4096}
			if s, err = convert.Copy(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if s.Direct == 0 {
				t.Errorf("no write went straight to the ring: %+v", s)
			}
			wantContent(t, o.Target, data)
			d, _, err := convert.Compare(t.Context(), convert.CompareOptions{A: src, B: o.Target})
			if err != nil || d.Found {
				t.Errorf("compare: %+v, %v", d, err)
			}
		})
	}
}

// TestCopySources puts windows of several sources one behind the other, across clusters.
func TestCopySources(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		dir := t.TempDir()
		a, b := content(300<<10+1536, 2), content(1<<20, 3)
		want := append(append(bytes.Clone(a), b[512:700<<10]...), a...)
		sources := []convert.Source{
			{Ref: open(t, writeFile(t, filepath.Join(dir, "a"), a), "raw", false), Len: -1},
			{Ref: open(t, writeFile(t, filepath.Join(dir, "b"), b), "raw", false), Off: 512, Len: 700<<10 - 512},
		}
		sources = append(sources, sources[0])
		target := open(t, create(t, filepath.Join(dir, "img"), "qcow2", int64(len(want))), "qcow2", true)
		if _, err := convert.Copy(t.Context(), convert.Options{Sources: sources, Target: target, Sparse: 4096, Compressed: compressed}); err != nil {
			t.Fatal(err)
		}
		wantContent(t, target, want)
	}
}

// TestCopyRange copies inside the kernel; where it cannot, it reads and writes.
func TestCopyRange(t *testing.T) {
	data := content(5<<20, 4)
	for _, format := range []string{"raw", "qcow2"} {
		dir := t.TempDir()
		src := open(t, writeFile(t, filepath.Join(dir, "src"), data), "raw", false)
		target := open(t, create(t, filepath.Join(dir, "dst"), format, int64(len(data))), format, true)
		s, err := convert.Copy(t.Context(), convert.Options{Sources: []convert.Source{{Ref: src, Len: -1}}, Target: target, CopyRange: true})
		if err != nil {
			t.Fatal(err)
		}
		if format == "raw" && s.Copied+s.Read == 0 || format == "qcow2" && s.Copied != 0 {
			t.Errorf("%s: %+v", format, s)
		}
		wantContent(t, target, data)
	}
}

// TestCompare finds the first difference, wherever it is.
func TestCompare(t *testing.T) {
	dir := t.TempDir()
	data := content(6<<20, 5)
	a := open(t, writeFile(t, filepath.Join(dir, "a"), data), "raw", false)
	for i, at := range []int{0, 511, 700<<10 + 5, 6<<20 - 1} {
		other := bytes.Clone(data)
		other[at] ^= 0x55
		other[len(other)-1] ^= 0x11
		b := open(t, writeFile(t, filepath.Join(dir, fmt.Sprint("b", i)), other), "raw", false)
		d, _, err := convert.Compare(t.Context(), convert.CompareOptions{A: a, B: b, Tuning: convert.Tuning{Chunk: 64 << 10}})
		if err != nil || !d.Found || d.Off != int64(at&^511) {
			t.Errorf("difference at %d: %+v, %v", at, d, err)
		}
	}
	long := open(t, writeFile(t, filepath.Join(dir, "long"), append(bytes.Clone(data), make([]byte, 1<<20)...)), "raw", false)
	if d, _, err := convert.Compare(t.Context(), convert.CompareOptions{A: a, B: long}); err != nil || d.Found {
		t.Errorf("zeroes behind the end: %+v, %v", d, err)
	}
	if d, _, err := convert.Compare(t.Context(), convert.CompareOptions{A: a, B: long, Strict: true}); err != nil || d.Found {
		t.Errorf("strict, zeroes behind the end: %+v, %v", d, err)
	}
}

// TestFaults fails the k-th operation of either end for every k: the copy ends, says what it was at, and leaves nothing in flight.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("every k")
	}
	data := content(1<<20, 6)
	for _, c := range []struct {
		rules string
		side  int
		phase convert.Phase
		o     convert.Options
	}{
		{"read = EIO", 0, convert.Reading, convert.Options{Sparse: 4096}},
		{"read = EIO", 0, convert.Reading, convert.Options{Sparse: 4096, InOrder: true}},
		{"read = EIO", 0, convert.Reading, convert.Options{Sparse: 4096, InOrder: true, Compressed: true}},
		{"write = ENOSPC", 1, convert.Writing, convert.Options{Sparse: 4096}},
		{"write = ENOSPC", 1, convert.Writing, convert.Options{Sparse: 4096, InOrder: true}},
		{"write = ENOSPC", 1, convert.Writing, convert.Options{Sparse: 4096, Compressed: true}},
		{"write = ENOSPC", 1, convert.Writing, convert.Options{Sparse: 4096, Compressed: true, InOrder: true}},
	} {
		enginetest.EachFault(t, func(t *testing.T, f *enginetest.Faults) {
			dir := t.TempDir()
			src := open(t, writeFile(t, filepath.Join(dir, "src"), data), "raw", false)
			under := open(t, create(t, filepath.Join(dir, "img"), "qcow2", int64(len(data))), "qcow2", true)
			target := under
			if c.side == 0 {
				src = f.Over(src)
			} else {
				target = f.Over(under)
			}
			o := c.o
			o.Sources, o.Target, o.Chunk = []convert.Source{{Ref: src, Len: -1}}, target, 64<<10
			if o.Compressed && c.side == 1 {
				o.Compressed = false // the layer of faults does not write compressed
			}
			fired := f.Fired()
			_, err := convert.Copy(t.Context(), o)
			if f.Fired() == fired {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *convert.Error
			if !errors.As(err, &e) || e.Phase != c.phase {
				t.Fatalf("%v, want an error of phase %v", err, c.phase)
			}
		}, c.rules)
	}
}

// TestSalvage reads around what cannot be read.
func TestSalvage(t *testing.T) {
	dir := t.TempDir()
	data := bytes.Repeat([]byte{0x5a}, 1<<20)
	f := enginetest.NewFaults(t, "read @65536+1024 = EIO")
	src := f.Over(open(t, writeFile(t, filepath.Join(dir, "src"), data), "raw", false))
	target := open(t, create(t, filepath.Join(dir, "dst"), "raw", int64(len(data))), "raw", true)
	var lost atomic.Int64
	_, err := convert.Copy(t.Context(), convert.Options{
		Sources: []convert.Source{{Ref: src, Len: -1}}, Target: target,
		Salvage: func(off int64, err error) { lost.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if lost.Load() != 2 {
		t.Errorf("%d sectors lost, want 2", lost.Load())
	}
	clear(data[65536 : 65536+1024])
	wantContent(t, target, data)
}

// TestCancel ends a copy in the middle.
func TestCancel(t *testing.T) {
	dir := t.TempDir()
	data := content(4<<20, 8)
	src := open(t, writeFile(t, filepath.Join(dir, "src"), data), "raw", false)
	target := open(t, create(t, filepath.Join(dir, "dst"), "raw", int64(len(data))), "raw", true)
	ctx, cancel := context.WithCancel(t.Context())
	o := convert.Options{Sources: []convert.Source{{Ref: src, Len: -1}}, Target: target, Tuning: convert.Tuning{Rate: 1 << 20, Chunk: 64 << 10}}
	o.Progress = func(done, _ int64) {
		if done > 0 {
			cancel()
		}
	}
	if _, err := convert.Copy(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

// TestRebase keeps what the top shows while its backing file is exchanged.
func TestRebase(t *testing.T) {
	dir := t.TempDir()
	a, b := content(3<<20, 9), content(2<<20, 10)
	nameA := writeFile(t, filepath.Join(dir, "a"), a)
	top := open(t, create(t, filepath.Join(dir, "top"), "qcow2", 4<<20, "backing_file", nameA, "backing_fmt", "raw"), "qcow2", true)
	patch := bytes.Repeat([]byte{7}, 100<<10)
	if err := top.WriteAt(t.Context(), patch, 1<<20+300, 0); err != nil {
		t.Fatal(err)
	}
	want := readAll(t, top)
	before := top.Node().(engine.Backed).Backing()
	after := open(t, writeFile(t, filepath.Join(dir, "b"), b), "raw", false)
	s, err := convert.Rebase(t.Context(), convert.RebaseOptions{Top: top, Old: before, New: after})
	if err != nil {
		t.Fatal(err)
	}
	if s.Written == 0 || s.Skipped == 0 {
		t.Errorf("%+v", s)
	}
	top.Node().(engine.Backed).SetBacking(after.Clone(after.Flags()))
	wantContent(t, top, want)
}

// TestRebaseFaults fails the k-th write of a rebase for every k: the image shows what it showed before, over its old backing file.
func TestRebaseFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("every k")
	}
	a, b := content(1<<20, 11), content(1<<20, 12)
	enginetest.EachFault(t, func(t *testing.T, f *enginetest.Faults) {
		dir := t.TempDir()
		nameA := writeFile(t, filepath.Join(dir, "a"), a)
		top := open(t, create(t, filepath.Join(dir, "top"), "qcow2", 1<<20, "backing_file", nameA, "backing_fmt", "raw"), "qcow2", true)
		if err := top.WriteAt(t.Context(), bytes.Repeat([]byte{7}, 5000), 300000, 0); err != nil {
			t.Fatal(err)
		}
		want := readAll(t, top)
		after := open(t, writeFile(t, filepath.Join(dir, "b"), b), "raw", false)
		fired := f.Fired()
		_, err := convert.Rebase(t.Context(), convert.RebaseOptions{
			Top: f.Over(top), Old: top.Node().(engine.Backed).Backing(), New: after, Tuning: convert.Tuning{Chunk: 64 << 10},
		})
		var e *convert.Error
		if failed := f.Fired() != fired; failed != (errors.As(err, &e) && e.Phase == convert.Writing) {
			t.Errorf("%v", err)
		}
		wantContent(t, top, want)
	}, "write = EIO")
}

// TestSparseHuge: what is empty takes no time, however large.
func TestSparseHuge(t *testing.T) {
	dir := t.TempDir()
	const size = 8 << 40
	a := open(t, create(t, filepath.Join(dir, "a"), "qcow2", size), "qcow2", false)
	name := filepath.Join(dir, "b")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Skipf("requires a file system with files of 8 TiB: %v", err)
	}
	b := open(t, name, "raw", false)
	target := open(t, create(t, filepath.Join(dir, "c"), "qcow2", size), "qcow2", true)
	for _, ref := range []*engine.Ref{a, b} {
		s, err := convert.Copy(t.Context(), convert.Options{Sources: []convert.Source{{Ref: ref, Len: -1}}, Target: target, Sparse: 4096})
		if err != nil || s.Skipped != size || s.Read != 0 {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if d, s, err := convert.Compare(t.Context(), convert.CompareOptions{A: a, B: b}); err != nil || d.Found || s.Skipped != size {
		t.Errorf("%+v, %+v, %v", d, s, err)
	}
}
