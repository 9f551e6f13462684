package imgcmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

type amendFlags struct {
	helpOption
	Format   *string  `short:"f" arg:"FORMAT" help:"format of the image; to be given under our own name"`
	Options  []string `short:"o" arg:"OPTIONS" help:"what is to change: key=value,…; -o help lists the options"`
	Cache    *string  `short:"t" arg:"CACHE" help:"cache mode of the image: writeback, none, writethrough, directsync, unsafe"`
	Progress bool     `short:"p" help:"print how far the work is"`
	Force    bool     `long:"force" help:"allow changes of encryption keys that could lose access"`
	quietOption
	objectOption
	imageOption
}

func amendVerb() command {
	return define("amend", "FILENAME", "changes options of an existing image: compat, refcount_bits, lazy_refcounts, size, data_file",
		"The backing file is changed by rebase.", amend)
}

func amend(ctx context.Context, c *call, o *amendFlags) int {
	list, err := parseSettings(o.Options)
	if err != nil {
		return c.fail("%v", err)
	}
	if len(o.Options) == 0 {
		return c.tryHelp("Must specify options (-o)")
	}
	help := hasHelp(o.Options)
	if help && o.Format != nil {
		return c.amendHelp(*o.Format)
	}
	if len(c.args) != 1 {
		return c.fail("Expecting one image file name")
	}
	img := &Image{
		Name: c.args[0], Format: deref(o.Format), ImageOpts: o.ImageOpts,
		Flags: engine.OpenFlags{Write: !help, NoBacking: c.eng.References != engine.ReferencesAllow},
	}
	if o.Cache != nil {
		if img.Flags.Cache, err = ParseCache("cache", *o.Cache); err != nil {
			return c.fail("%v", err)
		}
	}
	p := c.startProgress(o.Progress && !c.quiet, 1)
	defer p.end()
	ref, ok := c.openImage(ctx, img)
	if !ok {
		return exitFailed
	}
	if help {
		code := c.amendHelp(ref.Info().Driver)
		if closed := c.close(ref); code == exitOK {
			code = closed
		}
		return code
	}
	err = c.amend(ctx, ref, list, o.Force, p)
	if cerr := ref.Close(); err == nil && cerr != nil {
		err = errors.New(Reason(cerr))
	}
	if err != nil {
		hint, _ := errors.AsType[hintError](err)
		c.errorf("%v", err)
		fmt.Fprint(c.env.Stderr, hint.hint)
		return exitFailed
	}
	p.set(100)
	return exitOK
}

func (c *call) amend(ctx context.Context, ref *engine.Ref, list settings, force bool, p *progress) error {
	d, err := c.eng.Registry.Lookup(ref.Info().Driver)
	if err != nil {
		return err
	}
	amender, ok := ref.Node().(engine.Amender)
	if !ok || d.AmendOpts == nil {
		return fmt.Errorf("Format driver '%s' does not support option amendment", d.Name) //nolint:staticcheck // qemu-img's words
	}
	known := amendOptions(d)
	list, err = list.check(known, c.warnf)
	if err != nil {
		if unknown, ok := errors.AsType[unknownError](err); ok && find(createOptions(d, nil), unknown.key) != nil {
			return hintError{err, "This option is only supported for image creation\n"}
		}
		return err
	}
	if compat, given := list.get("compat"); given && badCompat(compat) {
		return fmt.Errorf("Unknown compatibility level %s", compat) //nolint:staticcheck // QEMU's words
	}
	if err := sameBacking(ref, &list); err != nil {
		return err
	}
	size := int64(-1)
	if text, given := list.get("size"); given {
		if size, err = opts.ParseSize(text); err != nil {
			return errors.New("File too large") //nolint:staticcheck // the C library's words
		}
		list.remove("size")
	}
	tree, err := list.tree()
	if err != nil {
		return err
	}
	report := func(done, total int64) {
		if done < total { // the end is the verb's to say
			p.of(done, total)
		}
	}
	if err := amender.Amend(ctx, &engine.CreateRequest{Env: c.eng, Driver: d, Opts: tree, Size: size, BackingSize: -1}, force, report); err != nil {
		return errors.New(Reason(err))
	}
	return nil
}

func badCompat(s string) bool {
	switch s {
	case "0.10", "v2", "1.1", "v3":
		return false
	}
	return true
}

// sameBacking lets the backing file be named as it is, and nothing else.
func sameBacking(ref *engine.Ref, list *settings) error {
	file, fileGiven := list.get("backing_file")
	format, formatGiven := list.get("backing_fmt")
	if !fileGiven && !formatGiven {
		return nil
	}
	if b, ok := ref.Node().(engine.Backed); ok {
		if haveFile, haveFormat := b.BackingName(); file == haveFile && format == haveFormat {
			list.remove("backing_file")
			list.remove("backing_fmt")
			return nil
		}
	}
	return hintError{errors.New("Cannot amend the backing file"), "You can use 'qemu-img rebase' instead.\n"} //nolint:staticcheck // qemu-img's words
}

// amendOptions lists the options of an image that can be changed.
func amendOptions(d *engine.Driver) []formatOption {
	list := []formatOption{{Option: opts.Option{Name: "size", Type: "size", Help: "Virtual disk size"}}}
	for _, o := range expand(opts.Describe(d.AmendOpts), amendEncrypt) {
		list = append(list, formatOption{Option: o})
	}
	return list
}

func (c *call) amendHelp(format string) int {
	d, err := c.eng.Registry.Lookup(format)
	if err != nil {
		return c.fail("Unknown file format '%s'", format)
	}
	if d.AmendOpts == nil {
		return c.fail("Format driver '%s' does not support option amendment", format)
	}
	fmt.Fprintf(c.env.Stdout, "Amend options for '%s':\n%s", format, helpLines(amendOptions(d)))
	return exitOK
}
