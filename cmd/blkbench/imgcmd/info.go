package imgcmd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/blkbench/blkbench/engine"
)

type infoOptions struct {
	helpOption
	Format *string `long:"format" short:"f" arg:"FORMAT" help:"format of the image; probed where absent"`
	Output *string `long:"output" arg:"human|json" help:"what to print"`
	Chain  bool    `long:"backing-chain" help:"the backing files too"`
	objectOption
	imageOption
	shareOption
}

func infoVerb() command {
	return define("info", "FILENAME", "prints what an image is: format, sizes, backing file, snapshots, bitmaps",
		"Nothing but metadata is read. With --backing-chain every image of the chain is described.", info)
}

func info(ctx context.Context, c *call, o *infoOptions) int {
	if len(c.args) != 1 {
		return c.tryHelp("Expecting one image file name")
	}
	asJSON, ok := c.outputJSON(o.Output)
	if !ok {
		return exitFailed
	}
	chain, ok := c.infoChain(ctx, o)
	if !ok {
		return exitFailed
	}
	if asJSON {
		var list []any
		for _, i := range chain {
			list = append(list, i.json())
		}
		var v any = list
		if !o.Chain {
			v = list[0]
		}
		if err := writeJSON(c.env.Stdout, v); err != nil {
			return c.fail("%v", err)
		}
		return exitOK
	}
	for i, img := range chain {
		if i > 0 {
			fmt.Fprintln(c.env.Stdout)
		}
		img.write(c.env.Stdout)
	}
	return exitOK
}

// infoChain describes the image, and those below it where the user wants them and may have them.
func (c *call) infoChain(ctx context.Context, o *infoOptions) ([]*imageInfo, bool) {
	img := &Image{
		Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts,
		Flags: engine.OpenFlags{NoBacking: true, NoIO: true, ForceShare: o.ForceShare},
	}
	var chain []*imageInfo
	var seen []string
	for {
		if slices.Contains(seen, img.Name) {
			c.errorf("Backing file '%s' creates an infinite loop.", img.Name)
			return nil, false
		}
		seen = append(seen, img.Name)
		ref, ok := c.openImage(ctx, img)
		if !ok {
			return nil, false
		}
		i, err := describe(ctx, img, ref)
		if cerr := ref.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			c.errorf("%s: %v", img.Name, err)
			return nil, false
		}
		chain = append(chain, i)
		if !o.Chain || i.backing == "" {
			return chain, true
		}
		if c.eng.References != engine.ReferencesAllow {
			if err := c.eng.MayFollow(i.name, i.backing); err != nil {
				c.errorf("%s: %v", i.name, Reason(err))
				return nil, false
			}
		}
		img = &Image{Name: i.fullBacking, Format: i.backingFormat, Flags: img.Flags}
	}
}

// imageInfo is what info prints of one image.
type imageInfo struct {
	name, format           string
	size, allocated        int64 // bytes; allocated is -1 when unknown
	about                  engine.Description
	specific               any
	backing, backingFormat string
	fullBacking            string
	snapshots              []engine.Snapshot
	noDirty                bool // nobody below can tell whether it was closed properly
}

// leafDriver is the protocol at the bottom.
func leafDriver(ref *engine.Ref) string {
	for {
		p, ok := ref.Node().(engine.Parent)
		if !ok || len(p.Children()) == 0 || p.Children()[0].Ref == nil {
			return ref.Info().Driver
		}
		ref = p.Children()[0].Ref
	}
}

func describe(ctx context.Context, img *Image, ref *engine.Ref) (*imageInfo, error) {
	leaf := leafDriver(ref)
	i := &imageInfo{name: shownName(img, ref), format: ref.Info().Driver, size: virtualSize(ref), allocated: allocatedSize(ctx, ref)}
	_, i.noDirty = ref.Node().(engine.Describer)
	i.noDirty = !i.noDirty && leaf != "file" && leaf != "host_device"
	if d, ok := ref.Node().(engine.Describer); ok {
		i.about = d.Describe()
	}
	if i.about.Specific != nil {
		v, err := generic(i.about.Specific)
		if err != nil {
			return nil, err
		}
		i.specific = v
	}
	if b, ok := ref.Node().(engine.Backed); ok {
		if i.backing, i.backingFormat = b.BackingName(); i.backing != "" {
			i.fullBacking = engine.ResolveName(i.name, i.backing)
		}
	}
	if s, ok := ref.Node().(engine.Snapshotter); ok {
		var err error
		if i.snapshots, err = s.Snapshots(ctx); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// shownName is the file that a name means, where it means one and no more; else the name itself.
func shownName(img *Image, ref *engine.Ref) string {
	t, err := parseTarget(img.Name, img.ImageOpts)
	if err != nil {
		return img.Name
	}
	if t.Has("offset") || t.Has("size") {
		return t.Redacted()
	}
	if name := baseName("", t); name != "" && (!t.SchemeDriver() || t.Driver() == "file") {
		return name
	}
	return ref.Info().Filename
}

// virtualSize is the size that QEMU sees: whole sectors of 512 bytes.
func virtualSize(ref *engine.Ref) int64 { return (ref.Size() + 511) &^ 511 }

// allocatedSize returns the bytes of storage that an image takes, without its backing files; -1 when unknown.
func allocatedSize(ctx context.Context, ref *engine.Ref) int64 {
	n, err := ref.AllocatedSize(ctx)
	if err != nil {
		return -1
	}
	return n
}

func (i *imageInfo) json() any {
	o := object{"virtual-size": i.size, "filename": i.name, "format": i.format}
	if !i.noDirty {
		o["dirty-flag"] = i.about.Dirty
	}
	if i.allocated >= 0 {
		o["actual-size"] = i.allocated
	}
	if i.about.ClusterSize > 0 {
		o["cluster-size"] = i.about.ClusterSize
	}
	if i.about.Encrypted {
		o["encrypted"] = true
	}
	if i.backing != "" {
		o["backing-filename"], o["full-backing-filename"] = i.backing, i.fullBacking
		if i.backingFormat != "" {
			o["backing-filename-format"] = i.backingFormat
		}
	}
	if len(i.snapshots) > 0 {
		var list []any
		for _, s := range i.snapshots {
			v := object{
				"id": s.ID, "name": s.Name, "vm-state-size": s.VMStateSize, "date-sec": s.DateSec, "date-nsec": s.DateNsec,
				"vm-clock-sec": s.VMClockNsec / 1e9, "vm-clock-nsec": s.VMClockNsec % 1e9,
			}
			if s.Icount >= 0 {
				v["icount"] = s.Icount
			}
			list = append(list, v)
		}
		o["snapshots"] = list
	}
	if i.specific != nil {
		o["format-specific"] = object{"type": i.format, "data": i.specific}
	}
	return o
}

func (i *imageInfo) write(w io.Writer) {
	disk := "unavailable"
	if i.allocated >= 0 {
		disk = humanSize(i.allocated)
	}
	fmt.Fprintf(w, "image: %s\nfile format: %s\nvirtual size: %s (%d bytes)\ndisk size: %s\n", i.name, i.format, humanSize(i.size), i.size, disk)
	if i.about.Encrypted {
		fmt.Fprintln(w, "encrypted: yes")
	}
	if i.about.ClusterSize > 0 {
		fmt.Fprintf(w, "cluster_size: %d\n", i.about.ClusterSize)
	}
	if i.about.Dirty {
		fmt.Fprintln(w, "cleanly shut down: no")
	}
	if i.backing != "" {
		fmt.Fprintf(w, "backing file: %s", i.backing)
		if i.fullBacking != i.backing {
			fmt.Fprintf(w, " (actual path: %s)", i.fullBacking)
		}
		fmt.Fprintln(w)
		if i.backingFormat != "" {
			fmt.Fprintf(w, "backing file format: %s\n", i.backingFormat)
		}
	}
	if len(i.snapshots) > 0 {
		writeSnapshots(w, i.snapshots)
	}
	if i.specific != nil {
		fmt.Fprintln(w, "Format specific information:")
		writeTree(w, i.specific, 1)
	}
}

// writeSnapshots prints the table of snapshots.
func writeSnapshots(w io.Writer, list []engine.Snapshot) {
	fmt.Fprintf(w, "Snapshot list:\n%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT")
	for _, s := range list {
		sec := s.VMClockNsec / 1e9
		icount := ""
		if s.Icount >= 0 {
			icount = itoa(s.Icount)
		}
		fmt.Fprintf(w, "%-9s %-16s %8s%20s%13s%11s\n", s.ID, s.Name, humanSize(s.VMStateSize),
			time.Unix(s.DateSec, 0).Format(time.DateTime),
			fmt.Sprintf("%02d:%02d:%02d.%03d", sec/3600, sec/60%60, sec%60, s.VMClockNsec/1e6%1000), icount)
	}
}

// close closes an image and returns the exit code.
func (c *call) close(ref *engine.Ref) int {
	if err := ref.Close(); err != nil {
		return c.fail("%v", err)
	}
	return exitOK
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
