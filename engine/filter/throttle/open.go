package throttle

import (
	"context"
	"errors"
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// OpenOptions are the options of a throttle node: a group, or limits of its own; a group that no --object names is made by the first node
// that is in it.
type OpenOptions struct {
	Group string `opt:"throttle-group,alias=group" help:"the throttle-group whose limits are shared"`
	Limits
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[OpenOptions, engine.NoOptions](engine.Driver{
		Name: "throttle", Kind: engine.KindFilter, Help: "limits of requests and bytes per second",
	}, open, nil)
}

func open(ctx context.Context, r *engine.OpenRequest, o *OpenOptions) (engine.Node, error) {
	child, err := r.MustChild(ctx, "file", engine.RoleFiltered)
	if err != nil {
		return nil, err
	}
	g, err := groupOf(r.Env, o)
	if err != nil {
		if unknown := r.Opts.Unused(); unknown != nil {
			err = &engine.Error{Kind: engine.ErrOption, Len: -1, Cause: unknown} // a misspelt limit rather than none
		}
		return nil, errors.Join(err, child.Close())
	}
	return New(child, g), nil
}

func groupOf(env *engine.Env, o *OpenOptions) (*Group, error) {
	if o.Group == "" {
		if !o.given() {
			return nil, errors.Join(o.Check(), engine.Errf(engine.ErrOption, "Please specify a throttle group"))
		}
		if err := o.Check(); err != nil {
			return nil, err
		}
		return NewGroup(&o.Limits), nil
	}
	v, err := env.Live("throttle-group", o.Group, func(obj opts.Object, given bool) (any, error) {
		limits := o.Limits
		switch {
		case !given && !o.given():
			return nil, engine.Errf(engine.ErrOption, "Throttle group '%s' does not exist", o.Group)
		case given:
			var err error
			if limits, err = ObjectLimits(obj); err != nil {
				return nil, err
			}
		}
		if err := limits.Check(); err != nil {
			return nil, err
		}
		return NewGroup(&limits), nil
	})
	if err != nil {
		return nil, err
	}
	g := v.(*Group)
	if o.given() && o.rates() != g.rates {
		return nil, engine.Errf(engine.ErrOption, "Throttle group '%s' has other limits already", o.Group)
	}
	return g, nil
}

// ObjectLimits reads the properties of an --object throttle-group: x-iops-total=… as command lines have them, or limits.iops-total=…
func ObjectLimits(obj opts.Object) (Limits, error) {
	props, err := spelled(obj.Props)
	if err != nil {
		return Limits{}, err
	}
	var l Limits
	if err := errors.Join(props.Bind(&l), props.Unused()); err != nil {
		return Limits{}, &engine.Error{Kind: engine.ErrOption, Len: -1, Cause: err}
	}
	return l, l.Check()
}

// spelled gives the properties the names that Limits has.
func spelled(props *opts.Tree) (*opts.Tree, error) {
	flat := opts.NewTree()
	if props == nil {
		return flat, nil
	}
	for _, key := range props.Keys() {
		v, _ := props.Get(key)
		if key == "limits" && v.Tree() != nil {
			for _, k := range v.Tree().Keys() {
				inner, _ := v.Tree().Get(k)
				if err := flat.Set(k, inner); err != nil {
					return nil, err
				}
			}
			continue
		}
		name, ok := strings.CutPrefix(strings.ReplaceAll(key, "_", "-"), "x-")
		if !ok {
			name = key
		}
		if flat.Has(name) {
			return nil, engine.Errf(engine.ErrOption, "%s is given twice", name)
		}
		if err := flat.Set(name, v); err != nil {
			return nil, err
		}
	}
	return flat, nil
}

// Wrap limits an open node by "iops-total=1000,bps-total=1M,…", what --throttle takes. The reference is the filter's from then on, unless
// there is an error.
func Wrap(ctx context.Context, env *engine.Env, child *engine.Ref, limits string) (*engine.Ref, error) {
	t, err := opts.ParseKeyval(limits)
	if err != nil {
		return nil, err
	}
	return env.Wrap(ctx, "throttle", t, child)
}
