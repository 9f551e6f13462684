package nvmecmd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/vfio"
	"github.com/blkbench/blkbench/vfio/pci"
)

// Device is an open controller or namespace.
type Device struct {
	// Commands takes the commands.
	Commands nvme.Admin
	// Label is the name in what is printed: nvme0n1, or the address.
	Label string
	// NSID is the namespace that the name stands for, 0 for a controller.
	NSID uint32
	// Controller is set for a controller that this process drives, Kernel for one that the kernel does.
	Controller *nvme.Controller
	Kernel     *nvme.KernelDevice
	// Block says that the name is a block device's.
	Block bool
	bus   pci.Bus
}

// Close gives the device back.
func (d *Device) Close() error {
	switch {
	case d.Controller != nil:
		return d.Controller.Close()
	case d.Kernel != nil:
		return d.Kernel.Close()
	}
	return nil
}

// target is a parsed name.
type target struct {
	kernel  string // path of a device file
	address string // PCI address
	socket  string
	nsid    uint32
}

var kernelName = regexp.MustCompile(`^(nvme\d+(c\d+)?(n\d+)?(p\d+)?|ng\d+n\d+)$`)

// parseTarget understands the five spellings of a device.
func parseTarget(name string) (target, error) {
	switch scheme, rest, found := strings.Cut(name, "://"); {
	case found && scheme == "nvme":
		address, ns, hasNS := strings.Cut(rest, "/")
		t, err := pciTarget(address)
		if err == nil && hasNS && ns != "" {
			t.nsid, err = parseNSID(ns)
		}
		return t, err
	case found && scheme == "nvme+vfio-user":
		return socketTarget(rest)
	case found:
		return target{}, fmt.Errorf("%s: unknown scheme '%s'; want nvme or nvme+vfio-user", name, scheme)
	case kernelName.MatchString(name):
		return target{kernel: "/dev/" + name}, nil
	case strings.HasPrefix(name, "/") || strings.HasPrefix(name, "."):
		return target{kernel: name}, nil
	default:
		return pciTarget(name)
	}
}

func pciTarget(address string) (target, error) {
	a, err := pci.ParseAddress(address)
	if err != nil {
		return target{}, fmt.Errorf("%w, or /dev/nvme0, nvme://0000:06:0d.0/1, nvme+vfio-user:///path/to/socket/1", err)
	}
	return target{address: a}, nil
}

// socketTarget takes a path whose last element, when it is a number, is the namespace.
func socketTarget(rest string) (target, error) {
	p, err := url.PathUnescape(rest)
	if err != nil || !strings.HasPrefix(p, "/") {
		return target{}, fmt.Errorf("nvme+vfio-user://%s: want an absolute path: nvme+vfio-user:///path/to/socket/1", rest)
	}
	if nsid, err := parseNSID(path.Base(p)); err == nil {
		return target{socket: path.Dir(p), nsid: nsid}, nil
	}
	return target{socket: path.Clean(p)}, nil
}

func parseNSID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || n == 0xffffffff {
		return 0, fmt.Errorf("namespace '%s': want a number from 1", s)
	}
	return uint32(n), nil
}

// OpenDevice opens a device by any of its spellings.
func OpenDevice(ctx context.Context, bus pci.Bus, name string) (*Device, error) {
	t, err := parseTarget(name)
	if err != nil {
		return nil, err
	}
	if t.kernel != "" {
		return openKernel(bus, t.kernel)
	}
	return attach(ctx, bus, t)
}

func openKernel(bus pci.Bus, file string) (*Device, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if st.Mode()&os.ModeDevice == 0 {
		return nil, fmt.Errorf("%s is not a device", file)
	}
	k, err := nvme.OpenKernel(file)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%w; run as root", err)
	}
	if err != nil {
		return nil, err
	}
	d := &Device{Commands: k, Kernel: k, Label: filepath.Base(file), Block: st.Mode()&os.ModeCharDevice == 0, bus: bus}
	if nsid, err := k.NSID(); err == nil {
		d.NSID = nsid
	}
	return d, nil
}

// attach brings up a controller for the length of one sub-command.
func attach(ctx context.Context, bus pci.Bus, t target) (*Device, error) {
	var dev nvme.Device
	var err error
	label := t.address
	if t.socket != "" {
		label = t.socket
		dev, err = vfio.Dial(t.socket)
	} else {
		dev, err = vfio.Open(t.address)
	}
	if err != nil {
		return nil, err
	}
	ctrl, err := nvme.Attach(ctx, dev, nvme.Options{Queues: 1, QueueSize: 64, HostMemory: -1})
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	return &Device{Commands: ctrl, Controller: ctrl, Label: label, NSID: t.nsid, bus: bus}, nil
}

// identify reads Identify Controller.
func (c *call) identify(ctx context.Context) (*nvme.IdentifyController, error) {
	b, err := nvme.IdentifyData(ctx, c.dev.Commands, nvme.CNSController, 0, 0)
	if err != nil {
		return nil, err
	}
	return nvme.ParseIdentifyController(b)
}

// identifyNS reads Identify Namespace.
func (c *call) identifyNS(ctx context.Context, nsid uint32) (*nvme.IdentifyNamespace, error) {
	b, err := nvme.IdentifyData(ctx, c.dev.Commands, nvme.CNSNamespace, nsid, 0)
	if err != nil {
		return nil, err
	}
	return nvme.ParseIdentifyNamespace(b)
}

// namespace is the namespace that an option names, or else the device's name.
func (c *call) namespace(option uint32) (uint32, error) {
	if option != 0 {
		return option, nil
	}
	if c.dev.NSID == 0 {
		return 0, fmt.Errorf("get-namespace-id: %s is a controller; name a namespace by -n, or a device like /dev/nvme0n1 or nvme://0000:06:0d.0/1",
			c.dev.Label)
	}
	return c.dev.NSID, nil
}

// deadline bounds a command by a number of milliseconds, 0 for the default.
func deadline(ctx context.Context, ms uint32) (context.Context, context.CancelFunc) {
	if ms == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, milliseconds(ms))
}
