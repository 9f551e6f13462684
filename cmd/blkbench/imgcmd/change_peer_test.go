package imgcmd

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// resizeLines change the images a.q and a.raw one after another.
var resizeLines = []string{
	"resize",
	"resize a.q",
	"resize a.q 2M x",
	"resize a.q +1M",
	"resize a.q -512k",
	"resize --shrink a.q -512k",
	"resize a.q foo",
	"resize a.q +foo",
	"resize a.q 0",
	"resize --shrink a.q 0",
	"resize -q a.q 3M",
	"resize a.q 3M",
	"resize a.raw 2M",
	"resize -f raw a.raw 2M",
	"resize -f raw --preallocation=full a.raw 3M",
	"resize -f raw --preallocation=metadata a.raw 4M",
	"resize -f raw --preallocation=foo a.raw 4M",
	"resize --preallocation=falloc a.q 4M",
	"resize --preallocation=falloc --shrink a.q 1M",
	"resize -f raw a.raw 1000",
	"resize -f raw a.raw --shrink 1000",
	"resize a.q 1000 --shrink",
	"resize --shrink a.q 1000",
	"resize nonex 1M",
	"resize -f foo a.q 1M",
	"resize a.q 8E",
	"resize a.q +8E",
	"resize -f qcow2 a.q 1G",
	"resize --shrink a.q -- -1k",
	"resize a.q --shrink -- -1k",
	"resize a.q 2G",
	"resize --shrink a.q 1G",
}

// snapshotLines change the images a.q, v2.q and a.raw one after another.
var snapshotLines = []string{
	"snapshot",
	"snapshot a.q b",
	"snapshot -l a.q",
	"snapshot -c s1 a.q",
	"snapshot -c s1 a.q",
	"snapshot -c '' a.q",
	"snapshot -l -c s1 a.q",
	"snapshot -c s1 -d s2 a.q",
	"snapshot -a foo a.q",
	"snapshot -d foo a.q",
	"snapshot -d s1 a.q",
	"snapshot -a 2 a.q",
	"snapshot -l a.raw",
	"snapshot -c s a.raw",
	"snapshot -d s a.raw",
	"snapshot -c s -U a.q",
	"snapshot -l -U a.q",
	"snapshot -l nonex",
	"snapshot -c",
	"snapshot -q -c x a.q",
	"snapshot --image-opts -l driver=qcow2,file.filename=a.q",
	"snapshot -d 1 a.q",
	"snapshot -c 5 a.q",
	"snapshot -f qcow2 -l a.q",
	"amend",
	"amend a.q",
	"amend -o",
	"amend -o compat=0.10 a.q",
	"snapshot -d x a.q",
	"snapshot -d 5 a.q",
	"amend -p -o compat=0.10 a.q",
	"amend -p -o compat=0.10 a.q",
	"amend -o lazy_refcounts=on a.q",
	"amend -o cluster_size=4k a.q",
	"amend -o foo=1 a.q",
	"amend -o foo a.q",
	"amend -o '' a.q",
	"amend -o a, a.q",
	"amend -o size=2M a.q",
	"amend -o size=2M -q a.q",
	"amend -o refcount_bits=3 a.q",
	"amend -o refcount_bits=foo a.q",
	"amend -o compat=foo a.q",
	"amend -o backing_file=a.raw,backing_fmt=raw a.q",
	"amend -o backing_file=nonex a.q",
	"amend -o backing_fmt=qcow2 a.q",
	"amend -o data_file=foo a.q",
	"amend -o data_file_raw=on a.q",
	"amend -t foo -o compat=1.1 a.q",
	"amend -f raw -o size=1M a.raw",
	"amend -o size=1M a.raw",
	"amend -o compat=1.1 a b",
	"amend --force -o compat=1.1 v2.q",
	"amend -o compat=1.1 nonex",
	"amend -o compat=0.10,lazy_refcounts=on v2.q",
	"amend -o compat=0.10,refcount_bits=64 v2.q",
	"amend -o encryption=on v2.q",
	"amend -o encrypt.format=luks v2.q",
	"amend -o preallocation=full v2.q",
}

// bitmapLines change the image a.q one after another.
var bitmapLines = []string{
	"bitmap",
	"bitmap a.q",
	"bitmap a.q b0",
	"bitmap --add a.q b0",
	"bitmap --add a.q b0",
	"bitmap --add -g 3 a.q b1",
	"bitmap --add -g 0 a.q b1",
	"bitmap --add -g 256 a.q b1",
	"bitmap --add -g 4G a.q b1",
	"bitmap --add -g foo a.q b1",
	"bitmap --add -g 128k --disable a.q b1",
	"bitmap --enable a.q b1",
	"bitmap --disable a.q b1",
	"bitmap --clear a.q b1",
	"bitmap --clear a.q nope",
	"bitmap --remove a.q nope",
	"bitmap --merge b0 a.q b1",
	"bitmap --merge nope a.q b1",
	"bitmap --merge b0 -b big.q -F qcow2 a.q b1",
	"bitmap --merge b0 -b big.q a.q b1",
	"bitmap --merge b0 -b nonex a.q b1",
	"bitmap --add -b big.q a.q b2",
	"bitmap --clear -F qcow2 a.q b1",
	"bitmap --clear -g 4k a.q b1",
	"bitmap --merge b0 -F qcow2 a.q b1",
	"bitmap --add --clear --merge b0 a.q b9",
	"bitmap --remove a.q b9",
	"bitmap --add --remove a.q b9",
	"bitmap --add a.q ''",
	"bitmap --add a.q b0 c",
	"bitmap --add nonex b",
	"bitmap --add --image-opts driver=qcow2,file.filename=a.q bimg",
	"bitmap --image-opts -f qcow2 --add a.q bimg",
	"bitmap -f foo --add a.q b",
	"bitmap --add --add a.q bb",
	"bitmap --foo a.q bb",
}

// measureLines look at the images a.q, o.q and a.raw.
var measureLines = []string{
	"measure",
	"measure a.q",
	"measure a.raw",
	"measure -O qcow2 a.q",
	"measure -O qcow2 --output=json a.q",
	"measure -O qcow2 o.q",
	"measure -O raw o.q",
	"measure -O raw --size 1G",
	"measure --size 1G",
	"measure --size 1G -O qcow2",
	"measure --size 1G -O qcow2 -o cluster_size=4k",
	"measure --size 1G -O qcow2 -o preallocation=full",
	"measure --size 1G -O qcow2 -o preallocation=metadata",
	"measure --size 1G a.q",
	"measure --size foo",
	"measure --size -1",
	"measure --size 1G -f qcow2",
	"measure --size 1G -l s1",
	"measure --size 1G --image-opts",
	"measure --size 1G -O foo",
	"measure --size 1G -O qcow2 -o foo=1",
	"measure --size 1G -O qcow2 -o cluster_size=3",
	"measure --size 1G -O qcow2 -o size=2G",
	"measure -O qcow2 -l s1 a.q",
	"measure -O qcow2 -l snapshot.name=s1 a.q",
	"measure -O qcow2 -l nope a.q",
	"measure -O qcow2 -o help",
	"measure --output=foo a.q",
	"measure nonex",
	"measure -f foo a.q",
	"measure -f raw a.q",
	"measure -O qcow2 -U a.q",
	"measure --size 1000 -O raw",
	"measure --size 8E -O raw",
	"measure --size 1000 -O qcow2",
	"measure --size 0 -O qcow2 --output json",
	"measure -O qcow2 -o extended_l2=on a.q",
	"measure -O qcow2 -o compat=0.10 a.q",
	"measure -O qcow2 -o data_file=foo a.q",
	"measure -O qcow2 -o backing_file=foo a.q",
	"measure a b",
	"measure --size 1P -O qcow2",
	"measure --size 1G -O qcow2 -o refcount_bits=1,cluster_size=2M",
	"measure --size 1G -O qcow2 -o refcount_bits=64,cluster_size=512",
	"measure --size 1G -O qcow2 -o lazy_refcounts=foo",
	"measure --image-opts driver=qcow2,file.filename=a.q",
}

// noDate takes the dates out of a list of snapshots: the two programs did not run in the same second.
var noDate = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)

func TestResizeDoesWhatThePeerDoes(t *testing.T) {
	p := prepare(t, "create -q -f qcow2 a.q 1M", "create -q -f raw a.raw 1M")
	for _, line := range resizeLines {
		p.same(t, line)
	}
	p.sameImage(t, "a.q")
	p.sameImage(t, "a.raw")
}

func TestSnapshotAndAmendDoWhatThePeerDoes(t *testing.T) {
	p := prepare(t, "create -q -f qcow2 a.q 1M", "create -q -f raw a.raw 1M", "create -q -f qcow2 -o compat=0.10 v2.q 1M",
		"qemu-io -c 'write -P 1 0 200k' a.q", "qemu-io -c 'write -P 1 0 200k' v2.q")
	p.filter = func(s string) string { return noDate.ReplaceAllString(s, "DATE") }
	for _, line := range snapshotLines {
		p.same(t, line)
	}
	p.sameImage(t, "a.q")
	p.sameImage(t, "v2.q")
}

func TestBitmapDoesWhatThePeerDoes(t *testing.T) {
	p := prepare(t, "create -q -f qcow2 a.q 1M", "create -q -f qcow2 big.q 2M", "bitmap --add big.q b0", "create -q -f qcow2 same.q 1M",
		"bitmap --add -g 4k same.q dirty", "qemu-io -c 'write 0 4k' -c 'write 700k 4k' same.q")
	for _, line := range append(slices.Clone(bitmapLines), "bitmap --add --merge dirty -b same.q -F qcow2 a.q merged", "bitmap --merge merged a.q b0") {
		p.same(t, line)
	}
	p.sameImage(t, "a.q")
	theirs, ours := run(t, "peer", p.theirs, "info", "--output=json", "a.q"), run(t, "peer", p.ours, "info", "--output=json", "a.q")
	if a, b := withoutActualSize(theirs.out), withoutActualSize(ours.out); a != b {
		t.Errorf("the peer says of its image\n%s\nand of ours\n%s", a, b)
	}
	// The bits themselves, as the peer's own export shows them.
	const export = "driver=nbd,server.type=unix,server.path=s,export=,x-dirty-bitmap=qemu:dirty-bitmap:merged"
	for _, dir := range []string{p.theirs, p.ours} {
		serve(t, dir, true, "-B", "merged", "a.q")
	}
	theirs, ours = run(t, "peer", p.theirs, "map", "--output=json", "--image-opts", export), run(t, "peer", p.ours, "map", "--output=json", "--image-opts", export)
	if theirs != ours || theirs.code != 0 {
		t.Errorf("the merged bitmap is\n%+v\nand should be\n%+v", ours, theirs)
	}
}

func TestMeasureSaysWhatThePeerSays(t *testing.T) {
	p := prepare(t, "create -q -f qcow2 a.q 1M", "create -q -f raw a.raw 1M", "qemu-io -c 'write 0 200k' a.q", "snapshot -c s1 a.q",
		"create -q -f qcow2 -b a.q -F qcow2 o.q 2M", "bitmap --add a.q b0", "qemu-io -c 'write 300k 1k' -c 'write -z 320k 64k' o.q")
	p.ours = p.theirs
	for _, line := range measureLines {
		p.same(t, line)
	}
	for _, row := range pairwise([][]string{
		{"", "cluster_size=512", "cluster_size=4k", "cluster_size=2M"},
		{"", "compat=0.10"},
		{"", "refcount_bits=1", "refcount_bits=64"},
		{"", "extended_l2=on"},
		{"", "preallocation=metadata", "preallocation=falloc", "preallocation=full"},
		{"--size 0", "--size 1", "--size 1G", "--size 8T", "a.q", "o.q", "a.raw"},
	}) {
		line := "measure -O qcow2 " + row[len(row)-1]
		if len(row) > 1 {
			line += " -o " + strings.Join(row[:len(row)-1], ",")
		}
		p.same(t, line)
	}
}
