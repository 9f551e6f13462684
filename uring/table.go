package uring

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Sizes of a reactor's registered tables, in slots.
const (
	fileSlots   = 1024
	bufferSlots = 1024
)

// fileTable is the table of registered files. Slots are found by their descriptor number, so that leaves
// that share a descriptor share a slot.
type fileTable struct {
	ring *Ring
	fds  []int32
	uses []int
	err  error // why there is no table
}

func (t *fileTable) open(ring *Ring) {
	if t.err = ring.RegisterFileTable(fileSlots); t.err != nil {
		return
	}
	t.ring = ring
	t.fds, t.uses = make([]int32, fileSlots), make([]int, fileSlots)
}

// AddFile registers a descriptor and returns the index that names it in entries with SetFixedFile.
func (r *Reactor) AddFile(fd int) (index int32, err error) {
	t := &r.files
	if t.err != nil {
		return 0, t.err
	}
	free := -1
	for i, uses := range t.uses {
		if uses == 0 && free < 0 {
			free = i
		}
		if uses > 0 && t.fds[i] == int32(fd) {
			t.uses[i]++
			return int32(i), nil
		}
	}
	if free < 0 {
		return 0, fmt.Errorf("reactor: all %d slots for registered files are in use", fileSlots)
	}
	if err := t.ring.UpdateFile(uint32(free), int32(fd)); err != nil {
		return 0, err
	}
	t.fds[free], t.uses[free] = int32(fd), 1
	return int32(free), nil
}

// DropFile undoes one AddFile.
func (r *Reactor) DropFile(index int32) error {
	t := &r.files
	if t.uses[index]--; t.uses[index] > 0 {
		return nil
	}
	return t.ring.UpdateFile(uint32(index), -1)
}

// bufferTable is the table of registered buffers. A stretch of memory takes one slot per GiB, in order.
type bufferTable struct {
	ring  *Ring
	slots []bufferSlot
	err   error // why there is no table
}

// bufferSlot is one registered piece; all pieces of a stretch carry its base.
type bufferSlot struct {
	base uintptr
	size uintptr // of the whole stretch; 0 marks a free slot
	uses int
}

// BufferShift says how large a registered piece of memory is: 1 GiB.
//
// Source: io_uring_register(2) "IORING_REGISTER_BUFFERS".
const BufferShift = 30

func (t *bufferTable) open(ring *Ring) {
	t.err = ring.RegisterBufferTable(bufferSlots)
	switch {
	case t.err == nil:
		ring.feats |= FeatSparseTables
		t.ring, t.slots = ring, make([]bufferSlot, bufferSlots)
	case errors.Is(t.err, unix.EINVAL):
		t.err = fmt.Errorf("registered buffers: %w: Linux 5.19 is needed", ErrUnsupported)
	}
}

// AddBuffer registers the mapped memory at base and returns the slot of its first GiB: the byte at
// base+off is in slot + off>>BufferShift, and an operation must stay in one slot. The same stretch is registered
// once for all clients. Over RLIMIT_MEMLOCK the error is ENOMEM; plain operations serve then.
func (r *Reactor) AddBuffer(base, size uintptr) (slot uint16, err error) {
	t := &r.buffers
	if t.err != nil {
		return 0, t.err
	}
	need := int((size + 1<<BufferShift - 1) >> BufferShift)
	first, run := -1, 0
	for i, s := range t.slots {
		if s.size == size && s.base == base && s.uses > 0 {
			t.slots[i].uses++
			return uint16(i), nil
		}
		if s.size != 0 {
			run = 0
			continue
		}
		if run++; run == need && first < 0 {
			first = i - need + 1
		}
	}
	if first < 0 {
		return 0, fmt.Errorf("reactor: no %d of %d slots for registered buffers are free", need, bufferSlots)
	}
	for i := range need {
		off := uintptr(i) << BufferShift
		piece := Iovec{Base: uint64(base + off), Len: uint64(min(size-off, 1<<BufferShift))}
		if err := t.ring.UpdateBuffer(uint32(first+i), piece); err != nil {
			return 0, errors.Join(memlock(err), t.clear(first, i))
		}
		t.slots[first+i] = bufferSlot{base: base, size: size}
	}
	t.slots[first].uses = 1
	return uint16(first), nil
}

// memlock says what an ENOMEM of a registration means.
func memlock(err error) error {
	if errors.Is(err, unix.ENOMEM) {
		return fmt.Errorf("over RLIMIT_MEMLOCK: %w", err)
	}
	return err
}

// DropBuffer undoes one AddBuffer.
func (r *Reactor) DropBuffer(slot uint16) error {
	t := &r.buffers
	s := &t.slots[slot]
	if s.uses--; s.uses > 0 {
		return nil
	}
	return t.clear(int(slot), int((s.size+1<<BufferShift-1)>>BufferShift))
}

// clear empties n slots.
func (t *bufferTable) clear(first, n int) error {
	var err error
	for i := first; i < first+n; i++ {
		err = errors.Join(err, t.ring.UpdateBuffer(uint32(i), Iovec{}))
		t.slots[i] = bufferSlot{}
	}
	return err
}
