package vfio

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// Vectors is the number of MSI-X vectors, 0 without MSI-X.
func (d *Device) Vectors() int { return d.vectors }

// SetVectors makes MSI-X vector i signal the eventfd fds[i]; nil switches MSI-X off. The set is replaced as a whole:
// kernels before 6.5 cannot add a vector to an enabled MSI-X table.
func (d *Device) SetVectors(fds []int) error {
	if len(fds) > d.vectors {
		return fmt.Errorf("%s: %d interrupt vectors, the device has %d", d.name, len(fds), d.vectors)
	}
	if err := d.open(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.irqsOn {
		if err := d.clearIRQs(irqMSIX); err != nil {
			return fmt.Errorf("%s: disable MSI-X: %w", d.name, err)
		}
		d.irqsOn = false
	}
	if len(fds) == 0 {
		return nil
	}
	if err := d.setIRQs(irqMSIX, 0, fds); err != nil {
		return fmt.Errorf("%s: enable %d MSI-X vectors: %w", d.name, len(fds), err)
	}
	d.irqsOn = true
	return nil
}

// irqSet encodes a struct vfio_irq_set with its eventfds.
func irqSet(flags, index, start uint32, count int, fds []int) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, 20+4*len(fds))
	b = le.AppendUint32(b, uint32(20+4*len(fds)))
	b = le.AppendUint32(b, flags)
	b = le.AppendUint32(b, index)
	b = le.AppendUint32(b, start)
	b = le.AppendUint32(b, uint32(count))
	for _, fd := range fds {
		b = le.AppendUint32(b, uint32(int32(fd)))
	}
	return b
}

func (d *Device) setIRQs(index, start uint32, fds []int) error {
	b := irqSet(irqDataEventFD|irqActionTrigger, index, start, len(fds), fds)
	return ioctlPtr(d.fd, ioctlSetIRQs, unsafe.SliceData(b))
}

func (d *Device) clearIRQs(index uint32) error {
	b := irqSet(irqDataNone|irqActionTrigger, index, 0, 0, nil)
	return ioctlPtr(d.fd, ioctlSetIRQs, unsafe.SliceData(b))
}
