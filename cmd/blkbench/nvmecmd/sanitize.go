package nvmecmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/blkbench/blkbench/cmd/blkbench/nvmecmd/show"
	"github.com/blkbench/blkbench/nvme"
)

type sanitizeOptions struct {
	NoDealloc bool   `long:"no-dealloc" short:"d" help:"do not deallocate blocks afterwards"`
	Invert    bool   `long:"oipbp" short:"i" help:"invert the pattern between overwrite passes"`
	Passes    uint8  `long:"owpass" short:"n" arg:"NUM" help:"overwrite passes, 0 for 16"`
	AUSE      bool   `long:"ause" short:"u" help:"allow an unrestricted exit from failure"`
	Action    string `long:"sanact" short:"a" arg:"STRING" help:"1 or exit-failure, 2 or start-block-erase, 3 or start-overwrite, 4 or start-crypto-erase"`
	Pattern   uint32 `long:"ovrpat" short:"p" arg:"NUM" help:"overwrite pattern"`
	Wait      bool   `long:"wait" short:"w" help:"show the progress until it has ended, and prove that it happened"`
	consent
}

// Sanitize actions. NVMe Base 2.0d §5.24, figure 306
const (
	sanitizeExitFailure = 1
	sanitizeOverwrite   = 3
	sanitizeCryptoErase = 4
)

var sanitizeActions = []string{"", "exit-failure", "start-block-erase", "start-overwrite", "start-crypto-erase"}

func (o *sanitizeOptions) action() (uint32, error) {
	if i := slices.Index(sanitizeActions, o.Action); i > 0 {
		return uint32(i), nil
	}
	n, err := strconv.ParseUint(o.Action, 0, 8)
	if err != nil || n < sanitizeExitFailure || n > sanitizeCryptoErase {
		return 0, usagef("Invalid Sanitize Action")
	}
	return uint32(n), nil
}

func (o *sanitizeOptions) check(action uint32) error {
	switch {
	case action == sanitizeExitFailure && (o.AUSE || o.NoDealloc):
		return usagef("SANACT is Exit Failure Mode: --ause and --no-dealloc have no place in it")
	case action != sanitizeOverwrite && (o.Passes != 0 || o.Invert || o.Pattern != 0):
		return usagef("SANACT is not Overwrite")
	case o.Passes > 15:
		return usagef("OWPASS out of range [0-15]")
	}
	return nil
}

// sanitize erases the whole NVM subsystem: every namespace of every controller. NVMe Base 2.0d §5.24
func sanitize(ctx context.Context, c *call, o *sanitizeOptions) error {
	action, err := o.action()
	if err != nil {
		return err
	}
	if err := o.check(action); err != nil {
		return err
	}
	var before samples
	if action != sanitizeExitFailure {
		if err := c.mayDestroy(ctx, o.consent, everyNamespace); err != nil {
			return err
		}
		if o.Wait {
			before = c.sampleBlocks(ctx)
		}
	}
	cmd := nvme.Command{Opcode: nvme.OpSanitize, CDW10: action, CDW11: o.Pattern}
	for _, f := range []struct {
		on  bool
		bit uint
	}{{o.AUSE, 3}, {o.Invert, 8}, {o.NoDealloc, 9}} {
		if f.on {
			cmd.CDW10 |= 1 << f.bit
		}
	}
	cmd.CDW10 |= uint32(o.Passes) << 4
	if _, err := c.dev.Commands.Admin(ctx, &cmd, nil); err != nil {
		return err
	}
	if !o.Wait || action == sanitizeExitFailure {
		return nil
	}
	s, err := c.waitSanitized(ctx)
	if err != nil {
		return err
	}
	return c.prove(ctx, s, cmd.CDW10, before)
}

// sanitizePoll is how often the progress is looked at.
const sanitizePoll = 200 * time.Millisecond

// waitSanitized follows the progress until the operation has ended.
func (c *call) waitSanitized(ctx context.Context) (*nvme.SanitizeLog, error) {
	t := time.NewTicker(sanitizePoll)
	defer t.Stop()
	for last := -1; ; {
		b, err := c.log(ctx, nvme.LIDSanitize, everyNamespace, nvme.SanitizeLogSize)
		if err != nil {
			return nil, err
		}
		s, err := nvme.ParseSanitizeLog(b)
		if err != nil {
			return nil, err
		}
		if s.State() != nvme.SanitizeInProgress {
			return s, nil
		}
		if percent := int(s.SPROG) * 100 / 65536; percent != last {
			last = percent
			c.errorf("sanitize: %d %%", percent)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; the operation goes on, sanitize-log shows how far", ctx.Err())
		case <-t.C:
		}
	}
}

// sample is a block that was read before the operation.
type sample struct {
	nsid uint32
	lba  uint64
	data []byte
}

// samplesPerNamespace is how many blocks, evenly spread, are looked at before and after.
const samplesPerNamespace = 64

// samples are the blocks that were looked at before.
type samples struct {
	list  []sample // that hold something
	blank int      // how many more were read, whose bytes are all the same
}

// sampleBlocks reads blocks, as far as the namespaces can be read from here.
func (c *call) sampleBlocks(ctx context.Context) samples {
	var s samples
	ids, err := nvme.ActiveNamespaces(ctx, c.dev.Commands)
	if err != nil {
		return s // the proof says how many blocks there were
	}
	for _, nsid := range ids {
		ns, err := nvme.OpenNamespace(ctx, c.dev.Commands, nsid, 0)
		if err != nil {
			continue
		}
		for i := range uint64(samplesPerNamespace) {
			lba := ns.Blocks / samplesPerNamespace * i
			data, err := c.readBlock(ctx, ns, lba)
			switch {
			case err != nil:
			case blank(data):
				s.blank++
			default:
				s.list = append(s.list, sample{nsid, lba, data})
			}
		}
	}
	return s
}

func (c *call) readBlock(ctx context.Context, ns *nvme.Namespace, lba uint64) ([]byte, error) {
	data := make([]byte, ns.WireBlock())
	var meta []byte
	if !ns.Extended {
		meta = make([]byte, ns.MetadataSize)
	}
	cmd := nvme.ReadWrite(nvme.OpRead, ns.NSID, lba, 1, 0)
	_, err := c.dev.Commands.IO(ctx, &cmd, data, meta)
	return data, err
}

// blank says that every byte is the same.
func blank(b []byte) bool { return len(b) == 0 || bytes.Count(b, b[:1]) == len(b) }

// prove checks what the controller says of the operation against what was asked for, and the blocks against what they
// held before.
func (c *call) prove(ctx context.Context, s *nvme.SanitizeLog, cdw10 uint32, before samples) error {
	show.Sanitize(c.out, s, true)
	if s.SCDW10 != cdw10 {
		return fmt.Errorf("the last sanitize operation was another one: its command dword 10 is %#x, this one's %#x", s.SCDW10, cdw10)
	}
	switch s.State() {
	case nvme.SanitizeSuccess, nvme.SanitizeSuccessND:
	default:
		return errors.New("the sanitize operation failed; the controller takes I/O again after: sanitize -a exit-failure, or another sanitize")
	}
	switch {
	case len(before.list) > 0:
	case before.blank > 0:
		fmt.Fprintf(c.out, "All %d sampled blocks were blank before: the controller's word is all there is.\n", before.blank)
		return nil
	default:
		return errors.New("the controller reports success, but no block could be read before: nothing to compare with")
	}
	kept := 0
	for _, b := range before.list {
		ns, err := nvme.OpenNamespace(ctx, c.dev.Commands, b.nsid, 0)
		if err != nil {
			return err
		}
		data, err := c.readBlock(ctx, ns, b.lba)
		if err == nil && bytes.Equal(data, b.data) {
			kept++
		}
	}
	if kept > 0 {
		return fmt.Errorf("%d of %d blocks still hold what they held before", kept, len(before.list))
	}
	fmt.Fprintf(c.out, "None of %d sampled blocks holds what it held before.\n", len(before.list))
	return nil
}
