package bench

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/blkbench/blkbench/bench/internal/fiotest"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
)

func TestReportKeysReachTheResult(t *testing.T) {
	o := runArgs(t, nil, job("--rw=randrw", "--percentile_list=50:99.9", "--clat_percentiles=0", "--lat_percentiles=1", "--slat_percentiles=1")...).must(t)
	j := &o.Jobs[0]
	if !slices.Equal(j.Percentiles, []float64{50, 99.9}) || j.PercentDigits != 1 || j.ClatPercentiles || !j.LatPercentiles || !j.SlatPercentiles {
		t.Errorf("%v, %d digits, clat %v lat %v slat %v", j.Percentiles, j.PercentDigits, j.ClatPercentiles, j.LatPercentiles, j.SlatPercentiles)
	}
	if j.Mixed != nil {
		t.Error("directions are mixed without being asked")
	}
	for arg, unified := range map[string]bool{"mixed": true, "both": false} {
		j := &runArgs(t, nil, job("--rw=randrw", "--unified_rw_reporting="+arg)...).must(t).Jobs[0]
		if j.Mixed == nil || j.Mixed.IOs != 256 || j.Mixed.Lat.Count() != 256 || j.Unified != unified {
			t.Errorf("unified_rw_reporting=%s: %+v, alone %v", arg, j.Mixed, j.Unified)
		}
	}
}

func TestWhatIsNotMeasured(t *testing.T) {
	fiotest.Long(t)
	type has struct{ slat, clat, lat, bw bool }
	for _, c := range []struct {
		arg  string
		want has
	}{
		{"--disable_slat=0", has{true, true, true, true}},
		{"--disable_slat=1", has{false, true, true, true}},
		{"--disable_clat=1", has{true, false, true, true}},
		{"--disable_lat=1", has{true, true, false, true}},
		{"--disable_bw_measurement=1", has{true, true, true, false}},
		{"--gtod_reduce=1", has{}},
	} {
		o := runArgs(t, lasting(time.Millisecond), job("--rw=read", "--number_ios=200", c.arg)...).must(t)
		d := o.Jobs[0].Dir[0]
		if got := (has{d.Slat != nil, d.Clat != nil, d.Lat != nil, d.BW.N > 0}); got != c.want || d.IOs != 200 || d.BWBytes == 0 {
			t.Errorf("%s: %+v, want %+v; %d I/Os", c.arg, got, c.want, d.IOs)
		}
	}
}

func TestAveragingTimes(t *testing.T) {
	fiotest.Long(t)
	o := runArgs(t, lasting(time.Millisecond), job("--rw=randread", "--time_based", "--runtime=600ms", "--bwavgtime=100", "--iopsavgtime=300")...).must(t)
	d := o.Jobs[0].Dir[0]
	if d.BW.N < 5 || d.BW.N > 7 || d.IOPS.N < 1 || d.IOPS.N > 3 {
		t.Errorf("%d samples of bandwidth, %d of IOPS, want 6 and 2", d.BW.N, d.IOPS.N)
	}
	if d.BW.Min > d.BW.Mean || d.BW.Max < d.BW.Mean || d.BW.Mean*1024 < d.BWBytes/2 || d.BW.Mean*1024 > d.BWBytes*2 {
		t.Errorf("%+v of %.0f bytes a second", d.BW, d.BWBytes)
	}
}

func TestLatencyAddsUp(t *testing.T) {
	o := runArgs(t, lasting(3*time.Millisecond), job("--rw=read", "--number_ios=50")...).must(t)
	d := o.Jobs[0].Dir[0]
	if sum := d.Slat.Mean() + d.Clat.Mean(); d.Lat.Min() < 2.9e6 || d.Clat.Min() > d.Lat.Min() || math.Abs(d.Lat.Mean()-sum) > 0.001*sum {
		t.Errorf("slat %.0f, clat %.0f from %d, lat %.0f from %d", d.Slat.Mean(), d.Clat.Mean(), d.Clat.Min(), d.Lat.Mean(), d.Lat.Min())
	}
}

// lines reads a log.
func lines(t *testing.T, name string) [][]string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.TrimLeadingSpace = true
	all, err := r.ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return all
}

func num(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLogsOfEveryRequest(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "x")
	o := runArgs(t, lasting(time.Millisecond), job("--rw=randwrite", "--number_ios=100", "--write_lat_log="+p, "--write_bw_log="+p, "--write_iops_log="+p,
		"--log_offset=1", "--log_issue_time=1", "--prio=3", "--log_prio=1")...).must(t)
	offsets := o.offsets(engine.OpWrite)
	for _, kind := range []string{"lat", "clat", "slat", "bw", "iops"} {
		all := lines(t, p+"_"+kind+".1.log")
		if len(all) != 100 {
			t.Errorf("%s: %d lines", kind, len(all))
			continue
		}
		for i, l := range all {
			if len(l) != 7 || l[2] != "1" || l[3] != "4096" || num(t, l[4]) != offsets[i] || num(t, l[5]) != 2<<13|3 || num(t, l[6]) <= 0 {
				t.Fatalf("%s: line %d: %v", kind, i, l)
			}
			if v := num(t, l[1]); kind == "clat" && v < 1e6 || kind == "iops" && v != 1 {
				t.Fatalf("%s: line %d: %v", kind, i, l)
			}
		}
		if first, last := num(t, all[0][0]), num(t, all[99][0]); first > 50 || last < 100 {
			t.Errorf("%s: times from %d to %d ms", kind, first, last)
		}
	}
}

func TestLogsOfWindows(t *testing.T) {
	fiotest.Long(t)
	base := []string{"--rw=randread", "--time_based", "--runtime=500ms", "--log_avg_msec=100"}
	quietly(t, func() error {
		p := filepath.Join(t.TempDir(), "x")
		o := runArgs(t, lasting(time.Millisecond), job(append(base, "--write_lat_log="+p, "--write_bw_log="+p, "--write_iops_log="+p)...)...).must(t)
		for _, kind := range []string{"lat", "bw", "iops"} {
			if n := len(lines(t, p+"_"+kind+".1.log")); n < 4 || n > 6 {
				return fmt.Errorf("%s: %d lines, want 5", kind, n)
			}
		}
		sum, last := int64(0), int64(0)
		for _, l := range lines(t, p+"_iops.1.log") {
			at := num(t, l[0])
			sum += num(t, l[1]) * (at - last) / 1000
			last = at
		}
		if n := int64(o.Jobs[0].Dir[0].IOs); sum < n*8/10 || sum > n*12/10 {
			return fmt.Errorf("the log has %d I/Os, the result %d", sum, n)
		}
		return nil
	})
	quietly(t, func() error {
		value := func(window string, column int) int64 {
			p := filepath.Join(t.TempDir(), "x")
			runArgs(t, func(_ string, r *recorder) {
				r.delay = func(_ engine.Op, _ int64, seq int) time.Duration { return time.Duration(1+seq%2*4) * time.Millisecond }
			}, job(append(base, "--write_lat_log="+p, "--log_max_value="+window)...)...).must(t)
			return num(t, lines(t, p+"_lat.1.log")[1][column])
		}
		if avg, top, both := value("avg", 1), value("max", 1), value("both", 2); top < avg*13/10 || both < avg*13/10 {
			return fmt.Errorf("mean %d, maximum %d, maximum beside the mean %d", avg, top, both)
		}
		return nil
	})
}

func TestHistogramLogs(t *testing.T) {
	fiotest.Long(t)
	p := filepath.Join(t.TempDir(), "x")
	count := func(args ...string) (rows, columns int, sum int64) {
		o := runArgs(t, lasting(time.Millisecond), job(append(args, "--rw=randread", "--time_based", "--runtime=400ms", "--write_hist_log="+p, "--log_hist_msec=100")...)...).must(t)
		all := lines(t, p+"_clat_hist.1.log")
		for _, l := range all {
			for _, v := range l[3:] {
				sum += num(t, v)
			}
		}
		return len(all), len(all[0]), int64(o.Jobs[0].Dir[0].IOs) - sum
	}
	if rows, columns, missing := count(); rows < 3 || columns != 3+1856 || missing < 0 || missing > 150 {
		t.Errorf("%d rows of %d columns, %d I/Os are missing", rows, columns, missing)
	}
	if _, columns, _ := count("--log_hist_coarseness=3"); columns != 3+1856/8 {
		t.Errorf("coarseness 3: %d columns", columns)
	}
}

func TestLogNamesAndEpochs(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "x")
	args := job("--rw=read", "--number_ios=5", "--numjobs=2", "--write_iops_log="+p, "--per_job_logs=0")
	runArgs(t, nil, args...).must(t)
	if all, _ := filepath.Glob(filepath.Join(dir, "*")); len(all) != 1 || !strings.HasSuffix(all[0], "x_iops.log") || len(lines(t, all[0])) != 10 {
		t.Errorf("per_job_logs=0: %v", all)
	}
	when := func(args ...string) time.Duration {
		runArgs(t, nil, job(append(args, "--rw=read", "--number_ios=5", "--write_iops_log="+p)...)...).must(t)
		return time.Duration(num(t, lines(t, p+"_iops.1.log")[0][0])) * time.Millisecond
	}
	now := time.Duration(time.Now().UnixNano())
	if d := when("--log_unix_epoch=1") - now; d < -time.Second || d > 10*time.Second {
		t.Errorf("log_unix_epoch: %v off", d)
	}
	// CLOCK_TAI, 11, is CLOCK_REALTIME where nobody has told the kernel about leap seconds, else up to a minute ahead.
	if d := when("--log_alternate_epoch=1", "--log_alternate_epoch_clock_id=11") - now; d < -time.Second || d > 90*time.Second {
		t.Errorf("log_alternate_epoch: %v off", d)
	}
	if d := when(); d > time.Minute {
		t.Errorf("from the start: %v", d)
	}
}

func TestSteadyStateEndsTheJob(t *testing.T) {
	fiotest.Long(t)
	run := func(ss, runtime string) (*result.SteadyState, time.Duration) {
		o := runArgs(t, lasting(time.Millisecond), job("--rw=randread", "--time_based", "--runtime="+runtime, "--steadystate="+ss, "--steadystate_duration=500ms",
			"--steadystate_check_interval=100ms", "--steadystate_ramp_time=100ms")...).must(t)
		return o.Jobs[0].Steady, o.Jobs[0].Runtime
	}
	// Limits that any window keeps: the job ends with the first whole one.
	for _, ss := range []string{"iops:100000%", "iops_slope:100000%", "bw:100000%", "bw_slope:100000%", "lat:100000%"} {
		s, took := run(ss, "30")
		if s == nil || !s.Attained || s.Rule != "fio" || s.Expr != ss || len(s.IOPS) != 5 || took < 550*time.Millisecond || took > 29*time.Second {
			t.Errorf("%s: %+v after %v", ss, s, took)
		}
	}
	// The SNIA rule has no limit to be given: whether a busy machine keeps it is its own affair.
	if s, took := run("pts", "1500ms"); s == nil || s.Rule != "snia" || !s.Attained && took < 1400*time.Millisecond {
		t.Errorf("pts: %+v after %v", s, took)
	}
	// A target that gets slower and slower is never steady.
	slower := func(_ string, r *recorder) {
		r.delay = func(_ engine.Op, _ int64, seq int) time.Duration { return time.Duration(seq) * 20 * time.Microsecond }
	}
	o := runArgs(t, slower, job("--rw=randread", "--time_based", "--runtime=900ms", "--steadystate=iops:2%", "--steadystate_duration=400ms",
		"--steadystate_check_interval=100ms")...).must(t)
	if s := o.Jobs[0].Steady; s == nil || s.Attained {
		t.Errorf("unsteady: %+v", s)
	}
}

func TestSteadyStateOfAGroup(t *testing.T) {
	fiotest.Long(t)
	quietly(t, func() error {
		o := runArgs(t, lasting(time.Millisecond), job("--rw=randread", "--numjobs=2", "--group_reporting", "--time_based", "--runtime=10",
			"--steadystate=iops:100000%", "--steadystate_duration=400ms", "--steadystate_check_interval=100ms")...).must(t)
		s := o.Jobs[0].Steady
		switch {
		case s == nil || !s.Attained:
			return fmt.Errorf("%+v", s)
		case s.IOPSMean < o.Jobs[0].Dir[0].IOPSMean*0.6:
			return fmt.Errorf("mean of %.0f: not both", s.IOPSMean)
		}
		return nil
	})
}
