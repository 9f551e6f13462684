package nbd

import (
	"context"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// statusMost is how much one BLOCK_STATUS asks about, in bytes: a compact header has 32 bits for it.
const statusMost = 2 << 30

// Extents asks for block status. Without a metadata context everything is data.
func (n *Node) Extents(ctx context.Context, off, length int64, dst []engine.Extent) ([]engine.Extent, error) {
	if n.first.context == "" {
		return append(dst, engine.Extent{Off: off, Len: length, HostOff: off, Flags: dataFlags}), nil
	}
	unit := int64(n.first.align())
	from := off &^ (unit - 1)
	to := min((off+length+unit-1)&^(unit-1), n.Size())
	if n.first.replies != wire.Extended {
		to = min(to, from+statusMost)
	}
	cl := newCall(wire.CmdBlockStatus, uint64(from), uint64(to-from), 0, nil)
	defer cl.free()
	if err := n.do(ctx, cl); err != nil {
		return dst, err
	}
	start := len(dst)
	at, end := from, min(off+length, to)
	for _, d := range cl.runs {
		a, b := max(at, off), min(at+int64(d.Len), end)
		at += int64(d.Len)
		if a >= b {
			continue
		}
		flags := n.extentFlags(d.Status)
		if last := len(dst) - 1; last >= start && dst[last].Flags == flags {
			dst[last].Len += b - a
			continue
		}
		dst = append(dst, engine.Extent{Off: a, Len: b - a, HostOff: a, Flags: flags})
	}
	if len(dst) == start {
		return dst, broken("block status for %#x+%d that ends before %#x", from, to-from, off)
	}
	return dst, nil
}

const dataFlags = engine.ExtentData | engine.ExtentAllocated | engine.ExtentOffset

// extentFlags translates a status. What reads as zeroes is zeroes, allocated or not; a hole whose content is not known is data, which is
// read. Of another context that x-dirty-bitmap names, the two lowest bits take the places of hole and zero, as in QEMU: what is dirty is
// a hole, and so is what the layer has itself, by its depth.
func (n *Node) extentFlags(status uint64) engine.ExtentFlags {
	flags := engine.ExtentAllocated | engine.ExtentOffset
	switch n.first.context {
	case wire.ContextAllocation:
		status &^= wire.StateHole
	case wire.ContextDepth:
		status = min(status, 2)
	}
	switch {
	case status&wire.StateZero != 0:
		return flags | engine.ExtentZero
	case status&wire.StateHole != 0:
		return flags
	}
	return flags | engine.ExtentData
}
