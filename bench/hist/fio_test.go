package hist_test

import (
	"math"
	"strconv"
	"testing"

	"github.com/blkbench/blkbench/bench/hist"
	"github.com/blkbench/blkbench/bench/internal/fiotest"
)

// fio writes down every single completion latency and what it made of them all.
// The same values in our histogram give the same bins and the same percentiles.
func TestInteropFioBinsAndPercentiles(t *testing.T) {
	r := fiotest.Run(t, "--name=j", "--ioengine=null", "--size=256m", "--bs=4k", "--rw=randread",
		"--iodepth=8", "--write_lat_log=j", "--percentile_list=0.1:1:10:50:90:99:99.9:99.99")
	var h hist.Hist
	for _, ns := range r.Column(t, "j_clat.1.log", 1) {
		h.Record(ns)
	}
	clat := r.Job(t, "read", "clat_ns")
	if n := uint64(clat["N"].(float64)); n != h.Count() {
		t.Fatalf("fio counted %d, the log has %d", n, h.Count())
	}
	theirs := clat["bins"].(map[string]any)
	ours := 0
	for value, count := range h.FioBins() {
		ours++
		if c, ok := theirs[strconv.FormatUint(value, 10)].(float64); !ok || uint64(c) != count {
			t.Errorf("bin %d: ours %d, fio's %v", value, count, theirs[strconv.FormatUint(value, 10)])
		}
	}
	if ours != len(theirs) {
		t.Errorf("%d bins, fio has %d", ours, len(theirs))
	}
	for key, value := range clat["percentile"].(map[string]any) {
		p, err := strconv.ParseFloat(key, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Percentile(p); got != uint64(value.(float64)) {
			t.Errorf("p%v = %d, fio says %v", p, got, value)
		}
	}
	near := func(name string, got float64) {
		if want := clat[name].(float64); math.Abs(got-want) > 1e-5*want {
			t.Errorf("%s = %v, fio says %v", name, got, want)
		}
	}
	near("min", float64(h.Min()))
	near("max", float64(h.Max()))
	near("mean", h.Mean())
	near("stddev", h.Stddev())
}

// The rows of fio's histogram log, added up, are our bins of the same values.
func TestInteropFioHistogramLog(t *testing.T) {
	for coarseness := range 7 {
		r := fiotest.Run(t, "--name=j", "--ioengine=null", "--size=64m", "--bs=4k", "--rw=randread",
			"--write_hist_log=j", "--log_hist_msec=20", "--write_lat_log=j", "--rate_iops=60k",
			"--log_hist_coarseness="+strconv.Itoa(coarseness))
		var h hist.Hist
		for _, ns := range r.Column(t, "j_clat.1.log", 1) {
			h.Record(ns)
		}
		want := h.FioPlat(nil, coarseness)
		rows := r.Rows(t, "j_clat_hist.1.log")
		if len(rows) < 2 {
			t.Fatalf("fio wrote %d rows", len(rows))
		}
		sum := make([]uint64, len(want))
		for _, row := range rows {
			if len(row)-3 != len(want) {
				t.Fatalf("coarseness %d: fio has %d bins, we have %d", coarseness, len(row)-3, len(want))
			}
			for i, field := range row[3:] {
				c, err := strconv.ParseUint(field, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				sum[i] += c
			}
		}
		// fio leaves the samples of the last, incomplete interval out of its log;
		// on a busy machine that is a long one.
		logged, all := uint64(0), uint64(0)
		for i := range want {
			logged, all = logged+sum[i], all+want[i]
			if sum[i] > want[i] {
				t.Errorf("coarseness %d: bin %d holds %d, fio says %d", coarseness, i, want[i], sum[i])
			}
		}
		if logged < all/8 {
			t.Errorf("coarseness %d: %d of %d samples are in fio's log", coarseness, logged, all)
		}
	}
}
