package convert

import (
	"context"

	"github.com/blkbench/blkbench/engine"
)

// Source is a window of a node.
type Source struct {
	Ref *engine.Ref
	Off int64 // bytes
	Len int64 // bytes; negative: up to the end
}

// part is a source at its place in a side.
type part struct {
	ref  *engine.Ref
	from int64 // bytes in the side
	off  int64 // bytes in ref
	n    int64
}

func (p *part) end() int64 { return p.from + p.n }

// side is what is read: parts one behind the other. What lies between and beyond them reads as zeroes.
type side struct {
	parts []part
	size  int64
}

// newSide puts sources one behind the other, each from a multiple of align on.
func newSide(align int64, sources ...Source) *side {
	s := new(side)
	for _, src := range sources {
		if src.Ref == nil {
			continue
		}
		n := max(0, src.Ref.Size()-src.Off)
		if src.Len >= 0 {
			n = min(n, src.Len)
		}
		s.parts = append(s.parts, part{src.Ref, s.size, src.Off, n})
		s.size = (s.size + n + align - 1) / align * align
	}
	return s
}

// at returns the part that an offset is in, and how many bytes of it follow; -1 and as far as it goes between parts and beyond the end,
// where all is zeroes.
func (s *side) at(off int64) (int, int64) {
	for i := range s.parts {
		switch p := &s.parts[i]; {
		case off < p.from:
			return -1, p.from - off
		case off < p.end():
			return i, p.end() - off
		}
	}
	return -1, 1<<63 - 1 - off
}

// read fills p by the blocking plane.
func (s *side) read(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		i, n := s.at(off)
		n = min(n, int64(len(p)))
		if i < 0 {
			clear(p[:n])
		} else if err := s.parts[i].ref.ReadAt(ctx, p[:n], off-s.parts[i].from+s.parts[i].off); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// status is what a planner wants to know of a run.
type status struct {
	flags engine.ExtentFlags
	depth int
	n     int64 // bytes from the offset asked for
}

func (s status) zero() bool { return s.flags&engine.ExtentZero != 0 }

// stored reports whether the topmost layer itself decides the content.
func (s status) stored() bool { return s.depth == 0 && s.flags&engine.ExtentAllocated != 0 }

// statusFlags are those that tell one status from another.
const statusFlags = engine.ExtentData | engine.ExtentZero | engine.ExtentAllocated | engine.ExtentOffset

// cursor walks the extents of a side from start to end; each range is asked for once.
type cursor struct {
	side *side
	list []engine.Extent
	part int
	next int // of list
}

// run returns the status at off; offsets never go back. Runs of one status are as long as one answer of the node makes them.
func (c *cursor) run(ctx context.Context, off int64) (status, error) {
	i, n := c.side.at(off)
	if i < 0 {
		return status{flags: engine.ExtentZero | engine.ExtentEOF, n: n}, nil
	}
	p := &c.side.parts[i]
	at := off - p.from + p.off
	for {
		if i == c.part && c.next < len(c.list) {
			e := &c.list[c.next]
			if at >= e.Off+e.Len {
				c.next++
				continue
			}
			if at >= e.Off {
				return c.merged(at, n), nil
			}
		}
		list, err := p.ref.Extents(ctx, at, n, c.list[:0])
		if err != nil {
			return status{}, err
		}
		c.list, c.part, c.next = list, i, 0
	}
}

// merged joins the current extent with those after it that have the same status.
func (c *cursor) merged(at, limit int64) status {
	e := &c.list[c.next]
	s := status{flags: e.Flags & statusFlags, depth: e.Depth, n: e.Off + e.Len - at}
	for _, next := range c.list[c.next+1:] {
		if next.Flags&statusFlags != s.flags || next.Depth != s.depth || s.n >= limit {
			break
		}
		s.n += next.Len
	}
	s.n = min(s.n, limit)
	return s
}
