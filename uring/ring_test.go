package uring

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFullSubmissionQueueIsNoError(t *testing.T) {
	r := open(t, Config{Entries: 4, CQEntries: 8})
	for i := range 4 {
		if n := r.Room(); n != uint32(4-i) {
			t.Errorf("room %d, want %d", n, 4-i)
		}
		sqe(t, r).PrepNop()
	}
	if s := r.SQE(); s != nil {
		t.Fatal("a fifth slot in a queue of four")
	}
	if err := r.Kick(); err != nil {
		t.Fatal(err)
	}
	sqe(t, r).PrepNop()
	if got := reap(t, r, 5); len(got) != 5 {
		t.Errorf("%d completions, want 5", len(got))
	}
}

func TestCompletionOverflowLosesNothing(t *testing.T) {
	for name, cfg := range modes {
		cfg.Entries, cfg.CQEntries = 4, 4
		t.Run(name, func(t *testing.T) {
			r := open(t, cfg)
			const total = 64
			seen := make(map[uint64]int)
			count := func() {
				n := r.CQ().Ready()
				for i := range n {
					seen[r.CQ().At(i).UserData]++
				}
				r.CQ().Release(n)
			}
			for i := uint64(0); i < total; {
				s := r.SQE()
				if s == nil {
					if err := r.Kick(); err != nil {
						t.Fatal(err)
					}
					if s = r.SQE(); s == nil { // a kernel that takes nothing over an overflow, or a thread that is late
						if err := r.Wait(time.Millisecond); err != nil {
							t.Fatal(err)
						}
						count()
						continue
					}
				}
				s.PrepNop()
				s.UserData = i
				i++
			}
			for limit := time.Now().Add(patience); r.Inflight() != 0; {
				if err := r.Wait(10 * time.Millisecond); err != nil {
					t.Fatal(err)
				}
				count()
				if time.Now().After(limit) {
					t.Fatalf("%d of %d completions", len(seen), total)
				}
			}
			for i := range uint64(total) {
				if seen[i] != 1 {
					t.Errorf("entry %d completed %d times", i, seen[i])
				}
			}
		})
	}
}

func TestWaitEndsInTime(t *testing.T) {
	inModes(t, func(t *testing.T, r *Ring) {
		start := time.Now()
		for time.Since(start) < 3*time.Millisecond { // a signal may end a wait early
			if err := r.Wait(3 * time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d > patience {
			t.Errorf("a wait of 3ms took %v", d)
		}
		sqe(t, r).PrepNop()
		if err := r.Wait(-1); err != nil {
			t.Fatal(err)
		}
		if got := reap(t, r, 1); len(got) != 1 {
			t.Error("no completion")
		}
	})
}

// Signals end system calls early, as those of the runtime's preemption do all the time.
func TestSignalsAreNoErrors(t *testing.T) {
	inModes(t, func(t *testing.T, r *Ring) {
		var sent atomic.Int64
		tid, stop, done := unix.Gettid(), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					if unix.Tgkill(unix.Getpid(), tid, unix.SIGURG) == nil {
						sent.Add(1)
					}
					runtime.Gosched()
				}
			}
		}()
		for limit := time.Now().Add(patience); sent.Load() < 200; {
			if err := r.Wait(100 * time.Microsecond); err != nil {
				t.Error(err)
				break
			}
			for range 3 {
				sqe(t, r).PrepNop()
			}
			if got := reap(t, r, 3); len(got) != 3 {
				t.Errorf("%d completions, want 3", len(got))
			}
			if time.Now().After(limit) {
				t.Errorf("%d signals were sent", sent.Load())
				break
			}
		}
		close(stop)
		<-done
	})
}

func TestAnotherThreadIsRefused(t *testing.T) {
	for name, prepare := range map[string]func(r *Ring) error{
		"descriptor":      func(*Ring) error { return nil },
		"registered ring": (*Ring).RegisterRing,
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, Config{})
			if !r.Features().Has(FeatSingleIssuer) {
				need(t, "SINGLE_ISSUER (Linux 6.0)", ErrUnsupported)
			}
			if err := prepare(r); err != nil {
				t.Fatal(err)
			}
			sqe(t, r).PrepNop()
			elsewhere(func() {
				other, err := New(Config{Entries: 2}) // takes the same registered index on its thread
				if err != nil {
					t.Error(err)
					return
				}
				defer other.Close()
				if err := errors.Join(other.RegisterRing(), other.Enable()); err != nil {
					t.Error(err)
				}
				for what, err := range map[string]error{
					"Kick":          r.Kick(),
					"RegisterFiles": r.RegisterFiles([]int32{-1}),
					"Close":         r.Close(),
				} {
					if !errors.Is(err, ErrWrongThread) {
						t.Errorf("%s on another thread: %v, want ErrWrongThread", what, err)
					}
				}
			})
			if got := reap(t, r, 1); len(got) != 1 {
				t.Error("the owner's own use suffered")
			}
		})
	}
}

// elsewhere runs f on another OS thread, and waits.
func elsewhere(f func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		f()
	})
	wg.Wait()
}

func TestNothingRunsBeforeEnable(t *testing.T) {
	lock(t)
	r, err := New(Config{})
	if err != nil {
		need(t, "io_uring", err)
	}
	defer r.Close()
	if !r.Features().Has(FeatDisabledStart) {
		need(t, "R_DISABLED (Linux 5.10)", ErrUnsupported)
	}
	sqe(t, r).PrepNop()
	if err := r.Kick(); !errors.Is(err, unix.EBADFD) {
		t.Errorf("Kick of a disabled ring: %v, want EBADFD", err)
	}
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	if got := reap(t, r, 1); len(got) != 1 {
		t.Error("no completion")
	}
}

// What is in flight at the end is cancelled, and Close waits for it.
func TestCloseWithOperationsInFlight(t *testing.T) {
	for name, cfg := range modes {
		t.Run(name, func(t *testing.T) {
			lock(t)
			r, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Enable(); err != nil {
				t.Fatal(err)
			}
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(p[0])
			defer unix.Close(p[1])
			fd := tmpfs(t, 1<<20)
			mem := memory(t, 1<<16)
			for i := range 8 {
				sqe(t, r).PrepPollAdd(int32(p[0]), unix.POLLIN)
				sqe(t, r).PrepRead(int32(p[0]), addr(mem), 64, ^uint64(0))
				s := sqe(t, r)
				s.PrepRead(int32(fd), addr(mem[i*4096:]), 4096, 0)
				s.SetAsync()
			}
			if err := r.Kick(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				sqe(t, r).PrepPollAdd(int32(p[0]), unix.POLLIN) // prepared and never shown
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if n := r.Inflight(); n != 0 {
				t.Errorf("%d in flight after Close", n)
			}
		})
	}
}

func TestSubmissionThreadIsWoken(t *testing.T) {
	r := open(t, Config{SQPoll: true, SQThreadIdle: time.Millisecond})
	for range 5 {
		// Until the thread has said that it sleeps, there is nothing to show.
		for limit := time.Now().Add(patience); *r.kSQFlags&sqNeedWakeup == 0; {
			if err := r.Wait(time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(limit) {
				t.Fatal("the thread does not go to sleep")
			}
		}
		sqe(t, r).PrepNop()
		if err := r.Kick(); err != nil {
			t.Fatal(err)
		}
		if got := reap(t, r, 1); len(got) != 1 {
			t.Fatal("no completion")
		}
	}
}

func TestSubmissionThreadIsPinned(t *testing.T) {
	r := open(t, Config{SQPoll: true, SQThreadPin: true, SQThreadCPU: 0})
	sqe(t, r).PrepNop()
	reap(t, r, 1)
	if _, err := New(Config{SQPoll: true, SQThreadPin: true, SQThreadCPU: 1 << 20}); err == nil {
		t.Error("a thread on processor 1048576")
	}
	if _, err := New(Config{SQThreadIdle: time.Second}); err == nil {
		t.Error("settings of a submission thread without one are taken")
	}
}

func TestPolledReadsAreRefusedWhereThereIsNoDevice(t *testing.T) {
	r := open(t, Config{IOPoll: true})
	fd := tmpfs(t, 8192)
	mem := memory(t, 4096)
	want(t, "polled read of a tmpfs file", do(t, r, func(s *SQE) { s.PrepRead(int32(fd), addr(mem), 4096, 0) }),
		-int32(unix.EOPNOTSUPP))
	want(t, "fsync in a polled ring", do(t, r, func(s *SQE) { s.PrepFsync(int32(fd)) }), -int32(unix.EINVAL))
}

func TestPolledReads(t *testing.T) {
	for name, cfg := range map[string]Config{"iopoll": {IOPoll: true}, "hybrid": {HybridPoll: true}} {
		t.Run(name, func(t *testing.T) {
			r := open(t, cfg)
			dir := t.TempDir()
			fd, err := unix.Open(filepath.Join(dir, "f"), unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT|unix.O_CLOEXEC, 0o600)
			if err != nil {
				need(t, "O_DIRECT in "+dir, err)
			}
			defer unix.Close(fd)
			mem := memory(t, 8192)
			for i := range mem {
				mem[i] = byte(i)
			}
			if _, err := unix.Pwrite(fd, mem, 0); err != nil {
				t.Fatal(err)
			}
			clear(mem)
			res := do(t, r, func(s *SQE) { s.PrepRead(int32(fd), addr(mem), 8192, 0) })
			if res == -int32(unix.EOPNOTSUPP) {
				t.Skipf("requires a device that can be polled under %s", dir) // a property of the machine, not a peer
			}
			want(t, "read", res, 8192)
			if mem[8191] != 255 {
				t.Error("read differs from what was written")
			}
		})
	}
}

func TestEventfdHearsOfCompletions(t *testing.T) {
	r := open(t, Config{})
	ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ev)
	if err := r.RegisterEventfd(ev); err != nil {
		t.Fatal(err)
	}
	sqe(t, r).PrepNop()
	reap(t, r, 1)
	var b [8]byte
	if _, err := unix.Read(ev, b[:]); err != nil {
		t.Errorf("after a completion: %v", err)
	}
	if err := r.UnregisterEventfd(); err != nil {
		t.Fatal(err)
	}
	sqe(t, r).PrepNop()
	reap(t, r, 1)
	if _, err := unix.Read(ev, b[:]); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("after unregistering: %v, want EAGAIN", err)
	}
}

func TestTables(t *testing.T) {
	r := open(t, Config{})
	fd := tmpfs(t, 8192)
	mem := memory(t, 8192)
	if err := r.RegisterBufferTable(4); err != nil {
		need(t, "sparse buffer tables (Linux 5.19)", err)
	}
	if err := r.RegisterFileTable(4); err != nil {
		t.Fatal(err)
	}
	read := func() int32 {
		return do(t, r, func(s *SQE) { s.PrepReadFixed(3, addr(mem), 4096, 0, 2); s.SetFixedFile() })
	}
	want(t, "no file", read(), -int32(unix.EBADF))
	if err := r.UpdateFile(3, int32(fd)); err != nil {
		t.Fatal(err)
	}
	want(t, "no buffer", read(), -int32(unix.EFAULT))
	if err := r.UpdateBuffer(2, Iovec{addr(mem), 8192}); err != nil {
		t.Fatal(err)
	}
	want(t, "both", read(), 4096)
	if err := errors.Join(r.UpdateBuffer(2, Iovec{}), r.UpdateFile(3, -1)); err != nil {
		t.Fatal(err)
	}
	want(t, "neither", read(), -int32(unix.EBADF))
	if err := errors.Join(r.UnregisterBuffers(), r.UnregisterFiles(), r.LimitWorkers(2, 2)); err != nil {
		t.Error(err)
	}
}

func TestRingGrowsInUse(t *testing.T) {
	r := open(t, Config{Entries: 4, CQEntries: 8})
	if err := r.RegisterRing(); err != nil {
		need(t, "registered rings (Linux 5.18)", err)
	}
	for i := range uint64(3) {
		s := sqe(t, r)
		s.PrepNop()
		s.UserData = 100 + i
	}
	if err := r.Kick(); err != nil {
		t.Fatal(err)
	}
	err := r.Resize(16, 64)
	if errors.Is(err, ErrUnsupported) {
		need(t, "rings that grow (Linux 6.13)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Entries() != 16 || r.CQEntries() != 64 || !r.Features().Has(FeatResize) {
		t.Errorf("after growth: %d and %d entries, %s", r.Entries(), r.CQEntries(), r.Features())
	}
	for i := range uint64(16) {
		s := sqe(t, r)
		s.PrepNop()
		s.UserData = 103 + i
	}
	for i, e := range reap(t, r, 19) {
		if e.UserData != 100+uint64(i) {
			t.Fatalf("completion %d is of entry %d", i, e.UserData)
		}
	}
}

func TestMemoryLimitIsNamed(t *testing.T) {
	if os.Getuid() != 0 {
		need(t, "root, to drop CAP_IPC_LOCK", unix.EPERM)
	}
	t.Setenv("URING_TEST_CHILD", "memlock")
	out := child(t)
	if out != "registered: over RLIMIT_MEMLOCK: io_uring_register buffers update: cannot allocate memory\n" {
		t.Errorf("the child says %q", out)
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	for name, cfg := range map[string]Config{
		"too many entries":     {Entries: 1 << 20},
		"too many completions": {CQEntries: 1 << 20},
	} {
		if r, err := New(cfg); err == nil {
			r.Close()
			t.Errorf("%s: taken", name)
		}
	}
}

func TestLadderGoesDownInSteps(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want []string
	}{
		"default": {Config{}, []string{
			"single-issuer defer-taskrun coop-taskrun taskrun-flag submit-all no-sqarray disabled-start",
			"single-issuer defer-taskrun coop-taskrun taskrun-flag submit-all disabled-start",
			"single-issuer coop-taskrun taskrun-flag submit-all disabled-start",
			"coop-taskrun taskrun-flag submit-all disabled-start",
			"submit-all disabled-start",
			"disabled-start",
			"none",
		}},
		"submission thread": {Config{SQPoll: true}, []string{
			"single-issuer submit-all no-sqarray disabled-start",
			"single-issuer submit-all disabled-start",
			"submit-all disabled-start",
			"disabled-start",
			"none",
		}},
		"without": {Config{Without: FeatSingleIssuer | FeatNoSQArray | FeatSubmitAll}, []string{
			"coop-taskrun taskrun-flag disabled-start",
			"disabled-start",
			"none",
		}},
	} {
		got := c.cfg.ladder()
		if len(got) != len(c.want) {
			t.Errorf("%s: %d rungs, want %d: %v", name, len(got), len(c.want), got)
			continue
		}
		for i := range got {
			if got[i].String() != c.want[i] {
				t.Errorf("%s: rung %d: %s, want %s", name, i, got[i], c.want[i])
			}
		}
	}
}

func TestWaitForSeveral(t *testing.T) {
	inModes(t, func(t *testing.T, r *Ring) {
		ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(ev)
		const n = 8
		mem := memory(t, 4096)
		for i := range n {
			sqe(t, r).PrepRead(int32(ev), addr(mem[i*8:]), 8, 0) // each takes one signal
		}
		if err := r.Kick(); err != nil {
			t.Fatal(err)
		}
		go func() {
			for range n {
				unix.Write(ev, []byte{1, 0, 0, 0, 0, 0, 0, 0})
				for { // until it was taken
					var fds [1]unix.PollFd
					fds[0] = unix.PollFd{Fd: int32(ev), Events: unix.POLLIN}
					if k, _ := unix.Poll(fds[:], 0); k == 0 {
						break
					}
					runtime.Gosched()
				}
			}
		}()
		for limit := time.Now().Add(patience); r.CQ().Ready() < n; {
			if err := r.WaitN(n, time.Second); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(limit) {
				t.Fatalf("%d completions", r.CQ().Ready())
			}
		}
		r.CQ().Release(n)
		for range 3 {
			sqe(t, r).PrepNop()
		}
		if err := r.WaitN(n, -1); err != nil { // no more than three can come
			t.Fatal(err)
		}
		reap(t, r, 3)
	})
}
