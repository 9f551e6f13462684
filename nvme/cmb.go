package nvme

import (
	"fmt"
	"sync"
)

// cmb is a controller memory buffer that holds submission queues. NVMe Base 2.0d §8.5
type cmb struct {
	region Region // mapped, with the addresses that the controller knows it by

	mu   sync.Mutex
	used []bool // by page
}

// setCMB enables the buffer and finds it. A buffer that cannot hold submission queues is left alone.
func (c *Controller) setCMB() error {
	if !c.opt.CMB {
		return nil
	}
	if c.cmb != nil && !c.cap.CMBS() {
		return nil // a legacy buffer is always on
	}
	if c.cap.CMBS() {
		// CMBLOC and CMBSZ are valid only with CRE set. NVMe Base 2.0d §3.1.3.16
		if err := c.dev.Store64(0, regCMBMSC, 1); err != nil {
			return err
		}
	}
	loc, err := c.dev.Load32(0, regCMBLOC)
	if err != nil {
		return err
	}
	sz, err := c.dev.Load32(0, regCMBSZ)
	if err != nil {
		return err
	}
	if size := CMBSZ(sz); !size.SQS() || size.Bytes() == 0 {
		c.opt.Log.Info("no controller memory buffer for submission queues", "controller", c.dev.Name())
		return nil
	}
	return c.mapCMB(CMBLOC(loc), CMBSZ(sz))
}

func (c *Controller) mapCMB(loc CMBLOC, sz CMBSZ) error {
	bar := int(loc.BIR())
	off := uint64(loc.OFST()) * sz.Unit()
	size := c.dev.BARSize(bar)
	if off >= size {
		return fmt.Errorf("controller memory buffer at %#x of BAR %d, which has %#x bytes", off, bar, size)
	}
	n := min(sz.Bytes(), size-off) &^ (pageSize - 1)
	if c.cmb == nil {
		w, err := c.dev.Window(bar, off, n)
		if err != nil {
			return fmt.Errorf("controller memory buffer: %w", err)
		}
		// With CMBMSC the host chooses the addresses; without, they are those of the BAR on the bus.
		base, err := c.dev.ReserveIOVA(n, 2<<20)
		if err != nil {
			return fmt.Errorf("controller memory buffer: %w", err)
		}
		if !c.cap.CMBS() {
			if base, err = c.busAddress(bar); err != nil {
				return err
			}
			base += off
		}
		c.cmb = &cmb{region: Region{Bytes: w.Bytes(), IOVA: base}, used: make([]bool, n/pageSize)}
	}
	if c.cap.CMBS() {
		const cre, cmse = 1, 2
		if err := c.dev.Store64(0, regCMBMSC, c.cmb.region.IOVA|cre|cmse); err != nil {
			return err
		}
		s, err := c.dev.Load32(0, regCMBSTS)
		if err != nil {
			return err
		}
		if s&1 != 0 {
			return fmt.Errorf("%w: the controller refuses its memory buffer at %#x (CMBSTS.CBAI)", ErrUnsupported, c.cmb.region.IOVA)
		}
	}
	return nil
}

// busAddress is what a BAR holds. PCI Local Bus 3.0 §6.2.5.1
func (c *Controller) busAddress(bar int) (uint64, error) {
	var b [8]byte
	if err := c.dev.ReadConfig(uint64(0x10+4*bar), b[:]); err != nil {
		return 0, err
	}
	v := le.Uint64(b[:])
	if v&6 != 4 {
		v &= 0xffffffff
	}
	return v &^ 0xf, nil
}

// take reserves n bytes, a multiple of the page size.
func (m *cmb) take(n int) (Region, bool) {
	if m == nil {
		return Region{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	pages := n / pageSize
	for first := 0; first+pages <= len(m.used); first++ {
		free := true
		for i := range pages {
			free = free && !m.used[first+i]
		}
		if !free {
			continue
		}
		for i := range pages {
			m.used[first+i] = true
		}
		return m.region.Slice(first*pageSize, n), true
	}
	return Region{}, false
}

func (m *cmb) giveBack(r Region) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := int(r.IOVA-m.region.IOVA) / pageSize
	for i := range len(r.Bytes) / pageSize {
		m.used[first+i] = false
	}
}
