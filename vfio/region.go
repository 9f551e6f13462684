package vfio

import (
	"encoding/binary"
	"fmt"
)

// area is a mappable part of a region, relative to the region's start.
type area struct{ offset, size uint64 }

// region is what both transports say about a BAR or the configuration space.
type region struct {
	flags  uint32
	size   uint64
	offset uint64 // of the region in its file
	areas  []area // what can be mapped; empty when nothing can
}

const regionInfoSize = 32

// parseRegion decodes a struct vfio_region_info with its capability chain.
func parseRegion(info []byte) (region, error) {
	if len(info) < regionInfoSize {
		return region{}, fmt.Errorf("region info of %d bytes", len(info))
	}
	le := binary.LittleEndian
	r := region{flags: le.Uint32(info[4:]), size: le.Uint64(info[16:]), offset: le.Uint64(info[24:])}
	if r.flags&regionFlagMmap == 0 || r.size == 0 {
		return r, nil
	}
	var first uint32
	if r.flags&regionFlagCaps != 0 {
		first = le.Uint32(info[12:])
	}
	caps, err := capabilities(info, first)
	if err != nil {
		return region{}, err
	}
	sparse := false
	for _, c := range caps {
		if c.id != regionCapSparseMmap {
			continue
		}
		sparse = true
		if r.areas, err = parseSparse(c.body, r.size); err != nil {
			return region{}, err
		}
	}
	if !sparse {
		r.areas = []area{{0, r.size}}
	}
	return r, nil
}

func parseSparse(body []byte, size uint64) ([]area, error) {
	le := binary.LittleEndian
	if len(body) < 8 {
		return nil, fmt.Errorf("sparse area capability of %d bytes", len(body))
	}
	n := uint64(le.Uint32(body))
	if n > uint64(len(body)-8)/16 {
		return nil, fmt.Errorf("%d sparse areas in %d bytes", n, len(body))
	}
	areas := make([]area, 0, n)
	for i := range n {
		a := area{le.Uint64(body[8+16*i:]), le.Uint64(body[16+16*i:])}
		if a.size == 0 {
			continue
		}
		if a.offset > size || a.size > size-a.offset {
			return nil, fmt.Errorf("sparse area %#x+%#x outside a region of %#x", a.offset, a.size, size)
		}
		areas = append(areas, a)
	}
	return areas, nil
}

// contains says which mappable area holds off..off+n.
func (r *region) contains(off, n uint64) (area, bool) {
	for _, a := range r.areas {
		if off >= a.offset && n <= a.size && off-a.offset <= a.size-n {
			return a, true
		}
	}
	return area{}, false
}
