package nvmepci

import (
	"context"
	"fmt"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/nvme"
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
		h.release()
		return nil, err
	}
	return n, nil
}

// node is one open namespace.
type node struct {
	h        *host
	ns       *nvme.Namespace
	use      use
	info     engine.Info
	shift    uint8 // log2 of the block size
	flags    nvme.IOFlags
	maxBytes int64 // data of one command
	zero     bool  // Write Zeroes
	discard  bool  // Dataset Management
	readsNil bool  // deallocated blocks read as zeroes
	size     int   // of polled queues
}

func newNode(ctx context.Context, r *engine.OpenRequest, o *Options, h *host) (*node, error) {
	ns, err := nvme.OpenNamespace(ctx, h.ctrl, o.Namespace, h.ctrl.MaxTransfer())
	if err != nil {
		return nil, failure(err)
	}
	id := h.ctrl.Identity()
	write := r.Flags.Write
	if write && !r.Env.MayDestroy(id.SN, h.name) {
		if !r.Flags.AutoReadOnly {
			return nil, engine.Errf(engine.ErrConsent, "namespace %d of %s, serial number %s: allow it by --allow-destroy=%s",
				o.Namespace, id.MN, id.SN, id.SN)
		}
		write = false
	}
	n := &node{
		h: h, ns: ns, flags: ns.Flags(), size: o.QueueSize,
		zero: id.ONCS&nvme.ONCSWriteZeroes != 0, discard: id.ONCS&nvme.ONCSDatasetManagement != 0,
		readsNil: ns.Identity.ReadsZeroes(),
	}
	for 1<<n.shift < ns.BlockSize {
		n.shift++
	}
	n.maxBytes = int64(ns.MaxBlocks) << n.shift
	n.use = use{nsid: o.Namespace, perm: r.Perm, shared: r.Shared}
	if err := h.enter(n.use); err != nil {
		return nil, err
	}
	n.info = n.describe(o, write)
	return n, nil
}

func (n *node) describe(o *Options, write bool) engine.Info {
	ns := n.ns
	caps := engine.CapBlockDevice
	if write {
		caps |= engine.CapWritable | engine.CapFUA
		if n.discard {
			caps |= engine.CapDiscard
		}
		if n.zero {
			caps |= engine.CapZero
		}
		if n.zero && n.readsNil {
			caps |= engine.CapUnmapZero
		}
	}
	name := fmt.Sprintf("nvme://%s/%d", o.Device, o.Namespace)
	if o.Socket != "" {
		name = fmt.Sprintf("nvme+vfio-user://%s/%d", o.Socket, o.Namespace)
	}
	granule := ns.BlockSize
	if ns.Identity.NSFEAT&(1<<4) != 0 { // NPDG is valid. NVM Command Set 1.0d §4.1.5.1
		granule *= uint32(ns.Identity.NPDG) + 1
	}
	const maxRange = 1<<32 - 1 // blocks of a dataset management range
	return engine.Info{
		Driver: "nvme", Filename: name, Caps: caps,
		Limits: engine.Limits{
			RequestAlign: ns.BlockSize, MemAlign: 4, MaxTransfer: uint32(n.maxBytes), OptTransfer: uint32(n.boundary()),
			DiscardAlign: granule, MaxDiscard: maxRange << n.shift &^ (int64(granule) - 1),
			ZeroAlign: ns.BlockSize, MaxZero: 65536 << n.shift,
			LogicalBlock: ns.BlockSize, PhysicalBlock: n.physicalBlock(),
		},
		Detail: Facts{
			Controller: n.h.ctrl.Identity(), Namespace: ns.Identity, NSID: ns.NSID, Queues: n.h.ctrl.Queues(),
			HostMemory: n.h.ctrl.HostMemory(),
		},
	}
}

// Facts are the driver's own, for info.
type Facts struct {
	Controller *nvme.IdentifyController
	Namespace  *nvme.IdentifyNamespace
	NSID       uint32
	Queues     int
	HostMemory uint64
}

func (n *node) boundary() int64 { return int64(n.ns.Boundary) << n.shift }

// physicalBlock is what a write should be a multiple of: NPWG, or the block.
func (n *node) physicalBlock() uint32 {
	if n.ns.Identity.NSFEAT&(1<<4) != 0 {
		return n.ns.BlockSize * (uint32(n.ns.Identity.NPWG) + 1)
	}
	return n.ns.BlockSize
}

// Info returns what does not change.
func (n *node) Info() engine.Info { return n.info }

// Size returns the namespace's size in bytes.
func (n *node) Size() int64 { return int64(n.ns.Blocks) << n.shift }

// Close gives the namespace back, and the controller with its last namespace.
func (n *node) Close() error {
	n.h.leave(n.use)
	return n.h.release()
}

// Admin is the controller, for who asks for it by type: identify, logs and features of an open namespace.
func (n *node) Admin() nvme.Admin { return n.h.ctrl }
