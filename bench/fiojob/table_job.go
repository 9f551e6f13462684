package fiojob

import "time"

var jobOptions = []Option{
	{
		Name: "description", Kind: KindString,
		Help: "text that goes into the report with the job",
		set:  stringTo(func(j *Job) *string { return &j.Description }),
	},
	{
		Name: "name", Kind: KindString,
		Help: "name of the job; on a command line it starts a new one",
		set:  stringTo(func(j *Job) *string { return &j.Name }),
	},
	{
		Name: "numjobs", Kind: KindInt, Min: 1, Default: "1",
		Help: "how many clones of the job run side by side",
		set:  intTo(func(j *Job) *int { return &j.NumJobs }),
	},
	{
		Name: "thread", Kind: KindFlag, Status: Equivalent,
		Note: "jobs are always threads of one process",
		Help: "run the job as a thread, not as a process",
	},
	{
		Name: "stonewall", Aliases: []string{"wait_for_previous"}, Kind: KindFlag,
		Help: "wait for all earlier jobs to end before starting; starts a reporting group",
		set:  boolTo(func(j *Job) *bool { return &j.Order.Stonewall }),
	},
	{
		Name: "new_group", Kind: KindFlag,
		Help: "start a reporting group",
		set:  boolTo(func(j *Job) *bool { return &j.Order.NewGroup }),
	},
	{
		Name: "wait_for", Kind: KindString,
		Help: "name of an earlier job whose clones must all have ended before this one starts",
		set:  stringTo(func(j *Job) *string { return &j.Order.WaitFor }),
	},
	{
		Name: "exitall", Kind: KindFlag,
		Help: "when this job ends, end the others that exit_what says",
		set:  boolTo(func(j *Job) *bool { return &j.Order.ExitAll }),
	},
	{
		Name: "exit_what", Kind: KindEnum, Default: "group",
		Help: "what exitall ends",
		Values: []Value{
			{Name: "group", Code: int(ExitGroup), Help: "the jobs of the same group"},
			{Name: "stonewall", Code: int(ExitStonewall), Help: "all running jobs; the run goes on after the next stonewall"},
			{Name: "all", Code: int(ExitEverything), Help: "the whole run"},
		},
		set: enumTo(func(j *Job) *ExitWhat { return &j.Order.ExitWhat }),
	},
	{
		Name: "exitall_on_error", Kind: KindFlag,
		Help: "end all jobs when this one fails",
		set:  boolTo(func(j *Job) *bool { return &j.Order.ExitAllOnError }),
	},
	{
		Name: "exec_prerun", Kind: KindString,
		Help: "shell command to run before the job; only with --allow-exec",
		set:  execTo(func(j *Job) *string { return &j.Order.PreRun }),
	},
	{
		Name: "exec_postrun", Kind: KindString,
		Help: "shell command to run after the job; only with --allow-exec",
		set:  execTo(func(j *Job) *string { return &j.Order.PostRun }),
	},
	{
		Name: "flow_id", Kind: KindInt, Default: "0",
		Help: "which flow the job takes part in",
		set:  intTo(func(j *Job) *int { return &j.Flow.ID }),
	},
	{
		Name: "flow", Kind: KindInt, Max: 1000, Default: "0",
		Help: "share of this job among those of the same flow; 0: none",
		set:  intTo(func(j *Job) *int { return &j.Flow.Weight }),
	},
	{
		Name: "flow_sleep", Kind: KindInt, Default: "0",
		Help: "microseconds to wait once ahead of the others of the flow",
		set: func(d *draft, v value) error {
			d.Flow.Sleep = time.Duration(v.ints[0]) * time.Microsecond
			return nil
		},
	},
	{
		Name: "flow_watermark", Kind: KindString, Status: Equivalent,
		Note: "fio accepts it and does not use it either",
		Help: "how far a flow may get out of balance",
	},
}

var timeOptions = []Option{
	{
		Name: "runtime", Aliases: []string{"timeout"}, Kind: KindTime, Unit: unitSeconds, Default: "0",
		Help: "end the job after this time at the latest; 0: no limit",
		set:  timeTo(func(j *Job) *time.Duration { return &j.Time.Runtime }),
	},
	{
		Name: "time_based", Kind: KindFlag,
		Help: "start again at the end of the files until runtime is over",
		set:  boolTo(func(j *Job) *bool { return &j.Time.TimeBased }),
	},
	{
		Name: "ramp_time", Kind: KindTime, Unit: unitSeconds,
		Help: "run this long before anything is measured",
		set:  timeTo(func(j *Job) *time.Duration { return &j.Time.Ramp }),
	},
	{
		Name: "startdelay", Kind: KindTimeRange, Unit: unitSeconds, Default: "0",
		Help: "start this much later; of a range each clone takes a random point",
		set:  spanTo(func(j *Job) *Span { return &j.Time.StartDelay }),
	},
	{
		Name: "loops", Kind: KindInt, Default: "1",
		Help: "how many times to run the workload",
		set:  intTo(func(j *Job) *int { return &j.Time.Loops }),
	},
	{
		Name: "clocksource", Kind: KindEnum, Status: Equivalent,
		Note: "time is always the monotonic clock, read without a system call",
		Help: "clock that requests are timed with",
		Values: []Value{
			{Name: "gettimeofday"}, {Name: "clock_gettime"}, {Name: "cpu"},
		},
	},
	{
		Name: "gtod_cpu", Kind: KindInt, Status: Equivalent,
		Note: "reading the clock is cheap enough; no CPU is set aside for it",
		Help: "CPU that does nothing but read the clock",
	},
}

var depthOptions = []Option{
	{
		Name: "iodepth", Kind: KindInt, Min: 1, Max: 1 << 20, Default: "1",
		Help: "requests in flight",
		set:  intTo(func(j *Job) *int { return &j.Depth.IODepth }),
	},
	{
		Name: "iodepth_batch", Aliases: []string{"iodepth_batch_submit"}, Kind: KindInt, Default: "1",
		Help: "requests submitted at once; 0: iodepth",
		set:  intTo(func(j *Job) *int { return &j.Depth.Batch }),
	},
	{
		Name: "iodepth_batch_complete_min", Aliases: []string{"iodepth_batch_complete"}, Kind: KindInt, Default: "1",
		Help: "completions to wait for at least; 0: only look",
		set:  intTo(func(j *Job) *int { return &j.Depth.CompleteMin }),
	},
	{
		Name: "iodepth_batch_complete_max", Kind: KindInt,
		Help: "completions to take at most; as large as the least by default",
		set:  intTo(func(j *Job) *int { return &j.Depth.CompleteMax }),
	},
	{
		Name: "iodepth_low", Kind: KindInt,
		Help: "let the queue drain to this before filling it again; iodepth by default",
		set:  intTo(func(j *Job) *int { return &j.Depth.Low }),
	},
	{
		Name: "serialize_overlap", Kind: KindBool, Default: "0",
		Help: "hold back a request that overlaps one in flight",
		set:  boolTo(func(j *Job) *bool { return &j.Depth.Serialize }),
	},
	{
		Name: "io_submit_mode", Kind: KindEnum, Default: "inline",
		Help: "who submits requests",
		Values: []Value{
			{Name: "inline", Help: "the job's own thread"},
			{
				Name: "offload", Help: "threads of their own", Status: Equivalent,
				Note: "a job with a rate is measured from the intended start of each request anyway, so completions do not hold back the clock",
			},
		},
		set: func(*draft, value) error { return nil },
	},
}
