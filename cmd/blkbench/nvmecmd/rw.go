package nvmecmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/blkbench/blkbench/nvme"
)

// span are the options of commands that take a range of blocks.
type span struct {
	NSID  uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace"`
	Start uint64 `long:"start-block" short:"s" arg:"IONUM" kind:"size" help:"first block"`
	Count uint16 `long:"block-count" short:"c" arg:"NUM" help:"number of blocks less one"`
}

// protection are the options that all of them share.
type protection struct {
	RefTag   uint64 `long:"ref-tag" short:"r" arg:"IONUM" kind:"size" help:"initial reference tag"`
	PRInfo   uint8  `long:"prinfo" short:"p" arg:"NUM" help:"PRACT and the checks of guard, application tag and reference tag"`
	AppMask  uint16 `long:"app-tag-mask" short:"m" arg:"NUM" help:"application tag mask"`
	AppTag   uint16 `long:"app-tag" short:"a" arg:"NUM" help:"application tag"`
	Retry    bool   `long:"limited-retry" short:"l" help:"limit the controller's own retries"`
	FUA      bool   `long:"force-unit-access" short:"f" help:"reach the medium before the command completes"`
	TagCheck bool   `long:"storage-tag-check" short:"C" help:"check the storage tag"`
}

// flags are CDW12's bits. NVM Command Set 1.0d §3.2.4, figure 57
func (p *protection) flags() nvme.IOFlags {
	f := nvme.IOFlags(p.PRInfo&0xf) << 26
	if p.Retry {
		f |= nvme.LimitedRetry
	}
	if p.FUA {
		f |= nvme.FUA
	}
	if p.TagCheck {
		f |= storageTagCheck
	}
	return f
}

// storageTagCheck is STC. NVM Command Set 1.0d §3.2.4, figure 57
const storageTagCheck nvme.IOFlags = 1 << 24

func (p *protection) check() error {
	if p.PRInfo > 0xf {
		return usagef("invalid prinfo:%d", p.PRInfo)
	}
	return nil
}

// apply adds the tags to a command. The storage tag format of the 16-bit guard without storage tag is assumed, where
// the whole 32 bits are the reference tag.
func (p *protection) apply(cmd *nvme.Command, storageTag uint64) {
	cmd.SetProtection(uint32(p.RefTag), p.AppTag, p.AppMask)
	cmd.CDW3 |= uint32(storageTag >> 32)
	cmd.CDW2 |= uint32(storageTag)
}

type rwOptions struct {
	span
	DataSize uint64 `long:"data-size" short:"z" arg:"IONUM" kind:"size" help:"bytes of data (required)"`
	MetaSize uint64 `long:"metadata-size" short:"y" arg:"IONUM" kind:"size" help:"bytes of metadata"`
	Data     string `long:"data" short:"d" arg:"FILE" help:"file with the data; the standard input or output otherwise"`
	Metadata string `long:"metadata" short:"M" arg:"FILE" help:"file with the metadata"`
	protection
	StorageTag uint64 `long:"storage-tag" short:"g" arg:"IONUM" kind:"size" help:"storage tag"`
	DirType    uint8  `long:"dir-type" short:"T" arg:"NUM" help:"directive type of a write"`
	DirSpec    uint16 `long:"dir-spec" short:"S" arg:"NUM" help:"directive specific field of a write"`
	DSM        uint8  `long:"dsm" short:"D" arg:"NUM" help:"dataset management attributes"`
	Show       bool   `long:"show-command" short:"v" help:"show the command before it is sent"`
	Dry        bool   `long:"dry-run" short:"w" help:"show the command instead of sending it"`
	Latency    bool   `long:"latency" short:"t" help:"show how long it took"`
	Force      bool   `long:"force" help:"accepted; who uses the namespace is asked all the same"`
}

type writeOptions struct {
	rwOptions
	consent
}

func read(ctx context.Context, c *call, o *rwOptions) error {
	return c.transfer(ctx, o, nvme.OpRead, nil)
}

func compare(ctx context.Context, c *call, o *rwOptions) error {
	return c.transfer(ctx, o, nvme.OpCompare, nil)
}

func write(ctx context.Context, c *call, o *writeOptions) error {
	return c.transfer(ctx, &o.rwOptions, nvme.OpWrite, &o.consent)
}

// transfer is read, write and compare. allow is nil for what destroys nothing.
func (c *call) transfer(ctx context.Context, o *rwOptions, op uint8, allow *consent) error {
	if err := errors.Join(o.check(), o.checkSize()); err != nil {
		return err
	}
	nsid, err := c.namespace(o.NSID)
	if err != nil {
		return err
	}
	ns, err := c.identifyNS(ctx, nsid)
	if err != nil {
		return err
	}
	data, meta := c.buffers(o, ns)
	if op != nvme.OpRead {
		if err := c.fill(o.Data, data); err != nil {
			return err
		}
		if err := c.fill(o.Metadata, meta); err != nil {
			return err
		}
	}
	cmd := nvme.ReadWrite(op, nsid, o.Start, uint32(o.Count)+1, o.flags()|nvme.IOFlags(o.DirType&0xf)<<20)
	cmd.CDW13 = uint32(o.DSM) | uint32(o.DirSpec)<<16
	o.apply(&cmd, o.StorageTag)
	if o.Show || o.Dry {
		c.showCommand(&cmd, o)
	}
	if o.Dry {
		return nil
	}
	if allow != nil {
		if err := c.mayDestroy(ctx, *allow, nsid); err != nil {
			return err
		}
	}
	start := time.Now()
	_, err = c.dev.Commands.IO(ctx, &cmd, data, meta)
	if o.Latency {
		fmt.Fprintf(c.out, " latency: %s: %d us\n", c.cmd.name, time.Since(start).Microseconds())
	}
	if err != nil {
		return err
	}
	if op == nvme.OpRead {
		if err := c.deliver(o, data, meta); err != nil {
			return err
		}
	}
	c.errorf("%s: Success", c.cmd.name)
	return nil
}

const largestTransfer = 64 << 20

func (o *rwOptions) checkSize() error {
	switch {
	case o.DataSize == 0:
		return usagef("data size not provided")
	case o.DataSize > largestTransfer || o.MetaSize > largestTransfer:
		return usagef("data size too large: at most %d bytes go into a command", largestTransfer)
	}
	return nil
}

// buffers are as large as the command needs: a size that is smaller than the blocks is rounded up, since the controller
// moves whole blocks.
func (c *call) buffers(o *rwOptions, ns *nvme.IdentifyNamespace) (data, meta []byte) {
	block := uint64(ns.Format().DataSize())
	if ns.Extended() && (ns.Format().MS != nvme.ProtectionSize || ns.ProtectionType() == 0 || o.PRInfo&8 == 0) {
		block += uint64(ns.Format().MS)
	}
	size := o.DataSize
	if need := block * (uint64(o.Count) + 1); size < need {
		c.errorf("Rounding data size to fit block count (%d bytes)", need)
		size = need
	}
	return make([]byte, size), make([]byte, o.MetaSize)
}

// deliver writes what was read to its files.
func (c *call) deliver(o *rwOptions, data, meta []byte) error {
	for _, part := range []struct {
		name string
		b    []byte
	}{{o.Data, data[:o.DataSize]}, {o.Metadata, meta}} {
		switch {
		case part.name != "":
			if err := writeAll(part.name, part.b); err != nil {
				return err
			}
		case len(part.b) == 0 || &part.b[0] != &data[0]:
			// Metadata without a file is dropped.
		default:
			if _, err := c.out.Write(part.b); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeAll(name string, b []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(b))
	return errors.Join(err, f.Close())
}

// showCommand prints the fields of a read, write or compare.
func (c *call) showCommand(cmd *nvme.Command, o *rwOptions) {
	fmt.Fprintf(c.out, "opcode       : %02x\nnsid         : %02x\nflags        : %02x\ncontrol      : %04x\nnblocks      : %04x\n",
		cmd.Opcode, cmd.NSID, cmd.Flags, cmd.CDW12>>16, cmd.CDW12&0xffff)
	fmt.Fprintf(c.out, "slba         : %x\ndsmgmt       : %08x\nreftag       : %x\napptag       : %04x\nappmask      : %04x\n",
		o.Start, cmd.CDW13, o.RefTag, o.AppTag, o.AppMask)
	check := 0
	if o.TagCheck {
		check = 1
	}
	fmt.Fprintf(c.out, "storagetagcheck : %04x\nstoragetag      : %x\n", check, o.StorageTag)
}
