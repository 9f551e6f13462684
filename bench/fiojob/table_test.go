package fiojob

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestRowsAreWhole(t *testing.T) {
	seen := map[string]string{}
	for _, o := range Options() {
		for _, name := range o.Names() {
			if other := seen[name]; other != "" {
				t.Errorf("%s: both %s and %s", name, other, o.Name)
			}
			seen[name] = o.Name
		}
		if o.Help == "" {
			t.Errorf("%s: no help", o.Name)
		}
		if (o.Status == Honoured) == (o.Note != "") {
			t.Errorf("%s: %s with note %q", o.Name, o.Status, o.Note)
		}
		if o.Status == Honoured && o.set == nil {
			t.Errorf("%s: honoured, but nothing is set", o.Name)
		}
		if (o.Kind == KindEnum || o.Kind == KindSet) != (len(o.Values) > 0) {
			t.Errorf("%s: %s with %d choices", o.Name, o.Kind, len(o.Values))
		}
		for i := range o.Values {
			if v := &o.Values[i]; (v.Status == Honoured) == (v.Note != "") {
				t.Errorf("%s=%s: %s with note %q", o.Name, v.Name, v.Status, v.Note)
			}
		}
		if o.Default != "" {
			if _, err := parseValue(o, o.Default, false, 1024); err != nil {
				t.Errorf("%s: default %q: %v", o.Name, o.Default, err)
			}
		}
		if strings.HasSuffix(o.Help, ".") {
			t.Errorf("%s: help ends in a full stop", o.Name)
		}
	}
}

// tier1 are the keys every user of fio expects to work.
var tier1 = strings.Fields(`rw readwrite ioengine bs blocksize bsrange bssplit size io_size offset filename directory iodepth iodepth_batch
iodepth_batch_submit iodepth_batch_complete iodepth_batch_complete_min iodepth_batch_complete_max iodepth_low numjobs direct runtime
time_based ramp_time startdelay stonewall wait_for group_reporting new_group name loops number_ios rwmixread rwmixwrite norandommap
randrepeat randseed random_distribution percentage_random rate rate_iops rate_process rate_min thinktime latency_target latency_window
latency_percentile refill_buffers scramble_buffers buffer_compress_percentage dedupe_percentage buffer_pattern zero_buffers fsync fdatasync
end_fsync sync verify do_verify verify_backlog verify_fatal verify_dump verify_state_save verify_state_load cpus_allowed cpus_allowed_policy
numa_cpu_nodes numa_mem_policy steadystate ss ss_dur ss_ramp ss_interval percentile_list clat_percentiles lat_percentiles slat_percentiles
unified_rw_reporting write_bw_log write_iops_log write_lat_log write_hist_log log_avg_msec log_hist_msec log_hist_coarseness
log_window_value log_offset log_unix_epoch per_job_logs read_iolog replay_no_stall replay_redirect replay_scale replay_align
replay_time_scale replay_skip zonemode zonesize zonerange zoneskip fixedbufs registerfiles hipri sqthread_poll gtod_reduce invalidate
buffered nrfiles filesize fallocate serialize_overlap flow continue_on_error exitall exit_what`)

func TestTier1IsHonoured(t *testing.T) {
	for _, name := range tier1 {
		o, ok := Lookup(name)
		if !ok || o.Status != Honoured {
			t.Errorf("%s is not honoured", name)
		}
	}
	if o, _ := Lookup("thread"); o.Status != Equivalent {
		t.Errorf("thread is %s", o.Status)
	}
}

func TestRunOptionsAreWhole(t *testing.T) {
	shorts := map[byte]string{}
	for _, o := range RunOptionTable() {
		if o.Help == "" || (o.Status == Honoured) != (o.Note == "") || (o.Status == Honoured) != (o.set != nil) {
			t.Errorf("--%s: help %q, %s, note %q", o.Name, o.Help, o.Status, o.Note)
		}
		if o.Short != 0 && shorts[o.Short] != "" {
			t.Errorf("-%c: both --%s and --%s", o.Short, shorts[o.Short], o.Name)
		}
		shorts[o.Short] = o.Name
		if o.mode == argRequired && o.Status == Honoured && o.Arg == "" {
			t.Errorf("--%s: its value has no name", o.Name)
		}
	}
}

func TestKeysPage(t *testing.T) {
	const page = "../../docs/fio-keys.md"
	var b strings.Builder
	if err := WriteKeysPage(&b); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || string(have) != b.String() {
		t.Errorf("%s is not what the table says (%v): go test ./bench/fiojob -run KeysPage -update", page, err)
	}
}

func TestHelp(t *testing.T) {
	for _, o := range Options() {
		var b strings.Builder
		if err := HelpKey(&b, o.Name); err != nil || !strings.Contains(b.String(), o.Help) {
			t.Errorf("HelpKey(%s) = %q, %v", o.Name, b.String(), err)
		}
		if o.Status == Refused && !strings.Contains(b.String(), "not supported: "+o.Note) {
			t.Errorf("HelpKey(%s) does not say why it is refused", o.Name)
		}
	}
	var b strings.Builder
	wantError(t, HelpKey(&b, "iodpeth"), ErrUnknownKey, "did you mean iodepth?", "iodpeth")
	if err := HelpEngines(&b, "io_uring"); err != nil || !strings.Contains(b.String(), "fixedbufs") {
		t.Errorf("HelpEngines(io_uring) = %q, %v", b.String(), err)
	}
	wantError(t, HelpEngines(&b, "io_urin"), ErrValue, "did you mean io_uring?", "io_urin")
	b.Reset()
	if err := HelpKeys(&b); err != nil || strings.Contains(b.String(), "cgroup_weight") || !strings.Contains(b.String(), "rwmixread") {
		t.Errorf("HelpKeys = %q, %v", b.String(), err)
	}
	b.Reset()
	if err := HelpRun(&b); err != nil || !strings.Contains(b.String(), "--report=FILE") || strings.Contains(b.String(), "--client") {
		t.Errorf("HelpRun = %q, %v", b.String(), err)
	}
}
