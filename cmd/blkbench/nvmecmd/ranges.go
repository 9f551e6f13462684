package nvmecmd

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/blkbench/blkbench/cmd/blkbench/internal/getopt"
	"github.com/blkbench/blkbench/nvme"
)

type flushOptions struct {
	NSID uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace; 0xffffffff for all, where the controller takes that"`
}

func flush(ctx context.Context, c *call, o *flushOptions) error {
	nsid, err := c.namespace(o.NSID)
	if err != nil {
		return err
	}
	cmd := nvme.Flush(nsid)
	if _, err := c.dev.Commands.IO(ctx, &cmd, nil, nil); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "NVMe Flush: success")
	return nil
}

type verifyOptions struct {
	span
	protection
	StorageTag uint64 `long:"storage-tag" short:"S" arg:"IONUM" kind:"size" help:"storage tag"`
}

func verify(ctx context.Context, c *call, o *verifyOptions) error {
	if err := c.blocks(ctx, nvme.OpVerify, &o.span, &o.protection, o.StorageTag, 0, nil); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "NVME Verify Success")
	return nil
}

type writeZeroesOptions struct {
	span
	Deallocate bool `long:"deac" short:"d" help:"the controller may deallocate the blocks"`
	protection
	StorageTag uint64 `long:"storage-tag" short:"S" arg:"IONUM" kind:"size" help:"storage tag"`
	consent
}

func writeZeroes(ctx context.Context, c *call, o *writeZeroesOptions) error {
	var extra nvme.IOFlags
	if o.Deallocate {
		extra = nvme.DeallocateZeros
	}
	if err := c.blocks(ctx, nvme.OpWriteZeroes, &o.span, &o.protection, o.StorageTag, extra, &o.consent); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "NVME Write Zeroes Success")
	return nil
}

type writeUncorOptions struct {
	span
	consent
}

func writeUncor(ctx context.Context, c *call, o *writeUncorOptions) error {
	if err := c.blocks(ctx, nvme.OpWriteUncorrectable, &o.span, &protection{}, 0, 0, &o.consent); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "NVME Write Uncorrectable Success")
	return nil
}

// blocks sends a command without data for a range of blocks.
func (c *call) blocks(ctx context.Context, op uint8, s *span, p *protection, storageTag uint64, extra nvme.IOFlags, allow *consent) error {
	if err := p.check(); err != nil {
		return err
	}
	nsid, err := c.namespace(s.NSID)
	if err != nil {
		return err
	}
	if allow != nil {
		if err := c.mayDestroy(ctx, *allow, nsid); err != nil {
			return err
		}
	}
	cmd := nvme.ReadWrite(op, nsid, s.Start, uint32(s.Count)+1, p.flags()|extra)
	p.apply(&cmd, storageTag)
	_, err = c.dev.Commands.IO(ctx, &cmd, nil, nil)
	return err
}

type dsmOptions struct {
	NSID       uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace"`
	Attributes string `long:"ctx-attrs" short:"a" arg:"LIST" help:"context attributes of each range, separated by commas"`
	Blocks     string `long:"blocks" short:"b" arg:"LIST" help:"blocks of each range"`
	Starts     string `long:"slbs" short:"s" arg:"LIST" help:"first block of each range"`
	Deallocate bool   `long:"ad" short:"d" help:"deallocate"`
	IDW        bool   `long:"idw" short:"w" help:"the ranges are an integral dataset for writing"`
	IDR        bool   `long:"idr" short:"r" help:"the ranges are an integral dataset for reading"`
	CDW11      uint32 `long:"cdw11" short:"c" arg:"NUM" help:"all attributes at once, instead of the three above"`
	consent
}

// Attributes of Dataset Management. NVM Command Set 1.0d §3.2.3, figure 42
const (
	dsmIntegralRead  = 1 << 0
	dsmIntegralWrite = 1 << 1
	dsmDeallocate    = 1 << 2
)

func dsm(ctx context.Context, c *call, o *dsmOptions) error {
	lists, err := rangeLists([]string{o.Attributes, o.Blocks, o.Starts}, []uint64{math.MaxUint32, math.MaxUint32, math.MaxUint64})
	if err != nil {
		return err
	}
	n := len(lists[0])
	if n == 0 || n > nvme.MaxRanges {
		return usagef("No range definition provided: -s STARTS -b BLOCKS, at most %d", nvme.MaxRanges)
	}
	nsid, err := c.namespace(o.NSID)
	if err != nil {
		return err
	}
	attributes := o.CDW11
	if attributes == 0 {
		for _, a := range []struct {
			on  bool
			bit uint32
		}{{o.Deallocate, dsmDeallocate}, {o.IDW, dsmIntegralWrite}, {o.IDR, dsmIntegralRead}} {
			if a.on {
				attributes |= a.bit
			}
		}
	}
	if attributes&dsmDeallocate != 0 {
		if err := c.mayDestroy(ctx, o.consent, nsid); err != nil {
			return err
		}
	}
	data := make([]byte, 16*n)
	for i := range n {
		nvme.PutRange(data[16*i:], nvme.Range{SLBA: lists[2][i], LBACount: uint32(lists[1][i])})
		binary.LittleEndian.PutUint32(data[16*i:], uint32(lists[0][i]))
	}
	cmd := nvme.DatasetManagement(nsid, n, false)
	cmd.CDW11 = attributes
	if _, err := c.dev.Commands.IO(ctx, &cmd, data, nil); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "NVMe DSM: success")
	return nil
}

// rangeLists parses lists of numbers up to their maxima and pads all with zeroes to the length of the longest.
func rangeLists(texts []string, maxima []uint64) ([][]uint64, error) {
	lists := make([][]uint64, len(texts))
	longest := 0
	for i, text := range texts {
		list, err := getopt.List(text)
		if err != nil {
			return nil, usageError{err}
		}
		for _, v := range list {
			if v > maxima[i] {
				return nil, usagef("%d is too large for its field", v)
			}
		}
		lists[i], longest = list, max(longest, len(list))
	}
	for i := range lists {
		lists[i] = append(lists[i], make([]uint64, longest-len(lists[i]))...)
	}
	return lists, nil
}

type copyOptions struct {
	NSID     uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace"`
	To       uint64 `long:"sdlba" short:"d" arg:"IONUM" kind:"size" help:"first block of the destination"`
	Starts   string `long:"slbs" short:"s" arg:"LIST" help:"first block of each source range, separated by commas"`
	Blocks   string `long:"blocks" short:"b" arg:"LIST" help:"blocks of each range less one"`
	Retry    bool   `long:"limited-retry" short:"l" help:"limit the controller's own retries"`
	FUA      bool   `long:"force-unit-access" short:"f" help:"reach the medium before the command completes"`
	PRInfoW  uint8  `long:"prinfow" short:"p" arg:"NUM" help:"protection information of the write"`
	PRInfoR  uint8  `long:"prinfor" short:"P" arg:"NUM" help:"protection information of the read"`
	RefTag   uint64 `long:"ref-tag" short:"r" arg:"IONUM" kind:"size" help:"initial reference tag of the write"`
	RefTags  string `long:"expected-ref-tags" short:"R" arg:"LIST" help:"expected reference tags of the read"`
	AppTag   uint16 `long:"app-tag" short:"a" arg:"NUM" help:"application tag of the write"`
	AppTags  string `long:"expected-app-tags" short:"A" arg:"LIST" help:"expected application tags of the read"`
	AppMask  uint16 `long:"app-tag-mask" short:"m" arg:"NUM" help:"application tag mask of the write"`
	AppMasks string `long:"expected-app-tag-masks" short:"M" arg:"LIST" help:"expected application tag masks of the read"`
	DirType  uint8  `long:"dir-type" short:"T" arg:"NUM" help:"directive type"`
	DirSpec  uint16 `long:"dir-spec" short:"S" arg:"NUM" help:"directive specific field"`
	Format   uint8  `long:"format" short:"F" arg:"NUM" help:"format of the source ranges: 0"`
	consent
}

// maxCopyRanges is what MSRC can allow.
const maxCopyRanges = 256

func copyBlocks(ctx context.Context, c *call, o *copyOptions) error {
	lists, err := rangeLists([]string{o.Starts, o.Blocks, o.RefTags, o.AppTags, o.AppMasks},
		[]uint64{math.MaxUint64, math.MaxUint16, math.MaxUint32, math.MaxUint16, math.MaxUint16})
	if err != nil {
		return err
	}
	n := len(lists[0])
	switch {
	case n == 0 || n > maxCopyRanges:
		return usagef("invalid range: want 1 to %d source ranges: -s STARTS -b BLOCKS", maxCopyRanges)
	case o.Format != 0:
		return usagef("invalid format:%d; only format 0 (16-bit guard) is known", o.Format)
	case o.PRInfoR > 0xf || o.PRInfoW > 0xf:
		return usagef("invalid prinfo")
	}
	nsid, err := c.namespace(o.NSID)
	if err != nil {
		return err
	}
	if err := c.mayDestroy(ctx, o.consent, nsid); err != nil {
		return err
	}
	ranges := make([]nvme.Range, n)
	for i := range ranges {
		ranges[i] = nvme.Range{SLBA: lists[0][i], LBACount: uint32(lists[1][i]) + 1}
	}
	data := nvme.EncodeCopyRanges(ranges)
	le := binary.LittleEndian
	for i := range n { // NVM Command Set 1.0d §3.2.2, figure 34: the tags that are expected
		le.PutUint32(data[32*i+24:], uint32(lists[2][i]))
		le.PutUint16(data[32*i+28:], uint16(lists[3][i]))
		le.PutUint16(data[32*i+30:], uint16(lists[4][i]))
	}
	cmd := nvme.Copy(nsid, o.To, n)
	cmd.CDW12 |= uint32(o.Format&0xf)<<8 | uint32(o.PRInfoR)<<12 | uint32(o.DirType&0xf)<<20 | uint32(o.PRInfoW)<<26
	if o.Retry {
		cmd.CDW12 |= uint32(nvme.LimitedRetry)
	}
	if o.FUA {
		cmd.CDW12 |= uint32(nvme.FUA)
	}
	cmd.CDW13 = uint32(o.DirSpec) << 16
	cmd.SetProtection(uint32(o.RefTag), o.AppTag, o.AppMask)
	if _, err := c.dev.Commands.IO(ctx, &cmd, data, nil); err != nil {
		return err
	}
	fmt.Fprintln(c.out, "NVMe Copy: success")
	return nil
}
