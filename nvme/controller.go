package nvme

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Controller is an NVMe controller that this process drives.
type Controller struct {
	dev   Device
	opt   Options
	cap   CAP
	ident *IdentifyController

	mem   *Memory // admin queue, shadow doorbells, bounce memory
	admin *callQueue
	io    atomic.Pointer[callQueue] // made by the first blocking I/O command
	cmb   *cmb
	hmb   *hmb

	shadowOn   bool
	counts     QueueCounts
	sgl        bool
	sgl4       bool
	tick       atomic.Uint32
	interval   time.Duration
	abortTicks uint32
	expiry     uint32

	mu       sync.Mutex // guards what follows
	queues   map[uint16]*Queue
	eventFDs []int
	mappings map[uint64]Region // data memory by IOVA, so that it can be taken away from a controller that hangs
	closed   bool
	dead     error // why the controller is not coming back

	recovery sync.Mutex // held while the controller is being brought up, recovered or closed
	faults   chan struct{}
	pending  []report // guarded by mu
	stop     chan struct{}
	stopped  sync.WaitGroup
	events   chan AsyncEvent
	resets   atomic.Uint32
}

// Layout of the controller's own memory.
const (
	offAdminSQ   = 0
	offAdminCQ   = offAdminSQ + 64*CommandSize
	offShadow    = offAdminCQ + pageSize
	offEvents    = offShadow + pageSize
	offAdminList = offEvents + pageSize
	offBounce    = offAdminList + callQueueSize*pageSize
	controlSize  = offBounce + callMemory
)

// Attach brings the controller behind dev up and leaves it ready for I/O queues. On success the Controller owns dev;
// on failure the caller still does.
func Attach(ctx context.Context, dev Device, opt Options) (*Controller, error) {
	c := &Controller{
		dev: dev, opt: opt.withDefaults(), queues: map[uint16]*Queue{}, mappings: map[uint64]Region{},
		faults: make(chan struct{}, 1), stop: make(chan struct{}), events: make(chan AsyncEvent, 16),
	}
	c.tick.Store(1)
	c.interval = min(tickInterval, c.opt.Timeout/4, c.opt.AbortTimeout/2)
	c.expiry = ticks(c.opt.Timeout, c.interval)
	c.abortTicks = ticks(c.opt.AbortTimeout, c.interval)
	if err := c.attach(ctx); err != nil {
		c.abandon()
		return nil, fmt.Errorf("%s: %w", dev.Name(), err)
	}
	c.stopped.Go(c.housekeep)
	c.stopped.Go(c.recoverLoop)
	return c, nil
}

func (c *Controller) attach(ctx context.Context) error {
	if err := c.probe(); err != nil {
		return err
	}
	var err error
	if c.mem, err = newMemory(c.dev, controlSize); err != nil {
		return err
	}
	aq := c.newQueue(0, callQueueSize)
	aq.sqMem = c.mem.Slice(offAdminSQ, callQueueSize*CommandSize)
	aq.cqMem = c.mem.Slice(offAdminCQ, callQueueSize*CompletionSize)
	aq.lists = c.mem.Slice(offAdminList, callQueueSize*pageSize)
	aq.adopt()
	aq.result = make([][2]uint32, callQueueSize)
	c.admin = newCallQueue(c, aq, c.mem.Slice(offBounce, callMemory))
	if err := c.bringUp(ctx); err != nil {
		return err
	}
	return c.connectInterrupts()
}

// probe checks that the function is an NVMe controller at all, and lets it reach memory.
func (c *Controller) probe() error {
	var class [3]byte
	if err := c.dev.ReadConfig(9, class[:]); err != nil {
		return err
	}
	// NVMe PCIe 1.0d §2.1.5: mass storage, non-volatile memory, NVM Express I/O controller.
	if class != [3]byte{2, 8, 1} {
		return fmt.Errorf("%w: PCI class %02x%02x%02x, want 010802", ErrNotNVMe, class[2], class[1], class[0])
	}
	var command [2]byte
	if err := c.dev.ReadConfig(4, command[:]); err != nil {
		return err
	}
	// Memory space, bus master, and no INTx: a controller without its own interrupt must not try to raise one.
	le.PutUint16(command[:], le.Uint16(command[:])|0x406)
	if err := c.dev.WriteConfig(4, command[:]); err != nil {
		return err
	}
	v, err := c.dev.Load64(0, regCAP)
	if err != nil {
		return err
	}
	if v == ^uint64(0) {
		return fmt.Errorf("%w: registers read as all ones", ErrRemoved)
	}
	c.cap = CAP(v)
	if c.cap.MPSMIN() != 0 {
		return fmt.Errorf("%w: the smallest page size is %d KiB, want 4", ErrUnsupported, 4<<c.cap.MPSMIN())
	}
	if c.cap.MQES() == 0 {
		return fmt.Errorf("%w: CAP.MQES is 0", ErrNotNVMe)
	}
	return nil
}

// bringUp initialises the controller; it does so again after a reset.
func (c *Controller) bringUp(ctx context.Context) error {
	// NVMe Base 2.0d §3.5.1, step 1: wait until an earlier reset is complete.
	if err := c.disable(ctx); err != nil {
		return err
	}
	// Step 2: the admin queue.
	c.shadowOn = false
	aq := c.admin.q
	c.admin.restart()
	n := uint32(callQueueSize - 1)
	for _, w := range []struct {
		off  uint64
		v    uint64
		wide bool
	}{{regAQA, uint64(n<<16 | n), false}, {regASQ, aq.sqMem.IOVA, true}, {regACQ, aq.cqMem.IOVA, true}} {
		if err := c.storeRegister(w.off, w.v, w.wide); err != nil {
			return err
		}
	}
	// Steps 3 to 5: all command sets where there are several (CC.CSS 110b is what step 3 asks for with CAP.CSS bit 6), arbitration, page size and entry sizes; enable.
	cc := ccIOSQES | ccIOCQES | ccEN
	if c.cap.CSS()&(1<<6) != 0 {
		cc |= ccCSSAll
	}
	if err := c.dev.Store32(0, regCC, uint32(cc)); err != nil {
		return err
	}
	// Step 6: wait for CSTS.RDY.
	if err := c.waitReady(ctx, true); err != nil {
		return err
	}
	return c.configure(ctx)
}

func (c *Controller) storeRegister(off, v uint64, wide bool) error {
	if wide {
		return c.dev.Store64(0, off, v)
	}
	return c.dev.Store32(0, off, uint32(v))
}

// configure is what comes after CSTS.RDY.
func (c *Controller) configure(ctx context.Context) error {
	// NVMe Base 2.0d §3.5.1, step 7: identify the controller.
	b := make([]byte, IdentifySize)
	if _, err := c.adminDuring(ctx, Identify(CNSController, 0, 0), b); err != nil {
		return fmt.Errorf("identify controller: %w", err)
	}
	var err error
	if c.ident, err = ParseIdentifyController(b); err != nil {
		return err
	}
	if c.ident.SQES&0xf > 6 || c.ident.CQES&0xf > 4 {
		return fmt.Errorf("%w: queue entries of 2^%d and 2^%d bytes", ErrUnsupported, c.ident.SQES&0xf, c.ident.CQES&0xf)
	}
	c.sgl, c.sgl4 = c.ident.SGLSupported()
	c.sgl = c.sgl && !c.opt.NoSGL
	// Step 8: the number of I/O queues, asked for at most once per reset, before any is made.
	want := QueueCounts{SQ: c.opt.Queues, CQ: c.opt.Queues}
	cp, err := c.adminDuring(ctx, SetFeatures(FIDNumberOfQueues, 0, false, want.Encode()), nil)
	if err != nil {
		return fmt.Errorf("set number of queues: %w", err)
	}
	c.counts = ParseQueueCounts(cp.DW0)
	if err := c.setShadowDoorbells(ctx); err != nil {
		return err
	}
	if err := c.setCMB(); err != nil {
		return err
	}
	if err := c.setHostMemory(ctx); err != nil {
		return err
	}
	// Step 10: asynchronous events.
	return c.armEvents(ctx)
}

// setShadowDoorbells hands the two pages over where the controller takes them. NVMe Base 2.0d §5.8
func (c *Controller) setShadowDoorbells(ctx context.Context) error {
	if c.opt.NoShadowDoorbells || c.ident.OACS&OACSDoorbellBuffer == 0 || c.cap.Stride() != 4 {
		return nil
	}
	clear(c.mem.Bytes[offShadow : offEvents+pageSize])
	cmd := Command{Opcode: OpDoorbellBuffer, PRP1: c.mem.IOVA + offShadow, PRP2: c.mem.IOVA + offEvents}
	if _, err := c.adminDuring(ctx, cmd, nil); err != nil {
		if _, ok := errors.AsType[*StatusError](err); ok {
			c.opt.Log.Warn("no shadow doorbells", "controller", c.dev.Name(), "error", err)
			return nil
		}
		return fmt.Errorf("doorbell buffer config: %w", err)
	}
	c.shadowOn = true
	return nil
}

// disable clears CC.EN and waits until the controller has stopped. NVMe Base 2.0d §3.5.1, step 1, and §3.7.2
func (c *Controller) disable(ctx context.Context) error {
	v, err := c.dev.Load32(0, regCC)
	if err != nil {
		return err
	}
	if v == ^uint32(0) && c.dev.Gone() {
		return ErrRemoved
	}
	if CC(v).Enabled() {
		// CC.EN must not change while CSTS.RDY has not followed the last change, unless the controller has failed.
		if err := c.waitReady(ctx, true); err != nil && errors.Is(err, ErrRemoved) {
			return err
		}
		if err := c.dev.Store32(0, regCC, v&^uint32(ccEN|ccSHNMask)); err != nil {
			return err
		}
	}
	return c.waitReady(ctx, false)
}

// waitReady waits for CSTS.RDY, at most CAP.TO. NVMe Base 2.0d §3.1.3.1, "TO"
func (c *Controller) waitReady(ctx context.Context, ready bool) error {
	limit := c.cap.Timeout()
	start := time.Now()
	for w := newWaiter(); ; w.pause() {
		v, err := c.dev.Load32(0, regCSTS)
		if err != nil {
			return err
		}
		s := CSTS(v)
		switch {
		case s.Removed() && c.dev.Gone():
			return ErrRemoved
		case s.RDY() == ready && (!ready || !s.CFS()):
			return nil
		case ready && s.CFS():
			return fmt.Errorf("%w: CSTS %#x", ErrFatal, v)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(start) > limit {
			return fmt.Errorf("%w: CSTS.RDY did not become %d in %v (CSTS %#x)", ErrTimeout, b2i(ready), limit, v)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Identity is the Identify Controller data.
func (c *Controller) Identity() *IdentifyController { return c.ident }

// Capabilities is the CAP register.
func (c *Controller) Capabilities() CAP { return c.cap }

// Registers takes a snapshot of the controller's registers.
func (c *Controller) Registers() (*Registers, error) { return ReadRegisters(c.dev) }

// Name is the device's name: the PCI address or the socket.
func (c *Controller) Name() string { return c.dev.Name() }

// Queues is how many I/O queue pairs the controller grants.
func (c *Controller) Queues() int { return min(c.counts.SQ, c.counts.CQ) }

// Resets is how often the controller had to be reset.
func (c *Controller) Resets() int { return int(c.resets.Load()) }

// MaxTransfer is how many bytes of data one command may carry: MDTS, and what one PRP list describes.
func (c *Controller) MaxTransfer() int {
	limit := uint64(maxListTransfer)
	if m := c.ident.MaxTransfer(c.cap); m != 0 {
		limit = min(limit, m)
	}
	return int(limit)
}

// Map makes data memory reachable for the controller; see Device.MapDMA. The memory is taken away from the controller
// by Unmap and by Close, and before anything in flight is failed when the controller does not let go of it.
func (c *Controller) Map(mem []byte, fd int, fdOffset int64) (Region, error) {
	iova, err := c.dev.MapDMA(mem, fd, fdOffset)
	if err != nil {
		return Region{}, err
	}
	r := Region{Bytes: mem, IOVA: iova}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mappings[iova] = r
	return r, nil
}

// Unmap takes memory away from the controller. No command that uses it may be in flight.
func (c *Controller) Unmap(r Region) error {
	c.mu.Lock()
	_, ok := c.mappings[r.IOVA]
	delete(c.mappings, r.IOVA)
	c.mu.Unlock()
	if !ok {
		return nil // recovery has taken it away already
	}
	if err := c.dev.UnmapDMA(r.IOVA); err != nil && !c.isDead() {
		return err
	}
	return nil // who is gone has let go
}

// Close shuts the controller down in an orderly way and gives the device back. Queues that are still open are dead
// afterwards; what is in flight on them fails.
func (c *Controller) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	close(c.stop)
	c.stopped.Wait()
	c.recovery.Lock()
	defer c.recovery.Unlock()
	return c.release(ErrClosed)
}

// release ends the controller for cause: queues, shutdown, memory, device.
func (c *Controller) release(cause error) error {
	c.mu.Lock()
	gone := c.dead
	c.dead = cause
	c.mu.Unlock()
	var err error
	if gone == nil {
		c.dropHostMemory()
		err = c.shutdown()
	}
	c.quietAll(cause, true)
	c.abandon()
	return errors.Join(err, c.dev.Close())
}

// shutdown tells the controller that power may go. NVMe Base 2.0d §3.6.1
func (c *Controller) shutdown() error {
	// Step 1: the host stops submitting and deletes its I/O queues, submission queues first.
	c.mu.Lock()
	var ids []uint16
	for id, q := range c.queues {
		q.state.CompareAndSwap(queueLive, queueStopping)
		ids = append(ids, id)
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), c.opt.AbortTimeout)
	defer cancel()
	for _, id := range ids {
		if err := c.deleteQueue(ctx, id); err != nil {
			c.opt.Log.Warn("delete queue at shutdown", "controller", c.dev.Name(), "queue", id, "error", err)
		}
	}
	// Step 2: normal shutdown notification; CSTS.SHST says when it is complete.
	v, err := c.dev.Load32(0, regCC)
	if err != nil {
		return err
	}
	if err := c.dev.Store32(0, regCC, v&^uint32(ccSHNMask)|uint32(ccSHNNormal)); err != nil {
		return err
	}
	limit := max(time.Duration(c.ident.RTD3E)*time.Microsecond, 10*time.Second)
	start := time.Now()
	for w := newWaiter(); ; w.pause() {
		s, err := c.dev.Load32(0, regCSTS)
		if err != nil {
			return err
		}
		if CSTS(s).SHST() == 2 || CSTS(s).Removed() {
			break
		}
		if time.Since(start) > limit {
			err = fmt.Errorf("%w: shutdown not complete in %v (CSTS %#x)", ErrTimeout, limit, s)
			c.opt.Log.Warn("shutdown", "controller", c.dev.Name(), "error", err)
			break
		}
	}
	// The controller is left disabled, so that it cannot write to memory that is about to go.
	disabling, cancelDisable := context.WithTimeout(context.Background(), c.cap.Timeout())
	defer cancelDisable()
	if err := c.disable(disabling); err != nil {
		return errors.Join(err, c.cutOff())
	}
	return nil
}

// abandon frees the controller's memory. The controller must be quiet.
func (c *Controller) abandon() {
	if c.admin != nil {
		// Attach may have failed between CC.EN and readiness.
		if v, err := c.dev.Load32(0, regCC); err == nil && CC(v).Enabled() && v != ^uint32(0) {
			ctx, cancel := context.WithTimeout(context.Background(), c.cap.Timeout())
			if err := c.disable(ctx); err != nil {
				_ = c.cutOff()
			}
			cancel()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.queues {
		q.freeMemory()
	}
	for iova := range c.mappings {
		_ = c.dev.UnmapDMA(iova)
	}
	clear(c.mappings)
	c.hmb.free()
	c.hmb = nil
	if c.mem != nil && c.admin != nil {
		_ = c.mem.free()
		c.mem = nil
	}
	c.closeEvents()
}

// roundDownPow2 is the largest power of two that is at most n.
func roundDownPow2(n int) int { return 1 << (bits.Len(uint(n)) - 1) }
