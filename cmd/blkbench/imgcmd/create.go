package imgcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

type createFlags struct {
	helpOption
	Format        *string  `short:"f" arg:"FORMAT" help:"format of the new image; raw where absent"`
	Backing       *string  `short:"b" arg:"FILENAME" help:"backing file: what the image does not hold is read from there"`
	BackingFormat *string  `short:"F" arg:"FORMAT" help:"format of the backing file"`
	Unsafe        bool     `short:"u" help:"do not open the backing file; the size must be given"`
	Options       []string `short:"o" arg:"OPTIONS" help:"options of the format: key=value,…; -o help lists them"`
	quietOption
	objectOption
}

func createVerb() command {
	return define("create", "FILENAME [SIZE]", "makes a new, empty image",
		"SIZE is in bytes or has a suffix (10G); with a backing file it may be left out and is that file's. Options of a format are listed by "+
			"create -f FORMAT -o help; with a file name behind it, those of the protocol too.", create)
}

func create(ctx context.Context, c *call, o *createFlags) int {
	format := "raw"
	if o.Format != nil {
		format = *o.Format
	}
	if hasHelp(o.Options) {
		return c.optionHelp(format, c.args)
	}
	list, err := parseSettings(o.Options)
	if err != nil {
		return c.fail("%v", err)
	}
	if len(c.args) == 0 {
		return c.tryHelp("Expecting image file name")
	}
	n := NewImage{
		Name: c.args[0], Format: format, Size: -1, Backing: o.Backing, BackingFormat: o.BackingFormat, Unsafe: o.Unsafe, list: list,
	}
	if len(c.args) > 1 {
		size, ok := c.number("image size", c.args[1])
		if !ok {
			return exitFailed
		}
		n.Size = size
	}
	if len(c.args) > 2 {
		return c.tryHelp("Unexpected argument: %s", c.args[2])
	}
	if err := c.create(ctx, &n); err != nil {
		hint, _ := errors.AsType[hintError](err)
		c.errorf("%s: %v", n.Name, err)
		fmt.Fprint(c.env.Stderr, hint.hint)
		return exitFailed
	}
	return exitOK
}

// NewImage is an image to be made.
type NewImage struct {
	Name, Format           string
	Size                   int64 // bytes; -1 when not given
	Backing, BackingFormat *string
	Unsafe                 bool // do not open the backing file

	list settings
}

// create makes an image and prints the line that says so. Errors are texts that follow the name.
func (c *call) create(ctx context.Context, n *NewImage) error {
	d, err := c.eng.Registry.Lookup(n.Format)
	if err != nil {
		return fmt.Errorf("Unknown file format '%s'", n.Format) //nolint:staticcheck // QEMU's words
	}
	target, protocol, err := c.target(n.Name)
	if err != nil {
		return err
	}
	if !d.CanCreate() {
		return fmt.Errorf("Format driver '%s' does not support image creation", n.Format) //nolint:staticcheck // QEMU's words
	}
	known := createOptions(d, protocol)
	if n.list, err = n.list.check(known, c.warnf); err != nil {
		return err
	}
	if err := n.common(known); err != nil {
		return err
	}
	if err := c.backingSize(ctx, n); err != nil {
		return err
	}
	size, given := n.list.get("size")
	if !given {
		return errors.New("Image creation needs a size parameter") //nolint:staticcheck // QEMU's words
	}
	c.printf("Formatting '%s', fmt=%s%s\n", n.Name, n.Format, n.list.format(known))
	if n.Size, err = opts.ParseSize(size); err != nil {
		return n.tooLarge(known)
	}
	n.list.remove("size")
	if c.env.Link {
		c.eng.AllowDestroy = append(c.eng.AllowDestroy, baseName(n.Name, target)) // who names a device to qemu-img has consented
	}
	tree, err := n.list.tree()
	if err != nil {
		return err
	}
	err = c.eng.Create(ctx, n.Format, target, n.Name, n.Size, tree, engine.OpenFlags{Write: true, NoBacking: true})
	if e, ok := errors.AsType[*engine.Error](err); ok && e.Op == "open" && !protocol.CanCreate() {
		//nolint:staticcheck // QEMU's words
		return fmt.Errorf("Protocol driver '%s' does not support image creation, and opening the image failed: %s", protocol.Name, openReason(err))
	}
	return n.explain(err, known)
}

// target finds the protocol that a new image is made by.
func (c *call) target(name string) (*opts.Tree, *engine.Driver, error) {
	if name == "" {
		return nil, nil, errors.New("Could not create '': No such file or directory") //nolint:staticcheck // QEMU's words
	}
	t, err := opts.ParseName(name)
	if err != nil {
		return nil, nil, errors.New(Reason(err))
	}
	driver := t.Driver()
	if driver == "" {
		driver = "file"
	}
	protocol, err := c.eng.Registry.Lookup(driver)
	if err != nil {
		return nil, nil, fmt.Errorf("Unknown protocol '%s'", driver) //nolint:staticcheck // QEMU's words
	}
	return t, protocol, nil
}

// common brings the options of the verb and those of -o together.
func (n *NewImage) common(known []formatOption) error {
	if _, twice := n.list.get("size"); twice && n.Size >= 0 {
		return errors.New("The image size must be specified only once") //nolint:staticcheck // QEMU's words
	}
	if n.Size >= 0 {
		n.list.set("size", itoa(n.Size))
	}
	if n.Backing != nil {
		if find(known, "backing_file") == nil {
			return fmt.Errorf("Backing file not supported for file format '%s'", n.Format) //nolint:staticcheck // QEMU's words
		}
		n.list.set("backing_file", *n.Backing)
	}
	if n.BackingFormat != nil {
		if find(known, "backing_fmt") == nil {
			return fmt.Errorf("Backing file format not supported for file format '%s'", n.Format) //nolint:staticcheck // QEMU's words
		}
		n.list.set("backing_fmt", *n.BackingFormat)
	}
	switch backing, given := n.list.get("backing_file"); {
	case !given:
	case backing == n.Name:
		return errors.New("Error: Trying to create an image with the same filename as the backing file") //nolint:staticcheck // QEMU's words
	case backing == "":
		return errors.New("Expected backing file name, got empty string") //nolint:staticcheck // QEMU's words
	}
	return nil
}

// backingSize opens the backing file, which the user has named, and takes its size where none is given.
func (c *call) backingSize(ctx context.Context, n *NewImage) error {
	backing, given := n.list.get("backing_file")
	format, formatGiven := n.list.get("backing_fmt")
	noFormat := func(hint string) error {
		return hintError{errors.New("Backing file specified without backing format"), hint} //nolint:staticcheck // QEMU's words
	}
	if !given {
		return nil
	}
	if n.Unsafe {
		if !formatGiven {
			return noFormat("")
		}
		return nil
	}
	ref, err := open(ctx, c.eng, &Image{
		Name: engine.ResolveName(n.Name, backing), Format: format,
		Flags: engine.OpenFlags{NoBacking: c.eng.References == engine.ReferencesNone, ForceShare: true},
	})
	if err != nil {
		return hintError{errors.New(openReason(err)), "Could not open backing image.\n"}
	}
	defer ref.Close()
	if !formatGiven {
		return noFormat("Detected format of " + ref.Info().Driver + ".")
	}
	if _, given := n.list.get("size"); !given {
		n.list.set("size", itoa(ref.Size()))
	}
	return nil
}

func (n *NewImage) tooLarge(known []formatOption) error {
	hint := ""
	if o := find(known, "cluster_size"); o != nil {
		hint = " (try using a larger cluster size)"
	}
	return fmt.Errorf("The image size is too large for file format '%s'%s", n.Format, hint) //nolint:staticcheck // QEMU's words
}

// explain turns an error of creation into the text that qemu-img prints.
func (n *NewImage) explain(err error, known []formatOption) error {
	if err == nil {
		return nil
	}
	if text := badValue(n.Format, err); text != "" {
		return errors.New(text)
	}
	if strings.Contains(err.Error(), "too large for file format") || errors.Is(err, unix.EFBIG) {
		return n.tooLarge(known)
	}
	errno, ok := errors.AsType[unix.Errno](err)
	e, isEngine := errors.AsType[*engine.Error](err)
	if ok && isEngine && (e.Op == "open" || e.Op == "") && (errno == unix.EISDIR || errno == unix.ENOENT || errno == unix.EACCES || errno == unix.EROFS) {
		return fmt.Errorf("Could not create '%s': %s", n.Name, strerror(errno)) //nolint:staticcheck // QEMU's words
	}
	return &reasonError{openReason(err), err}
}

// reasonError is an engine's error in the words of qemu-img.
type reasonError struct {
	text string
	err  error
}

func (e *reasonError) Error() string { return e.text }
func (e *reasonError) Unwrap() error { return e.err }

// optionHelp answers -o help; a file name adds the options of its protocol.
func (c *call) optionHelp(format string, args []string) int {
	d, err := c.eng.Registry.Lookup(format)
	if err != nil {
		return c.fail("Unknown file format '%s'", format)
	}
	if !d.CanCreate() {
		return c.fail("Format driver '%s' does not support image creation", format)
	}
	if len(args) == 0 {
		fmt.Fprintf(c.env.Stdout, "Supported %s options:\n%s\nThe protocol level may support further options.\n"+
			"Specify the target filename to include those options.\n", format, helpLines(createOptions(d, nil)))
		return exitOK
	}
	_, protocol, err := c.target(args[0])
	if err != nil {
		return c.fail("%v", err)
	}
	if !protocol.CanCreate() {
		return c.fail("Protocol driver '%s' does not support image creation", protocol.Name)
	}
	fmt.Fprintf(c.env.Stdout, "Supported options:\n%s", helpLines(createOptions(d, protocol)))
	return exitOK
}
