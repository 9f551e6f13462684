package throttle_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine/enginetest"
)

// TestPeerMessages: what QEMU refuses is refused here, and in the same words.
func TestPeerMessages(t *testing.T) {
	enginetest.Require(t, "qemu-io")
	image := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(image, make([]byte, 65536), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, limits := range []string{
		"x-iops-total=10,x-iops-read=5", "x-bps-total=10,x-bps-write=5", "x-iops-total-max=5", "x-iops-total=10,x-iops-total-max=5",
		"x-iops-total=10,x-iops-total-max-length=0", "x-iops-total=10,x-iops-total-max-length=5", "x-iops-size=4",
		"x-iops-total=10000000000000000", "x-bps-read=1000,x-bps-read-max=100000000000000,x-bps-read-max-length=1000", "x-iops-write=-4",
		"x-iops-read=10,x-iops-write=20,x-bps-total=1000000,x-iops-size=4096", "x-iops-total=10,x-iops-total-max=20,x-iops-total-max-length=60",
	} {
		out, err := exec.CommandContext(t.Context(), "qemu-io", "--object", "throttle-group,id=g,"+limits, "-c", "read 0 512", "--image-opts",
			"driver=throttle,throttle-group=g,file.driver=file,file.filename="+image).CombinedOutput()
		theirs := ""
		if err != nil {
			theirs = strings.TrimSpace(strings.TrimPrefix(string(out), "qemu-io: "))
		}
		ref, err := open(env(t, "throttle-group,id=g,"+limits), "driver=throttle,throttle-group=g,file.driver=mem")
		if err == nil {
			ref.Close()
		}
		if (err == nil) != (theirs == "") || (err != nil && !strings.Contains(err.Error(), theirs)) {
			t.Errorf("%s: %v, with QEMU %q", limits, err, theirs)
		}
	}
}
