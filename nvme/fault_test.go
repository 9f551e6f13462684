package nvme_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blkbench/blkbench/nvme"
	"github.com/blkbench/blkbench/nvme/nvmetest"
)

// once makes a hook that gives one I/O command the fault.
func once(v nvmetest.Verdict) func(*nvmetest.Command) nvmetest.Fault {
	var used atomic.Bool
	return func(c *nvmetest.Command) nvmetest.Fault {
		if c.Queue != 0 && used.CompareAndSwap(false, true) {
			return nvmetest.Fault{Verdict: v}
		}
		return nvmetest.Fault{}
	}
}

// submit prepares n reads into distinct blocks of buf and rings once.
func submit(t *testing.T, q *nvme.Queue, buf nvme.Region, n int) map[uint16]bool {
	t.Helper()
	cids := map[uint16]bool{}
	for i := range n {
		cid, ok := q.Prepare(nvme.OpRead, 1, uint64(i), 0, buf.IOVA+uint64(i)*512, 512)
		if !ok {
			t.Fatalf("command %d refused: %v", i, q.Err())
		}
		if cids[cid] {
			t.Fatalf("identifier %d twice", cid)
		}
		cids[cid] = true
	}
	q.Kick()
	return cids
}

// settle checks that exactly the commands of cids end, each once, and returns their statuses.
func settle(t *testing.T, q *nvme.Queue, cids map[uint16]bool) map[uint16]nvme.Status {
	t.Helper()
	got := map[uint16]nvme.Status{}
	for _, d := range reap(t, q, len(cids)) {
		if !cids[d.CID] {
			t.Fatalf("command %d ended that was not in flight", d.CID)
		}
		if _, twice := got[d.CID]; twice {
			t.Fatalf("command %d ended twice", d.CID)
		}
		got[d.CID] = d.Status
	}
	var extra [8]nvme.Done
	if n := q.Poll(extra[:]); n != 0 {
		t.Fatalf("%d more completions", n)
	}
	return got
}

func works(t *testing.T, q *nvme.Queue, buf nvme.Region) {
	t.Helper()
	waitFor(t, "queue back", func() bool {
		cid, ok := q.Prepare(nvme.OpRead, 1, 0, 0, buf.IOVA, 512)
		if !ok {
			var out [1]nvme.Done
			q.Poll(out[:])
			return false
		}
		q.Kick()
		if d := reap(t, q, 1); d[0].CID != cid || !d[0].Status.OK() {
			t.Fatalf("%v", d)
		}
		return true
	})
}

// Step 1: a late command is aborted; the others are not disturbed and nothing is reset.
func TestTimeoutThenAbort(t *testing.T) {
	f, c := attach(t, nvmetest.Config{}, quick(t))
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	f.SetHook(once(nvmetest.Hold))
	st := settle(t, q, submit(t, q, buf, 16))
	var aborted, good int
	for _, s := range st {
		switch {
		case s.Code() == nvme.StatusAbortRequested:
			aborted++
		case s.OK():
			good++
		}
	}
	if aborted != 1 || good != 15 || c.Resets() != 0 {
		t.Errorf("%d aborted, %d good, %d resets", aborted, good, c.Resets())
	}
	works(t, q, buf)
}

// Step 2: a command that survives its abort costs its queue, no other. Whatever the device does with the buffer
// before the queue is deleted, the command has not ended.
func TestTimeoutThenQueueReset(t *testing.T) {
	nvme.Long(t)
	f, c := attach(t, nvmetest.Config{}, quick(t))
	q, other, buf := openQueue(t, c), openQueue(t, c), buffer(t, c, 1<<20)
	f.SetKnobs(nvmetest.Knobs{IgnoreAbort: true})
	f.SetHook(once(nvmetest.Hold))
	cids := submit(t, q, buf, 4)
	got := map[uint16]nvme.Status{}
	out := make([]nvme.Done, 8)
	f.Journal()
	fill := byte(0)
	waitFor(t, "end of all commands", func() bool {
		deleted := slices.Contains(f.Journal(), "delete cq 1")
		fill++
		if transfers := f.WriteHeld(fill); transfers > 0 && len(got) == len(cids) {
			t.Fatal("the device still writes to the buffer of a command that has ended")
		}
		for _, d := range out[:q.Poll(out)] {
			if _, twice := got[d.CID]; twice || !cids[d.CID] {
				t.Fatalf("command %d ended twice or never was", d.CID)
			}
			got[d.CID] = d.Status
		}
		_ = deleted
		return len(got) == len(cids)
	})
	if f.WriteHeld(1) != 0 {
		t.Fatal("the device still holds a command that has ended")
	}
	var lost int
	for _, s := range got {
		if s.Code() == nvme.StatusAbortedSQDeletion || s == nvme.StatusHostAborted {
			lost++
		}
	}
	if lost != 1 || c.Resets() != 0 {
		t.Errorf("%d lost, %d resets", lost, c.Resets())
	}
	works(t, q, buf)
	works(t, other, buf)
}

// Step 3: when the queue cannot be deleted either, the controller is reset, and everything comes back.
func TestTimeoutThenControllerReset(t *testing.T) {
	nvme.Long(t)
	f, c := attach(t, nvmetest.Config{Shadow: true}, quick(t))
	q, other, buf := openQueue(t, c), openQueue(t, c), buffer(t, c, 1<<20)
	f.SetKnobs(nvmetest.Knobs{IgnoreAbort: true, IgnoreDelete: true})
	f.SetHook(once(nvmetest.Hold))
	st := settle(t, q, submit(t, q, buf, 4))
	var lost int
	for _, s := range st {
		if s == nvme.StatusHostAborted {
			lost++
		}
	}
	if lost != 1 || c.Resets() != 1 {
		t.Errorf("%d lost, %d resets", lost, c.Resets())
	}
	f.SetKnobs(nvmetest.Knobs{})
	works(t, q, buf)
	works(t, other, buf)
	// The blocking lane lives through it, too.
	cmd := nvme.Flush(1)
	if _, err := c.IO(t.Context(), &cmd, nil, nil); err != nil {
		t.Error(err)
	}
}

// Step 4: CC.EN=0 is ignored, the function reset helps.
func TestStuckControllerFunctionReset(t *testing.T) {
	nvme.Long(t)
	f, c := attach(t, nvmetest.Config{}, quick(t))
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	f.SetKnobs(nvmetest.Knobs{IgnoreAbort: true, IgnoreDelete: true, StuckReady: true})
	f.SetHook(once(nvmetest.Hold))
	settle(t, q, submit(t, q, buf, 2))
	if !slices.Contains(f.Journal(), "function reset") {
		t.Error("no function reset")
	}
	f.SetKnobs(nvmetest.Knobs{})
	works(t, q, buf)
}

// Step 4, the end of it: nothing stops the controller, so it is cut off from memory before anything is failed.
func TestStuckControllerCutOff(t *testing.T) {
	nvme.Long(t)
	f, c := attach(t, nvmetest.Config{}, quick(t))
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	f.SetKnobs(nvmetest.Knobs{IgnoreAbort: true, IgnoreDelete: true, StuckReady: true, ResetFails: true})
	f.SetHook(once(nvmetest.Hold))
	settle(t, q, submit(t, q, buf, 2))
	if n := f.WriteHeld(1); n != 0 {
		t.Errorf("the device can still write %d buffers", n)
	}
	if _, ok := q.Prepare(nvme.OpRead, 1, 0, 0, buf.IOVA, 512); ok || !errors.Is(q.Err(), nvme.ErrTimeout) {
		t.Errorf("queue of a dead controller: %v, error %v", ok, q.Err())
	}
	cmd := nvme.Flush(1)
	if _, err := c.IO(t.Context(), &cmd, nil, nil); !errors.Is(err, nvme.ErrTimeout) {
		t.Errorf("blocking I/O: %v", err)
	}
}

// A completion that comes after the timeout but before the abort is done ends the command once, as a success.
func TestLateCompletion(t *testing.T) {
	opt := quick(t)
	opt.AbortTimeout = time.Second
	f, c := attach(t, nvmetest.Config{}, opt)
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	f.SetKnobs(nvmetest.Knobs{IgnoreAbort: true})
	f.SetHook(once(nvmetest.Hold))
	cids := submit(t, q, buf, 1)
	aborted := false
	var out [4]nvme.Done
	waitFor(t, "abort", func() bool {
		if q.Poll(out[:]) != 0 {
			t.Fatal("the command ended before the device completed it")
		}
		aborted = aborted || slices.Contains(f.Journal(), "abort sq 1")
		return aborted
	})
	f.Release()
	for _, s := range settle(t, q, cids) {
		if !s.OK() {
			t.Errorf("late completion: %v", s)
		}
	}
	if c.Resets() != 0 {
		t.Error("controller was reset")
	}
	works(t, q, buf)
}

func TestMalformedCompletions(t *testing.T) {
	for name, v := range map[string]nvmetest.Verdict{
		"wrong CID": nvmetest.WrongCID, "wrong queue": nvmetest.WrongSQ, "wrong head": nvmetest.WrongHead,
	} {
		t.Run(name, func(t *testing.T) {
			f, c := attach(t, nvmetest.Config{}, quick(t))
			q, buf := openQueue(t, c), buffer(t, c, 1<<20)
			f.SetHook(once(v))
			var lost int
			for _, s := range settle(t, q, submit(t, q, buf, 4)) {
				if s == nvme.StatusHostAborted {
					lost++
				}
			}
			if lost == 0 || !errors.Is(q.Err(), nvme.ErrMalformed) {
				t.Errorf("%d lost, cause %v", lost, q.Err())
			}
			works(t, q, buf)
			if c.Resets() != 1 {
				t.Errorf("%d resets", c.Resets())
			}
		})
	}
}

// A completion whose phase is wrong is never seen: the command times out.
func TestWrongPhase(t *testing.T) {
	nvme.Long(t)
	f, c := attach(t, nvmetest.Config{}, quick(t))
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	f.SetHook(once(nvmetest.WrongPhase))
	for _, s := range settle(t, q, submit(t, q, buf, 1)) {
		if s.OK() {
			t.Error("success without a completion")
		}
	}
	works(t, q, buf)
}

func TestFatalStatus(t *testing.T) {
	nvme.Long(t)
	f, c := attach(t, nvmetest.Config{}, quick(t))
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	f.SetHook(once(nvmetest.Fatal))
	settle(t, q, submit(t, q, buf, 4))
	works(t, q, buf)
	if c.Resets() != 1 {
		t.Errorf("%d resets", c.Resets())
	}
}

func TestRemoval(t *testing.T) {
	f, c := attach(t, nvmetest.Config{}, quick(t))
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	f.SetHook(once(nvmetest.Vanish))
	for _, s := range settle(t, q, submit(t, q, buf, 4)) {
		if s != nvme.StatusHostAborted {
			t.Errorf("status %v from a device that is gone", s)
		}
	}
	if !errors.Is(q.Err(), nvme.ErrRemoved) {
		t.Errorf("cause %v", q.Err())
	}
	if _, ok := q.Prepare(nvme.OpRead, 1, 0, 0, buf.IOVA, 512); ok {
		t.Error("a queue of a device that is gone takes commands")
	}
	cmd := nvme.Identify(nvme.CNSController, 0, 0)
	if _, err := c.Admin(t.Context(), &cmd, make([]byte, 4096)); !errors.Is(err, nvme.ErrRemoved) {
		t.Errorf("admin command: %v", err)
	}
}

// The device is asked for back: what is in flight finishes with success, then the device is let go.
func TestRequestedBack(t *testing.T) {
	opt := quick(t)
	opt.Timeout, opt.AbortTimeout = 5*time.Second, 5*time.Second
	f, c := attach(t, nvmetest.Config{}, opt)
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	f.SetHook(once(nvmetest.Hold))
	cids := submit(t, q, buf, 4)
	waitFor(t, "held", func() bool { return f.Held() == 1 })
	f.Request()
	waitFor(t, "queue stopped", func() bool { return q.Err() != nil })
	if _, ok := q.Prepare(nvme.OpRead, 1, 0, 0, buf.IOVA, 512); ok {
		t.Error("a queue whose device is wanted back takes commands")
	}
	f.Release()
	for _, s := range settle(t, q, cids) {
		if !s.OK() {
			t.Errorf("in flight at the request: %v", s)
		}
	}
	waitFor(t, "device closed", func() bool { return slices.Contains(f.Journal(), "close") })
}

func TestNeverReady(t *testing.T) {
	nvme.Long(t)
	f := newFake(t, nvmetest.Config{})
	f.SetKnobs(nvmetest.Knobs{NeverReady: true})
	start := time.Now()
	_, err := nvme.Attach(t.Context(), f, quick(t))
	if !errors.Is(err, nvme.ErrTimeout) || !strings.Contains(err.Error(), "CSTS.RDY did not become 1 in 500ms") {
		t.Errorf("attach: %v", err)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
	if n := f.Mappings(); n != 0 {
		t.Errorf("%d DMA mappings left", n)
	}
}

func TestLateAdminCommand(t *testing.T) {
	nvme.Long(t)
	f, c := attach(t, nvmetest.Config{}, quick(t))
	f.SetHook(func(cmd *nvmetest.Command) nvmetest.Fault {
		if cmd.Opcode == nvme.OpGetFeatures {
			return nvmetest.Fault{Verdict: nvmetest.Hold}
		}
		return nvmetest.Fault{}
	})
	cmd := nvme.GetFeatures(nvme.FIDVolatileWriteCache, 0, nvme.SelectCurrent, 0)
	if _, err := c.Admin(t.Context(), &cmd, nil); !errors.Is(err, nvme.ErrTimeout) {
		t.Errorf("late admin command: %v", err)
	}
	waitFor(t, "controller reset", func() bool { return c.Resets() == 1 })
	f.SetHook(nil)
	// Commands that arrive while the controller is being brought up again may fail with the reset's cause.
	waitFor(t, "an answer after the reset", func() bool {
		_, err := c.Admin(t.Context(), &cmd, nil)
		return err == nil
	})
}

// A wrong address is an error of its command, and of nothing else.
func TestWrongIOVA(t *testing.T) {
	_, c := attach(t, nvmetest.Config{}, quick(t))
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	if s := one(t, q, nvme.OpRead, 0, 1, 0x1234000, 512); s.Code() != nvme.StatusDataTransferError {
		t.Errorf("read to a wrong address: %v", s)
	}
	works(t, q, buf)
}

func TestErrorStatusIsKept(t *testing.T) {
	f, c := attach(t, nvmetest.Config{}, quick(t))
	q, buf := openQueue(t, c), buffer(t, c, 1<<20)
	const raw = 0x281 | 1<<13 | 1<<14 | 2<<11
	f.SetHook(func(cmd *nvmetest.Command) nvmetest.Fault {
		if cmd.Queue != 0 {
			return nvmetest.Fault{Verdict: nvmetest.Fail, Status: raw}
		}
		return nvmetest.Fault{}
	})
	s := one(t, q, nvme.OpRead, 0, 1, buf.IOVA, 512)
	if s != raw || !s.More() || !s.DoNotRetry() || s.CRD() != 2 || s.SCT() != 2 || s.SC() != 0x81 || s.Retryable() {
		t.Errorf("status %v", s)
	}
}
