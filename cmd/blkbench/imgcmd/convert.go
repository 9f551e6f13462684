package imgcmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/convert"
	"github.com/blkbench/blkbench/engine/filter/throttle"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/formats/qcow2"
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

// openSources opens the sources, and the snapshot that was asked for.
func (x *conversion) openSources(ctx context.Context) error {
	flags := engine.OpenFlags{ForceShare: x.o.ForceShare}
	if x.o.SourceCache != nil {
		var err error
		if flags.Cache, err = ParseCache("source cache", *x.o.SourceCache); err != nil {
			return err
		}
	}
	for _, name := range x.names {
		ref, err := Open(ctx, x.eng, &Image{Name: name, Format: deref(x.o.Format), ImageOpts: x.o.ImageOpts, Flags: flags, Probe: x.env.Link})
		if err != nil {
			return err
		}
		x.sources = append(x.sources, ref)
	}
	if x.o.Snapshot != nil {
		if err := x.openSnapshot(ctx, *x.o.Snapshot); err != nil {
			return err
		}
	}
	x.first = x.sources[0]
	return x.throttle(ctx)
}

// throttle puts --throttle's filter over the sources.
func (x *conversion) throttle(ctx context.Context) error {
	if x.o.Throttle == nil {
		return nil
	}
	for i, ref := range x.sources {
		w, err := throttle.Wrap(ctx, x.eng, ref, *x.o.Throttle)
		if err != nil {
			return fmt.Errorf("--throttle=%s: %w", *x.o.Throttle, err)
		}
		x.sources[i] = w
	}
	return nil
}

func (x *conversion) openSnapshot(ctx context.Context, text string) error {
	id, byID, err := snapshotParam(text)
	if err != nil {
		x.errorf("%v", err)
		return fmt.Errorf("Failed in parsing snapshot param '%s'", text) //nolint:staticcheck // qemu-img's words
	}
	if len(x.sources) > 1 {
		return errors.New("No support for concatenating multiple snapshot") //nolint:staticcheck // qemu-img's words
	}
	s, ok := x.sources[0].Node().(engine.Snapshotter)
	if !ok {
		return fmt.Errorf("Failed to load snapshot: Block format '%s' used by device '' does not support temporarily loading internal snapshots", //nolint:staticcheck // qemu-img's words
			x.sources[0].Info().Driver)
	}
	list, err := s.Snapshots(ctx)
	if err != nil {
		return err
	}
	known := slices.ContainsFunc(list, func(n engine.Snapshot) bool { return n.ID == id || (!byID && n.Name == id) })
	if !known {
		return errors.New("Failed to load snapshot: Can't find snapshot") //nolint:staticcheck // qemu-img's words
	}
	if err := s.OpenSnapshot(ctx, id); err != nil {
		return fmt.Errorf("Failed to load snapshot: %s", Reason(err)) //nolint:staticcheck // qemu-img's words
	}
	return nil
}

// snapshotParam reads -l: an ID or a name, or snapshot.id=…,snapshot.name=….
func snapshotParam(text string) (id string, byID bool, err error) {
	if !strings.HasPrefix(text, "snapshot.") {
		return text, false, nil
	}
	list, err := parseSettings([]string{text})
	if err != nil {
		return "", false, err
	}
	for _, s := range list {
		switch s.key {
		case "snapshot.id":
			id, byID = s.value, true
		case "snapshot.name":
			if !byID {
				id = s.value
			}
		default:
			return "", false, fmt.Errorf("Invalid parameter '%s'", s.key) //nolint:staticcheck // qemu-img's words
		}
	}
	return id, byID, nil
}

// compressing are the formats that store compressed clusters: asked before a target is made that could not hold them.
var compressing = []string{"qcow2", "qcow", "vmdk"}

// settle brings the options of the new image together and checks what can be checked before it is made.
func (x *conversion) settle(img *NewImage) ([]formatOption, error) {
	o := x.o
	if o.Backing != nil {
		x.backing = *o.Backing
	}
	var known []formatOption
	if !o.NoCreate {
		d, err := x.eng.Registry.Lookup(x.format)
		if err != nil {
			return nil, fmt.Errorf("Unknown file format '%s'", x.format) //nolint:staticcheck // qemu-img's words
		}
		_, protocol, err := x.call.target(x.out)
		if err != nil {
			return nil, err
		}
		if !d.CanCreate() {
			return nil, fmt.Errorf("Format driver '%s' does not support image creation", x.format) //nolint:staticcheck // qemu-img's words
		}
		known = createOptions(d, protocol)
		if img.list, err = x.list.check(known, x.warnf); err != nil {
			return nil, err
		}
		if o.Backing != nil {
			if find(known, "backing_file") == nil {
				return nil, fmt.Errorf("Backing file not supported for file format '%s'", x.format) //nolint:staticcheck // qemu-img's words
			}
			img.list.set("backing_file", *o.Backing)
		}
		if o.BackingFormat != nil {
			if find(known, "backing_fmt") == nil {
				return nil, fmt.Errorf("Backing file format not supported for file format '%s'", x.format) //nolint:staticcheck // qemu-img's words
			}
			img.list.set("backing_fmt", *o.BackingFormat)
		}
		if b, given := img.list.get("backing_file"); given {
			x.backing = b
			if _, given := img.list.get("backing_fmt"); !given {
				return nil, errors.New("Use of backing file requires explicit backing format") //nolint:staticcheck // qemu-img's words
			}
		}
		if text, given := img.list.get("size"); given {
			if img.Size, err = opts.ParseSize(text); err != nil {
				return nil, err
			}
			img.list.remove("size")
		}
	}
	if o.Compressed {
		if !o.NoCreate && !slices.Contains(compressing, x.format) {
			return nil, errors.New("Compression not supported for this file format") //nolint:staticcheck // qemu-img's words
		}
		if p, given := img.list.get("preallocation"); given && p != "off" {
			return nil, errors.New("Compression and preallocation not supported at the same time") //nolint:staticcheck // qemu-img's words
		}
	}
	if o.Bitmaps {
		return known, x.checkBitmaps()
	}
	return known, nil
}

// targetCache is -t.
func (x *conversion) targetCache() (engine.Cache, error) {
	mode := "unsafe"
	if !x.env.Link {
		mode = "writeback"
	}
	if x.o.Cache != nil {
		mode = *x.o.Cache
	}
	return ParseCache("cache", mode)
}

func (x *conversion) create(ctx context.Context, img *NewImage, known []formatOption) error {
	wrap := func(err error) error { return fmt.Errorf("%s: error while converting %s: %w", x.out, x.format, err) }
	tree, err := img.list.tree()
	if err != nil {
		return wrap(err)
	}
	if x.made, err = x.newTarget(ctx, x.out); err != nil {
		return wrap(errors.New(openReason(err)))
	}
	if err := x.made.create(ctx, img, known, tree); err != nil {
		return wrap(err)
	}
	return nil
}

// openTarget opens the target. The backing file that the user has named for it is opened as such, whatever the policy for names inside
// images.
func (x *conversion) openTarget(ctx context.Context, cache engine.Cache) error {
	flags := targetFlags(cache)
	flags.Discard = x.sparse > 0
	name := x.out
	if x.made != nil {
		name = x.made.at
	}
	own := x.backing != "" && x.made != nil && x.eng.References != engine.ReferencesAllow
	flags.NoBacking = own
	var ref *engine.Ref
	var err error
	if x.o.Level != nil {
		ref, err = x.openAtLevel(ctx, name, flags)
	} else {
		ref, err = Open(ctx, x.eng, &Image{Name: name, Format: x.format, ImageOpts: x.o.TargetOpts, Flags: flags, Probe: x.env.Link})
	}
	if err != nil {
		return err
	}
	x.target = ref
	if !own {
		return nil
	}
	b, ok := ref.Node().(engine.Backed)
	if !ok {
		return nil
	}
	backing, format := b.BackingName()
	below, err := Open(ctx, x.eng, &Image{Name: engine.ResolveName(name, backing), Format: format})
	if err != nil {
		return err
	}
	b.SetBacking(below)
	return nil
}

// targetFlags open a target. The kernel lets one request at a time write to a file of the page cache, and io_uring hands each to a worker
// of its own: the mover's thread does as well.
func targetFlags(cache engine.Cache) engine.OpenFlags {
	flags := engine.OpenFlags{Write: true, Cache: cache}
	if !cache.Direct {
		flags.Leaf.Engine = "psync"
	}
	return flags
}

// openAtLevel opens the target with a level of compression, which is an option of its format.
func (x *conversion) openAtLevel(ctx context.Context, name string, flags engine.OpenFlags) (*engine.Ref, error) {
	if _, err := strconv.Atoi(*x.o.Level); err != nil {
		return nil, fmt.Errorf("Invalid compression level: %s", *x.o.Level) //nolint:staticcheck // as qemu-img words such things
	}
	t, err := parseTarget(name, x.o.TargetOpts)
	if err != nil {
		return nil, &OpenError{Name: name, Err: err}
	}
	if !namesFormat(x.eng, t) {
		outer := opts.NewTree()
		if err := errors.Join(outer.Set("driver", x.format), outer.Set("file", t)); err != nil {
			return nil, err
		}
		t = outer
	}
	if err := t.Set("compression-level", *x.o.Level); err != nil {
		return nil, err
	}
	ref, err := x.eng.OpenTree(ctx, t, baseName(name, t), "", flags)
	if err != nil {
		return nil, &OpenError{Name: name, Err: err}
	}
	return ref, nil
}

// suits checks what only the opened target tells.
func (x *conversion) suits(total int64) error {
	_, compresses := x.target.Node().(engine.CompressedWriter)
	switch {
	case x.o.Bitmaps && asQcow2(x.target) == nil:
		return fmt.Errorf("Format driver '%s' does not support bitmaps", x.target.Info().Driver) //nolint:staticcheck // qemu-img's words
	case x.o.Compressed && !compresses:
		return errors.New("Compression not supported for this file format") //nolint:staticcheck // qemu-img's words
	case x.target.Size() < total:
		return errors.New("output file is smaller than input file")
	}
	return nil
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

func asQcow2(ref *engine.Ref) *qcow2.Image {
	m, _ := ref.Node().(*qcow2.Image)
	return m
}

// checkBitmaps looks whether the source's bitmaps can be copied.
func (x *conversion) checkBitmaps() error {
	if len(x.sources) > 1 {
		return errors.New("Copying bitmaps only possible with single source") //nolint:staticcheck // qemu-img's words
	}
	src := asQcow2(x.first)
	if src == nil {
		return errors.New("Source lacks bitmap support") //nolint:staticcheck // qemu-img's words
	}
	for _, b := range src.Bitmaps() {
		if b.Inconsistent && !x.o.SkipBroken {
			return hintError{
				fmt.Errorf("Cannot copy inconsistent bitmap '%s'", b.Name), //nolint:staticcheck // qemu-img's words
				"Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove'\n",
			}
		}
	}
	return nil
}

// copyBitmaps makes the source's bitmaps in the target and fills them.
func (x *conversion) copyBitmaps(ctx context.Context) error {
	src, dst := asQcow2(x.first), asQcow2(x.target)
	for _, b := range src.Bitmaps() {
		if b.Inconsistent {
			x.warnf("Skipping inconsistent bitmap '%s'", b.Name)
			continue
		}
		if err := dst.AddBitmap(ctx, b.Name, b.Granularity, true); err != nil {
			return fmt.Errorf("Failed to create bitmap %s: %s", b.Name, Reason(err)) //nolint:staticcheck // qemu-img's words
		}
		if err := dst.MergeBitmap(ctx, b.Name, src, b.Name); err != nil {
			return fmt.Errorf("Failed to populate bitmap %s: %s", b.Name, Reason(err)) //nolint:staticcheck // qemu-img's words
		}
		if b.Enabled {
			if err := dst.EnableBitmap(ctx, b.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
