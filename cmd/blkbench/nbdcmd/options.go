package nbdcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/cmd/blkbench/internal/getopt"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// Env is what the verb works with.
type Env struct {
	Stdin          *os.File
	Stdout, Stderr *os.File
	Prog           string // as messages begin
	Link           bool   // called as qemu-nbd
	Version        string
	Registry       *engine.Registry
	Args           []string // the whole command line with the program's name, for --fork
}

// options are qemu-nbd's, and ours.
type options struct {
	Help        bool     `long:"help" short:"h" help:"explain the options"`
	Version     bool     `long:"version" short:"V" help:"print the version"`
	Port        *string  `long:"port" short:"p" arg:"PORT" help:"TCP port, 10809 where only an address is given"`
	Bind        *string  `long:"bind" short:"b" arg:"ADDRESS" help:"TCP address; as qemu-nbd 0.0.0.0 without one, under our own name loopback"`
	Socket      *string  `long:"socket" short:"k" arg:"PATH" help:"Unix socket"`
	Shared      *string  `long:"shared" short:"e" arg:"NUM" help:"clients at once, 0 for any number; qemu-nbd's default is 1, ours 0"`
	Share       *string  `long:"share" arg:"NUM" help:"the same"`
	Persistent  bool     `long:"persistent" short:"t" help:"go on when the last client has left; always so under our own name"`
	Verbose     bool     `long:"verbose" short:"v" help:"say which clients come and go"`
	ExportName  *string  `long:"export-name" short:"x" arg:"NAME" help:"the export's name; the base name of the image under our own name, else empty"`
	Description *string  `long:"description" short:"D" arg:"TEXT" help:"what LIST says of the export"`
	Offset      *string  `long:"offset" short:"o" arg:"OFFSET" help:"bytes of the image before the export"`
	Depth       bool     `long:"allocation-depth" short:"A" help:"offer the context qemu:allocation-depth"`
	Bitmaps     []string `long:"bitmap" short:"B" arg:"NAME" help:"offer the context qemu:dirty-bitmap:NAME; may be repeated"`
	List        bool     `long:"list" short:"L" help:"list the exports of a server"`
	Objects     []string `long:"object" arg:"OBJECT" help:"tls-creds-x509, authz-simple, authz-list, authz-list-file or secret"`
	TLSCreds    *string  `long:"tls-creds" arg:"ID" help:"clients must use TLS with these credentials"`
	TLSAuthz    *string  `long:"tls-authz" arg:"ID" help:"only clients whose certificate's name this object allows"`
	TLSHostname *string  `long:"tls-hostname" arg:"NAME" help:"with -L: the name that the server's certificate has to have"`
	Trace       []string `long:"trace" short:"T" arg:"PATTERN" help:"taken and ignored"`
	Fork        bool     `long:"fork" help:"return when the server listens; it goes on in the background"`
	PIDFile     *string  `long:"pid-file" arg:"PATH" help:"write the server's process number to this file"`
	SELinux     *string  `long:"selinux-label" arg:"LABEL" help:"not supported"`
	Connect     *string  `long:"connect" short:"c" arg:"DEV" help:"let the kernel's nbd driver be the client, at this device"`
	Disconnect  bool     `long:"disconnect" short:"d" help:"disconnect the device that is named"`
	Format      *string  `long:"format" short:"f" arg:"FORMAT" help:"the image's format; probed without it"`
	ReadOnly    bool     `long:"read-only" short:"r" help:"clients may only read"`
	Snapshot    bool     `long:"snapshot" short:"s" help:"not supported: writes to a temporary overlay"`
	LoadSnap    *string  `long:"load-snapshot" short:"l" arg:"SNAPSHOT" help:"export an internal snapshot: its ID or name, or snapshot.id=ID,snapshot.name=NAME"`
	NoCache     bool     `long:"nocache" short:"n" help:"--cache=none"`
	Cache       []string `long:"cache" arg:"MODE" help:"none, writeback (the default), writethrough, directsync or unsafe"`
	AIO         []string `long:"aio" arg:"MODE" help:"io_uring (the default), native (the same) or threads"`
	Discard     []string `long:"discard" arg:"MODE" help:"ignore (the default) or unmap"`
	Detect      *string  `long:"detect-zeroes" arg:"MODE" help:"off, on or unmap"`
	ImageOpts   bool     `long:"image-opts" help:"images are named by driver=…,file.filename=…"`
	References  string   `long:"references" arg:"POLICY" exact:"true" help:"names inside images are followed: none, folder or allow; none under our own name, allow as qemu-nbd"`
}

// DocFlag is an option for help texts.
type DocFlag struct{ Name, Short, Arg, Help string }

// Docs are the options.
func Docs() []DocFlag {
	var list []DocFlag
	for _, o := range getopt.Table(new(options)) {
		f := DocFlag{Name: "--" + o.Long, Arg: o.Arg, Help: o.Help}
		if o.Short != "" {
			f.Short = "-" + o.Short
		}
		list = append(list, f)
	}
	return list
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
)

// call is one run of the verb.
type call struct {
	env    *Env
	o      options
	images []string

	shared int
	offset int64
	flags  engine.OpenFlags
	eng    *engine.Env
	ready  io.WriteCloser // tells the parent of --fork that it listens
}

// Run is the verb; args are without its name.
func Run(ctx context.Context, env *Env, args []string) int {
	c := &call{env: env}
	var err error
	if c.images, err = getopt.Bind(&c.o, getopt.Style{}, args); err != nil {
		c.errorf("%v", err)
		c.errorf("Try `%s --help' for more information.", env.Prog)
		return exitFailed
	}
	switch {
	case c.o.Help:
		c.help()
		return exitOK
	case c.o.Version:
		fmt.Fprintf(env.Stdout, "%s %s\n", env.Prog, env.Version)
		return exitOK
	}
	if err := c.check(); err != nil {
		if errors.Is(err, errUsage) {
			c.errorf("Invalid number of arguments")
			fmt.Fprintf(env.Stderr, "Try `%s --help' for more information.\n", env.Prog)
			return exitFailed
		}
		c.errorf("%v", err)
		return exitFailed
	}
	if err := c.run(ctx); err != nil {
		if e, ok := errors.AsType[*childError](err); ok {
			return e.code
		}
		c.errorf("%v", err)
		return exitFailed
	}
	return exitOK
}

func (c *call) errorf(format string, args ...any) {
	fmt.Fprintf(c.env.Stderr, "%s: %s\n", c.env.Prog, fmt.Sprintf(format, args...))
}

func (c *call) help() {
	fmt.Fprintf(c.env.Stdout, "usage: %s [options] IMAGE\n   or: %s -L [options]\n\nServes images over NBD until the last client leaves (-t: for ever).\n\n", c.env.Prog, c.env.Prog)
	for _, f := range Docs() {
		left := f.Name
		if f.Short != "" {
			left = f.Short + ", " + left
		}
		if f.Arg != "" {
			left += "=" + f.Arg
		}
		fmt.Fprintf(c.env.Stdout, "  %-30s %s\n", left, strings.Join(getopt.Fold(f.Help, 68), "\n"+strings.Repeat(" ", 33)))
	}
}

var errUsage = errors.New("wrong number of arguments")

func count(list []string) int { return len(list) }

// check holds the options against each other, as qemu-nbd does.
func (c *call) check() error {
	o := &c.o
	if err := c.checkModes(); err != nil {
		return err
	}
	if err := c.checkNumbers(); err != nil {
		return err
	}
	switch {
	case o.SELinux != nil:
		return errors.New("--selinux-label is not supported")
	case o.Snapshot:
		return errors.New("-s is not supported: create an overlay over the image, and export that")
	case o.ExportName != nil && len(*o.ExportName) > wire.MaxString:
		return fmt.Errorf("export name '%s' too long", *o.ExportName)
	case o.Description != nil && len(*o.Description) > wire.MaxString:
		return fmt.Errorf("export description '%s' too long", *o.Description)
	case o.List && len(c.images) != 0:
		return errors.New("List mode is incompatible with a file name") //nolint:staticcheck // qemu-nbd's words
	case o.List && c.perDevice():
		return errors.New("List mode is incompatible with per-device settings") //nolint:staticcheck // qemu-nbd's words
	case o.List && o.Fork:
		return errors.New("List mode is incompatible with forking") //nolint:staticcheck // qemu-nbd's words
	case !o.List && (len(c.images) == 0 || len(c.images) > 1 && (c.env.Link || o.Disconnect || o.Connect != nil)):
		return errUsage
	case o.TLSCreds == nil && o.TLSHostname != nil:
		return errors.New("--tls-hostname is not permitted without --tls-creds")
	case o.TLSCreds == nil && o.TLSAuthz != nil:
		return errors.New("--tls-authz is not permitted without --tls-creds")
	case o.TLSHostname != nil && !o.List:
		return errors.New("TLS hostname is only supported with export list") //nolint:staticcheck // qemu-nbd's words
	case o.TLSAuthz != nil && o.List:
		return errors.New("TLS authorization is incompatible with export list") //nolint:staticcheck // qemu-nbd's words
	case o.ImageOpts && o.Format != nil:
		return errors.New("--image-opts and -f are mutually exclusive")
	case o.Socket != nil && !strings.HasPrefix(*o.Socket, "/"):
		return errors.New("socket path must be absolute")
	case len(c.images) > 1 && (o.ExportName != nil || o.LoadSnap != nil || o.Offset != nil || count(o.Bitmaps) > 0):
		return errors.New("-x, -l, -o and -B are for one image")
	}
	return nil
}

func (c *call) perDevice() bool {
	o := &c.o
	return o.ExportName != nil || o.Description != nil || o.Offset != nil || o.Connect != nil || o.Disconnect || o.Format != nil || o.LoadSnap != nil ||
		count(o.Bitmaps) > 0 || o.Depth || count(o.AIO) > 0 || count(o.Discard) > 0 || count(o.Cache) > 0 || o.NoCache
}

// checkModes reads the modes that a block device has.
func (c *call) checkModes() error {
	o, f := &c.o, &c.flags
	switch {
	case count(o.Cache) > 1 || count(o.Cache) > 0 && o.NoCache:
		return errors.New("-n and --cache can only be specified once")
	case count(o.AIO) > 1:
		return errors.New("--aio can only be specified once")
	case count(o.Discard) > 1:
		return errors.New("--discard can only be specified once")
	}
	mode := "writeback"
	switch {
	case o.NoCache:
		mode = "none"
	case count(o.Cache) > 0:
		mode = o.Cache[0]
	}
	var ok bool
	if f.Cache, ok = engine.CacheModes[mode]; !ok {
		return fmt.Errorf("Invalid cache mode `%s'", mode) //nolint:staticcheck // qemu-nbd's words
	}
	if count(o.AIO) > 0 {
		switch f.AIO = o.AIO[0]; f.AIO {
		case "native", "threads", "io_uring":
		default:
			return fmt.Errorf("Invalid aio mode '%s'", f.AIO) //nolint:staticcheck // qemu-nbd's words
		}
	}
	if count(o.Discard) > 0 {
		switch o.Discard[0] {
		case "unmap", "on":
			f.Discard = true
		case "ignore", "off":
		default:
			return fmt.Errorf("Invalid discard mode `%s'", o.Discard[0]) //nolint:staticcheck // qemu-nbd's words
		}
	}
	if o.Detect != nil {
		switch *o.Detect {
		case "off":
		case "on":
			f.DetectZeroes = engine.DetectOn
		case "unmap":
			f.DetectZeroes = engine.DetectUnmap
			if !f.Discard {
				return errors.New("setting detect-zeroes to unmap is not allowed without setting discard operation to unmap")
			}
		default:
			return fmt.Errorf("Failed to parse detect_zeroes mode: invalid parameter value: %s", *o.Detect) //nolint:staticcheck // qemu-nbd's words
		}
	}
	f.Write = !o.ReadOnly && o.LoadSnap == nil
	return nil
}

func (c *call) checkNumbers() error {
	o := &c.o
	if c.env.Link {
		c.shared = 1
	}
	for _, text := range []*string{o.Share, o.Shared} {
		if text == nil {
			continue
		}
		n, err := strconv.Atoi(*text)
		if err != nil || n < 0 {
			return fmt.Errorf("Invalid shared device number '%s'", *text) //nolint:staticcheck // qemu-nbd's words
		}
		c.shared = n
	}
	if o.Offset != nil {
		n, err := getopt.Number(*o.Offset)
		if err != nil || n > 1<<63-1 {
			return fmt.Errorf("Invalid offset '%s'", *o.Offset) //nolint:staticcheck // qemu-nbd's words
		}
		c.offset = int64(n)
	}
	return nil
}
