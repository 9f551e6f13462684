package nvmecmd

import (
	"context"
	"fmt"
	"math"

	"github.com/blkbench/blkbench/cmd/blkbench/internal/getopt"
	"github.com/blkbench/blkbench/cmd/blkbench/nvmecmd/show"
	"github.com/blkbench/blkbench/nvme"
)

func parseByte(name, text string) (uint8, error) {
	v, err := getopt.Number(text)
	if err != nil || v > math.MaxUint8 {
		return 0, usagef("Expected byte argument for '%s' but got '%s'!", name, text)
	}
	return uint8(v), nil
}

// log reads one log page for nsid.
func (c *call) log(ctx context.Context, lid uint8, nsid uint32, n int) ([]byte, error) {
	return nvme.ReadLog(ctx, c.dev.Commands, lid, nsid, n)
}

type smartOptions struct {
	NSID uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"one namespace instead of the controller" default:"0xffffffff"`
	output
	Human bool `long:"human-readable" short:"H" help:"explain the warnings"`
}

func smartLog(ctx context.Context, c *call, o *smartOptions) error {
	b, err := c.log(ctx, nvme.LIDSMART, o.NSID, nvme.SMARTLogSize)
	if err != nil {
		return err
	}
	s, err := nvme.ParseSMARTLog(b)
	if err != nil {
		return err
	}
	return c.print(o.output, b, func() any { return show.SMARTJSON(s) }, func() { show.SMART(c.out, c.dev.Label, o.NSID, s, o.Human) })
}

type errorOptions struct {
	Entries uint32 `long:"log-entries" short:"e" arg:"NUM" help:"number of entries" default:"64"`
	output
}

const errorEntry = 64 // NVMe Base 2.0d §5.16.1.2

func errorLog(ctx context.Context, c *call, o *errorOptions) error {
	if o.Entries == 0 {
		return usagef("non-zero log-entries is required param")
	}
	id, err := c.identify(ctx)
	if err != nil {
		return err
	}
	n := min(int(o.Entries), int(id.ELPE)+1)
	b, err := c.log(ctx, nvme.LIDError, everyNamespace, n*errorEntry)
	if err != nil {
		return err
	}
	entries := nvme.ParseErrorLog(b)
	return c.print(o.output, b, func() any { return show.ErrorsJSON(entries) }, func() { show.Errors(c.out, c.dev.Label, entries) })
}

type fwLogOptions struct{ output }

func fwLog(ctx context.Context, c *call, o *fwLogOptions) error {
	b, err := c.log(ctx, nvme.LIDFirmwareSlot, everyNamespace, nvme.FirmwareLogSize)
	if err != nil {
		return err
	}
	f, err := nvme.ParseFirmwareLog(b)
	if err != nil {
		return err
	}
	return c.print(o.output, b, func() any { return show.FirmwareJSON(c.dev.Label, f) }, func() { show.Firmware(c.out, c.dev.Label, f) })
}

type effectsOptions struct {
	output
	Human bool   `long:"human-readable" short:"H" help:"explain the effects"`
	CSI   string `long:"csi" short:"c" arg:"NUM" help:"one I/O command set; all that the controller has otherwise"`
}

// effectsLog reads a log per command set: the zoned one as well where the controller supports several.
func effectsLog(ctx context.Context, c *call, o *effectsOptions) error {
	sets := []uint8{show.CSINVM}
	if o.CSI != "" {
		csi, err := parseByte("csi", o.CSI)
		if err != nil {
			return err
		}
		sets = []uint8{csi}
	} else if c.severalSets() {
		sets = []uint8{show.CSIZNS, show.CSINVM}
	}
	var logs []show.Effects
	var raw []byte
	for _, csi := range sets {
		cmd := nvme.GetLogPage(nvme.LIDCommandsEffects, everyNamespace, nvme.EffectsLogSize, 0)
		cmd.CDW14 = uint32(csi) << 24
		b := make([]byte, nvme.EffectsLogSize)
		if _, err := c.dev.Commands.Admin(ctx, &cmd, b); err != nil {
			return fmt.Errorf("effects log: %w", err)
		}
		e, err := nvme.ParseEffectsLog(b)
		if err != nil {
			return err
		}
		logs, raw = append(logs, show.Effects{CSI: csi, Log: e}), append(raw, b...)
	}
	return c.print(o.output, raw, func() any { return show.CommandEffectsJSON(logs) }, func() { show.CommandEffects(c.out, logs, o.Human) })
}

// severalSets says whether the controller has more than the NVM command set, as far as its registers can be read.
// NVMe Base 2.0d §3.1.3.1, "CSS"
func (c *call) severalSets() bool {
	r, err := c.dev.registers()
	return err == nil && r.CAP.CSS()&(1<<6) != 0
}

type sanitizeLogOptions struct {
	RAE bool `long:"rae" short:"r" help:"leave the asynchronous event pending"`
	output
	Human bool `long:"human-readable" short:"H" help:"explain the status"`
}

// retainEvent is Get Log Page's RAE. NVMe Base 2.0d §5.16, figure 197
const retainEvent = 1 << 15

func sanitizeLog(ctx context.Context, c *call, o *sanitizeLogOptions) error {
	cmd := nvme.GetLogPage(nvme.LIDSanitize, everyNamespace, nvme.SanitizeLogSize, 0)
	if o.RAE {
		cmd.CDW10 |= retainEvent
	}
	b := make([]byte, nvme.SanitizeLogSize)
	if _, err := c.dev.Commands.Admin(ctx, &cmd, b); err != nil {
		return fmt.Errorf("sanitize log: %w", err)
	}
	s, err := nvme.ParseSanitizeLog(b)
	if err != nil {
		return err
	}
	return c.print(o.output, b, func() any { return show.SanitizeJSON(c.dev.Label, s) }, func() { show.Sanitize(c.out, s, o.Human) })
}

type getLogOptions struct {
	NSID  uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace" default:"0xffffffff"`
	LID   uint8  `long:"log-id" short:"i" arg:"NUM" help:"log page" default:"0xff"`
	Len   uint32 `long:"log-len" short:"l" arg:"NUM" help:"bytes to read"`
	AEN   uint32 `long:"aen" short:"a" arg:"NUM" help:"result of an asynchronous event; its log page and 4096 bytes"`
	LPO   uint64 `long:"lpo" short:"o" arg:"IONUM" kind:"size" help:"byte offset within the page"`
	LSP   uint8  `long:"lsp" short:"s" arg:"NUM" help:"log specific field"`
	LSI   uint16 `long:"lsi" short:"S" arg:"NUM" help:"log specific identifier"`
	RAE   bool   `long:"rae" short:"r" help:"leave the asynchronous event pending"`
	UUID  uint8  `long:"uuid-index" short:"U" arg:"NUM" help:"UUID index"`
	Raw   bool   `long:"raw-binary" short:"b" help:"print the bytes as they are"`
	CSI   uint8  `long:"csi" short:"y" arg:"NUM" help:"I/O command set"`
	Index bool   `long:"ot" short:"O" help:"the offset is an index"`
}

func getLog(ctx context.Context, c *call, o *getLogOptions) error {
	if o.AEN != 0 {
		o.Len, o.LID = 4096, uint8(o.AEN>>16)
	}
	const most = 64 << 20
	if o.Len == 0 || o.Len > most {
		return usagef("non-zero log-len is required param, at most %d", most)
	}
	const piece = 4096
	all := make([]byte, (int(o.Len)+3)&^3)
	for off := 0; off < len(all); off += piece {
		part := all[off:min(off+piece, len(all))]
		at := o.LPO + uint64(off)
		if o.Index {
			at = o.LPO
			part = all
		}
		cmd := nvme.GetLogPage(o.LID, o.NSID, len(part), at)
		cmd.CDW10 |= uint32(o.LSP&0x7f) << 8
		if o.RAE || off+len(part) < len(all) {
			cmd.CDW10 |= retainEvent
		}
		cmd.CDW11 |= uint32(o.LSI) << 16
		cmd.CDW14 = uint32(o.CSI)<<24 | uint32(o.UUID&0x7f)
		if o.Index {
			cmd.CDW14 |= 1 << 23
		}
		if _, err := c.dev.Commands.Admin(ctx, &cmd, part); err != nil {
			return fmt.Errorf("log page %#02x: %w", o.LID, err)
		}
		if o.Index {
			break
		}
	}
	b := all[:o.Len]
	if o.Raw {
		_, err := c.out.Write(b)
		return err
	}
	fmt.Fprintf(c.out, "Device:%s log-id:%d namespace-id:%#x\n", c.dev.Label, o.LID, o.NSID)
	show.Hex(c.out, b)
	return nil
}
