package imgcmd

import "testing"

// chainImages make the images that tests look at.
var chainImages = []string{
	"create -q -f raw base.raw 5M",
	"create -q -f qcow2 b.q 2M",
	"create -q -f qcow2 -b b.q -F qcow2 o.q 4M",
	"snapshot -c s1 o.q",
	"qemu-io -c 'write -P 7 0 1M' o.q",
	"snapshot -c second o.q",
	"bitmap --add o.q bm0",
	"bitmap --add --disable -g 128k o.q bm1",
	"create -q -f qcow2 -o data_file=d.d,data_file_raw=on d.q 1M",
	"create -q -f qcow2 -o compat=0.10 v2.q 1M",
	"create -q -f qcow2 -o extended_l2=on,compression_type=zstd,cluster_size=128k,refcount_bits=64,lazy_refcounts=on x.q 3G",
	"create -q -f qcow2 -b 'json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"b.q\"}}' -F qcow2 j.q",
	"create -q -f qcow2 -u -b loop.q -F qcow2 loop.q- 1M",
	"rebase -u -b loop.q- -F qcow2 loop.q-",
	"create -q -f qcow2 -u -b nowhere.q -F qcow2 broken.q 1M",
	"create -q -f qcow2 -b o.q -F qcow2 top.q",
}

func TestInfoSaysWhatThePeerSays(t *testing.T) {
	p := prepare(t, chainImages...)
	p.ours = p.theirs // nothing is changed
	for _, image := range []string{
		"base.raw", "b.q", "o.q", "d.q", "v2.q", "x.q", "j.q", "loop.q-", "broken.q", "top.q", "nowhere", ".", "-f raw b.q", "-f qcow2 base.raw",
		"-f foo b.q", "--image-opts driver=qcow2,file.filename=o.q", "--image-opts driver=qcow2,file.driver=file,file.filename=o.q",
		"'json:{\"driver\":\"qcow2\",\"file.filename\":\"top.q\"}'", "--image-opts -f qcow2 b.q", "b.q o.q", "", "-U b.q", "--force b.q", "./b.q",
		"file:b.q", "foo:b.q", "--object secret,id=a,data=b b.q", "--image-opts nowhere.q", "--bogus b.q", "b.q --format",
	} {
		for _, how := range []string{"", "--output=json ", "--backing-chain ", "--output json --backing ", "--output=foo "} {
			p.same(t, "info "+how+image)
		}
	}
}

func TestWrongNodeOptionsSayWhatThePeerSays(t *testing.T) {
	p := prepare(t, "create -q -f qcow2 o.q 1M")
	p.ours = p.theirs
	for _, line := range []string{
		"info --image-opts driver=qcow2,file.filename=o.q,x=y", "info --image-opts driver=qcow2,file.filename=o.q,file.x=y", "info --image-opts driver=qcow2",
		"info --image-opts file.filename=o.q", "info --image-opts driver=raw,offset=1M,file.filename=o.q",
		"info --image-opts driver=foo,file.filename=o.q",
		"info --image-opts driver=qcow2,file.driver=foo,file.filename=o.q", "info --image-opts driver=qcow2,file.driver=file",
		"info --image-opts driver=file,filename=o.q", "info --image-opts driver=qcow2,file.filename=nonex",
		"info --image-opts driver=qcow2,file.filename=o.q,lazy-refcounts=foo", "info --image-opts driver=qcow2,file.filename=o.q,cache-size=foo",
		"info --image-opts driver=qcow2,file.filename=o.q,read-only=on", "resize --image-opts driver=qcow2,file.filename=o.q,read-only=on 2M",
		"info 'json:{\"driver\":\"qcow2\"}'", "info 'json:{\"file\":{\"driver\":\"file\",\"filename\":\"o.q\"}}'", "info ''",
		"check -T none o.q", "check -T directsync o.q", "check -T unsafe o.q", "check -T '' o.q", "info o.q/x",
	} {
		p.same(t, line)
	}
}
