package server

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

var kinds = map[string]wire.Replies{"simple": wire.Simple, "structured": wire.Structured, "extended": wire.Extended}

// Every kind of reply in both planes: what was written is read, and requests of all sizes are served.
func TestReadWrite(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			planes(t, func(t *testing.T, x *Export, content []byte) {
				x.Name = "disk"
				_, path := start(t, Config{}, x)
				p := connect(t, path).begin(kind, "disk")
				p.want(wire.OK, wire.CmdFlush, 0, 0, 0, nil)
				if p.size != testSize || x.onRing() != strings.HasSuffix(t.Name(), "ring") {
					t.Fatalf("size %d, on the ring: %v", p.size, x.onRing())
				}
				for i, n := range []int{1, 512, 4096, 5000, 65536, 1 << 20, 1<<20 + 1, 3 << 20} {
					off := uint64(i * 777)
					if res := p.want(wire.OK, wire.CmdRead, 0, off, uint64(n), nil); !bytes.Equal(res.data, content[off:off+uint64(n)]) {
						t.Errorf("%d bytes at %d differ", n, off)
					}
					data := randomBytes(n, uint64(i))
					p.want(wire.OK, wire.CmdWrite, wire.FlagFUA*wire.CmdFlags(i%2), off, uint64(n), data)
					copy(content[off:], data)
				}
				p.want(wire.OK, wire.CmdFlush, 0, 0, 0, nil)
				p.want(wire.OK, wire.CmdCache, 0, 0, 1<<20, nil)
				p.want(wire.OK, wire.CmdTrim, wire.FlagFUA, 1<<20, 4096, nil)
				p.want(wire.OK, wire.CmdWriteZeroes, 0, 2<<20, 100000, nil)
				clear(content[2<<20 : 2<<20+100000])
				p.want(wire.OK, wire.CmdWriteZeroes, wire.FlagNoHole|wire.FlagFUA, 3<<20, 4096, nil)
				clear(content[3<<20 : 3<<20+4096])
				p.want(wire.OK, wire.CmdTrim, 0, 1<<20, 4096, nil)
				got := p.want(wire.OK, wire.CmdRead, 0, 0, testSize, nil).data
				clear(content[1<<20 : 1<<20+4096]) // a file and a memory read zeroes there
				if !bytes.Equal(got, content) {
					t.Error("the content differs in the end")
				}
				p.bye()
			})
		})
	}
}

// A random history with many requests in flight that do not overlap, replies in any order.
func TestHistory(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, content []byte) {
		_, path := start(t, Config{}, x)
		p := connect(t, path).begin(wire.Structured, "")
		rng := rand.New(rand.NewPCG(1, 2))
		type want struct{ data []byte }
		for range 30 {
			open, lens := map[uint64]want{}, map[uint64]uint64{}
			p.holds = true
			const lanes = 100 // more than a connection may have under way
			for i := range lanes {
				lane := testSize / lanes * i
				off, n := lane+rng.IntN(40000), 1+rng.IntN(40000)
				switch rng.IntN(3) {
				case 0:
					data := randomBytes(n, rng.Uint64())
					copy(content[off:], data)
					open[p.send(wire.CmdWrite, 0, uint64(off), uint64(n), data)] = want{}
				case 1:
					clear(content[off : off+n])
					open[p.send(wire.CmdWriteZeroes, 0, uint64(off), uint64(n), nil)] = want{}
				default:
					c := p.send(wire.CmdRead, 0, uint64(off), uint64(n), nil)
					open[c], lens[c] = want{content[off : off+n]}, uint64(n)
				}
			}
			wait := p.release()
			for range lanes {
				res := p.receive(lens)
				w, ok := open[res.cookie]
				if delete(open, res.cookie); !ok || res.err != wire.OK || !bytes.Equal(res.data, w.data) {
					t.Fatalf("reply %d: known %v, %v, %d bytes", res.cookie, ok, res.err, len(res.data))
				}
			}
			wait()
		}
	})
}

// What a server answers before it asks the node.
func TestRefusals(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			planes(t, func(t *testing.T, x *Export, content []byte) {
				ro := &Export{Name: "ro", Root: x.Root, ReadOnly: true}
				_, path := start(t, Config{}, x, ro)
				p := connect(t, path).begin(kind, "")
				data := make([]byte, 4096)
				p.want(wire.EINVAL, wire.CmdRead, 0, testSize-1, 2, nil)
				p.want(wire.EINVAL, wire.CmdRead, 0, 1<<63, 2, nil)
				p.want(wire.EINVAL, wire.CmdRead, wire.FlagNoHole, 0, 512, nil)
				p.want(wire.ENOSPC, wire.CmdWrite, 0, testSize-4095, 4096, data)
				p.want(wire.ENOSPC, wire.CmdWriteZeroes, 0, testSize-1, 2, nil)
				p.want(wire.EINVAL, wire.CmdTrim, 0, testSize, 1, nil)
				p.want(wire.EINVAL, wire.CmdBlockStatus, 0, 0, 512, nil) // no context was set
				p.want(wire.EINVAL, wire.Cmd(77), 0, 0, 0, nil)
				p.want(wire.EINVAL, wire.CmdRead, 0, 0, maxPayload+1, nil)
				if kind == wire.Simple {
					p.want(wire.EINVAL, wire.CmdRead, wire.FlagDF, 0, 512, nil)
				} else {
					p.want(wire.OK, wire.CmdRead, wire.FlagDF, 0, 512, nil)
				}
				p.want(wire.OK, wire.CmdRead, 0, 0, 0, nil)
				p.want(wire.OK, wire.CmdWrite, 0, 0, 0, nil)
				p.bye()
				q := connect(t, path).begin(kind, "ro")
				if q.flags&wire.ReadOnly == 0 || q.flags&wire.SendTrim != 0 {
					t.Errorf("flags %v", q.flags)
				}
				q.want(wire.EPERM, wire.CmdWrite, 0, 0, 4096, data)
				q.want(wire.EPERM, wire.CmdTrim, 0, 0, 4096, nil)
				q.want(wire.EPERM, wire.CmdWriteZeroes, 0, 0, 4096, nil)
				q.want(wire.OK, wire.CmdFlush, 0, 0, 0, nil)
				if res := q.want(wire.OK, wire.CmdRead, 0, 0, 4096, nil); !bytes.Equal(res.data, content[:4096]) {
					t.Error("what was refused was written")
				}
				q.bye()
			})
		})
	}
}

// Exports are windows.
func TestOffset(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, content []byte) {
		x.Offset, x.Size = 4096, 1<<20
		_, path := start(t, Config{}, x)
		p := connect(t, path).begin(wire.Structured, "", wire.ContextAllocation)
		if p.size != 1<<20 {
			t.Errorf("size %d", p.size)
		}
		if res := p.want(wire.OK, wire.CmdRead, 0, 100, 1000, nil); !bytes.Equal(res.data, content[4196:5196]) {
			t.Error("the window is elsewhere")
		}
		p.want(wire.EINVAL, wire.CmdRead, 0, 1<<20-1, 2, nil)
		if st := p.want(wire.OK, wire.CmdBlockStatus, 0, 0, 1<<20, nil).status[1]; fmt.Sprint(st) != fmt.Sprint([]wire.Descriptor{{Len: 1 << 20}}) {
			t.Errorf("%v", st)
		}
	})
}

// A client that vanishes in the middle of a request, or sends what is none, is gone, and others are served.
func TestGarbage(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, content []byte) {
		s, path := start(t, Config{}, x)
		write := wire.Request{Cookie: 1, Len: 1 << 20, Type: wire.CmdWrite}
		huge := wire.Request{Cookie: 1, Len: maxPayload + 1, Type: wire.CmdWrite}
		b := make([]byte, wire.CompactSize)
		c := make([]byte, wire.CompactSize)
		write.PutCompact(b)
		huge.PutCompact(c)
		for _, what := range [][]byte{{}, b[:5], b, append(b, 1, 2, 3), append(b, make([]byte, 1<<20-1)...), randomBytes(300, 3), c} {
			p := connect(t, path).begin(wire.Structured, "")
			p.write(what)
			p.c.(interface{ CloseWrite() error }).CloseWrite()
			if n, err := io.Copy(io.Discard, p.c); n != 0 {
				t.Errorf("%d bytes came back, %v", n, err)
			}
			p.c.Close()
		}
		p := connect(t, path).begin(wire.Structured, "")
		if res := p.want(wire.OK, wire.CmdRead, 0, 0, 1<<20, nil); !bytes.Equal(res.data, content[:1<<20]) {
			t.Error("half a write was done")
		}
		p.bye()
		if n := s.Clients(); n > 1 {
			t.Errorf("%d clients", n)
		}
	})
}

// A client that asks and says goodbye gets its answers all the same.
func TestGoodbye(t *testing.T) {
	planes(t, func(t *testing.T, x *Export, content []byte) {
		_, path := start(t, Config{}, x)
		p := connect(t, path).begin(wire.Structured, "")
		p.holds = true
		for i := range uint64(200) {
			p.send(wire.CmdRead, 0, i*4096, 4096, nil)
		}
		p.send(wire.CmdDisc, 0, 0, 0, nil)
		wait := p.release()
		got := map[uint64]bool{}
		for range 200 {
			res := p.receive(nil)
			if off := (res.cookie - 1) * 4096; res.err != wire.OK || !bytes.Equal(res.data, content[off:off+4096]) {
				t.Errorf("%d: %v", res.cookie, res.err)
			}
			got[res.cookie] = true
		}
		if len(got) != 200 {
			t.Errorf("%d replies", len(got))
		}
		wait()
		p.closed()
	})
}
