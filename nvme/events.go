package nvme

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// asyncEventMask enables what a host wants to hear of: SMART warnings, namespace changes, firmware activation,
// telemetry. NVMe Base 2.0d §5.27.1.9
const asyncEventMask = 0x1f | 1<<8 | 1<<9 | 1<<10

// armEvents configures asynchronous events and posts the requests. NVMe Base 2.0d §5.2
func (c *Controller) armEvents(ctx context.Context) error {
	supported := uint32(0x1f) | c.ident.OAES
	cmd := SetFeatures(FIDAsyncEvent, 0, false, asyncEventMask&supported)
	if _, err := c.adminDuring(ctx, cmd, nil); err != nil {
		if _, ok := errors.AsType[*StatusError](err); !ok {
			return fmt.Errorf("asynchronous event configuration: %w", err)
		}
		c.opt.Log.Warn("asynchronous event configuration", "controller", c.dev.Name(), "error", err)
	}
	for range min(int(c.ident.AERL)+1, 2) {
		c.postEventRequest()
	}
	return nil
}

func (c *Controller) postEventRequest() {
	cmd := Command{Opcode: OpAsyncEvent}
	c.admin.post(&cmd, func(cp Completion) {
		if !cp.Status.OK() {
			return // the limit, or the end of the queue
		}
		select {
		case c.events <- AsyncEvent(cp.DW0):
		default: // the controller holds further events back until this one's page was read
		}
	})
}

// housekeep moves the clock, reads the admin queue for what nobody waits for, and watches for a controller that has
// failed or is wanted back. It runs until Close.
func (c *Controller) housekeep() {
	t := time.NewTicker(c.interval)
	defer t.Stop()
	const checkEvery = 500 * time.Millisecond
	lastCheck, checks := time.Now(), 0
	for {
		select {
		case <-c.stop:
			return
		case e := <-c.events:
			c.handleEvent(e)
			continue
		case <-t.C:
		}
		c.tick.Add(1)
		c.admin.look()
		if io := c.io.Load(); io != nil {
			io.look()
		}
		if c.wanted() {
			c.report(nil, fault{kind: faultWanted, err: fmt.Errorf("%w: the device was asked for back", ErrRemoved)})
		}
		if time.Since(lastCheck) >= min(checkEvery, 4*c.interval) {
			lastCheck = time.Now()
			checks++
			c.checkHealth(checks%statusEvery == 0)
		}
	}
}

// handleEvent reads the log page that the event names, which re-arms it, and posts the request again.
func (c *Controller) handleEvent(e AsyncEvent) {
	c.opt.Log.Info("asynchronous event", "controller", c.dev.Name(), "event", e.String(), "log", e.LogPage())
	ctx, cancel := context.WithTimeout(context.Background(), c.opt.AbortTimeout)
	defer cancel()
	if e.LogPage() != 0 {
		cmd := GetLogPage(e.LogPage(), 0xffffffff, 512, 0)
		_, _ = c.Admin(ctx, &cmd, make([]byte, 512)) // only the reading matters
	}
	c.postEventRequest()
	if c.opt.OnEvent != nil {
		c.opt.OnEvent(e)
	}
}

// wanted says whether the request interrupt has fired since the last look.
func (c *Controller) wanted() bool {
	fd := c.dev.RequestFD()
	if fd < 0 {
		return false
	}
	var b [8]byte
	n, err := unix.Read(fd, b[:])
	return err == nil && n == 8
}

// statusEvery is how many looks for a device that is gone there are to one at its status register, which may cost a
// message and an allocation.
const statusEvery = 8

// checkHealth looks for what no command would tell.
func (c *Controller) checkHealth(status bool) {
	c.mu.Lock()
	dead := c.dead
	c.mu.Unlock()
	if dead != nil || !c.recovery.TryLock() {
		return
	}
	defer c.recovery.Unlock()
	if c.dev.Gone() {
		c.report(nil, fault{kind: faultGone, err: ErrRemoved})
		return
	}
	if !status {
		return
	}
	v, err := c.dev.Load32(0, regCSTS)
	if err == nil && CSTS(v).CFS() && !CSTS(v).Removed() {
		c.report(nil, fault{kind: faultController, err: fmt.Errorf("%w: CSTS %#x", ErrFatal, v)})
	}
}

// connectInterrupts gives every I/O queue that can exist a vector: they are set as a whole, once.
func (c *Controller) connectInterrupts() error {
	if !c.opt.Interrupts {
		return nil
	}
	// Vector 0 is the admin queue's, which is polled; NVMe Base 2.0d §5.5 lets queues share vectors.
	n := min(c.Queues()+1, c.dev.Vectors())
	if n < 1 {
		return fmt.Errorf("%w: the function has no MSI-X vectors", ErrUnsupported)
	}
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return fmt.Errorf("eventfd: %w", err)
		}
		c.eventFDs = append(c.eventFDs, fd)
	}
	return c.dev.SetVectors(c.eventFDs)
}

// vectorFor is the eventfd and the vector of queue id. With fewer vectors than queues the last is shared.
func (c *Controller) vectorFor(id uint16) (fd int, vector uint16) {
	if len(c.eventFDs) == 0 {
		return -1, 0
	}
	vector = min(id, uint16(len(c.eventFDs)-1))
	return c.eventFDs[vector], vector
}

func (c *Controller) closeEvents() {
	if len(c.eventFDs) == 0 {
		return
	}
	_ = c.dev.SetVectors(nil) // the device is about to be closed
	for _, fd := range c.eventFDs {
		unix.Close(fd)
	}
	c.eventFDs = nil
}
