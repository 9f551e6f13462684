package imgcmd

import (
	"bufio"
	"context"
	"fmt"

	"github.com/blkbench/blkbench/engine"
)

type mapFlags struct {
	helpOption
	Format *string `long:"format" short:"f" arg:"FORMAT" help:"format of the image; probed where absent"`
	Output *string `long:"output" arg:"human|json" help:"what to print"`
	Start  *string `long:"start-offset" short:"s" arg:"OFFSET" help:"where to begin"`
	Length *string `long:"max-length" short:"l" arg:"LENGTH" help:"how much to look at"`
	objectOption
	imageOption
	shareOption
}

func mapVerb() command {
	return define("map", "FILENAME", "prints which parts of an image are data, zeroes or holes, and where they are stored",
		"The chain of backing files is walked. The human form prints only data, and ends at an image with compressed or encrypted clusters; "+
			"JSON has everything.", mapImage)
}

func mapImage(ctx context.Context, c *call, o *mapFlags) int {
	start, length := int64(0), int64(-1)
	for _, x := range []struct {
		what string
		text *string
		into *int64
	}{{"start offset", o.Start, &start}, {"max length", o.Length, &length}} {
		if x.text == nil {
			continue
		}
		n, ok := c.number(x.what, *x.text)
		if !ok {
			return exitFailed
		}
		*x.into = n
	}
	if len(c.args) != 1 {
		return c.tryHelp("Expecting one image file name")
	}
	asJSON, ok := c.outputJSON(o.Output)
	if !ok {
		return exitFailed
	}
	ref, ok := c.openImage(ctx, &Image{
		Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts, Flags: engine.OpenFlags{ForceShare: o.ForceShare},
	})
	if !ok {
		return exitFailed
	}
	defer ref.Close()
	end := virtualSize(ref)
	if length >= 0 && length < end-start {
		end = start + length
	}
	m := mapPrinter{c: c, w: bufio.NewWriter(c.env.Stdout), json: asJSON}
	err := m.run(ctx, ref, start, end)
	if ferr := m.w.Flush(); err == nil {
		err = ferr
	}
	if err != nil {
		return c.fail("%v", err)
	}
	return exitOK
}

// mapEntry is one line of a map.
type mapEntry struct {
	start, length       int64
	data, zero, present bool
	hasOffset           bool
	offset              int64
	depth               int
	file                string
}

// follows reports whether f continues e in every respect.
func (e *mapEntry) follows(f *mapEntry) bool {
	return e.length > 0 && e.data == f.data && e.zero == f.zero && e.present == f.present && e.depth == f.depth &&
		e.hasOffset == f.hasOffset && e.file == f.file && (!e.hasOffset || e.offset+e.length == f.offset)
}

type mapPrinter struct {
	c    *call
	w    *bufio.Writer
	json bool
}

func (m *mapPrinter) run(ctx context.Context, ref *engine.Ref, off, end int64) error {
	if m.json {
		fmt.Fprint(m.w, "[")
	} else {
		fmt.Fprintf(m.w, "%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File")
	}
	current := mapEntry{start: off}
	var buf []engine.Extent
	for off < end {
		var err error
		if buf, err = ref.Extents(ctx, off, end-off, buf[:0]); err != nil {
			return err
		}
		for i := range buf {
			next := m.entry(&buf[i])
			off = next.start + next.length
			if current.follows(&next) {
				current.length += next.length
				continue
			}
			if current.length > 0 {
				if err := m.print(&current, &next); err != nil {
					return err
				}
			}
			current = next
		}
	}
	if err := m.print(&current, nil); err != nil {
		return err
	}
	if m.json {
		fmt.Fprintln(m.w, "]")
	}
	return nil
}

// entry is what an extent is to a map.
func (m *mapPrinter) entry(x *engine.Extent) mapEntry {
	e := mapEntry{
		start: x.Off, length: x.Len, data: x.Flags&engine.ExtentData != 0, zero: x.Flags&engine.ExtentZero != 0,
		present: x.Flags&engine.ExtentAllocated != 0, depth: x.Depth,
	}
	if x.Flags&engine.ExtentOffset != 0 {
		e.hasOffset, e.offset = true, x.HostOff
		if x.File != nil {
			e.file = x.File.Info().Filename
		}
	}
	return e
}

// print prints an entry; next is the one that follows, nil at the end.
func (m *mapPrinter) print(e, next *mapEntry) error {
	if m.json {
		fmt.Fprintf(m.w, `{ "start": %d, "length": %d, "depth": %d, "present": %t, "zero": %t, "data": %t`, e.start, e.length, e.depth, e.present, e.zero, e.data)
		if e.hasOffset {
			fmt.Fprintf(m.w, `, "offset": %d`, e.offset)
		}
		fmt.Fprint(m.w, "}")
		if next != nil {
			fmt.Fprintln(m.w, ",")
		}
		return nil
	}
	if e.data && !e.hasOffset {
		return errNoOffset
	}
	if e.data && !e.zero {
		fmt.Fprintf(m.w, "%-16s%-16s%-16s%s\n", hex(e.start), hex(e.length), hex(e.offset), e.file)
	}
	// What is not printed is all the same here.
	if next != nil && (!next.data || next.zero) {
		next.data, next.zero = false, true
	}
	return nil
}

// hex prints a number as C's %#x does: zero has no prefix.
func hex(n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", n)
}
