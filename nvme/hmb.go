package nvme

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// hmb is the host memory buffer: memory of the host that the controller uses as its own. NVMe Base 2.0d §8.9
type hmb struct {
	list   *Memory
	chunks []*Memory
	bytes  uint64
	count  int
}

const (
	hostMemoryDefault = 128 << 20
	hostMemoryChunk   = 4 << 20
)

// HostMemory is how many bytes the controller has been lent.
func (c *Controller) HostMemory() uint64 {
	if c.hmb == nil {
		return 0
	}
	return c.hmb.bytes
}

// setHostMemory lends the controller what it prefers, within the limit. After a reset the same memory is offered
// again, as returned (MR): its contents are as the controller left them.
func (c *Controller) setHostMemory(ctx context.Context) error {
	returned := c.hmb != nil
	if !returned {
		m, err := c.allocateHostMemory()
		if err != nil || m == nil {
			return err
		}
		c.hmb = m
	}
	const enable, memoryReturn = 1, 2
	cmd := SetFeatures(FIDHostMemoryBuffer, 0, false, enable)
	if returned {
		cmd.CDW11 |= memoryReturn
	}
	cmd.CDW12 = uint32(c.hmb.bytes / pageSize)
	cmd.CDW13, cmd.CDW14 = uint32(c.hmb.list.IOVA), uint32(c.hmb.list.IOVA>>32)
	cmd.CDW15 = uint32(c.hmb.count)
	if _, err := c.adminDuring(ctx, cmd, nil); err != nil {
		if _, ok := errors.AsType[*StatusError](err); !ok {
			return fmt.Errorf("host memory buffer: %w", err)
		}
		// A controller works without; it is only slower.
		c.opt.Log.Warn("no host memory buffer", "controller", c.dev.Name(), "error", err)
		c.hmb.free()
		c.hmb = nil
	}
	return nil
}

// allocateHostMemory returns nil when the controller wants none, or more than it may have.
func (c *Controller) allocateHostMemory() (*hmb, error) {
	limit := uint64(hostMemoryDefault)
	if c.opt.HostMemory != 0 {
		limit = uint64(max(c.opt.HostMemory, 0))
	}
	want := min(uint64(c.ident.HMPRE)*pageSize, limit)
	least := uint64(c.ident.HMMIN) * pageSize
	if want == 0 || want < least {
		return nil, nil
	}
	chunk := max(hostMemoryChunk, uint64(c.ident.HMMINDS)*pageSize)
	most := int(c.ident.HMMAXD)
	if most == 0 {
		most = pageSize / 16
	}
	for (want+chunk-1)/chunk > uint64(min(most, pageSize/16)) {
		chunk *= 2
	}
	h := &hmb{}
	var err error
	if h.list, err = newMemory(c.dev, pageSize); err != nil {
		return nil, err
	}
	for h.bytes < want {
		m, err := newMemory(c.dev, int(min(chunk, want-h.bytes)))
		if err != nil {
			if h.bytes >= max(least, 1) {
				break
			}
			h.free()
			c.opt.Log.Warn("no host memory buffer", "controller", c.dev.Name(), "error", err)
			return nil, nil
		}
		// Descriptor entry: address, size in pages. NVMe Base 2.0d §5.27.1.11, figure 328
		d := h.list.Bytes[16*h.count:]
		le.PutUint64(d, m.IOVA)
		le.PutUint32(d[8:], uint32(len(m.Bytes)/pageSize))
		h.chunks = append(h.chunks, m)
		h.count++
		h.bytes += uint64(len(m.Bytes))
	}
	return h, nil
}

// dropHostMemory takes the memory back before a shutdown: the controller must not use it afterwards.
func (c *Controller) dropHostMemory() {
	if c.hmb == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), max(c.opt.AbortTimeout, 2*time.Second))
	defer cancel()
	if _, err := c.adminDuring(ctx, SetFeatures(FIDHostMemoryBuffer, 0, false, 0), nil); err != nil {
		c.opt.Log.Warn("disable host memory buffer", "controller", c.dev.Name(), "error", err)
	}
}

func (h *hmb) free() {
	if h == nil {
		return
	}
	for _, m := range h.chunks {
		_ = m.free() // the controller is stopped, or has given the memory back
	}
	_ = h.list.free()
}
