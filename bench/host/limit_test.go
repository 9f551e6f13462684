package host_test

import (
	"strings"
	"testing"
	"time"

	"github.com/blkbench/blkbench/bench/host"
	"github.com/blkbench/blkbench/bench/result"
)

// flight sets rate and latency so that n requests are in flight on average, in equal parts of reads and writes.
func flight(r *result.Run, n float64) {
	j := &r.Jobs[0]
	for d := range 2 {
		j.Dir[d].IOPSMean = n / 2 * 1e9 / j.Dir[d].Clat.Mean()
	}
}

func TestLimit(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *result.Run)
		want   string
	}{
		"nothing measured": {func(r *result.Run) { r.Jobs[0].Dir = [4]result.Dir{} }, ""},
		"rate":             {func(r *result.Run) { set(r, "rate", "10m") }, "the rate that was asked for (rate=10m)"},
		"rate reached":     {func(r *result.Run) { set(r, "rate_iops", "16k") }, "the rate that was asked for (rate_iops=16k)"},
		"rate missed":      {func(r *result.Run) { set(r, "rate_iops", "16k"); flight(r, 1e-5) }, "neither the target nor the CPU alone"},
		"target":           {func(r *result.Run) { flight(r, 31) }, "the target: 31 of 32 requests were in flight on average, and the job's thread used 0 % of its CPU"},
		"target is busy":   {func(r *result.Run) { flight(r, 31); r.Disks = []result.DiskUtil{{Name: "nvme0n1", Util: 99}} }, "; nvme0n1 was busy 99 % of the time"},
		"four jobs":        {func(r *result.Run) { flight(r, 120); r.Jobs[0].Members = 4 }, "the target: 120 of 128 requests were in flight on average, and the job's threads used"},
		"cpu":              {func(r *result.Run) { flight(r, 31); r.Jobs[0].Runtime, r.Jobs[0].CPUSys = time.Minute, 58*time.Second }, "the CPU: the job's thread used 97 % of its CPU"},
		"machine":          {func(r *result.Run) { flight(r, 31); r.Host.Busy = 99 }, "the CPUs: the machine was 99 % busy"},
		"one at a time":    {func(r *result.Run) { r.Jobs[0].Depth = 1; flight(r, 0.9) }, "latency: one request at a time, of 1 µs each"},
		"half empty":       {func(r *result.Run) { flight(r, 12) }, "neither the target nor the CPU alone: 12 of 32 requests"},
		"latency target": {func(r *result.Run) {
			r.Jobs[0].LatencyTarget = &result.LatencyTarget{Target: time.Millisecond, Percentile: 99, Depth: 7}
		}, "the latency target: depth 7 is the most that keeps 99 % of requests below 1 ms"},
		"thinktime":        {func(r *result.Run) { set(r, "thinktime", "100us") }, "the pauses that were asked for (thinktime=100us)"},
		"no latency known": {func(r *result.Run) { r.Jobs[0].Dir[0].Clat, r.Jobs[0].Dir[1].Clat = nil, nil }, ""},
		"unified": {func(r *result.Run) {
			flight(r, 62)
			m := r.Jobs[0].Dir[0]
			r.Jobs[0].Mixed, r.Jobs[0].Unified = &m, true
		}, "the target: 31 of 32"},
		"said by the bench": {func(r *result.Run) { r.Jobs[0].LimitedBy = "something else" }, "something else"},
	} {
		r := good(t, server, big)
		c.change(r)
		host.Judge(r)
		got := r.Jobs[0].LimitedBy
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestMeasure(t *testing.T) {
	s, dir := machine(t, server, nodes())
	now := time.Unix(1000, 0)
	s.Now = func() time.Time { return now }
	targets := []result.Target{{Name: "a", Path: big, Size: 1 << 30}, {Name: "b", Path: "/dev/shm/f", Size: 1 << 30}}
	h, m := s.Begin(targets)
	if h.Hostname != "bench1" || targets[0].Block == nil || !targets[1].InMemory {
		t.Errorf("%+v %+v", h, targets)
	}
	now = now.Add(time.Second)
	write(t, dir, files{"proc/stat": "cpu  200 0 150 750 110 0 0 40 0 0\n", "proc/diskstats": strings.Replace(diskstats, "nvme0n1 100", "nvme0n1 104", 1)})
	r := &result.Run{Host: h, Interrupted: true}
	m.End(r)
	if r.Host.Busy != 60 || r.Host.Steal != 16 || len(r.Disks) != 1 || r.Disks[0].ReadIOs != 4 || len(r.Hints) != 2 {
		t.Errorf("%+v", r)
	}
}
