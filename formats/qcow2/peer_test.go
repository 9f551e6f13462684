package qcow2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
)

// require skips a test whose peers are missing.
func require(t testing.TB, names ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("compared with peers in the long run only")
	}
	enginetest.Require(t, names...)
}

// peer runs a command and returns what it prints; it must succeed.
func peer(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// qemuCheck wants an image without corruption; leaks are allowed where told.
func qemuCheck(t testing.TB, path string, leaks bool) {
	t.Helper()
	if err := imgCheck(path, leaks); err != nil {
		t.Fatal(err)
	}
}

// imgCheck is qemuCheck with an error, nil where qemu-img is not installed.
func imgCheck(path string, leaks bool) error {
	if testing.Short() {
		return nil
	}
	out, err := exec.Command("qemu-img", "check", "-f", "qcow2", path).CombinedOutput()
	var ee *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrNotFound):
		return nil
	case errors.As(err, &ee) && ee.ExitCode() == 3 && leaks:
		return nil
	}
	return fmt.Errorf("qemu-img check %s: %w\n%s", path, err, out)
}

// qemuIO runs qemu-io commands on an image.
func qemuIO(t testing.TB, path string, cmds ...string) string {
	t.Helper()
	args := []string{"-f", "qcow2", "-d", "unmap"}
	for _, c := range cmds {
		args = append(args, "-c", c)
	}
	out := peer(t, "qemu-io", append(args, path)...)
	if strings.Contains(out, "error") || strings.Contains(out, "failed") {
		t.Fatalf("qemu-io %v: %s", cmds, out)
	}
	return out
}

var ctx = context.Background()

// openPath opens an image with its chain, which lies in the same folder.
func openPath(t testing.TB, path string, write bool, change ...func(*Parts)) *engine.Ref {
	t.Helper()
	r, err := tryOpen(t, path, write, change...)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	return r
}

func tryOpen(t testing.TB, path string, write bool, change ...func(*Parts)) (*engine.Ref, error) {
	t.Helper()
	file := openFile(t, path, write, false)
	h, err := ReadHeader(ctx, file, false)
	if err != nil {
		file.Close()
		return nil, err
	}
	p := Parts{Header: h, File: file, Write: write, Config: DefaultConfig()}
	p.Config.PassDiscardRequest = true
	if h.BackingFile != "" {
		name := filepath.Join(filepath.Dir(path), h.BackingFile)
		if h.Text(ExtBackingFormat) == "raw" {
			p.Backing = openFile(t, name, false, false)
		} else {
			p.Backing = openPath(t, name, false)
		}
	}
	if h.Incompatible&IncompatDataFile != 0 {
		p.Data = openFile(t, h.Text(ExtDataFile), write, false)
	}
	for _, f := range change {
		f(&p)
	}
	m, err := New(ctx, p)
	if err != nil {
		return nil, err
	}
	return engine.NewRef(m, engine.OpenFlags{Write: write, Discard: true}), nil
}

func closeRef(t testing.TB, r *engine.Ref) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// mkImage makes an image in a file of its own.
func mkImage(t testing.TB, path string, p CreateParams) {
	t.Helper()
	file := openFile(t, path, true, true)
	var data *engine.Ref
	if p.DataFile != "" {
		data = openFile(t, p.DataFile, true, true)
		defer closeRef(t, data)
	}
	if err := Format(ctx, file, data, p); err != nil {
		t.Fatalf("create %+v: %v", p, err)
	}
	closeRef(t, file)
}

func params(size int64) CreateParams {
	return CreateParams{Version: 3, Size: size, ClusterSize: 64 << 10, RefcountBits: 16, Prealloc: engine.PreallocOff}
}

// qemuOptions spells params for qemu-img.
func qemuOptions(p CreateParams) string {
	onOff := map[bool]string{true: "on", false: "off"}
	compat := map[int]string{2: "0.10", 3: "1.1"}
	o := fmt.Sprintf("compat=%s,cluster_size=%d,refcount_bits=%d,lazy_refcounts=%s,extended_l2=%s,preallocation=%s",
		compat[p.Version], p.ClusterSize, p.RefcountBits, onOff[p.Lazy], onOff[p.ExtendedL2], p.Prealloc)
	if p.Zstd {
		o += ",compression_type=zstd"
	}
	if p.DataFile != "" {
		o += ",data_file=" + p.DataFile + ",data_file_raw=" + onOff[p.DataFileRaw]
	}
	return o
}

// variants are sets of create options in which every pair of values occurs that can occur.
func variants(size int64) map[string]CreateParams {
	out := make(map[string]CreateParams)
	add := func(name string, f func(p *CreateParams)) {
		p := params(size)
		f(&p)
		out[name] = p
	}
	add("default", func(*CreateParams) {})
	add("v2", func(p *CreateParams) { p.Version = 2 })
	for _, bits := range []int{1, 2, 4, 8, 32, 64} {
		add(fmt.Sprintf("refcount_bits=%d", bits), func(p *CreateParams) { p.RefcountBits = bits })
	}
	for _, size := range []int64{512, 1024, 4096, 32 << 10, 1 << 20, 2 << 20} {
		add(fmt.Sprintf("cluster_size=%d", size), func(p *CreateParams) { p.ClusterSize = size })
	}
	add("v2 512", func(p *CreateParams) { p.Version, p.ClusterSize = 2, 512 })
	add("v2 2M", func(p *CreateParams) { p.Version, p.ClusterSize = 2, 2<<20 })
	add("512 64 bits", func(p *CreateParams) { p.ClusterSize, p.RefcountBits = 512, 64 })
	add("2M 1 bit", func(p *CreateParams) { p.ClusterSize, p.RefcountBits = 2<<20, 1 })
	add("lazy", func(p *CreateParams) { p.Lazy = true })
	add("lazy 4k 8 bits", func(p *CreateParams) { p.Lazy, p.ClusterSize, p.RefcountBits = true, 4096, 8 })
	add("zstd", func(p *CreateParams) { p.Zstd = true })
	add("zstd 4k lazy", func(p *CreateParams) { p.Zstd, p.ClusterSize, p.Lazy = true, 4096, true })
	for _, size := range []int64{16 << 10, 64 << 10, 128 << 10, 2 << 20} {
		add(fmt.Sprintf("extended_l2 %d", size), func(p *CreateParams) { p.ExtendedL2, p.ClusterSize = true, size })
	}
	add("extended_l2 zstd 64 bits", func(p *CreateParams) { p.ExtendedL2, p.Zstd, p.RefcountBits = true, true, 64 })
	add("data file", func(p *CreateParams) { p.DataFile = "data.raw" })
	add("raw data file", func(p *CreateParams) { p.DataFile, p.DataFileRaw = "data.raw", true })
	add("extended_l2 data file", func(p *CreateParams) { p.DataFile, p.ExtendedL2 = "data.raw", true })
	for _, pre := range []engine.Prealloc{engine.PreallocMetadata, engine.PreallocFalloc, engine.PreallocFull} {
		add("prealloc "+string(pre), func(p *CreateParams) { p.Prealloc = pre })
		add("extended_l2 prealloc "+string(pre), func(p *CreateParams) { p.Prealloc, p.ExtendedL2 = pre, true })
		add("512 prealloc "+string(pre), func(p *CreateParams) { p.Prealloc, p.ClusterSize = pre, 512 })
	}
	return out
}

// model is what an image must read as.
type model struct{ b []byte }

func (mo *model) write(p []byte, off int64) { copy(mo.b[off:], p) }

func (mo *model) file(t testing.TB, path string) {
	t.Helper()
	if err := os.WriteFile(path, mo.b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readAll(t testing.TB, r *engine.Ref) []byte {
	t.Helper()
	b := make([]byte, r.Size())
	if err := r.ReadAt(ctx, b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func sameBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d bytes, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: differs at %#x: %#x, want %#x", what, i, got[i], want[i])
		}
	}
}

func testRand(t testing.TB) *rand.Rand {
	seed := uint64(1)
	for _, c := range t.Name() {
		seed = seed*131 + uint64(c)
	}
	return rand.New(rand.NewPCG(seed, 2))
}

// TestPeerBothWays writes with one, and reads with the other, over the create options.
func TestPeerBothWays(t *testing.T) {
	require(t, "qemu-img", "qemu-io")
	const size = 9<<20 + 512*3
	for name, p := range variants(size) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			rnd := testRand(t)
			if p.DataFile != "" {
				p.DataFile = filepath.Join(dir, p.DataFile)
			}
			ours, theirs, raw := filepath.Join(dir, "ours.qcow2"), filepath.Join(dir, "theirs.qcow2"), filepath.Join(dir, "model.raw")
			mkImage(t, ours, p)
			qemuCheck(t, ours, false)
			mo := &model{make([]byte, size)}

			// Ours writes, theirs reads.
			r := openPath(t, ours, true)
			for range 60 {
				off := rnd.Int64N(size)
				buf := bytes.Repeat([]byte{byte(rnd.IntN(255) + 1)}, int(min(size-off, 1+rnd.Int64N(300<<10))))
				if err := r.WriteAt(ctx, buf, off, 0); err != nil {
					t.Fatal(err)
				}
				mo.write(buf, off)
			}
			sameBytes(t, "before close", readAll(t, r), mo.b)
			closeRef(t, r)
			qemuCheck(t, ours, false)
			mo.file(t, raw)
			peer(t, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", ours, raw)

			// Theirs writes into ours, and into their own.
			var cmds []string
			for range 25 {
				off := rnd.Int64N(size)
				n := min(size-off, 1+rnd.Int64N(300<<10))
				pat := rnd.IntN(255) + 1
				cmds = append(cmds, fmt.Sprintf("write -P %d %d %d", pat, off, n))
				mo.write(bytes.Repeat([]byte{byte(pat)}, int(n)), off)
			}
			qemuIO(t, ours, cmds...)
			r = openPath(t, ours, true)
			sameBytes(t, "written by qemu-io", readAll(t, r), mo.b)
			closeRef(t, r)
			qemuCheck(t, ours, false)

			if p.DataFile != "" {
				return // one data file for both would be in each other's way
			}
			mo = &model{make([]byte, size)}
			peer(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", qemuOptions(p), theirs, fmt.Sprint(size))
			r = openPath(t, theirs, true)
			for range 40 {
				off := rnd.Int64N(size)
				buf := bytes.Repeat([]byte{byte(rnd.IntN(255) + 1)}, int(min(size-off, 1+rnd.Int64N(300<<10))))
				if err := r.WriteAt(ctx, buf, off, 0); err != nil {
					t.Fatal(err)
				}
				mo.write(buf, off)
			}
			closeRef(t, r)
			qemuCheck(t, theirs, false)
			mo.file(t, raw)
			peer(t, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", theirs, raw)
		})
	}
}

var resizeOff = engine.ResizeOptions{Prealloc: engine.PreallocOff}
