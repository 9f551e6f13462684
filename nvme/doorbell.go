package nvme

import (
	"sync/atomic"
	"unsafe"

	"github.com/blkbench/blkbench/vfio/mmio"
)

// doorbell is where a queue's tail or head is published: a mapped register, a register behind messages, or a shadow
// word with an event index that says when the register must be written as well. NVMe Base 2.0d §5.8 and §B.5
type doorbell struct {
	reg    unsafe.Pointer // mapped register, or nil
	shadow *uint32        // or nil
	event  *uint32
	last   uint32 // what was published last
	off    uint64 // of the register in BAR 0
	dev    Device
	rings  uint64 // register writes, for tests that count them
}

// neverEvent is the event index of a controller that only ever polls the shadow word. It is no queue index.
const neverEvent = 0xffffffff

// ring publishes v. An error can only come from a register behind messages; then the controller is gone, which its
// recovery finds out by itself, so that the hot path needs no error here.
func (d *doorbell) ring(v uint32) {
	if d.shadow != nil {
		old := d.last
		d.last = v
		// The store must be visible before the event index is read: both are sequentially consistent.
		atomic.StoreUint32(d.shadow, v)
		e := atomic.LoadUint32(d.event)
		if e == neverEvent || uint16(v-e-1) >= uint16(v-old) {
			return
		}
	}
	d.last = v
	d.rings++
	if d.reg != nil {
		mmio.Store32(d.reg, v)
		return
	}
	_ = d.dev.Store32(0, d.off, v)
}

// doorbellOffset is the register of queue id: the submission queue's tail, or the completion queue's head behind it.
// NVMe PCIe 1.0d §3.1.2.1
func doorbellOffset(id uint16, completion bool, stride uint64) uint64 {
	i := 2 * uint64(id)
	if completion {
		i++
	}
	return i * stride
}
