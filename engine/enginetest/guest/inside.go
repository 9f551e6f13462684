package guest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Environment and socket that init gives to the jobs.
const (
	insideEnv  = "BLKBENCH_GUEST"
	hostSocket = "/run/host"
)

// Inside says whether this process runs in a guest.
func Inside() bool { return os.Getenv(insideEnv) == "1" }

// Require skips a test that is not in a guest. It is no peer that is missing: the test is run there by the guest
// tests of engine/enginetest/guest.
func Require(t testing.TB) {
	t.Helper()
	if !Inside() {
		t.Skip("runs in the guest only: make guest")
	}
}

// FindController is the PCI address and the kernel's name ("nvme0", "" when another driver has it) of the controller
// with a serial number. Serial numbers are known to the kernel's driver only, so init writes them down at boot.
func FindController(t testing.TB, serial string) (address, name string) {
	t.Helper()
	text, err := os.ReadFile("/run/controllers")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 2 && f[1] == serial {
			address = f[0]
		}
	}
	if address == "" {
		t.Fatalf("no controller with serial number %s among\n%s", serial, text)
	}
	if found, err := filepath.Glob("/sys/bus/pci/devices/" + address + "/nvme/nvme*"); err == nil && len(found) > 0 {
		name = filepath.Base(found[0])
	}
	return address, name
}

// Host has the host run a command of QEMU's monitor: "device_del SERIAL", "system_reset".
func Host(t testing.TB, command string) {
	t.Helper()
	if err := askHost(command); err != nil {
		t.Fatal(err)
	}
}

func askHost(command string) error {
	c, err := net.Dial("unix", hostSocket)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c, command); err != nil {
		return err
	}
	text, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return err
	}
	if text = strings.TrimSpace(text); text != "" {
		return fmt.Errorf("host: %s", text)
	}
	return nil
}
