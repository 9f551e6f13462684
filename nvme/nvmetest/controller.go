package nvmetest

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Config says what controller to be. The zero value is a controller with one namespace of 2048 blocks of 512 bytes.
type Config struct {
	Namespaces []NamespaceConfig
	MQES       uint16 // entries of an I/O queue less one; 0 is 255
	MaxQueues  int    // I/O queue pairs granted; 0 is 8
	MDTS       uint8  // 0 is 5, 128 KiB
	Timeout    uint8  // CAP.TO, units of 500 ms; 0 is 1
	Vectors    int    // MSI-X vectors; 0 is 16
	SGL        bool
	Shadow     bool // offer Doorbell Buffer Config
	ShadowPoll bool // set every event index to "never"
	CMBPages   int  // pages of a controller memory buffer in BAR 2
	HMPRE      uint32
	HMMIN      uint32
	HMMAXD     uint16
	Unmapped   bool // no mapped doorbells: every ring is a register write
	NeedINTx   bool // fail fatally when INTx is enabled at the first completion, as an SPDK target does
	Serial     string
}

// NamespaceConfig is one namespace.
type NamespaceConfig struct {
	Blocks    uint64
	BlockSize int
	Metadata  int // bytes per block, in a separate buffer
	NOIOB     uint16
}

// Verdict is what a fault hook decides about a command.
type Verdict int

// Verdicts.
const (
	Execute    Verdict = iota
	Hold               // take the command and keep it until Release
	Fail               // complete with Fault.Status, and do nothing
	WrongCID           // complete under an identifier that is not in flight
	WrongPhase         // write the completion with the phase bit as it was
	WrongSQ            // complete for a submission queue that is another
	WrongHead          // report a submission queue head beyond the queue
	Fatal              // set CSTS.CFS instead of executing
	Vanish             // leave the bus
)

// Command is a command as the fake has fetched it, for hooks.
type Command struct {
	Queue  uint16
	CID    uint16
	Opcode uint8
	NSID   uint32
	raw    [64]byte
}

// Dword is one of the command's 16 dwords.
func (c *Command) Dword(i int) uint32 { return binary.LittleEndian.Uint32(c.raw[4*i:]) }

// Fault is the answer of a hook.
type Fault struct {
	Verdict Verdict
	Status  uint16 // SCT and SC with More and Do Not Retry, without the phase bit
}

// Controller is the fake. Its exported fields are set before the first access; the methods may be called at any time.
type Controller struct {
	cfg   Config
	mu    sync.Mutex
	hook  func(*Command) Fault
	knobs Knobs

	bar       []byte // BAR 0 as a file: a dead first page where registers are, then the doorbells
	doorbells []byte // the second page of it, shared with the driver
	bellFD    int
	cmb       []byte
	cmbFD     int
	config    [4096]byte
	regs      registers
	maps      []mapping
	mapFree   uint64
	vectors   []int

	sqs      map[uint16]*subQueue
	cqs      map[uint16]*compQueue
	held     []*held
	events   []Command // parked asynchronous event requests
	eventNow []uint32
	state    state
	ns       []*namespace
	journal  []string
	gone     atomic.Bool
	request  int
	wg       sync.WaitGroup
	quit     chan struct{}
	sani     sanitizeState
	fetched  Command // the one being executed
	parts    [][]byte
}

// Knobs are faults that are not about one command.
type Knobs struct {
	NeverReady   bool // CSTS.RDY stays 0
	StuckReady   bool // CSTS.RDY stays 1 after CC.EN=0
	IgnoreAbort  bool // Abort completes and does nothing
	IgnoreDelete bool // Delete I/O Submission Queue is never completed
	ResetFails   bool // a function reset returns an error
	NoShutdown   bool // CSTS.SHST never says complete
}

type mapping struct {
	iova uint64
	mem  []byte
	own  bool // mapped by the fake itself, to be unmapped
}

type subQueue struct {
	id, cq uint16
	base   uint64
	size   uint32
	head   uint32
	gone   bool // being deleted: its held commands are aborted
}

type compQueue struct {
	id        uint16
	base      uint64
	size      uint32
	tail      uint32
	head      uint32
	phase     uint16
	interrupt bool
	vector    uint16
}

// held is a command that was taken and not completed.
type held struct {
	cmd Command
	sq  *subQueue
}

// New starts a fake. Stop ends it.
func New(cfg Config) (*Controller, error) {
	if len(cfg.Namespaces) == 0 {
		cfg.Namespaces = []NamespaceConfig{{Blocks: 2048, BlockSize: 512}}
	}
	def(&cfg.MQES, 255)
	def(&cfg.MaxQueues, 8)
	def(&cfg.MDTS, 5)
	def(&cfg.Timeout, 1)
	def(&cfg.Vectors, 16)
	def(&cfg.Serial, "FAKE0001")
	f := &Controller{
		cfg: cfg, sqs: map[uint16]*subQueue{}, cqs: map[uint16]*compQueue{}, quit: make(chan struct{}),
		mapFree: 1 << 32, bellFD: -1, cmbFD: -1, request: -1,
	}
	var err error
	if f.bar, f.bellFD, err = sharedMemory(2 * 4096); err != nil {
		return nil, err
	}
	f.doorbells = f.bar[4096:]
	if cfg.CMBPages > 0 {
		if f.cmb, f.cmbFD, err = sharedMemory(4096 * cfg.CMBPages); err != nil {
			return nil, err
		}
	}
	if f.request, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, err
	}
	for _, n := range cfg.Namespaces {
		f.ns = append(f.ns, newNamespace(n))
	}
	f.initConfig()
	f.initRegisters()
	f.initState()
	f.wg.Go(f.run)
	return f, nil
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func sharedMemory(n int) ([]byte, int, error) {
	fd, err := unix.MemfdCreate("nvmetest", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, -1, err
	}
	if err := unix.Ftruncate(fd, int64(n)); err != nil {
		return nil, -1, err
	}
	b, err := unix.Mmap(fd, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return b, fd, err
}

// Stop ends the fake's thread and frees its memory. Nobody may use the device any more.
func (f *Controller) Stop() {
	close(f.quit)
	f.wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropMaps()
	unix.Munmap(f.bar)
	unix.Close(f.bellFD)
	if f.cmb != nil {
		unix.Munmap(f.cmb)
		unix.Close(f.cmbFD)
	}
	unix.Close(f.request)
}

// SetHook makes h decide about every command that is fetched; nil lets all be executed. h runs on the fake's thread.
func (f *Controller) SetHook(h func(*Command) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = h
}

// SetKnobs changes the faults that are not about one command.
func (f *Controller) SetKnobs(k Knobs) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.knobs = k
}

// Remove takes the controller off the bus: registers read as all ones and nothing is executed.
func (f *Controller) Remove() { f.gone.Store(true) }

// Request raises the interrupt that asks the driver to give the device back.
func (f *Controller) Request() { signal(f.request) }

// SetFatal sets CSTS.CFS.
func (f *Controller) SetFatal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.regs.csts |= 2
}

// Held is how many commands are being held.
func (f *Controller) Held() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held)
}

// Release executes the held commands, data transfer and completion and all, as far as their queues still exist: what
// a controller does that was merely slow.
func (f *Controller) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.held
	f.held = nil
	for _, h := range list {
		f.execute(h.sq, &h.cmd)
	}
}

// WriteHeld does the data transfer of the held reads and keeps them held: DMA after the driver's timeout.
func (f *Controller) WriteHeld(fill byte) (transfers int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.held {
		n := f.namespace(h.cmd.NSID)
		if n == nil || h.cmd.Opcode != opRead {
			continue
		}
		parts, ok := f.dataPointers(&h.cmd, n.bytes(&h.cmd))
		if !ok {
			continue
		}
		for _, p := range parts {
			for i := range p {
				p[i] = fill
			}
		}
		transfers++
	}
	return transfers
}

// Event completes an asynchronous event request with type, info and log page, or keeps it for the next request.
func (f *Controller) Event(kind, info, page uint8) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.eventNow = append(f.eventNow, uint32(kind)|uint32(info)<<8|uint32(page)<<16)
	f.deliverEvents()
}

// Journal is what has happened since the last call: queue creation and deletion, aborts, resets.
func (f *Controller) Journal() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.journal
	f.journal = nil
	return j
}

// note adds to the journal; the caller holds mu.
func (f *Controller) note(format string, args ...any) {
	f.journal = append(f.journal, fmt.Sprintf(format, args...))
}

// run is the controller's own thread of execution.
func (f *Controller) run() {
	idle := 0
	for {
		select {
		case <-f.quit:
			return
		default:
		}
		f.mu.Lock()
		worked := !f.gone.Load() && f.step()
		f.mu.Unlock()
		if worked {
			idle = 0
			continue
		}
		idle++
		switch {
		case idle < 200:
			yield()
		case idle < 2000:
			time.Sleep(10 * time.Microsecond)
		default:
			time.Sleep(200 * time.Microsecond)
		}
	}
}

func yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// step takes what the doorbells say, from every submission queue.
func (f *Controller) step() bool {
	if f.regs.csts&1 == 0 || f.regs.csts&2 != 0 || !f.busMaster() {
		return false
	}
	worked := false
	for id := range uint16(f.cfg.MaxQueues + 1) {
		sq := f.sqs[id]
		if sq == nil || sq.gone {
			continue
		}
		tail := f.bell(2 * uint32(id))
		for n := 0; sq.head != tail && n < 32; n++ {
			if tail >= sq.size {
				f.eventNow = append(f.eventNow, 0x00010100) // invalid doorbell write value
				f.deliverEvents()
				f.setBell(2*uint32(id), sq.head)
				break
			}
			if f.full(f.cqs[sq.cq]) {
				break
			}
			raw := f.translate(sq.base+uint64(sq.head)*64, 64)
			if raw == nil {
				f.regs.csts |= 2
				return true
			}
			c := &f.fetched
			copy(c.raw[:], raw)
			c.Queue, c.Opcode, c.CID, c.NSID = id, c.raw[0], binary.LittleEndian.Uint16(c.raw[2:]), c.Dword(1)
			sq.head = (sq.head + 1) % sq.size
			worked = true
			f.take(sq, c)
			if f.sqs[id] != sq || f.regs.csts&3 != 1 || f.gone.Load() {
				break
			}
			tail = f.bell(2 * uint32(id))
		}
		f.publishEvent(2*uint32(id), tail)
	}
	return worked
}

// take applies the hook to a command.
func (f *Controller) take(sq *subQueue, c *Command) {
	var fault Fault
	if f.hook != nil {
		fault = f.hook(c)
	}
	switch fault.Verdict {
	case Execute:
		f.execute(sq, c)
	case Hold:
		f.held = append(f.held, &held{cmd: *c, sq: sq})
	case Fail:
		f.complete(sq, c.CID, fault.Status, 0)
	case WrongCID:
		f.complete(sq, c.CID^0x5555, 0, 0)
	case WrongPhase:
		cq := f.cqs[sq.cq]
		cq.phase ^= 1
		f.complete(sq, c.CID, 0, 0)
		cq.phase ^= 1
	case WrongSQ:
		f.writeCompletion(sq, sq.id+7, sq.head, c.CID, 0, 0)
	case WrongHead:
		f.writeCompletion(sq, sq.id, sq.size+3, c.CID, 0, 0)
	case Fatal:
		f.regs.csts |= 2
	case Vanish:
		f.gone.Store(true)
	}
}

// full says whether the completion queue has no room.
func (f *Controller) full(cq *compQueue) bool {
	cq.head = f.bell(2*uint32(cq.id) + 1)
	f.publishEvent(2*uint32(cq.id)+1, cq.head)
	return (cq.tail+1)%cq.size == cq.head
}

func (f *Controller) complete(sq *subQueue, cid, status uint16, dw0 uint32) {
	f.writeCompletion(sq, sq.id, sq.head, cid, status, dw0)
}

func (f *Controller) writeCompletion(sq *subQueue, sqid uint16, head uint32, cid, status uint16, dw0 uint32) {
	cq := f.cqs[sq.cq]
	if cq == nil {
		return
	}
	e := f.translate(cq.base+uint64(cq.tail)*16, 16)
	if e == nil {
		f.regs.csts |= 2
		return
	}
	binary.LittleEndian.PutUint32(e, dw0)
	binary.LittleEndian.PutUint32(e[4:], 0)
	binary.LittleEndian.PutUint16(e[8:], uint16(head))
	binary.LittleEndian.PutUint16(e[10:], sqid)
	last := uint32(cid) | uint32(cq.phase)<<16 | uint32(status)<<17
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&e[12])), last)
	cq.tail++
	if cq.tail == cq.size {
		cq.tail = 0
		cq.phase ^= 1
	}
	f.interrupt(cq)
}

func (f *Controller) interrupt(cq *compQueue) {
	if cq.interrupt && int(cq.vector) < len(f.vectors) {
		signal(f.vectors[cq.vector])
		return
	}
	if f.cfg.NeedINTx && binary.LittleEndian.Uint16(f.config[4:])&0x400 == 0 {
		f.regs.csts |= 2
	}
}

func signal(fd int) {
	_, _ = unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}
