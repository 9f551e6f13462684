package uring

import (
	"bytes"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestLayoutIsTheKernels(t *testing.T) {
	var s SQE
	base := uintptr(unsafe.Pointer(&s))
	for _, f := range []struct {
		name string
		at   uintptr
		want uintptr
	}{ // io_uring.h "struct io_uring_sqe"
		{"opcode", uintptr(unsafe.Pointer(&s.Op)), 0},
		{"flags", uintptr(unsafe.Pointer(&s.Flags)), 1},
		{"ioprio", uintptr(unsafe.Pointer(&s.IOPrio)), 2},
		{"fd", uintptr(unsafe.Pointer(&s.FD)), 4},
		{"off", uintptr(unsafe.Pointer(&s.Off)), 8},
		{"addr", uintptr(unsafe.Pointer(&s.Addr)), 16},
		{"len", uintptr(unsafe.Pointer(&s.Len)), 24},
		{"rw_flags", uintptr(unsafe.Pointer(&s.OpFlags)), 28},
		{"user_data", uintptr(unsafe.Pointer(&s.UserData)), 32},
		{"buf_index", uintptr(unsafe.Pointer(&s.BufIndex)), 40},
		{"personality", uintptr(unsafe.Pointer(&s.Personality)), 42},
		{"file_index", uintptr(unsafe.Pointer(&s.FileIndex)), 44},
		{"addr3", uintptr(unsafe.Pointer(&s.Addr3)), 48},
	} {
		if f.at-base != f.want {
			t.Errorf("%s is at %d, want %d", f.name, f.at-base, f.want)
		}
	}
}

func TestPrepLeavesNothingOfTheLastUse(t *testing.T) {
	preps := map[string]func(s *SQE){
		"nop":         (*SQE).PrepNop,
		"read":        func(s *SQE) { s.PrepRead(3, 4096, 512, 1024) },
		"write fixed": func(s *SQE) { s.PrepWriteFixed(3, 4096, 512, 1024, 0, 7) },
		"fsync":       func(s *SQE) { s.PrepFsync(3) },
		"cancel":      func(s *SQE) { s.PrepCancel(99) },
		"accept":      func(s *SQE) { s.PrepAcceptMultishot(3, 0) },
		"command":     func(s *SQE) { s.PrepURingCmd(3, 5) },
	}
	for name, prep := range preps {
		var clean, dirty SQE
		for i := range (*[64]byte)(unsafe.Pointer(&dirty)) {
			(*[64]byte)(unsafe.Pointer(&dirty))[i] = 0xa5
		}
		prep(&clean)
		prep(&dirty)
		if clean != dirty {
			t.Errorf("%s over a used slot: %+v, want %+v", name, dirty, clean)
		}
	}
}

// modes are the rings that every operation has to work in.
var modes = map[string]Config{
	"best":             {},
	"no sqarray off":   {Without: FeatNoSQArray},
	"no defer":         {Without: FeatDeferTaskrun},
	"no single issuer": {Without: FeatSingleIssuer},
	"no task run":      {Without: FeatSingleIssuer | FeatCoopTaskrun},
	"as Linux 5.6": {Without: FeatSingleIssuer | FeatCoopTaskrun | FeatSubmitAll | FeatNoSQArray |
		FeatDisabledStart | FeatExtArg | FeatRegisteredRing | FeatSparseTables},
	"big entries":       {BigSQE: true, BigCQE: true},
	"submission thread": {SQPoll: true, SQThreadIdle: 1e6},
}

func inModes(t *testing.T, f func(t *testing.T, r *Ring)) {
	for name, cfg := range modes {
		t.Run(name, func(t *testing.T) {
			r := open(t, cfg)
			if bad := r.Features() & cfg.Without; bad != 0 {
				t.Fatalf("the ring has %s, which it was to do without", bad)
			}
			f(t, r)
		})
	}
}

func TestDataGoesBothWays(t *testing.T) {
	inModes(t, func(t *testing.T, r *Ring) {
		const size = 1 << 20
		fd := tmpfs(t, size)
		mem := memory(t, 1<<16)
		out, in := mem[:8192], mem[8192:16384]
		for i := range out {
			out[i] = byte(i*7 + i>>8)
		}
		if err := r.RegisterBuffers([]Iovec{{addr(mem), uint64(len(mem))}}); err != nil {
			t.Fatal(err)
		}
		if err := r.RegisterFiles([]int32{-1, int32(fd)}); err != nil {
			t.Fatal(err)
		}
		iovs := (*[2]Iovec)(unsafe.Pointer(&mem[32768]))
		pieces := func(p []byte) uint64 {
			iovs[0] = Iovec{addr(p), 1000}
			iovs[1] = Iovec{addr(p) + 1000, uint64(len(p) - 1000)}
			return addr(mem[32768:])
		}
		for name, op := range map[string]struct{ write, read func(s *SQE) }{
			"plain": {
				func(s *SQE) { s.PrepWrite(int32(fd), addr(out), 8192, 4096, 0) },
				func(s *SQE) { s.PrepRead(int32(fd), addr(in), 8192, 4096) },
			},
			"fixed": {
				func(s *SQE) { s.PrepWriteFixed(1, addr(out), 8192, 8192, 0, 0); s.SetFixedFile() },
				func(s *SQE) { s.PrepReadFixed(1, addr(in), 8192, 8192, 0); s.SetFixedFile() },
			},
			"fixed buffer, dsync": {
				func(s *SQE) { s.PrepWriteFixed(int32(fd), addr(out), 8192, 65536, unix.RWF_DSYNC, 0) },
				func(s *SQE) { s.PrepReadFixed(int32(fd), addr(in), 8192, 65536, 0) },
			},
			"vectors": {
				func(s *SQE) { s.PrepWritev(int32(fd), pieces(out), 2, 12288, 0) },
				func(s *SQE) { s.PrepReadv(int32(fd), pieces(in), 2, 12288) },
			},
			"by a worker": {
				func(s *SQE) { s.PrepWrite(int32(fd), addr(out), 8192, 0, 0); s.SetAsync() },
				func(s *SQE) { s.PrepRead(int32(fd), addr(in), 8192, 0); s.SetAsync() },
			},
		} {
			clear(in)
			want(t, name+" write", do(t, r, op.write), 8192)
			want(t, name+" read", do(t, r, op.read), 8192)
			if !bytes.Equal(in, out) {
				t.Errorf("%s: read differs from what was written", name)
			}
		}
		want(t, "read over the end", do(t, r, func(s *SQE) { s.PrepRead(int32(fd), addr(in), 8192, size-512) }), 512)
	})
}

func TestSpaceAndSync(t *testing.T) {
	inModes(t, func(t *testing.T, r *Ring) {
		fd := tmpfs(t, 0)
		mem := memory(t, 8192)
		want(t, "fallocate", do(t, r, func(s *SQE) { s.PrepFallocate(int32(fd), 0, 0, 65536) }), 0)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Size != 65536 || st.Blocks != 128 {
			t.Fatalf("after fallocate: %d bytes in %d blocks, error %v", st.Size, st.Blocks, err)
		}
		for i := range mem {
			mem[i] = 1
		}
		want(t, "write", do(t, r, func(s *SQE) { s.PrepWrite(int32(fd), addr(mem), 8192, 0, 0) }), 8192)
		want(t, "punch", do(t, r, func(s *SQE) {
			s.PrepFallocate(int32(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 4096)
		}), 0)
		want(t, "read", do(t, r, func(s *SQE) { s.PrepRead(int32(fd), addr(mem), 8192, 0) }), 8192)
		if mem[4095] != 1 || mem[4096] != 0 || mem[8191] != 0 {
			t.Errorf("around the hole: %v, want 1 0 0", []byte{mem[4095], mem[4096], mem[8191]})
		}
		want(t, "fsync", do(t, r, func(s *SQE) { s.PrepFsync(int32(fd)) }), 0)
		want(t, "fdatasync", do(t, r, func(s *SQE) { s.PrepFdatasync(int32(fd)) }), 0)
		want(t, "fsync of nothing", do(t, r, func(s *SQE) { s.PrepFsync(-1) }), -int32(unix.EBADF))
	})
}

func TestLinkAndDrainKeepOrder(t *testing.T) {
	r := open(t, Config{})
	fd := tmpfs(t, 4096)
	mem := memory(t, 4096)
	s := sqe(t, r)
	s.PrepRead(-1, addr(mem), 512, 0)
	s.SetLink()
	s.UserData = 1
	s = sqe(t, r)
	s.PrepFsync(int32(fd))
	s.UserData = 2
	s = sqe(t, r)
	s.PrepNop()
	s.SetDrain()
	s.UserData = 3
	res := map[uint64]int32{}
	for _, e := range reap(t, r, 3) {
		res[e.UserData] = e.Res
	}
	want(t, "bad read", res[1], -int32(unix.EBADF))
	want(t, "what was linked to it", res[2], -int32(unix.ECANCELED))
	want(t, "nop", res[3], 0)
}

func TestCommandReachesTheDriver(t *testing.T) {
	r := open(t, Config{BigSQE: true})
	pair := sockets(t)
	if _, err := unix.Write(pair[0], make([]byte, 123)); err != nil {
		t.Fatal(err)
	}
	const socketSIOCINQ = 0 // net.h "SOCKET_URING_OP_SIOCINQ", Linux 6.7
	res := do(t, r, func(s *SQE) {
		s.PrepURingCmd(int32(pair[1]), socketSIOCINQ)
		clear(s.Cmd()[:])
	})
	if res == -int32(unix.EOPNOTSUPP) {
		need(t, "socket commands (Linux 6.7)", unix.EOPNOTSUPP)
	}
	want(t, "bytes to read", res, 123)
}
