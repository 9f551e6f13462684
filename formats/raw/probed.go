package raw

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// guarded is how much of the start is looked at, in bytes: what QEMU's probing reads.
const guarded = 512

// Probed is an image whose format was guessed: its first sector must go on looking like nothing else.
type Probed struct {
	*Image
	// looksLike names the format that the head of an image would be taken for; raw when none.
	looksLike func(head []byte) string
}

// NewProbed guards an image.
func NewProbed(m *Image, looksLike func(head []byte) string) *Probed {
	m.info.Limits.RequestAlign = max(m.info.Limits.RequestAlign, guarded)
	m.info.Notes = append(m.info.Notes, "Image format was not specified for '"+m.info.Filename+"' and probing guessed raw.\n"+
		"         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n"+
		"         Specify the 'raw' format explicitly to remove the restrictions.")
	return &Probed{m, looksLike}
}

// WriteAt refuses to make the image look like another format.
func (p *Probed) WriteAt(ctx context.Context, b []byte, off int64, flags engine.WriteFlags) error {
	if off < guarded && len(b) > 0 {
		head := b[:min(len(b), guarded)]
		if f := p.looksLike(head); f != "raw" {
			return engine.Errf(engine.ErrPermission, "the write would make the image look like %s, and its format was not given", f)
		}
	}
	return p.Image.WriteAt(ctx, b, off, flags)
}

// CopyFrom leaves the first sector to WriteAt.
func (p *Probed) CopyFrom(ctx context.Context, src engine.Node, srcOff, off, n int64, reflink bool) error {
	if off < guarded {
		return engine.Errf(engine.ErrUnsupported, "the first sector is looked at before it is written")
	}
	return p.Image.CopyFrom(ctx, src, srcOff, off, n, reflink)
}

// Map shifts, and lets writes of the first sector take the slow lane.
func (p *Probed) Map(op engine.Op, off, n int64) (engine.Mapping, bool) {
	if op != engine.OpRead && off < guarded {
		return engine.Mapping{}, false
	}
	return engine.Mapping{Off: off + p.offset, Len: n, Kind: engine.MapData}, true
}
