package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBytes holds what is written against the text of the protocol, byte by byte, and what is read back against what was written.
func TestBytes(t *testing.T) {
	read := Request{Cookie: 0x0102030405060708, Off: 0x1000, Len: 0x200, Type: CmdRead, Flags: FlagDF}
	put := func(n int, f func([]byte)) []byte {
		b := make([]byte, n)
		f(b)
		return b
	}
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"oldstyle", put(OldstyleSize, func(b []byte) {
			g := Greeting{Style: Oldstyle, Export: Export{1 << 20, HasFlags | SendFlush}}
			g.Put(b)
		}), "4e42444d41474943 0000420281861253 0000000000100000 00000005" + strings.Repeat("00", 124)},
		{"newstyle", put(NewstyleSize, func(b []byte) { (&Greeting{Style: Newstyle, Handshake: 3}).Put(b) }), "4e42444d41474943 49484156454f5054 0003"},
		{"client flags", put(ClientFlagsSize, func(b []byte) { PutClientFlags(b, FixedNewstyle|NoZeroes) }), "00000003"},
		{"option", put(OptionSize, OptionHeader{OptGo, 9}.Put), "49484156454f5054 00000007 00000009"},
		{"option reply", put(OptionReplySize, OptionReply{OptGo, RepErrUnknown, 2}.Put), "0003e889045565a9 00000007 80000006 00000002"},
		{"go", AppendInfoRequest(nil, "ab", InfoBlockSize, InfoName), "00000002 6162 0002 0003 0001"},
		{"meta request", AppendMetaRequest(nil, "e", "base:"), "00000001 65 00000001 00000005 626173653a"},
		{"meta context", AppendMetaContext(nil, 7, "x:y"), "00000007 783a79"},
		{"server", AppendServerEntry(nil, "n", "d"), "00000001 6e 64"},
		{"info export", AppendInfoExport(nil, Export{0x10000, 0x0103}), "0000 0000000000010000 0103"},
		{"info sizes", AppendInfoBlockSize(nil, BlockSizes{1, 4096, 1 << 25}), "0003 00000001 00001000 02000000"},
		{"info text", AppendInfoText(nil, InfoDescription, "hi"), "0002 6869"},
		{"export name", put(ExportNameSize, Export{0x10000, 1}.Put), "0000000000010000 0001"},
		{"compact", put(CompactSize, read.PutCompact), "25609513 0004 0000 0102030405060708 0000000000001000 00000200"},
		{"extended", put(ExtendedSize, read.PutExtended), "21e41c71 0004 0000 0102030405060708 0000000000001000 0000000000000200"},
		{"status payload", AppendStatusPayload(nil, 1<<33, 1, 2), "0000000200000000 00000001 00000002"},
		{"simple", put(SimpleReplySize, func(b []byte) { PutSimple(b, 5, EIO) }), "67446698 00000005 0000000000000005"},
		{"chunk", put(ChunkSize, (&Reply{Cookie: 5, Len: 12, Type: ChunkOffsetHole, Flags: FlagDone}).PutChunk), "668e33ef 0001 0002 0000000000000005 0000000c"},
		{
			"extended chunk", put(ExtendedChunkSize, (&Reply{Cookie: 5, Off: 3, Len: 12, Type: ChunkErrorOffset}).PutExtended),
			"6e8a278c 0000 8002 0000000000000005 0000000000000003 000000000000000c",
		},
		{"offset data", put(OffsetDataSize, func(b []byte) { PutOffsetData(b, 0x1234) }), "0000000000001234"},
		{"offset hole", put(OffsetHoleSize, func(b []byte) { PutOffsetHole(b, 0x1234, 0x200) }), "0000000000001234 00000200"},
		{"error", AppendFailure(nil, ENOSPC, "full", -1), "0000001c 0004 66756c6c"},
		{"error offset", AppendFailure(nil, EIO, "", 0x200), "00000005 0000 0000000000000200"},
		{"status", AppendStatus(nil, false, 1, Descriptor{4096, 3}, Descriptor{512, 0}), "00000001 00001000 00000003 00000200 00000000"},
		{"status ext", AppendStatus(nil, true, 1, Descriptor{1 << 40, 1}), "00000001 00000001 0000010000000000 0000000000000001"},
	} {
		if want := unhex(t, c.want); !bytes.Equal(c.got, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, c.got, want)
		}
	}
}

func TestRoundTrips(t *testing.T) {
	for _, ext := range []bool{false, true} {
		r := Request{Cookie: 1<<63 + 5, Off: 1 << 40, Len: 1 << 20, Type: CmdWriteZeroes, Flags: FlagNoHole | FlagFastZero}
		b := make([]byte, ExtendedSize)
		n := r.Put(b, ext)
		if got, err := ParseRequest(b[:n], ext); err != nil || got != r || n != RequestSize(ext) {
			t.Errorf("%+v, %v, %d bytes", got, err, n)
		}
		if _, err := ParseRequest(b[:n], !ext); !errors.Is(err, ErrMalformed) {
			t.Errorf("a header of the wrong kind: %v", err)
		}
	}
	for _, kind := range []Replies{Simple, Structured, Extended} {
		w := Reply{Cookie: 77, Type: ChunkOffsetHole, Flags: FlagDone, Len: OffsetHoleSize}
		switch kind {
		case Simple:
			w = Reply{Cookie: 77, Simple: true, Err: EPERM}
		case Extended:
			w.Off = 1 << 50
		case Structured:
		}
		b := make([]byte, MaxReplySize)
		n := w.Put(b, kind)
		var got Reply
		if m, err := ParseReply(b[:MinReplySize(kind)], kind, &got); err != nil || m != n {
			t.Errorf("kind %d: %d of %d bytes, %v", kind, m, n, err)
		}
		if m, err := ParseReply(b[:n], kind, &got); err != nil || m != n || got != w || !got.Done() {
			t.Errorf("kind %d: %+v, %d, %v", kind, got, m, err)
		}
	}
	ir, err := ParseInfoRequest(AppendInfoRequest(nil, "export", InfoName, InfoBlockSize))
	if err != nil || string(ir.Name) != "export" || ir.Len() != 2 || ir.At(1) != InfoBlockSize || !ir.Wants(InfoName) || ir.Wants(InfoExport) {
		t.Errorf("%+v %v", ir, err)
	}
	mr, err := ParseMetaRequest(AppendMetaRequest(nil, "export", "base:allocation", "qemu:"))
	var queries []string
	for q := range mr.Queries {
		queries = append(queries, string(q))
	}
	if err != nil || string(mr.Name) != "export" || mr.Count != 2 || !slices.Equal(queries, []string{"base:allocation", "qemu:"}) {
		t.Errorf("%+v %v %v", mr, queries, err)
	}
	for _, ext := range []bool{false, true} {
		typ := ChunkBlockStatus
		if ext {
			typ = ChunkBlockStatusExt
		}
		s, err := ParseStatus(typ, AppendStatus(nil, ext, 9, Descriptor{512, 1}, Descriptor{1024, 2}))
		if err != nil || s.ID != 9 || s.Count() != 2 || s.At(1) != (Descriptor{1024, 2}) {
			t.Errorf("%+v %v", s, err)
		}
	}
	f, err := ParseFailure(ChunkErrorOffset, AppendFailure(nil, EIO, "no such luck", 4096))
	if errno, text := f.Error(); err != nil || errno != unix.EIO || text != "no such luck" || f.Off != 4096 {
		t.Errorf("%+v %v", f, err)
	}
	p, err := ParseStatusPayload(AppendStatusPayload(nil, 4096, 3, 4))
	if err != nil || p.Len != 4096 || p.Count() != 2 || p.ID(1) != 4 {
		t.Errorf("%+v %v", p, err)
	}
}

// TestMalformed: what breaks the protocol is said, and what about it.
func TestMalformed(t *testing.T) {
	reply := func(kind Replies, s string) error {
		var r Reply
		_, err := ParseReply(unhex(t, s), kind, &r)
		return err
	}
	second := func(_ any, err error) error { return err }
	long := strings.Repeat("x", MaxString+1)
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"HTTP", second(ParseGreeting([]byte("HTTP/1.1 400 Bad Request"))), "not an NBD server"},
		{"style", second(ParseGreeting([]byte("NBDMAGIC????????"))), "neither oldstyle nor newstyle"},
		{"short greeting", second(ParseGreeting([]byte("NBDMAGICIHAVEOPT"))), "greeting of 16 bytes"},
		{"client flags", second(ParseClientFlags([]byte{0, 0, 0, 4})), "0x4"},
		{"export size", second(ParseExport(unhex(t, "8000000000000000 0001"))), "export of 9223372036854775808"},
		{"option", second(ParseOption(unhex(t, "49484156454f5055 00000007 00000009"))), "option with magic"},
		{"reply to another", second(ParseOptionReply(unhex(t, "0003e889045565a9 00000006 00000001 00000000"), OptGo)), "reply to INFO where GO"},
		{"long reply", second(ParseOptionReply(unhex(t, "0003e889045565a9 00000007 00000003 ffffffff"), OptGo)), "4294967295 bytes"},
		{"ack with data", second(ParseOptionReply(unhex(t, "0003e889045565a9 00000007 00000001 00000001"), OptGo)), "ACK to GO"},
		{"long name", second(ParseInfoRequest(AppendInfoRequest(nil, long))), "string of 4097"},
		{"NUL", second(ParseInfoRequest(AppendInfoRequest(nil, "a\x00b"))), "NUL"},
		{"UTF-8", second(ParseInfoRequest(AppendInfoRequest(nil, "a\xffb"))), "UTF-8"},
		{"cut name", second(ParseInfoRequest(unhex(t, "00000009 61"))), "9 bytes in 1"},
		{"infos", second(ParseInfoRequest(unhex(t, "00000001 61 0002 0001"))), "information requests"},
		{"queries", second(ParseMetaRequest(unhex(t, "00000001 61 00000002 00000001 61"))), "query cut off"},
		{"too many queries", second(ParseMetaRequest(unhex(t, "00000001 61 ffffffff"))), "query cut off"},
		{"after queries", second(ParseMetaRequest(unhex(t, "00000001 61 00000000 00"))), "after the last query"},
		{"minimum", BlockSizes{3, 4096, 8192}.Validate(), "minimum block size 3"},
		{"big minimum", BlockSizes{1 << 17, 1 << 17, 1 << 20}.Validate(), "up to 64 KiB"},
		{"preferred", BlockSizes{1024, 512, 8192}.Validate(), "preferred block size 512"},
		{"maximum", BlockSizes{512, 4096, 1000}.Validate(), "no multiple"},
		{"maximum below", BlockSizes{512, 4096, 0}.Validate(), "below the minimum"},
		{"info export", second(ParseInfo(unhex(t, "0000 01"))), "INFO_EXPORT of 1"},
		{"info sizes", second(ParseInfo(unhex(t, "0003 00000001"))), "INFO_BLOCK_SIZE of 4"},
		{"magic", reply(Simple, "668e33ef 0001 0000 0000000000000001"), "magic 0x668e33ef"},
		{"simple in extended", reply(Extended, "67446698 00000000 0000000000000001 0000000000000000 0000000000000000"), "magic 0x67446698"},
		{"none with data", reply(Structured, "668e33ef 0001 0000 0000000000000001 00000001"), "NONE chunk of 1"},
		{"none not done", reply(Structured, "668e33ef 0000 0000 0000000000000001 00000000"), "not the last"},
		{"empty data", reply(Structured, "668e33ef 0001 0001 0000000000000001 00000008"), "OFFSET_DATA chunk of 8"},
		{"hole", reply(Structured, "668e33ef 0001 0002 0000000000000001 0000000b"), "OFFSET_HOLE chunk of 11"},
		{"unknown type", reply(Structured, "668e33ef 0001 0003 0000000000000001 0000000b"), "unknown(3)"},
		{"long error", reply(Structured, "668e33ef 0001 8001 0000000000000001 00ffffff"), "ERROR chunk of 16777215"},
		{"empty hole", func() error { _, _, err := ParseOffsetHole(make([]byte, 12)); return err }(), "OFFSET_HOLE"},
		{"error of zero", second(ParseFailure(ChunkError, make([]byte, 6))), "without an error"},
		{"error message", second(ParseFailure(ChunkError, unhex(t, "00000005 0009 61"))), "message of 9 bytes in 1"},
		{"error offset", second(ParseFailure(ChunkErrorOffset, unhex(t, "00000005 0001 61 00"))), "1 bytes for its offset"},
		{"empty run", second(ParseStatus(ChunkBlockStatus, AppendStatus(nil, false, 1, Descriptor{0, 1}))), "empty run"},
		{"no run", second(ParseStatus(ChunkBlockStatus, AppendStatus(nil, false, 1))), "chunk of 4 bytes"},
		{"count", second(ParseStatus(ChunkBlockStatusExt, unhex(t, "00000001 00000002 0000000000000001 0000000000000001"))), "says 2"},
		{"status payload", second(ParseStatusPayload(make([]byte, 8))), "payload of 8"},
	} {
		if !errors.Is(c.err, ErrMalformed) || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", c.name, c.err, c.want)
		}
	}
	// An error chunk of a type that is not known is the end of the request, not of the connection.
	if err := reply(Structured, "668e33ef 0001 9234 0000000000000001 0000000b"); err != nil {
		t.Errorf("an unknown error: %v", err)
	}
}

func TestRequestValidate(t *testing.T) {
	for _, c := range []struct {
		r    Request
		ext  bool
		want Errno
	}{
		{Request{Type: CmdRead, Len: 1}, false, OK},
		{Request{Type: CmdRead, Flags: FlagDF | FlagFUA}, false, OK},
		{Request{Type: CmdRead, Flags: FlagNoHole}, false, EINVAL},
		{Request{Type: CmdWrite, Flags: FlagPayloadLen}, false, EINVAL},
		{Request{Type: CmdWrite, Flags: FlagPayloadLen}, true, OK},
		{Request{Type: CmdWrite}, true, EINVAL},
		{Request{Type: CmdWriteZeroes, Flags: FlagFastZero | FlagNoHole | FlagFUA}, false, OK},
		{Request{Type: 99}, false, EINVAL},
		{Request{Type: CmdTrim, Flags: 1 << 9}, false, EINVAL},
		{Request{Type: CmdTrim, Off: 1<<63 - 1, Len: 1}, true, EINVAL},
	} {
		if got := c.r.Validate(c.ext); got != c.want {
			t.Errorf("%+v: %v, want %v", c.r, got, c.want)
		}
	}
	w := Request{Type: CmdWrite, Len: 512}
	d := Request{Type: CmdBlockStatus, Len: 16, Flags: FlagPayloadLen}
	if w.Payload(false) != 512 || d.Payload(false) != 0 || d.Payload(true) != 16 {
		t.Error("payloads", w.Payload(false), d.Payload(false), d.Payload(true))
	}
}

func TestErrnos(t *testing.T) {
	for _, e := range []Errno{OK, EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN} {
		if got := FromSystem(e.System()); got != e {
			t.Errorf("%v comes back as %v", e, got)
		}
		if s := e.String(); strings.Contains(s, "unknown") {
			t.Errorf("%d: %s", e, s)
		}
	}
	for sys, want := range map[unix.Errno]Errno{unix.EDQUOT: ENOSPC, unix.EROFS: EPERM, unix.ENOSYS: ENOTSUP, unix.EHWPOISON: EIO} {
		if got := FromSystem(sys); got != want {
			t.Errorf("%v is %v, want %v", sys, got, want)
		}
	}
	if Errno(9999).System() != unix.EINVAL {
		t.Error("an error that the protocol does not have")
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		OptSetMetaContext.String():                       "SET_META_CONTEXT",
		Option(99).String():                              "unknown(99)",
		RepErrExtHeaderReqd.String():                     "ERR_EXT_HEADER_REQD",
		RepMetaContext.String():                          "META_CONTEXT",
		InfoBlockSize.String():                           "BLOCK_SIZE",
		CmdResize.String():                               "RESIZE",
		ChunkBlockStatusExt.String():                     "BLOCK_STATUS_EXT",
		ChunkErrorOffset.String():                        "ERROR_OFFSET",
		Chunk(4).String():                                "unknown(4)",
		(HasFlags | BlockStatusPayload | 1<<15).String(): "HAS_FLAGS|BLOCK_STATUS_PAYLOAD|bit15",
		(FlagFUA | FlagPayloadLen).String():              "FUA|PAYLOAD_LEN",
		(FixedNewstyle | NoZeroes).String():              "FIXED_NEWSTYLE|NO_ZEROES",
		ReplyFlags(0).String():                           "0",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestNoAllocations: both ends parse and write in their hot loops.
func TestNoAllocations(t *testing.T) {
	b := make([]byte, 256)
	status := AppendStatus(nil, true, 1, Descriptor{512, 1})
	var r Reply
	if n := testing.AllocsPerRun(100, func() {
		q := Request{Type: CmdWrite, Len: 512}
		q.Put(b, false)
		got, err := ParseRequest(b, false)
		if err != nil || got.Len != 512 {
			panic("request")
		}
		r = Reply{Cookie: 1, Type: ChunkBlockStatusExt, Flags: FlagDone, Len: uint64(len(status))}
		r.Put(b, Extended)
		if _, err := ParseReply(b, Extended, &r); err != nil {
			panic(err)
		}
		s, err := ParseStatus(r.Type, status)
		if err != nil || s.At(0).Len != 512 {
			panic("status")
		}
		status = AppendStatus(status[:0], true, 1, Descriptor{512, 1})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	buf := make([]byte, CompactSize)
	q := Request{Type: CmdRead, Len: 4096, Off: 1 << 30, Cookie: 7}
	b.ReportAllocs()
	for b.Loop() {
		q.PutCompact(buf)
		if _, err := ParseRequest(buf, false); err != nil {
			b.Fatal(err)
		}
	}
}
