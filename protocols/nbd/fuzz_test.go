package nbd

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// canned is a connection that has said already all that it will say; what it is told is dropped.
type canned struct{ *bytes.Reader }

func (canned) Write(b []byte) (int, error)      { return len(b), nil }
func (canned) Close() error                     { return nil }
func (canned) LocalAddr() net.Addr              { return nil }
func (canned) RemoteAddr() net.Addr             { return nil }
func (canned) SetDeadline(time.Time) error      { return nil }
func (canned) SetReadDeadline(time.Time) error  { return nil }
func (canned) SetWriteDeadline(time.Time) error { return nil }

// recorded is what the fake server says in a handshake of a certain kind.
func recorded(t testing.TB, f *fake) []byte {
	t.Helper()
	f.TB = t
	f.size, f.flags = 1<<20, everything
	here, there := net.Pipe()
	var said bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		c := &fakeConn{Conn: there, f: f}
		_ = c.handshake()
		there.Close()
	}()
	c := &recorder{Conn: here, said: &said}
	// The other end may be closed before the last deadline is taken back: what was said is what counts.
	_, _, _ = negotiate(t.Context(), c, &handshake{}, time.Minute, time.Minute)
	here.Close()
	<-done
	return said.Bytes()
}

type recorder struct {
	net.Conn
	said *bytes.Buffer
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.said.Write(b[:n])
	return n, err
}

// FuzzHandshake: whatever a server says, negotiation ends, with a session that makes sense or an error.
func FuzzHandshake(f *testing.F) {
	f.Add(recorded(f, &fake{}))
	f.Add(recorded(f, &fake{kind: wire.Structured, blocks: blockSizes(512, 4096, 1<<20)}))
	f.Add(recorded(f, &fake{kind: wire.Extended}))
	f.Add(recorded(f, &fake{exports: []string{"one", "two"}}))
	for _, g := range []wire.Greeting{
		{Style: wire.Oldstyle, Export: wire.Export{Size: 1 << 20, Flags: everything}}, {Style: wire.Newstyle}, {Style: wire.Newstyle, Handshake: wire.NoZeroes},
	} {
		b := make([]byte, g.Size(), 512)
		g.Put(b)
		f.Add(append(b, make([]byte, wire.ExportNameSize+wire.ExportNameZeroes)...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, s, err := negotiate(t.Context(), canned{bytes.NewReader(b)}, &handshake{}, time.Minute, time.Minute)
		if err != nil {
			return
		}
		c.Close()
		if lim := s.limits(); lim.RequestAlign == 0 || lim.RequestAlign > 64<<10 || lim.MaxTransfer%lim.RequestAlign != 0 || lim.MaxTransfer == 0 ||
			s.export.Size > 1<<63-1 || s.export.Size%uint64(lim.RequestAlign) != 0 {
			t.Fatalf("%+v with limits %+v", s, lim)
		}
	})
}

const (
	fuzzOff  = 8192
	fuzzSize = 17 << 10 // what is received directly is larger than 16 KiB
)

// wanted is the content that the seeds of replies have.
func wanted() []byte { return bytes.Repeat([]byte("content!"), fuzzSize/8) }

// replySeeds are replies to a READ with a cookie, of each kind.
func replySeeds(cookie uint64) (seeds [][]byte) {
	for _, kind := range []wire.Replies{wire.Simple, wire.Structured, wire.Extended} {
		for _, script := range []func(c *fakeConn, r wire.Request){
			func(c *fakeConn, r wire.Request) { c.read(r, wanted()) },
			func(c *fakeConn, r wire.Request) { c.done(r, wire.EIO) },
			func(c *fakeConn, r wire.Request) {
				c.chunk(r, wire.ChunkOffsetHole, 0, hole(fuzzOff, fuzzSize/2))
				c.chunk(r, wire.ChunkOffsetData, wire.FlagDone, data(fuzzOff+fuzzSize/2, wanted()[fuzzSize/2:]))
			},
			func(c *fakeConn, r wire.Request) {
				c.chunk(r, wire.ChunkErrorOffset, wire.FlagDone, wire.AppendFailure(nil, wire.EIO, "there", fuzzOff+512))
			},
			func(c *fakeConn, r wire.Request) {
				c.chunk(r, wire.ChunkBlockStatus, wire.FlagDone, wire.AppendStatus(nil, false, 5, wire.Descriptor{Len: 512, Status: 3}))
			},
		} {
			var said bytes.Buffer
			script(&fakeConn{Conn: sink{&said}, kind: kind, f: &fake{}}, wire.Request{Cookie: cookie, Off: fuzzOff, Len: fuzzSize})
			seeds = append(seeds, append([]byte{byte(kind)}, said.Bytes()...))
		}
	}
	return seeds
}

type sink struct{ to *bytes.Buffer }

func (s sink) Write(b []byte) (int, error)    { return s.to.Write(b) }
func (sink) Read([]byte) (int, error)         { return 0, io.EOF }
func (sink) Close() error                     { return nil }
func (sink) LocalAddr() net.Addr              { return nil }
func (sink) RemoteAddr() net.Addr             { return nil }
func (sink) SetDeadline(time.Time) error      { return nil }
func (sink) SetReadDeadline(time.Time) error  { return nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

// FuzzReplies: whatever a server answers to a READ, both planes come to the same end, and neither writes outside the buffer.
func FuzzReplies(f *testing.F) {
	for _, s := range replySeeds(1 << 32) {
		f.Add(s)
	}
	arena, err := dma.New(dma.Config{Size: 1 << 20, NoHuge: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { arena.Close() })
	q := &ringQueue{slots: make([]slot, 1), arenas: make([]uint64, arena.ID()+1)}
	q.arenas[arena.ID()] = uint64(arena.Base())
	if err := q.allocate(1); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { q.mem.Close() })
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		s := &session{replies: wire.Replies(b[0] % 3), export: wire.Export{Size: 1 << 20, Flags: everything}, contextID: 5}
		p1, err1 := fuzzBlocking(t, s, b[1:])
		p2, err2 := fuzzPolled(t, q, s, arena, b[1:])
		r1, _ := errors.AsType[*remote](err1)
		r2, _ := errors.AsType[*remote](err2)
		if (err1 == nil) != (err2 == nil) || (r1 == nil) != (r2 == nil) {
			t.Fatalf("blocking: %v; polled: %v", err1, err2)
		}
		if err1 == nil && !bytes.Equal(p1, p2) {
			t.Fatal("the planes read different content")
		}
	})
}

func fuzzBlocking(t *testing.T, s *session, b []byte) ([]byte, error) {
	p := make([]byte, fuzzSize+64)
	hold := make(chan struct{})
	c := newConn(&held{canned{bytes.NewReader(b)}, hold}, s)
	cl := newCall(wire.CmdRead, fuzzOff, fuzzSize, 0, p[32:32+fuzzSize])
	cookie, err := c.enter(cl)
	if err != nil || cookie != 1<<32 {
		t.Fatal(cookie, err)
	}
	cl.sent = true
	close(hold)
	<-cl.done
	<-c.over
	if !bytes.Equal(p[:32], make([]byte, 32)) || !bytes.Equal(p[32+fuzzSize:], make([]byte, 32)) {
		t.Fatal("written outside the buffer")
	}
	return p[32 : 32+fuzzSize], cl.err
}

// held says nothing before the call is in flight.
type held struct {
	canned
	hold chan struct{}
}

func (h *held) Read(b []byte) (int, error) {
	<-h.hold
	return h.canned.Read(b)
}

// fuzzPolled feeds the parser of the polled plane in portions as a socket would, without a ring.
func fuzzPolled(t *testing.T, q *ringQueue, s *session, arena *dma.Arena, b []byte) ([]byte, error) {
	q.node, q.free, q.ready = &Node{first: s}, make([]uint32, 0, 1), newReady(1)
	q.in.reset()
	h, err := arena.Alloc(fuzzSize + 64)
	if err != nil {
		t.Fatal(err)
	}
	defer arena.Free(h, fuzzSize+64)
	p := arena.Bytes(h, fuzzSize+64)
	clear(p)
	r := engine.Request{Op: engine.OpRead, Off: fuzzOff, Len: fuzzSize, Buf: h.Add(32)}
	q.slots[0] = slot{req: &r, gen: 1}
	q.slots[0].begin(wire.CmdRead, fuzzOff, fuzzSize)
	q.out.number = 1
	var failure error
	for len(b) > 0 && failure == nil && q.ready.len() == 0 {
		q.in.makeRoom()
		n := min(len(b), 7919, len(q.in.buf)-q.in.to)
		direct := 0
		if q.in.payload >= directSize { // as receive has it
			direct = min(n, int(q.in.payload))
			copy(q.bytes(q.in.slot, q.in.at, uint32(direct)), b)
			q.in.payload, q.in.at = q.in.payload-uint32(direct), q.in.at+uint32(direct)
		}
		copy(q.in.buf[q.in.to:], b[direct:n])
		q.in.to += n - direct
		b = b[n:]
		if direct != 0 && q.in.payload == 0 {
			failure = q.payloadDone()
		}
		if failure == nil {
			failure = q.parse()
		}
	}
	if !bytes.Equal(p[:32], make([]byte, 32)) || !bytes.Equal(p[32+fuzzSize:], make([]byte, 32)) {
		t.Fatal("written outside the buffer")
	}
	switch {
	case q.ready.len() != 0:
		return bytes.Clone(p[32 : 32+fuzzSize]), r.Err()
	case failure == nil:
		failure = errHungUp
	}
	return nil, failure
}
