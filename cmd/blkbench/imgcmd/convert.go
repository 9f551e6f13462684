package imgcmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/convert"
)

type convertOptions struct {
	helpOption
	Format        *string  `short:"f" arg:"FORMAT" help:"format of the sources; probed where absent"`
	OutFormat     *string  `short:"O" arg:"FORMAT" help:"format of the target; raw where absent"`
	Backing       *string  `short:"B" arg:"FILENAME" help:"the target gets this backing file; only what differs from it by layers is copied"`
	BackingFormat *string  `short:"F" arg:"FORMAT" help:"format of the backing file"`
	Compressed    bool     `short:"c" help:"compress the target"`
	CopyRange     bool     `short:"C" help:"try to copy inside the kernel, or to share blocks"`
	Level         *string  `long:"compression-level" arg:"LEVEL" exact:"true" help:"of -c: 1 is the fastest, zlib goes to 9, zstd to 22; balanced where absent"`
	Options       []string `short:"o" arg:"OPTIONS" help:"options of the target's format: key=value,…; -o help lists them"`
	Snapshot      *string  `short:"l" arg:"SNAPSHOT" help:"copy a snapshot: its ID or name, or snapshot.id=…,snapshot.name=…"`
	Sparse        *string  `short:"S" arg:"SIZE" help:"so many bytes of zeroes become a hole (4k); 0: the target is fully allocated"`
	Cache         *string  `short:"t" arg:"CACHE" help:"cache mode of the target; unsafe as qemu-img, else writeback"`
	SourceCache   *string  `short:"T" arg:"CACHE" help:"cache mode of the sources"`
	NoCreate      bool     `short:"n" help:"the target exists: do not create it"`
	InFlight      *string  `short:"m" arg:"NUMBER" help:"chunks in flight, 1 to 16 (8)"`
	OutOfOrder    bool     `short:"W" help:"write in any order; under our own name that is so without -W"`
	InOrder       bool     `long:"in-order" exact:"true" help:"write in the order of the source"`
	Rate          *string  `short:"r" arg:"RATE" help:"bytes per second at most"`
	Throttle      *string  `long:"throttle" arg:"LIMITS" exact:"true" help:"limit the reading of each source: bps-total=100M,iops-total=1000,… as the throttle filter spells them"`
	Salvage       bool     `long:"salvage" help:"what cannot be read becomes zeroes"`
	Bitmaps       bool     `long:"bitmaps" help:"copy persistent bitmaps"`
	SkipBroken    bool     `long:"skip-broken-bitmaps" help:"leave inconsistent bitmaps out"`
	TargetIsZero  bool     `long:"target-is-zero" help:"the existing target reads as zeroes"`
	TargetOpts    bool     `long:"target-image-opts" help:"the target is named by driver=…,file.filename=…"`
	progressOption
	quietOption
	objectOption
	imageOption
	shareOption
}

func convertVerb() command {
	return define("convert", "FILENAME [FILENAME2 ...] OUTPUT_FILENAME", "copies an image into another format",
		"Holes and unallocated ranges never travel; reading, compressing and writing go on at once on all cores. Under our own name the "+
			"target appears under its name only when it is complete. Several sources are put one behind the other.", convertImage)
}

// conversion is a run of the verb.
type conversion struct {
	*call
	o       *convertOptions
	sparse  int64
	depth   int
	rate    int64
	names   []string
	out     string
	format  string
	list    settings
	backing string // of the new target; empty: none
	sources []*engine.Ref
	first   *engine.Ref // the first source, without a throttle over it
	target  *engine.Ref
	made    *newTarget
}

func convertImage(ctx context.Context, c *call, o *convertOptions) int {
	x := &conversion{call: c, o: o, format: "raw", sparse: 4096, depth: 8}
	if o.OutFormat != nil {
		x.format = *o.OutFormat
	}
	if code, done := x.parse(); done {
		return code
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	m, ok := c.meter(&o.progressOption, 1)
	if !ok {
		return exitFailed
	}
	defer m.end()
	defer x.closeAll()
	if err := x.run(ctx, m); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		c.errorf("%v", err)
		if hint, ok := errors.AsType[hintError](err); ok {
			fmt.Fprint(c.env.Stderr, hint.hint)
		}
		return exitFailed
	}
	if c.env.Link {
		m.of(1, 1)
	}
	return exitOK
}

func (x *conversion) closeAll() {
	for _, r := range append(x.sources, x.target) {
		if r != nil {
			_ = r.Close()
		}
	}
	if x.made != nil {
		x.made.abandon()
	}
}

// maxSparse is the largest -S, in bytes.
const maxSparse = 16 << 20

// parse reads the options, in the order in which qemu-img finds fault with them.
func (x *conversion) parse() (code int, done bool) {
	o := x.o
	failed := func(format string, args ...any) (int, bool) { return x.fail(format, args...), true }
	if o.Sparse != nil {
		n, ok := x.number("buffer size for sparse output", *o.Sparse)
		if !ok {
			return exitFailed, true
		}
		if n%512 != 0 || n > maxSparse {
			return failed("Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to %d. "+
				"Select 0 to disable sparse detection (fully allocates output).", maxSparse)
		}
		x.sparse = n
	}
	if o.Options != nil {
		var err error
		if !hasHelp(o.Options) {
			if x.list, err = parseSettings(o.Options); err != nil {
				return failed("%v", err)
			}
		}
	}
	if o.InFlight != nil {
		n, err := strconv.ParseInt(*o.InFlight, 0, 64)
		if err != nil || n < 1 || n > 16 {
			return failed("Invalid number of coroutines. Allowed number of coroutines is between 1 and 16")
		}
		x.depth = int(n)
	}
	if o.Rate != nil {
		var ok bool
		if x.rate, ok = x.number("rate limit", *o.Rate); !ok {
			return exitFailed, true
		}
	}
	switch {
	case o.SkipBroken && !o.Bitmaps:
		return failed("Use of --skip-broken-bitmaps requires --bitmaps")
	case o.TargetOpts && !o.NoCreate:
		return failed("--target-image-opts requires use of -n flag")
	case o.NoCreate && o.Options != nil:
		return failed("-o has no effect when skipping image creation")
	case o.TargetIsZero && !o.NoCreate:
		return failed("--target-is-zero requires use of -n flag")
	case o.CopyRange && o.Compressed:
		return failed("Cannot enable copy offloading when -c is used")
	case o.CopyRange && o.Sparse != nil:
		return failed("Cannot enable copy offloading when -S is used")
	}
	if hasHelp(o.Options) {
		var out []string
		if len(x.args) > 1 {
			out = x.args[len(x.args)-1:]
		}
		return x.optionHelp(x.format, out), true
	}
	if len(x.args) < 2 {
		return failed("Must specify image file name")
	}
	x.names, x.out = x.args[:len(x.args)-1], x.args[len(x.args)-1]
	return 0, false
}

func (x *conversion) run(ctx context.Context, m meter) error {
	if err := x.openSources(ctx); err != nil {
		return err
	}
	var total int64
	for _, s := range x.sources {
		total += (s.Size() + 511) &^ 511
	}
	img := &NewImage{Name: x.out, Format: x.format, Size: total}
	known, err := x.settle(img)
	if err != nil {
		return err
	}
	cache, err := x.targetCache()
	if err != nil {
		return err
	}
	if !x.o.NoCreate {
		if err := x.create(ctx, img, known); err != nil {
			return err
		}
	}
	if x.backing != "" && x.o.TargetIsZero {
		return errors.New("Cannot use --target-is-zero when the destination image has a backing file") //nolint:staticcheck // qemu-img's words
	}
	if len(x.sources) > 1 && x.backing != "" {
		return errors.New("Having a backing file for the target makes no sense when concatenating multiple input images") //nolint:staticcheck // qemu-img's words
	}
	if err := x.openTarget(ctx, cache); err != nil {
		return err
	}
	if err := x.suits(total); err != nil {
		return err
	}
	if err := x.copy(ctx, m); err != nil {
		return err
	}
	if x.o.Bitmaps {
		if err := x.copyBitmaps(ctx); err != nil {
			return err
		}
	}
	return x.finish(ctx)
}

func (x *conversion) copy(ctx context.Context, m meter) error {
	o := convert.Options{
		Target: x.target, Sparse: x.sparse, Compressed: x.o.Compressed, CopyRange: x.o.CopyRange,
		InOrder: x.o.InOrder || (x.env.Link && !x.o.OutOfOrder),
		Tuning:  convert.Tuning{Depth: x.depth, Rate: x.rate, Progress: m.of},
	}
	for _, s := range x.sources {
		o.Sources = append(o.Sources, convert.Source{Ref: s, Len: -1})
	}
	blockDevice := x.target.Info().Caps.Has(engine.CapBlockDevice) && x.target.Info().Limits.ClusterSize == 0
	switch {
	case x.sparse == 0:
		o.Zeroes, o.CopyRange = convert.ZeroData, true
	case x.backing != "" || (x.made == nil && !x.o.TargetIsZero) || blockDevice:
		o.Zeroes = convert.ZeroWrite
	}
	if x.backing != "" {
		o.Layered, o.BackingSize = true, -1
		if b, ok := x.target.Node().(engine.Backed); ok && b.Backing() != nil {
			o.BackingSize = b.Backing().Size()
		}
	}
	if x.o.Salvage {
		o.Salvage = func(off int64, err error) {
			if !x.quiet {
				x.warnf("error while reading offset %d: %s", off, Reason(err))
			}
		}
	}
	_, err := convert.Copy(ctx, o)
	return copyError(err)
}

// copyError gives an error of a copy qemu-img's words.
func copyError(err error) error {
	e, ok := errors.AsType[*convert.Error](err)
	if !ok {
		return err
	}
	switch e.Phase {
	case convert.Reading:
		return fmt.Errorf("error while reading at byte %d: %s", e.Off, Reason(e.Err))
	case convert.Writing:
		return fmt.Errorf("error while writing at byte %d: %s", e.Off, Reason(e.Err))
	case convert.Mapping:
	}
	return fmt.Errorf("error while reading block status at offset %d: %s", e.Off, Reason(e.Err))
}

// finish closes the target and gives it its name.
func (x *conversion) finish(ctx context.Context) error {
	if !x.target.Flags().Cache.NoFlush {
		if err := x.target.Flush(ctx); err != nil {
			return errors.New(Reason(err))
		}
	}
	err := x.target.Close()
	if err == nil && x.made != nil {
		err = x.made.finish()
	}
	if err != nil {
		return fmt.Errorf("%s: %s", x.out, Reason(err))
	}
	return nil
}
