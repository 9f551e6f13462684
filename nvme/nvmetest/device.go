package nvmetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/vfio/mmio"
)

// registers are those of BAR 0 below the doorbells.
type registers struct {
	cap  uint64
	cc   uint32
	csts uint32
	aqa  uint32
	asq  uint64
	acq  uint64
	cmb  uint64 // CMBMSC
}

var (
	errRange = errors.New("nvmetest: register out of range")
	errGone  = errors.New("nvmetest: device gone")
)

func (f *Controller) initConfig() {
	le := binary.LittleEndian
	le.PutUint16(f.config[0:], 0x1b36)
	le.PutUint16(f.config[2:], 0x0010)
	f.config[8], f.config[9], f.config[10], f.config[11] = 2, 2, 8, 1 // revision, NVMe, NVM, mass storage
	le.PutUint32(f.config[0x10:], 0xfe000004)
	f.config[0x34] = 0 // no capabilities: vectors are announced by other means
}

func (f *Controller) initRegisters() {
	f.regs = registers{}
	f.regs.cap = uint64(f.cfg.MQES) | 1<<16 | uint64(f.cfg.Timeout)<<24 | 1<<37
	if f.cfg.CMBPages > 0 {
		f.regs.cap |= 1 << 57
	}
	clear(f.doorbells)
}

func (f *Controller) busMaster() bool { return f.config[4]&4 != 0 }

// Name identifies the fake in messages.
func (f *Controller) Name() string { return "fake:" + f.cfg.Serial }

// Load32 reads a register.
func (f *Controller) Load32(bar int, off uint64) (uint32, error) {
	if f.gone.Load() {
		return 0xffffffff, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if bar != 0 || off >= 0x1000 {
		return 0, errRange
	}
	switch off {
	case 0x00:
		return uint32(f.regs.cap), nil
	case 0x04:
		return uint32(f.regs.cap >> 32), nil
	case 0x08:
		return 0x20000, nil
	case 0x14:
		return f.regs.cc, nil
	case 0x1c:
		return f.regs.csts, nil
	case 0x24:
		return f.regs.aqa, nil
	case 0x38:
		if f.cfg.CMBPages > 0 && f.regs.cmb&1 != 0 {
			return 2, nil
		}
	case 0x3c:
		if f.cfg.CMBPages > 0 && f.regs.cmb&1 != 0 {
			return uint32(f.cfg.CMBPages)<<12 | 1, nil
		}
	}
	return 0, nil
}

// Load64 reads a 64-bit register.
func (f *Controller) Load64(bar int, off uint64) (uint64, error) {
	if f.gone.Load() {
		return ^uint64(0), nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if bar != 0 || off >= 0x1000 {
		return 0, errRange
	}
	switch off {
	case 0x00:
		return f.regs.cap, nil
	case 0x28:
		return f.regs.asq, nil
	case 0x30:
		return f.regs.acq, nil
	case 0x50:
		return f.regs.cmb, nil
	}
	return 0, nil
}

// Store32 writes a register, a doorbell among them.
func (f *Controller) Store32(bar int, off uint64, v uint32) error {
	if f.gone.Load() {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if bar != 0 || off >= 0x2000 {
		return errRange
	}
	switch {
	case off >= 0x1000:
		i := uint32(off-0x1000) / 4
		atomic.StoreUint32((*uint32)(unsafe.Pointer(&f.doorbells[4*i])), v)
		if w := f.shadowWord(i, f.state.shadow); w != nil {
			atomic.StoreUint32(w, v)
		}
		f.state.rings++
	case off == 0x14:
		f.writeCC(v)
	case off == 0x24:
		f.regs.aqa = v
	}
	return nil
}

// Store64 writes a 64-bit register.
func (f *Controller) Store64(bar int, off uint64, v uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if bar != 0 || off >= 0x1000 {
		return errRange
	}
	switch off {
	case 0x28:
		f.regs.asq = v
	case 0x30:
		f.regs.acq = v
	case 0x50:
		f.regs.cmb = v
	}
	return nil
}

// writeCC enables, disables and shuts down.
func (f *Controller) writeCC(v uint32) {
	was := f.regs.cc
	f.regs.cc = v
	switch {
	case v&1 != 0 && was&1 == 0:
		f.enable()
	case v&1 == 0 && was&1 != 0:
		f.disable()
	}
	if v>>14&3 != 0 && was>>14&3 == 0 && !f.knobs.NoShutdown {
		f.note("shutdown %d", v>>14&3)
		f.regs.csts = f.regs.csts&^0xc | 2<<2
	}
	if v>>14&3 == 0 {
		f.regs.csts &^= 0xc
	}
}

func (f *Controller) enable() {
	f.note("enable")
	if f.knobs.NeverReady {
		return
	}
	if f.regs.cc>>16&0xf != 6 || f.regs.cc>>20&0xf != 4 || f.regs.cc>>7&0xf != 0 {
		f.regs.csts |= 2
		return
	}
	clear(f.doorbells)
	f.sqs[0] = &subQueue{id: 0, cq: 0, base: f.regs.asq, size: f.regs.aqa&0xfff + 1}
	f.cqs[0] = &compQueue{id: 0, base: f.regs.acq, size: f.regs.aqa>>16&0xfff + 1, phase: 1}
	f.regs.csts |= 1
}

// disable forgets everything but the namespaces.
func (f *Controller) disable() {
	f.note("disable")
	if f.knobs.StuckReady {
		return
	}
	f.sqs, f.cqs = map[uint16]*subQueue{}, map[uint16]*compQueue{}
	f.held, f.events, f.eventNow = nil, nil, nil
	f.initState()
	f.regs.csts = 0
}

// BARSize is the size of BAR 0 and of the controller memory buffer's.
func (f *Controller) BARSize(bar int) uint64 {
	switch bar {
	case 0:
		return 0x2000
	case 2:
		return uint64(len(f.cmb))
	}
	return 0
}

// Window gives out the doorbells and the controller memory buffer.
func (f *Controller) Window(bar int, off, size uint64) (mmio.Window, error) {
	switch {
	case bar == 0 && off >= 0x1000 && off+size <= 0x2000 && !f.cfg.Unmapped:
		return mmio.NewWindow(f.doorbells[off-0x1000 : off-0x1000+size]), nil
	case bar == 2 && off+size <= uint64(len(f.cmb)):
		return mmio.NewWindow(f.cmb[off : off+size]), nil
	}
	return mmio.Window{}, errRange
}

// ReadConfig reads configuration space.
func (f *Controller) ReadConfig(off uint64, p []byte) error {
	if f.gone.Load() {
		return errGone
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if off+uint64(len(p)) > uint64(len(f.config)) {
		return errRange
	}
	copy(p, f.config[off:])
	return nil
}

// WriteConfig writes the command register.
func (f *Controller) WriteConfig(off uint64, p []byte) error {
	if f.gone.Load() {
		return errGone
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if off != 4 || len(p) != 2 {
		return fmt.Errorf("nvmetest: write of %d bytes at %#x of configuration space", len(p), off)
	}
	copy(f.config[4:], p)
	return nil
}

// MapDMA makes memory reachable.
func (f *Controller) MapDMA(mem []byte, _ int, _ int64) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	iova := f.mapFree
	f.mapFree += (uint64(len(mem)) + 2<<20 - 1) &^ (2<<20 - 1)
	f.mapFree += 2 << 20 // a gap that faults
	f.maps = append(f.maps, mapping{iova: iova, mem: mem})
	return iova, nil
}

// UnmapDMA takes it back.
func (f *Controller) UnmapDMA(iova uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, m := range f.maps {
		if m.iova == iova {
			if m.own {
				unix.Munmap(m.mem)
			}
			f.maps = append(f.maps[:i], f.maps[i+1:]...)
			return nil
		}
	}
	return fmt.Errorf("nvmetest: %#x is not mapped", iova)
}

func (f *Controller) dropMaps() {
	for _, m := range f.maps {
		if m.own {
			unix.Munmap(m.mem)
		}
	}
	f.maps = nil
}

// Mappings is how many regions are mapped.
func (f *Controller) Mappings() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.maps)
}

// ReserveIOVA sets addresses aside.
func (f *Controller) ReserveIOVA(size, _ uint64) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	iova := f.mapFree
	f.mapFree += (size + 4<<20) &^ (2<<20 - 1)
	return iova, nil
}

// Vectors is the number of MSI-X vectors.
func (f *Controller) Vectors() int { return f.cfg.Vectors }

// SetVectors connects the vectors.
func (f *Controller) SetVectors(fds []int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.vectors = append([]int(nil), fds...)
	return nil
}

// RequestFD is the request interrupt.
func (f *Controller) RequestFD() int { return f.request }

// Gone says whether Remove was called.
func (f *Controller) Gone() bool { return f.gone.Load() }

// Reset is a function-level reset.
func (f *Controller) Reset() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("function reset")
	if f.knobs.ResetFails {
		return errors.New("nvmetest: reset fails")
	}
	f.knobs.StuckReady = false
	f.disable()
	f.initRegisters()
	f.config[4], f.config[5] = 0, 0
	return nil
}

// Close is the driver letting go. The fake lives on, and can be attached again.
func (f *Controller) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("close")
	f.config[4] &^= 4
	f.vectors = nil
	return nil
}

// translate finds n bytes at iova in one mapping, or in the controller memory buffer.
func (f *Controller) translate(iova uint64, n int) []byte {
	if f.regs.cmb&2 != 0 {
		if base := f.regs.cmb &^ 0xfff; iova >= base && iova+uint64(n) <= base+uint64(len(f.cmb)) {
			return f.cmb[iova-base:][:n]
		}
	}
	if !f.busMaster() {
		return nil
	}
	for _, m := range f.maps {
		if iova >= m.iova && iova+uint64(n) <= m.iova+uint64(len(m.mem)) {
			return m.mem[iova-m.iova:][:n]
		}
	}
	return nil
}

// bell is doorbell i, from the shadow page when there is one and the queue is not the admin queue.
func (f *Controller) bell(i uint32) uint32 {
	if w := f.shadowWord(i, f.state.shadow); w != nil {
		return atomic.LoadUint32(w)
	}
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&f.doorbells[4*i])))
}

func (f *Controller) setBell(i, v uint32) {
	if w := f.shadowWord(i, f.state.shadow); w != nil {
		atomic.StoreUint32(w, v)
	}
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&f.doorbells[4*i])), v)
}

func (f *Controller) shadowWord(i uint32, page uint64) *uint32 {
	if page == 0 || i < 2 {
		return nil
	}
	b := f.translate(page+4*uint64(i), 4)
	if b == nil {
		return nil
	}
	return (*uint32)(unsafe.Pointer(&b[0]))
}

// publishEvent says which doorbell value was seen last, or that no register write is ever needed.
func (f *Controller) publishEvent(i, v uint32) {
	w := f.shadowWord(i, f.state.eventPage)
	if w == nil {
		return
	}
	if f.cfg.ShadowPoll {
		v = 0xffffffff
	}
	atomic.StoreUint32(w, v)
}

// Rings is how many doorbell registers were written by message.
func (f *Controller) Rings() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.rings
}
