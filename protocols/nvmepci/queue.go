package nvmepci

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/nvme"
)

// OpenQueue makes a polled queue: a queue pair of its own, or a place at the shared one.
func (n *node) OpenQueue(ctx context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	if n.ns.MetadataSize != 0 && !n.ns.ControllerProtects() {
		return nil, engine.Errf(engine.ErrUnsupported, "blocks with %d bytes of metadata have no polled plane", n.ns.MetadataSize)
	}
	bases, err := n.h.mapArenas(cfg.Arenas)
	if err != nil {
		return nil, err
	}
	q, err := n.openPair(ctx, cfg, bases)
	if err != nil {
		return nil, errors.Join(err, n.h.unmapArenas(cfg.Arenas))
	}
	return q, nil
}

// openPair leaves the last queue pair that the controller grants to be shared.
func (n *node) openPair(ctx context.Context, cfg engine.QueueConfig, bases []uint64) (engine.Queue, error) {
	h := n.h
	h.mu.Lock()
	defer h.mu.Unlock()
	const blocking = 1
	left := h.ctrl.Queues() - blocking - h.pairs
	if h.shared != nil || left <= 1 {
		return h.joinShared(ctx, n, cfg, bases)
	}
	size := n.size
	for size < 1024 && size <= cfg.Depth {
		size *= 2
	}
	hw, err := h.ctrl.OpenQueueSize(ctx, size)
	if err != nil {
		return nil, failure(err)
	}
	q, err := newQueue(n, hw, cfg.Arenas, bases)
	if err != nil {
		return nil, errors.Join(failure(err), hw.Close())
	}
	h.pairs++
	if hw.EventFD() >= 0 {
		return &eventQueue{q}, nil
	}
	return q, nil
}

// slot is what belongs to a command in flight, by its identifier.
type slot struct {
	req   *engine.Request
	owner uint16 // at a shared queue
	tries uint8
	list  int16 // index of its range list, -1 without
	group int16 // index of the request's parts, -1 when the command is the whole request
	span  span  // the part, when there are several
}

// span is a part of a request in blocks.
type span struct {
	slba  uint64
	count uint32
	iova  uint64
}

// group counts the parts of a request that crosses a boundary of the namespace.
type group struct {
	req    *engine.Request
	left   int32
	owner  uint16
	status nvme.Status
}

// queue is the polled plane over one queue pair. The fast path is a read or write that is one command: Submit and Poll
// then touch the request, the pair and one slot.
type queue struct {
	n       *node
	hw      *nvme.Queue
	bases   []uint64 // of arenas, by number
	arenas  []*dma.Arena
	slots   []slot
	done    [64]nvme.Done
	shift   uint8
	cdw12   [2]uint32 // of a read and a write, without the count
	plain   bool      // reads and writes need nothing but CDW12: no protection information, no boundary
	owner   uint16
	owners  []uint16          // of what poll returned last, at a shared queue
	failed  []*engine.Request // ended without having been in flight
	owed    []uint16          // owners of failed
	lists   *nvme.Memory
	free    []int16 // free range lists
	groups  []group
	freeGrp []int16
	retries []retry
	nap     nap
}

// retry is a command that is to be sent again.
type retry struct {
	slot slot
	at   int64 // engine's clock
}

// opcodes of the two fast operations.
var opcodes = [2]uint8{engine.OpRead: nvme.OpRead, engine.OpWrite: nvme.OpWrite}

const (
	listSize  = 16 // one range
	maxGroups = 64
)

func newQueue(n *node, hw *nvme.Queue, arenas []*dma.Arena, bases []uint64) (*queue, error) {
	depth := hw.Size()
	q := &queue{
		n: n, hw: hw, bases: bases, arenas: arenas, slots: make([]slot, depth+1), shift: n.shift,
		plain: n.flags == 0 && n.ns.Boundary == 0, cdw12: [2]uint32{uint32(n.flags), uint32(n.flags)},
		owners: make([]uint16, 64), failed: make([]*engine.Request, 0, depth), owed: make([]uint16, 0, depth),
		groups: make([]group, maxGroups), retries: make([]retry, 0, depth),
	}
	for i := range maxGroups {
		q.freeGrp = append(q.freeGrp, int16(i))
	}
	if n.discard {
		m, err := n.h.ctrl.NewMemory(depth * listSize)
		if err != nil {
			return nil, err
		}
		q.lists = m
		for i := range depth {
			q.free = append(q.free, int16(i))
		}
	}
	return q, nil
}

// Supports says which operations have a command.
func (q *queue) Supports(op engine.Op) bool {
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

// Submit puts requests into the submission queue, as many as it takes.
func (q *queue) Submit(reqs []*engine.Request) int {
	for i, r := range reqs {
		if r.Op > engine.OpWrite || !q.plain {
			if !q.submitSlow(r) {
				return q.refused(reqs, i)
			}
			continue
		}
		cdw12 := q.cdw12[r.Op] | (r.Len>>q.shift - 1)
		if r.Flags&engine.FUA != 0 {
			cdw12 |= uint32(nvme.FUA)
		}
		cid, ok := q.hw.Prepare(opcodes[r.Op], q.n.ns.NSID, uint64(r.Off)>>q.shift, cdw12, q.bases[r.Buf.Arena()]+r.Buf.Offset(), r.Len)
		if !ok {
			return q.refused(reqs, i)
		}
		q.slots[cid] = slot{req: r, owner: q.owner, list: -1, group: -1}
	}
	return len(reqs)
}

// refused takes everything that a dead queue cannot take, to fail it at the next Poll; a full one, or one that is being
// recovered, takes it later.
func (q *queue) refused(reqs []*engine.Request, i int) int {
	if !q.hw.Dead() {
		return i
	}
	for _, r := range reqs[i:] {
		if len(q.failed) == cap(q.failed) {
			return i
		}
		q.fail(r, q.owner)
		i++
	}
	return i
}

func (q *queue) fail(r *engine.Request, owner uint16) {
	r.Fail(failure(q.hw.Err()))
	q.failed = append(q.failed, r)
	q.owed = append(q.owed, owner)
}

// submitSlow is every operation but a plain read or write.
func (q *queue) submitSlow(r *engine.Request) bool {
	slba, count := uint64(r.Off)>>q.shift, r.Len>>q.shift
	switch r.Op {
	case engine.OpFlush:
		cmd := nvme.Flush(q.n.ns.NSID)
		return q.push(&cmd, slot{req: r, owner: q.owner, list: -1, group: -1}, 0, 0)
	case engine.OpZero:
		f := fua(r.Flags)
		if r.Flags&engine.MayUnmap != 0 && q.n.readsNil {
			f |= nvme.DeallocateZeros
		}
		cmd := q.n.zeroes(slba, count, f)
		return q.push(&cmd, slot{req: r, owner: q.owner, list: -1, group: -1}, 0, 0)
	case engine.OpDiscard:
		return q.submitDiscard(r, slot{req: r, owner: q.owner, group: -1})
	default:
		return q.submitParts(r, slba, count)
	}
}

func (q *queue) submitDiscard(r *engine.Request, s slot) bool {
	if len(q.free) == 0 {
		return false
	}
	s.list = q.free[len(q.free)-1]
	at := q.lists.Slice(int(s.list)*listSize, listSize)
	nvme.PutRange(at.Bytes, nvme.Range{SLBA: uint64(r.Off) >> q.shift, LBACount: r.Len >> q.shift})
	cmd := nvme.DatasetManagement(q.n.ns.NSID, 1, true)
	if !q.push(&cmd, s, at.IOVA, listSize) {
		return false
	}
	q.free = q.free[:len(q.free)-1]
	return true
}

// submitParts cuts a read or write at the namespace's boundaries. All parts go, or none does.
func (q *queue) submitParts(r *engine.Request, slba uint64, count uint32) bool {
	iova := q.bases[r.Buf.Arena()] + r.Buf.Offset()
	ns := q.n.ns
	first := ns.Span(slba, uint64(count))
	if first == count {
		s := slot{req: r, owner: q.owner, list: -1, group: -1, span: span{slba, count, iova}}
		return q.pushPart(s)
	}
	parts := 1
	for at, left := slba+uint64(first), count-first; left > 0; parts++ {
		k := ns.Span(at, uint64(left))
		at, left = at+uint64(k), left-k
	}
	if len(q.freeGrp) == 0 || q.hw.Size()-q.hw.InFlight() < parts {
		return false
	}
	g := q.freeGrp[len(q.freeGrp)-1]
	sent := int32(0)
	for left := count; left > 0; sent++ {
		k := ns.Span(slba, uint64(left))
		if !q.pushPart(slot{req: r, owner: q.owner, list: -1, group: g, span: span{slba, k, iova}}) {
			break // the queue has just stopped
		}
		slba, left, iova = slba+uint64(k), left-k, iova+uint64(k)<<q.shift
	}
	if sent == 0 {
		return false
	}
	q.freeGrp = q.freeGrp[:len(q.freeGrp)-1]
	q.groups[g] = group{req: r, left: sent, owner: q.owner}
	if int(sent) < parts {
		q.groups[g].status = nvme.StatusHostAborted
	}
	return true
}

func (q *queue) pushPart(s slot) bool {
	cmd := q.n.readWrite(opcodes[s.req.Op], s.span.slba, s.span.count, fua(s.req.Flags))
	return q.push(&cmd, s, s.span.iova, s.span.count<<q.shift)
}

func (q *queue) push(cmd *nvme.Command, s slot, iova uint64, n uint32) bool {
	cid, ok := q.hw.Push(cmd, iova, n)
	if ok {
		q.slots[cid] = s
	}
	return ok
}

// Kick rings the doorbell.
func (q *queue) Kick() error {
	q.hw.Kick()
	return nil
}

// Poll takes completions.
func (q *queue) Poll(done []*engine.Request) int {
	if len(q.failed)+len(q.retries) > 0 {
		return q.pollSlow(done)
	}
	return q.harvest(done, 0)
}

// harvest turns completions into requests, done[:n] being taken already.
func (q *queue) harvest(done []*engine.Request, n int) int {
	k := q.hw.Poll(q.done[:min(len(q.done), len(done)-n)])
	for _, d := range q.done[:k] {
		s := &q.slots[d.CID]
		if d.Status == 0 && s.group < 0 && s.list < 0 {
			s.req.Res = int32(s.req.Len)
			q.owners[n] = s.owner
			done[n] = s.req
			n++
			continue
		}
		if r := q.finish(*s, d.Status); r != nil {
			q.owners[n] = s.owner
			done[n] = r
			n++
		}
	}
	return n
}

// finish ends a command that was not a whole, plain success; nil when its request is not over.
func (q *queue) finish(s slot, status nvme.Status) *engine.Request {
	if s.list >= 0 {
		q.free = append(q.free, s.list)
	}
	if status.Retryable() && s.tries < maxRetries && status != nvme.StatusHostAborted {
		at := engine.Now() + int64(q.n.retryDelay(status, int(s.tries)))
		s.tries++
		q.retries = append(q.retries, retry{s, at})
		return nil
	}
	r := s.req
	if s.group >= 0 {
		g := &q.groups[s.group]
		if !status.OK() && g.status == 0 {
			g.status = status
		}
		if g.left--; g.left > 0 {
			return nil
		}
		status = g.status
		q.freeGrp = append(q.freeGrp, s.group)
	}
	switch {
	case status.OK():
		r.Res = int32(r.Len)
	case status == nvme.StatusHostAborted && q.hw.Err() != nil:
		r.Fail(failure(q.hw.Err()))
	default:
		r.Fail(&engine.Error{Kind: statusKind(status), Len: -1, Cause: &nvme.StatusError{
			Status: status, Opcode: opcodeOf(r.Op), NSID: q.n.ns.NSID,
		}})
	}
	return r
}

func opcodeOf(op engine.Op) uint8 {
	switch op {
	case engine.OpRead, engine.OpWrite:
		return opcodes[op]
	case engine.OpDiscard:
		return nvme.OpDatasetManagement
	case engine.OpZero:
		return nvme.OpWriteZeroes
	default:
		return nvme.OpFlush
	}
}

// pollSlow also hands out requests that have failed and sends commands again whose time has come.
func (q *queue) pollSlow(done []*engine.Request) int {
	n := 0
	for len(q.failed) > 0 && n < min(len(done), len(q.owners)) {
		last := len(q.failed) - 1
		done[n], q.owners[n] = q.failed[last], q.owed[last]
		q.failed, q.owed = q.failed[:last], q.owed[:last]
		n++
	}
	now := engine.Now()
	for i := 0; i < len(q.retries); {
		if q.retries[i].at > now || !q.again(q.retries[i].slot) {
			i++
			continue
		}
		last := len(q.retries) - 1
		q.retries[i] = q.retries[last]
		q.retries = q.retries[:last]
	}
	q.hw.Kick()
	room := min(len(done), len(q.owners))
	return q.harvest(done[:room], n)
}

// again sends a command again; false when the queue is full. On a dead queue it fails.
func (q *queue) again(s slot) bool {
	if q.hw.Dead() {
		if r := q.finish(slot{req: s.req, owner: s.owner, tries: maxRetries, list: -1, group: s.group}, nvme.StatusHostAborted); r != nil {
			q.failed = append(q.failed, r)
			q.owed = append(q.owed, s.owner)
		}
		return true
	}
	r := s.req
	switch r.Op {
	case engine.OpFlush:
		cmd := nvme.Flush(q.n.ns.NSID)
		return q.push(&cmd, s, 0, 0)
	case engine.OpZero:
		cmd := q.n.zeroes(uint64(r.Off)>>q.shift, r.Len>>q.shift, fua(r.Flags))
		return q.push(&cmd, s, 0, 0)
	case engine.OpDiscard:
		return q.submitDiscard(r, s)
	default:
		if s.span.count == 0 { // it went the fast way
			s.span = span{uint64(r.Off) >> q.shift, r.Len >> q.shift, q.bases[r.Buf.Arena()] + r.Buf.Offset()}
		}
		return q.pushPart(s)
	}
}

// busy says whether anything is in flight or owed.
func (q *queue) busy() bool { return q.hw.InFlight()+len(q.failed)+len(q.retries) > 0 }

// Close waits until nothing is in flight and gives the pair back.
func (q *queue) Close() error {
	q.drain()
	err := q.hw.Close()
	q.n.h.mu.Lock()
	q.n.h.pairs--
	q.n.h.mu.Unlock()
	return errors.Join(failure(err), q.freeLists(), q.n.h.unmapArenas(q.arenas))
}

func (q *queue) drain() {
	var done [64]*engine.Request
	for q.busy() {
		q.hw.Kick()
		if q.Poll(done[:]) == 0 {
			runtime.Gosched()
		}
	}
}

func (q *queue) freeLists() error {
	if q.lists == nil {
		return nil
	}
	return failure(q.lists.Free())
}

// eventQueue is a queue with an interrupt.
type eventQueue struct{ *queue }

// EventFD is signalled by completions.
func (q *eventQueue) EventFD() int { return q.hw.EventFD() }

// Arm takes an old signal out before the caller looks for completions a last time.
func (q *eventQueue) Arm() bool {
	q.hw.Kick()
	q.hw.ClearEvent()
	return !q.hw.Ready() && len(q.failed)+len(q.retries) == 0
}

// Wait sleeps until the interrupt. The bound keeps the recovery of late commands going.
func (q *eventQueue) Wait(limit time.Duration) error {
	q.hw.Kick()
	if len(q.failed)+len(q.retries) > 0 {
		return nil
	}
	const most = 100 * time.Millisecond
	if limit < 0 || limit > most {
		limit = most
	}
	return failure(q.hw.Wait(limit))
}
