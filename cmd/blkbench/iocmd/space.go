package iocmd

import (
	"context"
	"slices"
	"time"

	"github.com/blkbench/blkbench/cmd/blkbench/imgcmd"
	"github.com/blkbench/blkbench/engine"
)

func flush(ctx context.Context, c *call) bool {
	if err := c.s.ref.Flush(ctx); err != nil {
		c.s.errorf("flush failed: %s", reason(err))
		return false
	}
	return true
}

func discard(ctx context.Context, c *call) bool {
	off, n, ok := c.span(readLimit)
	if !ok {
		return false
	}
	start := time.Now()
	err := c.s.inside(off, n)
	if err == nil {
		err = c.s.ref.Discard(ctx, off, c.s.real(off, n))
	}
	took := time.Since(start)
	if err != nil {
		c.printf("discard failed: %s\n", reason(err))
		return false
	}
	c.wrote("discard", off, n, took)
	return true
}

func truncate(ctx context.Context, c *call) bool {
	modes := []engine.Prealloc{engine.PreallocOff, engine.PreallocMetadata, engine.PreallocFalloc, engine.PreallocFull}
	o := engine.ResizeOptions{Prealloc: engine.PreallocOff}
	if m, given := c.value("m"); given {
		o.Prealloc = engine.Prealloc(m)
		if !slices.Contains(modes, o.Prealloc) {
			c.s.errorf("Invalid preallocation mode '%s'", m)
			return false
		}
	}
	if len(c.args) < 1 {
		return c.usage()
	}
	size, ok := c.number(c.args[0])
	if !ok {
		return false
	}
	c.s.pending.Wait()
	if err := c.s.ref.Resize(ctx, size, o); err != nil {
		c.s.errorf("%s", imgcmd.Reason(err))
		return false
	}
	return true
}

func length(_ context.Context, c *call) bool {
	c.printf("%s\n", sizeText(float64(c.s.size())))
	return true
}

// run is a stretch of an image that this layer has, or has not.
type run struct {
	off, n    int64
	allocated bool
}

// runs calls visit for each stretch of a range. The rest of the last sector is like what comes before it.
func (s *session) runs(ctx context.Context, off, n int64, visit func(r run)) error {
	cur := run{off: off}
	var list []engine.Extent
	end := off + s.real(off, n)
	for at := off; at < end; {
		var err error
		if list, err = s.ref.Extents(ctx, at, end-at, list[:0]); err != nil {
			return err
		}
		for _, e := range list {
			here := e.Flags&engine.ExtentAllocated != 0 && e.Depth == 0
			if here != cur.allocated && cur.n > 0 {
				visit(cur)
				cur = run{off: e.Off}
			}
			cur.allocated = here
			cur.n += e.Len
			at = e.Off + e.Len
		}
	}
	if cur.n > 0 {
		cur.n += off + n - end
		visit(cur)
	}
	return nil
}

func mapImage(ctx context.Context, c *call) bool {
	if c.s.ref.Size() == 0 {
		return true
	}
	err := c.s.runs(ctx, 0, c.s.size(), func(r run) {
		word := "not allocated"
		if r.allocated {
			word = "    allocated"
		}
		c.printf("%s (0x%x) bytes %s at offset %s (0x%x)\n", sizeText(float64(r.n)), r.n, word, sizeText(float64(r.off)), r.off)
	})
	if err != nil {
		c.s.errorf("Failed to get allocation status: %s", reason(err))
		return false
	}
	return true
}

func alloc(ctx context.Context, c *call) bool {
	off, ok := c.number(c.args[0])
	if !ok {
		return false
	}
	n := int64(sectorSize)
	if len(c.args) == 2 {
		if n, ok = c.number(c.args[1]); !ok {
			return false
		}
	}
	n = min(n, max(0, c.s.size()-off))
	sum := int64(0)
	if n > 0 {
		err := c.s.runs(ctx, off, n, func(r run) {
			if r.allocated {
				sum += r.n
			}
		})
		if err != nil {
			c.printf("is_allocated failed: %s\n", reason(err))
			return false
		}
	}
	c.printf("%d/%d bytes allocated at offset %s\n", sum, n, sizeText(float64(off)))
	return true
}
