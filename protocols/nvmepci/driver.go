package nvmepci

import (
	"context"
	"errors"
	"fmt"

	"github.com/blkbench/blkbench/engine"
)

// Options are what "driver=nvme" takes.
type Options struct {
	Device    string `opt:"device" help:"PCI address of a controller that is bound to vfio-pci"`
	Socket    string `opt:"socket" help:"socket of a vfio-user server, or the folder that it is in"`
	Namespace uint32 `opt:"namespace" default:"1" min:"1" max:"4294967294" help:"namespace identifier"`

	Interrupts  bool   `opt:"interrupts" default:"off" help:"signal completions by MSI-X, so that a wait sleeps; polling otherwise"`
	QueueSize   int    `opt:"queue-size" default:"256" min:"2" max:"65536" help:"entries of a polled I/O queue"`
	SGL         string `opt:"sgl" enum:"auto,off" default:"auto" help:"describe long transfers by SGLs where the controller takes them"`
	Shadow      string `opt:"shadow-doorbells" enum:"auto,off" default:"auto" help:"ring doorbells in memory where the controller offers it"`
	CMB         bool   `opt:"cmb" default:"off" help:"submission queues in the controller's memory buffer"`
	HostMemory  int64  `opt:"host-memory" kind:"size" default:"128M" help:"most that a host memory buffer may take; 0 for none"`
	TimeoutSecs int    `opt:"timeout" default:"30" min:"1" max:"3600" help:"seconds until a command's recovery starts"`
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[Options, engine.NoOptions](engine.Driver{
		Name: "nvme", Kind: engine.KindProtocol, Help: "NVMe controllers driven from userspace, by vfio-pci or vfio-user",
	}, open, nil)
}

func open(ctx context.Context, r *engine.OpenRequest, o *Options) (engine.Node, error) {
	if (o.Device == "") == (o.Socket == "") {
		return nil, engine.Errf(engine.ErrOption, "driver 'nvme' needs either the option 'device' (a PCI address) or 'socket'")
	}
	h, err := controllers.acquire(ctx, o)
	if err != nil {
		return nil, err
	}
	n, err := newNode(ctx, r, o, h)
	if err != nil {
		return nil, errors.Join(err, h.release())
	}
	return n, nil
}

// node is a namespace of a controller that this process drives.
type node struct {
	space
	h    *host
	use  use
	size int // of polled queues
}

func newNode(ctx context.Context, r *engine.OpenRequest, o *Options, h *host) (*node, error) {
	n := &node{h: h, size: o.QueueSize, use: use{nsid: o.Namespace, perm: r.Perm, shared: r.Shared}}
	if err := n.open(ctx, r, h.ctrl, h.ctrl.Identity(), o.Namespace, h.ctrl.MaxTransfer(), h.name); err != nil {
		return nil, err
	}
	if err := h.enter(n.use); err != nil {
		return nil, err
	}
	n.info.Driver = "nvme"
	n.info.Filename = fmt.Sprintf("nvme://%s/%d", o.Device, o.Namespace)
	if o.Socket != "" {
		n.info.Caps |= engine.CapSharedBuffers
		n.info.Filename = fmt.Sprintf("nvme+vfio-user://%s/%d", o.Socket, o.Namespace)
	}
	n.facts.Queues, n.facts.HostMemory = h.ctrl.Queues(), h.ctrl.HostMemory()
	n.info.Detail = n.facts
	return n, nil
}

// Close gives the namespace back, and the controller with its last namespace.
func (n *node) Close() error {
	n.h.leave(n.use)
	return n.h.release()
}
