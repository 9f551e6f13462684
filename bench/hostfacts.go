package bench

import (
	"slices"
	"sync"

	"github.com/blkbench/blkbench/bench/host"
	"github.com/blkbench/blkbench/bench/result"
)

// hostFacts are what is known of the machine around a measurement.
type hostFacts struct {
	sys   *host.System
	facts result.Host
	times host.CPUTimes
	mu    sync.Mutex
	disks []*host.Watch
}

func (h *hostFacts) begin() {
	h.sys = host.New()
	h.facts = h.sys.Host()
	h.times = h.sys.CPUTimes()
}

// watch counts what the disks under a batch's targets do from now on, for jobs with disk_util.
func (h *hostFacts) watch(batch []*worker) {
	var targets []result.Target
	for _, w := range batch {
		if !w.job.Report.DiskUtil {
			continue
		}
		select {
		case <-w.ready:
			targets = append(targets, w.targets...)
		default:
		}
	}
	if len(targets) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disks = append(h.disks, h.sys.Watch(targets))
}

// util is what the disks have done, each from its first use on.
func (h *hostFacts) util() []result.DiskUtil {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []result.DiskUtil
	for _, w := range h.disks {
		for _, u := range w.Util() {
			if !slices.ContainsFunc(out, func(o result.DiskUtil) bool { return o.Name == u.Name }) {
				out = append(out, u)
			}
		}
	}
	return out
}

// complete adds what is only known at the end, and judges the whole.
func (h *hostFacts) complete(out *result.Run) {
	out.Host.Busy, out.Host.Steal = h.sys.CPUTimes().Since(h.times)
	out.Hints = host.Hints(out)
}
