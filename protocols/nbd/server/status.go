package server

import (
	"context"
	"errors"
	"strings"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// errStop ends an iteration.
var errStop = errors.New("enough")

// appendStatus appends the whole reply to BLOCK_STATUS: a chunk for each context. payload is what came with the request, or nil. At most
// statusRoom bytes are appended, and as many runs as fit: a client asks again for the rest.
func (s *session) appendStatus(ctx context.Context, b []byte, r *wire.Request, payload []byte) []byte {
	n, list := r.Len, s.contexts
	if r.Flags&wire.FlagPayloadLen != 0 {
		var e wire.Errno
		if n, list, e = s.statusPayload(r, payload); e != wire.OK {
			return s.appendEnd(b, r, e)
		}
	}
	start := len(b)
	room := statusRoom/len(list) - wire.MaxReplySize - wire.StatusExtSize
	most := room / wire.DescriptorExt
	if r.Flags&wire.FlagReqOne != 0 {
		most = 1
	}
	most = max(most, 1)
	runs := make([]wire.Descriptor, 0, min(most, 64))
	for i, c := range list {
		var err error
		if runs, err = s.runs(ctx, c, int64(r.Off)+s.exp.Offset, int64(n), most, runs[:0]); err != nil {
			return s.appendEnd(b[:start], r, errnoOf(err))
		}
		ext := s.extended()
		h := wire.Reply{Cookie: r.Cookie, Off: r.Off, Type: wire.ChunkBlockStatus, Len: uint64(wire.StatusSize + len(runs)*wire.DescriptorSize)}
		if ext {
			h.Type, h.Len = wire.ChunkBlockStatusExt, uint64(wire.StatusExtSize+len(runs)*wire.DescriptorExt)
		}
		if i == len(list)-1 {
			h.Flags = wire.FlagDone
		}
		at := len(b)
		b = append(b, make([]byte, wire.MaxReplySize)...)
		b = b[:at+h.Put(b[at:], s.replies)]
		b = wire.AppendStatus(b, ext, c.id, runs...)
	}
	return b
}

// statusPayload reads the payload: how far, and which of the contexts that were set, none of them twice.
func (s *session) statusPayload(r *wire.Request, payload []byte) (uint64, []metaContext, wire.Errno) {
	p, err := wire.ParseStatusPayload(payload)
	size := uint64(s.exp.size())
	if err != nil || p.Len == 0 || r.Off > size || p.Len > size-r.Off {
		return 0, nil, wire.EINVAL
	}
	var list []metaContext
	for i := range p.Count() {
		id := p.ID(i)
		if id == 0 || id > uint32(len(s.contexts)) {
			return 0, nil, wire.EINVAL
		}
		c := s.contexts[id-1]
		for _, have := range list {
			if have.id == c.id {
				return 0, nil, wire.EINVAL
			}
		}
		list = append(list, c)
	}
	return p.Len, list, wire.OK
}

// runs appends the runs of a context from off, adjacent ones of one status as one.
func (s *session) runs(ctx context.Context, c metaContext, off, n int64, most int, dst []wire.Descriptor) ([]wire.Descriptor, error) {
	if !s.extended() {
		n = min(n, 1<<32-1)
	}
	full := false
	add := func(n int64, status uint64) bool {
		if k := len(dst) - 1; k >= 0 && dst[k].Status == status {
			dst[k].Len += uint64(n)
			return true
		}
		if full = len(dst) == most; full {
			return false
		}
		dst = append(dst, wire.Descriptor{Len: uint64(n), Status: status})
		return true
	}
	if name, ok := strings.CutPrefix(c.name, wire.ContextBitmap); ok {
		return s.dirtyRuns(ctx, name, off, n, add, &dst)
	}
	status := allocationStatus
	if c.name == wire.ContextDepth {
		status = depthStatus
	}
	var extents []engine.Extent
	for n > 0 && !full {
		var err error
		if extents, err = s.exp.Root.Extents(ctx, off, n, extents[:0]); err != nil {
			if len(dst) > 0 {
				return dst, nil
			}
			return dst, err
		}
		for _, e := range extents {
			if !add(e.Len, status(e)) {
				return dst, nil
			}
			off, n = off+e.Len, n-e.Len
		}
	}
	return dst, nil
}

// allocationStatus is base:allocation. What is not stored is a hole, whatever it reads as.
func allocationStatus(e engine.Extent) uint64 {
	var st uint64
	if e.Flags&engine.ExtentData == 0 {
		st |= wire.StateHole
	}
	if e.Flags&engine.ExtentZero != 0 {
		st |= wire.StateZero
	}
	return st
}

// depthStatus is qemu:allocation-depth: 0 where no layer has anything, else which layer has it, counted from 1.
func depthStatus(e engine.Extent) uint64 {
	if e.Flags&engine.ExtentAllocated == 0 {
		return 0
	}
	return uint64(e.Depth) + 1
}

// dirtyRuns describes [off, off+n) of a dirty bitmap.
func (s *session) dirtyRuns(
	ctx context.Context, name string, off, n int64, add func(int64, uint64) bool, dst *[]wire.Descriptor,
) ([]wire.Descriptor, error) {
	at, end := off, off+n
	err := s.exp.Marks.DirtyRanges(ctx, name, func(o, k int64) error {
		from, to := max(o, at), min(o+k, end)
		if o >= end {
			return errStop
		}
		if from >= to {
			return nil
		}
		if from > at && !add(from-at, 0) || !add(to-from, wire.StateDirty) {
			at = end
			return errStop
		}
		at = to
		return nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return *dst, err
	}
	if at < end {
		add(end-at, 0)
	}
	return *dst, nil
}
