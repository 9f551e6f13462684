package nvmepci

import (
	"context"
	"errors"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/nvme"
)

// The blocking plane: commands on the controller's blocking queue, which copies data and may be used by any number of
// goroutines. Ranges are whole blocks.

// maxRetries is how often a command is sent again that the controller asks to be sent again.
const maxRetries = 5

// run sends a command, and again where the specification allows it. NVMe Base 2.0d §3.3.3.2.1, "CRD"
func (n *space) run(ctx context.Context, cmd nvme.Command, data, meta []byte) error {
	for try := 0; ; try++ {
		_, err := n.admin.IO(ctx, &cmd, data, meta)
		var status *nvme.StatusError
		if err == nil || !errors.As(err, &status) || !status.Status.Retryable() || try == maxRetries {
			return failure(err)
		}
		select {
		case <-time.After(n.retryDelay(status.Status, try)):
		case <-ctx.Done():
			return failure(ctx.Err())
		}
	}
}

// retryDelay is what the controller asks for, or a little more every time where it does not say.
func (n *space) retryDelay(s nvme.Status, try int) time.Duration {
	id := n.id
	if crd := s.CRD(); crd != 0 {
		return time.Duration([]uint16{0, id.CRDT1, id.CRDT2, id.CRDT3}[crd]) * 100 * time.Millisecond
	}
	return time.Duration(try) * 10 * time.Millisecond
}

// ReadAt reads whole blocks.
func (n *space) ReadAt(ctx context.Context, p []byte, off int64) error {
	return n.each(p, off, func(part []byte, slba uint64, count uint32) error {
		data, meta := n.wire(part, count)
		if err := n.run(ctx, n.readWrite(nvme.OpRead, slba, count, 0), data, meta); err != nil {
			return err
		}
		n.strip(part, data)
		return nil
	})
}

// WriteAt writes whole blocks.
func (n *space) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	return n.each(p, off, func(part []byte, slba uint64, count uint32) error {
		data, meta := n.wire(part, count)
		n.spread(data, part)
		return n.run(ctx, n.readWrite(nvme.OpWrite, slba, count, fua(flags)), data, meta)
	})
}

func fua(f engine.WriteFlags) nvme.IOFlags {
	if f&engine.FUA != 0 {
		return nvme.FUA
	}
	return 0
}

// each cuts a range where MDTS and the namespace's boundary want it cut.
func (n *space) each(p []byte, off int64, do func(part []byte, slba uint64, count uint32) error) error {
	for slba := uint64(off) >> n.shift; len(p) > 0; {
		count := n.ns.Span(slba, uint64(len(p))>>n.shift)
		size := int(count) << n.shift
		if err := do(p[:size], slba, count); err != nil {
			return err
		}
		p, slba = p[size:], slba+uint64(count)
	}
	return nil
}

func (n *space) readWrite(op uint8, slba uint64, count uint32, flags nvme.IOFlags) nvme.Command {
	cmd := nvme.ReadWrite(op, n.ns.NSID, slba, count, n.flags|flags)
	if n.flags != 0 {
		cmd.SetProtection(uint32(slba), 0, 0)
	}
	return cmd
}

// wire is the data buffer as the device sees it, and a metadata buffer where one is needed. Metadata that is no
// protection information has no meaning here: it is written as zeroes, and read to nowhere.
func (n *space) wire(part []byte, count uint32) (data, meta []byte) {
	switch {
	case n.ns.WireBlock() != n.ns.BlockSize:
		return make([]byte, count*n.ns.WireBlock()), nil
	case n.ns.MetadataSize != 0 && !n.ns.ControllerProtects():
		return part, make([]byte, count*uint32(n.ns.MetadataSize))
	}
	return part, nil
}

// strip takes the blocks out of a buffer with metadata between them, spread is its inverse.
func (n *space) strip(part, data []byte) {
	if len(part) == len(data) {
		return
	}
	block, step := int(n.ns.BlockSize), int(n.ns.WireBlock())
	for i := 0; i*block < len(part); i++ {
		copy(part[i*block:(i+1)*block], data[i*step:])
	}
}

func (n *space) spread(data, part []byte) {
	if len(part) == len(data) {
		return
	}
	block, step := int(n.ns.BlockSize), int(n.ns.WireBlock())
	for i := 0; i*block < len(part); i++ {
		copy(data[i*step:], part[i*block:(i+1)*block])
	}
}

// Flush empties the volatile write cache. Without one there is nothing to do. NVMe Base 2.0d §7.1
func (n *space) Flush(ctx context.Context) error {
	if !n.id.VolatileWriteCache() {
		return nil
	}
	return n.run(ctx, nvme.Flush(n.ns.NSID), nil, nil)
}

// Discard deallocates. NVM Command Set 1.0d §3.2.3
func (n *space) Discard(ctx context.Context, off, size int64) error {
	if !n.discard {
		return engine.Errf(engine.ErrUnsupported, "the controller has no Dataset Management command (ONCS)")
	}
	r := []nvme.Range{{SLBA: uint64(off) >> n.shift, LBACount: uint32(size >> n.shift)}}
	return n.run(ctx, nvme.DatasetManagement(n.ns.NSID, 1, true), nvme.EncodeRanges(r), nil)
}

// WriteZeroes writes zeroes without sending them. NVM Command Set 1.0d §3.2.8
func (n *space) WriteZeroes(ctx context.Context, off, size int64, flags engine.WriteFlags) error {
	if !n.zero {
		return engine.Errf(engine.ErrUnsupported, "the controller has no Write Zeroes command (ONCS)")
	}
	f := fua(flags)
	if flags&engine.MayUnmap != 0 && n.readsNil {
		f |= nvme.DeallocateZeros
	}
	for slba, left := uint64(off)>>n.shift, uint64(size)>>n.shift; left > 0; {
		count := uint32(min(left, 65536))
		if err := n.run(ctx, n.zeroes(slba, count, f), nil, nil); err != nil {
			return err
		}
		slba, left = slba+uint64(count), left-uint64(count)
	}
	return nil
}

// zeroes is the command: of protection information only PRACT has a meaning for it.
func (n *space) zeroes(slba uint64, count uint32, f nvme.IOFlags) nvme.Command {
	cmd := nvme.ReadWrite(nvme.OpWriteZeroes, n.ns.NSID, slba, count, n.flags&nvme.PRAct|f)
	if n.flags != 0 {
		cmd.SetProtection(uint32(slba), 0, 0)
	}
	return cmd
}

// Extents says that everything is data at its own place: a namespace does not tell more without reading.
func (n *space) Extents(_ context.Context, off, size int64, dst []engine.Extent) ([]engine.Extent, error) {
	return append(dst, engine.Extent{
		Off: off, Len: size, HostOff: off, Flags: engine.ExtentData | engine.ExtentAllocated | engine.ExtentOffset,
	}), nil
}
