package nbd

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// fake is a server that a test writes the script of. Without one it is an honest server of memory, with all that the protocol has.
type fake struct {
	testing.TB
	size    uint64
	flags   wire.TransmissionFlags
	kind    wire.Replies  // the most that it agrees to
	blocks  []byte        // of INFO_BLOCK_SIZE, as it is sent; nil: none
	exports []string      // nil: any name will do
	silent  bool          // no greeting
	grows   bool          // the size doubles with the first WRITE
	held    chan struct{} // where there is one, an answer waits for an item of it
	// serve is what it does with connection i in transmission; nil: honest.
	serve func(c *fakeConn, i int)

	sock  string
	mu    sync.Mutex
	disk  []byte
	log   []logged
	conns []net.Conn
	wg    sync.WaitGroup
}

// logged is a request as the server saw it.
type logged struct {
	conn int
	req  wire.Request
}

const everything = wire.HasFlags | wire.SendFlush | wire.SendFUA | wire.SendTrim | wire.SendWriteZeroes | wire.CanMultiConn | wire.SendCache |
	wire.SendFastZero | wire.SendResize

func (f *fake) start(t testing.TB) string {
	t.Helper()
	f.TB = t
	if f.flags == 0 {
		f.flags = everything
	}
	if f.size == 0 {
		f.size = 1 << 20
	}
	f.disk = make([]byte, f.size)
	f.sock = filepath.Join(scratch(t), "s")
	l, err := net.Listen("unix", f.sock)
	if err != nil {
		t.Fatal(err)
	}
	f.wg.Go(func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			f.wg.Go(func() {
				defer c.Close()
				f.client(&fakeConn{Conn: c, f: f, n: i}, i)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return uri(f.sock, "")
}

// accepted is how many connections there were.
func (f *fake) accepted() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// seen are the requests that keep accepts.
func (f *fake) seen(keep func(logged) bool) []logged {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.log), func(l logged) bool { return !keep(l) })
}

func ofType(cmd wire.Cmd) func(logged) bool { return func(l logged) bool { return l.req.Type == cmd } }

func (f *fake) client(c *fakeConn, i int) {
	if f.silent {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	if err := c.handshake(); err != nil {
		return
	}
	if f.serve != nil {
		f.serve(c, i)
		return
	}
	c.honest()
}

// fakeConn is the server's end of a connection.
type fakeConn struct {
	net.Conn
	f    *fake
	n    int
	kind wire.Replies
}

func (c *fakeConn) get(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(c, b)
	return b, err
}

func (c *fakeConn) put(b []byte) { _, _ = c.Write(b) }

func (c *fakeConn) handshake() error {
	b := make([]byte, wire.NewstyleSize)
	(&wire.Greeting{Style: wire.Newstyle, Handshake: wire.FixedNewstyle | wire.NoZeroes}).Put(b)
	c.put(b)
	if _, err := c.get(wire.ClientFlagsSize); err != nil {
		return err
	}
	for {
		b, err := c.get(wire.OptionSize)
		if err != nil {
			return err
		}
		o, err := wire.ParseOption(b)
		if err != nil {
			return err
		}
		data, err := c.get(int(o.Len))
		if err != nil {
			return err
		}
		if done, err := c.option(o.Option, data); done || err != nil {
			return err
		}
	}
}

func (c *fakeConn) reply(o wire.Option, r wire.Rep, data []byte) {
	b := make([]byte, wire.OptionReplySize)
	wire.OptionReply{Option: o, Type: r, Len: uint32(len(data))}.Put(b)
	c.put(append(b, data...))
}

func (c *fakeConn) option(o wire.Option, data []byte) (bool, error) {
	f := c.f
	agree := func(k wire.Replies) {
		if f.kind < k {
			c.reply(o, wire.RepErrUnsup, nil)
			return
		}
		c.kind = k
		c.reply(o, wire.RepAck, nil)
	}
	switch o {
	case wire.OptStructuredReply:
		agree(wire.Structured)
	case wire.OptExtendedHeaders:
		agree(wire.Extended)
	case wire.OptSetMetaContext:
		r, err := wire.ParseMetaRequest(data)
		if err != nil {
			return false, err
		}
		for q := range r.Queries {
			if string(q) == wire.ContextAllocation {
				c.reply(o, wire.RepMetaContext, wire.AppendMetaContext(nil, 5, wire.ContextAllocation))
			}
		}
		c.reply(o, wire.RepAck, nil)
	case wire.OptGo:
		r, err := wire.ParseInfoRequest(data)
		if err != nil {
			return false, err
		}
		if f.exports != nil && !slices.Contains(f.exports, string(r.Name)) {
			c.reply(o, wire.RepErrUnknown, nil)
			return false, nil
		}
		f.mu.Lock()
		e := wire.Export{Size: f.size, Flags: f.flags}
		f.mu.Unlock()
		c.reply(o, wire.RepInfo, wire.AppendInfoExport(nil, e))
		if f.blocks != nil {
			c.reply(o, wire.RepInfo, f.blocks)
		}
		c.reply(o, wire.RepAck, nil)
		return true, nil
	case wire.OptList:
		for _, e := range f.exports {
			c.reply(o, wire.RepServer, wire.AppendServerEntry(nil, e, ""))
		}
		c.reply(o, wire.RepAck, nil)
	case wire.OptAbort:
		return false, io.EOF
	default:
		c.reply(o, wire.RepErrUnsup, []byte("what?"))
	}
	return false, nil
}

// request reads one, with its payload, and logs it.
func (c *fakeConn) request() (wire.Request, []byte, error) {
	ext := c.kind == wire.Extended
	b, err := c.get(wire.RequestSize(ext))
	if err != nil {
		return wire.Request{}, nil, err
	}
	r, err := wire.ParseRequest(b, ext)
	if err != nil {
		c.f.Errorf("the client sends what is no request: %v", err)
		return r, nil, err
	}
	if e := r.Validate(ext); e != wire.OK {
		c.f.Errorf("the client sends %+v: %v", r, e)
	}
	c.f.mu.Lock()
	c.f.log = append(c.f.log, logged{c.n, r})
	if r.Type == wire.CmdWrite && c.f.grows {
		c.f.grows = false
		c.f.size *= 2
	}
	c.f.mu.Unlock()
	payload, err := c.get(int(r.Payload(ext)))
	return r, payload, err
}

// chunk sends a header of the kind agreed on, or a simple reply of that, and a payload.
func (c *fakeConn) chunk(r wire.Request, t wire.Chunk, flags wire.ReplyFlags, payload []byte) {
	b := make([]byte, wire.MaxReplySize)
	rep := wire.Reply{Cookie: r.Cookie, Off: r.Off, Len: uint64(len(payload)), Type: t, Flags: flags}
	n := rep.Put(b, c.kind)
	c.put(append(b[:n], payload...))
}

// data is an OFFSET_DATA payload.
func data(off uint64, p []byte) []byte {
	b := make([]byte, wire.OffsetDataSize)
	wire.PutOffsetData(b, off)
	return append(b, p...)
}

func hole(off uint64, n uint32) []byte {
	b := make([]byte, wire.OffsetHoleSize)
	wire.PutOffsetHole(b, off, n)
	return b
}

// done answers without data.
func (c *fakeConn) done(r wire.Request, e wire.Errno) {
	if c.kind == wire.Simple {
		b := make([]byte, wire.SimpleReplySize)
		wire.PutSimple(b, r.Cookie, e)
		c.put(b)
		return
	}
	if e != wire.OK {
		c.chunk(r, wire.ChunkError, wire.FlagDone, wire.AppendFailure(nil, e, "so it is", -1))
		return
	}
	c.chunk(r, wire.ChunkNone, wire.FlagDone, nil)
}

// honest serves memory until the client is gone.
func (c *fakeConn) honest() {
	for {
		r, payload, err := c.request()
		if err != nil || r.Type == wire.CmdDisc {
			return
		}
		if c.f.held != nil && r.Type <= wire.CmdWrite {
			<-c.f.held
		}
		c.answer(r, payload)
	}
}

// answer serves one request. Reads come as two pieces, the later one first, and what is zeroes as a hole.
func (c *fakeConn) answer(r wire.Request, payload []byte) {
	f := c.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Type != wire.CmdResize && r.Off+r.Len > uint64(len(f.disk)) {
		c.done(r, wire.EINVAL)
		return
	}
	part := f.disk[min(r.Off, uint64(len(f.disk))):min(r.Off+r.Len, uint64(len(f.disk)))]
	switch r.Type {
	case wire.CmdRead:
		c.read(r, part)
		return
	case wire.CmdWrite:
		copy(f.disk[r.Off:], payload)
	case wire.CmdTrim, wire.CmdWriteZeroes:
		clear(part)
	case wire.CmdBlockStatus:
		c.status(r, part)
		return
	case wire.CmdResize:
		f.size = r.Off
		f.disk = append(f.disk[:min(uint64(len(f.disk)), r.Off)], make([]byte, max(0, int(r.Off)-len(f.disk)))...)
	case wire.CmdFlush, wire.CmdCache, wire.CmdDisc:
	}
	c.done(r, wire.OK)
}

func (c *fakeConn) read(r wire.Request, part []byte) {
	if c.kind == wire.Simple {
		b := make([]byte, wire.SimpleReplySize)
		wire.PutSimple(b, r.Cookie, wire.OK)
		c.put(append(b, part...))
		return
	}
	half := uint64(len(part) / 2)
	for i, p := range [][]byte{part[half:], part[:half]} {
		off := r.Off + half*uint64(1-i)
		switch {
		case len(p) == 0:
		case slices.Max(p) == 0:
			c.chunk(r, wire.ChunkOffsetHole, 0, hole(off, uint32(len(p))))
		default:
			c.chunk(r, wire.ChunkOffsetData, 0, data(off, p))
		}
	}
	c.chunk(r, wire.ChunkNone, wire.FlagDone, nil)
}

// status tells zeroes by units of 4 KiB of the export.
func (c *fakeConn) status(r wire.Request, part []byte) {
	ext := c.kind == wire.Extended
	var runs []wire.Descriptor
	for at := uint64(0); at < uint64(len(part)); {
		from := (r.Off + at) &^ 4095
		n := min(4096-(r.Off+at)%4096, uint64(len(part))-at)
		var st uint64
		if slices.Max(c.f.disk[from:min(from+4096, uint64(len(c.f.disk)))]) == 0 {
			st = wire.StateZero | wire.StateHole
		}
		if k := len(runs) - 1; k >= 0 && runs[k].Status == st {
			runs[k].Len += n
		} else {
			runs = append(runs, wire.Descriptor{Len: n, Status: st})
		}
		at += n
	}
	t := wire.ChunkBlockStatus
	if ext {
		t = wire.ChunkBlockStatusExt
	}
	c.chunk(r, t, wire.FlagDone, wire.AppendStatus(nil, ext, 5, runs...))
}

// option data as a server sends it, which its types would refuse.
func blockSizes(minimum, preferred, maximum uint32) []byte {
	return wire.AppendInfoBlockSize(nil, wire.BlockSizes{Min: minimum, Pref: preferred, Max: maximum})
}

func kindName(k wire.Replies) string {
	return fmt.Sprint([...]string{"simple", "structured", "extended"}[k])
}
