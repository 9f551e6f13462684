package imgcmd

import "testing"

// mapImages make chains of many kinds of clusters.
var mapImages = []string{
	"create -q -f raw base.raw 1M",
	"qemu-io -f raw -c 'write -P 1 64k 64k' -c 'write -P 2 512k 4k' base.raw",
	"create -q -f qcow2 -b base.raw -F raw mid.q 2M",
	"qemu-io -c 'write -P 3 0 64k' -c 'write -z 128k 64k' -c 'write -P 4 1536k 128k' -c 'discard 512k 64k' mid.q",
	"create -q -f qcow2 -o cluster_size=4k -b mid.q -F qcow2 top.q 3M",
	"qemu-io -c 'write -P 5 4k 4k' -c 'write -P 5 12k 4k' -c 'write -z 1540k 8k' -c 'write -zu 32k 8k' -c 'discard 4k 4k' top.q",
	"create -q -f qcow2 comp.q 1M",
	"qemu-io -c 'write -c -P 5 64k 64k' -c 'write -P 5 256k 64k' comp.q",
	"create -q -f qcow2 -o preallocation=metadata pre.q 1M",
	"qemu-io -c 'write -P 5 64k 64k' pre.q",
	"create -q -f qcow2 -o preallocation=full full.q 1M",
	"create -q -f qcow2 -o extended_l2=on sub.q 1M",
	"qemu-io -c 'write -P 5 2k 4k' -c 'write -z 64k 6k' -c 'write -P 5 66k 2k' -c 'discard 66k 2k' sub.q",
	"create -q -f qcow2 -o data_file=d.d,data_file_raw=on data.q 1M",
	"qemu-io -c 'write -P 5 128k 64k' -c 'write -z 256k 64k' data.q",
	"create -q -f qcow2 -o data_file=e.d edata.q 1M",
	"qemu-io -c 'write -P 5 128k 64k' -c 'write -z 256k 64k' edata.q",
	"create -q -f qcow2 -o compat=0.10 v2.q 1M",
	"qemu-io -c 'write -P 5 128k 64k' -c 'write -z 256k 64k' v2.q",
	"create -q -f qcow2 empty.q 0",
	"create -q -f raw odd.raw 1000",
	"create -q -f qcow2 -b base.raw -F raw -o extended_l2=on subtop.q 2M",
	"qemu-io -c 'write -P 5 66k 2k' -c 'write -z 80k 2k' subtop.q",
}

func TestMapSaysWhatThePeerSays(t *testing.T) {
	p := prepare(t, mapImages...)
	p.ours = p.theirs
	for _, image := range []string{
		"base.raw", "mid.q", "top.q", "comp.q", "pre.q", "full.q", "sub.q", "data.q", "edata.q", "v2.q", "empty.q", "odd.raw", "subtop.q",
		"-f raw top.q", "nowhere", "base.raw mid.q", "",
	} {
		for _, how := range []string{
			"", "--output=json ", "--output=json -s 3k -l 70k ", "--start-offset=1M ", "--output=json --start-offset=1G ", "--max-length=0 --output=json ",
		} {
			p.same(t, "map "+how+image)
		}
	}
	for _, line := range []string{
		"map -s foo top.q", "map -l -1 top.q", "map -s 9E top.q", "map --output=xml top.q", "map --start=4k --max=4k top.q", "map -U top.q",
		"map --image-opts driver=raw,offset=64k,size=64k,file.filename=base.raw", "map --output=json --image-opts driver=raw,offset=64k,file.filename=base.raw",
	} {
		p.same(t, line)
	}
}
