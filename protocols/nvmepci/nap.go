package nvmepci

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/vfio/mmio"
)

// Waiting without an interrupt: a fast device is polled, since nothing wakes a thread sooner than looking; from a slow one the thread
// sleeps through most of the latency and polls the rest. How long it sleeps is learnt from how the last waits ended.
const (
	napWorth  = 40_000 // ns: shorter waits are polled through
	napProof  = 16     // so many in a row are taken for the device's latency
	napMargin = 8_000  // ns: how long before the completion to wake
	napLong   = 1_000_000
	napAgain  = 20 * time.Microsecond // between looks, when a wait takes much longer than expected
)

// nap is the length of the sleep that a wait begins with.
type nap struct {
	length int64 // ns
	long   int   // waits in a row that were worth a sleep: one alone is the machine's doing, not the device's
	slack  bool  // the thread's timers are exact
}

// learn takes in how a wait ended: after the sleep, the completion was there already (polled is 0), or came after polled ns.
func (n *nap) learn(slept, polled int64) {
	switch {
	case slept == 0 && polled < napWorth:
		n.long = 0
	case slept == 0:
		if n.long++; n.long >= napProof {
			n.length = napWorth / 2
		}
	case polled == 0: // too late, who knows by how much
		n.length -= n.length / 4
	default:
		n.length += min((polled-napMargin)/16, n.length/4)
	}
	if n.length < napWorth/2 {
		if slept > 0 {
			n.long = 0
		}
		n.length = 0
	}
	n.length = min(n.length, napLong)
}

// sleep sleeps for ns on this thread, which is the poller's own.
func (n *nap) sleep(ns int64) {
	if !n.slack {
		// The default slack of 50 µs is as long as the latency of a drive. prctl(2), PR_SET_TIMERSLACK
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		n.slack = true
	}
	ts := unix.NsecToTimespec(ns)
	_ = unix.Nanosleep(&ts, nil)
}

// Wait looks for completions until there is one, or for as long as limit; a negative limit is none.
func (q *queue) Wait(limit time.Duration) error {
	q.hw.Kick()
	if q.ready() {
		return nil
	}
	start := engine.Now()
	var slept int64
	if l := q.nap.length; l > 0 && (limit < 0 || l < int64(limit)) {
		q.nap.sleep(l)
		slept = l
	}
	woke := engine.Now()
	now := woke
	for i := 1; !q.ready(); i++ {
		if i%32 != 0 { // reading the clock costs more than looking
			mmio.Pause(4)
			continue
		}
		if now = engine.Now(); limit >= 0 && now-start >= int64(limit) {
			return nil
		}
		if now-woke >= napLong {
			q.nap.sleep(int64(napAgain))
			continue
		}
		runtime.Gosched()
	}
	if now != woke || slept == 0 {
		now = engine.Now()
	}
	q.nap.learn(slept, now-woke)
	return nil
}

// ready says whether Poll has something to do.
func (q *queue) ready() bool { return q.hw.Ready() || len(q.failed)+len(q.retries) > 0 }
