package nvme

import (
	"context"
	"errors"
	"fmt"
)

// Namespace is what has to be known of a namespace to send it commands.
type Namespace struct {
	NSID     uint32
	Identity *IdentifyNamespace
	// BlockSize is the data size of a logical block; Blocks is how many there are.
	BlockSize uint32
	Blocks    uint64
	// MetadataSize is metadata bytes per block. With Extended it follows each block's data in the data buffer.
	MetadataSize uint16
	Extended     bool
	// MaxBlocks is how many blocks one read or write may carry, Boundary the multiple of blocks that a command should
	// not cross (0 for none).
	MaxBlocks uint32
	Boundary  uint32
}

// OpenNamespace reads what the controller says of namespace nsid. maxTransfer is Controller.MaxTransfer, or 0 to go
// by MDTS with a 4 KiB page.
func OpenNamespace(ctx context.Context, a Admin, nsid uint32, maxTransfer int) (*Namespace, error) {
	if nsid == 0 || nsid == 0xffffffff {
		return nil, fmt.Errorf("%s: namespace %d: %w", a.Name(), nsid, ErrNoNamespace)
	}
	b, err := IdentifyData(ctx, a, CNSNamespace, nsid, 0)
	var status *StatusError
	if errors.As(err, &status) && status.Status.Code() == StatusInvalidNamespace {
		return nil, noNamespace(ctx, a, nsid)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: namespace %d: %w", a.Name(), nsid, err)
	}
	id, err := ParseIdentifyNamespace(b)
	if err != nil {
		return nil, err
	}
	if id.NSZE == 0 {
		return nil, noNamespace(ctx, a, nsid)
	}
	n, err := newNamespace(nsid, id, maxTransfer)
	if err != nil {
		return nil, fmt.Errorf("%s: namespace %d: %w", a.Name(), nsid, err)
	}
	return n, nil
}

// noNamespace says which namespaces there are instead.
func noNamespace(ctx context.Context, a Admin, nsid uint32) error {
	ids, err := ActiveNamespaces(ctx, a)
	if err != nil {
		return fmt.Errorf("%s: namespace %d: %w", a.Name(), nsid, ErrNoNamespace)
	}
	return fmt.Errorf("%s: namespace %d: %w; active are %v", a.Name(), nsid, ErrNoNamespace, ids)
}

func newNamespace(nsid uint32, id *IdentifyNamespace, maxTransfer int) (*Namespace, error) {
	f := id.Format()
	if f.DataSize() == 0 || f.DataSize() > 64<<10 {
		return nil, fmt.Errorf("%w: logical blocks of 2^%d bytes", ErrUnsupported, f.LBADS)
	}
	n := &Namespace{
		NSID: nsid, Identity: id, BlockSize: f.DataSize(), Blocks: id.NSZE, MetadataSize: f.MS, Extended: id.Extended(),
		MaxBlocks: 65536, Boundary: uint32(id.NOIOB),
	}
	if maxTransfer > 0 {
		n.MaxBlocks = min(n.MaxBlocks, uint32(maxTransfer)/n.WireBlock())
	}
	if n.MaxBlocks == 0 {
		return nil, fmt.Errorf("%w: a block of %d bytes exceeds the transfer limit of %d", ErrUnsupported, n.WireBlock(), maxTransfer)
	}
	return n, nil
}

// WireBlock is the size of a block in the data buffer: with its metadata in the extended format, unless the controller
// makes the protection information itself.
func (n *Namespace) WireBlock() uint32 {
	if n.Extended && !n.ControllerProtects() {
		return n.BlockSize + uint32(n.MetadataSize)
	}
	return n.BlockSize
}

// ControllerProtects says that the metadata is nothing but protection information, which the controller inserts and
// strips when it is told so by PRACT. NVM Command Set 1.0d §5.2.2
func (n *Namespace) ControllerProtects() bool {
	return n.Identity.ProtectionType() != 0 && n.MetadataSize == 8
}

// Flags are the command flags that every read and write of plain data needs.
func (n *Namespace) Flags() IOFlags {
	if n.ControllerProtects() {
		f := PRAct | CheckGuard
		if n.Identity.ProtectionType() != 3 {
			f |= CheckRefTag
		}
		return f
	}
	return 0
}

// Span is how many of count blocks at slba the next command may carry: at most MaxBlocks, and not across a boundary.
func (n *Namespace) Span(slba uint64, count uint64) uint32 {
	k := min(count, uint64(n.MaxBlocks))
	if b := uint64(n.Boundary); b != 0 {
		k = min(k, b-slba%b)
	}
	return uint32(k)
}

// ActiveNamespaces lists the identifiers of the attached namespaces.
func ActiveNamespaces(ctx context.Context, a Admin) ([]uint32, error) {
	var all []uint32
	for after := uint32(0); ; {
		b, err := IdentifyData(ctx, a, CNSActiveNamespaces, after, 0)
		if err != nil {
			return nil, err
		}
		ids := ParseNamespaceList(b)
		all = append(all, ids...)
		if len(ids) < IdentifySize/4 {
			return all, nil
		}
		if ids[len(ids)-1] <= after {
			return nil, fmt.Errorf("active namespace list does not ascend after %d", after)
		}
		after = ids[len(ids)-1]
	}
}
