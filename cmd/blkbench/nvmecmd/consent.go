package nvmecmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/blkbench/blkbench/nvme"
)

// consent is the option of every sub-command that destroys data.
type consent struct {
	Allow string `long:"allow-destroy" arg:"SERIAL" help:"the controller's serial number (id-ctrl shows it): without it nothing is destroyed"`
}

func milliseconds(n uint32) time.Duration { return time.Duration(n) * time.Millisecond }

// everyNamespace is the NSID of all namespaces.
const everyNamespace = 0xffffffff

// mayDestroy asks whether namespace nsid (everyNamespace for all) of the device may lose data: nobody uses it, and its
// serial number was given.
func (c *call) mayDestroy(ctx context.Context, o consent, nsid uint32) error {
	id, err := c.identify(ctx)
	if err != nil {
		return err
	}
	serial := id.SN
	if serial == "" {
		serial = c.dev.Label // a controller without one is named by its address
	}
	if o.Allow != serial {
		what := fmt.Sprintf("namespace %d", nsid)
		if nsid == everyNamespace {
			what = "every namespace"
		}
		given := ""
		if o.Allow != "" {
			given = fmt.Sprintf(", not %s", o.Allow)
		}
		return fmt.Errorf("this can destroy data on %s of %s (%s), serial number %s%s: allow it by --allow-destroy=%s",
			what, c.dev.Label, id.MN, serial, given, serial)
	}
	if c.dev.Kernel == nil {
		return nil // who drives it himself has it alone
	}
	return c.dev.unused(nsid)
}

var kernelController = strings.NewReplacer("/dev/", "", "ng", "nvme")

// controllerName is nvme0 for nvme0, nvme0n1, nvme0n1p2 and ng0n1.
func controllerName(label string) string {
	name := kernelController.Replace(label)
	rest := strings.TrimPrefix(name, "nvme")
	end := 0
	for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
		end++
	}
	return "nvme" + rest[:end]
}

// unused fails when a block device of the namespaces is mounted, swapped to, or part of something.
func (d *Device) unused(nsid uint32) error {
	root := filepath.Join(d.bus.Root, "/")
	disks, err := filepath.Glob(filepath.Join(root, "sys/block", controllerName(d.Label)+"n*"))
	if err != nil {
		return err
	}
	for _, disk := range disks {
		name := filepath.Base(disk)
		if text, err := os.ReadFile(filepath.Join(disk, "nsid")); err == nil && nsid != everyNamespace &&
			strings.TrimSpace(string(text)) != strconv.FormatUint(uint64(nsid), 10) {
			continue
		}
		// The kernel lets a block device be opened exclusively when no mount, swap, RAID or mapping has it.
		f, err := os.OpenFile(filepath.Join(root, "dev", name), os.O_RDONLY|syscall.O_EXCL, 0)
		if errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("%s is in use%s; unmount it, or give it up otherwise, first", name, d.users(name))
		}
		if err == nil {
			f.Close()
		}
	}
	return nil
}

// users says what a disk is used for, as far as that can be found out.
func (d *Device) users(disk string) string {
	link, err := filepath.EvalSymlinks(filepath.Join(d.bus.Root, "/sys/class/nvme", controllerName(d.Label), "device"))
	if err != nil {
		return ""
	}
	uses, err := d.bus.Uses(filepath.Base(link))
	if err != nil {
		return ""
	}
	var list []string
	for _, u := range uses {
		if strings.HasPrefix(u.Device, disk) {
			list = append(list, u.String())
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// harmlessAdmin are the admin commands that leave user data alone; whatever else is sent raw needs consent.
var harmlessAdmin = map[uint8]bool{
	nvme.OpDeleteIOSQ: true, nvme.OpCreateIOSQ: true, nvme.OpGetLogPage: true, nvme.OpDeleteIOCQ: true, nvme.OpCreateIOCQ: true,
	nvme.OpIdentify: true, nvme.OpAbort: true, nvme.OpSetFeatures: true, nvme.OpGetFeatures: true, nvme.OpAsyncEvent: true,
	nvme.OpFirmwareDownload: true, nvme.OpDeviceSelfTest: true, nvme.OpSecurityReceive: true,
	0x18 /* keep alive */ : true, 0x1a /* directive receive */ : true, 0x7f /* fabrics */ : true, 0x86 /* get LBA status */ : true,
}

// harmlessIO are the I/O commands that leave user data alone.
var harmlessIO = map[uint8]bool{
	nvme.OpFlush: true, nvme.OpRead: true, nvme.OpCompare: true, nvme.OpVerify: true,
	0x0e /* reservation report */ : true, 0x12 /* I/O management receive */ : true, 0x7a /* zone management receive */ : true,
}
