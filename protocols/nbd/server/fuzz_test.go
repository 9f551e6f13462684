package server

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/protocols/mem"
	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// FuzzConnection sends bytes to a server: what comes first is negotiation, and where that gets through, transmission. Nothing hangs, and
// the server goes on.
func FuzzConnection(f *testing.F) {
	opt := func(o wire.Option, data []byte) []byte {
		b := make([]byte, wire.OptionSize)
		wire.OptionHeader{Option: o, Len: uint32(len(data))}.Put(b)
		return append(b, data...)
	}
	req := func(ext bool, r wire.Request) []byte {
		b := make([]byte, wire.ExtendedSize)
		return b[:r.Put(b, ext)]
	}
	join := func(parts ...[]byte) []byte {
		all := []byte{0, 0, 0, 3}
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	start := opt(wire.OptGo, wire.AppendInfoRequest(nil, "", wire.InfoBlockSize))
	f.Add(join(opt(wire.OptList, nil), opt(wire.OptStructuredReply, nil), opt(wire.OptSetMetaContext, wire.AppendMetaRequest(nil, "", "base:")),
		start, req(false, wire.Request{Type: wire.CmdBlockStatus, Len: 4096}), req(false, wire.Request{Type: wire.CmdDisc})))
	f.Add(join(opt(wire.OptExtendedHeaders, nil), opt(wire.OptSetMetaContext, wire.AppendMetaRequest(nil, "", "base:allocation")), start,
		req(true, wire.Request{Type: wire.CmdBlockStatus, Len: 12, Flags: wire.FlagPayloadLen}), wire.AppendStatusPayload(nil, 4096, 1),
		req(true, wire.Request{Type: wire.CmdWrite, Len: 4, Flags: wire.FlagPayloadLen}), []byte("data")))
	f.Add(join(opt(wire.OptExportName, nil), req(false, wire.Request{Type: wire.CmdWrite, Len: 512, Off: 1 << 62})))
	f.Add(join(opt(wire.OptStartTLS, nil), opt(wire.OptInfo, []byte{1, 2, 3, 4}), opt(wire.OptAbort, nil)))
	ref := engine.NewRef(mem.New(1<<16, true), engine.OpenFlags{Write: true, Discard: true})
	f.Fuzz(func(t *testing.T, in []byte) {
		s := New(Config{})
		if err := s.Add(&Export{Root: ref, AllocationDepth: true}); err != nil {
			t.Fatal(err)
		}
		client, side := net.Pipe()
		_ = client.SetDeadline(time.Now().Add(10 * time.Second))
		s.wg.Add(1)
		s.clients++
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.client(side)
		}()
		go func() {
			_, _ = client.Write(in) // the server may hang up before
			_ = client.SetReadDeadline(time.Now().Add(time.Millisecond))
		}()
		_, _ = io.Copy(io.Discard, client) // it ends by the deadline or by the server
		client.Close()
		<-done
	})
}

// FuzzRequests sends requests to the poller's parser, in transmission already.
func FuzzRequests(f *testing.F) {
	for _, ext := range []bool{false, true} {
		for _, r := range []wire.Request{
			{Type: wire.CmdRead, Len: 512, Cookie: 1},
			{Type: wire.CmdWrite, Len: 3, Cookie: 2},
			{Type: wire.CmdWriteZeroes, Len: 4096, Flags: wire.FlagFastZero | wire.FlagFUA},
			{Type: wire.CmdBlockStatus, Len: 12, Flags: wire.FlagPayloadLen},
			{Type: wire.CmdDisc},
		} {
			b := make([]byte, wire.ExtendedSize)
			f.Add(ext, append(b[:r.Put(b, ext)], make([]byte, 12)...))
		}
	}
	ref, _ := makeFile(f, 1<<16)
	_, path := start(f, Config{}, &Export{Root: ref, AllocationDepth: true})
	f.Fuzz(func(t *testing.T, ext bool, in []byte) {
		kind := wire.Structured
		if ext {
			kind = wire.Extended
		}
		p := connect(t, path).begin(kind, "", wire.ContextAllocation)
		_, _ = p.c.Write(in) // the server may hang up before
		_ = p.c.(*net.UnixConn).CloseWrite()
		if _, err := io.Copy(io.Discard, p.c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the server neither answers nor hangs up")
		}
		p.c.Close()
	})
}
