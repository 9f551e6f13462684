package nvme_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/nvme/nvmetest"
)

// testLog sends what the driver logs to the test.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

// quick are options whose timeouts suit a fake.
func quick(t *testing.T) nvme.Options {
	return nvme.Options{
		Timeout: 200 * time.Millisecond, AbortTimeout: 600 * time.Millisecond, AdminTimeout: 2 * time.Second,
		Log: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
}

func newFake(t *testing.T, cfg nvmetest.Config) *nvmetest.Controller {
	t.Helper()
	f, err := nvmetest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	return f
}

// attach brings a fake up with a driver and closes it at the end of the test.
func attach(t *testing.T, cfg nvmetest.Config, opt nvme.Options) (*nvmetest.Controller, *nvme.Controller) {
	t.Helper()
	f := newFake(t, cfg)
	c, err := nvme.Attach(t.Context(), f, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return f, c
}

// buffer is data memory that the controller can reach.
func buffer(t *testing.T, c *nvme.Controller, n int) nvme.Region {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(fd, int64(n)); err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(fd, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Map(b, fd, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Cleanups run in reverse: before the controller is closed.
	t.Cleanup(func() {
		if err := c.Unmap(r); err != nil {
			t.Error(err)
		}
		unix.Munmap(b)
		unix.Close(fd)
	})
	return r
}

func openQueue(t *testing.T, c *nvme.Controller) *nvme.Queue {
	t.Helper()
	q, err := c.OpenQueue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// reap polls until n commands are over.
func reap(t *testing.T, q *nvme.Queue, n int) []nvme.Done {
	t.Helper()
	var all []nvme.Done
	buf := make([]nvme.Done, 32)
	for deadline := time.Now().Add(20 * time.Second); len(all) < n; {
		k := q.Poll(buf)
		all = append(all, buf[:k]...)
		if k == 0 && time.Now().After(deadline) {
			t.Fatalf("%d of %d commands over after 20 s; queue error: %v", len(all), n, q.Err())
		}
		if k == 0 {
			yield()
		}
	}
	return all
}

func yield() { time.Sleep(20 * time.Microsecond) }

// one runs a single command to its end.
func one(t *testing.T, q *nvme.Queue, op uint8, slba uint64, blocks uint32, iova uint64, n uint32) nvme.Status {
	t.Helper()
	cid, ok := q.Prepare(op, 1, slba, blocks-1, iova, n)
	if !ok {
		t.Fatalf("queue takes no command: %v", q.Err())
	}
	q.Kick()
	d := reap(t, q, 1)
	if d[0].CID != cid {
		t.Fatalf("command %d is over, want %d", d[0].CID, cid)
	}
	return d[0].Status
}

// waitFor polls a condition.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); yield() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func identifyNS(t *testing.T, a nvme.Admin, nsid uint32) *nvme.Namespace {
	t.Helper()
	n, err := nvme.OpenNamespace(context.Background(), a, nsid, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
