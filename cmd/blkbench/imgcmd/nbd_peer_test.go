package imgcmd

import (
	"strings"
	"testing"
)

func TestNetworkTargetsSayWhatThePeerSays(t *testing.T) {
	p := prepare(t, "create -q -f qcow2 a.q 1M", "qemu-io -c 'write 0 100k' a.q", "create -q -f raw r.raw 3M")
	p.ours = p.theirs
	for _, line := range []string{
		"info nbd:unix:nowhere", "info nbd+unix:///?socket=nowhere", "map nbd:unix:nowhere", "create -f qcow2 nbd:unix:nowhere 1M",
		"create -f raw nbd:unix:nowhere 1M",
	} {
		p.same(t, line)
	}
	for _, line := range []string{"info nbd+unix:///?socket=", "info nbd:", "info nbd://"} {
		p.sameCode(t, line) // the words are our own: they say what is missing
	}
	// QEMU leaves the slash out where there is no export name; the URI specification has it.
	p.filter = func(s string) string { return strings.ReplaceAll(s, "nbd+unix://?", "nbd+unix:///?") }
	serve(t, p.theirs, false, "-f", "raw", "r.raw")
	for _, line := range []string{
		"info nbd:unix:s", "info --output=json nbd+unix:///?socket=s", "info --image-opts driver=nbd,server.type=unix,server.path=s",
		"info -f raw nbd:unix:s", "map --output=json nbd:unix:s", "map nbd:unix:s", "measure nbd:unix:s", "check nbd:unix:s", "snapshot -l nbd:unix:s",
		"resize -f raw nbd:unix:s 4M", "resize -f raw --shrink nbd:unix:s 1M", "create -f raw nbd:unix:s 1M", "create -f raw nbd:unix:s 4M",
		"create -f qcow2 nbd:unix:s 1M", "info nbd:unix:s", "check nbd:unix:s", "map --output=json nbd:unix:s", "create -f qcow2 nbd:unix:s 1G",
		"create -f qcow2 -b nbd:unix:s -F raw over.q",
		"info over.q", "info --backing-chain over.q", "info --output=json --backing-chain over.q",
	} {
		p.same(t, line)
	}
}
