package pci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// vfioDriver is the driver that hands functions to userspace.
const vfioDriver = "vfio-pci"

// origin is what Bind remembers for Unbind.
type origin struct {
	Driver   string `json:"driver"`
	Override string `json:"override"`
}

func (b Bus) statePath(address string) string { return b.path("run/blkbench/bind", address+".json") }

// Bind gives the function to vfio-pci. allow names the reasons against it that the caller accepts. Binding what is
// bound already changes nothing.
func (b Bus) Bind(address string, allow ...Reason) error {
	f, err := b.Lookup(address)
	if err != nil {
		return err
	}
	if f.Driver == vfioDriver {
		return nil
	}
	if f.Group == "" {
		return fmt.Errorf("%w: %s is in no IOMMU group; enable VT-d or AMD-Vi in the firmware and boot with intel_iommu=on (Intel)",
			ErrNoIOMMU, f.Address)
	}
	if err := b.refuse(f.Address, allow); err != nil {
		return err
	}
	if _, err := os.Stat(b.path("sys/bus/pci/drivers", vfioDriver)); err != nil {
		return fmt.Errorf("%s: the driver %s is not loaded; run: modprobe %s", f.Address, vfioDriver, vfioDriver)
	}
	was, err := b.override(f.Address)
	if err != nil {
		return err
	}
	if err := b.remember(f.Address, origin{Driver: f.Driver, Override: was}); err != nil {
		return err
	}
	if err := b.move(f.Address, vfioDriver, vfioDriver); err != nil {
		return errors.Join(err, b.restore(f.Address, origin{Driver: f.Driver, Override: was}))
	}
	return nil
}

// refuse is the error that lists every use that was not allowed by name.
func (b Bus) refuse(address string, allow []Reason) error {
	uses, err := b.Uses(address)
	if err != nil {
		return err
	}
	var against []string
	hint := ""
	for _, u := range uses {
		if u.Reason.Overridable() && slices.Contains(allow, u.Reason) {
			continue
		}
		against = append(against, u.String())
		if u.Reason.Overridable() {
			hint = fmt.Sprintf("; to take it all the same, allow %q by name", u.Reason)
		}
	}
	if len(against) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s: %s%s", ErrInUse, address, strings.Join(against, ", "), hint)
}

// Unbind gives the function back to the driver that Bind took it from. A function that was not bound by Bind loses
// vfio-pci and gets whatever driver the kernel matches.
func (b Bus) Unbind(address string) error {
	f, err := b.Lookup(address)
	if errors.Is(err, ErrNoDevice) {
		// What has left the bus goes back to nobody; a function that comes to its place starts afresh.
		if a, bad := ParseAddress(address); bad == nil {
			_ = os.Remove(b.statePath(a)) // as a rule there is none
		}
	}
	if err != nil {
		return err
	}
	o := origin{}
	text, err := os.ReadFile(b.statePath(f.Address))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if f.Driver != vfioDriver {
			return nil
		}
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(text, &o); err != nil {
			return fmt.Errorf("%s: %w", b.statePath(f.Address), err)
		}
	}
	if err := b.restore(f.Address, o); err != nil {
		return err
	}
	if err := os.Remove(b.statePath(f.Address)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (b Bus) restore(address string, o origin) error { return b.move(address, o.Override, o.Driver) }

// move sets the override, takes the function from its driver and lets the kernel match again; want is the driver that
// must come of it, "" for any or none.
func (b Bus) move(address, override, want string) error {
	if err := b.write(b.device(address, "driver_override"), override+"\n"); err != nil {
		return err
	}
	if d := b.link(address, "driver"); d != "" && d != want {
		if err := b.write(b.device(address, "driver", "unbind"), address); err != nil {
			return err
		}
	}
	if b.link(address, "driver") == "" {
		if err := b.write(b.path("sys/bus/pci/drivers_probe"), address); err != nil {
			return err
		}
	}
	if got := b.link(address, "driver"); want != "" && got != want {
		return fmt.Errorf("%s: bound to %q after the probe, want %q; see: dmesg", address, got, want)
	}
	return nil
}

// override reads driver_override; the kernel prints "(null)" for none.
func (b Bus) override(address string) (string, error) {
	s, err := os.ReadFile(b.device(address, "driver_override"))
	if err != nil {
		return "", err
	}
	v := strings.TrimSpace(string(s))
	if v == "(null)" {
		v = ""
	}
	return v, nil
}

func (b Bus) remember(address string, o origin) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	p := b.statePath(address)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return err
	}
	return os.WriteFile(p, text, 0o600)
}

// write is one write to a sysfs attribute. An unbind waits for the driver, which may take a moment to answer EBUSY.
func (b Bus) write(path, text string) error {
	var err error
	for range 20 {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_WRONLY, 0); err != nil {
			break
		}
		_, err = f.WriteString(text)
		f.Close()
		if err == nil || !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; moving a function between drivers needs root", err)
	}
	return err
}
