package nbd

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

const requests = 8

// mortal is a server whose first deaths connections go when all requests are there, unanswered.
func mortal(t *testing.T, deaths int) *fake {
	f := &fake{kind: wire.Structured}
	var mu sync.Mutex
	served := 0 // connections that had something to do
	f.serve = func(c *fakeConn, _ int) {
		mine := -1
		for seen := 0; ; {
			r, payload, err := c.request()
			if err != nil || r.Type == wire.CmdDisc {
				return
			}
			if r.Type != wire.CmdWrite {
				c.answer(r, payload)
				continue
			}
			if mine < 0 {
				mu.Lock()
				mine = served
				served++
				mu.Unlock()
			}
			if mine >= deaths {
				c.answer(r, payload)
				continue
			}
			if seen++; seen == requests {
				return
			}
		}
	}
	f.start(t)
	return f
}

// perOffset counts how often the server saw each WRITE, by connection.
func (f *fake) perOffset() map[uint64]map[int]int {
	counts := make(map[uint64]map[int]int)
	for _, l := range f.seen(ofType(wire.CmdWrite)) {
		if counts[l.req.Off] == nil {
			counts[l.req.Off] = make(map[int]int)
		}
		counts[l.req.Off][l.conn]++
	}
	return counts
}

func offsets() []int64 {
	offs := make([]int64, requests)
	for i := range offs {
		offs[i] = int64(i) * 8192
	}
	return offs
}

// eachPlane opens the server with one connection in the blocking plane, so that all requests die together.
func eachPlane(t *testing.T, f func(t *testing.T, p plane, options string)) {
	for _, p := range planes {
		t.Run(p.name, func(t *testing.T) { f(t, p, ",connections=1") })
	}
}

// TestReplay: what a lost connection took along is sent once more on the next, once each, by the server's own log.
func TestReplay(t *testing.T) {
	eachPlane(t, func(t *testing.T, p plane, options string) {
		f := mortal(t, 1)
		ref := connect(t, "driver=nbd,path="+f.sock+",reconnect-delay=60"+options)
		for i, err := range p.run(t, ref, engine.OpWrite, 4096, offsets()...) {
			if err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		}
		for off, conns := range f.perOffset() {
			if len(conns) != 2 {
				t.Errorf("WRITE at %#x on %d connections", off, len(conns))
			}
			for _, n := range conns {
				if n != 1 {
					t.Errorf("WRITE at %#x %d times on one connection", off, n)
				}
			}
		}
	})
}

// TestReplayOfMany is TestReplay with more requests than one message takes.
func TestReplayOfMany(t *testing.T) {
	const many = 1200
	f := &fake{kind: wire.Structured, size: many * 512}
	first := make(chan struct{})
	f.serve = func(c *fakeConn, i int) {
		for seen := 0; ; {
			r, payload, err := c.request()
			if err != nil || r.Type == wire.CmdDisc {
				return
			}
			if r.Type == wire.CmdWrite && i == 1 {
				if seen++; seen == 700 { // fewer than what is submitted, and some of it not sent yet
					close(first)
					return
				}
				continue
			}
			c.answer(r, payload)
		}
	}
	f.start(t)
	ref := connect(t, "driver=nbd,path="+f.sock+",reconnect-delay=60")
	offs := make([]int64, many)
	for i := range offs {
		offs[i] = int64(i) * 512
	}
	for i, err := range runPolled(t, ref, engine.OpWrite, 512, offs...) {
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	<-first
	for off, conns := range f.perOffset() {
		if conns[1] > 1 || conns[2] != 1 {
			t.Fatalf("WRITE at %#x: %v", off, conns)
		}
	}
}

// TestFailedOnce: without reconnect-delay what was in flight fails, and is not sent again; what comes later has a new connection.
func TestFailedOnce(t *testing.T) {
	eachPlane(t, func(t *testing.T, p plane, options string) {
		f := mortal(t, 1)
		ref := connect(t, "driver=nbd,path="+f.sock+options)
		for _, err := range p.run(t, ref, engine.OpWrite, 4096, offsets()...) {
			wantError(t, err, engine.ErrIO, "connection lost", "closed the connection")
		}
		for off, conns := range f.perOffset() {
			if len(conns) != 1 {
				t.Errorf("WRITE at %#x on %d connections", off, len(conns))
			}
		}
		if err := p.run(t, ref, engine.OpWrite, 4096, 1<<19)[0]; err != nil {
			t.Errorf("the next: %v", err)
		}
	})
}

// TestNeverTwice: a request that has lost two connections fails.
func TestNeverTwice(t *testing.T) {
	eachPlane(t, func(t *testing.T, p plane, options string) {
		f := mortal(t, 3)
		ref := connect(t, "driver=nbd,path="+f.sock+",reconnect-delay=60"+options)
		for _, err := range p.run(t, ref, engine.OpWrite, 4096, offsets()...) {
			wantError(t, err, engine.ErrIO, "connection lost")
		}
		for off, conns := range f.perOffset() {
			if len(conns) != 2 {
				t.Errorf("WRITE at %#x on %d connections", off, len(conns))
			}
		}
	})
}

// TestServerGone: with nobody to connect to, requests fail when the time is up, with both reasons at hand.
func TestServerGone(t *testing.T) {
	eachPlane(t, func(t *testing.T, p plane, options string) {
		dir := scratch(t)
		sock := filepath.Join(dir, "s")
		l, err := net.Listen("unix", sock)
		if err != nil {
			t.Fatal(err)
		}
		f := &fake{kind: wire.Structured, size: 1 << 20, flags: everything, disk: make([]byte, 1<<20), TB: t}
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				c, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					fc := &fakeConn{Conn: c, f: f, n: i}
					defer c.Close()
					if fc.handshake() != nil {
						return
					}
					for {
						r, payload, err := fc.request()
						if err != nil || r.Type == wire.CmdDisc {
							return
						}
						if r.Type == wire.CmdWrite {
							l.Close() // and unlinks
							return
						}
						fc.answer(r, payload)
					}
				})
			}
		})
		defer wg.Wait()
		defer l.Close()
		ref := connect(t, "driver=nbd,path="+sock+",reconnect-delay=20ms"+options)
		defer ref.Close()
		wantError(t, p.run(t, ref, engine.OpWrite, 4096, 0)[0], engine.ErrNotFound, "no such file")
	})
}

// TestExportChanged: another size behind the same name is not the export that was opened.
func TestExportChanged(t *testing.T) {
	eachPlane(t, func(t *testing.T, p plane, options string) {
		f := mortal(t, 1)
		f.grows = true
		ref := connect(t, "driver=nbd,path="+f.sock+",reconnect-delay=60"+options)
		for _, err := range p.run(t, ref, engine.OpWrite, 4096, offsets()...) {
			wantError(t, err, engine.ErrIO, "2097152 bytes now, it had 1048576")
		}
	})
}

// TestUnflushed: writes that were acknowledged and not flushed when the connection went are worth a warning.
func TestUnflushed(t *testing.T) {
	eachPlane(t, func(t *testing.T, p plane, options string) {
		f := mortal(t, 1)
		e := env()
		var mu sync.Mutex
		var warnings []string
		e.Warn = func(s string) { mu.Lock(); warnings = append(warnings, s); mu.Unlock() }
		ref, err := attempt(e, "driver=nbd,path="+f.sock+",reconnect-delay=60"+options, true)
		if err != nil {
			t.Fatal(err)
		}
		defer ref.Close()
		if err := ref.WriteZeroes(bg, 0, 4096, 0); err != nil {
			t.Fatal(err)
		}
		for _, err := range p.run(t, ref, engine.OpWrite, 4096, offsets()...) {
			if err != nil {
				t.Error(err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(warnings) != 1 {
			t.Errorf("warnings: %q", warnings)
		}
	})
}

// TestCancel: a caller that gives up returns although the server is silent; its buffer is its own again, and the connection serves on.
func TestCancel(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	f := &fake{kind: wire.Structured}
	f.serve = func(c *fakeConn, _ int) {
		for {
			r, payload, err := c.request()
			if err != nil || r.Type == wire.CmdDisc {
				return
			}
			if r.Type == wire.CmdRead && r.Off == 0 {
				close(arrived)
				<-answer
			}
			c.answer(r, payload)
		}
	}
	f.start(t)
	f.disk[0] = 1
	ref := connect(t, "driver=nbd,path="+f.sock+",connections=1")
	ctx, cancel := context.WithCancel(bg)
	failed := make(chan error)
	p := make([]byte, 4096)
	go func() { failed <- ref.ReadAt(ctx, p, 0) }()
	<-arrived
	cancel()
	wantError(t, <-failed, context.Canceled)
	close(answer)
	if err := ref.ReadAt(bg, make([]byte, 4096), 4096); err != nil {
		t.Errorf("the next: %v", err)
	}
	if p[0] != 0 {
		t.Error("the buffer was written to after the call")
	}
	if n := f.accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestSeveralConnections: callers that crowd get more connections where the server allows it, as many as they may, and no more.
func TestSeveralConnections(t *testing.T) {
	for _, multi := range []bool{false, true} {
		f := &fake{kind: wire.Structured, flags: everything}
		want := 3
		if !multi {
			f.flags &^= wire.CanMultiConn
			want = 1
		}
		// Nothing is answered before as many connections as there may be have something to do.
		var mu sync.Mutex
		busy, open := 0, make(chan struct{})
		f.serve = func(c *fakeConn, _ int) {
			for first := true; ; first = false {
				r, payload, err := c.request()
				if err != nil || r.Type == wire.CmdDisc {
					return
				}
				if first {
					mu.Lock()
					if busy++; busy == want {
						close(open)
					}
					mu.Unlock()
				}
				<-open
				c.answer(r, payload)
			}
		}
		f.start(t)
		ref := connect(t, "driver=nbd,path="+f.sock+",connections=3")
		var callers sync.WaitGroup
		for n, enough := 0, false; !enough || n < 20; n++ {
			callers.Go(func() {
				if err := ref.ReadAt(bg, make([]byte, 512), 0); err != nil {
					t.Error(err)
				}
			})
			select {
			case <-open:
				enough = true
			case <-time.After(time.Millisecond): // a connection takes a while; more callers come
			}
		}
		callers.Wait()
		if n := f.accepted(); n != want {
			t.Errorf("multi=%v: %d connections, want %d", multi, n, want)
		}
	}
}
