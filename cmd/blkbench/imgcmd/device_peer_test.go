package imgcmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/engine/enginetest"
)

// loop makes a block device of 4 MiB over a file.
func loop(t *testing.T) string {
	t.Helper()
	long(t)
	enginetest.RequireRoot(t)
	enginetest.Require(t, "losetup")
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 4<<20); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", name).CombinedOutput()
	enginetest.RequireThat(t, err == nil, "loop devices")
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", dev).CombinedOutput(); err != nil {
			t.Errorf("losetup --detach %s: %v: %s", dev, err, out)
		}
	})
	return dev
}

func TestDevicesAreWrittenToByConsent(t *testing.T) {
	dev := loop(t)
	dir := t.TempDir()
	if r := run(t, "blkbench", dir, "create", "-f", "qcow2", dev, "1M"); r.code != 1 || !strings.Contains(r.err, "--allow-destroy="+dev) {
		t.Errorf("without consent: %+v", r)
	}
	if r := run(t, "blkbench", dir, "create", "-f", "qcow2", "--allow-destroy", dev, dev, "1M"); r.code != 0 {
		t.Errorf("with consent: %+v", r)
	}
	if r := run(t, "blkbench", dir, "resize", "-f", "qcow2", dev, "2M"); r.code != 1 || !strings.Contains(r.err, "--allow-destroy="+dev) {
		t.Errorf("resize without consent: %+v", r)
	}
	p := peers{theirs: dir, ours: dir}
	for _, line := range []string{
		"info DEV", "info --output=json DEV", "check DEV", "map --output=json DEV", "resize DEV 3M", "snapshot -c s DEV", "create -f qcow2 DEV 1M",
		"create -f raw DEV 1M", "create -f raw DEV 8M", "create -f qcow2 DEV 1G", "info DEV", "measure DEV", "resize -f raw DEV 2M", "resize -f raw DEV 8M",
	} {
		p.same(t, strings.ReplaceAll(line, "DEV", dev))
	}
}
