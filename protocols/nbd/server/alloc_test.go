package server

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/protocols/nbd/wire"
)

// rounds has a client keep 32 requests in flight through bare system calls, which allocate nothing.
type rounds struct {
	fd  int
	out []byte
	in  []byte
}

func newRounds(t testing.TB, p *peer, write bool, size int) *rounds {
	t.Helper()
	fd, err := detach(p.c)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	p.c.Close()
	t.Cleanup(func() { unix.Close(fd) })
	r := &rounds{fd: fd}
	for i := range uint64(32) {
		req := wire.Request{Cookie: i, Off: i * 65536, Len: uint64(size), Type: wire.CmdRead}
		if write {
			req.Type = wire.CmdWrite
		}
		b := make([]byte, wire.CompactSize)
		req.PutCompact(b)
		r.out = append(r.out, b...)
		if write {
			r.out = append(r.out, make([]byte, size)...)
		}
	}
	reply := wire.SimpleReplySize
	if !write {
		reply = wire.ChunkSize + wire.OffsetDataSize + size
	}
	r.in = make([]byte, 32*reply)
	return r
}

func (r *rounds) run(t testing.TB) {
	for b := r.out; len(b) > 0; {
		n, err := unix.Write(r.fd, b)
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	for b := r.in; len(b) > 0; {
		n, _, errno := unix.Syscall(unix.SYS_READ, uintptr(r.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno != 0 || n == 0 {
			t.Fatal(errno)
		}
		b = b[n:]
	}
}

// A request that goes through a poller allocates nothing.
func TestAllocations(t *testing.T) {
	ref, _ := makeFile(t, testSize)
	_, path := start(t, Config{}, &Export{Root: ref})
	for _, write := range []bool{false, true} {
		r := newRounds(t, connect(t, path).begin(wire.Structured, ""), write, 4096)
		for range 20 {
			r.run(t)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const n = 300
		for range n {
			r.run(t)
		}
		runtime.ReadMemStats(&after)
		// The runtime itself allocates now and then: a thread, a timer.
		if got := after.Mallocs - before.Mallocs; got > 32*n/100 {
			t.Errorf("write %v: %d allocations in %d requests", write, got, 32*n)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	ref, _ := makeFile(b, testSize)
	for _, noRing := range []bool{false, true} {
		name := "ring"
		if noRing {
			name = "goroutines"
		}
		b.Run(name, func(b *testing.B) {
			_, path := start(b, Config{NoRing: noRing}, &Export{Root: ref})
			r := newRounds(b, connect(b, path).begin(wire.Structured, ""), false, 4096)
			b.ReportAllocs()
			for range b.N / 32 {
				r.run(b)
			}
		})
	}
}
