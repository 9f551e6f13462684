package iocmd

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/cmd/blkbench/imgcmd"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// opening is how an image is opened.
type opening struct {
	name      string
	named     bool // else only options say what is opened
	format    string
	imageOpts bool
	options   *opts.Tree // of the topmost node
	flags     engine.OpenFlags
	snapshot  bool
	copyRead  bool
	native    bool // aio=native, which needs cache.direct
	probed    bool // the format was not stated, so that under our own name the image is not written to
}

func newOpening() *opening {
	return &opening{flags: engine.OpenFlags{Write: true, Discard: true}, options: opts.NewTree()}
}

// option takes an option of the program or of open, by its long name.
func (o *opening) option(name, value string) error {
	switch name {
	case "read-only":
		o.flags.Write = false
	case "snapshot":
		o.snapshot = true
	case "nocache":
		o.flags.Cache = engine.Cache{Direct: true}
	case "copy-on-read":
		o.copyRead = true
	case "native-aio":
		return o.option("aio", "native")
	case "force-share":
		o.flags.ForceShare = true
	case "cache":
		var err error
		o.flags.Cache, err = imgcmd.ParseCache("cache", value)
		return err
	case "discard":
		switch value {
		case "ignore", "off", "unmap", "on":
			o.flags.Discard = value == "unmap" || value == "on"
		default:
			return fmt.Errorf("Invalid discard option: %s", value) //nolint:staticcheck // qemu-io's words
		}
	case "aio":
		switch value {
		case "threads", "native", "io_uring":
			o.flags.AIO, o.native = value, value == "native"
		default:
			return fmt.Errorf("Invalid aio option: %s", value) //nolint:staticcheck // qemu-io's words
		}
	}
	return nil
}

// open opens the image of a session. It prints why it cannot.
func (s *session) open(ctx context.Context, how *opening) bool {
	if s.ref != nil {
		s.errorf("file open already, try 'help close'")
		return false
	}
	ref, err := s.openRef(ctx, how)
	if err != nil {
		name := ""
		if how.named && !how.imageOpts {
			name = " device " + how.name
		}
		s.errorf("can't open%s: %s", name, imgcmd.OpenReason(err))
		return false
	}
	s.ref, s.how = ref, how
	return true
}

var errNative = errors.New("aio=native was specified, but it requires cache.direct=on, which was not specified.") //nolint:staticcheck,revive // qemu-io's words

func (s *session) openRef(ctx context.Context, how *opening) (*engine.Ref, error) {
	if how.native && !how.flags.Cache.Direct {
		return nil, errNative
	}
	flags := how.flags
	flags.ShareWrites = s.env.Link
	t, base, err := how.tree(s.eng)
	if err != nil {
		return nil, err
	}
	how.probed = !s.env.Link && !imgcmd.NamesFormat(s.eng, t)
	if how.probed {
		flags.Write = false
	}
	if how.snapshot {
		if t, err = overlay(ctx, s.eng, how, t, base); err != nil {
			return nil, err
		}
		flags.Write, how.probed = true, false
	}
	if how.copyRead {
		if t, err = wrap(t, "copy-on-read"); err != nil {
			return nil, err
		}
	}
	return s.eng.OpenTree(ctx, t, base, "", flags)
}

// tree makes the options of the graph; base is the name that references inside the image are relative to.
func (o *opening) tree(e *engine.Env) (t *opts.Tree, base string, err error) {
	t = opts.NewTree()
	switch {
	case !o.named:
	case o.imageOpts:
		t, err = opts.ParseImageOpts(o.name)
	default:
		t, err = opts.ParseName(o.name)
	}
	if err != nil {
		return nil, "", err
	}
	format := o.format
	if name, ok := o.options.String("driver"); ok {
		format = name
	}
	top := o.options.Clone()
	top.Delete("driver")
	if format != "" {
		d, err := e.Registry.Lookup(format)
		if err != nil {
			return nil, "", err
		}
		if d.Kind != engine.KindProtocol && o.named {
			if t, err = wrap(t, d.Name); err != nil {
				return nil, "", err
			}
		} else if err := t.Set("driver", d.Name); err != nil {
			return nil, "", err
		}
	} else if top.Len() > 0 && t.Driver() == "" && o.named {
		// The options are those of the format that will be found.
		if t, err = wrap(t, ""); err != nil {
			return nil, "", err
		}
	}
	if err := t.Merge(top); err != nil {
		return nil, "", err
	}
	base = imgcmd.BaseName(o.name, t)
	return t, base, nil
}

// wrap puts a driver, or what will be probed, over a node.
func wrap(t *opts.Tree, driver string) (*opts.Tree, error) {
	outer := opts.NewTree()
	if driver != "" {
		if err := outer.Set("driver", driver); err != nil {
			return nil, err
		}
	}
	return outer, outer.Set("file", t)
}

// overlay makes a temporary image over the one that t describes. It has no name: it lives as long as it is open.
func overlay(ctx context.Context, e *engine.Env, how *opening, t *opts.Tree, base string) (*opts.Tree, error) {
	below := how.flags
	below.Write, below.ShareWrites = false, true
	ref, err := e.OpenTree(ctx, t.Clone(), base, "", below)
	if err != nil {
		return nil, err
	}
	size := ref.Size()
	if err := ref.Close(); err != nil {
		return nil, err
	}
	dir := os.Getenv("TMPDIR")
	if dir == "" {
		dir = "/var/tmp"
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("temporary overlay in %s: %w", dir, err)
	}
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	target, err := opts.ParseName(name)
	if err == nil {
		err = e.Create(ctx, "qcow2", target.Clone(), name, size, opts.NewTree(), engine.OpenFlags{})
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	outer, err := wrap(target, "qcow2")
	if err != nil {
		return nil, err
	}
	return outer, outer.Set("backing", t)
}

// close closes the image and says what went wrong.
func (s *session) close() bool {
	s.pending.Wait()
	err := s.ref.Close()
	s.ref, s.how = nil, nil
	if err != nil {
		s.errorf("%v", err)
		return false
	}
	return true
}

func closeImage(_ context.Context, c *call) bool { return c.s.close() }

// openNames maps the letters of open to the names of the program's options.
var openNames = map[string]string{
	"s": "snapshot", "n": "nocache", "C": "copy-on-read", "r": "read-only", "k": "native-aio", "i": "aio", "t": "cache", "d": "discard",
	"U": "force-share",
}

// openImage is the command open.
func openImage(ctx context.Context, c *call) bool {
	how := newOpening()
	how.imageOpts = c.s.opt.ImageOpts
	for _, f := range c.found {
		if f.Option.Short == "o" {
			if how.imageOpts {
				c.printf("--image-opts and 'open -o' are mutually exclusive\n")
				return false
			}
			if !c.addOptions(how, f.Value) {
				return false
			}
			continue
		}
		if err := how.option(openNames[f.Option.Short], f.Value); err != nil {
			c.s.errorf("%v", err)
			return false
		}
	}
	switch {
	case len(c.args) == 1:
		how.name, how.named = c.args[0], true
	case len(c.args) > 1 || how.options.Len() == 0:
		return c.usage()
	}
	return c.s.open(ctx, how)
}

// addOptions reads an -o.
func (c *call) addOptions(how *opening, text string) bool {
	t, err := opts.ParseKeyval(text)
	if err == nil {
		err = how.options.Merge(t)
	}
	if err != nil {
		c.s.errorf("%s", imgcmd.Reason(err))
		return false
	}
	return true
}

// reopen changes how the open image is opened.
func reopen(ctx context.Context, c *call) bool {
	how := *c.s.how
	how.options = c.s.how.options.Clone()
	changes := opening{options: opts.NewTree()}
	mode, cache := "", false
	for _, f := range c.found {
		switch f.Option.Short {
		case "r", "w":
			if mode != "" {
				c.s.errorf("Only one -r/-w option may be given")
				return false
			}
			mode = f.Option.Short
		case "c":
			if err := how.option("cache", f.Value); err != nil {
				c.s.errorf("%v", err)
				return false
			}
			cache = true
		case "o":
			if !c.addOptions(&changes, f.Value) {
				return false
			}
		}
	}
	if len(c.args) > 0 {
		return c.usage()
	}
	switch {
	case mode != "" && changes.options.Has("read-only"):
		c.s.errorf("Cannot set both -r/-w and 'read-only'")
		return false
	case cache && (changes.options.Has("cache.direct") || changes.options.Has("cache.no-flush")):
		c.s.errorf("Cannot set both -c and the cache options")
		return false
	}
	if mode != "" {
		how.flags.Write = mode == "w"
		how.options.Delete("read-only")
	}
	if err := c.s.reopen(ctx, &how, changes.options); err != nil {
		c.s.errorf("%s", imgcmd.OpenReason(err))
		return false
	}
	return true
}

// reopen exchanges the graph. What goes wrong leaves the old one.
func (s *session) reopen(ctx context.Context, how *opening, changes *opts.Tree) error {
	top := s.ref.Info().Driver
	if d, ok := changes.String("driver"); ok && d != top {
		return errors.New("Cannot change the option 'driver'") //nolint:staticcheck // qemu-io's words
	}
	changes.Delete("driver")
	if err := s.knownOptions(top, changes); err != nil {
		return err
	}
	for _, key := range changes.Keys() {
		v, _ := changes.Get(key)
		how.options.Delete(key)
		if err := how.options.Set(key, v); err != nil {
			return err
		}
	}
	s.pending.Wait()
	old := s.how
	ref, err := s.eng.Exchange(ctx, s.ref,
		func() (*engine.Ref, error) { return s.openRef(ctx, how) },
		func() (*engine.Ref, error) { return s.openRef(ctx, old) })
	s.ref = ref
	if ref == nil {
		s.how = nil
	}
	if err == nil {
		s.how = how
	}
	return err
}

// knownOptions refuses what the node does not have before anything is closed.
func (s *session) knownOptions(driver string, changes *opts.Tree) error {
	d, err := s.eng.Registry.Lookup(driver)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, o := range append(d.OpenOptions(), engine.GenericOptions()...) {
		known[o.Name] = true
	}
	for _, key := range changes.Keys() {
		v, _ := changes.Get(key)
		if !known[key] && v.Tree() == nil {
			return fmt.Errorf("Cannot change the option '%s'", key) //nolint:staticcheck // qemu-io's words
		}
	}
	return nil
}

// readOnlyReason says why the image is not written to.
func (s *session) readOnlyReason() string {
	if s.how.probed && s.how.flags.Write {
		return "the format was probed, so the image is open for reading only: name it by -f (raw, qcow2, …)"
	}
	return "Block node is read-only"
}
