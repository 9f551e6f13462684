package fiojob

import "time"

var rateOptions = []Option{
	{
		Name: "rate", Kind: KindSize, Dirs: 3,
		Help: "bytes per second, at most; of reads,writes,trims",
		set:  intsTo(func(j *Job) *PerDir[int64] { return &j.Rate.Bytes }),
	},
	{
		Name: "rate_min", Aliases: []string{"ratemin"}, Kind: KindSize, Dirs: 3,
		Help: "bytes per second, at least: below it the job ends in error",
		set:  intsTo(func(j *Job) *PerDir[int64] { return &j.Rate.MinBytes }),
	},
	{
		Name: "rate_iops", Kind: KindInt, Dirs: 3,
		Help: "I/Os per second, at most; of reads,writes,trims",
		set:  intsTo(func(j *Job) *PerDir[int] { return &j.Rate.IOPS }),
	},
	{
		Name: "rate_iops_min", Kind: KindInt, Dirs: 3,
		Help: "I/Os per second, at least: below it the job ends in error",
		set:  intsTo(func(j *Job) *PerDir[int] { return &j.Rate.MinIOPS }),
	},
	{
		Name: "rate_process", Kind: KindEnum, Default: "linear",
		Help: "gaps between requests of a rate",
		Values: []Value{
			{Name: "linear", Code: int(RateLinear), Help: "all the same"},
			{Name: "poisson", Code: int(RatePoisson), Help: "as of independent users"},
		},
		set: enumTo(func(j *Job) *RateProcess { return &j.Rate.Process }),
	},
	{
		Name: "rate_cycle", Aliases: []string{"ratecycle"}, Kind: KindInt, Default: "1000",
		Help: "milliseconds over which the least rate is judged",
		set:  millisTo(func(j *Job) *time.Duration { return &j.Rate.Cycle }),
	},
	{
		Name: "rate_ignore_thinktime", Kind: KindBool,
		Help: "do not catch up on the rate after thinktime",
		set:  boolTo(func(j *Job) *bool { return &j.Rate.IgnoreThink }),
	},
	{
		Name: "thinktime", Kind: KindTime, Unit: unitMicros, Default: "0",
		Help: "idle time after an I/O",
		set:  timeTo(func(j *Job) *time.Duration { return &j.Think.Time }),
	},
	{
		Name: "thinktime_spin", Kind: KindTime, Unit: unitMicros, Default: "0",
		Help: "how much of it is spent computing",
		set:  timeTo(func(j *Job) *time.Duration { return &j.Think.Spin }),
	},
	{
		Name: "thinktime_blocks", Kind: KindInt, Default: "1",
		Help: "I/Os before each thinktime",
		set:  intTo(func(j *Job) *int { return &j.Think.Blocks }),
	},
	{
		Name: "thinktime_blocks_type", Kind: KindEnum, Default: "complete",
		Help: "which I/Os those are",
		Values: []Value{
			{Name: "complete", Code: 1, Help: "completed"},
			{Name: "issue", Code: 0, Help: "submitted"},
		},
		set: func(d *draft, v value) error {
			d.Think.AtEnd = v.choice.Code == 1
			return nil
		},
	},
	{
		Name: "thinktime_iotime", Kind: KindTime, Unit: unitSeconds, Default: "0",
		Help: "or how long I/O goes on before each thinktime",
		set:  timeTo(func(j *Job) *time.Duration { return &j.Think.IOTime }),
	},
	{
		Name: "thinkcycles", Kind: KindInt, Default: "0", Since: "3.36", Status: Refused,
		Note: "cycles are not counted: say thinktime_spin",
		Help: "CPU cycles to spend after an I/O",
	},
}

var latencyOptions = []Option{
	{
		Name: "latency_target", Kind: KindTime, Unit: unitMicros,
		Help: "find the largest depth that keeps this latency",
		set:  timeTo(func(j *Job) *time.Duration { return &j.Latency.Target }),
	},
	{
		Name: "latency_window", Kind: KindTime, Unit: unitMicros,
		Help: "how long each depth is tried",
		set:  timeTo(func(j *Job) *time.Duration { return &j.Latency.Window }),
	},
	{
		Name: "latency_percentile", Kind: KindFloats, MaxLen: 1, FMax: 100, Default: "100",
		Help: "percentage of I/Os that must keep it",
		set:  floatTo(func(j *Job) *float64 { return &j.Latency.Percentile }),
	},
	{
		Name: "latency_run", Kind: KindBool, Default: "0",
		Help: "go on and keep adjusting once it is found",
		set:  boolTo(func(j *Job) *bool { return &j.Latency.Run }),
	},
	{
		Name: "max_latency", Kind: KindTime, Dirs: 3, Unit: unitMicros,
		Help: "end the job in error when an I/O takes longer; of reads,writes,trims",
		set:  timesTo(func(j *Job) *PerDir[time.Duration] { return &j.Latency.Max }),
	},
}
