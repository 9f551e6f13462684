package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// gate is a node whose reads wait, in the blocking methods, until they are let through. In the polled plane it is a mapper that never knows.
type gate struct {
	child   *engine.Ref
	entered chan struct{}
	pass    chan struct{}
	flushed chan struct{}
}

func newGate(child *engine.Ref) *gate {
	return &gate{child, make(chan struct{}, 64), make(chan struct{}), make(chan struct{}, 64)}
}

func (g *gate) Info() engine.Info {
	i := g.child.Info()
	i.Driver, i.Limits, i.Caps = "gate", engine.Limits{}, engine.CapWritable
	return i
}
func (g *gate) Size() int64 { return g.child.Size() }

func (g *gate) ReadAt(ctx context.Context, p []byte, off int64) error {
	g.entered <- struct{}{}
	<-g.pass
	return g.child.ReadAt(ctx, p, off)
}

func (g *gate) WriteAt(ctx context.Context, p []byte, off int64, f engine.WriteFlags) error {
	return g.child.WriteAt(ctx, p, off, f)
}

func (g *gate) Flush(ctx context.Context) error {
	g.flushed <- struct{}{}
	return g.child.Flush(ctx)
}

func (g *gate) Extents(ctx context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	return g.child.Extents(ctx, off, n, dst)
}
func (g *gate) Close() error                                            { return nil }
func (g *gate) Children() []engine.Child                                { return []engine.Child{{Name: "file", Ref: g.child}} }
func (g *gate) Map(engine.Op, int64, int64) (e engine.Mapping, ok bool) { return e, false }

// Shutdown answers what is in flight, then flushes, and new clients are not heard.
func TestShutdown(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, content []byte) {
		g := newGate(x.Root)
		x.Root = engine.NewRef(g, engine.OpenFlags{Write: true})
		s := New(Config{})
		if err := s.Add(x); err != nil {
			t.Fatal(err)
		}
		l := listen(t)
		go s.Serve(l)
		p := connect(t, l.Addr().String()).begin(wire.Structured, "")
		for i := range uint64(3) {
			p.send(wire.CmdRead, 0, i<<20, 4096, nil)
			<-g.entered
		}
		half := connect(t, l.Addr().String()) // in negotiation
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		half.closed() // by the shutdown, which has begun
		select {
		case <-done:
			t.Fatal("shut down with requests in flight")
		case <-g.flushed:
			t.Fatal("flushed before what is in flight")
		default:
		}
		close(g.pass)
		for range 3 {
			if res := p.receive(nil); res.err != wire.OK || !bytes.Equal(res.data, content[(res.cookie-1)<<20:][:4096]) {
				t.Errorf("reply %d: %v", res.cookie, res.err)
			}
		}
		p.closed()
		if err := <-done; err != nil || len(g.flushed) == 0 {
			t.Errorf("%v, %d flushes", err, len(g.flushed))
		}
		if _, err := net.Dial("unix", l.Addr().String()); err == nil {
			t.Error("it still listens")
		}
	})
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	dir, err := os.MkdirTemp("", "nbd") //nolint:usetesting // a test's own folder may be too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Replies come in the order in which requests are done, and a flush that one client asks for covers what another has written.
func TestReplyOrder(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, _ []byte) {
		g := newGate(x.Root)
		x.Root = engine.NewRef(g, engine.OpenFlags{Write: true})
		_, path := start(t, Config{}, x)
		p, q := connect(t, path).begin(wire.Structured, ""), connect(t, path).begin(wire.Structured, "")
		if p.flags&wire.CanMultiConn == 0 {
			t.Error("several connections are not announced")
		}
		slow := p.send(wire.CmdRead, 0, 0, 512, nil)
		<-g.entered
		if res := p.receiveAfter(p.send(wire.CmdWrite, wire.FlagFUA, 4096, 512, make([]byte, 512))); res == slow {
			t.Error("the read came first")
		}
		q.want(wire.OK, wire.CmdFlush, 0, 0, 0, nil)
		if len(g.flushed) == 0 {
			t.Error("the flush did not reach the node")
		}
		close(g.pass)
		if res := p.receive(nil); res.cookie != slow {
			t.Errorf("reply %d", res.cookie)
		}
	})
}

func (p *peer) receiveAfter(cookie uint64) uint64 {
	p.t.Helper()
	res := p.receive(nil)
	if res.cookie != cookie || res.err != wire.OK {
		p.t.Errorf("reply to %d (%v), want %d", res.cookie, res.err, cookie)
	}
	return res.cookie
}

// Clients that ask for much and read nothing hold nobody up.
func TestSlowClients(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, content []byte) {
		_, path := start(t, Config{StallLimit: 500 * time.Millisecond}, x)
		var wg sync.WaitGroup
		for range 40 {
			slow := connect(t, path).begin(wire.Structured, "")
			_ = slow.c.(*net.UnixConn).SetReadBuffer(4096)
			slow.holds = true
			for range 64 {
				slow.send(wire.CmdRead, 0, 0, 1<<20, nil)
			}
			wg.Go(func() { _, _ = slow.c.Write(slow.held) }) // blocks, or fails when the test hangs up
		}
		p := connect(t, path).begin(wire.Structured, "")
		for i := range uint64(300) {
			off := i * 4096 % (testSize - 1<<20)
			if res := p.want(wire.OK, wire.CmdRead, 0, off, 1<<(i%20), nil); !bytes.Equal(res.data, content[off:off+1<<(i%20)]) {
				t.Fatalf("wrong data at %d", off)
			}
		}
		p.bye()
		t.Cleanup(wg.Wait) // runs after the connections were closed
	})
}

func TestHandshakeAndIdleLimits(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, _ []byte) {
		_, path := start(t, Config{HandshakeLimit: 30 * time.Millisecond}, x)
		connect(t, path).closed()
	})
	planes(t, func(t *testing.T, x *Export, _ []byte) {
		_, path := start(t, Config{IdleLimit: 30 * time.Millisecond, StallLimit: 30 * time.Millisecond}, x)
		connect(t, path).begin(wire.Structured, "").closed()
	})
}

// Beyond the limit a client waits, without a greeting, until another leaves.
func TestClientLimit(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, _ []byte) {
		x.Single = true
		_, path := start(t, Config{Clients: 1}, x)
		p := connect(t, path).begin(wire.Structured, "")
		if p.flags&wire.CanMultiConn != 0 {
			t.Error("several connections are announced to a single client")
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p.want(wire.OK, wire.CmdRead, 0, 0, 512, nil)
		p.bye()
		if _, err := io.ReadFull(c, make([]byte, wire.NewstyleSize)); err != nil {
			t.Errorf("the second client: %v", err)
		}
	})
}

// A thousand idle clients cost less than 100 MB.
func TestManyIdleClients(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand clients")
	}
	const n = 1000
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil || lim.Cur < 3*n {
		t.Skipf("requires %d descriptors, there are %d", 3*n, lim.Cur)
	}
	ref, _ := makeFile(t, testSize)
	_, path := start(t, Config{}, &Export{Root: ref})
	before := resident(t)
	list := make([]*peer, n)
	for i := range list {
		list[i] = connect(t, path).begin(wire.Structured, "")
		list[i].want(wire.OK, wire.CmdRead, 0, 0, 4096, nil)
	}
	runtime.GC()
	grown := resident(t) - before
	t.Logf("%d clients: %d MiB, client side included", n, grown>>20)
	if grown > 100e6 {
		t.Errorf("%d bytes", grown)
	}
	for _, p := range list {
		p.bye()
	}
}

// resident is the process's memory in bytes.
func resident(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages int64
	for _, c := range strings.Fields(string(b))[1] {
		pages = pages*10 + int64(c-'0')
	}
	return pages * int64(os.Getpagesize())
}

// What fails below is told to the client, and the next request is served.
func TestErrors(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, _ []byte) {
		x.Root = engine.NewRef(&failing{newGate(x.Root)}, engine.OpenFlags{Write: true})
		_, path := start(t, Config{}, x)
		for name, kind := range kinds {
			t.Run(name, func(t *testing.T) {
				p := connect(t, path).begin(kind, "")
				p.want(wire.EIO, wire.CmdRead, 0, 0, 512, nil)
				p.want(wire.EIO, wire.CmdRead, 0, 0, 3<<20, nil)
				p.want(wire.ENOSPC, wire.CmdWrite, 0, 0, 512, make([]byte, 512))
				p.want(wire.ENOSPC, wire.CmdWrite, 0, 0, 2<<20, make([]byte, 2<<20))
				p.want(wire.EPERM, wire.CmdWriteZeroes, wire.FlagFastZero, 512, 512, nil)
				p.bye()
			})
		}
	})
}

type failing struct{ *gate }

func (f *failing) Info() engine.Info {
	i := f.gate.Info()
	i.Caps |= engine.CapZero
	return i
}

func (*failing) ReadAt(context.Context, []byte, int64) error { return unix.EREMOTEIO }

func (*failing) WriteAt(context.Context, []byte, int64, engine.WriteFlags) error { return unix.EDQUOT }

func (*failing) WriteZeroes(_ context.Context, _, _ int64, f engine.WriteFlags) error {
	if f&engine.NoFallback == 0 {
		return errors.New("FAST_ZERO got lost")
	}
	return unix.EROFS
}
