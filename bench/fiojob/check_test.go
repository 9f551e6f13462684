package fiojob

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestConflicts(t *testing.T) {
	tests := []struct {
		keys, want string
	}{
		{"rate=1m rate_iops=5", "rate_iops: rate and rate_iops exclude each other"},
		{"rate_min=1m rate_iops_min=5", "rate_min and rate_iops_min exclude"},
		{"rate=1k rate_min=2k", "rate_min: 2048 for reads is more than rate: 1024"},
		{"rate_iops=1,9 rate_iops_min=0,10", "rate_iops_min: 10 for writes is more than rate_iops: 9"},
		{"size=1k", "size: 1024 is less than the smallest block, 4096"},
		{"zonesize=4k", "zonesize: needs zonemode=strided"},
		{"zonemode=strided", "strided needs a zonesize"},
		{"zonemode=strided zonesize=1m zoneskip=2z", "takes bytes, not zones"},
		{"zonemode=strided zonesize=1m zoneskip=2%", "takes no percentage"},
		{"size=2z", "zones (z) are those of zonemode=zbd"},
		{"rw=write verify=pattern", "verify: pattern needs a verify_pattern"},
		{"rw=write verify=crc32 verify_only time_based runtime=1", "verify_only: goes through the data once"},
		{"rw=write verify=crc32 bs=39", "no room for a header"},
		{"rw=write verify=crc32 verify_offset=4080", "leaves no room for a header"},
		{"rw=trimwrite bs=4k,4k,8k", "blocks of one size for trims and writes"},
		{"ioengine=nbd", "nbd needs uri="},
		{"ioengine=null file_append=1", "no file with ioengine=null"},
		{"ss=iops:1% ss_dur=1 ss_interval=2", "longer than steadystate_duration"},
	}
	for _, tt := range tests {
		failing(t, ErrConflict, tt.want, append([]string{"[a]"}, strings.Split(tt.keys, " ")...)...)
	}
	_, err := ParseArgs(strings.Fields("--readonly --name=a --rw=randtrim"), world(nil, nil))
	wantError(t, err, ErrConflict, "[a] rw: randtrim is not allowed with --readonly", "--readonly")
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		keys, want string
	}{
		{"time_based", "time_based needs a runtime"},
		{"iodepth=2 iodepth_batch=4", "iodepth_batch=4 is more than iodepth: 2"},
		{"iodepth=2 iodepth_low=4", "iodepth_low=4 is more than iodepth: 2"},
		{"iodepth=4 iodepth_batch_complete_min=3 iodepth_batch_complete_max=2", "iodepth_batch_complete_max=2 is less than"},
		{"iodepth=4 ioengine=psync", "iodepth=4 is 1 with ioengine=psync"},
		{"direct=1 buffered=1", "direct=0, as the later one says"},
		{"direct=1 bs_unaligned", "bs_unaligned may not work with direct=1"},
		{"rw=randread ba=512", "blockalign switches norandommap on"},
		{"rw=write bssplit=4k/50:8k/20", "bssplit for writes add up to 70: the rest goes to blocks of 4096"},
		{"filename=a:b nrfiles=3", "nrfiles=3 is not used: filename names 2"},
		{"nrfiles=2 openfiles=3", "openfiles=3 is more than there are: 2"},
		{"pre_read=1 invalidate=1", "pre_read switches invalidate off"},
		{"thinktime=1 thinktime_spin=2", "thinktime_spin is more than thinktime"},
		{"hipri", "hipri needs direct=1"},
		{"direct=1 uncached=1", "uncached has no effect with direct=1"},
		{"serialize_overlap=1 iodepth=4", "serialize_overlap has no effect"},
		{"rw=randwrite verify=crc32 norandommap bsrange=4k-8k", "partly overwritten are not verified"},
		{"rw=write verify=crc32 verify_interval=3000", "verify_interval=3000 does not divide the blocks: it is 4096"},
		{"rw=write verify=crc32 numjobs=2 filename=x", "several clones write the same files"},
		{"rw=write verify=crc32 numjobs=2 filename_format=f.$jobnum", "several clones write the same files"},
		{"rw=write verify=crc32 time_based runtime=1", "verification never starts"},
		{"verify=crc32 verify_only", "verify_only is for jobs that write"},
		{"zonemode=strided zonesize=1m nrfiles=2", "zonemode=strided has no effect"},
		{"ss=iops:1%", "steadystate has no effect without steadystate_duration"},
		{"write_hist_log", "write_hist_log stays empty"},
		{"rwmixread=70", "rwmixread has no effect: it needs a mixed rw"},
		{"norandommap", "norandommap has no effect: it needs a random rw"},
		{"thinktime_blocks=4", "thinktime_blocks has no effect: it needs thinktime"},
		{"log_avg_msec=100", "log_avg_msec has no effect"},
		{"verify_fatal=1", "verify_fatal has no effect: it needs verify"},
		{"latency_window=1s", "latency_window has no effect: it needs latency_target"},
		{"rate_process=poisson", "rate_process has no effect"},
		{"exit_what=all", "exit_what has no effect: it needs exitall"},
		{"cpus_allowed_policy=split", "cpus_allowed_policy has no effect"},
		{"filename=a filename_format=x", "filename_format has no effect"},
	}
	for _, tt := range tests {
		plan := parse(t, append([]string{"[a]"}, strings.Split(tt.keys, " ")...)...)
		checkPlan(t, plan)
		if !slices.ContainsFunc(plan.Warnings, func(w string) bool { return strings.Contains(w, tt.want) }) {
			t.Errorf("%s: warnings %q, none of %q", tt.keys, plan.Warnings, tt.want)
		}
	}
}

// A key of a global section may be for other jobs.
func TestIdleGlobalKeysAreNoWarning(t *testing.T) {
	plan := parse(t, "[global]", "rwmixread=70", "thinktime_blocks=2", "[a]", "rw=read", "[b]", "rw=rw", "thinktime=1")
	if len(plan.Warnings) != 0 {
		t.Errorf("%q", plan.Warnings)
	}
}

func TestGroups(t *testing.T) {
	plan := parse(t, "[a]", "stonewall", "numjobs=2", "[b]", "[c]", "new_group", "[d]", "stonewall", "[e]")
	if got := names(plan); got != "a:0 b:0 c:1 d:2 e:2" {
		t.Error(got)
	}
	var threads []string
	for _, j := range plan.Expand() {
		threads = append(threads, fmt.Sprintf("%s.%d.%d.%v", j.Name, j.Thread, j.Clone, j.Order.Stonewall))
	}
	if got := strings.Join(threads, " "); got != "a.1.0.true a.2.1.false b.3.0.false c.4.0.false d.5.0.true e.6.0.false" {
		t.Error(got)
	}
}

func TestBetweenJobs(t *testing.T) {
	failing(t, ErrConflict, "wait_for: no job is called x", "[a]", "wait_for=x")
	failing(t, ErrConflict, "the job waits for itself", "[a]", "wait_for=a")
	failing(t, ErrConflict, "b comes later", "[a]", "wait_for=b", "[b]")
	failing(t, ErrConflict, "2 jobs are called a", "[a]", "[a]", "[b]", "wait_for=a")
	failing(t, ErrConflict, "steadystate: differs from job a", "[a]", "ss=iops:1%", "ss_dur=5", "[b]", "ss=iops:2%", "ss_dur=5")
	failing(t, ErrConflict, "lat_percentiles: differs", "[global]", "group_reporting", "[a]", "[b]", "lat_percentiles=1")
	failing(t, ErrLimit, "5000 jobs with their clones: at most 4096", "[a]", "numjobs=5000")
	parse(t, "[a]", "[b]", "wait_for=a")
	parse(t, "[a]", "ss=iops:1%", "ss_dur=5", "[b]", "new_group", "ss=iops:2%", "ss_dur=5")
	if _, err := ParseArgs(strings.Fields("--max-jobs=5000 --name=a --numjobs=5000 --size=1m"), world(nil, nil)); err != nil {
		t.Error(err)
	}
}

func TestFileNames(t *testing.T) {
	tests := []struct{ keys, want string }{
		{"numjobs=2 nrfiles=2", "a.0.0 a.0.1 | a.1.0 a.1.1"},
		{"numjobs=3 directory=/x:/y", "/x/a.0.0 | /y/a.1.0 | /x/a.2.0"},
		{"numjobs=2 directory=/x:/y filename=f:/g", "/x/f /x/g | /x/f /x/g"},
		{"directory=/x filename=nbd://h:1/e", "nbd://h:1/e"},
		{"filename_format=$JobName-$filenum/$jobnum$clientuid$x nrfiles=2", "a-0/0$x a-1/0$x"},
		{"name=/dev/special", "/dev/special"},
		{"name=/dev/special nrfiles=2", "/dev/special.0.0 /dev/special.0.1"},
		{"ioengine=nbd uri=nbd://h/e", "nbd://h/e"},
		{"read_iolog=t", ""},
	}
	for _, tt := range tests {
		var clones []string
		for _, j := range parse(t, append([]string{"[a]"}, strings.Split(tt.keys, " ")...)...).Expand() {
			clones = append(clones, strings.Join(j.FileNames(func(name string) bool { return name == "/dev/special" }), " "))
		}
		if got := strings.Join(clones, " | "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.keys, got, tt.want)
		}
	}
}

func TestCPUsAreDealtOut(t *testing.T) {
	var got []string
	for _, j := range parse(t, "[global]", "cpus_allowed=2,4,6", "cpus_allowed_policy=split", "[a]", "numjobs=2", "[b]", "numjobs=2").Expand() {
		got = append(got, fmt.Sprint(j.CPU.Allowed))
	}
	if s := strings.Join(got, ""); s != "[2][4][6][2]" {
		t.Error(s)
	}
}

func TestLogNames(t *testing.T) {
	jobs := parse(t, "[a]", "numjobs=2", "write_bw_log", "write_lat_log=x", "[b]", "per_job_logs=0", "write_bw_log").Expand()
	if a, b, c := jobs[1].LogName(jobs[1].Log.BW, "bw"), jobs[1].LogName(jobs[1].Log.Lat, "clat"), jobs[2].LogName(jobs[2].Log.BW, "bw"); a != "a_bw.2.log" || b != "x_clat.2.log" || c != "b_bw.log" {
		t.Error(a, b, c)
	}
}

func TestNotes(t *testing.T) {
	plan := parse(t, "[global]", "ioengine=libaio", "thread", "[a]", "iodepth=4", "io_submit_mode=offload", "[b]", "ioengine=libaio")
	if len(plan.Notes) != 3 || len(plan.Warnings) != 0 {
		t.Errorf("notes %q, warnings %q", plan.Notes, plan.Warnings)
	}
}
