package guest_test

import (
	"flag"
	"fmt"
	"testing"

	"github.com/blkbench/blkbench/engine/enginetest/guest"
)

// TestGuestNVMe runs the NVMe driver's own guest tests on one machine with a controller for every peculiarity.
func TestGuestNVMe(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine")
	}
	const with4k = "logical_block_size=4096,physical_block_size=4096"
	m := guest.Machine{
		Kernel: "nvme.poll_queues=1",
		Controllers: []guest.Controller{
			{Serial: "PLAIN"},
			{Serial: "MANY", Namespaces: []guest.Namespace{{Options: with4k}, {Size: 16}, {Size: 16, Options: "ms=8,pi=1"}, {Size: 16, Options: "ms=8,pi=1,mset=1"}, {Size: 16, Options: "ms=16,pi=2,mset=0,pil=1"}}},
			{Serial: "SMALL", Options: "mdts=1,max_ioqpairs=2,msix_qsize=3"},
			{Serial: "CMB", Options: "cmb_size_mb=16"},
			{Serial: "FAULTY", Namespaces: []guest.Namespace{{Size: 16, Rules: mediaError}}},
			{Serial: "PULLED"},
			{Serial: "KERNEL"},
		},
	}
	guest.Run(t, m, guest.Image{Tests: []string{"nvme", "protocols/nvmepci"}, Programs: []string{"nvme", "qemu-img"}}, guest.GoTest("protocols/nvmepci", patternOf("TestGuest"), "-test.skip=TestGuestPerf"), guest.GoTest("nvme", patternOf("TestGuest")))
}

// mediaError fails reads of one sector, for ever.
const mediaError = `[inject-error]
event = "none"
iotype = "read"
errno = "5"
sector = "2048"
immediately = "off"
`

var only = flag.String("guest.run", "", "run only these tests in the guest")

func patternOf(p string) string {
	if *only != "" {
		return *only
	}
	return p
}

// TestGuestPerf compares our driver with QEMU's and the kernel's on one device in one boot. -guest.perf=ROUNDS runs it.
func TestGuestPerf(t *testing.T) {
	if *perf == 0 {
		t.Skip("measures: -guest.perf=ROUNDS")
	}
	job := guest.GoTest("protocols/nvmepci", "TestGuestPerf")
	job.Seconds = 120 + 90**perf
	job.Env = []string{fmt.Sprintf("GUEST_PERF=%d", *perf)}
	guest.Run(t, guest.Machine{Controllers: []guest.Controller{{Serial: "PLAIN"}}},
		guest.Image{Tests: []string{"protocols/nvmepci"}, Commands: []string{"cmd/blkbench"}, Programs: []string{"qemu-img", "fio"}}, job)
}

var perf = flag.Int("guest.perf", 0, "measure in the guest, so many rounds")
