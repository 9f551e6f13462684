package vfio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"unsafe"

	"golang.org/x/sys/unix"
)

var addressForm = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)

// Open takes the PCI function at address ("0000:06:0d.0"), which must be bound to vfio-pci, away from everybody else
// until Close. The function is in whatever state its last user left it: a driver resets it by its own means.
func Open(address string) (*Device, error) {
	d, err := openDevice(address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return d, nil
}

func openDevice(address string) (_ *Device, err error) {
	group, err := groupOf(address)
	if err != nil {
		return nil, err
	}
	d := &Device{name: address, requestFD: -1, fd: -1, group: -1}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if d.group, err = openGroup(group); err != nil {
		return nil, err
	}
	c, err := openContainer()
	if err != nil {
		return nil, err
	}
	d.mmu = c
	cfd := int32(c.fd)
	if err := ioctlPtr(d.group, ioctlGroupContainer, &cfd); err != nil {
		return nil, fmt.Errorf("put group %s in a container: %w", group, err)
	}
	d.inContainer = true
	if err := c.setIOMMU(); err != nil {
		return nil, err
	}
	name, err := unix.BytePtrFromString(address)
	if err != nil {
		return nil, err
	}
	if d.fd, err = ioctl(d.group, ioctlGroupDevice, uintptr(unsafe.Pointer(name))); err != nil {
		return nil, fmt.Errorf("get device from group %s: %w", group, err)
	}
	unix.CloseOnExec(d.fd)
	return d, d.readInfo()
}

// groupOf finds the IOMMU group in sysfs, and says what to do when there is none or the driver is another.
func groupOf(address string) (string, error) {
	if !addressForm.MatchString(address) {
		return "", fmt.Errorf("%w: want DOMAIN:BUS:SLOT.FUNCTION like 0000:06:0d.0", ErrAddress)
	}
	dir := filepath.Join("/sys/bus/pci/devices", address)
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("%w: nothing at that PCI address; run: blkbench nvme list", ErrNoDevice)
	}
	bind := "run: blkbench nvme bind " + address
	driver, err := os.Readlink(filepath.Join(dir, "driver"))
	if err != nil {
		return "", fmt.Errorf("%w: no driver holds it; %s", ErrNotBound, bind)
	}
	if d := filepath.Base(driver); d != "vfio-pci" {
		return "", fmt.Errorf("%w: the driver is %s; %s", ErrNotBound, d, bind)
	}
	link, err := os.Readlink(filepath.Join(dir, "iommu_group"))
	if err != nil {
		return "", fmt.Errorf("%w: the device is in no IOMMU group; enable VT-d or AMD-Vi in the firmware and boot with "+
			"intel_iommu=on (Intel)", ErrNoIOMMU)
	}
	return filepath.Base(link), nil
}

func openGroup(group string) (int, error) {
	path := "/dev/vfio/" + group
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return -1, fmt.Errorf("%w: %s is open in another process; run: fuser -v %s", ErrBusy, path, path)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return -1, fmt.Errorf("%w: open %s; run as root: chown $USER %s", ErrPermission, path, path)
	case errors.Is(err, unix.ENOENT):
		if _, err := os.Stat("/dev/vfio/noiommu-" + group); err == nil {
			return -1, fmt.Errorf("%w: group %s exists only in no-IOMMU mode, which is not supported", ErrNoIOMMU, group)
		}
		return -1, fmt.Errorf("%w: %s is not there; run: modprobe vfio-pci", ErrNoDevice, path)
	case err != nil:
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	status := groupStatus{argsz: uint32(unsafe.Sizeof(groupStatus{}))}
	if err := ioctlPtr(fd, ioctlGroupStatus, &status); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("status of group %s: %w", group, err)
	}
	if status.flags&groupViable == 0 {
		unix.Close(fd)
		return -1, fmt.Errorf("%w: another member of group %s has a host driver; see: ls /sys/kernel/iommu_groups/%s/devices",
			ErrNotViable, group, group)
	}
	return fd, nil
}
