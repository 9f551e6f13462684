package imgcmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

type measureFlags struct {
	helpOption
	Size     *string  `long:"size" arg:"SIZE" help:"virtual size of an image without data, instead of FILENAME"`
	Target   *string  `short:"O" arg:"FORMAT" help:"format of the new image; raw where absent"`
	Options  []string `short:"o" arg:"OPTIONS" help:"options of the new image: key=value,…"`
	Format   *string  `short:"f" arg:"FORMAT" help:"format of FILENAME; probed where absent"`
	Snapshot *string  `short:"l" arg:"SNAPSHOT" help:"an internal snapshot of FILENAME: snapshot.id=ID,snapshot.name=NAME, or the ID or name alone"`
	Output   *string  `long:"output" arg:"human|json" help:"what to print"`
	objectOption
	imageOption
	shareOption
}

func measureVerb() command {
	return define("measure", "[FILENAME]", "computes how large the file of a new image gets",
		"Of FILENAME it counts what holds data. The required size is what convert needs, the fully allocated size what the image can grow to.", measure)
}

func measure(ctx context.Context, c *call, o *measureFlags) int {
	list, err := parseSettings(o.Options)
	if err != nil {
		return c.fail("%v", err)
	}
	asJSON, ok := c.outputJSON(o.Output)
	if !ok {
		return exitFailed
	}
	size := int64(-1)
	if o.Size != nil {
		if size, ok = c.number("image size", *o.Size); !ok {
			return exitFailed
		}
	}
	switch {
	case len(c.args) > 1:
		return c.fail("At most one filename argument is allowed.")
	case len(c.args) == 1 && o.Size != nil:
		return c.fail("--size N cannot be used together with a filename.")
	case len(c.args) == 0 && o.Size == nil:
		return c.fail("Either --size N or one filename must be specified.")
	case len(c.args) == 0 && (o.ImageOpts || o.Format != nil || o.Snapshot != nil):
		return c.fail("--image-opts, -f, and -l require a filename argument.")
	}
	format := "raw"
	if o.Target != nil {
		format = *o.Target
	}
	d, err := c.eng.Registry.Lookup(format)
	if err != nil {
		return c.fail("Unknown file format '%s'", format)
	}
	if !d.CanCreate() {
		return c.fail("Format driver '%s' does not support image creation", format)
	}
	file, err := c.eng.Registry.Lookup("file")
	if err != nil {
		return c.fail("%v", err)
	}
	if list, err = list.check(createOptions(d, file), c.warnf); err != nil {
		c.errorf("%v", err)
		return c.fail("Invalid options for file format '%s'", format)
	}
	if d.Measure == nil {
		return c.fail("Block driver '%s' does not support size measurement", format)
	}
	req := &engine.MeasureRequest{Size: size}
	if text, given := list.get("size"); given && o.Size == nil && len(c.args) == 0 {
		if req.Size, err = opts.ParseSize(text); err != nil {
			return c.fail("%s", Reason(err))
		}
	}
	for _, key := range []string{"size", "nocow", "extent_size_hint"} {
		list.remove(key)
	}
	if req.Opts, err = list.tree(); err != nil {
		return c.fail("%v", err)
	}
	if len(c.args) == 1 {
		ref, ok := c.measured(ctx, o, req)
		if !ok {
			return exitFailed
		}
		defer ref.Close()
	}
	m, err := d.Measure(ctx, req)
	if err != nil {
		if text := badValue(format, err); text != "" {
			return c.fail("%s", text)
		}
		return c.fail("%s", Reason(err))
	}
	return c.printMeasure(m, asJSON)
}

func (c *call) printMeasure(m engine.Measurement, asJSON bool) int {
	if !asJSON {
		fmt.Fprintf(c.env.Stdout, "required size: %d\nfully allocated size: %d\n", m.Required, m.FullyAllocated)
		if m.Bitmaps >= 0 {
			fmt.Fprintf(c.env.Stdout, "bitmaps size: %d\n", m.Bitmaps)
		}
		return exitOK
	}
	o := object{"required": m.Required, "fully-allocated": m.FullyAllocated}
	if m.Bitmaps >= 0 {
		o["bitmaps"] = m.Bitmaps
	}
	if err := writeJSON(c.env.Stdout, o); err != nil {
		return c.fail("%v", err)
	}
	return exitOK
}

// measured opens the image that is measured and completes the request.
func (c *call) measured(ctx context.Context, o *measureFlags, req *engine.MeasureRequest) (*engine.Ref, bool) {
	ref, ok := c.openImage(ctx, &Image{
		Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts, Flags: engine.OpenFlags{ForceShare: o.ForceShare},
	})
	if !ok {
		return nil, false
	}
	if o.Snapshot != nil {
		if err := LoadSnapshot(ctx, ref, *o.Snapshot); err != nil {
			c.errorf("Failed to load snapshot: %s", err)
			_ = c.close(ref)
			return nil, false
		}
	}
	req.Size = virtualSize(ref)
	req.Source, _ = ref.Node().(engine.Bitmapper)
	req.Data = func(ctx context.Context, unit int64) (int64, error) { return countData(ctx, ref, unit) }
	return ref, true
}

// LoadSnapshot makes an image that is open for reading show a snapshot, which is named as -l names it:
// snapshot.id=ID,snapshot.name=NAME, or either alone without the key.
func LoadSnapshot(ctx context.Context, ref *engine.Ref, param string) error {
	s, ok := ref.Node().(engine.Snapshotter)
	if !ok {
		return fmt.Errorf("Device '' does not support internal snapshots") //nolint:revive,staticcheck // QEMU's words
	}
	list, err := s.Snapshots(ctx)
	if err != nil {
		return err
	}
	match := func(x *engine.Snapshot) bool { return x.ID == param || x.Name == param }
	if strings.HasPrefix(param, "snapshot.") {
		t, err := opts.ParseKeyval(param)
		if err != nil {
			return err
		}
		id, hasID := t.String("snapshot.id")
		name, hasName := t.String("snapshot.name")
		match = func(x *engine.Snapshot) bool { return (!hasID || x.ID == id) && (!hasName || x.Name == name) }
	}
	for i := range list {
		if match(&list[i]) {
			return s.OpenSnapshot(ctx, list[i].ID)
		}
	}
	return fmt.Errorf("Can't find snapshot") //nolint:revive,staticcheck // QEMU's words
}

// countData counts the bytes of those units of an image that hold data.
func countData(ctx context.Context, ref *engine.Ref, unit int64) (int64, error) {
	size := ref.Size()
	var sum, next int64 // units below next are counted
	var buf []engine.Extent
	for off := int64(0); off < size; {
		var err error
		if buf, err = ref.Extents(ctx, off, size-off, buf[:0]); err != nil {
			return 0, err
		}
		for i := range buf {
			x := &buf[i]
			off = x.Off + x.Len
			if x.Flags&engine.ExtentData == 0 || x.Flags&engine.ExtentZero != 0 {
				continue
			}
			from, to := max(next, x.Off/unit*unit), (off+unit-1)/unit*unit
			if to > from {
				sum += to - from
				next = to
			}
		}
	}
	return sum, nil
}
