package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/blkbench/blkbench/engine/opts"
)

// DriverKind says which part of a graph a driver plays.
type DriverKind uint8

// The kinds of drivers.
const (
	KindProtocol DriverKind = iota
	KindFormat
	KindFilter
)

func (k DriverKind) String() string { return [...]string{"protocol", "format", "filter"}[k] }

// Driver is one entry of a Registry. Make it with [Protocol], [Format] or [Filter], which tie it to its option structs.
type Driver struct {
	Name    string
	Aliases []string // other names that `driver=` takes (host_device for file)
	Kind    DriverKind
	Help    string // one line

	// Probe says how sure the driver is that an image is its own: 0 not at all, 100 certain. head is the first [ProbeSize] bytes, or
	// fewer where the file is shorter.
	Probe func(head []byte, filename string) int

	// Remove takes back what create of a protocol made, when the format could not be written into it; nil where nothing can be removed.
	Remove func(ctx context.Context, target *opts.Tree) error

	// Measure computes the size of a new image's file; nil where the format cannot tell.
	Measure func(ctx context.Context, r *MeasureRequest) (Measurement, error)

	open       func(ctx context.Context, r *OpenRequest) (Node, error)
	create     func(ctx context.Context, r *CreateRequest) error
	openOpts   any
	createOpts any

	// Amend lists the create options that can be changed later; nil when none can.
	AmendOpts any
	// NeedsNoFile: the driver has no `file` child although it is a format (vvfat).
	NeedsNoFile bool
}

// ProbeSize is how much of an image a Probe sees, in bytes.
const ProbeSize = 2048

// Define ties a driver to the struct that its options are bound to, and to the one of its create options.
func Define[O, C any](d Driver, open func(ctx context.Context, r *OpenRequest, o *O) (Node, error),
	create func(ctx context.Context, r *CreateRequest, o *C) error,
) Driver {
	d.openOpts, d.createOpts = new(O), new(C)
	d.open = func(ctx context.Context, r *OpenRequest) (Node, error) {
		o := new(O)
		if err := optionError(r.Opts.Bind(o)); err != nil {
			return nil, err
		}
		n, err := open(ctx, r, o)
		if err != nil {
			return nil, err
		}
		// Only now: the driver has taken its children out of the tree.
		if err := optionError(r.Opts.Unused()); err != nil {
			return nil, errors.Join(err, n.Close())
		}
		return n, nil
	}
	if create != nil {
		d.create = func(ctx context.Context, r *CreateRequest) error {
			o := new(C)
			if err := errors.Join(optionError(r.Opts.Bind(o)), optionError(r.Opts.Unused())); err != nil {
				return err
			}
			return create(ctx, r, o)
		}
	}
	return d
}

// NoOptions is the option struct of drivers, or of creation, without options.
type NoOptions struct{}

func optionError(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: ErrOption, Len: -1, Cause: err}
}

// CanCreate reports whether the driver makes new images.
func (d *Driver) CanCreate() bool { return d.create != nil }

// OpenOptions describes the options of opening.
func (d *Driver) OpenOptions() []opts.Option { return opts.Describe(d.openOpts) }

// CreateOptions describes the options of creating.
func (d *Driver) CreateOptions() []opts.Option { return opts.Describe(d.createOpts) }

// Registry is the list of drivers, made once by the program; there is no global one.
type Registry struct {
	drivers []*Driver
	byName  map[string]*Driver

	// Outermost puts a node around the root of every graph that is opened by name or by options; nil: none. It owns the reference unless
	// there is an error.
	Outermost func(root *Ref) (Node, error)
}

// NewRegistry makes a registry of the drivers given; the order is that of listings and of probing.
func NewRegistry(drivers ...Driver) *Registry {
	g := &Registry{byName: make(map[string]*Driver)}
	for i := range drivers {
		d := &drivers[i]
		g.drivers = append(g.drivers, d)
		for _, n := range append([]string{d.Name}, d.Aliases...) {
			if g.byName[n] != nil {
				panic("engine: two drivers are called " + n)
			}
			g.byName[n] = d
		}
	}
	return g
}

// Drivers returns all drivers in order.
func (g *Registry) Drivers() []*Driver { return g.drivers }

// Lookup finds a driver by its name or an alias.
func (g *Registry) Lookup(name string) (*Driver, error) {
	if d := g.byName[name]; d != nil {
		return d, nil
	}
	msg := fmt.Sprintf("unknown driver '%s'", name)
	if near := opts.Nearest(name, g.Names(nil)); near != "" {
		msg += fmt.Sprintf(", did you mean '%s'", near)
	}
	return nil, Errf(ErrOption, "%s", msg)
}

// Names returns the names of the drivers that keep accepts (all when nil), sorted.
func (g *Registry) Names(keep func(*Driver) bool) []string {
	var names []string
	for _, d := range g.drivers {
		if keep == nil || keep(d) {
			names = append(names, d.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Probe names the format of an image from its first bytes: the driver that is surest, or raw.
func (g *Registry) Probe(head []byte, filename string) *Driver {
	var best *Driver
	score := 0
	for _, d := range g.drivers {
		if d.Probe == nil {
			continue
		}
		if s := d.Probe(head, filename); s > score {
			best, score = d, s
		}
	}
	if best == nil {
		best = g.byName["raw"]
	}
	return best
}

// References says which names inside an image are followed (backing files, data files, extents).
type References uint8

// The policies of --references.
const (
	ReferencesNone   References = iota // none: the refusal names the reference and the switch
	ReferencesFolder                   // regular files in the image's own folder and below
	ReferencesAllow                    // everything, URIs and json: too
)

// Env is what a graph is opened in: the registry, the secrets, and the user's consents.
type Env struct {
	Registry   *Registry
	Objects    *opts.Objects // --object secret and its kind; may be nil
	References References
	// AllowDestroy holds the names (devices, serial numbers) whose data may be destroyed.
	AllowDestroy []string
	// Warn receives what the user should know and what is no error.
	Warn func(msg string)
	// Domain is the grace-period domain; nil means the process's own.
	Domain *Domain

	named map[string]*Ref // nodes with a node-name
	held  []io.Closer     // locks of a graph that is being exchanged
	live  liveObjects
}

func (e *Env) warn(format string, args ...any) {
	if e.Warn != nil {
		e.Warn(fmt.Sprintf(format, args...))
	}
}

// Secret resolves the id of a --object secret, whose file is read if it has one.
func (e *Env) Secret(id opts.SecretRef) (opts.Secret, error) {
	return e.Objects.Secret(id, os.ReadFile)
}

func (e *Env) domain() *Domain {
	if e.Domain != nil {
		return e.Domain
	}
	return DefaultDomain()
}

// MayDestroy reports whether the user has named one of the names.
func (e *Env) MayDestroy(names ...string) bool {
	for _, n := range names {
		if n != "" && slices.Contains(e.AllowDestroy, n) {
			return true
		}
	}
	return false
}

// Amender changes format options of an existing image; the request's Opts hold them as the command line gave them.
type Amender interface {
	Amend(ctx context.Context, r *CreateRequest, force bool, progress func(done, total int64)) error
}

func isJSONName(s string) bool { return strings.HasPrefix(s, "json:") }
