package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/blkbench/blkbench/engine/opts"
)

// OpenRequest is what a driver opens a node from. The driver's own options are bound already; children are opened through it.
type OpenRequest struct {
	Env    *Env
	Driver *Driver
	Opts   *opts.Tree // the node's options: what the driver did not bind is refused
	Flags  OpenFlags
	// Perm and Shared are what this user does with the node, and lets others do: protocols lock by them.
	Perm, Shared Perm
	// Filename is the name that the user gave for the image at the top, for references that are relative to it; may be empty.
	Filename string
	// IsFormat: the user of the node is a format driver.
	IsFormat bool
	// Create: the file is made by a driver's create step; it may be empty and is not probed.
	Create bool
	depth  int
	child  *Ref // of Wrap: the child under "file"
	// opened is the file that a reference from inside an image has led to; nil where names are opened by the drivers.
	opened *openedFile
}

// Opened returns the file that was opened already under a name: what a reference from inside an image leads to is checked and opened in
// one step, so that nobody can put something else under the name in between. The driver duplicates the descriptor. nil: open the name.
func (r *OpenRequest) Opened(filename string) *os.File {
	if r.opened != nil && r.opened.name == filename {
		return r.opened.file
	}
	return nil
}

// Role says what a child is to its parent: it decides permissions, caching and probing.
type Role uint8

// The roles of children.
const (
	RoleStorage  Role = iota // metadata and data (file)
	RoleData                 // guest data only (data-file, extents)
	RoleBacking              // read-only content below
	RoleFiltered             // the one child of a filter
)

// Open opens the graph that a tree describes; the tree is consumed.
func (e *Env) Open(ctx context.Context, t *opts.Tree, flags OpenFlags) (*Ref, error) {
	return e.outermost(e.open(ctx, &OpenRequest{Env: e, Opts: t, Flags: flags, Perm: topPerm(flags), Shared: topShared(flags)}))
}

func topPerm(f OpenFlags) Perm {
	p := PermConsistentRead
	if f.Write {
		p |= PermWrite
		if !f.ShareWrites {
			p |= PermResize
		}
	}
	return p
}

func topShared(f OpenFlags) Perm {
	if f.ForceShare || f.ShareWrites {
		return PermAll
	}
	if f.Write {
		return PermConsistentRead | PermWriteUnchanged
	}
	return PermAll &^ (PermWrite | PermResize)
}

// OpenName opens what a user names on a command line: a path, a URI, json:{…} or, with imageOpts, driver=…,…. An empty format is probed
// (for reading only, unless the caller has warned already).
func (e *Env) OpenName(ctx context.Context, name, format string, flags OpenFlags) (*Ref, error) {
	t, err := opts.ParseName(name)
	if err != nil {
		return nil, openError(name, err)
	}
	return e.OpenTree(ctx, t, name, format, flags)
}

// OpenTree is OpenName for a name that was parsed already.
func (e *Env) OpenTree(ctx context.Context, t *opts.Tree, name, format string, flags OpenFlags) (*Ref, error) {
	r := &OpenRequest{Env: e, Opts: t, Flags: flags, Perm: topPerm(flags), Shared: topShared(flags), Filename: name}
	if isJSONName(name) {
		r.Filename = ""
	}
	return e.outermost(e.around(ctx, r, func(ctx context.Context, r *OpenRequest) (*Ref, error) {
		return e.openFormat(ctx, r, name, format)
	}))
}

// openFormat opens a node of a format, which is probed where it is empty.
func (e *Env) openFormat(ctx context.Context, r *OpenRequest, name, format string) (*Ref, error) {
	t := r.Opts
	d, err := e.driverOf(t)
	if err != nil {
		return nil, openError(name, err)
	}
	if d != nil && d.Kind != KindProtocol {
		if format != "" && format != d.Name {
			return nil, openError(name, Errf(ErrOption, "driver '%s' is named, and format '%s' besides", d.Name, format))
		}
		return e.open(ctx, r)
	}
	if format == "" {
		return e.openProbed(ctx, r)
	}
	fd, err := e.Registry.Lookup(format)
	if err != nil {
		return nil, openError(name, err)
	}
	if fd.Kind == KindProtocol {
		if d == nil {
			_ = t.Set("driver", fd.Name)
		}
		return e.open(ctx, r)
	}
	outer := opts.NewTree()
	if err := errors.Join(outer.Set("driver", fd.Name), outer.Set("file", t)); err != nil {
		return nil, err
	}
	r.Opts = outer
	return e.open(ctx, r)
}

func openError(name string, err error) error {
	var e *Error
	if errors.As(err, &e) && e.Op != "" {
		return err
	}
	out := &Error{Op: "open", Node: name, Len: -1, Cause: err, Kind: KindOf(err)}
	var oe *opts.Error
	if errors.As(err, &oe) && out.Kind == nil {
		out.Kind = ErrOption
	}
	if e != nil {
		out.Kind, out.Cause = e.Kind, e.Cause
	}
	return out
}

// driverOf returns the driver that a tree names; nil when it names none.
func (e *Env) driverOf(t *opts.Tree) (*Driver, error) {
	name, ok := t.String("driver")
	if !ok {
		return nil, nil
	}
	return e.Registry.Lookup(name)
}

// open opens the node of a request, and what its options put around it.
func (e *Env) open(ctx context.Context, r *OpenRequest) (*Ref, error) {
	return e.around(ctx, r, e.openNode)
}

// openNode opens the node of a request.
func (e *Env) openNode(ctx context.Context, r *OpenRequest) (*Ref, error) {
	if r.depth > maxDepth {
		return nil, Errf(ErrUnsupported, "graph deeper than %d layers", maxDepth)
	}
	d, err := e.driverOf(r.Opts)
	if err != nil {
		return nil, openError(r.Filename, err)
	}
	if d == nil {
		if r.Opts.Has("file") {
			return e.openProbed(ctx, r)
		}
		if d, err = e.Registry.Lookup("file"); err != nil {
			return nil, err
		}
	}
	r.Driver = d
	r.Opts.Take("driver")
	nodeName, err := e.genericOptions(r)
	if err != nil {
		return nil, openError(r.Filename, err)
	}
	if d.Kind == KindFormat {
		if err := r.moveFilename(); err != nil {
			return nil, openError(r.Filename, err)
		}
	}
	n, err := d.open(ctx, r)
	if err != nil {
		return nil, openError(r.Filename, err)
	}
	ref := newRef(n, r.Flags, e.domain())
	ref.format = r.IsFormat
	for _, note := range ref.st.info.Notes {
		e.warn("%s", note)
	}
	if nodeName != "" {
		if e.named == nil {
			e.named = make(map[string]*Ref)
		}
		e.named[nodeName] = ref
	}
	return ref, nil
}

// moveFilename lets `driver=qcow2,filename=x` mean file.filename=x.
func (r *OpenRequest) moveFilename() error {
	if r.Opts.Has("file") {
		return nil
	}
	if v, ok := r.Opts.Take("filename"); ok {
		return r.Opts.Set("file", map[string]any{"filename": v.Text()})
	}
	return nil
}

// generic are the options that every node has.
type generic struct {
	NodeName     string `opt:"node-name" help:"a name to refer to the node by"`
	ReadOnly     *bool  `opt:"read-only" help:"open for reading only"`
	AutoReadOnly *bool  `opt:"auto-read-only" help:"fall back to reading"`
	ForceShare   *bool  `opt:"force-share" help:"read although somebody else writes"`
	Discard      string `opt:"discard" enum:"ignore,off,unmap,on" help:"pass discards on"`
	DetectZeroes string `opt:"detect-zeroes" enum:"off,on,unmap" help:"turn writes of zeroes into zeroing"`
	CacheDirect  *bool  `opt:"cache.direct" help:"bypass the host's page cache"`
	CacheNoFlush *bool  `opt:"cache.no-flush" help:"ignore flushes"`
	CacheWB      *bool  `opt:"cache.writeback" help:"writes complete before they are durable"`
}

// GenericOptions describes the options that every node has.
func GenericOptions() []opts.Option { return opts.Describe(new(generic)) }

func (e *Env) genericOptions(r *OpenRequest) (string, error) {
	var g generic
	if err := r.Opts.Bind(&g); err != nil {
		return "", err
	}
	set := func(dst *bool, v *bool, invert bool) {
		if v != nil {
			*dst = *v != invert
		}
	}
	f := &r.Flags
	if g.ReadOnly != nil && *g.ReadOnly {
		f.Write = false
	}
	set(&f.AutoReadOnly, g.AutoReadOnly, false)
	set(&f.ForceShare, g.ForceShare, false)
	set(&f.Cache.Direct, g.CacheDirect, false)
	set(&f.Cache.NoFlush, g.CacheNoFlush, false)
	set(&f.Cache.WriteThrough, g.CacheWB, true)
	switch g.Discard {
	case "unmap", "on":
		f.Discard = true
	case "ignore", "off":
		f.Discard = false
	}
	switch g.DetectZeroes {
	case "on":
		f.DetectZeroes = DetectOn
	case "unmap":
		if !f.Discard {
			return "", Errf(ErrOption, "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap")
		}
		f.DetectZeroes = DetectUnmap
	case "off":
		f.DetectZeroes = DetectOff
	}
	if f.ForceShare {
		if f.Write {
			return "", Errf(ErrOption, "force-share=on can only be used with read-only images")
		}
		r.Shared = PermAll
	}
	return g.NodeName, nil
}

// openProbed opens the protocol node first, looks at the first bytes and puts the format over it.
func (e *Env) openProbed(ctx context.Context, r *OpenRequest) (*Ref, error) {
	inner := r.Opts
	if sub, ok := r.Opts.Sub("file"); ok && !r.Opts.Has("driver") {
		inner = sub
	}
	probe := inner.Clone()
	pf := r.Flags
	pf.Write, pf.ForceShare = false, true
	ref, err := e.open(ctx, &OpenRequest{Env: e, Opts: probe, Flags: pf, Perm: 0, Shared: PermAll, Filename: r.Filename, IsFormat: true, depth: r.depth + 1, opened: r.opened})
	if err != nil {
		return nil, err
	}
	head := make([]byte, min(ProbeSize, max(0, ref.Size())))
	err = ref.ReadAt(ctx, head, 0)
	err = errors.Join(err, ref.Close())
	if err != nil {
		return nil, err
	}
	d := e.Registry.Probe(head, r.Filename)
	if d == nil {
		return nil, openError(r.Filename, Errf(ErrUnsupported, "no driver for raw images"))
	}
	outer := r.Opts
	if inner == r.Opts {
		outer = opts.NewTree()
		if err := outer.Set("file", inner); err != nil {
			return nil, err
		}
	}
	if err := outer.Set("driver", d.Name); err != nil {
		return nil, err
	}
	if d.Name == "raw" && r.Flags.Write {
		_ = outer.Set("probed", true)
	}
	q := *r
	q.Opts = outer
	return e.open(ctx, &q)
}

// Child opens the child under key of the node's options; nil when the key is absent. A string is a node-name, or a name as a user
// writes it.
func (r *OpenRequest) Child(ctx context.Context, key string, role Role) (*Ref, error) {
	if r.child != nil && key == "file" {
		c := r.child.Clone(r.childFlags(role))
		c.format = r.IsFormat
		return c, nil
	}
	v, ok := r.Opts.Take(key)
	if !ok {
		return nil, nil
	}
	if v.Tree() == nil {
		name := v.Text()
		if ref := r.Env.named[name]; ref != nil {
			return ref.Clone(r.childFlags(role)), nil
		}
		t, err := opts.ParseName(name)
		if err != nil {
			return nil, openError(name, err)
		}
		c := r.childRequest(t, role)
		if c.Filename == "" {
			c.Filename = name
		}
		return r.Env.open(ctx, c)
	}
	return r.Env.open(ctx, r.childRequest(v.Tree(), role))
}

// MustChild is Child for children that have to be there.
func (r *OpenRequest) MustChild(ctx context.Context, key string, role Role) (*Ref, error) {
	c, err := r.Child(ctx, key, role)
	if err == nil && c == nil {
		err = Errf(ErrOption, "A block device must be specified for %q", key) // QEMU's words
	}
	return c, err
}

func (r *OpenRequest) childFlags(role Role) OpenFlags {
	f := r.Flags
	f.DetectZeroes = DetectOff
	switch role {
	case RoleBacking:
		f.Write, f.AutoReadOnly, f.NoBacking, f.Check = false, false, false, false
		f.Cache.WriteThrough = false
	case RoleStorage, RoleData:
		f.Cache.WriteThrough = false // the format flushes as a whole
		f.Discard = true             // the format decides what it passes on
	case RoleFiltered:
	}
	return f
}

func (r *OpenRequest) childRequest(t *opts.Tree, role Role) *OpenRequest {
	c := &OpenRequest{Env: r.Env, Opts: t, Flags: r.childFlags(role), Filename: r.Filename, depth: r.depth + 1}
	c.Perm, c.Shared = r.Perm, r.Shared
	switch role {
	case RoleBacking:
		c.Perm, c.Shared = PermConsistentRead, PermConsistentRead|PermWriteUnchanged
		if r.Shared.has(PermWrite) {
			c.Shared |= PermWrite | PermResize
		}
		c.Filename = ""
	case RoleStorage, RoleData:
		c.IsFormat = true
		if r.Flags.Write {
			c.Perm |= PermWrite | PermResize
		}
		// A format's metadata has one writer, whatever the user shares.
		c.Shared &^= PermWrite | PermResize
		if r.Flags.ForceShare {
			c.Shared = PermAll
		}
		if role == RoleData {
			c.Filename = ""
		}
	case RoleFiltered:
		c.IsFormat = r.IsFormat
	}
	if role == RoleStorage || role == RoleFiltered {
		c.opened = r.opened
	}
	return c
}

func (p Perm) has(q Perm) bool { return p&q == q }

// Reference opens what an image refers to: a backing file, a data file, an extent. name is as the image has it; format may be empty, and is
// then probed. The user's policy decides whether it is followed.
func (r *OpenRequest) Reference(ctx context.Context, role Role, name, format string) (*Ref, error) {
	ref, err := r.reference(ctx, role, name, format)
	if err != nil && role == RoleBacking {
		err = &BackingError{err}
	}
	return ref, err
}

// BackingError says that it was the backing file, or something below it, that could not be opened.
type BackingError struct{ Err error }

// Error begins as QEMU's message does.
func (e *BackingError) Error() string { return "Could not open backing file: " + e.Err.Error() }

// Unwrap gives the error of the backing file.
func (e *BackingError) Unwrap() error { return e.Err }

func (r *OpenRequest) reference(ctx context.Context, role Role, name, format string) (*Ref, error) {
	c := r.childRequest(nil, role)
	full, opened, err := r.resolveReference(name, c.Flags)
	if err != nil {
		return nil, err
	}
	defer opened.close()
	t, err := opts.ParseName(full)
	if err != nil {
		return nil, openError(full, err)
	}
	c.Opts, c.Filename, c.opened = t, full, opened
	d, err := r.Env.driverOf(t)
	if err != nil {
		return nil, openError(full, err)
	}
	switch {
	case d != nil && d.Kind != KindProtocol:
		return r.Env.open(ctx, c)
	case role == RoleData:
		return r.Env.open(ctx, c)
	case format == "":
		return r.Env.openProbed(ctx, c)
	}
	outer := opts.NewTree()
	if err := errors.Join(outer.Set("driver", format), outer.Set("file", t)); err != nil {
		return nil, err
	}
	c.Opts, c.IsFormat = outer, false
	return r.Env.open(ctx, c)
}

// ResolveName makes a name relative to the image that mentions it, as image formats mean it.
func ResolveName(base, name string) string {
	if base == "" || filepath.IsAbs(name) || isJSONName(name) || hasProtocol(name) {
		return name
	}
	if hasProtocol(base) {
		if i := strings.LastIndexByte(base, '/'); i >= 0 {
			return base[:i+1] + name
		}
		return name
	}
	return filepath.Join(filepath.Dir(base), name)
}

func hasProtocol(name string) bool { return opts.HasProtocol(name) }
