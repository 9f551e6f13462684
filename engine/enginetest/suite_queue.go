package enginetest

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// QueueConfig says what the suite of [Queue] is run over.
type QueueConfig struct {
	// Open makes a new node of size bytes that reads as zeroes, and a reference to it for reading and writing. The suite closes it.
	Open func(t testing.TB, size int64) *engine.Ref
	// Held, where there is one, is Open for a node whose requests complete only after release was called, which lets n more go.
	Held  func(t testing.TB, size int64) (ref *engine.Ref, release func(n int))
	Size  int64 // bytes; 0 means 1 MiB
	Depth int   // 0 means 8
	// Room is how many requests an empty queue takes at least; 0 means Depth.
	Room    int
	Arena   dma.Config // Size is filled in
	Poll    bool       // ask the leaf for polled completions
	Forgets bool       // writes go nowhere, and reads give zeroes
	// Allocates leaves out the check that nothing does: for what takes the slow lane, and for fakes in this process.
	Allocates bool
	// NoLeaf leaves out the leaf's own queue, for nodes that have one only to be seen.
	NoLeaf bool

	limit time.Duration // how long a check may poll; 0 means patience
}

// Queue verifies that a node's polled plane keeps to the contract of [engine.Queue]: the queue of a leaf, where the node is one, and the
// Path over it.
func Queue(t *testing.T, cfg QueueConfig) {
	t.Helper()
	Long(t)
	probe := cfg.Open(t, cfg.size())
	_, leaf := probe.Node().(engine.QueueOpener)
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, path bool) {
		for _, c := range cfg.checks(path) {
			t.Run(c.sentence, func(t *testing.T) {
				runtime.LockOSThread() // and never unlocked: the thread ends with the test
				watch(c.sentence, func() { c.run(cfg.begin(t, path)) })
			})
		}
	}
	if leaf && !cfg.NoLeaf {
		t.Run("leaf", func(t *testing.T) { run(t, false) })
	}
	t.Run("path", func(t *testing.T) { run(t, true) })
}

func (c QueueConfig) size() int64 {
	if c.Size == 0 {
		return 1 << 20
	}
	return c.Size
}

func (c QueueConfig) checks(path bool) []check[*queueRun] {
	list := []check[*queueRun]{
		{"what is written is read", (*queueRun).transfers},
		{"all operations", (*queueRun).operations},
		{"a full queue takes fewer", (*queueRun).full},
		{"fields come back", (*queueRun).fields},
		{"nothing to poll", (*queueRun).idle},
		{"kick is enough", (*queueRun).kicked},
		{"wait kicks", (*queueRun).waited},
		{"small polls lose nothing", (*queueRun).smallPolls},
		{"two queues of one thread", (*queueRun).twoQueues},
		{"queues of many threads", (*queueRun).manyThreads},
		{"close ends what is in flight", (*queueRun).closing},
		{"events", (*queueRun).events},
	}
	if !c.Allocates {
		list = append(list, check[*queueRun]{"no allocation", (*queueRun).allocations})
	}
	if c.Held != nil {
		list = append(list, check[*queueRun]{"poll never blocks", (*queueRun).held},
			check[*queueRun]{"close waits", (*queueRun).heldClose})
	}
	if path {
		list = append(list, check[*queueRun]{"errors", (*queueRun).errors}, check[*queueRun]{"any alignment", (*queueRun).unaligned})
		if !c.Forgets {
			list = append(list, check[*queueRun]{"random histories", (*queueRun).history})
		}
	}
	return list
}

// queueRun is one check of one queue, on the thread that owns it.
type queueRun struct {
	testing.TB
	cfg   QueueConfig
	path  bool
	ref   *engine.Ref
	q     engine.Queue
	size  int64
	depth int
	align int64
	want  []byte

	arena *dma.Arena
	slot  int
	reqs  []engine.Request
	copy  []engine.Request // as they were submitted
	state []reqState
	until time.Time
	done  []*engine.Request
}

type reqState uint8

const (
	reqIdle reqState = iota
	reqTaken
	reqDone
)

func (c QueueConfig) begin(t testing.TB, path bool) *queueRun {
	r := c.prepare(t, path)
	r.ref = c.Open(t, c.size())
	r.start()
	return r
}

func (c QueueConfig) prepare(t testing.TB, path bool) *queueRun {
	if c.Depth == 0 {
		c.Depth = 8
	}
	if c.Room == 0 {
		c.Room = c.Depth
	}
	if c.limit == 0 {
		c.limit = patience
	}
	return &queueRun{until: time.Now().Add(c.limit), TB: t, cfg: c, path: path, size: c.size(), depth: c.Depth, want: make([]byte, c.size())}
}

// start opens the queue over the reference.
func (r *queueRun) start() {
	lim := r.ref.Info().Limits
	r.align = max(512, int64(lim.RequestAlign), int64(lim.MemAlign))
	r.slot = 64 << 10
	if lim.MaxTransfer != 0 && !r.path {
		r.slot = int(min(int64(r.slot), int64(lim.MaxTransfer)/r.align*r.align))
	}
	ac := r.cfg.Arena
	ac.Size = max(4, 2*r.depth) * r.slot
	ac.NoHuge = true
	a, err := dma.New(ac)
	r.ok("arena", err)
	r.arena = a
	r.reqs = make([]engine.Request, max(4, 2*r.depth))
	r.copy = make([]engine.Request, len(r.reqs))
	r.state = make([]reqState, len(r.reqs))
	r.done = make([]*engine.Request, 2*len(r.reqs))
	for i := range r.reqs {
		h, err := a.Alloc(r.slot)
		r.ok("arena", err)
		r.reqs[i].Buf, r.reqs[i].Slot = h, uint32(i)
	}
	r.q = r.openQueue(engine.NewPoller())
	r.Cleanup(func() {
		if r.q != nil && !r.stuck() {
			if err := r.q.Close(); err != nil {
				r.Errorf("close of the queue: %v", err)
			}
		}
		for _, err := range []error{r.ref.Close(), a.Close()} {
			if err != nil && !r.stuck() {
				r.Errorf("close: %v", err)
			}
		}
	})
}

// stuck reports whether something is in flight for good: a Close would wait for it.
func (r *queueRun) stuck() bool { return r.cfg.limit != patience && r.Failed() }

func (r *queueRun) openQueue(p *engine.Poller) engine.Queue {
	r.Helper()
	if r.path {
		q, err := engine.OpenPath(bg, r.ref, engine.PathConfig{Poller: p, Depth: r.depth, Arenas: []*dma.Arena{r.arena}, Poll: r.cfg.Poll, Workers: 3})
		r.ok("open path", err)
		return q
	}
	q, err := r.ref.Node().(engine.QueueOpener).OpenQueue(bg, engine.QueueConfig{
		Poller: p, Depth: r.depth, Arenas: []*dma.Arena{r.arena}, Poll: r.cfg.Poll,
	})
	r.ok("open queue", err)
	return q
}

func (r *queueRun) ok(what string, err error) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

func (r *queueRun) buf(i int) []byte { return dma.Bytes(r.reqs[i].Buf, int(r.reqs[i].Len)) }

// set prepares request i; a write gets the pattern of its seed.
func (r *queueRun) set(i int, op engine.Op, off, n int64, seed uint64) {
	q := &r.reqs[i]
	q.Op, q.Off, q.Len, q.Flags, q.User = op, off, uint32(n), 0, seed
	q.Issued, q.Done = int64(seed), -int64(seed)
	if op > engine.OpWrite {
		return
	}
	b := dma.Bytes(q.Buf, int(n))
	if pattern(b, off, ^seed); op == engine.OpWrite {
		pattern(b, off, seed)
	}
}

// submit offers requests [from, to) and returns how many were taken.
func (r *queueRun) submit(from, to int) int {
	r.Helper()
	list := make([]*engine.Request, 0, to-from)
	for i := from; i < to; i++ {
		r.copy[i] = r.reqs[i]
		list = append(list, &r.reqs[i])
	}
	n := r.q.Submit(list)
	if n < 0 || n > len(list) {
		r.Fatalf("Submit of %d takes %d", len(list), n)
	}
	for i := range n {
		r.state[from+i] = reqTaken
	}
	return n
}

// poll takes what is complete and looks at each of it.
func (r *queueRun) poll(done []*engine.Request) int {
	r.Helper()
	n := r.q.Poll(done)
	if n == 0 && time.Now().After(r.until) {
		r.Fatal("something that was submitted does not complete")
	}
	if n < 0 || n > len(done) {
		r.Fatalf("Poll into %d returns %d", len(done), n)
	}
	for _, q := range done[:n] {
		i := int(q.Slot)
		if q != &r.reqs[i] {
			r.Fatalf("Poll returns a request that is not the caller's")
		}
		if r.state[i] != reqTaken {
			r.Fatalf("request %d completes, and is not under way", i)
		}
		r.state[i] = reqDone
		r.unchanged(i)
	}
	return n
}

// unchanged wants the caller's fields as they were submitted, and a result that can be.
func (r *queueRun) unchanged(i int) {
	r.Helper()
	q, w := &r.reqs[i], &r.copy[i]
	if q.Off != w.Off || q.Len != w.Len || q.Buf != w.Buf || q.Op != w.Op || q.Flags != w.Flags || q.User != w.User ||
		q.Slot != w.Slot || q.Issued != w.Issued || q.Done != w.Done {
		r.Fatalf("request %d comes back changed: %+v, was %+v", i, q, w)
	}
	if q.Op <= engine.OpWrite && q.Res > int32(q.Len) {
		r.Fatalf("request %d of %d bytes moved %d", i, q.Len, q.Res)
	}
	if (q.Res < 0) != (q.Err() != nil) {
		r.Fatalf("request %d has result %d and error %v", i, q.Res, q.Err())
	}
}

// finish polls until the first n requests are complete.
func (r *queueRun) finish(n int) {
	r.Helper()
	for i := 0; i < n; {
		if r.state[i] == reqDone {
			i++
			continue
		}
		if r.poll(r.done) == 0 {
			r.ok("wait", r.q.Wait(10*time.Millisecond))
		}
	}
}

// all submits requests [0, n) and completes them; transfers that a leaf cuts short go on by the blocking plane.
func (r *queueRun) all(n int) {
	r.Helper()
	sent := 0
	for sent < n {
		sent += r.submit(sent, n)
		r.ok("kick", r.q.Kick())
		r.finish(sent)
	}
	for i := range n {
		r.complete(i)
	}
}

// complete judges a finished request that must have succeeded.
func (r *queueRun) complete(i int) {
	r.Helper()
	q := &r.reqs[i]
	r.ok(q.Op.String(), q.Err())
	if q.Op > engine.OpWrite {
		return
	}
	p := r.buf(i)
	moved := int64(q.Res)
	switch {
	case moved == int64(q.Len):
	case r.path:
		r.Fatalf("a Path moves %d of %d bytes", moved, q.Len)
	case q.Op == engine.OpRead:
		r.ok("rest of a read", r.ref.ReadAt(bg, p[moved:], q.Off+moved))
	default:
		r.ok("rest of a write", r.ref.WriteAt(bg, p[moved:], q.Off+moved, 0))
	}
	if q.Op == engine.OpWrite {
		if !r.cfg.Forgets {
			copy(r.want[q.Off:], p)
		}
		return
	}
	if want := r.want[q.Off : q.Off+int64(q.Len)]; !bytes.Equal(p, want) {
		r.Fatalf("read at %#x+%d: %s", q.Off, q.Len, differ(p, want, q.Off))
	}
}

// content compares the node with what is wanted, by the blocking plane.
func (r *queueRun) content() {
	r.Helper()
	p := make([]byte, r.size)
	r.ok("read", r.ref.ReadAt(bg, p, 0))
	if !bytes.Equal(p, r.want) {
		r.Fatalf("the node: %s", differ(p, r.want, 0))
	}
}

// supports reports whether the queue may be given an operation.
func (r *queueRun) supports(op engine.Op) bool {
	if op <= engine.OpWrite || r.path {
		return true
	}
	ops, ok := r.q.(engine.QueueOps)
	return ok && ops.Supports(op)
}
