package imgcmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/throttle"
)

// openSources opens the sources, and the snapshot that was asked for.
func (x *conversion) openSources(ctx context.Context) error {
	flags := engine.OpenFlags{ForceShare: x.o.ForceShare}
	if x.o.SourceCache != nil {
		var err error
		if flags.Cache, err = ParseCache("source cache", *x.o.SourceCache); err != nil {
			return err
		}
	}
	for _, name := range x.names {
		ref, err := Open(ctx, x.eng, &Image{Name: name, Format: deref(x.o.Format), ImageOpts: x.o.ImageOpts, Flags: flags, Probe: x.env.Link})
		if err != nil {
			return err
		}
		x.sources = append(x.sources, ref)
	}
	if x.o.Snapshot != nil {
		if err := x.openSnapshot(ctx, *x.o.Snapshot); err != nil {
			return err
		}
	}
	x.first = x.sources[0]
	return x.throttle(ctx)
}

// throttle puts --throttle's filter over the sources.
func (x *conversion) throttle(ctx context.Context) error {
	if x.o.Throttle == nil {
		return nil
	}
	for i, ref := range x.sources {
		w, err := throttle.Wrap(ctx, x.eng, ref, *x.o.Throttle)
		if err != nil {
			return fmt.Errorf("--throttle=%s: %w", *x.o.Throttle, err)
		}
		x.sources[i] = w
	}
	return nil
}

func (x *conversion) openSnapshot(ctx context.Context, text string) error {
	id, byID, err := snapshotParam(text)
	if err != nil {
		x.errorf("%v", err)
		return fmt.Errorf("Failed in parsing snapshot param '%s'", text) //nolint:staticcheck // qemu-img's words
	}
	if len(x.sources) > 1 {
		return errors.New("No support for concatenating multiple snapshot") //nolint:staticcheck // qemu-img's words
	}
	s, ok := x.sources[0].Node().(engine.Snapshotter)
	if !ok {
		return fmt.Errorf("Failed to load snapshot: Block format '%s' used by device '' does not support temporarily loading internal snapshots", //nolint:staticcheck // qemu-img's words
			x.sources[0].Info().Driver)
	}
	list, err := s.Snapshots(ctx)
	if err != nil {
		return err
	}
	known := slices.ContainsFunc(list, func(n engine.Snapshot) bool { return n.ID == id || (!byID && n.Name == id) })
	if !known {
		return errors.New("Failed to load snapshot: Can't find snapshot") //nolint:staticcheck // qemu-img's words
	}
	if err := s.OpenSnapshot(ctx, id); err != nil {
		return fmt.Errorf("Failed to load snapshot: %s", Reason(err)) //nolint:staticcheck // qemu-img's words
	}
	return nil
}

// snapshotParam reads -l: an ID or a name, or snapshot.id=…,snapshot.name=….
func snapshotParam(text string) (id string, byID bool, err error) {
	if !strings.HasPrefix(text, "snapshot.") {
		return text, false, nil
	}
	list, err := parseSettings([]string{text})
	if err != nil {
		return "", false, err
	}
	for _, s := range list {
		switch s.key {
		case "snapshot.id":
			id, byID = s.value, true
		case "snapshot.name":
			if !byID {
				id = s.value
			}
		default:
			return "", false, fmt.Errorf("Invalid parameter '%s'", s.key) //nolint:staticcheck // qemu-img's words
		}
	}
	return id, byID, nil
}
