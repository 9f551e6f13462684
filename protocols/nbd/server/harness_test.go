package server

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/formats/qcow2"
	"github.com/blkbench/blkbench/formats/raw"
	"github.com/blkbench/blkbench/protocols/file"
	"github.com/blkbench/blkbench/protocols/mem"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

const testSize = 8 << 20

func environment() *engine.Env {
	return &engine.Env{Registry: engine.NewRegistry(raw.Driver(), qcow2.Driver(), file.Driver()), References: engine.ReferencesAllow}
}

func randomBytes(n int, seed uint64) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
	_, _ = rng.Read(p)
	return p
}

// makeFile is a raw image with random content.
func makeFile(t testing.TB, size int) (*engine.Ref, []byte) {
	t.Helper()
	content := randomBytes(size, 7)
	name := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, name, "raw", true), content
}

func open(t testing.TB, name, format string, write bool) *engine.Ref {
	t.Helper()
	ref, err := environment().OpenName(t.Context(), name, format, engine.OpenFlags{Write: write, Discard: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ref.Close(); err != nil {
			t.Error(err)
		}
	})
	return ref
}

// planes runs a test on an export that a poller serves, and on one that goroutines serve. Both hold content.
func planes(t *testing.T, f func(t *testing.T, x *Export, content []byte)) {
	t.Run("ring", func(t *testing.T) {
		ref, content := makeFile(t, testSize)
		f(t, &Export{Root: ref}, content)
	})
	t.Run("goroutines", func(t *testing.T) {
		ref, content := memory(t)
		f(t, &Export{Root: ref}, content)
	})
}

func memory(t testing.TB) (*engine.Ref, []byte) {
	t.Helper()
	ref := engine.NewRef(mem.New(testSize, true), engine.OpenFlags{Write: true, Discard: true})
	content := randomBytes(testSize, 9)
	if err := ref.WriteAt(t.Context(), content, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ref.Close() })
	return ref, content
}

// start serves exports at a Unix socket until the test ends.
func start(t testing.TB, cfg Config, exports ...*Export) (*Server, string) {
	t.Helper()
	s := New(cfg)
	for _, x := range exports {
		if err := s.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "nbd") //nolint:usetesting // a test's own folder may be too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Errorf("serve: %v", err)
		}
		os.RemoveAll(dir)
	})
	return s, path
}

// peer is a client, as simple as can be.
type peer struct {
	t       testing.TB
	c       net.Conn
	replies wire.Replies
	flags   wire.TransmissionFlags
	size    uint64
	cookie  uint64
	holds   bool
	held    []byte
}

// release sends what was held back, beside the receiving of replies: neither side may wait for the other.
func (p *peer) release() (wait func()) {
	p.holds = false
	held, done := p.held, make(chan error, 1)
	p.held = nil
	go func() {
		_, err := p.c.Write(held)
		done <- err
	}()
	return func() {
		p.t.Helper()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	}
}

func connect(t testing.TB, path string) *peer {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	p := &peer{t: t, c: c}
	g, err := wire.ParseGreeting(p.read(wire.NewstyleSize))
	if err != nil || g.Handshake != 3 {
		t.Fatalf("%+v %v", g, err)
	}
	b := make([]byte, 4)
	wire.PutClientFlags(b, 3)
	p.write(b)
	return p
}

func (p *peer) read(n int) []byte {
	p.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(p.c, b); err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if p.holds {
		p.held = append(p.held, b...)
		return
	}
	if _, err := p.c.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// closed waits for the server to hang up.
func (p *peer) closed() {
	p.t.Helper()
	// A server that has not read everything resets the connection.
	if n, err := io.Copy(io.Discard, p.c); (err != nil && !errors.Is(err, unix.ECONNRESET)) || n != 0 {
		p.t.Errorf("%d bytes more, %v", n, err)
	}
}

// answer is a reply to an option.
type answer struct {
	rep  wire.Rep
	data []byte
}

func (p *peer) option(o wire.Option, data []byte) []answer {
	p.t.Helper()
	b := make([]byte, wire.OptionSize)
	wire.OptionHeader{Option: o, Len: uint32(len(data))}.Put(b)
	p.write(append(b, data...))
	var list []answer
	for {
		r, err := wire.ParseOptionReply(p.read(wire.OptionReplySize), o)
		if err != nil {
			p.t.Fatal(err)
		}
		list = append(list, answer{r.Type, p.read(int(r.Len))})
		if r.Type == wire.RepAck || r.Type.IsError() {
			return list
		}
	}
}

// last is the type of the reply that ends an option.
func last(list []answer) wire.Rep { return list[len(list)-1].rep }

func (p *peer) mustAck(o wire.Option, data []byte) []answer {
	p.t.Helper()
	list := p.option(o, data)
	if last(list) != wire.RepAck {
		p.t.Fatalf("%v: %v %q", o, last(list), list[len(list)-1].data)
	}
	return list
}

// begin negotiates up to GO.
func (p *peer) begin(kind wire.Replies, name string, contexts ...string) *peer {
	p.t.Helper()
	switch p.replies = kind; kind {
	case wire.Structured:
		p.mustAck(wire.OptStructuredReply, nil)
	case wire.Extended:
		p.mustAck(wire.OptExtendedHeaders, nil)
	case wire.Simple:
	}
	if len(contexts) > 0 {
		p.mustAck(wire.OptSetMetaContext, wire.AppendMetaRequest(nil, name, contexts...))
	}
	for _, a := range p.mustAck(wire.OptGo, wire.AppendInfoRequest(nil, name)) {
		if it, err := wire.ParseInfo(a.data); a.rep == wire.RepInfo && err == nil && it.Info == wire.InfoExport {
			p.flags, p.size = it.Export.Flags, it.Export.Size
		}
	}
	return p
}

// send sends a request and returns its cookie.
func (p *peer) send(cmd wire.Cmd, flags wire.CmdFlags, off, n uint64, payload []byte) uint64 {
	p.t.Helper()
	p.cookie++
	r := wire.Request{Cookie: p.cookie, Off: off, Len: n, Flags: flags, Type: cmd}
	if cmd == wire.CmdWrite && p.replies == wire.Extended {
		r.Flags |= wire.FlagPayloadLen
	}
	b := make([]byte, wire.ExtendedSize)
	p.write(append(b[:r.Put(b, p.replies == wire.Extended)], payload...))
	return p.cookie
}

// result is all chunks of a reply.
type result struct {
	cookie uint64
	err    wire.Errno
	data   []byte
	status map[uint32][]wire.Descriptor
	chunks int
}

// receive reads the whole reply to one request. lens says how much data a simple reply has, by cookie.
func (p *peer) receive(lens map[uint64]uint64) result {
	p.t.Helper()
	var res result
	for {
		var r wire.Reply
		b := p.read(wire.MinReplySize(p.replies))
		n, err := wire.ParseReply(b, p.replies, &r)
		if err == nil && n > len(b) {
			b = append(b, p.read(n-len(b))...)
			_, err = wire.ParseReply(b, p.replies, &r)
		}
		if err != nil {
			p.t.Fatal(err)
		}
		res.cookie = r.Cookie
		if r.Simple {
			if res.err = r.Err; r.Err == wire.OK {
				res.data = p.read(int(lens[r.Cookie]))
			}
			return res
		}
		res.chunks++
		body := p.read(int(r.Len))
		switch {
		case r.Type == wire.ChunkOffsetData:
			res.data = append(res.data, body[wire.OffsetDataSize:]...)
		case r.Type == wire.ChunkBlockStatus, r.Type == wire.ChunkBlockStatusExt:
			s, err := wire.ParseStatus(r.Type, body)
			if err != nil {
				p.t.Fatal(err)
			}
			if res.status == nil {
				res.status = map[uint32][]wire.Descriptor{}
			}
			for i := range s.Count() {
				res.status[s.ID] = append(res.status[s.ID], s.At(i))
			}
		case r.Type.IsError():
			f, err := wire.ParseFailure(r.Type, body)
			if err != nil || len(f.Message) == 0 {
				p.t.Fatalf("%+v %v", f, err)
			}
			res.err = f.Err
		}
		if r.Done() {
			return res
		}
	}
}

// do is one request and its reply.
func (p *peer) do(cmd wire.Cmd, flags wire.CmdFlags, off, n uint64, payload []byte) result {
	p.t.Helper()
	cookie := p.send(cmd, flags, off, n, payload)
	lens := map[uint64]uint64{}
	if cmd == wire.CmdRead {
		lens[cookie] = n
	}
	res := p.receive(lens)
	if res.cookie != cookie {
		p.t.Fatalf("reply to %d, want %d", res.cookie, cookie)
	}
	return res
}

func (p *peer) want(e wire.Errno, cmd wire.Cmd, flags wire.CmdFlags, off, n uint64, payload []byte) result {
	p.t.Helper()
	res := p.do(cmd, flags, off, n, payload)
	if res.err != e {
		p.t.Fatalf("%v %v at %d+%d: %v, want %v", cmd, flags, off, n, res.err, e)
	}
	return res
}

// bye ends the connection as it should be.
func (p *peer) bye() {
	p.t.Helper()
	p.send(wire.CmdDisc, 0, 0, 0, nil)
	p.closed()
}

// onRing reports whether a poller serves clients of the export.
func (x *Export) onRing() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.ContainsFunc(x.pollers, func(p *poller) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.clients > 0
	})
}
