package guest_test

import (
	"testing"

	"github.com/blkbench/blkbench/engine/enginetest/guest"
)

// TestGuestURing runs the io_uring transport and the file driver on an older kernel (Debian's 6.1) and on a device whose completions
// can be polled for, which most machines do not have.
func TestGuestURing(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine")
	}
	m := guest.Machine{Kernel: "nvme.poll_queues=1", Controllers: []guest.Controller{{Serial: "POLLED", Namespaces: []guest.Namespace{{Size: 4}}}}}
	guest.Run(t, m, guest.Image{Tests: []string{"uring", "protocols/file"}},
		guest.GoTest("uring", patternOf("."), "-test.short"), guest.GoTest("protocols/file", patternOf("TestGuest")))
}
