package uring

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func reactor(t testing.TB, cfg Config) *Reactor {
	t.Helper()
	lock(t)
	r, err := NewReactor(cfg)
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
	return r
}

func join(t testing.TB, r *Reactor, depth uint32) *Client {
	t.Helper()
	c, err := r.Join(depth)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// nop prepares a NOP of a client.
func nop(t testing.TB, c *Client, slot uint64) {
	t.Helper()
	s := c.SQE()
	if s == nil {
		t.Fatal("no submission slot")
	}
	s.PrepNop()
	s.UserData = c.Tag() | slot
}

// take returns the slots of all that is ready for a client.
func take(t testing.TB, c *Client) []uint64 {
	t.Helper()
	var slots []uint64
	for q, n := c.Ready(); n != 0; q, n = c.Ready() {
		for i := range n {
			e := q.At(i)
			if e.UserData&^SlotMask != c.Tag() {
				t.Fatalf("client %#x was given %#x", c.Tag(), e.UserData)
			}
			slots = append(slots, e.UserData&SlotMask)
		}
		q.Release(n)
	}
	return slots
}

func TestClientsGetTheirOwn(t *testing.T) {
	for name, cfg := range modes {
		if cfg.SQPoll {
			continue // when its thread submits is its own affair
		}
		t.Run(name, func(t *testing.T) {
			r := reactor(t, cfg)
			clients := []*Client{join(t, r, 64), join(t, r, 64), join(t, r, 64)}
			var want [3][]uint64
			for i := range uint64(96) {
				who := (i*i + i/3) % 3
				nop(t, clients[who], i)
				want[who] = append(want[who], i)
			}
			if err := clients[0].Kick(); err != nil {
				t.Fatal(err)
			}
			// Whoever looks first sorts for all.
			for _, who := range []int{1, 2, 0} {
				if got := take(t, clients[who]); !slices.Equal(got, want[who]) {
					t.Errorf("client %d: %v, want %v", who, got, want[who])
				}
			}
			if err := clients[1].Leave(); err != nil {
				t.Fatal(err)
			}
			again := join(t, r, 8)
			if again.Tag() != clients[1].Tag() {
				t.Errorf("tag %#x, want that of the client that left, %#x", again.Tag(), clients[1].Tag())
			}
			nop(t, again, 5)
			nop(t, clients[2], 6)
			if err := r.Kick(); err != nil {
				t.Fatal(err)
			}
			if got := take(t, clients[2]); !slices.Equal(got, []uint64{6}) {
				t.Errorf("client 2: %v, want 6", got)
			}
			if got := take(t, again); !slices.Equal(got, []uint64{5}) {
				t.Errorf("the new client: %v, want 5", got)
			}
		})
	}
}

func TestLoneClientIsNotSorted(t *testing.T) {
	r := reactor(t, Config{})
	a := join(t, r, 8)
	if r.solo != a {
		t.Error("one client, and not alone")
	}
	b := join(t, r, 8)
	if r.solo != nil {
		t.Error("two clients, and one is alone")
	}
	nop(t, b, 1)
	if err := b.Leave(); err != nil {
		t.Fatal(err)
	}
	if r.solo != nil {
		t.Error("alone with another's completion in the ring")
	}
	nop(t, a, 2)
	if err := a.Kick(); err != nil {
		t.Fatal(err)
	}
	if got := take(t, a); !slices.Equal(got, []uint64{2}) {
		t.Errorf("%v, want 2", got)
	}
	r.findSolo()
	if r.solo != a {
		t.Error("not alone after the other's completion is gone")
	}
}

// A client that is not polled stops the others only when its own list is full, and nothing is lost.
func TestUnpolledClientLosesNothing(t *testing.T) {
	r := reactor(t, Config{})
	a, b := join(t, r, 2), join(t, r, 200)
	room := len(a.backlog.mem) / 2
	for i := range uint64(room + 3) {
		nop(t, a, i)
	}
	nop(t, b, 1)
	if err := r.Kick(); err != nil {
		t.Fatal(err)
	}
	if got := take(t, b); len(got) != 0 {
		t.Errorf("%v overtook what does not fit", got)
	}
	if got := take(t, a); len(got) != room+3 {
		t.Errorf("%d completions, want %d", len(got), room+3)
	}
	if got := take(t, b); !slices.Equal(got, []uint64{1}) {
		t.Errorf("%v, want 1", got)
	}
}

func TestWaitDoesNotSleepOverABacklog(t *testing.T) {
	r := reactor(t, Config{})
	a, b := join(t, r, 8), join(t, r, 8)
	nop(t, a, 1)
	nop(t, b, 2)
	if err := r.Kick(); err != nil {
		t.Fatal(err)
	}
	take(t, b) // moves a's to its backlog
	if ok, err := a.Arm(); ok || err != nil {
		t.Errorf("Arm: %v, %v, want false: there is something", ok, err)
	}
	if err := b.Wait(-1); err != nil { // would never end
		t.Fatal(err)
	}
	take(t, a)
	if ok, err := a.Arm(); !ok || err != nil {
		t.Errorf("Arm: %v, %v, want true: there is nothing", ok, err)
	}
}

// Others wait by the event descriptor, for what completes inside the kernel at some later time: the last
// link of a chain that begins with a read of the disk, or with an event.
func TestEventDescriptorCanBeWaitedFor(t *testing.T) {
	for name, cfg := range modes {
		t.Run(name, func(t *testing.T) {
			r := reactor(t, cfg)
			c, other := join(t, r, 8), join(t, r, 8)
			fd, err := unix.Open(filepath.Join(t.TempDir(), "f"), unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT|unix.O_CLOEXEC, 0o600)
			if err != nil {
				need(t, "O_DIRECT", err)
			}
			defer unix.Close(fd)
			mem := memory(t, 4096)
			if _, err := unix.Pwrite(fd, mem, 0); err != nil {
				t.Fatal(err)
			}
			for i := range uint64(20) {
				s := c.SQE()
				s.PrepRead(int32(fd), addr(mem), 4096, 0)
				s.UserData = c.Tag() | i
				nop(t, other, i) // must not be mistaken for c's
				for limit := time.Now().Add(patience); ; {
					idle, err := c.Arm()
					if err != nil {
						t.Fatal(err)
					}
					if !idle {
						break
					}
					fds := []unix.PollFd{{Fd: int32(c.EventFD()), Events: unix.POLLIN}}
					if _, err := unix.Poll(fds, int(patience/time.Millisecond)); err != nil && !errors.Is(err, unix.EINTR) {
						t.Fatal(err)
					}
					if time.Now().After(limit) {
						t.Fatal("the wait does not end")
					}
				}
				if got := take(t, c); !slices.Equal(got, []uint64{i}) {
					t.Fatalf("%v, want %d", got, i)
				}
				if got := take(t, other); !slices.Equal(got, []uint64{i}) {
					t.Fatalf("the other: %v, want %d", got, i)
				}
				if err := c.Kick(); err != nil {
					t.Fatal(err)
				}
				if r.event.armed {
					t.Error("signals are on though nobody waits")
				}
			}
		})
	}
}

func TestWatchEndsWaits(t *testing.T) {
	for name, cfg := range map[string]Config{"ring": {}, "polled ring": {IOPoll: true}, "thread": {SQPoll: true}} {
		t.Run(name, func(t *testing.T) {
			r := reactor(t, cfg)
			c := join(t, r, 8)
			ev, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(ev)
			w := r.Watch(ev)
			for i := range 3 {
				if w.Fired() {
					t.Fatal("fired before anything happened")
				}
				go unix.Write(ev, []byte{1, 0, 0, 0, 0, 0, 0, 0})
				for limit := time.Now().Add(patience); !w.Fired(); {
					if err := c.Wait(time.Second); err != nil {
						t.Fatal(err)
					}
					if time.Now().After(limit) {
						t.Fatalf("event %d ends no wait", i)
					}
				}
				var b [8]byte
				if _, err := unix.Read(ev, b[:]); !errors.Is(err, unix.EAGAIN) {
					t.Errorf("the event was not reset: %v", err)
				}
			}
			if err := c.Wait(time.Microsecond); err != nil { // arms it once more
				t.Fatal(err)
			}
			if err := r.Unwatch(w); err != nil {
				t.Fatal(err)
			}
			for limit := time.Now().Add(patience); r.own != 0; {
				if err := c.Wait(time.Millisecond); err != nil {
					t.Fatal(err)
				}
				if time.Now().After(limit) {
					t.Fatalf("%d entries of a watch that ended are in flight", r.own)
				}
			}
			if r.Watch(ev); len(r.watches) != 1 {
				t.Errorf("%d watches, want the place of the first used again", len(r.watches))
			}
		})
	}
}

func TestPolledReactorHasASecondRing(t *testing.T) {
	r := reactor(t, Config{IOPoll: true})
	c := join(t, r, 8)
	if c.AuxFixed() {
		t.Error("registered files are offered where there are none")
	}
	fd := tmpfs(t, 4096)
	s := c.AuxSQE()
	s.PrepFsync(int32(fd))
	s.UserData = c.Tag() | 1
	nop(t, c, 2) // of the polled ring itself
	var got []uint64
	for limit := time.Now().Add(patience); len(got) < 2; {
		if err := c.Wait(time.Second); err != nil {
			t.Fatal(err)
		}
		got = append(got, take(t, c)...)
		if time.Now().After(limit) {
			t.Fatalf("completions %v", got)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("completions %v, want 1 and 2", got)
	}
}

func TestRegisteredTablesAreShared(t *testing.T) {
	r := reactor(t, Config{})
	fd, mem := tmpfs(t, 8192), memory(t, 1<<20)
	base := uintptr(addr(mem))
	if r.buffers.err != nil {
		need(t, "sparse buffer tables (Linux 5.19)", r.buffers.err)
	}
	one, err := r.AddFile(fd)
	if err != nil {
		t.Fatal(err)
	}
	two, err := r.AddFile(fd)
	if err != nil || one != two {
		t.Errorf("the same file is %d and %d, error %v", one, two, err)
	}
	buf, err := r.AddBuffer(base, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := r.AddBuffer(base, 1<<20); err != nil || same != buf {
		t.Errorf("the same memory is %d and %d, error %v", buf, same, err)
	}
	c := join(t, r, 8)
	read := func() int32 {
		s := c.SQE()
		s.PrepReadFixed(one, addr(mem), 4096, 0, buf)
		s.SetFixedFile()
		s.UserData = c.Tag()
		var res int32
		for done := false; !done; {
			if err := c.Wait(time.Second); err != nil {
				t.Fatal(err)
			}
			if q, n := c.Ready(); n != 0 {
				res, done = q.At(0).Res, true
				q.Release(n)
			}
		}
		return res
	}
	for range 2 {
		want(t, "read", read(), 4096)
		if err := errors.Join(r.DropFile(one), r.DropBuffer(buf)); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "read after all is dropped", read(), -int32(unix.EBADF))
	if got, err := r.AddFile(fd); err != nil || got != one {
		t.Errorf("slot %d, error %v, want %d again", got, err, one)
	}
}

func TestTablesFillUp(t *testing.T) {
	r := reactor(t, Config{})
	mem := memory(t, bufferSlots*4096)
	base := uintptr(addr(mem))
	for i := range uintptr(bufferSlots) {
		if _, err := r.AddBuffer(base+i*4096, 4096); err != nil {
			t.Fatalf("buffer %d: %v", i, err)
		}
	}
	if _, err := r.AddBuffer(base, 8192); err == nil {
		t.Error("a buffer too many is taken")
	}
	if err := r.DropBuffer(17); err != nil {
		t.Fatal(err)
	}
	if got, err := r.AddBuffer(base, 8192); err != nil || got != 17 {
		t.Errorf("slot %d, error %v, want 17", got, err)
	}
}

func TestRingGrowsWithItsClients(t *testing.T) {
	r := reactor(t, Config{Entries: 8, CQEntries: 16})
	a := join(t, r, 16)
	join(t, r, 100)
	if !r.Features().Has(FeatResize) {
		need(t, "rings that grow (Linux 6.13)", ErrUnsupported)
	}
	if n := r.Ring().CQEntries(); n != 128 {
		t.Errorf("%d completion slots for 116 entries in flight, want 128", n)
	}
	nop(t, a, 1)
	if err := a.Kick(); err != nil {
		t.Fatal(err)
	}
	if got := take(t, a); !slices.Equal(got, []uint64{1}) {
		t.Errorf("%v, want 1", got)
	}
}

func TestScratchIsDisjoint(t *testing.T) {
	r := reactor(t, Config{})
	seen := map[uintptr]bool{}
	for i := range 2000 {
		p, err := r.Scratch(100)
		if err != nil {
			t.Fatal(err)
		}
		a := uintptr(p)
		if a%64 != 0 || seen[a] || seen[a+64] || seen[a-64] {
			t.Fatalf("piece %d at %#x", i, a)
		}
		seen[a] = true
	}
	if _, err := r.Scratch(1 << 20); err != nil {
		t.Error(err)
	}
}
