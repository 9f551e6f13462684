package fiojob

import "time"

const cgroupReason = "put the whole run into a control group instead: systemd-run --scope -p IOWeight=…"

var cpuOptions = []Option{
	{
		Name: "cpus_allowed", Kind: KindCPUs,
		Help: "CPUs the job may run on: 0,4-7",
		set:  cpusTo(func(j *Job) *[]int { return &j.CPU.Allowed }),
	},
	{
		Name: "cpumask", Kind: KindInt, Min: 1,
		Help: "the same as a mask: 34 is CPUs 1 and 5",
		set:  setCPUMask,
	},
	{
		Name: "cpus_allowed_policy", Kind: KindEnum, Rank: early,
		Help: "who gets which of them",
		Values: []Value{
			{Name: "shared", Code: 0, Help: "every job all"},
			{Name: "split", Code: 1, Help: "every job one, in turn"},
		},
		set: func(d *draft, v value) error {
			d.CPU.Split = v.choice.Code == 1
			return nil
		},
	},
	{
		Name: "numa_cpu_nodes", Kind: KindSplit,
		Help: "NUMA nodes on whose CPUs the job runs: 0,1-3 or all",
		set:  setNodes,
	},
	{
		Name: "numa_mem_policy", Kind: KindEnum, Tail: true,
		Help: "where its memory is, \":nodes\" after it",
		Values: []Value{
			{Name: "default", Code: int(MemDefault), Help: "as the process has it"},
			{Name: "prefer", Code: int(MemPrefer), Help: "on one node if possible"},
			{Name: "bind", Code: int(MemBind), Help: "on these nodes only"},
			{Name: "interleave", Code: int(MemInterleave), Help: "page by page over nodes"},
			{Name: "local", Code: int(MemLocal), Help: "on the node of the CPU"},
		},
		set: setMemPolicy,
	},
	{
		Name: "nice", Kind: KindInt, Min: -20, Max: 19, Default: "0",
		Help: "CPU priority, from -20 (first) to 19",
		set:  intTo(func(j *Job) *int { return &j.CPU.Nice }),
	},
	{
		Name: "prio", Kind: KindInt, Max: maxPrioLevel,
		Help: "I/O priority, from 0 (first) to 7",
		set:  setPrio,
	},
	{
		Name: "prioclass", Kind: KindInt, Max: maxPrioClass,
		Help: "I/O priority class: 1 real-time, 2 best effort, 3 idle",
		set:  intTo(func(j *Job) *int { return &j.CPU.PrioClass }),
	},
	{
		Name: "priohint", Kind: KindInt, Since: "3.36", Status: Refused,
		Note: "I/O priorities carry no hint",
		Help: "I/O priority hint",
	},
	{
		Name: "cgroup", Kind: KindString, Status: Refused, Note: cgroupReason,
		Help: "control group for the job",
	},
	{
		Name: "cgroup_weight", Kind: KindInt, Min: 100, Max: 1000, Status: Refused, Note: cgroupReason,
		Help: "weight of that group",
	},
	{
		Name: "cgroup_nodelete", Kind: KindBool, Default: "0", Status: Refused, Note: cgroupReason,
		Help: "keep the group",
	},
	{
		Name: "uid", Kind: KindInt, Status: Refused,
		Note: "threads of one process share its user: run the whole as another",
		Help: "run the job as this user",
	},
	{
		Name: "gid", Kind: KindInt, Status: Refused,
		Note: "threads of one process share its group: run the whole as another",
		Help: "run the job as this group",
	},
}

var errorOptions = []Option{
	{
		Name: "continue_on_error", Kind: KindEnum, Default: "none",
		Help: "errors that do not end the job",
		Values: []Value{
			{Name: "none", Help: "none"},
			{Name: "read", Code: continueRead, Help: "of reads"},
			{Name: "write", Code: continueWrite, Help: "of writes"},
			{Name: "io", Code: continueRead | continueWrite, Help: "of reads and writes"},
			{Name: "verify", Code: continueVerify, Help: "bad blocks"},
			{Name: "all", Code: continueRead | continueWrite | continueVerify, Help: "all of these"},
			{Name: "0", Help: "same as none"},
			{Name: "1", Code: continueRead | continueWrite | continueVerify, Help: "same as all"},
		},
		set: setContinue,
	},
	{
		Name: "ignore_error", Kind: KindSplit,
		Help: "errors that do not count: of reads,writes,verification; names or numbers joined by ':'",
		set:  setIgnoreError,
	},
	{
		Name: "error_dump", Kind: KindBool, Default: "0",
		Help: "print every error, not only the one that ends the job",
		set:  boolTo(func(j *Job) *bool { return &j.Errors.Dump }),
	},
}

var reportOptions = []Option{
	{
		Name: "group_reporting", Kind: KindFlag,
		Help: "one report for all jobs of a group",
		set:  boolTo(func(j *Job) *bool { return &j.Report.Group }),
	},
	{
		Name: "stats", Kind: KindBool, Default: "1",
		Help: "report the job; 0: leave it out",
		set:  boolTo(func(j *Job) *bool { return &j.Report.Stats }),
	},
	{
		Name: "unified_rw_reporting", Kind: KindEnum, Default: "none",
		Help: "reads, writes and trims in one",
		Values: []Value{
			{Name: "none", Code: int(UnifiedNone), Help: "apart"},
			{Name: "mixed", Code: int(UnifiedMixed), Help: "together"},
			{Name: "both", Code: int(UnifiedBoth), Help: "both ways"},
			{Name: "0", Code: int(UnifiedNone), Help: "same as none"},
			{Name: "1", Code: int(UnifiedMixed), Help: "same as mixed"},
			{Name: "2", Code: int(UnifiedBoth), Help: "same as both"},
		},
		set: enumTo(func(j *Job) *Unified { return &j.Report.Unified }),
	},
	{
		Name: "percentile_list", Kind: KindFloats, MaxLen: 20, FMax: 100,
		Default: "1:5:10:20:30:40:50:60:70:80:90:95:99:99.5:99.9:99.95:99.99",
		Help:    "percentiles to report",
		set:     setPercentiles,
	},
	{
		Name: "clat_percentiles", Kind: KindBool, Default: "1",
		Help: "report percentiles of completion latency",
		set:  boolTo(func(j *Job) *bool { return &j.Report.Clat }),
	},
	{
		Name: "lat_percentiles", Kind: KindBool, Default: "0",
		Help: "report percentiles of total latency",
		set:  boolTo(func(j *Job) *bool { return &j.Report.Lat }),
	},
	{
		Name: "slat_percentiles", Kind: KindBool, Default: "0",
		Help: "report percentiles of submission latency",
		set:  boolTo(func(j *Job) *bool { return &j.Report.Slat }),
	},
	{
		Name: "significant_figures", Kind: KindInt, Min: 1, Max: 10, Default: "4", Status: Equivalent,
		Note: "the summary has about four figures; JSON has them all",
		Help: "figures of a number in the summary",
		set:  intTo(func(j *Job) *int { return &j.Report.SignificantFigures }),
	},
	{
		Name: "disk_util", Kind: KindBool, Default: "1",
		Help: "report how busy the disks were",
		set:  boolTo(func(j *Job) *bool { return &j.Report.DiskUtil }),
	},
	{
		Name: "gtod_reduce", Kind: KindBool, Default: "0",
		Help: "time nothing but the run as a whole",
		set:  setGTODReduce,
	},
	{
		Name: "disable_lat", Kind: KindBool, Default: "0",
		Help: "do not measure total latency",
		set:  boolTo(func(j *Job) *bool { return &j.Report.DisableLat }),
	},
	{
		Name: "disable_clat", Kind: KindBool, Default: "0",
		Help: "do not measure completion latency",
		set:  boolTo(func(j *Job) *bool { return &j.Report.DisableClat }),
	},
	{
		Name: "disable_slat", Kind: KindBool, Default: "0",
		Help: "do not measure submission latency",
		set:  boolTo(func(j *Job) *bool { return &j.Report.DisableSlat }),
	},
	{
		Name: "disable_bw_measurement", Aliases: []string{"disable_bw"}, Kind: KindBool, Default: "0",
		Help: "do not sample bandwidth",
		set:  boolTo(func(j *Job) *bool { return &j.Report.DisableBW }),
	},
	{
		Name: "bwavgtime", Kind: KindInt, Default: "500",
		Help: "milliseconds of a bandwidth sample",
		set:  millisTo(func(j *Job) *time.Duration { return &j.Report.BWInterval }),
	},
	{
		Name: "iopsavgtime", Kind: KindInt, Default: "500",
		Help: "milliseconds of an IOPS sample",
		set:  millisTo(func(j *Job) *time.Duration { return &j.Report.IOPSInterval }),
	},
	{
		Name: "kb_base", Kind: KindEnum, Rank: early, Default: "1024",
		Help:   "what k means in the keys of this section",
		Values: []Value{{Name: "1024", Code: 1024, Help: "1024"}, {Name: "1000", Code: 1000, Help: "1000"}},
		set: func(d *draft, v value) error {
			d.Report.KBBase = v.choice.Code
			return nil
		},
	},
	{
		Name: "unit_base", Kind: KindEnum, Rank: early,
		Status: Equivalent, Note: "rates are printed in bytes",
		Help:   "unit of rates in reports",
		Values: []Value{{Name: "0", Code: 0, Help: "bytes"}, {Name: "8", Code: 8, Help: "bytes"}, {Name: "1", Code: 1, Help: "bits", Status: Refused, Note: "rates are printed in bytes"}},
		set: func(d *draft, v value) error {
			d.Report.UnitBase = v.choice.Code
			return nil
		},
	},
	{
		Name: "steadystate", Aliases: []string{"ss"}, Kind: KindEnum, Tail: true, Default: "iops_slope:0.01%",
		Help: "what must keep within \":limit\" for a job to be steady",
		Values: []Value{
			{Name: "iops", Code: int(SteadyIOPS), Help: "deviation of IOPS from their mean"},
			{Name: "iops_slope", Code: int(SteadyIOPS) | steadySlope, Help: "slope of IOPS"},
			{Name: "bw", Code: int(SteadyBW), Help: "deviation of bandwidth"},
			{Name: "bw_slope", Code: int(SteadyBW) | steadySlope, Help: "slope of bandwidth"},
			{Name: "lat", Code: int(SteadyLat), Help: "deviation of latency (since fio 3.36)"},
			{Name: "lat_slope", Code: int(SteadyLat) | steadySlope, Help: "slope of latency (since fio 3.36)"},
			{Name: "pts", Code: int(SteadyIOPS) | steadySNIA, Help: "rule of the SNIA test specification: five rounds, range 20 %, slope 10 % (not in fio)"},
		},
		set: setSteady,
	},
	{
		Name: "steadystate_duration", Aliases: []string{"ss_dur"}, Kind: KindTime, Unit: unitSeconds, Default: "0",
		Help: "window in which that is judged; once steady, the job ends. 0: do not look for it",
		set:  timeTo(func(j *Job) *time.Duration { return &j.Steady.Duration }),
	},
	{
		Name: "steadystate_ramp_time", Aliases: []string{"ss_ramp"}, Kind: KindTime, Unit: unitSeconds, Default: "0",
		Help: "time before the first window",
		set:  timeTo(func(j *Job) *time.Duration { return &j.Steady.Ramp }),
	},
	{
		Name: "steadystate_check_interval", Aliases: []string{"ss_interval"}, Kind: KindTime, Unit: unitSeconds, Default: "1", Since: "3.34",
		Help: "length of one measurement in the window",
		set:  timeTo(func(j *Job) *time.Duration { return &j.Steady.Interval }),
	},
	{
		Name: "block_error_percentiles", Kind: KindBool, Default: "0", Status: Refused,
		Note: "there is no histogram of trims to the first error",
		Help: "count trims until a block fails",
	},
}

const gzReason = "logs are not held in memory as a whole, so there is nothing to compress"

var logOptions = []Option{
	{
		Name: "write_bw_log", Kind: KindString, BareOK: true,
		Help: "log bandwidth; the value is the start of the file's name",
		set:  logTo(func(j *Job) *LogFile { return &j.Log.BW }),
	},
	{
		Name: "write_lat_log", Kind: KindString, BareOK: true,
		Help: "log submission, completion and total latency",
		set:  logTo(func(j *Job) *LogFile { return &j.Log.Lat }),
	},
	{
		Name: "write_iops_log", Kind: KindString, BareOK: true,
		Help: "log IOPS",
		set:  logTo(func(j *Job) *LogFile { return &j.Log.IOPS }),
	},
	{
		Name: "write_hist_log", Kind: KindString, BareOK: true,
		Help: "log histograms of completion latency every log_hist_msec",
		set:  logTo(func(j *Job) *LogFile { return &j.Log.Hist }),
	},
	{
		Name: "per_job_logs", Kind: KindBool, Default: "1",
		Help: "one log for each job, with its number in the name",
		set:  boolTo(func(j *Job) *bool { return &j.Log.PerJob }),
	},
	{
		Name: "log_avg_msec", Kind: KindInt, Default: "0",
		Help: "one entry for so many milliseconds; 0: one for each I/O",
		set:  millisTo(func(j *Job) *time.Duration { return &j.Log.Interval }),
	},
	{
		Name: "log_max_value", Aliases: []string{"log_window_value"}, Kind: KindEnum, Default: "avg",
		Help: "what such an entry holds; called log_window_value since fio 3.36",
		Values: []Value{
			{Name: "avg", Code: int(WindowAverage), Help: "the mean"},
			{Name: "max", Code: int(WindowMax), Help: "the largest"},
			{Name: "both", Code: int(WindowBoth), Help: "both"},
			{Name: "0", Code: int(WindowAverage), Help: "same as avg"},
			{Name: "1", Code: int(WindowMax), Help: "same as max"},
		},
		set: enumTo(func(j *Job) *LogWindow { return &j.Log.Window }),
	},
	{
		Name: "log_hist_msec", Kind: KindInt, Default: "0",
		Help: "milliseconds from one logged histogram to the next; 0: none",
		set:  millisTo(func(j *Job) *time.Duration { return &j.Log.HistInterval }),
	},
	{
		Name: "log_hist_coarseness", Kind: KindInt, Max: 6, Default: "0",
		Help: "halve the number of bins this often, from 1216 to 19",
		set:  intTo(func(j *Job) *int { return &j.Log.HistCoarseness }),
	},
	{
		Name: "log_entries", Kind: KindInt, Min: 1024, Max: 1 << 20, Default: "1024", Status: Equivalent,
		Note: "room for entries does not grow during the run",
		Help: "room for entries to start with",
	},
	{
		Name: "log_offset", Kind: KindBool, Default: "0",
		Help: "log offsets, too",
		set:  boolTo(func(j *Job) *bool { return &j.Log.Offset }),
	},
	{
		Name: "log_prio", Kind: KindBool, Default: "0",
		Help: "log I/O priorities as numbers, not only whether they are high",
		set:  boolTo(func(j *Job) *bool { return &j.Log.Prio }),
	},
	{
		Name: "log_issue_time", Kind: KindBool, Default: "0", Since: "3.38",
		Help: "log when each I/O was issued",
		set:  boolTo(func(j *Job) *bool { return &j.Log.IssueTime }),
	},
	{
		Name: "log_unix_epoch", Kind: KindBool,
		Help: "times since 1970, not since the start",
		set:  setUnixEpoch,
	},
	{
		Name: "log_alternate_epoch", Kind: KindBool,
		Help: "times of the clock log_alternate_epoch_clock_id",
		set:  boolTo(func(j *Job) *bool { return &j.Log.AltEpoch }),
	},
	{
		Name: "log_alternate_epoch_clock_id", Kind: KindInt,
		Help: "number of a clock of clock_gettime(2)",
		set:  intTo(func(j *Job) *int { return &j.Log.Clock }),
	},
	{
		Name: "log_compression", Kind: KindInt, Min: 1024, Max: 512 << 20, Status: Equivalent, Note: gzReason,
		Help: "compress logs in pieces of this size while they grow",
	},
	{
		Name: "log_compression_cpus", Kind: KindCPUs, Status: Equivalent, Note: gzReason,
		Help: "CPUs that compress",
	},
	{
		Name: "log_store_compressed", Kind: KindBool, Default: "0", Status: Refused,
		Note: "logs are plain text: compress them afterwards",
		Help: "keep logs compressed on disk",
	},
}
