package qcow2

import (
	"context"
	"errors"

	"github.com/blkbench/blkbench/engine"
)

// ReadHeader reads and parses the header of an image.
func ReadHeader(ctx context.Context, file *engine.Ref, tolerant bool) (*Header, error) {
	size := file.Size()
	for n := int64(4096); ; n *= 16 {
		b := make([]byte, min(n, max(size, 0)))
		if err := readPadded(ctx, file, b, 0); err != nil {
			return nil, err
		}
		h, err := ParseHeader(b, tolerant)
		if !errors.Is(err, errShort) {
			return h, err
		}
		if int64(len(b)) == size {
			return nil, engine.Errf(engine.ErrCorrupt, "header ends past the end of the file")
		}
	}
}

// writeHeaderFields writes the size, the roots, and the features and refcount width where the version has them: one small write inside the
// first sector. mu is held.
func (m *Image) writeHeaderFields(ctx context.Context) error {
	h := &m.hdr
	b := be.AppendUint64(nil, h.Size) // 24
	b = be.AppendUint32(b, h.CryptMethod)
	b = be.AppendUint32(b, h.L1Size)
	b = be.AppendUint64(b, h.L1TableOffset)
	b = be.AppendUint64(b, h.RefcountTableOffset)
	b = be.AppendUint32(b, h.RefcountTableClusters)
	b = be.AppendUint32(b, h.SnapshotCount)
	b = be.AppendUint64(b, h.SnapshotsOffset) // 64
	if h.Version >= 3 {
		b = be.AppendUint64(b, h.Incompatible) // 72
		b = be.AppendUint64(b, h.Compatible)
		b = be.AppendUint64(b, h.Autoclear)
		b = be.AppendUint32(b, h.RefcountOrder) // 96
	}
	return m.file.WriteAt(ctx, b, 24, 0)
}

// switchHeader changes sizes and roots durably: what they lead to is durable already. When that does not work the old header is put back;
// when that does not work either the image takes no more writes, since nobody knows which header is on the disk. Either way what the new
// header would have led to may be given back. mu is held.
func (m *Image) switchHeader(ctx context.Context, change func(h *Header)) error {
	old := m.hdr
	change(&m.hdr)
	err := m.writeHeaderFields(ctx)
	if err == nil {
		if err = m.file.Flush(ctx); err == nil {
			return nil
		}
	}
	m.hdr = old
	back := m.writeHeaderFields(ctx)
	if back == nil {
		back = m.file.Flush(ctx)
	}
	if back != nil {
		m.broken.Store(true)
		m.fastWrite.Store(false)
	}
	return err
}

// writeFeatures writes the three feature words. mu is held.
func (m *Image) writeFeatures(ctx context.Context) error {
	b := be.AppendUint64(nil, m.hdr.Incompatible)
	b = be.AppendUint64(b, m.hdr.Compatible)
	b = be.AppendUint64(b, m.hdr.Autoclear)
	return m.file.WriteAt(ctx, b, 72, 0)
}

// setIncompatible sets a feature bit and makes it durable. mu is held.
func (m *Image) setIncompatible(ctx context.Context, bit uint64) error {
	if m.hdr.Incompatible&bit != 0 {
		return nil
	}
	m.hdr.Incompatible |= bit
	err := m.writeFeatures(ctx)
	if err == nil {
		err = m.file.Flush(ctx)
	}
	if err != nil {
		m.hdr.Incompatible &^= bit
	}
	return err
}

// clearIncompatible clears a feature bit; all else is durable already. mu is held.
func (m *Image) clearIncompatible(ctx context.Context, bit uint64) error {
	if m.hdr.Incompatible&bit == 0 {
		return nil
	}
	m.hdr.Incompatible &^= bit
	err := m.writeFeatures(ctx)
	if err == nil {
		err = m.file.Flush(ctx)
	}
	if err != nil {
		m.hdr.Incompatible |= bit
	}
	return err
}

// setAutoclear changes an autoclear bit durably; version 2 has none. mu is held.
func (m *Image) setAutoclear(ctx context.Context, bit uint64, on bool) error {
	old := m.hdr.Autoclear
	m.hdr.Autoclear &^= bit
	if on {
		m.hdr.Autoclear |= bit
	}
	if m.hdr.Autoclear == old || m.version < 3 {
		return nil
	}
	err := m.writeFeatures(ctx)
	if err == nil {
		err = m.file.Flush(ctx)
	}
	if err != nil {
		m.hdr.Autoclear = old
	}
	return err
}

// sector is what a disk writes as a whole, in bytes.
const sector = 512

// rewriteHeader writes the header with its extensions and the backing file's name. All that is in force only by the first sector is
// written first, to places that the old header does not use; the first sector switches. The feature names go when the extensions would
// not fit the first sector with them. mu is held.
func (m *Image) rewriteHeader(ctx context.Context, change func(h *Header)) error {
	h := m.hdr
	h.Extensions = append([]Extension(nil), h.Extensions...)
	change(&h)
	b, err := h.Marshal()
	if err != nil || h.extensionsEnd() > sector {
		slim := h
		slim.Extensions = append([]Extension(nil), h.Extensions...)
		slim.SetExtension(ExtFeatureNames, nil)
		sb, serr := slim.Marshal()
		if err != nil && serr != nil {
			return err
		}
		if serr == nil && (err != nil || slim.extensionsEnd() <= sector) {
			h, b = slim, sb
		}
	}
	b = h.placeName(b, &m.hdr)
	if len(b) > sector {
		if err := m.file.WriteAt(ctx, b[sector:], sector, 0); err != nil {
			return err
		}
		if err := m.file.Flush(ctx); err != nil {
			return err
		}
	}
	if err := m.file.WriteAt(ctx, b[:min(len(b), sector)], 0, 0); err != nil {
		return err
	}
	if err := m.file.Flush(ctx); err != nil {
		return err
	}
	m.hdr = h
	return nil
}

// extensionsEnd returns where the extension area of a marshalled header ends, with its end mark.
func (h *Header) extensionsEnd() uint64 {
	end := uint64(h.HeaderLength) + 8
	for _, e := range h.Extensions {
		end += 8 + (uint64(len(e.Data))+7)&^7
	}
	return end
}

// placeName moves the backing file's name to where neither the first sector's edge nor the old header's name is in the way, if the
// cluster has room.
func (h *Header) placeName(b []byte, old *Header) []byte {
	if h.BackingOffset == 0 {
		return b
	}
	n, room := uint64(h.BackingSize), uint64(1)<<h.ClusterBits
	at, oldAt, oldEnd := h.BackingOffset, old.BackingOffset, old.BackingOffset+uint64(old.BackingSize)
	if at+n > sector && at < sector {
		at = sector
	}
	if at == h.BackingOffset && at+n <= sector {
		return b
	}
	same := old.BackingFile == h.BackingFile && oldAt >= max(sector, h.extensionsEnd())
	switch {
	case same:
		at = oldAt
	case oldAt != 0 && at < oldEnd && oldAt < at+n:
		at = (oldEnd + 7) &^ 7
	}
	if at+n > room {
		return b
	}
	out := make([]byte, at+n)
	copy(out, b[:h.BackingOffset])
	copy(out[at:], h.BackingFile)
	be.PutUint64(out[8:], at)
	h.BackingOffset = at
	return out
}
