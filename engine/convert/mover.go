package convert

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// slot is a chunk under way.
type slot struct {
	chunk
	m     *mover
	no    uint64
	bufs  [2]dma.Handle
	mem   [2][]byte
	reqs  []engine.Request
	spans []span
	left  int // requests under way
	phase Phase
	err   error
	given bool // to a packer, the salvager or the copier, which has sent it back
}

// lane is a Path with what it has not taken yet.
type lane struct {
	path    *engine.Path
	pending []*engine.Request
	side    int // -1: the target
}

func (l *lane) push() {
	if len(l.pending) == 0 {
		return
	}
	n := l.path.Submit(l.pending)
	l.pending = l.pending[:copy(l.pending, l.pending[n:])]
}

// mover is one locked OS thread with its Paths. All its fields are its own; slots come back from other goroutines by the channel back.
type mover struct {
	j      *job
	poller *engine.Poller
	arena  *dma.Arena
	slots  []slot
	free   []*slot
	lanes  []*lane
	parts  [2][]*lane // by side and part; nil until needed
	target *lane
	done   []*engine.Request
	back   chan *slot
	out    int // slots at other goroutines
	busy   int // slots under way
	closed bool
	turn   uint64 // Options.InOrder: the chunk that may be written
	ready  map[uint64]*slot
}

// sharedBufs reports whether one of the ends needs Shared arenas.
func (j *job) sharedBufs() bool {
	for _, sd := range j.sides {
		for i := range sd.parts {
			if sd.parts[i].ref.SharedBuffers() {
				return true
			}
		}
	}
	return j.target != nil && j.target.SharedBuffers()
}

// move runs a mover until there are no chunks left.
func (j *job) move() (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := &mover{j: j, poller: engine.NewPoller(), done: make([]*engine.Request, 64), back: make(chan *slot, j.tune.Depth)}
	if j.inOrder {
		m.ready = make(map[uint64]*slot)
	}
	if m.arena, err = dma.New(dma.Config{Size: j.tune.Depth * len(j.sides) * j.tune.Chunk, Shared: j.sharedBufs()}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	m.slots = make([]slot, j.tune.Depth)
	for i := range m.slots {
		s := &m.slots[i]
		s.m, s.no = m, uint64(i)
		for k := range j.sides {
			if s.bufs[k], err = m.arena.Alloc(j.tune.Chunk); err != nil {
				return err
			}
		}
		m.free = append(m.free, s)
	}
	return m.loop()
}

func (m *mover) close() error {
	var err error
	m.j.mu.Lock()
	for _, l := range m.lanes {
		st := l.path.Stats()
		m.j.stats.Paths++
		m.j.stats.Direct += st.Direct
		m.j.stats.Pieces += st.Pieces + st.Zeroed
		m.j.stats.Slow += st.Slow
	}
	m.j.mu.Unlock()
	for _, l := range m.lanes {
		err = errors.Join(err, l.path.Close())
	}
	return errors.Join(err, m.arena.Close())
}

func (m *mover) open(ref *engine.Ref, depth, sideNo int) (*lane, error) {
	p, err := engine.OpenPath(m.j.ctx, ref, engine.PathConfig{
		Poller: m.poller, Depth: depth, Arenas: []*dma.Arena{m.arena}, Workers: min(max(2, runtime.GOMAXPROCS(0)), depth),
	})
	if err != nil {
		return nil, err
	}
	l := &lane{path: p, side: sideNo}
	m.lanes = append(m.lanes, l)
	return l, nil
}

// loop takes chunks while there are slots, and polls.
func (m *mover) loop() error {
	for {
		for len(m.free) > 0 && !m.closed {
			if !m.take() {
				break
			}
		}
		if m.busy == 0 {
			if m.closed {
				return nil
			}
			continue
		}
		if !m.poll() {
			m.wait()
		}
	}
}

// take begins a chunk; it waits for one only when nothing is under way. False: there is none now.
func (m *mover) take() bool {
	var c chunk
	var ok bool
	if m.busy == 0 {
		c, ok = <-m.j.chunks
	} else {
		select {
		case c, ok = <-m.j.chunks:
		default:
			return false
		}
	}
	if !ok || m.j.failed() != nil || m.j.ctx.Err() != nil {
		m.closed = true
		return false
	}
	s := m.free[len(m.free)-1]
	m.free = m.free[:len(m.free)-1]
	m.busy++
	s.chunk, s.err, s.phase, s.given = c, nil, Reading, false
	m.begin(s)
	return true
}

func (m *mover) begin(s *slot) {
	switch {
	case s.kind != chunkMove:
		s.spans = append(s.spans[:0], span{0, 0, true})
		m.write(s)
	case m.j.copier.wants():
		m.give(s, m.j.copier.copy)
	default:
		m.read(s)
	}
}

// read asks for the chunk of every side that it is needed of.
func (m *mover) read(s *slot) {
	s.phase, s.left = Reading, 0
	s.reqs = s.reqs[:0]
	n := int(s.n)
	for k, sd := range m.j.sides {
		s.mem[k] = m.arena.Bytes(s.bufs[k], n)
		if s.need&(1<<k) == 0 {
			continue
		}
		for at := 0; at < n; {
			i, run := sd.at(s.off + int64(at))
			step := int(min(run, int64(n-at)))
			if i < 0 {
				clear(s.mem[k][at : at+step])
			} else {
				s.reqs = append(s.reqs, engine.Request{
					Op: engine.OpRead, Off: s.off + int64(at) - sd.parts[i].from + sd.parts[i].off, Len: uint32(step),
					Buf: s.bufs[k].Add(uint32(at)), User: s.no | uint64(k)<<32 | uint64(i)<<40,
				})
			}
			at += step
		}
	}
	s.left = len(s.reqs)
	if s.left == 0 {
		m.arrived(s)
		return
	}
	for i := range s.reqs {
		r := &s.reqs[i]
		l, err := m.lane(int(r.User>>32&0xff), int(r.User>>40))
		if err != nil {
			s.err = err
			s.left--
			continue
		}
		l.pending = append(l.pending, r)
	}
	if s.left == 0 {
		m.arrived(s)
	}
}

func (m *mover) lane(k, i int) (*lane, error) {
	sd := m.j.sides[k]
	if m.parts[k] == nil {
		m.parts[k] = make([]*lane, len(sd.parts))
	}
	if m.parts[k][i] == nil {
		l, err := m.open(sd.parts[i].ref, 2*m.j.tune.Depth, k)
		if err != nil {
			return nil, err
		}
		m.parts[k][i] = l
	}
	return m.parts[k][i], nil
}

// arrived judges a chunk that was read, or that failed to be.
func (m *mover) arrived(s *slot) {
	j := m.j
	if s.err != nil {
		if j.salvage != nil && !s.given && j.ctx.Err() == nil {
			m.give(s, j.salvageChunk)
			return
		}
		m.end(s)
		return
	}
	j.read.Add(s.n)
	s.given = false
	if j.pack != nil {
		if !j.inOrder {
			m.give(s, nil)
			return
		}
		m.inTurn(s)
		return
	}
	var err error
	if s.spans, err = j.judge(&s.chunk, s.mem, s.spans[:0]); err != nil {
		s.err = err
		m.end(s)
		return
	}
	m.write(s)
}

// write sends the spans of a chunk, when it is its turn.
func (m *mover) write(s *slot) {
	if m.j.inOrder {
		m.inTurn(s)
		return
	}
	m.writeNow(s)
}

// inTurn holds a chunk back until those before it are written. A packer takes the chunks in this order and waits for its turn itself.
func (m *mover) inTurn(s *slot) {
	if m.j.failed() != nil { // the one whose turn it is may never come
		m.busy--
		m.free = append(m.free, s)
		return
	}
	m.ready[s.seq] = s
	for {
		next := m.ready[m.turn]
		if next == nil {
			return
		}
		delete(m.ready, m.turn)
		if m.j.pack == nil {
			m.writeNow(next)
			return // the turn passes on when it has ended
		}
		m.turn++
		if next.kind == chunkMove {
			m.give(next, nil)
		} else {
			m.writeNow(next)
		}
	}
}

func (m *mover) writeNow(s *slot) {
	s.phase = Writing
	s.reqs = s.reqs[:0]
	at := s.off + m.j.shift
	if s.kind == chunkMove {
		for _, x := range s.spans {
			r := engine.Request{Off: at + int64(x.off), Len: uint32(x.n), User: s.no, Op: engine.OpWrite, Buf: s.bufs[0].Add(uint32(x.off))}
			if x.zero {
				if !m.j.zeroSpans {
					continue
				}
				r.Op, r.Buf, r.Flags = engine.OpZero, 0, m.j.zeroFlags
			}
			s.reqs = append(s.reqs, r)
		}
	} else {
		s.reqs = append(s.reqs, engine.Request{Op: engine.OpZero, Off: at, Len: uint32(s.n), Flags: m.j.zeroFlags, User: s.no})
	}
	if s.left = len(s.reqs); s.left == 0 {
		m.end(s)
		return
	}
	if m.target == nil {
		l, err := m.open(m.j.target, max(16, 4*m.j.tune.Depth), -1)
		if err != nil {
			s.err, s.left = err, 0
			m.end(s)
			return
		}
		m.target = l
	}
	for i := range s.reqs {
		m.target.pending = append(m.target.pending, &s.reqs[i])
	}
}

// end settles a chunk.
func (m *mover) end(s *slot) {
	j := m.j
	if s.err != nil {
		j.fail(m.fault(s))
	} else {
		j.tell(s.n)
	}
	m.busy--
	m.free = append(m.free, s)
	if s.err != nil {
		m.abandon()
		return
	}
	if j.inOrder && j.pack == nil && s.seq == m.turn {
		m.turn++
		if next := m.ready[m.turn]; next != nil {
			delete(m.ready, m.turn)
			m.writeNow(next)
		}
	}
}

// abandon gives up the chunks that wait for one that failed.
func (m *mover) abandon() {
	for seq, s := range m.ready {
		delete(m.ready, seq)
		m.busy--
		m.free = append(m.free, s)
	}
}

func (m *mover) fault(s *slot) error {
	var e *Error
	if errors.As(s.err, &e) {
		return e
	}
	e = &Error{Phase: s.phase, Off: s.off, Err: s.err}
	if s.phase == Writing {
		e.Off += m.j.shift
	}
	return e
}

// poll takes what is finished; false when there was nothing.
func (m *mover) poll() bool {
	some := false
	for m.out > 0 {
		select {
		case s := <-m.back:
			some = true
			m.returned(s)
			continue
		default:
		}
		break
	}
	for _, l := range m.lanes {
		l.push()
		for l.path.InFlight() > 0 {
			n := l.path.Poll(m.done)
			for _, r := range m.done[:n] {
				m.finished(l, r)
			}
			some = some || n > 0
			if n < len(m.done) {
				break
			}
		}
	}
	return some
}

func (m *mover) finished(l *lane, r *engine.Request) {
	s := &m.slots[uint32(r.User)]
	if err := r.Err(); err != nil {
		if s.err == nil {
			e := &Error{Phase: s.phase, Off: r.Off, Err: err}
			if l.side >= 0 {
				i := int(r.User >> 40)
				p := &m.j.sides[l.side].parts[i]
				e.Off, e.Side = r.Off-p.off+p.from, l.side
			}
			s.err = e
		}
	} else if s.phase == Writing {
		if r.Op == engine.OpZero {
			m.j.zeroed.Add(int64(r.Len))
		} else {
			m.j.written.Add(int64(r.Len))
		}
	}
	if s.left--; s.left > 0 {
		return
	}
	if s.phase == Reading {
		m.arrived(s)
		return
	}
	m.end(s)
}

// give hands a chunk to another goroutine: to the packers, or to one of its own that runs f. It comes back by m.back.
func (m *mover) give(s *slot, f func(s *slot)) {
	m.out++
	s.given = true
	if f == nil {
		m.j.pack.ch <- s // has room for every slot
		return
	}
	go func() {
		f(s)
		m.back <- s
	}()
}

// errGoOn says that a chunk has to be read after all.
var errGoOn = errors.New("go on")

func (m *mover) returned(s *slot) {
	m.out--
	switch {
	case errors.Is(s.err, errGoOn):
		s.err, s.given = nil, false
		m.read(s)
	case s.phase == Reading:
		m.arrived(s)
	default:
		m.end(s)
	}
}

// wait blocks until one of the Paths may have something. Each has its own way to wait; with several under way none is left alone for long.
func (m *mover) wait() {
	const short = 100 * time.Microsecond
	var only *lane
	n := 0
	for _, l := range m.lanes {
		if l.path.InFlight() > 0 {
			only = l
			n++
		}
	}
	limit := 10 * time.Millisecond
	if n > 1 || m.out > 0 {
		limit = short
	}
	if n == 0 {
		if m.out > 0 {
			m.returned(<-m.back)
		}
		return
	}
	for _, l := range m.lanes {
		if l != only && l.path.InFlight() > 0 {
			m.note(l.path.Kick())
		}
	}
	m.note(only.path.Wait(limit))
}

// note keeps an error of a queue itself: nothing that is under way can be relied on.
func (m *mover) note(err error) {
	if err != nil {
		m.j.fail(err)
	}
}

// salvageChunk reads a chunk again, as little at a time as it takes to get around what cannot be read; that becomes zeroes.
func (j *job) salvageChunk(s *slot) {
	s.err = nil
	for k := range j.sides {
		if s.need&(1<<k) != 0 {
			j.salvageRange(j.ctx, k, s.mem[k], s.off)
		}
	}
}

// salvageUnit is how much is given up at once, in bytes.
const salvageUnit = 512

func (j *job) salvageRange(ctx context.Context, k int, p []byte, off int64) {
	err := j.sides[k].read(ctx, p, off)
	if err == nil || ctx.Err() != nil {
		return
	}
	if len(p) <= salvageUnit {
		clear(p)
		j.mu.Lock()
		defer j.mu.Unlock()
		j.salvage(off, err)
		return
	}
	half := (len(p)/2 + salvageUnit - 1) &^ (salvageUnit - 1)
	j.salvageRange(ctx, k, p[:half], off)
	j.salvageRange(ctx, k, p[half:], off+int64(half))
}
