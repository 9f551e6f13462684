package fiojob

import "time"

const (
	clientReason  = "runs are local: start one on each machine"
	selfReason    = "a test of fio's own parts"
	triggerReason = "commands are not run by a trigger: send SIGINT, which ends the run with a full report"
)

var runOptions = []RunOption{
	{Name: "output", Short: 'o', Arg: "FILE", mode: argRequired, Help: "write the report to FILE", set: runText(func(o *RunOptions) *string { return &o.Output })},
	{Name: "output-format", Short: 'F', Arg: "LIST", mode: argRequired, Help: "normal, terse, json, json+; several joined by ','", set: setFormats},
	{
		Name: "minimal", Short: 'm', mode: argNone, Help: "same as --output-format=terse",
		set: func(o *RunOptions, _ string) error { return setFormats(o, "terse") },
	},
	{
		Name: "append-terse", Short: 'f', mode: argOptional, Help: "terse after the other formats",
		set: func(o *RunOptions, _ string) error {
			if len(o.Formats) == 0 {
				o.Formats = []string{"normal"}
			}
			return addFormat(o, "terse")
		},
	},
	{Name: "terse-version", Short: 'V', Arg: "N", mode: argRequired, Help: "version of the terse format, 2 to 5", set: setTerseVersion},
	{
		Name: "report", Arg: "FILE", mode: argRequired, Ours: true, Help: "write a page with charts to FILE (HTML)",
		set: runText(func(o *RunOptions) *string { return &o.Report }),
	},
	{
		Name: "status-interval", Short: 'L', Arg: "TIME", mode: argRequired, Help: "print the state of the run every TIME",
		set: runTime(func(o *RunOptions) *time.Duration { return &o.StatusInterval }, time.Millisecond),
	},
	{Name: "eta", Short: 'e', Arg: "WHEN", mode: argRequired, Help: "show progress: auto (on a terminal), always, never", set: setETA},
	{
		Name: "eta-interval", Short: 'O', Arg: "TIME", mode: argRequired, Help: "how often, at least 250ms",
		set: runTime(func(o *RunOptions) *time.Duration { return &o.ETAInterval }, 250*time.Millisecond),
	},
	{
		Name: "eta-newline", Short: 'E', Arg: "TIME", mode: argRequired, Help: "start a new line of progress every TIME",
		set: runTime(func(o *RunOptions) *time.Duration { return &o.ETANewline }, time.Millisecond),
	},
	{Name: "bandwidth-log", Short: 'b', mode: argNone, Help: "log the bandwidth of the run as a whole", set: runFlag(func(o *RunOptions) *bool { return &o.BandwidthLog })},
	{Name: "section", Short: 'x', Arg: "NAME", mode: argRequired, Help: "run only the job NAME; may be repeated", set: setSection},
	{Name: "parse-only", Short: 'P', mode: argNone, Help: "check the jobs and stop", set: runFlag(func(o *RunOptions) *bool { return &o.ParseOnly })},
	{Name: "showcmd", Short: 's', mode: argNone, Help: "print the job files as command lines and stop", set: runFlag(func(o *RunOptions) *bool { return &o.ShowCmd })},
	{Name: "lenient", mode: argNone, Ours: true, Help: "ignore keys that are unknown or not supported, with a warning", set: runFlag(func(o *RunOptions) *bool { return &o.Lenient })},
	{Name: "warnings-fatal", Short: 'w', mode: argNone, Help: "a warning is an error", set: runFlag(func(o *RunOptions) *bool { return &o.WarningsFatal })},
	{Name: "readonly", Short: 'r', mode: argNone, Help: "refuse jobs that write or trim", set: runFlag(func(o *RunOptions) *bool { return &o.ReadOnly })},
	{Name: "max-jobs", Short: 'j', Arg: "N", mode: argRequired, Help: "most jobs, clones included", set: setMaxJobs},
	{
		Name: "allow-destroy", Arg: "DEVICE", mode: argRequired, Ours: true, Help: "overwrite DEVICE although it holds data; may be repeated",
		set: runList(func(o *RunOptions) *[]string { return &o.AllowDestroy }),
	},
	{
		Name: "throttle", Arg: "LIMITS", mode: argRequired, Ours: true,
		Help: "limit all targets of the run together: iops-total=1000,bps-write=10M,… (QEMU's throttling options)",
		set:  runText(func(o *RunOptions) *string { return &o.Throttle }),
	},
	{Name: "allow-exec", mode: argNone, Ours: true, Help: "let jobs run commands (exec_prerun, exec_postrun)", set: runFlag(func(o *RunOptions) *bool { return &o.AllowExec })},
	{Name: "allow-include", mode: argNone, Ours: true, Help: "let job files read files outside their folder", set: runFlag(func(o *RunOptions) *bool { return &o.AllowInclude })},
	{Name: "aux-path", Short: 'K', Arg: "DIR", mode: argRequired, Help: "folder for files that keep state", set: runText(func(o *RunOptions) *string { return &o.AuxPath })},
	{Name: "help", Short: 'h', mode: argNone, Help: "print help and stop", set: runFlag(func(o *RunOptions) *bool { return &o.Help })},
	{Name: "version", Short: 'v', mode: argNone, Help: "print the version and stop", set: runFlag(func(o *RunOptions) *bool { return &o.Version })},
	{
		Name: "cmdhelp", Short: 'c', Arg: "KEY", mode: argOptional, Help: "explain a key, or list them: all",
		set: func(o *RunOptions, v string) error {
			o.CmdHelp = orElse(v, "all")
			return nil
		},
	},
	{
		Name: "enghelp", Short: 'i', Arg: "ENGINE[,KEY]", mode: argOptional, Help: "list I/O engines, the keys of one, or explain one of these",
		set: func(o *RunOptions, v string) error {
			o.EngHelp = orElse(v, "list")
			return nil
		},
	},
	{Name: "alloc-size", Short: 'a', Arg: "KB", mode: argRequired, Status: Equivalent, Note: "memory is not taken from a pool", Help: "size of fio's memory pool"},

	{Name: "latency-log", Short: 'l', mode: argRequired, Status: Refused, Note: "fio has dropped it, too: say write_lat_log in the job", Help: "log latencies"},
	{Name: "debug", Short: 'd', mode: argRequired, Status: Refused, Note: "there are no debug categories", Help: "trace fio's own parts"},
	{Name: "profile", Short: 'p', mode: argRequired, Status: Refused, Note: "the profiles tiobench and act are not built in", Help: "run a workload that is built into fio"},
	{Name: "idle-prof", Short: 'I', mode: argRequired, Status: Refused, Note: "CPU time is reported for each job; idle time is not calibrated", Help: "measure idle CPUs"},
	{Name: "client", Short: 'C', mode: argRequired, Status: Refused, Note: clientReason, Help: "run on another machine"},
	{Name: "server", Short: 'S', mode: argOptional, Status: Refused, Note: clientReason, Help: "run what others send"},
	{Name: "daemonize", Short: 'D', mode: argRequired, Status: Refused, Note: clientReason, Help: "run the server in the background"},
	{Name: "remote-config", Short: 'R', mode: argRequired, Status: Refused, Note: clientReason, Help: "job file on the other machine"},
	{Name: "inflate-log", Short: 'X', mode: argRequired, Status: Refused, Note: "logs are not compressed", Help: "print a compressed log"},
	{Name: "merge-blktrace-only", Short: 'A', mode: argNone, Status: Refused, Note: "traces are not merged", Help: "merge traces and stop"},
	{Name: "cpuclock-test", Short: 'T', mode: argNone, Status: Refused, Note: selfReason, Help: "test the CPU's clock"},
	{Name: "crctest", Short: 'G', mode: argOptional, Status: Refused, Note: selfReason, Help: "test checksums"},
	{Name: "memcpytest", Short: 'M', mode: argOptional, Status: Refused, Note: selfReason, Help: "test copying"},
	{Name: "trigger", Short: 'H', mode: argRequired, Status: Refused, Note: triggerReason, Help: "command to run on the trigger"},
	{Name: "trigger-file", Short: 'W', mode: argRequired, Status: Refused, Note: triggerReason, Help: "file whose coming is the trigger"},
	{Name: "trigger-timeout", Short: 'B', mode: argRequired, Status: Refused, Note: triggerReason, Help: "time of the trigger"},
	{Name: "trigger-remote", Short: 'J', mode: argRequired, Status: Refused, Note: triggerReason, Help: "command for the other machine"},
}

func orElse(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// runByName and runByShort index the table.
var runByName, runByShort = indexRunOptions()

func indexRunOptions() (map[string]*RunOption, map[byte]*RunOption) {
	names, shorts := map[string]*RunOption{}, map[byte]*RunOption{}
	for i := range runOptions {
		o := &runOptions[i]
		names[o.Name] = o
		if o.Short != 0 {
			shorts[o.Short] = o
		}
	}
	return names, shorts
}
