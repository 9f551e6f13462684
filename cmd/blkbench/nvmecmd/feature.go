package nvmecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/blkbench/blkbench/cmd/blkbench/nvmecmd/show"
	"github.com/blkbench/blkbench/nvme"
)

type getFeatureOptions struct {
	FID   uint8  `long:"feature-id" short:"f" arg:"NUM" help:"feature; all that the controller knows otherwise"`
	NSID  uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace"`
	Sel   uint8  `long:"sel" short:"s" arg:"NUM" help:"0 current, 1 default, 2 saved, 3 capabilities, 8 current where it differs from the default"`
	Len   uint32 `long:"data-len" short:"l" arg:"NUM" help:"bytes of data"`
	Raw   bool   `long:"raw-binary" short:"b" help:"print the data as it is"`
	CDW11 uint32 `long:"cdw11" short:"c" arg:"NUM" help:"command dword 11"`
	UUID  uint8  `long:"uuid-index" short:"U" arg:"NUM" help:"UUID index"`
	Human bool   `long:"human-readable" short:"H" help:"explain the value"`
}

const selChanged = 8

// featureSize is how much data a feature has. NVMe Base 2.0d §5.27.1
func featureSize(fid uint8, cdw11 uint32) int {
	switch fid {
	case 0x13, nvme.FIDHostBehavior: // predictable latency mode, host behaviour
		return 512
	case 0x7d, 0x7e, 0x7f: // metadata of controller and namespace
		return 4096
	case 0x81: // host identifier, extended with EXHID
		if cdw11&1 != 0 {
			return 16
		}
		return 8
	}
	return nvme.FeatureDataSize(fid)
}

func getFeature(ctx context.Context, c *call, o *getFeatureOptions) error {
	if o.Sel > selChanged {
		return usagef("invalid 'select' param:%d", o.Sel)
	}
	if o.NSID == 0 {
		o.NSID = c.dev.NSID
	}
	if o.FID != 0 {
		return c.oneFeature(ctx, o, o.FID)
	}
	for fid := 0; fid <= 0xff; fid++ {
		err := c.oneFeature(ctx, o, uint8(fid))
		status, ok := errors.AsType[*nvme.StatusError](err)
		switch code := statusOf(status); {
		case ok && (code == nvme.StatusInvalidField || code == nvme.StatusInvalidNamespace):
			// This one the controller does not have, or not for this namespace.
		case err != nil:
			return err
		}
	}
	return nil
}

func statusOf(e *nvme.StatusError) nvme.Status {
	if e == nil {
		return nvme.StatusSuccess
	}
	return e.Status.Code()
}

// feature reads one value of a feature.
func (c *call) feature(ctx context.Context, o *getFeatureOptions, fid uint8, sel nvme.FeatureSelect) (uint32, []byte, error) {
	n := int(o.Len)
	if n == 0 {
		n = featureSize(fid, o.CDW11)
	}
	if sel == nvme.SelectCapabilities {
		n = 0
	}
	var data []byte
	if n > 0 {
		data = make([]byte, n)
	}
	cmd := nvme.GetFeatures(fid, o.NSID, sel, o.CDW11)
	cmd.CDW14 = uint32(o.UUID & 0x7f)
	cp, err := c.dev.Commands.Admin(ctx, &cmd, data)
	return cp.DW0, data, err
}

func (c *call) oneFeature(ctx context.Context, o *getFeatureOptions, fid uint8) error {
	sel := nvme.FeatureSelect(o.Sel)
	if o.Sel == selChanged {
		sel = nvme.SelectCurrent
	}
	v, data, err := c.feature(ctx, o, fid, sel)
	if err != nil {
		return err
	}
	if o.Sel == selChanged {
		def, defData, err := c.feature(ctx, o, fid, nvme.SelectDefault)
		if err != nil {
			return err
		}
		if def == v && string(data) == string(defData) {
			return nil
		}
	}
	if o.Raw && len(data) > 0 {
		_, err := c.out.Write(data)
		return err
	}
	show.Feature(c.out, fid, sel, v, data, o.Human)
	return nil
}

type setFeatureOptions struct {
	NSID  uint32 `long:"namespace-id" short:"n" arg:"NUM" help:"namespace"`
	FID   uint8  `long:"feature-id" short:"f" arg:"NUM" help:"feature (required)"`
	Value uint64 `long:"value" short:"v" arg:"IONUM" kind:"size" help:"new value (required)"`
	CDW12 uint32 `long:"cdw12" short:"c" arg:"NUM" help:"command dword 12"`
	UUID  uint8  `long:"uuid-index" short:"U" arg:"NUM" help:"UUID index"`
	Len   uint32 `long:"data-len" short:"l" arg:"NUM" help:"bytes of data"`
	Data  string `long:"data" short:"d" arg:"FILE" help:"file with the data; the standard input otherwise"`
	Save  bool   `long:"save" short:"s" help:"keep the value over resets"`
}

func setFeature(ctx context.Context, c *call, o *setFeatureOptions) error {
	if o.FID == 0 {
		return usagef("feature-id required param")
	}
	if o.NSID == 0 {
		o.NSID = c.dev.NSID
	}
	n := int(o.Len)
	if n == 0 {
		n = featureSize(o.FID, uint32(o.Value))
	}
	var data []byte
	if n > 0 {
		data = make([]byte, n)
		if o.FID == nvme.FIDTimestamp {
			for i := range min(n, 6) { // the value is the data
				data[i] = byte(o.Value >> (8 * i))
			}
		} else if err := c.fill(o.Data, data); err != nil {
			return err
		}
	}
	cmd := nvme.SetFeatures(o.FID, o.NSID, o.Save, uint32(o.Value))
	cmd.CDW12, cmd.CDW14 = o.CDW12, uint32(o.UUID&0x7f)
	if _, err := c.dev.Commands.Admin(ctx, &cmd, data); err != nil {
		return err
	}
	if c.dev.Controller != nil && !o.Save {
		c.errorf("note: %s is reset when this command ends, which forgets a value that was not saved (-s)", c.dev.Label)
	}
	show.SetFeature(c.out, o.FID, o.Value, o.CDW12, o.Save, data)
	return nil
}

// fill reads b from a file, or from the standard input; what is missing stays zero.
func (c *call) fill(name string, b []byte) error {
	r := c.env.Stdin
	if len(b) == 0 {
		return nil
	}
	if name != "" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		r = f
	}
	_, err := io.ReadFull(r, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read data: %w", err)
	}
	return nil
}
