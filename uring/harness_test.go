package uring

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lock keeps the test on one OS thread, as a poller is.
func lock(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
}

// need skips a test that this kernel cannot run, or fails it where peers are required.
func need(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("BLKBENCH_REQUIRE_PEERS") == "1" {
		t.Fatalf("requires %s: %v", what, err)
	}
	t.Skipf("requires %s: %v", what, err)
}

// open makes an enabled ring on the test's thread.
func open(t testing.TB, cfg Config) *Ring {
	t.Helper()
	lock(t)
	r, err := New(cfg)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnsupported) {
		need(t, "io_uring", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	return r
}

// memory maps n bytes outside the Go heap.
func memory(t testing.TB, n int) []byte {
	t.Helper()
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(p) })
	return p
}

func addr(p []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) }

// tmpfs opens a file of n bytes in memory.
func tmpfs(t testing.TB, n int64) int {
	t.Helper()
	fd, err := unix.MemfdCreate("uring", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, n); err != nil {
		t.Fatal(err)
	}
	return fd
}

// sqe is a slot that has to be there.
func sqe(t testing.TB, r *Ring) *SQE {
	t.Helper()
	s := r.SQE()
	if s == nil {
		t.Fatal("no submission slot")
	}
	return s
}

const patience = 10 * time.Second

// reap submits and waits for n completions, and copies them.
func reap(t testing.TB, r *Ring, n int) []CQE {
	t.Helper()
	var got []CQE
	for limit := time.Now().Add(patience); len(got) < n; {
		if err := r.Wait(time.Second); err != nil {
			t.Fatal(err)
		}
		k := r.CQ().Ready()
		for i := range k {
			got = append(got, *r.CQ().At(i))
		}
		r.CQ().Release(k)
		if time.Now().After(limit) {
			t.Fatalf("%d of %d completions after %v", len(got), n, patience)
		}
	}
	return got
}

// do submits one prepared entry and returns its result.
func do(t testing.TB, r *Ring, prep func(s *SQE)) int32 {
	t.Helper()
	s := sqe(t, r)
	prep(s)
	s.UserData = 4711
	got := reap(t, r, 1)
	if len(got) != 1 || got[0].UserData != 4711 {
		t.Fatalf("completions %+v, want one with user data 4711", got)
	}
	return got[0].Res
}

// want fails unless a result is what it has to be.
func want(t testing.TB, what string, got, want int32) {
	t.Helper()
	if got == want {
		return
	}
	if got < 0 {
		t.Fatalf("%s: %v, want %d", what, unix.Errno(-got), want)
	}
	t.Fatalf("%s: %d, want %d", what, got, want)
}
