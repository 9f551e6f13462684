package nbd

import (
	"slices"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// maxPayload bounds one READ or WRITE, in bytes, whatever a server allows.
const maxPayload = wire.DefaultMax

// session is what was agreed on with a server for one connection. It does not change.
type session struct {
	style     string // oldstyle, newstyle, fixed newstyle
	tls       bool
	replies   wire.Replies
	export    wire.Export
	blocks    wire.BlockSizes // Min is zero where the server said nothing
	context   string          // of metadata, empty where there is none
	contextID uint32
	desc      string
}

func (s *session) can(f wire.TransmissionFlags) bool { return s.export.Flags&f == f }

// check refuses what contradicts itself.
func (s *session) check() error {
	if s.export.Flags&wire.HasFlags == 0 {
		s.export.Flags = 0 // proto.md "Transmission flags"
	}
	if m := uint64(s.blocks.Min); m > 1 && s.export.Size%m != 0 {
		return broken("an export of %d bytes in blocks of at least %d", s.export.Size, m)
	}
	return nil
}

// same reports how a session differs from the one that was lost; nil when it does not.
func (s *session) same(old *session) error {
	switch {
	case s.export.Size != old.export.Size:
		return engine.Errf(engine.ErrIO, "the export has %d bytes now, it had %d", s.export.Size, old.export.Size)
	case s.export.Flags != old.export.Flags:
		return engine.Errf(engine.ErrIO, "the export has flags %v now, it had %v", s.export.Flags, old.export.Flags)
	case s.blocks != old.blocks:
		return engine.Errf(engine.ErrIO, "the export has block sizes %v now, it had %v", s.blocks, old.blocks)
	case s.context != old.context:
		return engine.Errf(engine.ErrIO, "the export has no metadata context %s any more", old.context)
	}
	return nil
}

// align is what offsets and lengths of requests are multiples of: what the server says; where it says nothing, 512 does no harm, unless
// the size is odd.
func (s *session) align() uint32 {
	switch {
	case s.blocks.Min != 0:
		return s.blocks.Min
	case s.export.Size%512 != 0:
		return 1
	}
	return 512
}

// limits are the block sizes as the engine has them. proto.md "Block size constraints"
func (s *session) limits() engine.Limits {
	align := s.align()
	lim := engine.Limits{RequestAlign: align, MaxTransfer: maxPayload &^ (align - 1)}
	if m := s.blocks.Max; m != 0 {
		lim.MaxTransfer = min(m, maxPayload) &^ (align - 1)
		lim.OptTransfer = s.blocks.Pref
	}
	// Lengths without a payload: what fits a compact header and the servers' own signed counters.
	lim.MaxDiscard = (1 << 30) &^ int64(align-1)
	lim.MaxZero = int64(lim.MaxTransfer)
	if s.replies == wire.Extended {
		lim.MaxDiscard, lim.MaxZero = 1<<40, 1<<40
	}
	return lim
}

func (s *session) caps(write bool) engine.Caps {
	var c engine.Caps
	if !write {
		return c
	}
	c = engine.CapWritable
	for f, cap := range map[wire.TransmissionFlags]engine.Caps{
		wire.SendFUA: engine.CapFUA, wire.SendTrim: engine.CapDiscard, wire.SendWriteZeroes: engine.CapZero | engine.CapUnmapZero,
	} {
		if s.can(f) {
			c |= cap
		}
	}
	return c
}

// Details are the facts of an export, for `info`.
type Details struct {
	Negotiation string // oldstyle, newstyle or fixed newstyle
	TLS         bool
	Replies     string   // simple, structured or extended
	Flags       []string // of the export, without NBD_FLAG_
	BlockSizes  *wire.BlockSizes
	Context     string // of metadata
	Description string
}

func (s *session) details() Details {
	d := Details{
		Negotiation: s.style, TLS: s.tls, Replies: [...]string{"simple", "structured", "extended"}[s.replies], Context: s.context,
		Description: s.desc,
	}
	for f := wire.HasFlags << 1; f != 0; f <<= 1 {
		if s.can(f) {
			d.Flags = append(d.Flags, f.String())
		}
	}
	slices.Sort(d.Flags)
	if s.blocks.Min != 0 {
		b := s.blocks
		d.BlockSizes = &b
	}
	return d
}
