package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/blkbench/blkbench/engine/opts"
)

// Wrap puts a filter over an open node, with the filter's options but for its child. The reference given is the filter's from then on,
// unless there is an error.
func (e *Env) Wrap(ctx context.Context, filter string, options *opts.Tree, child *Ref) (*Ref, error) {
	d, err := e.Registry.Lookup(filter)
	if err != nil {
		return nil, err
	}
	if options == nil {
		options = opts.NewTree()
	}
	r := &OpenRequest{
		Env: e, Driver: d, Opts: options, Flags: child.flags, Perm: topPerm(child.flags), Shared: topShared(child.flags),
		IsFormat: child.format, child: child,
	}
	n, err := d.open(ctx, r)
	if err != nil {
		return nil, openError(child.st.info.Filename, err)
	}
	ref := newRef(n, child.flags, e.domain())
	ref.format = child.format
	return ref, child.Close() // the filter has its own reference
}

// surround are the options that put a filter around the node that has them: `throttling.iops-total=100` limits whatever node it is said of.
var surround = []struct{ key, filter string }{{"throttling", "throttle"}}

// around opens a node by open and puts around it what its options ask for.
func (e *Env) around(ctx context.Context, r *OpenRequest, open func(context.Context, *OpenRequest) (*Ref, error)) (*Ref, error) {
	var trees []*opts.Tree
	for _, s := range surround {
		v, ok := r.Opts.Take(s.key)
		if ok && v.Tree() == nil {
			return nil, openError(r.Filename, Errf(ErrOption, "%s takes options: %s.KEY=VALUE", s.key, s.key))
		}
		trees = append(trees, v.Tree())
	}
	snapshot, err := takeSnapshot(r)
	if err != nil {
		return nil, openError(r.Filename, err)
	}
	flags := r.Flags
	if snapshot {
		r.Flags.Write, r.Flags.Snapshot = false, false
		r.Perm &^= PermWrite | PermResize
	}
	ref, err := open(ctx, r)
	if err != nil {
		return nil, err
	}
	if snapshot {
		outer, err := e.overlay(ctx, ref, flags)
		if err != nil {
			return nil, errors.Join(err, ref.Close())
		}
		ref = outer
	}
	for i, t := range trees {
		if t == nil {
			continue
		}
		outer, err := e.Wrap(ctx, surround[i].filter, t, ref)
		if err != nil {
			return nil, errors.Join(err, ref.Close())
		}
		ref = outer
	}
	return ref, nil
}

// outermost puts the registry's outermost node around the root of a graph that was opened.
func (e *Env) outermost(root *Ref, err error) (*Ref, error) {
	if err != nil || e.Registry.Outermost == nil {
		return root, err
	}
	n, err := e.Registry.Outermost(root)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return newRef(n, root.flags, e.domain()), nil
}

// takeSnapshot reports whether a node gets a temporary overlay: snapshot=on, or -snapshot.
func takeSnapshot(r *OpenRequest) (bool, error) {
	on := r.Flags.Snapshot
	if v, ok := r.Opts.Take("snapshot"); ok {
		b, err := opts.ParseBool(v.Text())
		if err != nil {
			return false, Errf(ErrOption, "snapshot: %w", err)
		}
		on = b
	}
	return on, nil
}

// liveObjects are what was made of --object and its kind, by type and id.
type liveObjects map[string]any

// liveMu guards the live objects of all Envs, which are values that may be copied.
var liveMu sync.Mutex

// Live returns what nodes share under a type and an id, as the members of a throttle group do; build makes it at the first call, from the
// object of that type and id where the user gave one (else from an object without properties).
func (e *Env) Live(typ, id string, build func(obj opts.Object, given bool) (any, error)) (any, error) {
	liveMu.Lock()
	defer liveMu.Unlock()
	key := typ + " " + id
	if v, ok := e.live[key]; ok {
		return v, nil
	}
	obj, given := e.Objects.Get(id)
	given = given && obj.Type == typ
	v, err := build(obj, given)
	if err != nil {
		return nil, err
	}
	if e.live == nil {
		e.live = liveObjects{}
	}
	e.live[key] = v
	return v, nil
}
