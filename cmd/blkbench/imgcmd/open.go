package imgcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// Image names an image as a command line does, and says how it is opened.
type Image struct {
	Name      string
	Format    string // -f; empty: probed
	ImageOpts bool   // Name is driver=…,file.filename=…
	Flags     engine.OpenFlags
	// Probe is how it is through a link: a format is probed for writing too, others may write to a raw image meanwhile, and naming a block
	// device is consent to writing to it.
	Probe bool
}

// Open opens an image. Its errors are those that qemu-img prints: Could not open 'X': ….
func Open(ctx context.Context, e *engine.Env, img *Image) (*engine.Ref, error) {
	ref, err := open(ctx, e, img)
	if err != nil {
		return nil, &OpenError{Name: img.Name, Err: err}
	}
	return ref, nil
}

func open(ctx context.Context, e *engine.Env, img *Image) (*engine.Ref, error) {
	t, err := parseTarget(img.Name, img.ImageOpts)
	if err != nil {
		return nil, err
	}
	if img.Flags.Write && !img.Probe && img.Format == "" && !namesFormat(e, t) {
		return nil, errProbedWrite
	}
	name := baseName(img.Name, t)
	if img.Flags.Write && img.Probe {
		e.AllowDestroy = append(e.AllowDestroy, name) // who names a device to qemu-img has consented
	}
	format := img.Format
	if d := t.Driver(); format == "" && !t.SchemeDriver() && namesProtocol(e, d) {
		format = d // driver=nbd means the export, not the image in it
	}
	owners := t.Clone() // opening consumes t
	flags := img.Flags
	flags.ShareWrites = img.Probe
	ref, err := e.OpenTree(ctx, t, name, format, flags)
	if err != nil {
		return nil, unknownOption(e, owners, img.Format, err)
	}
	if img.Flags.Write && !img.Flags.AutoReadOnly && !ref.Writable() {
		return nil, errors.Join(errReadOnlyNode, ref.Close())
	}
	return ref, nil
}

var errProbedWrite = errors.New("the format is probed only for reading: to write, name it by -f (raw, qcow2, …)")

var errReadOnlyNode = errors.New("Block node is read-only") //nolint:revive,staticcheck // QEMU's words

// unknownOption says of which driver an option is not, where that was the trouble.
func unknownOption(e *engine.Env, t *opts.Tree, format string, err error) error {
	o, ok := errors.AsType[*opts.Error](err)
	if !ok || !errors.Is(o.Kind, opts.ErrUnknown) || o.Key == "" {
		return err
	}
	node, key, driver := t, o.Key, ""
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		if sub, ok := t.Sub(key[:i]); ok {
			node, key = sub, key[i+1:]
		}
	}
	if driver = node.Driver(); driver == "" && node == t {
		driver = format
	}
	driver = cmp.Or(driver, "file")
	if namesProtocol(e, driver) {
		return fmt.Errorf("Block protocol '%s' doesn't support the option '%s'", driver, key) //nolint:staticcheck // QEMU's words
	}
	return fmt.Errorf("Block format '%s' does not support the option '%s'", driver, key) //nolint:staticcheck // QEMU's words
}

// parseTarget makes a tree of a name.
func parseTarget(name string, imageOpts bool) (*opts.Tree, error) {
	if imageOpts {
		if !strings.Contains(name, "=") {
			return nil, fmt.Errorf("Cannot find device='%s' nor node-name='%s'", name, name) //nolint:staticcheck // QEMU's words
		}
		return opts.ParseImageOpts(name)
	}
	t, err := opts.ParseName(name)
	if err != nil && strings.HasPrefix(name, "json:") {
		return nil, fmt.Errorf("Could not parse the JSON options: %w", err) //nolint:staticcheck // QEMU's words
	}
	return t, err
}

// namesFormat reports whether a tree says what the format is, which a file name does not.
func namesFormat(_ *engine.Env, t *opts.Tree) bool { return t.Driver() != "" && !t.SchemeDriver() }

func namesProtocol(e *engine.Env, name string) bool {
	d, err := e.Registry.Lookup(name)
	return err == nil && d.Kind == engine.KindProtocol
}

// baseName is the file name that references inside the image are relative to: where the name is none itself, that of the file below.
func baseName(name string, t *opts.Tree) string {
	for _, key := range []string{"filename", "file.filename", "file.file.filename", "file"} {
		if s, ok := t.String(key); ok && s != "" {
			return s
		}
	}
	return name
}

// openImage opens the image of a verb, and says why it cannot.
func (c *call) openImage(ctx context.Context, img *Image) (*engine.Ref, bool) {
	if img.ImageOpts && img.Format != "" {
		c.errorf("--image-opts and --format are mutually exclusive")
		return nil, false
	}
	img.Probe = c.env.Link
	ref, err := Open(ctx, c.eng, img)
	if err != nil {
		c.errorf("%v", err)
		return nil, false
	}
	return ref, true
}

// ParseCache finds a cache mode by its name; what is "source cache" or "cache" in the message.
func ParseCache(what, mode string) (engine.Cache, error) {
	if m, ok := engine.CacheModes[mode]; ok {
		return m, nil
	}
	return engine.Cache{}, fmt.Errorf("Invalid %s option: %s", what, mode) //nolint:staticcheck // qemu-img's words
}
