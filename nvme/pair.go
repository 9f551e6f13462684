package nvme

import (
	"context"
	"fmt"
	"unsafe"
)

// newQueue makes the host's side of a queue pair, without memory.
func (c *Controller) newQueue(id uint16, size int) *Queue {
	return &Queue{ctrl: c, id: id, mask: uint32(size - 1), eventFD: -1}
}

// adopt makes the rings from the queue's memory, and finds its doorbells.
func (q *Queue) adopt() {
	q.sq = (*[MaxQueueSize]Command)(unsafe.Pointer(unsafe.SliceData(q.sqMem.Bytes)))
	q.cq = (*[MaxQueueSize]cqe)(unsafe.Pointer(unsafe.SliceData(q.cqMem.Bytes)))
	q.connectBells()
}

// connectBells is also needed after a reset, which may change whether shadow doorbells are on. The admin queue never
// uses them. NVMe Base 2.0d §5.8
func (q *Queue) connectBells() {
	q.sqBell = q.bell(false)
	q.cqBell = q.bell(true)
}

func (q *Queue) bell(completion bool) doorbell {
	c := q.ctrl
	off := doorbellOffset(q.id, completion, c.cap.Stride())
	d := doorbell{dev: c.dev, off: regDoorbells + off}
	if w, err := c.dev.Window(0, d.off, 4); err == nil {
		d.reg = w.Register(0, 4)
	}
	if c.shadowOn && q.id != 0 {
		d.shadow = (*uint32)(unsafe.Pointer(&c.mem.Bytes[offShadow+off]))
		d.event = (*uint32)(unsafe.Pointer(&c.mem.Bytes[offEvents+off]))
	}
	return d
}

// OpenQueue makes an I/O queue pair of the next free identifier. The Queue may be used by any one thread, not only by
// the one that opened it.
func (c *Controller) OpenQueue(ctx context.Context) (*Queue, error) {
	return c.OpenQueueSize(ctx, c.opt.QueueSize)
}

// OpenQueueSize is OpenQueue with a number of entries of its own, rounded like Options.QueueSize.
func (c *Controller) OpenQueueSize(ctx context.Context, size int) (*Queue, error) {
	c.recovery.Lock()
	defer c.recovery.Unlock()
	q, err := c.openQueue(ctx, size, 0, c.opt.Interrupts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.dev.Name(), err)
	}
	return q, nil
}

// openQueue makes a queue with extra bytes of memory behind its own. The caller holds recovery.
func (c *Controller) openQueue(ctx context.Context, size, extra int, interrupts bool) (*Queue, error) {
	c.mu.Lock()
	dead := c.dead
	id := uint16(0)
	for i := range uint16(c.Queues()) {
		if _, taken := c.queues[i+1]; !taken {
			id = i + 1
			break
		}
	}
	c.mu.Unlock()
	if dead != nil {
		return nil, dead
	}
	if id == 0 {
		return nil, fmt.Errorf("%w: all %d I/O queues of the controller are in use", ErrNoQueue, c.Queues())
	}
	size = roundDownPow2(min(max(size, 2), int(c.cap.MQES())+1, MaxQueueSize))
	q := c.newQueue(id, size)
	q.sgl, q.sgl4, q.expiry = c.sgl, c.sgl4, c.expiry
	if err := q.allocate(extra); err != nil {
		return nil, err
	}
	q.adopt()
	if interrupts {
		q.eventFD, q.vector = c.vectorFor(id)
	}
	if err := c.createPair(ctx, q); err != nil {
		q.freeMemory()
		return nil, err
	}
	c.mu.Lock()
	c.queues[id] = q
	c.mu.Unlock()
	return q, nil
}

// allocate lays the rings and the list pages out in one region: nothing may straddle two.
func (q *Queue) allocate(extra int) error {
	size := int(q.mask) + 1
	sqBytes := roundUp(size*CommandSize, pageSize)
	cqBytes := roundUp(size*CompletionSize, pageSize)
	lists := size * pageSize
	m, err := newMemory(q.ctrl.dev, sqBytes+cqBytes+lists+extra)
	if err != nil {
		return err
	}
	q.mem = m
	q.sqMem = m.Slice(0, sqBytes)
	q.cqMem = m.Slice(sqBytes, cqBytes)
	q.lists = m.Slice(sqBytes+cqBytes, lists)
	if r, ok := q.ctrl.cmb.take(sqBytes); ok {
		q.sqMem, q.inCMB = r, true
	}
	return nil
}

func (q *Queue) freeMemory() {
	if q.inCMB {
		q.ctrl.cmb.giveBack(q.sqMem)
		q.inCMB = false
	}
	_ = q.mem.free() // a controller that is gone cannot be asked to let go
	q.mem = nil
}

// createPair makes the queue exist in the controller: the completion queue first. NVMe Base 2.0d §5.4 and §5.5
func (c *Controller) createPair(ctx context.Context, q *Queue) error {
	q.restart()
	q.cause.Store(nil)
	const contiguous, interruptsOn = 1 << 0, 1 << 1
	flags := uint32(contiguous)
	if q.eventFD >= 0 {
		flags |= interruptsOn | uint32(q.vector)<<16
	}
	dims := q.mask<<16 | uint32(q.id)
	cq := Command{Opcode: OpCreateIOCQ, PRP1: q.cqMem.IOVA, CDW10: dims, CDW11: flags}
	if _, err := c.adminDuring(ctx, cq, nil); err != nil {
		return fmt.Errorf("create completion queue %d: %w", q.id, err)
	}
	sq := Command{Opcode: OpCreateIOSQ, PRP1: q.sqMem.IOVA, CDW10: dims, CDW11: uint32(q.id)<<16 | contiguous}
	if _, err := c.adminDuring(ctx, sq, nil); err != nil {
		del := Command{Opcode: OpDeleteIOCQ, CDW10: uint32(q.id)}
		_, _ = c.adminDuring(ctx, del, nil) // the first error is the one to report
		return fmt.Errorf("create submission queue %d: %w", q.id, err)
	}
	q.state.Store(queueLive)
	return nil
}

// deleteQueue makes the pair not exist any more. When it returns nil the controller touches nothing of it again: a
// submission queue's deletion completes only after all its commands. NVMe Base 2.0d §5.6, §5.7 and §3.3.1.3
func (c *Controller) deleteQueue(ctx context.Context, id uint16) error {
	sq := Command{Opcode: OpDeleteIOSQ, CDW10: uint32(id)}
	if _, err := c.adminDuring(ctx, sq, nil); err != nil {
		return fmt.Errorf("delete submission queue %d: %w", id, err)
	}
	cq := Command{Opcode: OpDeleteIOCQ, CDW10: uint32(id)}
	if _, err := c.adminDuring(ctx, cq, nil); err != nil {
		return fmt.Errorf("delete completion queue %d: %w", id, err)
	}
	return nil
}

// Close deletes the queue. Nothing may be in flight that its owner still wants to hear of.
func (q *Queue) Close() error {
	c := q.ctrl
	c.recovery.Lock()
	defer c.recovery.Unlock()
	c.mu.Lock()
	_, mine := c.queues[q.id]
	mine = mine && c.queues[q.id] == q
	dead := c.dead
	c.mu.Unlock()
	if !mine {
		return nil
	}
	var err error
	if q.state.CompareAndSwap(queueLive, queueStopping) && dead == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 4*c.opt.AbortTimeout)
		err = c.deleteQueue(ctx, q.id)
		cancel()
	}
	if err != nil {
		// The controller may still write to the queue: only a reset ends that.
		err = c.resetLocked(fmt.Errorf("close: %w", err))
	}
	q.state.Store(queueDead)
	c.mu.Lock()
	delete(c.queues, q.id)
	c.mu.Unlock()
	q.freeMemory()
	return err
}
