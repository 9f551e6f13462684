package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/opts"
)

// open opens one target: a path is taken as it is (no format is looked for), anything else is a tree of the engine's.
func (w *worker) open(name string) (*engine.Ref, error) {
	j := w.job
	t, err := targetTree(j, name)
	if err != nil {
		return nil, err
	}
	flags := openFlags(j)
	flags.Write = flags.Write || (w.replay != nil && w.replay.writes)
	ref, err := w.run.cfg.Env.Open(w.ctx, t, flags)
	limits := w.run.cfg.Plan.Run.Throttle
	if err != nil || limits == "" {
		return ref, err
	}
	limited, err := throttled(w.ctx, w.run.cfg.Env, ref, limits)
	if err != nil {
		return nil, errors.Join(err, ref.Close())
	}
	return limited, nil
}

// throttled puts limits over a target. All targets of a run are in one group, unless the limits name another.
func throttled(ctx context.Context, env *engine.Env, ref *engine.Ref, limits string) (*engine.Ref, error) {
	t, err := opts.ParseKeyval(limits)
	if err != nil {
		return nil, fmt.Errorf("--throttle: %w", err)
	}
	if !t.Has("throttle-group") && !t.Has("group") {
		if err := t.Set("throttle-group", "run"); err != nil {
			return nil, err
		}
	}
	return env.Wrap(ctx, "throttle", t, ref)
}

func targetTree(j *fiojob.Job, name string) (*opts.Tree, error) {
	if j.Engine.Kind == fiojob.EngineNull {
		t := opts.NewTree()
		size := j.Files.Size.Bytes
		if size == 0 {
			size = 1 << 40
		}
		return t, errors.Join(t.Set("driver", "null-co"), t.Set("size", size+j.Files.Offset.Bytes), t.Set("read-zeroes", false))
	}
	if strings.HasPrefix(name, "driver=") || strings.HasPrefix(name, "file.driver=") {
		return opts.ParseImageOpts(name)
	}
	if fiojob.IsTarget(name) {
		return opts.ParseName(name)
	}
	t := opts.NewTree()
	if j.Engine.Kind == fiojob.EngineUringCmd {
		return t, errors.Join(t.Set("driver", "io_uring_cmd"), t.Set("filename", name))
	}
	if err := errors.Join(t.Set("driver", "file"), t.Set("filename", name), t.Set("locking", "off")); err != nil {
		return nil, err
	}
	return t, nil
}

// openFlags turns a job's keys into what the drivers are asked for.
func openFlags(j *fiojob.Job) engine.OpenFlags {
	e := &j.Engine
	f := engine.OpenFlags{
		Write:   j.RW.Kind.Writes() || j.RW.Kind.Trims(),
		Cache:   engine.Cache{Direct: j.RW.Direct},
		Discard: true,
		Leaf: engine.LeafOptions{
			NoFixedBufs: given(j, "fixedbufs") && !e.FixedBufs, NoRegisterFiles: given(j, "registerfiles") && !e.RegisterFiles,
			SQThreadPoll: e.SQPoll, SQThreadCPU: e.SQPollCPU, Uncached: e.Uncached, NoWait: e.NoWait, ForceAsync: e.ForceAsync,
		},
	}
	switch e.Kind {
	case fiojob.EngineThreads:
		f.Leaf.Engine = "psync"
	case fiojob.EngineUring:
		f.Leaf.Engine = "io_uring"
	default:
	}
	return f
}

// given reports whether the user set a key, whatever to.
func given(j *fiojob.Job, key string) bool {
	for _, list := range [][]fiojob.KV{j.Options, j.Globals} {
		for _, kv := range list {
			if kv.Key == key {
				return true
			}
		}
	}
	return false
}

// describe collects what a report says about a target.
func describe(name string, ref *engine.Ref, size int64) result.Target {
	info := ref.Info()
	t := result.Target{Name: name, Driver: info.Driver, Size: size, Allocated: -1, Unwritten: -1}
	t.Layers, t.Path = layersOf(ref)
	add := func(k, v string) { t.Facts = append(t.Facts, result.KV{Key: k, Value: v}) }
	t.InMemory = info.Caps.Has(engine.CapVolatile)
	lim := info.Limits
	if lim.LogicalBlock > 0 {
		add("logical block", fmt.Sprint(lim.LogicalBlock))
	}
	if lim.PhysicalBlock > 0 {
		add("physical block", fmt.Sprint(lim.PhysicalBlock))
	}
	if lim.RequestAlign > 1 {
		add("request alignment", fmt.Sprint(lim.RequestAlign))
	}
	var st unix.Statfs_t
	if t.Path != "" && unix.Statfs(t.Path, &st) == nil && st.Type == unix.TMPFS_MAGIC {
		t.InMemory = true
	}
	for _, note := range info.Notes {
		add("note", note)
	}
	return t
}

// layersOf lists the drivers from the top to the storage, and the file or device there.
func layersOf(ref *engine.Ref) (layers []string, path string) {
	for ref != nil {
		info := ref.Info()
		layers = append(layers, info.Driver)
		p, ok := ref.Node().(engine.Parent)
		if !ok || len(p.Children()) == 0 {
			if strings.HasPrefix(info.Driver, "host_") || info.Driver == "file" {
				path = info.Filename
			}
			return layers, path
		}
		ref = p.Children()[0].Ref
	}
	return layers, path
}

// exists reports whether a path is there and is not a directory.
func exists(path string) bool {
	st, err := os.Stat(path)
	return err == nil && !st.IsDir()
}
