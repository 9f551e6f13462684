package inspectcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/cmd/blkbench/internal/getopt"
	"github.com/blkbench/blkbench/engine/opts"
)

// Env is what the verb works with.
type Env struct {
	Stdout, Stderr io.Writer
	Prog           string
}

// Exit codes.
const (
	exitSafe       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitSuspicious = 3
)

// Options are the options of the verb.
type Options struct {
	Output  string `long:"output" arg:"human|json" default:"human" help:"what to print"`
	Format  string `long:"format" short:"f" arg:"FORMAT" help:"what the image is said to be; anything else is suspicious"`
	MaxSize string `long:"max-size" arg:"SIZE" help:"a larger virtual size is suspicious"`
	Quiet   bool   `long:"quiet" short:"q" help:"print nothing: the exit code is the verdict"`
}

// Run is the verb.
func Run(ctx context.Context, env *Env, args []string) int {
	var o Options
	operands, err := getopt.Bind(&o, getopt.Style{}, args)
	limit := int64(-1)
	if err == nil && o.MaxSize != "" {
		limit, err = opts.ParseSize(o.MaxSize)
	}
	switch {
	case err != nil:
	case o.Output != "human" && o.Output != "json":
		err = fmt.Errorf("--output takes human or json, not '%s'", o.Output)
	case len(operands) != 1:
		err = errors.New("inspect takes the name of one image")
	}
	if err != nil {
		fmt.Fprintf(env.Stderr, "%s: %v\n", env.Prog, err)
		return exitUsage
	}
	r, err := Inspect(ctx, operands[0], o.Format, limit)
	if err != nil {
		fmt.Fprintf(env.Stderr, "%s: %v\n", env.Prog, err)
		return exitFailed
	}
	if !o.Quiet {
		if err := r.print(env.Stdout, o.Output == "json"); err != nil {
			fmt.Fprintf(env.Stderr, "%s: %v\n", env.Prog, err)
			return exitFailed
		}
	}
	if r.Verdict != Safe {
		return exitSuspicious
	}
	return exitSafe
}

func (r *Report) print(w io.Writer, asJSON bool) error {
	if !asJSON {
		r.write(w)
		return nil
	}
	b, err := json.MarshalIndent(r, "", "    ")
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return err
}

// Inspect examines a file. claimed is the format that it is said to have, or empty; limit is the largest virtual size that is accepted,
// negative for any. The error is one of reading.
func Inspect(ctx context.Context, name, claimed string, limit int64) (*Report, error) {
	im, err := openImage(ctx, name)
	if err != nil {
		return nil, err
	}
	defer im.f.Close()
	r := &im.report
	examined, err := im.examine()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if claimed != "" && !strings.EqualFold(claimed, r.Format) {
		r.grave("format", "it is said to be %s, and is %s", strconvQuote(claimed), r.Format)
	}
	if limit >= 0 && r.VirtualSize != nil && *r.VirtualSize > limit {
		r.grave("size", "the virtual size is %d bytes, more than the %d that are accepted", *r.VirtualSize, limit)
	}
	r.conclude(examined)
	return r, nil
}

func strconvQuote(s string) string { return fmt.Sprintf("%q", s) }

// image is a file under examination.
type image struct {
	ctx    context.Context //nolint:containedctx // lives as long as the examination
	f      *os.File
	size   int64 // bytes
	head   []byte
	tail   []byte // the last sector
	report Report
	hole   [2]int64 // from where to where the file is known to have no blocks
}

// headSize holds every signature, and the largest header of any format.
const headSize = 2 << 20

func openImage(ctx context.Context, name string) (*image, error) {
	// A pipe must not block, and a device that is opened must not become anybody's terminal.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	im := &image{ctx: ctx, f: f}
	if err := im.measure(name); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return im, nil
}

func (im *image) measure(name string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(im.f.Fd()), &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK:
	default:
		return fmt.Errorf("%s is neither a regular file nor a block device", name)
	}
	var err error
	if im.size, err = im.f.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	im.report = Report{
		Filename: name, FileSize: im.size, AllocatedSize: st.Blocks * 512,
		References: []Reference{}, Snapshots: []Snapshot{}, Bitmaps: []string{}, Findings: []Finding{},
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		im.report.AllocatedSize = im.size
	}
	if im.head, err = im.read(0, min(headSize, im.size)); err != nil {
		return err
	}
	im.tail, err = im.read(max(0, im.size-512), min(512, im.size))
	return err
}

// read returns n bytes at off; what lies past the end of the file is missing.
func (im *image) read(off, n int64) ([]byte, error) {
	if err := im.ctx.Err(); err != nil {
		return nil, err
	}
	if off < 0 || off >= im.size {
		return nil, nil
	}
	b := make([]byte, min(n, im.size-off))
	k, err := im.f.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:k], nil
}

// scan calls visit with the parts of a range that are stored; off is a multiple of unit, and so is the length of every part but the last.
func (im *image) scan(off, n, unit int64, visit func(b []byte, at int64)) error {
	end := min(off+n, im.size)
	for at := off; at < end; {
		if at = im.skipHole(at, unit); at >= end {
			return nil
		}
		b, err := im.read(at, min(1<<20, end-at))
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return nil
		}
		visit(b, at)
		at += int64(len(b))
	}
	return nil
}

// skipHole returns where the next stored byte is, or at least not before: a multiple of unit from at on. What the file system says is kept,
// so that many tables in one hole cost one question.
func (im *image) skipHole(at, unit int64) int64 {
	if at < im.hole[0] || at >= im.hole[1] {
		data, err := unix.Seek(int(im.f.Fd()), at, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO):
			data = im.size
		case err != nil:
			data = at // a file system that knows no holes
		}
		im.hole = [2]int64{at, data}
	}
	return at + max(0, im.hole[1]-at)/unit*unit
}

// Flags describes the options of the verb.
func Flags() []getopt.Option { return getopt.Table(new(Options)) }
