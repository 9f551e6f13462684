package perf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/engine/filter/log"
	"github.com/blkbench/blkbench/engine/filter/preallocate"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/engine/trace"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/protocols/file"
)

// TestPerfPreallocate measures what the preallocate filter does to a qcow2 image that grows sequentially over O_DIRECT, on ext4 and XFS on loop
// devices: how many requests extend the file, and how long it takes, with and without, interleaved.
func TestPerfPreallocate(t *testing.T) {
	needPerf(t)
	enginetest.RequireRoot(t)
	enginetest.Require(t, "mkfs.ext4", "mkfs.xfs", "mount", "losetup")
	const size, pairs = 1 << 30, 5
	lines := []string{
		machine(), "", fmt.Sprintf("1 GiB of sequential writes to a new qcow2 image, O_DIRECT, %d pairs. More than 1× means that preallocating is faster.", pairs), "",
		"| file system, size of a write | extending requests per GiB: without, with | rate with/without: median (95 % lower bound) |", "| --- | --- | --- |",
	}
	for _, fs := range []string{"ext4", "xfs"} {
		dir := loopFS(t, fs, 4<<30)
		for _, bs := range []int{64 << 10, 1 << 20} {
			with, without := "driver=preallocate,file.driver=file", "driver=file"
			var plain, ahead []float64
			for range pairs {
				plain = append(plain, grow(t, dir, without, size, bs).Seconds())
				ahead = append(ahead, grow(t, dir, with, size, bs).Seconds())
			}
			r := Ratios(plain, ahead)
			tr := filepath.Join(t.TempDir(), "trace")
			counted := func(graph, leaf string) int {
				grow(t, dir, graph+leaf, size, bs)
				return extensions(t, tr)
			}
			n := counted("", "driver=log,trace="+tr+",file.driver=file")
			k := counted("", "driver=preallocate,file.driver=log,file.trace="+tr+",file.file.driver=file")
			t.Logf("%s, %d KiB writes: %d extending requests per GiB, with preallocate %d; %.2f s, with preallocate %.2f s: %s as fast",
				fs, bs>>10, n, k, Median(plain), Median(ahead), r)
			lines = append(lines, fmt.Sprintf("| %s, %d KiB | %d, %d | %s |", fs, bs>>10, n, k, r))
		}
	}
	document(t, "prealloc", lines)
}

// loopFS makes and mounts a file system on a loop device.
func loopFS(t *testing.T, fs string, size int64) string {
	t.Helper()
	dir := t.TempDir()
	img, mnt := filepath.Join(dir, "img"), filepath.Join(dir, "mnt")
	if err := os.WriteFile(img, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, size); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"mkfs." + fs, "-q", img}, {"mount", "-o", "loop", img, mnt}} {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Skipf("requires %v: %v %s", argv, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mnt).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return mnt
}

// grow writes a new qcow2 image from start to end and returns how long it took, up to the flush.
func grow(t *testing.T, dir, below string, size int64, bs int) time.Duration {
	t.Helper()
	path := filepath.Join(dir, "a.qcow2")
	env := &engine.Env{Registry: engine.NewRegistry(qcow2.Driver(), file.Driver(), preallocate.Driver(), log.Driver())}
	target, err := opts.ParseName(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := env.Create(t.Context(), "qcow2", target, path, size, opts.NewTree(), engine.OpenFlags{}); err != nil {
		t.Fatal(err)
	}
	inner, err := opts.ParseImageOpts(below)
	if err != nil {
		t.Fatal(err)
	}
	leaf := inner
	for sub, ok := leaf.Sub("file"); ok; sub, ok = leaf.Sub("file") {
		leaf = sub
	}
	tree := opts.NewTree()
	for _, err := range []error{leaf.Set("filename", path), tree.Set("driver", "qcow2"), tree.Set("file", inner)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ref, err := env.Open(t.Context(), tree, engine.OpenFlags{Write: true, Cache: engine.Cache{Direct: true}})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, bs+4096)
	for i := range p {
		p[i] = byte(i * 7)
	}
	start := time.Now()
	for off := int64(0); off < size; off += int64(bs) {
		if err := ref.WriteAt(t.Context(), p[:bs], off, 0); err != nil {
			t.Fatal(fmt.Errorf("at %d: %w", off, err))
		}
	}
	if err := ref.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	if err := ref.Close(); err != nil {
		t.Fatal(err)
	}
	return took
}

// extensions counts the requests of a trace that end past all before them.
func extensions(t *testing.T, name string) int {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, _, err := trace.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	n, end := 0, int64(0)
	for i := range list {
		e := &list[i]
		if to := e.Off + int64(e.Len); (e.Op == trace.Write || e.Op == trace.Zero) && to > end {
			n, end = n+1, to
		}
	}
	return n
}
