package nvmepci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/nvme"
)

// KernelOptions are what "driver=nvme-passthrough" takes.
type KernelOptions struct {
	Filename string `opt:"filename" required:"true" help:"character device of a namespace, /dev/ng0n1"`
}

// KernelDriver is the registry's entry for namespaces that the kernel drives, reached by NVMe passthrough: ioctls in the
// blocking plane, io_uring commands (ioengine=io_uring_cmd) in the polled one. The commands are those of the driver
// "nvme", built by the same code.
func KernelDriver() engine.Driver {
	return engine.Define[KernelOptions, engine.NoOptions](engine.Driver{
		Name: "nvme-passthrough", Aliases: []string{"io_uring_cmd"}, Kind: engine.KindProtocol,
		Help: "NVMe commands to a namespace of the kernel's driver, by /dev/ngXnY",
	}, openKernel, nil)
}

// kernelNode is a namespace of the kernel's driver.
type kernelNode struct {
	space
	dev  *nvme.KernelDevice
	bare bool     // buffers are not to be registered
	held *os.File // the block device, open exclusively while this node may write
}

var characterName = regexp.MustCompile(`^ng([0-9]+n[0-9]+)$`)

func openKernel(ctx context.Context, r *engine.OpenRequest, o *KernelOptions) (_ engine.Node, err error) {
	m := characterName.FindStringSubmatch(filepath.Base(o.Filename))
	if m == nil {
		return nil, engine.Errf(engine.ErrOption, "'%s' is no NVMe character device: want a name like /dev/ng0n1; see: ls /dev/ng*", o.Filename)
	}
	dev, err := nvme.OpenKernel(o.Filename)
	if err != nil {
		return nil, failure(err)
	}
	n := &kernelNode{dev: dev, bare: r.Flags.Leaf.NoFixedBufs}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	nsid, err := dev.NSID()
	if err != nil {
		return nil, failure(err)
	}
	b, err := nvme.IdentifyData(ctx, dev, nvme.CNSController, 0, 0)
	if err != nil {
		return nil, failure(err)
	}
	id, err := nvme.ParseIdentifyController(b)
	if err != nil {
		return nil, failure(err)
	}
	block := "nvme" + m[1]
	if err := n.open(ctx, r, dev, id, nsid, kernelTransfer(id, block), o.Filename); err != nil {
		return nil, err
	}
	if n.info.Caps.Has(engine.CapWritable) {
		if err := n.hold("/dev/" + block); err != nil {
			return nil, err
		}
	}
	n.info.Driver, n.info.Filename, n.info.Detail = "nvme-passthrough", o.Filename, n.facts
	return n, nil
}

// kernelTransfer is what one passthrough command may carry: MDTS, the kernel's own limit, and as many pages as it takes
// pieces of memory.
func kernelTransfer(id *nvme.IdentifyController, block string) int {
	limit := 1 << 20
	if m := id.MaxTransfer(0); m != 0 {
		limit = min(limit, int(m))
	}
	dir := filepath.Join("/sys/block", block, "queue")
	if kb, ok := readNumber(filepath.Join(dir, "max_hw_sectors_kb")); ok {
		limit = min(limit, kb<<10)
	}
	if segments, ok := readNumber(filepath.Join(dir, "max_segments")); ok && segments > 1 {
		limit = min(limit, (segments-1)*os.Getpagesize())
	}
	return max(limit, 4096)
}

func readNumber(path string) (int, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil && n > 0
}

// hold keeps everybody who asks politely away from the block device: what is mounted, swapped to or part of something is
// held already. The character device itself excludes nobody.
func (n *kernelNode) hold(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EBUSY):
		return engine.Errf(engine.ErrLocked, "%s is mounted, swap space, or held by another user; see: lsblk %s", path, path)
	case errors.Is(err, unix.ENOENT):
		return nil // a namespace without a block device (unknown format)
	case err != nil:
		return failure(fmt.Errorf("open %s: %w", path, err))
	}
	n.held = os.NewFile(uintptr(fd), path)
	return nil
}

// Close closes both files.
func (n *kernelNode) Close() error {
	var err error
	if n.held != nil {
		err = n.held.Close()
	}
	return failure(errors.Join(err, n.dev.Close()))
}
