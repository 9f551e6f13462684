package layout

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
)

// job reads a command line's keys as one job with its files in dir.
func job(t *testing.T, dir, keys string) *fiojob.Job {
	t.Helper()
	args := []string{"--name=j", "--directory=" + dir}
	for key := range strings.FieldsSeq(keys) {
		args = append(args, "--"+key)
	}
	plan, err := fiojob.ParseArgs(args, fiojob.SystemEnv())
	if err != nil {
		t.Fatal(err)
	}
	return &plan.Expand()[0]
}

// laid lays a job out in dir.
func laid(t *testing.T, dir, keys string) *Layout {
	t.Helper()
	l, err := New(job(t, dir, keys), 1)
	if err == nil {
		err = l.Prepare(t.Context(), Options{})
	}
	if err == nil {
		err = l.Ready(t.Context())
	}
	if err != nil {
		t.Fatalf("%s: %v", keys, err)
	}
	return l
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// blocks is how many bytes of space a file has.
func blocks(t *testing.T, name string) int64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// packed is how far a compressor gets.
func packed(t *testing.T, data []byte) float64 {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data)
	w.Close()
	return float64(b.Len()) / float64(len(data))
}

func TestReadersFindRandomData(t *testing.T) {
	dir := t.TempDir()
	l := laid(t, dir, "rw=randread size=3000k nrfiles=2")
	if len(l.Files) != 2 {
		t.Fatalf("%+v", l.Files)
	}
	var all []byte
	for _, f := range l.Files {
		data := read(t, f.Name)
		if int64(len(data)) != f.End() || f.Real != f.End() {
			t.Errorf("%+v: %d bytes", f, len(data))
		}
		all = append(all, data...)
	}
	if p := packed(t, all); p < 0.99 {
		t.Errorf("content shrinks to %.2f", p)
	}
	seen := map[string]bool{}
	for i := 0; i+4096 <= len(all); i += 4096 {
		seen[string(all[i:i+4096])] = true
	}
	if len(seen) != len(all)/4096 {
		t.Errorf("%d different blocks of %d", len(seen), len(all)/4096)
	}
}

func TestContentIsWhatTheJobWrites(t *testing.T) {
	dir := t.TempDir()
	for keys, check := range map[string]func(data []byte) bool{
		"zero_buffers": func(d []byte) bool { return len(bytes.TrimLeft(d, "\x00")) == 0 },
		"buffer_pattern=\"abc\"": func(d []byte) bool {
			return bytes.HasPrefix(d, []byte("abcabc")) && bytes.HasPrefix(d[4096:], []byte("abcabc"))
		},
		"buffer_compress_percentage=50":      func(d []byte) bool { p := packed(t, d); return p > 0.4 && p < 0.6 },
		"dedupe_percentage=50":               func(d []byte) bool { n := distinct(d); return n > 80 && n < 180 },
		"buffer_pattern=0x1234 bs=1k":        func(d []byte) bool { return d[1024] == 0x12 && d[1025] == 0x34 },
		"buffer_compress_percentage=100":     func(d []byte) bool { return len(bytes.TrimLeft(d, "\x00")) == 0 },
		"buffer_pattern=0x123456 bs=512,4k,": func(d []byte) bool { return d[4096] == 0x12 && d[512] == 0x56 },
	} {
		l := laid(t, dir, "rw=read size=1m filename=f "+keys)
		if data := read(t, l.Files[0].Name); len(data) != 1<<20 || !check(data) {
			t.Errorf("%s: %d bytes: %x…", keys, len(data), data[:16])
		}
		os.Remove(l.Files[0].Name)
	}
}

func distinct(data []byte) int {
	seen := map[string]bool{}
	for i := 0; i+4096 <= len(data); i += 4096 {
		seen[string(data[i:i+4096])] = true
	}
	return len(seen)
}

func TestSameSeedSameContent(t *testing.T) {
	a, b := laid(t, t.TempDir(), "rw=read size=64k filename=f"), laid(t, t.TempDir(), "rw=read size=64k filename=f")
	if bytes.Equal(read(t, a.Files[0].Name), read(t, b.Files[0].Name)) {
		t.Error("files with different names have the same content")
	}
	first := read(t, a.Files[0].Name)
	os.Remove(a.Files[0].Name)
	l, err := New(a.job, 1)
	if err != nil || l.Prepare(t.Context(), Options{}) != nil || !bytes.Equal(first, read(t, a.Files[0].Name)) {
		t.Errorf("not reproducible: %v", err)
	}
}

func TestFallocate(t *testing.T) {
	const size = 1 << 20
	for mode, want := range map[string]struct{ size, space int64 }{
		"none": {0, 0}, "native": {size, size}, "posix": {size, size}, "keep": {0, size}, "truncate": {size, 0},
	} {
		l := laid(t, t.TempDir(), "rw=write size=1m fallocate="+mode)
		f := l.Files[0]
		if space := blocks(t, f.Name); f.Real != want.size || space < want.space || want.space == 0 && space != 0 {
			t.Errorf("fallocate=%s: size %d, space %d, want %+v", mode, f.Real, space, want)
		}
	}
}

func TestTouchBlocks(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("data")
	if err := touchBlocks(f, 100_000); err != nil {
		t.Fatal(err)
	}
	data := read(t, f.Name())
	if len(data) != 100_000 || string(data[:4]) != "data" || len(bytes.Trim(data[4:], "\x00")) != 0 || blocks(t, f.Name()) < 100_000/4096*4096 {
		t.Errorf("%d bytes in %d, %q…", len(data), blocks(t, f.Name()), data[:8])
	}
}

func TestWritersAndExistingFiles(t *testing.T) {
	old := bytes.Repeat([]byte("old "), 1024)
	tests := []struct {
		keys string
		want func(data []byte) bool
		why  string
	}{
		{"rw=write size=4k", func(d []byte) bool { return bytes.Equal(d, old) }, "large enough: kept"},
		{"rw=write size=8k fallocate=none", func(d []byte) bool { return len(d) == 0 }, "too short: made anew, empty"},
		{"rw=write size=8k overwrite=1", func(d []byte) bool { return len(d) == 8192 && packed(t, d) > 0.99 }, "too short: made anew, whole"},
		{"rw=randrw size=8k", func(d []byte) bool { return len(d) == 8192 && !bytes.HasPrefix(d, old[:16]) }, "too short for reading: made anew"},
		{"rw=read size=4k", func(d []byte) bool { return bytes.Equal(d, old) }, "large enough: kept"},
		{"rw=read size=2k bs=1k", func(d []byte) bool { return bytes.Equal(d, old) }, "larger than needed: kept"},
		{"rw=read", func(d []byte) bool { return bytes.Equal(d, old) }, "no size: as large as it is"},
		{"rw=write size=4k offset=4k fallocate=none", func(d []byte) bool { return len(d) == 0 }, "the offset comes on top"},
		{"rw=write file_append=1 size=4k fallocate=none", func(d []byte) bool { return bytes.Equal(d, old) }, "appending: kept"},
		{"rw=write file_append=1 size=4k fallocate=truncate", func(d []byte) bool { return len(d) == 8192 && bytes.HasPrefix(d, old) }, "appending: kept and grown"},
		{"rw=randtrim size=8k fallocate=truncate", func(d []byte) bool { return len(d) == 8192 && bytes.HasPrefix(d, old) }, "trimming: kept and grown"},
		{"rw=write size=8k create_on_open=1", func(d []byte) bool { return bytes.Equal(d, old) }, "create_on_open: nothing is laid out"},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "f"), old)
		l := laid(t, dir, "filename=f "+tt.keys)
		if data := read(t, l.Files[0].Name); !tt.want(data) || l.Files[0].Real != int64(len(data)) {
			t.Errorf("%s (%s): %d bytes, %+v", tt.keys, tt.why, len(data), l.Files[0])
		}
	}
}

func TestExtents(t *testing.T) {
	const m = 1 << 20
	tests := []struct {
		keys string
		i, n int
		real int64
		want Extent
	}{
		{"size=1m", 0, 1, 0, Extent{0, m}},
		{"size=1m nrfiles=3", 0, 3, 0, Extent{0, m / 3}},
		{"size=1m offset=64k", 0, 1, 0, Extent{64 << 10, m}},
		{"size=1m offset_increment=64k numjobs=3", 0, 1, 0, Extent{128 << 10, m}},
		{"offset=25%", 0, 1, m, Extent{m / 4, m - m/4}},
		{"offset=33%", 0, 1, 10000, Extent{4096, 5904}},
		{"offset=33% offset_align=512", 0, 1, 10000, Extent{3584, 6416}},
		{"size=50%", 0, 1, m, Extent{0, m / 2}},
		{"size=50% offset=75%", 0, 1, m, Extent{m * 3 / 4, m / 4}},
		{"size=33%", 0, 1, 100_000, Extent{0, 32768}},
		{"size=100%", 0, 1, 12345, Extent{0, 12345}},
		{"", 0, 1, 12345, Extent{0, 12345}},
		{"filesize=64k", 1, 2, 0, Extent{0, 64 << 10}},
		{"filesize=64k size=1g", 0, 2, 0, Extent{0, 64 << 10}},
		{"filesize=32k-64k", 0, 1, 40000, Extent{0, 40000}},
		{"filesize=64k offset=4k", 0, 1, 0, Extent{4096, 60 << 10}},
		{"file_append=1 size=64k", 0, 1, 5000, Extent{5000, 64 << 10}},
	}
	for _, tt := range tests {
		j := job(t, "/", "rw=read "+tt.keys)
		if strings.Contains(tt.keys, "numjobs=3") {
			j.Clone = 2 // the last of them
		}
		got, err := Where(j, 1, tt.i, tt.n, tt.real)
		if err != nil || got != tt.want {
			t.Errorf("%s of %d bytes: %+v, %v; want %+v", tt.keys, tt.real, got, err, tt.want)
		}
	}
	if _, err := Where(job(t, "/", "rw=read offset=1m"), 1, 0, 1, 4096); err == nil {
		t.Error("an offset behind the end passed")
	}
}

func TestLeftoverBlocksGoToTheFirstFiles(t *testing.T) {
	j := job(t, "/", "rw=read size=40k nrfiles=3 bs=1k")
	var sizes [3]int64
	for i := range sizes {
		e, err := Where(j, 1, i, 3, 0)
		if err != nil {
			t.Fatal(err)
		}
		sizes[i] = e.Size
	}
	if sizes != [3]int64{13653, 13653, 13653} { // 40960/3, and less than a block over
		t.Error(sizes)
	}
	j = job(t, "/", "rw=read size=7 nrfiles=3 bs=1")
	for i, want := range []int64{3, 2, 2} {
		if e, err := Where(j, 1, i, 3, 0); err != nil || e.Size != want {
			t.Errorf("file %d: %+v, %v", i, e, err)
		}
	}
}

func TestRangeOfSizes(t *testing.T) {
	l := laid(t, t.TempDir(), "rw=read filesize=8k-64k nrfiles=20 bs=512")
	seen := map[int64]bool{}
	for _, f := range l.Files {
		if f.Real < 8<<10 || f.Real > 64<<10 || f.Real%512 != 0 || f.Real != f.Size {
			t.Errorf("%+v", f)
		}
		seen[f.Real] = true
	}
	if len(seen) < 10 {
		t.Errorf("%d different sizes of 20", len(seen))
	}
	again, err := New(l.job, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range again.Files {
		if f.grow || f.Size != l.Files[i].Size {
			t.Errorf("a second run would make %s again: %+v", f.Name, f)
		}
	}
}

func TestFoldersAreMade(t *testing.T) {
	dir := t.TempDir()
	l := laid(t, dir, "rw=write size=4k filename_format=a/b/$jobname.$filenum")
	if want := filepath.Join(dir, "a/b/j.0"); l.Files[0].Name != want {
		t.Errorf("%s, want %s", l.Files[0].Name, want)
	}
	if _, err := New(job(t, filepath.Join(dir, "none"), "size=4k"), 1); err == nil {
		t.Error("a directory that is not there passed")
	}
	if _, err := New(job(t, dir, "filename=a size=4k"), 1); err == nil {
		t.Error("a folder passed for a file")
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), make([]byte, 4096))
	for keys, want := range map[string]string{
		"rw=read":                                     "say how large",
		"rw=read size=50%":                            "say how large",
		"rw=read filename=f offset=4k":                "less than one block",
		"rw=read filename=f bs=8k":                    "less than one block",
		"rw=read size=1m allow_file_create=0":         "allow_file_create=0",
		"rw=write size=1m allow_file_create=0":        "allow_file_create=0",
		"rw=read size=1m create_on_open=1":            "adds none to read",
		"rw=read filename=f size=8k create_on_open=1": "it has 4096 bytes",
	} {
		l, err := New(job(t, dir, keys), 1)
		if err == nil {
			err = l.Prepare(t.Context(), Options{})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", keys, err, want)
		}
	}
	l, err := New(job(t, dir, "rw=read size=1m"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Prepare(t.Context(), Options{ReadOnly: true}); err == nil || !strings.Contains(err.Error(), "--readonly") {
		t.Errorf("with --readonly: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("something was made: %v", entries)
	}
}

func TestOpenDir(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "d/e"), 0o755)
	for _, name := range []string{"d/b", "d/a", "d/e/c"} {
		write(t, filepath.Join(dir, name), make([]byte, 8192))
	}
	os.Symlink("b", filepath.Join(dir, "d/link"))
	unix.Mkfifo(filepath.Join(dir, "d/fifo"), 0o600)
	l := laid(t, dir, "rw=read opendir="+filepath.Join(dir, "d"))
	var names []string
	for _, f := range l.Files {
		names = append(names, strings.TrimPrefix(f.Name, dir+"/d/"))
	}
	if got := strings.Join(names, " "); got != "a b e/c" || l.Files[0].Size != 8192 {
		t.Errorf("%s %+v", got, l.Files)
	}
}

func TestSymbolicLinksStay(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "target"), []byte("short"))
	os.Symlink("target", filepath.Join(dir, "f"))
	laid(t, dir, "rw=read filename=f size=8k")
	if st, err := os.Lstat(filepath.Join(dir, "f")); err != nil || st.Mode()&os.ModeSymlink == 0 || len(read(t, filepath.Join(dir, "target"))) != 8192 {
		t.Errorf("%v %v", st, err)
	}
}

func TestSpecialFilesAreLeftAlone(t *testing.T) {
	plan, err := fiojob.ParseArgs(strings.Fields("--name=j --rw=write --size=4k --filename=/dev/null:/dev/zero --unlink=1"), fiojob.SystemEnv())
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(&plan.Expand()[0], 1)
	if err != nil || l.Files[0].Regular || l.Files[1].Regular {
		t.Fatalf("%+v, %v", l, err)
	}
	if err := l.Prepare(t.Context(), Options{}); err != nil {
		t.Error(err)
	}
	if err := l.Finish(); err != nil || !special("/dev/null") || !special("/dev/zero") {
		t.Errorf("unlink=1 reached a device: %v", err)
	}
	for _, keys := range []string{"ioengine=null size=1m", "filename=null-co:// size=1m", "ioengine=nbd uri=nbd://h"} {
		dir := t.TempDir()
		l := laid(t, dir, "rw=write "+keys)
		if entries, _ := os.ReadDir(dir); len(entries) != 0 || l.Files[0].Regular {
			t.Errorf("%s: %v was made", keys, entries)
		}
	}
}

func TestUnlink(t *testing.T) {
	dir := t.TempDir()
	l := laid(t, dir, "rw=write size=8k nrfiles=2 unlink=1")
	if err := l.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := l.Finish(); err != nil { // as a clone with the same files does
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
	l = laid(t, dir, "rw=write size=4k")
	if err := l.Finish(); err != nil || len(read(t, l.Files[0].Name)) != 4096 {
		t.Errorf("without unlink: %v", err)
	}
}

func TestUnlinkEachLoop(t *testing.T) {
	dir := t.TempDir()
	l := laid(t, dir, "rw=write size=4k unlink_each_loop=1")
	write(t, l.Files[0].Name, []byte("of the first loop"))
	before := inode(t, l.Files[0].Name)
	if err := l.EndLoop(t.Context(), Options{}); err != nil {
		t.Fatal(err)
	}
	data := read(t, l.Files[0].Name)
	if bytes.HasPrefix(data, []byte("of")) || len(data) != 4096 {
		t.Errorf("inode %d, then %d: %q", before, inode(t, l.Files[0].Name), data)
	}
	if err := l.Finish(); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
	keep := laid(t, dir, "rw=write size=4k loops=2")
	write(t, keep.Files[0].Name, []byte("stays"))
	if err := keep.EndLoop(t.Context(), Options{}); err != nil || string(read(t, keep.Files[0].Name)) != "stays" {
		t.Errorf("without unlink_each_loop: %v", err)
	}
}

func inode(t *testing.T, name string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestInterruptedFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	l, err := New(job(t, dir, "rw=read size=16m"), 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err = l.Prepare(ctx, Options{Progress: func(name string, done, total int64) {
		if calls++; calls == 2 {
			cancel()
		}
		if name != l.Files[0].Name || total != 16<<20 || done <= 0 {
			t.Errorf("progress %s %d/%d", name, done, total)
		}
	}})
	if err == nil || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
}

// cachestat(2), since Linux 6.5: the pages of a file in the cache, and the dirty
// ones among them.
func cachestat(t *testing.T, name string) (cached, dirty uint64) {
	t.Helper()
	const sysCachestat = 451
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var extent [2]uint64
	var stat [5]uint64
	_, _, errno := unix.Syscall6(sysCachestat, f.Fd(), uintptr(unsafe.Pointer(&extent)), uintptr(unsafe.Pointer(&stat)), 0, 0, 0)
	if errno != 0 {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatalf("requires cachestat(2): %v", errno)
		}
		t.Skipf("requires cachestat(2): %v", errno)
	}
	return stat[0], stat[1] + stat[2]
}

// onDisk skips where the temporary folder has no device behind its page cache.
func onDisk(t *testing.T, dir string) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC {
		t.Skip("requires a temporary folder on a disk")
	}
}

func TestCacheIsDroppedOrFilled(t *testing.T) {
	const pages = 1 << 20 >> 12
	dir := t.TempDir()
	onDisk(t, dir)
	l := laid(t, dir, "rw=read size=1m filename=f")
	if cached, dirty := cachestat(t, l.Files[0].Name); cached > pages/8 || dirty != 0 {
		t.Errorf("invalidate: %d pages cached, %d dirty", cached, dirty)
	}
	l = laid(t, dir, "rw=read filename=f pre_read=1")
	if cached, _ := cachestat(t, l.Files[0].Name); cached != pages {
		t.Errorf("pre_read: %d pages cached of %d", cached, pages)
	}
	l = laid(t, dir, "rw=read filename=f invalidate=0")
	if cached, _ := cachestat(t, l.Files[0].Name); cached != pages {
		t.Errorf("invalidate=0: %d pages cached of %d", cached, pages)
	}
	l = laid(t, dir, "rw=read filename=f offset=512k")
	if cached, _ := cachestat(t, l.Files[0].Name); cached != pages/2 {
		t.Errorf("invalidate from the middle: %d pages cached of %d", cached, pages)
	}
}

func TestCreateFsync(t *testing.T) {
	dir := t.TempDir()
	onDisk(t, dir)
	l := laid(t, dir, "rw=read size=1m filename=a invalidate=0")
	if _, dirty := cachestat(t, l.Files[0].Name); dirty != 0 {
		t.Errorf("create_fsync: %d dirty pages", dirty)
	}
	l = laid(t, dir, "rw=read size=1m filename=b invalidate=0 create_fsync=0")
	if _, dirty := cachestat(t, l.Files[0].Name); dirty == 0 {
		t.Error("create_fsync=0: no dirty pages")
	}
}

func TestWriteHint(t *testing.T) {
	l := laid(t, t.TempDir(), "rw=write size=4k write_hint=long")
	f, err := os.Open(l.Files[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var hint uint64
	if _, _, errno := unix.Syscall(unix.SYS_FCNTL, f.Fd(), unix.F_GET_RW_HINT, uintptr(unsafe.Pointer(&hint))); errno != 0 || hint != uint64(fiojob.HintLong) {
		t.Errorf("hint %d, %v", hint, errno)
	}
}

// smallDisk mounts a file system of 2 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=2m"); err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatalf("requires mount(2): %v", err)
		}
		t.Skipf("requires mount(2): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFillDevice(t *testing.T) {
	dir := smallDisk(t)
	l := laid(t, dir, "rw=read fill_device=1 bs=64k")
	if f := l.Files[0]; f.Size < 1<<20 || f.Size > 2<<20 || f.Size%(64<<10) != 0 || int64(len(read(t, f.Name))) < f.Size {
		t.Errorf("%+v", f)
	}
	if err := os.WriteFile(filepath.Join(dir, "more"), make([]byte, 64<<10), 0o644); err == nil {
		t.Error("the device is not full")
	}
	os.Remove(filepath.Join(dir, "more"))
	os.Remove(l.Files[0].Name)
	l = laid(t, dir, "rw=write fill_device=1 bs=64k")
	if f := l.Files[0]; f.Real != 0 || f.Size < 1<<20 || f.Size%(64<<10) != 0 {
		t.Errorf("%+v", f)
	}
}

func TestNoSpaceIsAnError(t *testing.T) {
	dir := smallDisk(t)
	for _, keys := range []string{"rw=read size=4m", "rw=write size=4m", "rw=read size=4m fallocate=none", "rw=write size=4m fallocate=keep"} {
		l, err := New(job(t, dir, keys), 1)
		if err == nil {
			err = l.Prepare(t.Context(), Options{})
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v", keys, err)
		}
		os.Remove(l.Files[0].Name)
	}
}

// TestInteropSizes compares the files that are laid out with those of fio.
func TestInteropSizes(t *testing.T) {
	if testing.Short() {
		t.Skip("requires time")
	}
	fio, err := exec.LookPath("fio")
	if err != nil {
		if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
			t.Fatal("requires fio")
		}
		t.Skip("requires fio")
	}
	for _, keys := range []string{
		"rw=read size=1m nrfiles=3", "rw=read size=40k nrfiles=3 bs=1k", "rw=read size=41k nrfiles=3 bs=1k", "rw=randrw size=64k offset=16k",
		"rw=write size=64k", "rw=write size=64k fallocate=none", "rw=write size=64k fallocate=truncate", "rw=write size=64k fallocate=keep",
		"rw=write size=64k overwrite=1", "rw=read filesize=12k nrfiles=2", "rw=randtrim size=64k", "rw=read filesize=16k size=1m offset=4k",
		"rw=write filename=old size=32k", "rw=write filename=old size=128k", "rw=write filename=old file_append=1 size=32k fallocate=truncate",
		"rw=read filename=old size=50%", "rw=read filename=old size=128k", "rw=read filename=old offset=25% size=64k",
	} {
		var made [2]string
		for i := range made {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "old"), make([]byte, 64<<10))
			if i == 0 {
				laid(t, dir, keys)
			} else {
				args := []string{"--name=j", "--directory=" + dir, "--create_only=1"}
				for key := range strings.FieldsSeq(keys) {
					args = append(args, "--"+key)
				}
				if out, err := exec.CommandContext(t.Context(), fio, args...).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v: %s", keys, err, out)
				}
			}
			made[i] = listing(t, dir)
		}
		if made[0] != made[1] {
			t.Errorf("%s:\n%s\nfio makes\n%s", keys, made[0], made[1])
		}
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %d bytes, %d KiB", e.Name(), st.Size(), blocks(t, filepath.Join(dir, e.Name()))/4096*4))
	}
	return strings.Join(lines, "; ")
}

func TestReplaysHaveNoLayout(t *testing.T) {
	dir := t.TempDir()
	laid(t, dir, "read_iolog=trace filename=f")
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("made: %v", entries)
	}
}

func TestNoFileIsMadeAmongDevices(t *testing.T) {
	const name = "/dev/blkbench-no-such-device"
	if !AmongDevices(name) {
		t.Skip("requires a /dev of its own file system")
	}
	if AmongDevices("/dev/shm/x") || AmongDevices(filepath.Join(t.TempDir(), "x")) {
		t.Error("other file systems are taken for that of devices")
	}
	l := Layout{job: &fiojob.Job{}, Files: []File{{Name: name}}}
	l.job.Files.AllowCreate = true
	if f, err := l.open(&l.Files[0], 0); err == nil || !strings.Contains(err.Error(), "no such device") {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := os.Stat(name); err == nil {
		os.Remove(name)
		t.Error("it was made")
	}
}
