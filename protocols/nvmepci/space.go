package nvmepci

import (
	"context"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/nvme"
)

// space is a namespace behind an Admin: the blocking plane of both drivers, and what their polled planes build commands
// from.
type space struct {
	admin    nvme.Admin
	id       *nvme.IdentifyController
	ns       *nvme.Namespace
	info     engine.Info
	facts    Facts
	shift    uint8 // log2 of the block size
	flags    nvme.IOFlags
	maxBytes int64 // data of one command
	zero     bool  // Write Zeroes
	discard  bool  // Dataset Management
	readsNil bool  // deallocated blocks read as zeroes
}

// Facts are the driver's own, for info.
type Facts struct {
	Controller *nvme.IdentifyController
	Namespace  *nvme.IdentifyNamespace
	NSID       uint32
	Queues     int // I/O queue pairs granted, 0 when the kernel drives the controller
	HostMemory uint64
}

// open reads the namespace and asks for consent to write; name may stand for the serial number in it.
func (n *space) open(ctx context.Context, r *engine.OpenRequest, a nvme.Admin, id *nvme.IdentifyController, nsid uint32,
	maxTransfer int, name string,
) error {
	ns, err := nvme.OpenNamespace(ctx, a, nsid, maxTransfer)
	if err != nil {
		return failure(err)
	}
	write := r.Flags.Write
	if write && !r.Env.MayDestroy(id.SN, name) {
		if !r.Flags.AutoReadOnly {
			return engine.Errf(engine.ErrConsent, "namespace %d of %s, serial number %s: allow it by --allow-destroy=%s",
				nsid, id.MN, id.SN, id.SN)
		}
		write = false
	}
	*n = space{
		admin: a, id: id, ns: ns, flags: ns.Flags(), readsNil: ns.Identity.ReadsZeroes(),
		zero: id.ONCS&nvme.ONCSWriteZeroes != 0, discard: id.ONCS&nvme.ONCSDatasetManagement != 0,
		facts: Facts{Controller: id, Namespace: ns.Identity, NSID: nsid},
	}
	for 1<<n.shift < ns.BlockSize {
		n.shift++
	}
	n.maxBytes = int64(ns.MaxBlocks) << n.shift
	n.info = engine.Info{Caps: n.caps(write), Limits: n.limits()}
	return nil
}

func (n *space) caps(write bool) engine.Caps {
	caps := engine.CapBlockDevice
	if !write {
		return caps
	}
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
	return caps
}

func (n *space) limits() engine.Limits {
	ns := n.ns
	granule, physical := ns.BlockSize, ns.BlockSize
	if ns.Identity.NSFEAT&(1<<4) != 0 { // OPTPERF: NPWG and NPDG are valid. NVM Command Set 1.0d §4.1.5.1
		granule *= uint32(ns.Identity.NPDG) + 1
		physical *= uint32(ns.Identity.NPWG) + 1
	}
	const maxRange = 1<<32 - 1 // blocks of a dataset management range
	return engine.Limits{
		RequestAlign: ns.BlockSize, MemAlign: 4, MaxTransfer: uint32(n.maxBytes), OptTransfer: ns.Boundary << n.shift,
		DiscardAlign: granule, MaxDiscard: maxRange << n.shift / int64(granule) * int64(granule),
		ZeroAlign: ns.BlockSize, MaxZero: 65536 << n.shift,
		LogicalBlock: ns.BlockSize, PhysicalBlock: physical,
	}
}

// Info returns what does not change.
func (n *space) Info() engine.Info { return n.info }

// Size returns the namespace's size in bytes.
func (n *space) Size() int64 { return int64(n.ns.Blocks) << n.shift }

// Admin is the controller, for who asks for it by type: identify, logs and features of an open namespace.
func (n *space) Admin() nvme.Admin { return n.admin }
