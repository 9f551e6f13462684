package imgcmd

import (
	"context"
	"time"

	"github.com/blkbench/blkbench/engine"
)

type snapshotFlags struct {
	helpOption
	List   bool    `short:"l" help:"list the snapshots; so does the verb alone"`
	Create *string `short:"c" arg:"NAME" help:"take a snapshot"`
	Apply  *string `short:"a" arg:"ID|NAME" help:"go back to a snapshot"`
	Delete *string `short:"d" arg:"NAME" help:"delete a snapshot"`
	quietOption
	objectOption
	imageOption
	shareOption
}

// snapshotOwn is what the verb has besides under our own name, where a format is not probed for writing.
type snapshotOwn struct {
	snapshotFlags
	Format *string `short:"f" arg:"FORMAT" help:"format of the image; to be given where it is changed"`
}

func snapshotVerb() command {
	const usage, summary = "FILENAME", "lists, takes, applies and deletes internal snapshots"
	own := define("snapshot", usage, summary, "Applying a snapshot loses what was written since, unless another snapshot has it.",
		func(ctx context.Context, c *call, o *snapshotOwn) int {
			return snapshot(ctx, c, &o.snapshotFlags, deref(o.Format))
		})
	link := define("snapshot", usage, summary, "",
		func(ctx context.Context, c *call, o *snapshotFlags) int { return snapshot(ctx, c, o, "") })
	runOwn := own.run
	own.run = func(ctx context.Context, env *Env, args []string) int {
		if env.Link {
			return link.run(ctx, env, args)
		}
		return runOwn(ctx, env, args)
	}
	return own
}

func snapshot(ctx context.Context, c *call, o *snapshotFlags, format string) int {
	actions := 0
	for _, f := range c.found {
		switch f.Option.Short {
		case "l", "c", "a", "d":
			if actions++; actions > 1 {
				return c.tryHelp("Cannot mix '-l', '-a', '-c', '-d'")
			}
		}
	}
	if len(c.args) != 1 {
		return c.tryHelp("Expecting one image file name")
	}
	list := o.Create == nil && o.Apply == nil && o.Delete == nil
	ref, ok := c.openImage(ctx, &Image{
		Name: c.args[0], Format: format, ImageOpts: o.ImageOpts,
		Flags: engine.OpenFlags{Write: !list, ForceShare: o.ForceShare, Discard: true, NoBacking: c.eng.References != engine.ReferencesAllow},
	})
	if !ok {
		return exitFailed
	}
	code := exitOK
	s, _ := ref.Node().(engine.Snapshotter)
	switch {
	case list && s != nil:
		code = c.listSnapshots(ctx, s)
	case list:
	case o.Create != nil:
		code = c.createSnapshot(ctx, s, *o.Create)
	case o.Apply != nil:
		code = c.applySnapshot(ctx, s, *o.Apply)
	default:
		code = c.deleteSnapshot(ctx, s, *o.Delete)
	}
	if closed := c.close(ref); code == exitOK {
		code = closed
	}
	return code
}

func (c *call) listSnapshots(ctx context.Context, s engine.Snapshotter) int {
	list, err := s.Snapshots(ctx)
	if err != nil {
		return c.fail("%s", Reason(err))
	}
	if len(list) > 0 {
		writeSnapshots(c.env.Stdout, list)
	}
	return exitOK
}

func (c *call) createSnapshot(ctx context.Context, s engine.Snapshotter, name string) int {
	err := engine.Errf(engine.ErrUnsupported, "no snapshots")
	if s != nil {
		now := time.Now()
		err = s.CreateSnapshot(ctx, engine.Snapshot{Name: name, DateSec: now.Unix(), DateNsec: int32(now.Nanosecond() / 1000 * 1000)})
	}
	if err != nil {
		errno := engine.Errno(err)
		return c.fail("Could not create snapshot '%s': %d (%s)", name, -int(errno), strerror(errno))
	}
	return exitOK
}

func (c *call) applySnapshot(ctx context.Context, s engine.Snapshotter, name string) int {
	if s == nil {
		return c.fail("Could not apply snapshot '%s': Block driver does not support snapshots", name)
	}
	if err := s.ApplySnapshot(ctx, name); err != nil {
		return c.fail("Could not apply snapshot '%s': Failed to load snapshot: %s", name, strerror(engine.Errno(err)))
	}
	return exitOK
}

// deleteSnapshot finds the snapshot by its name only.
func (c *call) deleteSnapshot(ctx context.Context, s engine.Snapshotter, name string) int {
	var list []engine.Snapshot
	if s != nil {
		var err error
		if list, err = s.Snapshots(ctx); err != nil {
			return c.fail("%s", Reason(err))
		}
	}
	for i := range list {
		if list[i].Name != name {
			continue
		}
		if err := s.DeleteSnapshot(ctx, list[i].ID); err != nil {
			return c.fail("Could not delete snapshot '%s': %s", name, Reason(err))
		}
		return exitOK
	}
	return c.fail("Could not delete snapshot '%s': snapshot not found", name)
}
