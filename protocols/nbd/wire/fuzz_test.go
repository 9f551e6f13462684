package wire

import (
	"bytes"
	"testing"
)

// FuzzClient is what a server sends: nothing of it makes the client's parsers read outside the slice, and what they take is what the
// writers write.
func FuzzClient(f *testing.F) {
	for _, g := range []Greeting{{Style: Oldstyle, Export: Export{1 << 20, 3}}, {Style: Newstyle, Handshake: 3}} {
		b := make([]byte, g.Size())
		g.Put(b)
		f.Add(uint8(0), b)
	}
	b := make([]byte, OptionReplySize)
	OptionReply{OptGo, RepInfo, 12}.Put(b)
	f.Add(uint8(1), b)
	f.Add(uint8(2), AppendInfoExport(nil, Export{1, 1}))
	f.Add(uint8(2), AppendInfoBlockSize(nil, BlockSizes{1, 4096, 1 << 25}))
	f.Add(uint8(3), AppendMetaContext(nil, 1, ContextAllocation))
	f.Add(uint8(4), AppendServerEntry(nil, "name", "detail"))
	for kind := range uint8(3) {
		r := Reply{Cookie: 3, Type: ChunkOffsetData, Len: 520, Flags: FlagDone}
		b := make([]byte, MaxReplySize)
		f.Add(5+kind, b[:r.Put(b, Replies(kind))])
	}
	f.Add(uint8(8), AppendFailure(nil, EIO, "message", 5))
	f.Add(uint8(9), AppendStatus(nil, false, 1, Descriptor{512, 3}))
	f.Add(uint8(10), AppendStatus(nil, true, 1, Descriptor{512, 3}))
	f.Fuzz(func(t *testing.T, what uint8, b []byte) {
		switch what {
		case 0:
			if g, err := ParseGreeting(b); err == nil {
				c := make([]byte, g.Size())
				g.Put(c)
				if g2, err := ParseGreeting(c); err != nil || g2 != g {
					t.Fatalf("%+v, then %+v, %v", g, g2, err)
				}
			}
		case 1:
			if r, err := ParseOptionReply(b, OptGo); err == nil {
				c := make([]byte, OptionReplySize)
				if r.Put(c); !bytes.Equal(c, b[:OptionReplySize]) {
					t.Fatalf("%x, then %x", b, c)
				}
			}
		case 2:
			_, _ = ParseInfo(b)
		case 3:
			_, _ = ParseMetaContext(b)
		case 4:
			_, _ = ParseServerEntry(b)
		case 5, 6, 7:
			var r Reply
			kind := Replies(what - 5)
			n, err := ParseReply(b, kind, &r)
			if err != nil || n > len(b) {
				return
			}
			c := make([]byte, MaxReplySize)
			if !r.Simple {
				if m := r.Put(c, kind); m != n || !bytes.Equal(c[:n], b[:n]) {
					t.Fatalf("%x, then %x", b[:n], c[:m])
				}
			}
		case 8:
			for _, typ := range []Chunk{ChunkError, ChunkErrorOffset, ChunkError + 77} {
				if fl, err := ParseFailure(typ, b); err == nil && fl.Err == OK {
					t.Fatal("a failure that is none")
				}
			}
		case 9, 10:
			s, err := ParseStatus(ChunkBlockStatus+Chunk(what-9), b)
			if err != nil {
				return
			}
			for i := range s.Count() {
				if s.At(i).Len == 0 {
					t.Fatal("an empty run")
				}
			}
		}
	})
}

// FuzzServer is what a client sends.
func FuzzServer(f *testing.F) {
	f.Add(uint8(0), []byte{0, 0, 0, 3})
	b := make([]byte, OptionSize)
	OptionHeader{OptGo, 12}.Put(b)
	f.Add(uint8(1), b)
	f.Add(uint8(2), AppendInfoRequest(nil, "name", InfoName))
	f.Add(uint8(3), AppendMetaRequest(nil, "name", "base:allocation", "qemu:"))
	for i, ext := range []bool{false, true} {
		r := Request{Type: CmdWrite, Len: 512, Flags: FlagFUA}
		b := make([]byte, ExtendedSize)
		f.Add(uint8(4+i), b[:r.Put(b, ext)])
	}
	f.Add(uint8(6), AppendStatusPayload(nil, 512, 1, 2))
	f.Fuzz(func(t *testing.T, what uint8, b []byte) {
		switch what {
		case 0:
			_, _ = ParseClientFlags(b)
		case 1:
			if o, err := ParseOption(b); err == nil {
				c := make([]byte, OptionSize)
				if o.Put(c); !bytes.Equal(c, b[:OptionSize]) {
					t.Fatalf("%x, then %x", b, c)
				}
			}
		case 2:
			if r, err := ParseInfoRequest(b); err == nil {
				infos := make([]Info, r.Len())
				for i := range infos {
					infos[i] = r.At(i)
				}
				if c := AppendInfoRequest(nil, string(r.Name), infos...); !bytes.Equal(c, b) {
					t.Fatalf("%x, then %x", b, c)
				}
			}
		case 3:
			if r, err := ParseMetaRequest(b); err == nil {
				var queries []string
				for q := range r.Queries {
					queries = append(queries, string(q))
				}
				if c := AppendMetaRequest(nil, string(r.Name), queries...); !bytes.Equal(c, b) {
					t.Fatalf("%x, then %x", b, c)
				}
			}
		case 4, 5:
			r, err := ParseRequest(b, what == 5)
			if err != nil {
				return
			}
			c := make([]byte, ExtendedSize)
			if n := r.Put(c, what == 5); !bytes.Equal(c[:n], b[:n]) {
				t.Fatalf("%x, then %x", b[:n], c[:n])
			}
			if r.Validate(what == 5) == OK && int64(r.Off+r.Len) < 0 {
				t.Fatalf("%+v wraps", r)
			}
		case 6:
			if p, err := ParseStatusPayload(b); err == nil {
				for i := range p.Count() {
					_ = p.ID(i)
				}
			}
		}
	})
}
