package qcow2

import (
	"context"
	"errors"

	"github.com/blkbench/blkbench/engine"
)

// loadSnapshots reads the snapshot table.
func (m *Image) loadSnapshots(ctx context.Context, tolerant bool) error {
	count := int(m.hdr.SnapshotCount)
	if count == 0 {
		return nil
	}
	off := int64(m.hdr.SnapshotsOffset)
	size := min(max(0, m.file.Size()-off), maxSnapshotTable)
	for n := min(size, 64<<10); ; n = min(size, n*4) {
		b := make([]byte, n)
		if err := m.readFile(ctx, b, off); err != nil {
			return err
		}
		list, used, err := ParseSnapshots(b, min(count, maxSnapshots), m.hdr.Size)
		if errors.Is(err, errShort) {
			if n < size {
				continue
			}
			err = engine.Errf(engine.ErrCorrupt, "snapshot table ends past the end of the file")
		}
		if err != nil && !tolerant {
			return err
		}
		m.snaps, m.snapLen = list, int64(used)
		return nil
	}
}
