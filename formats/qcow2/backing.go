package qcow2

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// Backing returns the opened backing file, nil when there is none.
func (m *Image) Backing() *engine.Ref { return m.backing.Load() }

// BackingName returns what the image says of its backing file.
func (m *Image) BackingName() (name, format string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hdr.BackingFile == "" {
		return "", ""
	}
	return m.hdr.BackingFile, m.hdr.Text(ExtBackingFormat)
}

// ChangeBacking rewrites the reference to the backing file; an empty name removes it.
func (m *Image) ChangeBacking(ctx context.Context, name, format string) error {
	switch {
	case len(name) > maxBackingName:
		return engine.Errf(engine.ErrRange, "Backing file name too long")
	case m.rawData() && name != "":
		return engine.Errf(engine.ErrUnsupported, "Cannot set a backing file for images with a raw external data file")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.writable {
		return &engine.Error{Kind: engine.ErrReadOnly, Len: -1}
	}
	if err := m.checkWritable(); err != nil {
		return err
	}
	// What was written with the old content in mind comes first.
	if err := m.commit(ctx); err != nil {
		return err
	}
	return m.rewriteHeader(ctx, func(h *Header) {
		h.BackingFile = name
		var data []byte
		if name != "" && format != "" {
			data = []byte(format)
		}
		h.SetExtension(ExtBackingFormat, data)
	})
}

// SetBacking exchanges the opened backing file, nil for none. The old one is closed when nobody can be reading it any more, unless it is
// the caller's: it gets closed by its own reference.
func (m *Image) SetBacking(ref *engine.Ref) {
	old := m.backing.Swap(ref)
	engine.GraphChanged()
	if old != nil && old != ref {
		m.domain.Defer(func() { _ = old.Close() })
	}
}

// MakeEmpty lets everything be unallocated again, so that the backing file shows: what commit does at its end.
func (m *Image) MakeEmpty(ctx context.Context) error {
	m.gate.Lock()
	defer m.gate.Unlock()
	if err := m.beforeChange(ctx); err != nil {
		return err
	}
	if m.dataFile && m.hdr.Autoclear&AutoclearDataRaw != 0 {
		return engine.Errf(engine.ErrUnsupported, "a raw external data file cannot be emptied")
	}
	end := (m.Size() + m.clusterMask) &^ m.clusterMask
	if err := m.discardClusters(ctx, 0, end, freeSnapshot, true); err != nil {
		return err
	}
	m.mu.Lock()
	keep := len(m.snaps) > 0
	m.mu.Unlock()
	if !keep {
		if err := m.dropTables(ctx, 0); err != nil {
			return err
		}
	}
	return m.trimFile(ctx)
}
