package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/bits"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

var passing = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED}

// maxHeld is how many bytes of data one client's requests may hold in the blocking plane; a single request always may.
const maxHeld = 64 << 20

// blocking serves one client by goroutines: one reads, one runs each request, and whoever has a reply while nobody sends becomes the one
// that sends, for all replies that come meanwhile.
type blocking struct {
	s    *session
	conn net.Conn
	r    *bufio.Reader
	wg   sync.WaitGroup

	mu      sync.Mutex
	room    sync.Cond // inFlight or held has gone down
	n       int       // requests under way
	held    int64
	queue   []*job
	spare   []*job
	vec     net.Buffers
	sending bool
	broken  error
}

// job is one request.
type job struct {
	b    *blocking
	req  wire.Request
	buf  *[]byte // headRoom, and the data; nil where there is none
	pay  []byte  // of BLOCK_STATUS
	out  []byte  // the reply
	hold int64
}

var jobs = sync.Pool{New: func() any { return new(job) }}

// dataBuffers are by size class: 4 KiB shifted by the index.
var dataBuffers [14]sync.Pool

func takeBuffer(n int) (*[]byte, int) {
	class := max(0, bits.Len(uint(n-1))-12)
	if b, ok := dataBuffers[class].Get().(*[]byte); ok {
		return b, class
	}
	b := make([]byte, headRoom+4096<<class)
	return &b, class
}

func (s *Server) serveBlocking(sess *session, c net.Conn) error {
	b := &blocking{s: sess, conn: c, r: bufio.NewReaderSize(c, 32<<10)}
	b.room.L = &b.mu
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.serving[b] = struct{}{}
	s.mu.Unlock()
	err := b.read(s.ctx)
	b.wg.Wait()
	s.mu.Lock()
	delete(s.serving, b)
	s.mu.Unlock()
	switch {
	case b.broken != nil:
		return b.broken
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// drain makes the reader stop; what is in flight is answered.
func (b *blocking) drain(limit time.Duration) {
	_ = b.conn.SetReadDeadline(time.Unix(1, 0))
	_ = b.conn.SetWriteDeadline(time.Now().Add(limit))
}

// read takes requests until the client goes.
func (b *blocking) read(ctx context.Context) error {
	var head [wire.ExtendedSize]byte
	size := wire.RequestSize(b.s.extended())
	idle := b.s.srv.cfg.IdleLimit
	for {
		if idle > 0 {
			_ = b.conn.SetReadDeadline(time.Now().Add(idle))
		}
		if _, err := io.ReadFull(b.r, head[:size]); err != nil {
			return err
		}
		r, err := wire.ParseRequest(head[:size], b.s.extended())
		if err != nil || r.Type == wire.CmdDisc {
			return err
		}
		if err := b.request(ctx, r); err != nil {
			return err
		}
	}
}

var errTooLong = errors.New("a request with too much data")

// request starts one request.
func (b *blocking) request(ctx context.Context, r wire.Request) error {
	s := b.s
	e := s.check(&r)
	pay := r.Payload(s.extended())
	if pay > maxPayload {
		return errTooLong
	}
	if e == wire.OK && r.Type == wire.CmdBlockStatus && pay > maxStatus {
		e = wire.EINVAL
	}
	j := jobs.Get().(*job)
	*j = job{b: b, req: r, out: j.out[:0]}
	if e == wire.OK && (r.Type == wire.CmdRead || r.Type == wire.CmdWrite) && r.Len > 0 {
		j.hold = int64(r.Len)
	}
	b.mu.Lock()
	for b.n >= maxInFlight || (b.held > 0 && b.held+j.hold > maxHeld) {
		b.room.Wait()
	}
	b.n++
	b.held += j.hold
	b.mu.Unlock()
	b.wg.Add(1)
	if e != wire.OK {
		if _, err := io.CopyN(io.Discard, b.r, int64(pay)); err != nil {
			j.free()
			return err
		}
		j.out = s.appendEnd(j.out, &r, e)
		b.send(j)
		return nil
	}
	if j.hold > 0 {
		j.buf, _ = takeBuffer(int(r.Len))
	}
	var err error
	switch {
	case r.Type == wire.CmdWrite && r.Len > 0:
		_, err = io.ReadFull(b.r, (*j.buf)[headRoom:headRoom+r.Len])
	case pay > 0:
		j.pay = make([]byte, pay)
		_, err = io.ReadFull(b.r, j.pay)
	}
	if err != nil {
		j.free()
		return err
	}
	go j.run(ctx)
	return nil
}

func (j *job) data() []byte {
	if j.buf == nil {
		return nil
	}
	return (*j.buf)[headRoom : headRoom+j.req.Len]
}

func (j *job) run(ctx context.Context) {
	s, r := j.b.s, &j.req
	if r.Type == wire.CmdBlockStatus {
		j.out = s.appendStatus(ctx, j.out, r, j.pay)
		j.b.send(j)
		return
	}
	e := s.run(ctx, r, j.data())
	if e == wire.OK && r.Type == wire.CmdRead && r.Len > 0 {
		n := s.readHeadSize()
		s.putReadHead((*j.buf)[headRoom-n:], r.Cookie, r.Off, r.Off, uint32(r.Len), true)
	} else {
		j.out = s.appendEnd(j.out, r, e)
	}
	j.b.send(j)
}

// reply is what is sent: out, or the buffer from its header on.
func (j *job) reply() []byte {
	if len(j.out) > 0 {
		return j.out
	}
	return (*j.buf)[headRoom-j.b.s.readHeadSize() : headRoom+j.req.Len]
}

// free gives a request's memory back, and its place.
func (j *job) free() {
	b, hold := j.b, j.hold
	if j.buf != nil {
		dataBuffers[bits.Len(uint(len(*j.buf)-headRoom))-13].Put(j.buf)
	}
	j.b, j.buf, j.pay = nil, nil, nil
	if cap(j.out) > statusRoom {
		j.out = nil
	}
	jobs.Put(j)
	b.mu.Lock()
	b.n--
	b.held -= hold
	b.room.Signal()
	b.mu.Unlock()
	b.wg.Done()
}

// send queues a reply, and sends what is queued unless somebody is at it.
func (b *blocking) send(j *job) {
	b.mu.Lock()
	b.queue = append(b.queue, j)
	if b.sending {
		b.mu.Unlock()
		return
	}
	b.sending = true
	for len(b.queue) > 0 {
		batch := b.queue
		b.queue, b.spare = b.spare[:0], nil
		broken := b.broken != nil
		b.mu.Unlock()
		var err error
		if !broken {
			err = b.write(batch)
		}
		for i, j := range batch {
			j.free()
			batch[i] = nil
		}
		b.mu.Lock()
		b.spare = batch[:0]
		if err != nil && b.broken == nil {
			b.broken = err
			b.conn.Close() // the reader ends as well
		}
	}
	b.sending = false
	b.mu.Unlock()
}

func (b *blocking) write(batch []*job) error {
	vec := b.vec[:0]
	for _, j := range batch {
		vec = append(vec, j.reply())
	}
	b.vec = vec
	_, err := vec.WriteTo(b.conn)
	return err
}
