package fiojob

// idleKeys are keys that do nothing unless another asks for it: in a job's own
// section that is probably a mistake. In a global section it is not, for other
// jobs may ask.
var idleKeys = []struct {
	keys  []string
	needs string
	used  func(*Job) bool
}{
	{[]string{"rwmixread", "rwmixwrite"}, "a mixed rw", func(j *Job) bool { return j.RW.Kind.Mixed() }},
	{
		[]string{"norandommap", "random_distribution", "percentage_random", "bs_is_seq_rand"},
		"a random rw",
		func(j *Job) bool { return j.RW.Kind.Random() || len(j.Replay.Logs) > 0 },
	},
	{[]string{"rw_sequencer"}, "rw=rand…:n", func(j *Job) bool { return j.RW.Every > 1 }},
	{[]string{"thinktime_spin", "thinktime_blocks", "thinktime_blocks_type", "thinktime_iotime"}, "thinktime", func(j *Job) bool { return j.Think.Time > 0 }},
	{[]string{"rate_process", "rate_ignore_thinktime"}, "rate or rate_iops", func(j *Job) bool { return j.Rate.Limited() }},
	{
		[]string{"rate_cycle"},
		"rate_min or rate_iops_min",
		func(j *Job) bool {
			return j.Rate.Limited() || j.Rate.MinBytes != PerDir[int64]{} || j.Rate.MinIOPS != PerDir[int]{}
		},
	},
	{[]string{"latency_window", "latency_percentile", "latency_run"}, "latency_target", func(j *Job) bool { return j.Latency.Target > 0 }},
	{
		[]string{
			"verify_interval", "verify_offset", "verify_fatal", "verify_dump", "verify_async", "verify_async_cpus", "verify_backlog",
			"verify_backlog_batch", "verify_state_load", "verify_only",
		},
		"verify", func(j *Job) bool { return j.Verify.Kind != VerifyNone },
	},
	{[]string{"verify_backlog_batch"}, "verify_backlog", func(j *Job) bool { return j.Verify.Backlog > 0 || j.Verify.Kind == VerifyNone }},
	{
		[]string{"replay_no_stall", "replay_redirect", "replay_scale", "replay_align", "replay_time_scale", "replay_skip"},
		"read_iolog", func(j *Job) bool { return len(j.Replay.Logs) > 0 },
	},
	{[]string{"zonerange", "zoneskip"}, "zonemode=strided", func(j *Job) bool { return j.Zone.Mode != ZoneNone || j.Zone.Skip.IsZero() && j.Zone.Range == 0 }},
	{[]string{"buffer_compress_chunk"}, "buffer_compress_percentage", func(j *Job) bool { return j.Buffer.Compress > 0 || j.Buffer.Zero }},
	{[]string{"flow_sleep", "flow_id"}, "flow", func(j *Job) bool { return j.Flow.Weight > 0 }},
	{[]string{"cpus_allowed_policy"}, "cpus_allowed", func(j *Job) bool { return j.CPU.Allowed != nil }},
	{[]string{"exit_what"}, "exitall", func(j *Job) bool { return j.Order.ExitAll }},
	{
		[]string{"steadystate_ramp_time", "steadystate_check_interval"},
		"steadystate_duration",
		func(j *Job) bool { return j.Steady.Duration > 0 },
	},
	{
		[]string{"log_avg_msec", "log_max_value", "log_offset", "log_prio", "log_issue_time", "log_unix_epoch", "log_alternate_epoch"},
		"write_bw_log, write_lat_log, write_iops_log or write_hist_log",
		func(j *Job) bool { return j.Log.BW.On || j.Log.Lat.On || j.Log.IOPS.On || j.Log.Hist.On },
	},
	{[]string{"log_hist_coarseness", "log_hist_msec"}, "write_hist_log", func(j *Job) bool { return j.Log.Hist.On }},
	{[]string{"log_alternate_epoch_clock_id"}, "log_alternate_epoch", func(j *Job) bool { return j.Log.AltEpoch }},
	{[]string{"filename_format"}, "made-up names, but filename is given", func(j *Job) bool { return len(j.Files.Names) == 0 }},
	{[]string{"offset_align"}, "an offset in percent", func(j *Job) bool { return j.Files.Offset.Percent > 0 || j.Files.OffsetStep.Percent > 0 }},
}

func (c *checker) idle() {
	for _, k := range idleKeys {
		if k.used(&c.Job) {
			continue
		}
		for _, key := range k.keys {
			if c.own(key) {
				c.warn("%s has no effect: it needs %s", key, k.needs)
			}
		}
	}
}
