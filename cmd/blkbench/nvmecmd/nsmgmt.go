package nvmecmd

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/cmd/blkbench/internal/getopt"
	"github.com/blkbench/blkbench/nvme"
)

type createNSOptions struct {
	NSZE    uint64 `long:"nsze" short:"s" arg:"IONUM" kind:"size" help:"size in blocks"`
	NCAP    uint64 `long:"ncap" short:"c" arg:"IONUM" kind:"size" help:"capacity in blocks"`
	FLBAS   uint8  `long:"flbas" short:"f" arg:"NUM" help:"formatted LBA size" default:"0xff"`
	DPS     uint8  `long:"dps" short:"d" arg:"NUM" help:"data protection settings"`
	NMIC    uint8  `long:"nmic" short:"m" arg:"NUM" help:"1 for a namespace that several controllers may attach"`
	ANA     uint32 `long:"anagrp-id" short:"a" arg:"NUM" help:"ANA group"`
	NVMSet  uint16 `long:"nvmset-id" short:"i" arg:"NUM" help:"NVM set"`
	Block   uint64 `long:"block-size" short:"b" arg:"IONUM" kind:"size" help:"block size, instead of --flbas"`
	Timeout uint32 `long:"timeout" short:"t" arg:"NUM" help:"milliseconds until the command is given up" default:"120000"`
	CSI     uint8  `long:"csi" short:"y" arg:"NUM" help:"I/O command set"`
	LBSTM   uint64 `long:"lbstm" short:"l" arg:"IONUM" kind:"size" help:"logical block storage tag mask"`
	NSZESI  string `long:"nsze-si" short:"S" arg:"STRING" help:"size in bytes with a decimal suffix: 100G"`
	NCAPSI  string `long:"ncap-si" short:"C" arg:"STRING" help:"capacity in bytes with a decimal suffix"`
}

// createNS is Namespace Management, create. NVMe Base 2.0d §5.23; NVM Command Set 1.0d §4.1.6, figure 101
func createNS(ctx context.Context, c *call, o *createNSOptions) error {
	switch {
	case o.FLBAS != unset && o.Block != 0:
		return usagef("Invalid specification of both FLBAS and Block Size, please specify only one")
	case o.FLBAS == unset && o.Block == 0:
		return usagef("FLBAS corresponding to block size 0 not found; name a block size by -b, or -f FLBAS")
	}
	common, err := c.identifyNS(ctx, everyNamespace)
	if o.Block != 0 {
		if err != nil {
			return fmt.Errorf("what all namespaces have in common: %w", err)
		}
		i, err := formatOfSize(common, o.Block)
		if err != nil {
			return err
		}
		o.FLBAS = uint8(i)&0xf | uint8(i)>>4<<5
	}
	for _, si := range []struct {
		text   string
		blocks *uint64
	}{{o.NSZESI, &o.NSZE}, {o.NCAPSI, &o.NCAP}} {
		if si.text == "" {
			continue
		}
		n, err := parseSI(si.text)
		if err != nil {
			return err
		}
		block := uint64(1)
		if common != nil {
			if f := common.LBAF[o.FLBAS&0xf|o.FLBAS>>5&3<<4]; f.DataSize() != 0 {
				block = uint64(f.DataSize())
			}
		}
		*si.blocks = n / block
	}
	if o.NSZE == 0 || o.NCAP == 0 {
		return usagef("a namespace needs a size and a capacity: -s BLOCKS -c BLOCKS")
	}
	le := binary.LittleEndian
	b := make([]byte, nvme.IdentifySize)
	le.PutUint64(b, o.NSZE)
	le.PutUint64(b[8:], o.NCAP)
	b[26], b[29], b[30] = o.FLBAS, o.DPS, o.NMIC
	le.PutUint32(b[92:], o.ANA)
	le.PutUint16(b[100:], o.NVMSet)
	le.PutUint64(b[384:], o.LBSTM)
	ctx, cancel := deadline(ctx, o.Timeout)
	defer cancel()
	cmd := nvme.Command{Opcode: nvme.OpNSManagement, CDW11: uint32(o.CSI) << 24}
	cp, err := c.dev.Commands.Admin(ctx, &cmd, b)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "create-ns: Success, created nsid:%d\n", cp.DW0)
	return nil
}

// parseSI reads bytes with a decimal suffix: 1k is 1000.
func parseSI(text string) (uint64, error) {
	number := strings.TrimRight(text, "kKmMgGtTpPeE")
	scale := 1.0
	if suffix := text[len(number):]; len(suffix) > 1 {
		return 0, usagef("size '%s': want a number with one of k, M, G, T, P, E", text)
	} else if suffix != "" {
		scale = math.Pow(1000, float64(strings.IndexByte("kmgtpe", suffix[0]|0x20)+1))
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v < 0 || v*scale >= 1<<63 {
		return 0, usagef("size '%s': want a number with one of k, M, G, T, P, E", text)
	}
	return uint64(v * scale), nil
}

type deleteNSOptions struct {
	NSID    uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace to delete"`
	Timeout uint32 `long:"timeout" short:"t" arg:"NUM" help:"milliseconds until the command is given up" default:"120000"`
	consent
}

// deleteNS is Namespace Management, delete. NVMe Base 2.0d §5.23
func deleteNS(ctx context.Context, c *call, o *deleteNSOptions) error {
	nsid, err := c.namespace(o.NSID)
	if err != nil {
		return err
	}
	if err := c.mayDestroy(ctx, o.consent, nsid); err != nil {
		return err
	}
	ctx, cancel := deadline(ctx, o.Timeout)
	defer cancel()
	cmd := nvme.Command{Opcode: nvme.OpNSManagement, NSID: nsid, CDW10: 1}
	if _, err := c.dev.Commands.Admin(ctx, &cmd, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "delete-ns: Success, deleted nsid:%d\n", nsid)
	return nil
}

type attachNSOptions struct {
	NSID        uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace (required)"`
	Controllers string `long:"controllers" short:"c" arg:"LIST" help:"controller identifiers (CNTLID), separated by commas"`
}

func attachNS(ctx context.Context, c *call, o *attachNSOptions) error { return c.attachment(ctx, o, 0) }

func detachNS(ctx context.Context, c *call, o *attachNSOptions) error { return c.attachment(ctx, o, 1) }

// attachment is Namespace Attachment. NVMe Base 2.0d §5.22
func (c *call) attachment(ctx context.Context, o *attachNSOptions, sel uint32) error {
	name := c.cmd.name
	if o.NSID == 0 {
		return usagef("namespace-id parameter required")
	}
	list, err := getopt.List(o.Controllers)
	if err != nil || len(list) > 2047 {
		return usagef("controllers '%s': want up to 2047 numbers, separated by commas", o.Controllers)
	}
	if len(list) == 0 {
		c.errorf("warning: empty controller-id list will result in no actual change in namespace attachment")
	}
	b := make([]byte, nvme.IdentifySize)
	binary.LittleEndian.PutUint16(b, uint16(len(list)))
	for i, id := range list {
		if id > math.MaxUint16 {
			return usagef("controller '%d': want a number below 65536", id)
		}
		binary.LittleEndian.PutUint16(b[2+2*i:], uint16(id))
	}
	cmd := nvme.Command{Opcode: nvme.OpNSAttachment, NSID: o.NSID, CDW10: sel}
	if _, err := c.dev.Commands.Admin(ctx, &cmd, b); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s: Success, nsid:%d\n", name, o.NSID)
	return nil
}
