package uring

import (
	"bytes"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockets is a connected pair: what goes into one end comes out at the other.
func sockets(t testing.TB) [2]int {
	t.Helper()
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	if err := unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(l, 1); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(l)
	if err != nil {
		t.Fatal(err)
	}
	a, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(a, sa); err != nil {
		t.Fatal(err)
	}
	b, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(a); unix.Close(b) })
	return [2]int{a, b}
}

func TestSocketOperations(t *testing.T) {
	inModes(t, func(t *testing.T, r *Ring) {
		mem := memory(t, 16384)
		out, in, aux := mem[:4096], mem[4096:8192], mem[8192:]
		copy(out, bytes.Repeat([]byte("blkbench"), 512))

		l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(l)
		if err := unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Listen(l, 4); err != nil {
			t.Fatal(err)
		}
		sa, err := unix.Getsockname(l)
		if err != nil {
			t.Fatal(err)
		}
		port := sa.(*unix.SockaddrInet4).Port
		raw := (*unix.RawSockaddrInet4)(unsafe.Pointer(&aux[0]))
		*raw = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: uint16(port>>8 | port<<8), Addr: [4]byte{127, 0, 0, 1}}
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)

		s := sqe(t, r)
		s.PrepAccept(int32(l), 0, 0, unix.SOCK_CLOEXEC)
		s.UserData = 1
		s = sqe(t, r)
		s.PrepConnect(int32(c), addr(aux), uint32(unsafe.Sizeof(*raw)))
		s.UserData = 2
		srv := -1
		for _, e := range reap(t, r, 2) {
			if e.Res < 0 {
				t.Fatalf("completion %d: %v", e.UserData, unix.Errno(-e.Res))
			}
			if e.UserData == 1 {
				srv = int(e.Res)
			}
		}
		defer unix.Close(srv)

		want(t, "send", do(t, r, func(s *SQE) { s.PrepSend(int32(c), addr(out), 4096, unix.MSG_WAITALL) }), 4096)
		want(t, "recv", do(t, r, func(s *SQE) { s.PrepRecv(int32(srv), addr(in), 4096, unix.MSG_WAITALL) }), 4096)
		if !bytes.Equal(in, out) {
			t.Error("received differs from sent")
		}
		iov := (*Iovec)(unsafe.Pointer(&aux[64]))
		hdr := (*unix.Msghdr)(unsafe.Pointer(&aux[128]))
		*iov = Iovec{addr(out), 4096}
		*hdr = unix.Msghdr{Iov: (*unix.Iovec)(unsafe.Pointer(iov)), Iovlen: 1}
		want(t, "sendmsg", do(t, r, func(s *SQE) { s.PrepSendmsg(int32(srv), addr(aux[128:]), 0) }), 4096)
		clear(in)
		*iov = Iovec{addr(in), 4096}
		want(t, "recvmsg", do(t, r, func(s *SQE) { s.PrepRecvmsg(int32(c), addr(aux[128:]), unix.MSG_WAITALL) }), 4096)
		if !bytes.Equal(in, out) {
			t.Error("received by recvmsg differs from sent")
		}
		want(t, "shutdown", do(t, r, func(s *SQE) { s.PrepShutdown(int32(c), unix.SHUT_WR) }), 0)
		want(t, "recv at the end", do(t, r, func(s *SQE) { s.PrepRecv(int32(srv), addr(in), 4096, 0) }), 0)
	})
}

func TestZeroCopySendCompletesTwice(t *testing.T) {
	r := open(t, Config{})
	pair := sockets(t)
	mem := memory(t, 4096)
	s := sqe(t, r)
	s.PrepSendZC(int32(pair[0]), addr(mem), 4096, 0)
	s.UserData = 9
	if err := r.Kick(); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Read(pair[1], make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	got := reap(t, r, 1)
	if got[0].Res == -int32(unix.EINVAL) {
		need(t, "zero-copy sends (Linux 6.0)", unix.EINVAL)
	}
	want(t, "send", got[0].Res, 4096)
	if got[0].Flags&CQEMore == 0 {
		t.Fatal("the first completion announces no second one")
	}
	r.More()
	if n := r.Inflight(); n != uint32(2-len(got)) {
		t.Errorf("%d in flight after %d of 2 completions", n, len(got))
	}
	got = append(got[1:], reap(t, r, 2-len(got))...)
	if got[0].Flags&CQENotif == 0 || got[0].Flags&CQEMore != 0 {
		t.Errorf("second completion %+v, want a notification", got[0])
	}
	if n := r.Inflight(); n != 0 {
		t.Errorf("%d in flight at the end, want 0", n)
	}
}

func TestMultishotAcceptGoesOn(t *testing.T) {
	r := open(t, Config{})
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	sa := &unix.SockaddrUnix{Name: t.TempDir() + "/s"}
	if err := unix.Bind(l, sa); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(l, 4); err != nil {
		t.Fatal(err)
	}
	s := sqe(t, r)
	s.PrepAcceptMultishot(int32(l), unix.SOCK_CLOEXEC)
	s.UserData = 5
	for range 3 {
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)
		if err := unix.Connect(c, sa); err != nil {
			t.Fatal(err)
		}
		got := reap(t, r, 1)
		if got[0].Res < 0 {
			need(t, "multishot accept (Linux 5.19)", unix.Errno(-got[0].Res))
		}
		unix.Close(int(got[0].Res))
		if got[0].Flags&CQEMore == 0 {
			t.Fatal("the accept ended")
		}
		r.More()
	}
	s = sqe(t, r)
	s.PrepCancelFD(int32(l))
	s.UserData = 6
	for _, e := range reap(t, r, 2) {
		switch e.UserData {
		case 5:
			want(t, "accept", e.Res, -int32(unix.ECANCELED))
		case 6:
			want(t, "cancelled", e.Res, 1)
		}
	}
}

func TestPollAndCancel(t *testing.T) {
	inModes(t, func(t *testing.T, r *Ring) {
		ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(ev)
		s := sqe(t, r)
		s.PrepPollAdd(int32(ev), unix.POLLIN)
		s.UserData = 1
		if err := r.Kick(); err != nil {
			t.Fatal(err)
		}
		go unix.Write(ev, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		if got := reap(t, r, 1); got[0].Res&unix.POLLIN == 0 {
			t.Errorf("poll: %#x, want POLLIN", got[0].Res)
		}
		var b [8]byte
		if _, err := unix.Read(ev, b[:]); err != nil {
			t.Fatal(err)
		}
		s = sqe(t, r)
		s.PrepPollAdd(int32(ev), unix.POLLIN)
		s.UserData = 2
		s = sqe(t, r)
		s.PrepCancel(2)
		s.UserData = 3
		for _, e := range reap(t, r, 2) {
			switch e.UserData {
			case 2:
				want(t, "poll", e.Res, -int32(unix.ECANCELED))
			case 3:
				want(t, "cancel", e.Res, 0)
			}
		}
		want(t, "cancel of nothing", do(t, r, func(s *SQE) { s.PrepCancel(77) }), -int32(unix.ENOENT))
	})
}

func TestTimeoutOperation(t *testing.T) {
	r := open(t, Config{})
	mem := memory(t, 4096)
	*(*kernelTimespec)(unsafe.Pointer(&mem[0])) = kernelTimespec{nsec: int64(2 * time.Millisecond)}
	start := time.Now()
	want(t, "timeout", do(t, r, func(s *SQE) { s.PrepTimeout(addr(mem), 0) }), -int32(unix.ETIME))
	if d := time.Since(start); d < 2*time.Millisecond {
		t.Errorf("a timeout of 2ms came after %v", d)
	}
}
