package nvmepci

import (
	"context"
	"errors"
	"slices"
	"time"
	"unsafe"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/uring"
)

// commandQueue is the polled plane of a namespace of the kernel's driver: NVMe commands in the large entries of a ring.
// Linux include/uapi/linux/nvme_ioctl.h "io_uring async commands"
type commandQueue struct {
	n     *kernelNode
	ring  *uring.Ring
	fd    int32
	bases [dma.MaxArenas]uint64 // address of an arena's first byte
	fixed [dma.MaxArenas]uint16 // index of its registered buffer plus 1, 0 for none
	slots []*engine.Request
	free  []uint32
	err   error // of a Kick, once the ring is of no use any more

	polled, unpolled bool // completions are polled for; were to be

	lists    []byte // range lists of discards, one a slot
	listBase uint64
	arena    *dma.Arena
}

// OpenQueue makes a ring of its own: other leaves have no use for entries of 128 bytes.
func (n *kernelNode) OpenQueue(_ context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	if n.ns.MetadataSize != 0 && !n.ns.ControllerProtects() {
		return nil, engine.Errf(engine.ErrUnsupported, "blocks with %d bytes of metadata have no polled plane", n.ns.MetadataSize)
	}
	depth := uint32(min(max(cfg.Depth, 1), 4096))
	c := uring.Config{Entries: depth, CQEntries: 2 * depth, BigSQE: true, BigCQE: true, IOPoll: cfg.Poll && pollQueues()}
	ring, err := uring.New(c)
	if err != nil {
		return nil, failure(err)
	}
	q := &commandQueue{n: n, ring: ring, fd: int32(n.dev.File().Fd()), polled: c.IOPoll, unpolled: cfg.Poll && !c.IOPoll}
	if err := q.prepare(cfg.Arenas, int(depth)); err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

// Traits are what the ring has of what was asked for.
func (q *commandQueue) Traits() []string {
	t := []string{"io_uring_cmd"}
	if slices.ContainsFunc(q.fixed[:], func(i uint16) bool { return i > 0 }) {
		t = append(t, "registered buffers")
	}
	if q.polled {
		t = append(t, "polled completions")
	}
	return t
}

// Notes say in what the queue is less than what was asked for.
func (q *commandQueue) Notes() []string {
	if q.unpolled {
		return []string{"completions are not polled for: the nvme module has no poll_queues"}
	}
	return nil
}

// pollQueues says whether the kernel's driver has queues to be polled; polling others would wait for ever.
func pollQueues() bool {
	n, ok := readNumber("/sys/module/nvme/parameters/poll_queues")
	return ok && n > 0
}

func (q *commandQueue) prepare(arenas []*dma.Arena, depth int) error {
	for i := range depth {
		q.free = append(q.free, uint32(i))
	}
	q.slots = make([]*engine.Request, depth)
	// The arena of the range lists is also where registered buffers are tried out: of more pages than a command has
	// segments.
	var err error
	if q.arena, err = dma.New(dma.Config{Size: max(depth*listSize, 1<<20), NoHuge: true}); err != nil {
		return failure(err)
	}
	q.lists, q.listBase = q.arena.Bytes(0, q.arena.Len()), uint64(q.arena.Base())
	bufs := []uring.Iovec{{Base: q.listBase, Len: uint64(len(q.lists))}}
	for _, a := range arenas {
		q.bases[a.ID()] = uint64(a.Base())
		bufs = append(bufs, uring.Iovec{Base: uint64(a.Base()), Len: uint64(a.Len())})
	}
	registered := !q.n.bare && q.ring.RegisterBuffers(bufs) == nil
	if err := q.ring.Enable(); err != nil {
		return failure(err)
	}
	// Without registered buffers each command pins its pages: slower, and no error.
	if registered && q.tryFixed() {
		for i, a := range arenas {
			q.fixed[a.ID()] = uint16(i + 2)
		}
	}
	return nil
}

// tryFixed reads a block into a large registered buffer. Linux 6.1 takes the whole buffer's pages for the command's and
// answers EINVAL when they are more than the device's limit of segments.
func (q *commandQueue) tryFixed() bool {
	sqe := q.ring.SQE()
	sqe.PrepURingCmd(q.fd, nvme.UringCommandIO)
	sqe.SetCmdFixed(0)
	cmd := q.n.readWrite(nvme.OpRead, 0, 1, 0)
	q.put(sqe, &cmd, q.listBase, q.n.ns.BlockSize)
	for q.ring.CQ().Ready() == 0 {
		if q.ring.Wait(time.Second) != nil {
			return false
		}
	}
	res := q.ring.CQ().At(0).Res
	q.ring.CQ().Release(1)
	return res >= 0 // a status of the controller says that the kernel has let it through
}

// Supports says which operations have a command.
func (q *commandQueue) Supports(op engine.Op) bool {
	switch op {
	case engine.OpRead, engine.OpWrite, engine.OpFlush:
		return true
	case engine.OpDiscard:
		return q.n.discard
	case engine.OpZero:
		return q.n.zero
	default:
		return false
	}
}

// Submit fills entries, as many as there are.
func (q *commandQueue) Submit(reqs []*engine.Request) int {
	for i, r := range reqs {
		if len(q.free) == 0 {
			return i
		}
		sqe := q.ring.SQE()
		if sqe == nil {
			return i
		}
		top := len(q.free) - 1
		slot := q.free[top]
		q.free = q.free[:top]
		q.slots[slot] = r
		q.fill(sqe, r, slot)
	}
	return len(reqs)
}

// fill builds the request's command. A namespace's boundary is only an advice, so that no request is cut here.
func (q *commandQueue) fill(sqe *uring.SQE, r *engine.Request, slot uint32) {
	sqe.PrepURingCmd(q.fd, nvme.UringCommandIO)
	sqe.UserData = uint64(slot)
	slba, count := uint64(r.Off)>>q.n.shift, r.Len>>q.n.shift
	var cmd nvme.Command
	var addr uint64
	var n uint32
	switch r.Op {
	case engine.OpFlush:
		cmd = nvme.Flush(q.n.ns.NSID)
	case engine.OpZero:
		f := fua(r.Flags)
		if r.Flags&engine.MayUnmap != 0 && q.n.readsNil {
			f |= nvme.DeallocateZeros
		}
		cmd = q.n.zeroes(slba, count, f)
	case engine.OpDiscard:
		nvme.PutRange(q.lists[slot*listSize:], nvme.Range{SLBA: slba, LBACount: count})
		cmd = nvme.DatasetManagement(q.n.ns.NSID, 1, true)
		addr, n = q.listBase+uint64(slot*listSize), listSize
	default:
		cmd = q.n.readWrite(opcodes[r.Op], slba, count, fua(r.Flags))
		arena := r.Buf.Arena()
		addr, n = q.bases[arena]+r.Buf.Offset(), r.Len
		if f := q.fixed[arena]; f != 0 {
			sqe.SetCmdFixed(f - 1)
		}
	}
	q.put(sqe, &cmd, addr, n)
}

// put makes cmd the entry's command.
func (q *commandQueue) put(sqe *uring.SQE, cmd *nvme.Command, addr uint64, n uint32) {
	room := sqe.Cmd()
	clear(room[nvme.UringCommandSize:])
	p := (*nvme.Passthrough)(unsafe.Pointer(room)) // 80 bytes, as large as the room
	cmd.SetPassthrough(p, uintptr(addr), n, 0, 0)
}

// Kick enters the kernel once for the batch.
func (q *commandQueue) Kick() error {
	if err := q.ring.Kick(); err != nil {
		q.err = failure(err)
		return q.err
	}
	return nil
}

// Poll takes completions; the kernel is entered only when it says that it has some, or to poll the device.
func (q *commandQueue) Poll(done []*engine.Request) int {
	cq := q.ring.CQ()
	ready := cq.Ready()
	if ready == 0 && q.ring.Pending() {
		if q.ring.Fetch() != nil {
			return 0 // Kick says why
		}
		ready = cq.Ready()
	}
	n := 0
	for ; n < len(done) && uint32(n) < ready; n++ {
		e := cq.At(uint32(n))
		slot := uint32(e.UserData)
		r := q.slots[slot]
		q.slots[slot] = nil
		q.free = append(q.free, slot)
		q.finish(r, e.Res)
		done[n] = r
	}
	if n > 0 {
		cq.Release(uint32(n))
	}
	return n
}

// finish reads a completion: a negative result is the kernel's errno, a positive one the controller's status.
func (q *commandQueue) finish(r *engine.Request, res int32) {
	switch {
	case res == 0:
		r.Res = int32(r.Len)
	case res < 0:
		r.Res = res
	default:
		status := nvme.Status(res)
		r.Fail(&engine.Error{Kind: statusKind(status), Len: -1, Cause: &nvme.StatusError{
			Status: status, Opcode: opcodeOf(r.Op), NSID: q.n.ns.NSID,
		}})
	}
}

// Wait kicks and sleeps in the kernel.
func (q *commandQueue) Wait(limit time.Duration) error { return failure(q.ring.Wait(limit)) }

// EventFD is the ring itself.
func (q *commandQueue) EventFD() int { return q.ring.FD() }

// Arm kicks, and says whether nothing is there yet.
func (q *commandQueue) Arm() bool {
	if q.ring.Kick() != nil || (q.ring.Pending() && q.ring.Fetch() != nil) {
		return false
	}
	return q.ring.CQ().Ready() == 0
}

// Close waits for what is in flight.
func (q *commandQueue) Close() error {
	var done [64]*engine.Request
	for len(q.free) < len(q.slots) && q.err == nil {
		if err := q.Kick(); err != nil {
			break
		}
		if q.Poll(done[:]) == 0 {
			_ = q.ring.Wait(10 * time.Millisecond) // Kick says what is wrong
		}
	}
	err := q.ring.Close()
	if q.arena != nil {
		err = errors.Join(err, q.arena.Close())
	}
	return failure(err)
}
