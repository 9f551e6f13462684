package nvme

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Recovery. A command that is late goes through these steps, each taken only when the one before did not end it:
//
//	1. Abort.                         NVMe Base 2.0d §5.1
//	2. Delete its queue pair.         The deletion completes after all commands of the queue.   §3.3.1.3
//	3. Controller reset: CC.EN=0.     CSTS.RDY=0 says that the controller has stopped.          §3.7.2
//	4. Function reset, and if the controller still does not stop, no bus mastering and no mappings: it is cut off.
//
// Only after a step has proved that the controller can touch nothing any more does a queue become quiet, and only
// then does its owner fail what is in flight. A fatal status, or a completion that answers nothing, starts at step 3.
// One goroutine does all of it, under the recovery lock.

// fault is what a queue or the controller reports.
type fault struct {
	kind faultKind
	cid  uint16
	err  error
}

type faultKind uint8

const (
	faultCommand    faultKind = iota // abort one command
	faultQueue                       // reset one queue
	faultController                  // reset the controller
	faultGone                        // the controller has left
	faultWanted                      // the controller is wanted back
)

type report struct {
	q *Queue // nil for the admin queue
	fault
}

// report queues a fault for the recovery. It never blocks: the hot path calls it.
func (c *Controller) report(q *Queue, f fault) {
	c.mu.Lock()
	if len(c.pending) < 1024 {
		c.pending = append(c.pending, report{q, f})
	}
	c.mu.Unlock()
	c.wakeRecovery()
}

func (c *Controller) wakeRecovery() {
	select {
	case c.faults <- struct{}{}:
	default:
	}
}

func (c *Controller) recoverLoop() {
	for {
		select {
		case <-c.stop:
			return
		case <-c.faults:
		}
		c.recovery.Lock()
		for {
			c.mu.Lock()
			todo := c.pending
			c.pending = nil
			dead := c.dead
			c.mu.Unlock()
			if len(todo) == 0 || dead != nil {
				break
			}
			c.handle(todo)
		}
		c.revive()
		c.recovery.Unlock()
	}
}

// handle takes the gravest of the reports first: it makes the others moot.
func (c *Controller) handle(todo []report) {
	worst := todo[0]
	for _, r := range todo {
		if r.kind > worst.kind {
			worst = r
		}
	}
	switch worst.kind {
	case faultGone:
		c.bury(worst.err)
	case faultWanted:
		c.leave(worst.err)
	case faultController:
		_ = c.resetLocked(worst.err) // what comes of it is in the queues' Err
	case faultQueue, faultCommand:
		for _, r := range todo {
			if r.kind == faultQueue && !c.resetQueue(r.q, r.err) {
				return
			}
		}
		for _, r := range todo {
			if r.kind == faultCommand {
				c.abort(r)
			}
		}
	}
}

// abort is step 1. Whether it worked shows in the command's completion, or in the queue's next report.
func (c *Controller) abort(r report) {
	if c.isDead() {
		return
	}
	sqid := uint16(0)
	if r.q != nil {
		sqid = r.q.id
	}
	c.opt.Log.Warn("abort", "controller", c.dev.Name(), "queue", sqid, "command", r.cid, "cause", r.err)
	ctx, cancel := context.WithTimeout(context.Background(), c.opt.AbortTimeout)
	defer cancel()
	cmd := Command{Opcode: OpAbort, CDW10: uint32(r.cid)<<16 | uint32(sqid)}
	_, err := c.adminDuring(ctx, cmd, nil)
	var status *StatusError
	if err != nil && !errors.As(err, &status) {
		_ = c.resetLocked(fmt.Errorf("%w; abort: %w", r.err, err))
	}
}

// resetQueue is step 2. It says whether that was enough.
func (c *Controller) resetQueue(q *Queue, cause error) bool {
	if !q.state.CompareAndSwap(queueLive, queueStopping) {
		return true // already being reset
	}
	c.opt.Log.Warn("reset queue", "controller", c.dev.Name(), "queue", q.id, "cause", cause)
	q.cause.Store(&cause)
	ctx, cancel := context.WithTimeout(context.Background(), 2*c.opt.AbortTimeout)
	defer cancel()
	if err := c.deleteQueue(ctx, q.id); err != nil {
		_ = c.resetLocked(fmt.Errorf("%w; %w", cause, err))
		return false
	}
	q.state.Store(queueQuiet)
	return true
}

// resetLocked is steps 3 and 4. The caller holds recovery. The error says that the controller did not come back.
func (c *Controller) resetLocked(cause error) error {
	c.mu.Lock()
	dead := c.dead
	c.mu.Unlock()
	if dead != nil {
		return dead
	}
	if c.dev.Gone() {
		c.bury(fmt.Errorf("%w (%w)", ErrRemoved, cause))
		return ErrRemoved
	}
	c.resets.Add(1)
	c.opt.Log.Warn("reset controller", "controller", c.dev.Name(), "cause", cause)
	c.stopAll(cause)
	if err := c.stopController(); err != nil {
		if cause = fmt.Errorf("%w; %w", cause, err); c.dev.Gone() {
			cause = fmt.Errorf("%w: %w", ErrRemoved, cause)
		}
		c.markDead(cause)
		if cut := c.cutOff(); cut != nil && !c.dev.Gone() {
			// Nothing proves that the controller has let go: what is in flight stays in flight.
			c.opt.Log.Error("controller cannot be cut off", "controller", c.dev.Name(), "error", cut)
			return errors.Join(cause, cut)
		}
		c.quietAll(cause, true)
		return cause
	}
	c.quietAll(cause, false)
	c.admin.look() // fails the admin commands in flight
	ctx, cancel := context.WithTimeout(context.Background(), c.cap.Timeout()+10*c.opt.AbortTimeout)
	defer cancel()
	if err := c.bringUp(ctx); err != nil {
		if errors.Is(err, ErrRemoved) {
			c.bury(err)
			return err
		}
		_ = c.stopController() // it may have become ready half-way
		_ = c.cutOff()
		c.bury(fmt.Errorf("%w; after the reset: %w", cause, err))
		return err
	}
	c.mu.Lock()
	c.pending = nil // whatever was reported was about the time before
	c.mu.Unlock()
	return nil
}

// stopController ends everything the controller does, by CC.EN and if need be by a function reset.
func (c *Controller) stopController() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cap.Timeout()+c.opt.AbortTimeout)
	defer cancel()
	v, err := c.dev.Load32(0, regCC)
	if err == nil {
		// Unlike in the bring-up RDY need not be waited for: a controller that has failed may never set it.
		err = c.dev.Store32(0, regCC, v&^uint32(ccEN|ccSHNMask))
	}
	if err == nil {
		err = c.waitReady(ctx, false)
	}
	if err == nil {
		return nil
	}
	if reset := c.dev.Reset(); reset != nil {
		return errors.Join(err, reset)
	}
	again, cancelAgain := context.WithTimeout(context.Background(), c.cap.Timeout()+c.opt.AbortTimeout)
	defer cancelAgain()
	if e := c.waitReady(again, false); e != nil {
		return errors.Join(err, e)
	}
	return c.probe() // the reset has cleared the command register
}

// cutOff takes the controller's access to memory away: bus mastering first, then every mapping of data.
func (c *Controller) cutOff() error {
	var errs []error
	var command [2]byte
	if err := c.dev.ReadConfig(4, command[:]); err == nil {
		le.PutUint16(command[:], le.Uint16(command[:])&^4)
		if err := c.dev.WriteConfig(4, command[:]); err != nil {
			errs = append(errs, err)
		}
	} else {
		errs = append(errs, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for iova := range c.mappings {
		if err := c.dev.UnmapDMA(iova); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(c.mappings, iova)
	}
	return errors.Join(errs...)
}

// stopAll keeps new commands out of every queue.
func (c *Controller) stopAll(cause error) {
	for _, q := range c.allQueues() {
		if q.state.CompareAndSwap(queueLive, queueStopping) {
			q.cause.Store(&cause)
		}
	}
}

// quietAll lets the owners fail what is in flight. final says that the controller is not coming back.
func (c *Controller) quietAll(cause error, final bool) {
	if final {
		c.markDead(cause)
	}
	for _, q := range c.allQueues() {
		switch q.state.Load() {
		case queueLive, queueStopping:
			q.cause.Store(&cause)
			q.state.Store(queueQuiet)
		case queueDrained:
			if final {
				q.cause.Store(&cause)
				q.state.Store(queueDead)
			}
		}
	}
}

func (c *Controller) allQueues() []*Queue {
	c.mu.Lock()
	defer c.mu.Unlock()
	qs := make([]*Queue, 0, len(c.queues)+1)
	for _, q := range c.queues {
		qs = append(qs, q)
	}
	return append(qs, c.admin.q)
}

func (c *Controller) markDead(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead == nil {
		c.dead = cause
	}
}

// isDead says whether drained queues have anything to wait for.
func (c *Controller) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead != nil
}

// bury ends a controller that has gone, or that did not come back.
func (c *Controller) bury(cause error) {
	c.opt.Log.Error("controller lost", "controller", c.dev.Name(), "cause", cause)
	c.quietAll(cause, true)
}

// leave gives a controller back that somebody wants: what is in flight may finish, then the device is closed. The
// queues' memory stays until Close, since their owners may still look at it.
func (c *Controller) leave(cause error) {
	c.opt.Log.Warn("giving the device back", "controller", c.dev.Name())
	c.stopAll(cause)
	deadline := time.Now().Add(c.opt.AbortTimeout)
	for w := newWaiter(); !c.idle() && time.Now().Before(deadline); w.pause() {
		c.admin.look()
	}
	// The admin queue is needed once more, to delete the others.
	c.admin.q.state.CompareAndSwap(queueStopping, queueLive)
	c.dropHostMemory()
	if err := c.shutdown(); err != nil {
		c.opt.Log.Warn("shutdown", "controller", c.dev.Name(), "error", err)
	}
	c.quietAll(cause, true)
	c.closeEvents()
	if err := c.dev.Close(); err != nil {
		c.opt.Log.Warn("close device", "controller", c.dev.Name(), "error", err)
	}
}

// idle says whether every owner has seen its queue stop with nothing in flight.
func (c *Controller) idle() bool {
	for _, q := range c.allQueues() {
		if q.id != 0 && !q.rested.Load() {
			return false
		}
	}
	return true
}

// revive creates the drained queues again.
func (c *Controller) revive() {
	if c.isDead() {
		return
	}
	for _, q := range c.allQueues() {
		if q.id == 0 || q.state.Load() != queueDrained {
			continue
		}
		err := c.recreate(q)
		if err != nil {
			_ = c.resetLocked(fmt.Errorf("create queue %d again: %w", q.id, err))
			c.wakeRecovery()
			return
		}
		c.opt.Log.Info("queue is back", "controller", c.dev.Name(), "queue", q.id)
	}
}

// recreate is one queue of revive. A drained queue is not touched by its owner, but the many callers of the blocking
// queue look at it under their lock.
func (c *Controller) recreate(q *Queue) error {
	if io := c.io.Load(); io != nil && io.q == q {
		io.mu.Lock()
		defer io.mu.Unlock()
	}
	q.connectBells()
	ctx, cancel := context.WithTimeout(context.Background(), 4*c.opt.AbortTimeout)
	defer cancel()
	return c.createPair(ctx, q)
}

// Reset resets the controller, as recovery would: what is in flight fails, and the queues come back.
func (c *Controller) Reset(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.recovery.Lock()
	err := c.resetLocked(fmt.Errorf("%w: on request", ErrReset))
	c.recovery.Unlock()
	c.wakeRecovery()
	if err != nil {
		return fmt.Errorf("%s: reset: %w", c.dev.Name(), err)
	}
	return nil
}
