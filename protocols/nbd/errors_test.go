package nbd

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// refused wants an open to fail in a certain way.
func refused(t *testing.T, name string, write bool, kind error, words ...string) {
	t.Helper()
	ref, err := attempt(env(), name, write)
	if err == nil {
		ref.Close()
		t.Fatalf("%s is opened", name)
	}
	wantError(t, err, kind, words...)
}

func TestRefusedConnection(t *testing.T) {
	refused(t, uri("/nonexistent/socket", ""), false, engine.ErrNotFound, "/nonexistent/socket", "no such file")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	refused(t, "nbd://"+addr+"/", false, nil, addr, "connection refused")
}

func TestOptionsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		kind error
		word string
	}{
		{"driver=nbd", engine.ErrOption, "address missing"},
		{"driver=nbd,server.type=unix", engine.ErrOption, "server.path: missing"},
		{"driver=nbd,server.type=inet,server.port=1", engine.ErrOption, "server.host: missing"},
		{"driver=nbd,host=h,port=99999", engine.ErrOption, "no port"},
		{"driver=nbd,server.type=unix,server.path=/s,server.host=h", engine.ErrOption, "not for a Unix socket"},
		{"driver=nbd,server.type=inet,server.host=h,server.path=/s", engine.ErrOption, "not for TCP"},
		{"driver=nbd,server.type=vsock,server.port=1", engine.ErrUnsupported, "want inet or unix"},
		{"driver=nbd,path=/s,tls-hostname=h", engine.ErrOption, "without tls-creds"},
		{"driver=nbd,path=/s,tls-creds=t0", engine.ErrOption, "no such object"},
		{"nbds://alice@h/?tls-psk-file=/k", engine.ErrUnsupported, "pre-shared key"},
		{"driver=nbd,path=/s,connections=0", engine.ErrOption, "connections"},
	} {
		refused(t, c.name, false, c.kind, c.word)
	}
	f := new(fake)
	f.start(t)
	refused(t, "driver=nbd,path="+f.sock+",exprt=x", false, engine.ErrOption, "exprt", "export")
}

func TestWrongExport(t *testing.T) {
	name := (&fake{exports: []string{"one", "two"}}).start(t)
	refused(t, name+"", false, engine.ErrNotFound, "no export ''", "it has 'one', 'two'", "ERR_UNKNOWN to GO")
	ref := mustOpen(t, strings.Replace(name, "/?", "/two?", 1), true)
	ref.Close()
}

func TestReadOnlyExport(t *testing.T) {
	name := uri(nbdkit(t, "-r", "memory", "1M"), "")
	refused(t, name, true, engine.ErrReadOnly, "is read-only")
	ref := mustOpen(t, name, false)
	defer ref.Close()
	wantError(t, ref.WriteAt(bg, make([]byte, 512), 0, 0), engine.ErrReadOnly)
	_, sock, _ := strings.Cut(ref.Info().Filename, "socket=")
	either := mustOpen(t, "driver=nbd,path="+sock+",auto-read-only=on", true)
	defer either.Close()
	if either.Writable() {
		t.Error("writable")
	}
}

// TestNoGreeting: a server with all its places taken accepts and says nothing.
func TestNoGreeting(t *testing.T) {
	f := &fake{silent: true}
	f.start(t)
	start := time.Now()
	refused(t, "driver=nbd,path="+f.sock+",open-timeout=200ms", false, engine.ErrTimeout, "no greeting: a server with all places taken", "within 200ms")
	if d := time.Since(start); d < 200*time.Millisecond {
		t.Errorf("given up after %v", d)
	}
	ctx, cancel := context.WithCancel(bg)
	o := &Options{Server: Server{Type: "unix", Path: f.sock}, Connections: 1}
	failed := make(chan error)
	go func() {
		_, err := Open(ctx, o, engine.OpenFlags{}, nil)
		failed <- err
	}()
	cancel()
	wantError(t, <-failed, context.Canceled)
}

// TestFullServer is the same with a real one.
func TestFullServer(t *testing.T) {
	disk := filepath.Join(scratch(t), "disk")
	file(t, disk, 1<<20)
	sock := qemuNBD(t, "-f", "raw", "--shared=1", disk)
	ref := connect(t, uri(sock, ""))
	refused(t, "driver=nbd,path="+sock+",open-timeout=200ms", false, engine.ErrTimeout, "no greeting")
	if err := ref.ReadAt(bg, make([]byte, 512), 0); err != nil {
		t.Error(err)
	}
}

// TestOpenTimeout: connecting is tried again until somebody is there.
func TestOpenTimeout(t *testing.T) {
	dir := scratch(t)
	sock := filepath.Join(dir, "s")
	opened := make(chan error, 1)
	go func() {
		ref, err := attempt(env(), "driver=nbd,path="+sock+",open-timeout=60", false)
		if err == nil {
			err = ref.Close()
		}
		opened <- err
	}()
	nbdkitArgs(t, dir, "-U", sock, "memory", "1M")
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestOldstyle(t *testing.T) {
	sock := nbdkit(t, "-o", "memory", "1M")
	refused(t, uri(sock, "name"), false, engine.ErrUnsupported, "oldstyle", "'name'")
	refused(t, "driver=nbd,path="+sock+",x-dirty-bitmap=qemu:dirty-bitmap:b", false, engine.ErrUnsupported, "no metadata context")
	refused(t, "nbds+unix:///?socket="+sock, false, engine.ErrUnsupported, "no TLS")
	ref := connect(t, uri(sock, ""))
	p := []byte(strings.Repeat("oldstyle", 64))
	if err := ref.WriteAt(bg, p, 4096, 0); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(p))
	if err := ref.ReadAt(bg, got, 4096); err != nil || string(got) != string(p) {
		t.Errorf("%q, %v", got, err)
	}
	if d := ref.Info().Detail.(Details); d.Negotiation != "oldstyle" || ref.Size() != 1<<20 {
		t.Errorf("%+v, %d bytes", d, ref.Size())
	}
}

func TestBlockSizesThatLie(t *testing.T) {
	for _, c := range []struct {
		blocks []byte
		size   uint64
		word   string
	}{
		{blockSizes(3, 4096, 1<<25), 1 << 20, "minimum block size 3"},
		{blockSizes(1<<20, 1<<20, 1<<25), 1 << 20, "minimum block size 1048576"},
		{blockSizes(512, 100, 1<<25), 1 << 20, "preferred block size 100"},
		{blockSizes(512, 4096, 1000), 1 << 20, "maximum block size 1000"},
		{blockSizes(4096, 4096, 1<<25), 1<<20 + 512, "1049088 bytes in blocks of at least 4096"},
		{blockSizes(1, 4096, 1<<25), 1 << 63, "export of 9223372036854775808 bytes"},
	} {
		f := &fake{blocks: c.blocks, size: min(c.size, 1<<21)}
		name := f.start(t)
		f.mu.Lock()
		f.size = c.size
		f.mu.Unlock()
		refused(t, name, false, engine.ErrIO, "breaks the protocol", c.word)
	}
}

// plane runs requests one way or the other.
type plane struct {
	name string
	// run reads n bytes at each offset, all of them at once, and returns what came of each.
	run func(t *testing.T, ref *engine.Ref, op engine.Op, n int, offs ...int64) []error
}

var planes = []plane{{"blocking", runBlocking}, {"polled", runPolled}}

func runBlocking(_ *testing.T, ref *engine.Ref, op engine.Op, n int, offs ...int64) []error {
	errs := make([]error, len(offs))
	var wg sync.WaitGroup
	for i, off := range offs {
		wg.Go(func() {
			p := make([]byte, n)
			if op == engine.OpRead {
				errs[i] = ref.Node().ReadAt(bg, p, off)
			} else {
				errs[i] = ref.Node().WriteAt(bg, p, off, 0)
			}
		})
	}
	wg.Wait()
	return errs
}

func runPolled(t *testing.T, ref *engine.Ref, op engine.Op, n int, offs ...int64) []error {
	t.Helper()
	errs := make([]error, len(offs))
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		q, reqs, end := polled(t, ref, len(offs), n)
		defer end()
		if q == nil {
			return
		}
		list := make([]*engine.Request, len(offs))
		for i, off := range offs {
			reqs[i].Op, reqs[i].Off, reqs[i].Len, reqs[i].User = op, off, uint32(n), uint64(i)
			list[i] = &reqs[i]
		}
		for left, sent := len(offs), 0; left > 0; {
			sent += q.Submit(list[sent:])
			if err := q.Wait(10 * time.Second); err != nil {
				t.Error(err)
				return
			}
			out := make([]*engine.Request, len(offs))
			k := q.Poll(out)
			for _, r := range out[:k] {
				errs[r.User] = r.Err()
			}
			left -= k
		}
	}()
	<-done
	return errs
}

// polled opens a queue on the calling thread, with requests that have buffers.
func polled(t *testing.T, ref *engine.Ref, depth, n int) (engine.Queue, []engine.Request, func()) {
	arena, err := dma.New(dma.Config{Size: depth * (n + 4096), NoHuge: true})
	if err != nil {
		t.Error(err)
		return nil, nil, func() {}
	}
	q, err := ref.Node().(engine.QueueOpener).OpenQueue(bg, engine.QueueConfig{Poller: engine.NewPoller(), Depth: depth, Arenas: []*dma.Arena{arena}})
	if err != nil {
		t.Error(err)
		return nil, nil, func() { arena.Close() }
	}
	reqs := make([]engine.Request, depth)
	for i := range reqs {
		if reqs[i].Buf, err = arena.Alloc(n); err != nil {
			t.Error(err)
		}
	}
	return q, reqs, func() { errors.Join(q.Close(), arena.Close()) }
}

// scripts are what a dishonest server does with a READ of 4 KiB at 8 KiB, and what is said about it.
var scripts = []struct {
	name  string
	kind  wire.Replies
	reply func(c *fakeConn, r wire.Request)
	word  string
}{
	{"wrong cookie", wire.Structured, func(c *fakeConn, r wire.Request) { r.Cookie ^= 1 << 40; c.done(r, wire.OK) }, "not in flight"},
	{"cookie out of range", wire.Simple, func(c *fakeConn, r wire.Request) { r.Cookie |= 0xffff; c.done(r, wire.EIO) }, "not in flight"},
	{"reply too long", wire.Structured, func(c *fakeConn, r wire.Request) {
		c.chunk(r, wire.ChunkOffsetData, wire.FlagDone, data(r.Off, make([]byte, r.Len+1)))
	}, "OFFSET_DATA chunk of 4105 bytes in reply to READ of 4096 bytes"},
	{"data before the range", wire.Structured, func(c *fakeConn, r wire.Request) {
		c.chunk(r, wire.ChunkOffsetData, wire.FlagDone, data(r.Off-1, make([]byte, r.Len)))
	}, "data for 0x1fff+4096 in reply to READ of 0x2000+4096"},
	{"hole behind the range", wire.Structured, func(c *fakeConn, r wire.Request) {
		c.chunk(r, wire.ChunkOffsetHole, wire.FlagDone, hole(r.Off+1, uint32(r.Len)))
	}, "data for 0x2001+4096"},
	{"data twice", wire.Extended, func(c *fakeConn, r wire.Request) {
		c.chunk(r, wire.ChunkOffsetData, 0, data(r.Off, make([]byte, 1024)))
		c.chunk(r, wire.ChunkOffsetHole, wire.FlagDone, hole(r.Off+512, uint32(r.Len-512)))
	}, "twice in reply"},
	{"data missing", wire.Structured, func(c *fakeConn, r wire.Request) {
		c.chunk(r, wire.ChunkOffsetData, 0, data(r.Off, make([]byte, r.Len-1)))
		c.chunk(r, wire.ChunkNone, wire.FlagDone, nil)
	}, "with data missing"},
	{"no data at all", wire.Extended, func(c *fakeConn, r wire.Request) { c.chunk(r, wire.ChunkNone, wire.FlagDone, nil) }, "with data missing"},
	{"unknown chunk", wire.Structured, func(c *fakeConn, r wire.Request) { c.chunk(r, 77, wire.FlagDone, make([]byte, 16)) }, "chunk of type unknown(77)"},
	{"block status for a read", wire.Structured, func(c *fakeConn, r wire.Request) {
		c.chunk(r, wire.ChunkBlockStatus, wire.FlagDone, wire.AppendStatus(nil, false, 5, wire.Descriptor{Len: 4096}))
	}, "BLOCK_STATUS chunk of 12 bytes in reply to READ"},
	{"simple reply to a read", wire.Structured, func(c *fakeConn, r wire.Request) {
		c.kind = wire.Simple
		c.done(r, wire.OK)
	}, "simple reply to READ"},
	{"end before the end", wire.Structured, func(c *fakeConn, r wire.Request) { c.chunk(r, wire.ChunkNone, 0, nil) }, "not the last chunk"},
	{"message too long", wire.Structured, func(c *fakeConn, r wire.Request) {
		c.chunk(r, wire.ChunkError, wire.FlagDone, []byte{0, 0, 0, 5, 0, 99, 'x'})
	}, "message of 99 bytes in 1"},
	{"error of zero", wire.Extended, func(c *fakeConn, r wire.Request) { c.chunk(r, wire.ChunkError, wire.FlagDone, make([]byte, 6)) }, "without an error"},
	{"other offset", wire.Extended, func(c *fakeConn, r wire.Request) { r.Off += 512; c.done(r, wire.OK) }, "chunk for offset 0x2200"},
	{"not a reply", wire.Simple, func(c *fakeConn, _ wire.Request) { c.put([]byte(strings.Repeat("HTTP/1.1 ", 10))) }, "reply with magic 0x48545450"},
	{"death in mid-reply", wire.Structured, func(c *fakeConn, r wire.Request) {
		b := make([]byte, wire.ChunkSize)
		(&wire.Reply{Cookie: r.Cookie, Len: r.Len + 8, Type: wire.ChunkOffsetData, Flags: wire.FlagDone}).PutChunk(b)
		c.put(append(b, data(r.Off, make([]byte, 1000))...))
		c.Close()
	}, "closed the connection"},
	{"death before the reply", wire.Simple, func(c *fakeConn, _ wire.Request) { c.Close() }, "closed the connection"},
}

// TestMalformedReplies: each of them is an error that says what is wrong; the request is not sent again, and the next one goes through on
// another connection.
func TestMalformedReplies(t *testing.T) {
	for _, s := range scripts {
		for _, p := range planes {
			t.Run(s.name+"/"+p.name, func(t *testing.T) {
				f := &fake{kind: s.kind}
				f.serve = func(c *fakeConn, _ int) {
					for {
						r, payload, err := c.request()
						switch {
						case err != nil || r.Type == wire.CmdDisc:
							return
						case r.Type == wire.CmdRead && r.Off == 8192:
							s.reply(c, r)
						default:
							c.answer(r, payload)
						}
					}
				}
				ref := connect(t, f.start(t)+"")
				wantError(t, p.run(t, ref, engine.OpRead, 4096, 8192)[0], engine.ErrIO, s.word)
				if n := len(f.seen(ofType(wire.CmdRead))); n != 1 {
					t.Errorf("%d READs", n)
				}
				if err := p.run(t, ref, engine.OpRead, 4096, 0)[0]; err != nil {
					t.Errorf("the next: %v", err)
				}
			})
		}
	}
}

// TestErrorsOfTheServer: what a server answers is an error of the request and of nothing else.
func TestErrorsOfTheServer(t *testing.T) {
	codes := map[wire.Errno]error{
		wire.EPERM: engine.ErrPermission, wire.EIO: engine.ErrIO, wire.ENOSPC: engine.ErrNoSpace, wire.ENOTSUP: engine.ErrUnsupported,
		wire.ESHUTDOWN: engine.ErrIO, wire.ENOMEM: nil, wire.EINVAL: nil, wire.EOVERFLOW: nil, 9999: nil,
	}
	for _, kind := range []wire.Replies{wire.Simple, wire.Structured, wire.Extended} {
		for _, p := range planes {
			for code, want := range codes {
				f := &fake{kind: kind}
				f.serve = func(c *fakeConn, _ int) {
					for {
						r, payload, err := c.request()
						switch {
						case err != nil:
							return
						case r.Off == 8192:
							c.done(r, code)
						default:
							c.answer(r, payload)
						}
					}
				}
				ref := connect(t, f.start(t))
				words := []string{"server says " + code.String()}
				if kind != wire.Simple {
					words = append(words, `"so it is"`)
				}
				errs := p.run(t, ref, engine.OpRead, 4096, 8192, 0)
				wantError(t, errs[0], want, words...)
				if errs[1] != nil {
					t.Errorf("%s %s: the other request: %v", kindName(kind), p.name, errs[1])
				}
				wantError(t, p.run(t, ref, engine.OpWrite, 4096, 8192)[0], want, words...)
			}
		}
	}
}

// TestNbdkitErrors is the same with a real server's error filter.
func TestNbdkitErrors(t *testing.T) {
	ref := connect(t, uri(nbdkit(t, "--filter=error", "memory", "1M", "error-pread=ENOSPC", "error-pread-rate=100%"), ""))
	for _, p := range planes {
		wantError(t, p.run(t, ref, engine.OpRead, 4096, 0)[0], engine.ErrNoSpace, "ENOSPC")
		if err := p.run(t, ref, engine.OpWrite, 4096, 0)[0]; err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}
