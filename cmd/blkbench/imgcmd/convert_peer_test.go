package imgcmd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
)

// images are what most of the tests here work on.
var images = []string{
	"create -q -f raw a.raw 1M", "create -q -f raw b.raw 1M", "create -q -f raw c.raw 1537k", "create -q -f qcow2 q.qcow2 1M",
	"create -q -f qcow2 -b a.raw -F raw top.qcow2", "create -q -f qcow2 -b top.qcow2 -F qcow2 upper.qcow2 2M", "create -q -f raw small 1k",
	"qemu-io -f raw -c 'write -P 9 0 200k' -c 'write -P 1 300k 3k' a.raw", "qemu-io -f raw -c 'write -P 9 0 200k' -c 'write -P 7 699904 512' b.raw",
	"qemu-io -f raw -c 'write -P 9 0 200k' -c 'write -P 1 300k 3k' c.raw", "qemu-io -c 'write -P 3 64k 100k' -c 'write -z 256k 64k' top.qcow2",
	"qemu-io -c 'write -P 4 1000 5000' -c 'write -P 4 1900k 20k' upper.qcow2", "qemu-io -c 'write -P 5 0 128k' -c 'write -P 6 900k 70k' q.qcow2",
	"snapshot -c first q.qcow2", "qemu-io -c 'write -P 8 32k 300k' q.qcow2", "bitmap --add -g 64k q.qcow2 marks",
	"bitmap --add --disable -g 128k q.qcow2 old", "qemu-io -c 'write -P 8 500k 30k' q.qcow2",
}

// TestPeerConvertArguments: what is wrong with a command line is said in the same words.
func TestPeerConvertArguments(t *testing.T) {
	p := prepare(t, images...)
	for line := range strings.SplitSeq(strings.TrimSpace(`
convert
convert a.raw
convert -O foo a.raw x
convert -f foo a.raw x
convert -f raw nope x
convert -S 100 a.raw x
convert -S foo a.raw x
convert -m 0 a.raw x
convert -m 17 a.raw x
convert -m foo a.raw x
convert -n -o x=1 a.raw x
convert --target-is-zero a.raw x
convert -f raw -n a.raw nope
convert -f raw -c a.raw x
convert -c -C a.raw x
convert -S 4k -C a.raw x
convert -f raw -l foo a.raw x
convert -l foo q.qcow2 x
convert -l snapshot.id=3 q.qcow2 x
convert -l snapshot.foo=3 q.qcow2 x
convert -f raw -t foo a.raw x
convert -T foo a.raw x
convert -B a.raw -O qcow2 top.qcow2 x
convert -B a.raw -F raw -O raw top.qcow2 x
convert -O qcow2 -o backing_file=a.raw top.qcow2 x
convert -f raw -O qcow2 -o foo=3 a.raw x
convert -f raw -O qcow2 -o cluster_size=3 a.raw x
convert -f raw -n a.raw small
convert -r foo a.raw x
convert -f raw --bitmaps a.raw x
convert --skip-broken-bitmaps a.raw x
convert --bitmaps -O raw q.qcow2 x
convert --bitmaps -O qcow2 q.qcow2 q.qcow2 x
convert --target-image-opts a.raw x
convert -f raw a.raw /nope/x
convert -f raw -O qcow2 a.raw /nope/x
convert -f raw -c -O qcow2 -o preallocation=metadata a.raw x
convert -f raw -B a.raw -F raw -O qcow2 a.raw b.raw x
convert -o a.raw x
convert -f raw -l a -O raw a.raw b.raw x
convert -l a -O raw q.qcow2 q.qcow2 x
convert -f raw -F raw -O qcow2 a.raw x
compare
compare a.raw
compare -f raw -F raw nope a.raw
compare -f raw -F raw a.raw nope
compare -T foo a.raw b.raw
compare -f foo a.raw b.raw
compare -x a b
compare -f
compare -f qcow2 a.raw b.raw
rebase
rebase top.qcow2
rebase -u -b a.raw top.qcow2
rebase -b nope -F raw top.qcow2
rebase -F foo -b a.raw top.qcow2
rebase -f foo -b b.raw top.qcow2
rebase -t foo -b b.raw top.qcow2
rebase -T foo -b b.raw top.qcow2
rebase -f raw -u -b a.raw -F raw a.raw
commit
commit -f raw a.raw
commit -b nope top.qcow2
commit -t foo top.qcow2
commit -r foo top.qcow2
commit q.qcow2
dd
dd if=a.raw
dd -f raw if=b.raw of=o.raw bs=0
dd -f raw if=b.raw of=o.raw count=foo
dd if=b.raw of=o.raw foo=3
dd if=b.raw of=o.raw foo
dd -f raw if=nope of=o.raw
dd -f raw -O foo if=a.raw of=o.raw
dd -f foo if=a.raw of=o.raw
dd -f raw if=a.raw of=/nope/x
dd -n if=b.raw of=o.raw
bench
bench -c foo a.raw
bench -d foo a.raw
bench -o foo a.raw
bench -S foo a.raw
bench --pattern 256 -w a.raw
bench --flush-interval 10 a.raw
bench -w --flush-interval foo a.raw
bench -t foo a.raw
bench -i foo a.raw
bench -f raw -n a.raw
bench -f raw nope
bench a.raw b.raw
bench -w --flush-interval 10 -d 20 a.raw
bench -s 3G a.raw
bench -c 10 -S 3G a.raw`), "\n") {
		p.same(t, line)
	}
}

// TestPeerCompare finds the same first difference, and leaves with the same exit code.
func TestPeerCompare(t *testing.T) {
	p := prepare(t, append(slices.Clip(images), "create -q -f raw d.raw 1537k", "qemu-io -f raw -c 'write -P 9 0 200k' -c 'write -P 1 300k 3k' -c 'write -P 1 1300000 1' d.raw")...)
	for _, line := range []string{
		"compare -f raw -F raw a.raw b.raw", "compare -f raw -F raw a.raw a.raw", "compare -f raw -F raw a.raw c.raw", "compare -f raw -F raw c.raw a.raw",
		"compare -s -f raw -F raw a.raw c.raw", "compare -q -f raw -F raw a.raw b.raw", "compare -q -f raw -F raw a.raw c.raw", "compare -f raw -F qcow2 a.raw top.qcow2",
		"compare top.qcow2 upper.qcow2", "compare -f raw -F raw a.raw d.raw", "compare -s -f raw -F qcow2 a.raw q.qcow2", "compare -s upper.qcow2 top.qcow2",
		"compare -f raw -F raw c.raw b.raw", "compare -s top.qcow2 top.qcow2", "compare -U top.qcow2 top.qcow2",
	} {
		p.same(t, line)
	}
}

// TestPeerConvert converts in every way that the options know; what comes out reads the same and passes the real program's check.
func TestPeerConvert(t *testing.T) {
	p := prepare(t, images...)
	for i, args := range []string{
		"-f raw -O raw a.raw", "-f raw -O qcow2 a.raw", "-f raw -O qcow2 -c a.raw", "-O raw q.qcow2", "-O qcow2 q.qcow2", "-O qcow2 -W -m 3 q.qcow2",
		"-O raw -S 0 q.qcow2", "-O raw -S 64k upper.qcow2", "-O raw -C q.qcow2", "-f raw -O raw -C a.raw", "-O qcow2 -l first q.qcow2", "-O qcow2 -l snapshot.name=first q.qcow2",
		"-O qcow2 -l snapshot.id=1 q.qcow2", "-O qcow2 -l 1 q.qcow2", "-O qcow2 --bitmaps q.qcow2", "-O qcow2 -B a.raw -F raw top.qcow2",
		"-O qcow2 -o backing_file=a.raw,backing_fmt=raw -c top.qcow2", "-O qcow2 -B top.qcow2 -F qcow2 upper.qcow2", "-f raw -O qcow2 c.raw a.raw b.raw",
		"-f raw -O raw c.raw small a.raw", "-f raw -O qcow2 -c small c.raw a.raw", "-O qcow2 -o compression_type=zstd -c -W q.qcow2",
		"-O qcow2 -c -o cluster_size=512 q.qcow2", "-O qcow2 -c -o cluster_size=2M q.qcow2", "-O qcow2 -o preallocation=metadata q.qcow2",
		"-O qcow2 -o preallocation=full q.qcow2", "-O raw -o preallocation=falloc q.qcow2", "-O raw --salvage q.qcow2", "-U -O raw q.qcow2", "-O raw -r 100M q.qcow2",
		"-O raw -t none q.qcow2", "-O raw -T none -t writeback q.qcow2", "-O qcow2 -o data_file=DATA,data_file_raw=on q.qcow2",
	} {
		name := fmt.Sprintf("out%d", i)
		line := "convert " + strings.ReplaceAll(args, "DATA", name+".data") + " " + name
		p.same(t, line)
		p.sameImage(t, name)
		if strings.Contains(args, "--bitmaps") {
			p.same(t, "measure --output=json -O qcow2 "+name)
		}
		// Ours under our own name, too, where the target appears by a rename.
		if r := run(t, "blkbench", p.ours, append([]string{"convert", "--references=allow"}, words(strings.TrimPrefix(strings.ReplaceAll(args, "DATA", name+".mine"), " ")+" own-"+name)...)...); r.code != 0 {
			t.Errorf("blkbench convert %s: %s", args, r.err)
		} else if r := run(t, "peer", p.ours, "compare", name, "own-"+name); r.code != 0 {
			t.Errorf("blkbench convert %s: %s%s", args, r.out, r.err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(p.ours, ".*.part")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestPeerConvertInPlace writes into targets that exist.
func TestPeerConvertInPlace(t *testing.T) {
	p := prepare(t, append(slices.Clip(images), "create -q -f qcow2 t1 2M", "create -q -f raw t2 2M", "qemu-io -f raw -c 'write -P 99 0 2M' t2",
		"create -q -f qcow2 t3 1M", "create -q -f qcow2 -b a.raw -F raw t4", "qemu-io -c 'write -P 99 0 2M' t1")...)
	for _, c := range [][2]string{
		{"convert -n -O qcow2 q.qcow2 t1", "t1"},
		{"convert -n -O raw q.qcow2 t2", "t2"},
		{"convert -n --target-is-zero -O qcow2 q.qcow2 t3", "t3"},
		{"convert -n -O qcow2 -B a.raw top.qcow2 t4", "t4"},
		{"convert -n --target-image-opts q.qcow2 driver=raw,file.filename=t2", "t2"},
	} {
		p.same(t, c[0])
		p.sameImage(t, c[1])
	}
}

// TestPeerRebase keeps the content whatever backing file an image gets.
func TestPeerRebase(t *testing.T) {
	p := prepare(t, images...)
	for _, line := range []string{
		"rebase -b b.raw -F raw top.qcow2", "rebase -b c.raw -F raw top.qcow2", "rebase -u -b a.raw -F raw top.qcow2", "rebase -b b.raw -F raw upper.qcow2",
		"rebase -b '' upper.qcow2", "rebase -b q.qcow2 -F qcow2 upper.qcow2", "rebase -b '' top.qcow2", "rebase -u -b '' upper.qcow2", "rebase -u -F raw top.qcow2",
	} {
		p.same(t, line)
		for _, name := range []string{"top.qcow2", "upper.qcow2"} {
			p.sameImage(t, name)
		}
	}
}

// TestPeerCommit writes into the backing file and empties the image.
func TestPeerCommit(t *testing.T) {
	for _, lines := range []string{
		"commit top.qcow2", "commit -d top.qcow2", "commit upper.qcow2;commit -q top.qcow2", "commit -b a.raw upper.qcow2", "commit -b top.qcow2 upper.qcow2", "commit -r 10M -t writeback top.qcow2",
	} {
		p := prepare(t, images...)
		for line := range strings.SplitSeq(lines, ";") {
			p.same(t, line)
			for _, name := range []string{"a.raw", "top.qcow2"} {
				p.sameImage(t, name)
			}
		}
		if !strings.Contains(lines, "-b a.raw") { // what lies between is not valid any more
			p.sameImage(t, "upper.qcow2")
		}
	}
}

// TestPeerDD copies parts.
func TestPeerDD(t *testing.T) {
	p := prepare(t, images...)
	for _, args := range []string{
		"-f raw -O raw if=b.raw of=OUT", "-f raw if=b.raw of=OUT bs=64k count=2", "-f raw if=b.raw of=OUT bs=64k skip=10", "-f raw -O qcow2 if=b.raw of=OUT bs=1000 skip=3 count=20",
		"-f raw if=a.raw of=OUT skip=100000000", "-f raw if=a.raw of=OUT bs=1M count=7", "-f qcow2 -O raw if=q.qcow2 of=OUT bs=100k skip=1", "-U -f raw if=small of=OUT bs=3 count=5",
		"-f raw if=a.raw of=OUT count=5 skip=5", "-f raw if=a.raw of=OUT count=0",
	} {
		p.same(t, "dd "+strings.ReplaceAll(args, "OUT", "out"))
		p.sameImage(t, "out")
		theirs, err := os.Stat(filepath.Join(p.theirs, "out"))
		if err != nil {
			t.Fatal(err)
		}
		if ours, err := os.Stat(filepath.Join(p.ours, "out")); err != nil || (ours.Size() != theirs.Size() && !strings.Contains(args, "-O qcow2")) {
			t.Errorf("dd %s: %v, %v", args, ours, err)
		}
	}
}

// TestPeerBench prints the same lines but for the time.
func TestPeerBench(t *testing.T) {
	p := prepare(t, images...)
	took := regexp.MustCompile(`[0-9]+\.[0-9]{3} seconds`)
	for _, args := range []string{
		"-f raw -c 100 a.raw", "-f raw -w -c 100 -d 4 -s 8192 -S 4096 -o 512 --pattern 3 b.raw", "-f raw -w -c 300 -d 16 --flush-interval=20 b.raw",
		"-f raw -w -c 200 --flush-interval=100 --no-drain b.raw", "-f raw -c 0 a.raw", "-c 50 -d 7 q.qcow2", "-f raw -c 50 -q a.raw", "-t none -n -f raw -c 10 a.raw",
		"-i io_uring -f raw -c 10 a.raw", "-i threads -f raw -c 10 a.raw", "-U -f raw -c 10 a.raw", "-f raw -c 10 -s 0 a.raw", "-w -c 30 -s 64k q.qcow2",
	} {
		want, got := run(t, "peer", p.theirs, words("bench "+args)...), run(t, "qemu-img", p.ours, words("bench "+args)...)
		if got.code != want.code || got.err != want.err || took.ReplaceAllString(got.out, "T") != took.ReplaceAllString(want.out, "T") {
			t.Errorf("bench %s:\n got %d %s%s\nwant %d %s%s", args, got.code, got.out, got.err, want.code, want.out, want.err)
		}
	}
	p.sameImage(t, "b.raw")
}

// TestPeerConvertMatrix: over pairs of create options, what one writes the other reads.
func TestPeerConvertMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("many images")
	}
	p := prepare(t, images...)
	values := [][]string{
		{"compat=1.1", "compat=0.10"},
		{"cluster_size=64k", "cluster_size=4k", "cluster_size=1M"},
		{"", "refcount_bits=1", "refcount_bits=64"},
		{"", "lazy_refcounts=on"},
		{"", "extended_l2=on"},
		{"", "compression_type=zstd"},
		{"", "preallocation=metadata", "preallocation=falloc"},
	}
	for i, pick := range pairwise(values) {
		o := strings.Join(pick, ",")
		flags := []string{"", "-c ", "-c -W ", "-W "}[i%4]
		if strings.Contains(o, "preallocation") {
			flags = strings.ReplaceAll(flags, "-c ", "")
		}
		name := fmt.Sprintf("m%d", i)
		line := fmt.Sprintf("convert %s-O qcow2 -o %s upper.qcow2 %s", flags, o, name)
		want, got := run(t, "peer", p.theirs, words(line)...), run(t, "qemu-img", p.ours, words(line)...)
		if got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
		if want.code != 0 || got.code != 0 {
			continue
		}
		p.sameImage(t, name)
		// The real program's image by our reader.
		r := run(t, "qemu-img", p.theirs, "compare", name, "upper.qcow2")
		if r.code != 0 {
			t.Errorf("%s: our compare of the real program's image: %+v", line, r)
		}
	}
}

// TestConvertNoSpace runs out of space in the middle: a clear message, and under our own name nothing is left behind.
func TestConvertNoSpace(t *testing.T) {
	enginetest.RequireRoot(t)
	enginetest.Require(t, "qemu-img")
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("requires mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	src := filepath.Join(t.TempDir(), "src")
	data := make([]byte, 8<<20)
	for i := range data {
		data[i] = byte(i*i>>7) | 1
	}
	if err := os.WriteFile(src, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"raw", "qcow2"} {
		for _, program := range []string{"qemu-img", "blkbench"} {
			r := run(t, program, dir, "convert", "-f", "raw", "-O", format, src, "out")
			if r.code != 1 || !strings.HasPrefix(r.err, program+": error while writing at byte ") || !strings.HasSuffix(r.err, ": No space left on device\n") {
				t.Errorf("%s to %s: %+v", program, format, r)
			}
			list, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if program == "blkbench" && len(list) != 0 {
				t.Errorf("%s to %s leaves %v", program, format, list)
			}
			if program == "qemu-img" && format == "qcow2" {
				// Leaked clusters at most.
				out, err := exec.Command("qemu-img", "check", "-f", "qcow2", filepath.Join(dir, "out")).CombinedOutput()
				if code := err; code != nil && !strings.Contains(code.Error(), "exit status 3") {
					t.Errorf("check: %v\n%s", err, out)
				}
			}
			_ = os.Remove(filepath.Join(dir, "out"))
		}
	}
}

// TestConvertTargetLocked: a target that somebody has open is not replaced, and nothing is left behind.
func TestConvertTargetLocked(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "target")
	for _, f := range []string{name, filepath.Join(dir, "src")} {
		if err := os.WriteFile(f, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := &Env{Registry: engine.NewRegistry(raw.Driver(), file.Driver())}
	eng, err := NewEngine(env, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	held, err := eng.OpenName(t.Context(), name, "raw", engine.OpenFlags{Write: true})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, "blkbench", dir, "convert", "-f", "raw", "src", "target")
	if r.code != 1 || !strings.Contains(r.err, `Failed to get "write" lock`) {
		t.Errorf("%+v", r)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "blkbench", dir, "convert", "-f", "raw", "-O", "raw", "src", "target"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	st, err := os.Stat(name)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want the mode of the file that was replaced", st, err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestConvertOwn: what there is under our own name only.
func TestConvertOwn(t *testing.T) {
	enginetest.Require(t, "qemu-img", "qemu-io")
	p := prepare(t, images...)
	r := run(t, "blkbench", p.ours, "convert", "--progress=json", "-O", "qcow2", "-c", "--compression-level", "6", "q.qcow2", "x")
	if r.code != 0 || !strings.Contains(r.err, `"done":1048576,"total":1048576,`) {
		t.Errorf("%+v", r)
	}
	for _, c := range []struct{ line, want string }{
		{"convert --progress=foo q.qcow2 y", "--progress must be"},
		{"convert --compression-level x -O qcow2 q.qcow2 y", "Invalid compression level: x"},
		{"convert -O raw top.qcow2 y", "--references"},
		{"commit -f qcow2 top.qcow2", "--references"},
		{"rebase -b '' top.qcow2", "is probed only for reading"},
		{"convert -n -O qcow2 --compression-level 99 q.qcow2 x", "compression-level"},
		{"convert --throttle=iops-totl=5 q.qcow2 y", "iops-total"},
	} {
		if r := run(t, "blkbench", p.ours, words(c.line)...); r.code != 1 || !strings.Contains(r.err, c.want) {
			t.Errorf("%s: %+v", c.line, r)
		}
	}
	// A bucket of a tenth of a second's worth is full at the start: what is more takes its time.
	began := time.Now()
	if r := run(t, "blkbench", p.ours, "convert", "--throttle=bps-total=512k", "q.qcow2", "slow"); r.code != 0 || time.Since(began) < 300*time.Millisecond {
		t.Errorf("after %v: %+v", time.Since(began), r)
	}
	if r := run(t, "blkbench", p.ours, "compare", "q.qcow2", "slow"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(filepath.Join(p.ours, "y")); !os.IsNotExist(err) {
		t.Errorf("a failed conversion leaves its target: %v", err)
	}
}
