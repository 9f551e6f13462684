package server

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/uring"
)

// Sizes of a poller.
const (
	pollerOps   = 4096 // requests under way, of all clients
	pathDepth   = 256  // of them at the graph
	pollerConns = 2048
	lingering   = 3 * time.Second // without clients, before the thread ends
)

// errNoRing says that an export cannot be served by a poller.
var errNoRing = errors.New("the graph has leaves that are no files")

// poller is one locked thread that serves clients of one export.
type poller struct {
	srv *Server
	exp *Export
	fd  int // eventfd: there is mail

	mu       sync.Mutex
	arrivals []arrival
	cold     []*op // done by the blocking methods
	clients  int   // attached and not gone
	draining bool
	ended    bool
	asleep   atomic.Bool

	// The rest belongs to the thread.
	ep      *engine.Poller
	reactor *uring.Reactor
	client  *uring.Client
	path    *engine.Path
	watches [2]*uring.Watch
	pool    pool
	recv    recvBuffers
	ops     []op
	freeOps []*op
	conns   []*conn // by index; nil: free
	live    int
	batch   []*engine.Request // for the path
	done    []*engine.Request
	dirty   []*conn // with replies to send
	starved []*conn // that lacked an op or a buffer
	again   []*conn // starved's other half
	iov     []unix.Iovec
	msg     unix.Msghdr
	now     int64 // of this round
	idleFor int64
	killAt  int64 // while draining: when the patience ends
}

// arrival is a client on its way to the thread.
type arrival struct {
	s   *session
	fd  int
	who string
}

// toPoller hands a connection to a poller of its export. It is the poller's when done is true; else an error says why the export is not for
// pollers, once.
func (s *Server) toPoller(sess *session, c net.Conn, who string) (done bool, err error) {
	fd, err := detach(c)
	if err != nil || fd < 0 {
		return false, err
	}
	p, err := sess.exp.poller(s)
	if err == nil && p.attach(arrival{sess, fd, who}) {
		c.Close()
		return true, nil
	}
	unix.Close(fd)
	if err != nil {
		sess.exp.file.Store(false)
	}
	return false, err
}

// detach makes a descriptor of the same socket that is not the runtime's.
func detach(c net.Conn) (int, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return -1, nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dup error
	if err := raw.Control(func(p uintptr) { fd, dup = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	return fd, dup
}

// poller returns the least busy one that the export may have, started if need be.
func (x *Export) poller(s *Server) (*poller, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var best *poller
	load := pollerConns
	live := x.pollers[:0]
	for _, p := range x.pollers {
		p.mu.Lock()
		ended, n := p.ended || p.draining, p.clients
		p.mu.Unlock()
		if ended {
			continue
		}
		live = append(live, p)
		if n < load {
			best, load = p, n
		}
	}
	x.pollers = live
	if best != nil && (load == 0 || len(live) >= s.cfg.Threads) {
		return best, nil
	}
	p, err := startPoller(s, x)
	if err != nil {
		return nil, err
	}
	x.pollers = append(x.pollers, p)
	return p, nil
}

func (x *Export) drain() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.pollers {
		p.mu.Lock()
		p.draining = true
		p.mu.Unlock()
		p.ring()
	}
}

// startPoller starts a thread and waits until it can serve.
func startPoller(s *Server, x *Export) (*poller, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	p := &poller{srv: s, exp: x, fd: fd}
	up := make(chan error)
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		unix.Close(fd)
		return nil, ErrClosed
	}
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer s.wg.Done()
		err := p.open()
		up <- err
		if err == nil {
			if err := p.loop(); err != nil {
				s.logf("poller of export '%s': %v", x.Name, err)
				p.abandon()
			}
		}
		if err := p.close(); err != nil {
			s.logf("poller of export '%s': %v", x.Name, err)
		}
	}()
	return p, <-up
}

// attach gives a client to the thread; false when it has ended, or has enough of them.
func (p *poller) attach(a arrival) bool {
	p.mu.Lock()
	if p.ended || p.draining || p.clients >= pollerConns {
		p.mu.Unlock()
		return false
	}
	p.clients++
	p.arrivals = append(p.arrivals, a)
	p.mu.Unlock()
	p.ring()
	return true
}

// ring wakes the thread if it sleeps.
func (p *poller) ring() {
	if p.asleep.Load() {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(p.fd, one[:]) // a full counter is readable already
	}
}

// open is called on the thread.
func (p *poller) open() error {
	p.ep = engine.NewPoller()
	shared, err := p.ep.Shared(uring.Config{}, func() (engine.Closer, error) { return uring.NewReactor(uring.Config{}) })
	if err != nil {
		return err
	}
	p.reactor = shared.(*uring.Reactor)
	if p.client, err = p.reactor.Join(2 * pollerConns); err != nil {
		return err
	}
	if err := p.pool.open(); err != nil {
		return err
	}
	p.path, err = engine.OpenPath(p.srv.ctx, p.exp.Root, engine.PathConfig{Poller: p.ep, Depth: pathDepth, Arenas: []*dma.Arena{p.pool.arena}})
	if err != nil {
		return err
	}
	if !leavesAreFiles(p.path.Flattened()) {
		return errNoRing
	}
	p.watches = [2]*uring.Watch{p.reactor.Watch(p.fd), p.reactor.Watch(p.path.LaneFD())}
	p.ops = make([]op, pollerOps)
	p.freeOps = make([]*op, 0, pollerOps)
	for i := range p.ops {
		p.ops[i].req.User = uint64(i)
		p.freeOps = append(p.freeOps, &p.ops[len(p.ops)-1-i])
	}
	p.batch = make([]*engine.Request, 0, pollerOps)
	p.done = make([]*engine.Request, 128)
	p.iov = make([]unix.Iovec, maxVec)
	return nil
}

// close gives back what open has made.
func (p *poller) close() error {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	var err error
	if p.path != nil {
		err = p.path.Close()
	}
	for _, w := range p.watches {
		if w != nil {
			err = errors.Join(err, p.reactor.Unwatch(w))
		}
	}
	if p.client != nil {
		err = errors.Join(err, p.client.Leave())
	}
	if p.reactor != nil {
		err = errors.Join(err, p.ep.Release(uring.Config{}))
	}
	if p.pool.arena != nil {
		err = errors.Join(err, p.pool.close())
	}
	p.recv.close()
	unix.Close(p.fd)
	return err
}

// loop serves until the thread is not needed any more.
func (p *poller) loop() error {
	p.idleFor = engine.Now()
	for {
		p.now = engine.Now()
		n := p.mail()
		n += p.sockets()
		if len(p.starved) > 0 {
			p.retry()
		}
		if err := p.submit(); err != nil {
			return err
		}
		n += p.collect()
		p.flush()
		if n > 0 || len(p.batch) > 0 && p.path.InFlight() < pathDepth {
			continue
		}
		if p.live == 0 && p.finished() {
			return nil
		}
		if err := p.wait(); err != nil {
			return err
		}
	}
}

// finished reports whether the thread may end: no client, and none for a while or none to come.
func (p *poller) finished() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients > 0 || (!p.draining && engine.Now()-p.idleFor < int64(lingering)) {
		return false
	}
	p.ended = true
	return true
}

// abandon hangs up on everybody: the ring is broken.
func (p *poller) abandon() {
	p.mu.Lock()
	p.ended = true
	arrivals := p.arrivals
	p.arrivals = nil
	p.mu.Unlock()
	for _, a := range arrivals {
		unix.Close(a.fd)
		p.gone(a.who)
	}
	for _, c := range p.conns {
		if c != nil {
			_ = unix.Shutdown(c.fd, unix.SHUT_RDWR) // as in fail
			unix.Close(c.fd)
			p.gone(c.who)
		}
	}
}

// mail takes what other threads have for this one, and says how much it was.
func (p *poller) mail() int {
	p.mu.Lock()
	arrivals, cold, draining := p.arrivals, p.cold, p.draining
	if len(arrivals) == 0 && len(cold) == 0 && (!draining || p.killAt != 0) {
		p.mu.Unlock()
		return 0
	}
	p.arrivals, p.cold = nil, nil
	p.mu.Unlock()
	for _, a := range arrivals {
		if err := p.welcome(a); err != nil {
			p.srv.logf("%s: %v", a.who, err)
			unix.Close(a.fd)
			p.gone(a.who)
		}
	}
	for _, o := range cold {
		o.answer()
	}
	if draining && p.killAt == 0 {
		p.killAt = p.now + int64(p.srv.cfg.StallLimit)
		for _, c := range p.conns {
			if c != nil {
				_ = unix.Shutdown(c.fd, unix.SHUT_RD) // what it has sent is still read; a socket that is gone says so itself
			}
		}
	}
	return len(arrivals) + len(cold)
}

// gone counts a client that has left.
func (p *poller) gone(who string) {
	p.mu.Lock()
	p.clients--
	p.mu.Unlock()
	p.idleFor = engine.Now()
	p.srv.left(who, true)
}

// The slots of entries: the connection's index and what the entry was for.
const (
	slotRecv = iota
	slotPoll
	slotKinds
)

// sockets looks at what has become of receives and polls.
func (p *poller) sockets() int {
	total := 0
	for q, n := p.client.Ready(); n != 0; q, n = p.client.Ready() {
		for i := range n {
			e := q.At(i)
			slot := int(e.UserData & uring.SlotMask)
			c, res := p.conns[slot/slotKinds], e.Res
			if slot%slotKinds == slotRecv {
				c.received(res)
			} else {
				c.polling = false
				p.mark(c)
			}
		}
		q.Release(n)
		total += int(n)
		if q.Ready() == 0 {
			break // what is only noted in the kernel is for the next round
		}
	}
	return total
}

// submit gives the graph what was parsed, and shows the kernel everything.
func (p *poller) submit() error {
	if len(p.batch) > 0 {
		n := p.path.Submit(p.batch)
		p.batch = p.batch[:copy(p.batch, p.batch[n:])]
		return p.path.Kick()
	}
	return nil // what else there is for the kernel goes along when the thread waits
}

// collect turns what the graph has done into replies.
func (p *poller) collect() int {
	total := 0
	for {
		n := p.path.Poll(p.done)
		for _, r := range p.done[:n] {
			p.ops[r.User].complete()
		}
		total += n
		if n < len(p.done) {
			return total
		}
	}
}

// mark puts a connection on the list of those that flush looks at.
func (p *poller) mark(c *conn) {
	if !c.dirty {
		c.dirty = true
		p.dirty = append(p.dirty, c)
	}
}

// flush sends replies, and lets connections go that have nothing left to do.
func (p *poller) flush() {
	for i := 0; i < len(p.dirty); i++ {
		c := p.dirty[i]
		c.dirty = false
		c.send()
		c.step()
		c.reap()
	}
	p.dirty = p.dirty[:0]
}

// retry lets connections that lacked memory try again.
func (p *poller) retry() {
	p.starved, p.again = p.again[:0], p.starved
	for _, c := range p.again {
		c.starved, c.lacks = false, false
		c.step()
		p.mark(c)
	}
}

// wait sleeps until something has happened.
func (p *poller) wait() error {
	p.asleep.Store(true)
	defer p.asleep.Store(false)
	p.mu.Lock()
	news := len(p.arrivals) > 0 || len(p.cold) > 0 || (p.draining && p.killAt == 0)
	p.mu.Unlock()
	if news {
		return nil
	}
	limit, ok := p.path.Doze()
	if !ok {
		return nil
	}
	defer p.path.Rouse()
	if t := p.tick(); t > 0 && (limit < 0 || t < limit) {
		limit = t
	}
	return p.client.WaitN(1, limit)
}

// tick enforces limits of time and says when to look again; 0: no need.
func (p *poller) tick() time.Duration {
	cfg := &p.srv.cfg
	switch {
	case p.live == 0:
		return lingering
	case p.killAt == 0 && cfg.IdleLimit == 0 && len(p.starved) == 0:
		return 0
	}
	lacking := 0
	for _, c := range p.starved {
		if c.lacks {
			lacking++
		}
	}
	for _, c := range p.conns {
		if c == nil || c.failed {
			continue
		}
		others := lacking > 1 || lacking == 1 && !c.lacks
		stalls := len(c.queue) > 0 || c.cur != nil // it is the client's turn
		quiet := p.now - c.active
		switch {
		case p.killAt != 0 && p.now >= p.killAt,
			others && stalls && quiet > int64(cfg.StallLimit),
			cfg.IdleLimit > 0 && (c.inFlight == 0 || stalls) && quiet > int64(cfg.IdleLimit):
			c.fail(errStalled)
		}
	}
	if len(p.dirty) > 0 {
		return time.Nanosecond
	}
	return min(time.Second, max(cfg.StallLimit, time.Millisecond))
}

// answered hands an op that a goroutine has done back to the thread.
func (p *poller) answered(o *op) {
	p.mu.Lock()
	p.cold = append(p.cold, o)
	p.mu.Unlock()
	p.ring()
}

// welcome makes a connection of an arrival.
func (p *poller) welcome(a arrival) error {
	if err := unix.SetNonblock(a.fd, false); err != nil {
		return err
	}
	growSocket(a.fd)
	mem, err := p.recv.take()
	if err != nil {
		return err
	}
	c := &conn{p: p, s: a.s, who: a.who, fd: a.fd, buf: mem, slot: -1, active: p.now}
	c.addr = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem))))
	for c.index < len(p.conns) && p.conns[c.index] != nil {
		c.index++
	}
	if c.index == len(p.conns) {
		p.conns = append(p.conns, nil)
	}
	p.conns[c.index] = c
	p.live++
	if i, err := p.reactor.AddFile(c.fd); err == nil {
		c.slot = i
	}
	if p.killAt != 0 {
		_ = unix.Shutdown(c.fd, unix.SHUT_RD)
	}
	c.step()
	p.mark(c)
	return nil
}

// socketBuffer is what a Unix socket is to hold, in bytes: a reply of the commonest large size fits.
const socketBuffer = 2 << 20

// growSocket asks for a larger send buffer of a Unix socket; TCP grows its own.
func growSocket(fd int) {
	if family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || family != unix.AF_UNIX {
		return
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer) // what the system allows
	}
}

// coldContext is what blocking methods run under.
func (p *poller) coldContext() context.Context { return p.srv.ctx }
