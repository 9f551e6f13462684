package bench

import (
	"testing"

	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
)

// TestPlainLoopsCountEverything holds what the leaf saw against what was counted, for the ways that requests take without waits and for
// those beside them: completions that are late, errors, loops, an end that is no multiple of what is drawn ahead.
func TestPlainLoopsCountEverything(t *testing.T) {
	late := func(l *leaf) { countdown(l, 3) }
	for _, c := range []struct {
		what    string
		prepare func(*leaf)
		args    []string
		ios     int
	}{
		{"one by one", nil, []string{"--rw=randread", "--number_ios=1000"}, 1000},
		{"one by one, late", late, []string{"--rw=randread", "--number_ios=1000"}, 1000},
		{"in sequence, three times", nil, []string{"--rw=read", "--size=400k", "--loops=3"}, 300},
		{"all that io_size says", nil, []string{"--rw=read", "--size=400k", "--io_size=1000k"}, 250},
		{"trims", nil, []string{"--rw=randtrim", "--number_ios=333"}, 333},
		{"batches", nil, []string{"--rw=randread", "--iodepth=8", "--number_ios=1003"}, 1003},
		{"batches of four, late", late, []string{"--rw=randread", "--iodepth=8", "--iodepth_batch=4", "--number_ios=1003"}, 1003},
		{"drained before it is filled", late, []string{"--rw=randread", "--iodepth=8", "--iodepth_low=2", "--number_ios=1003"}, 1003},
		{"writes", nil, []string{"--rw=randwrite", "--number_ios=777"}, 777},
		{"a mix", late, []string{"--rw=randrw", "--iodepth=5", "--number_ios=777"}, 777},
		{"without stamps", nil, []string{"--rw=randread", "--gtod_reduce=1", "--number_ios=500"}, 500},
	} {
		l := new(leaf)
		if c.prepare != nil {
			c.prepare(l)
		}
		j := &runLeaf(t, l, c.args...).must(t).Jobs[0]
		ios, bytes := uint64(0), uint64(0)
		for d := range j.Dir {
			v := &j.Dir[d]
			ios += v.IOs
			bytes += v.Bytes
			for name, h := range map[string]result.Latency{"slat": v.Slat, "clat": v.Clat, "lat": v.Lat} {
				if h != nil && h.Count() != v.IOs {
					t.Errorf("%s: %s of %d of %d requests", c.what, name, h.Count(), v.IOs)
				}
			}
			if v.Lat != nil && v.Lat.Mean() != 0 {
				if sum := v.Slat.Mean() + v.Clat.Mean(); sum < v.Lat.Mean()*0.999 || sum > v.Lat.Mean()*1.001 {
					t.Errorf("%s: slat %.1f and clat %.1f are not lat %.1f", c.what, v.Slat.Mean(), v.Clat.Mean(), v.Lat.Mean())
				}
			}
		}
		if n := l.count(engine.OpRead) + l.count(engine.OpWrite) + l.count(engine.OpDiscard); n != c.ios || ios != uint64(n) || bytes != 4096*ios {
			t.Errorf("%s: the leaf saw %d requests, %d and %d bytes were counted, want %d", c.what, n, ios, bytes, c.ios)
		}
	}
}

// TestFailedRequestsLeaveThePlainLoop lets one request in ten fail, one by one and in batches.
func TestFailedRequestsLeaveThePlainLoop(t *testing.T) {
	for _, depth := range []string{"1", "8"} {
		n := 0
		l := &leaf{answer: func(r *engine.Request) int32 {
			if n++; n%10 == 0 {
				return -5
			}
			return int32(r.Len)
		}}
		j := &runLeaf(t, l, "--rw=randread", "--iodepth="+depth, "--number_ios=500", "--continue_on_error=all").must(t).Jobs[0]
		if j.TotalErrors != 50 || j.Dir[0].IOs != 450 || j.Dir[0].Clat.Count() != 450 {
			t.Errorf("depth %s: %d errors, %d reads, %d latencies", depth, j.TotalErrors, j.Dir[0].IOs, j.Dir[0].Clat.Count())
		}
	}
}
