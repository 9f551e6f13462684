package fiojob

const trimVerifyReason = "blocks that are verified are not trimmed in between: run a job with rw=trim"

var verifyOptions = []Option{
	{
		Name: "verify", Kind: KindEnum, Default: "0",
		Help: "how written blocks are checked",
		Values: []Value{
			{Name: "0", Code: int(VerifyNone), Help: "not at all"},
			{Name: "md5", Code: int(VerifyMD5)},
			{Name: "crc64", Code: int(VerifyCRC64)},
			{Name: "crc32", Code: int(VerifyCRC32)},
			{Name: "crc32c-intel", Code: int(VerifyCRC32C), Help: "same as crc32c"},
			{Name: "crc32c", Code: int(VerifyCRC32C), Help: "the cheapest that is good"},
			{Name: "crc16", Code: int(VerifyCRC16)},
			{Name: "crc7", Code: int(VerifyCRC7)},
			{Name: "sha1", Code: int(VerifySHA1)},
			{Name: "sha256", Code: int(VerifySHA256)},
			{Name: "sha512", Code: int(VerifySHA512)},
			{Name: "sha3-224", Code: int(VerifySHA3x224)},
			{Name: "sha3-256", Code: int(VerifySHA3x256)},
			{Name: "sha3-384", Code: int(VerifySHA3x384)},
			{Name: "sha3-512", Code: int(VerifySHA3x512)},
			{Name: "xxhash", Code: int(VerifyXXHash), Help: "64 bits"},
			{Name: "meta", Code: int(VerifyMeta), Help: "only where the block belongs and when it was written"},
			{Name: "pattern", Code: int(VerifyPattern), Help: "only verify_pattern, without a header"},
			{Name: "null", Code: int(VerifyNull), Help: "go through the motions"},
		},
		set: enumTo(func(j *Job) *VerifyKind { return &j.Verify.Kind }),
	},
	{
		Name: "do_verify", Kind: KindBool, Default: "1",
		Help: "read back and check after writing",
		set:  boolTo(func(j *Job) *bool { return &j.Verify.Do }),
	},
	{
		Name: "verify_only", Kind: KindFlag,
		Help: "do not write: check what an earlier run of the job wrote",
		set:  boolTo(func(j *Job) *bool { return &j.Verify.Only }),
	},
	{
		Name: "verify_interval", Kind: KindInt, Min: 80,
		Help: "bytes from one header to the next; a block by default",
		set:  intTo(func(j *Job) *int64 { return &j.Verify.Interval }),
	},
	{
		Name: "verify_offset", Kind: KindInt, Min: 40,
		Help: "where in a block the header is",
		set:  intTo(func(j *Job) *int64 { return &j.Verify.Offset }),
	},
	{
		Name: "verify_pattern", Kind: KindPattern,
		Help: "what blocks are filled with, as buffer_pattern, and %o for their offset",
		set:  setVerifyPattern,
	},
	{
		Name: "verify_pattern_interval", Kind: KindSize, Since: "3.39", Status: Refused,
		Note: "%o is the offset of the block",
		Help: "let %o count in steps of this within a block",
	},
	{
		Name: "verify_fatal", Kind: KindBool, Default: "0",
		Help: "end the job at the first bad block",
		set:  boolTo(func(j *Job) *bool { return &j.Verify.Fatal }),
	},
	{
		Name: "verify_dump", Kind: KindBool, Default: "0",
		Help: "write bad blocks, and what they should be, to files",
		set:  boolTo(func(j *Job) *bool { return &j.Verify.Dump }),
	},
	{
		Name: "verify_async", Kind: KindInt, Max: 1024, Default: "0",
		Help: "threads that check; 0: the job's own",
		set:  intTo(func(j *Job) *int { return &j.Verify.Async }),
	},
	{
		Name: "verify_async_cpus", Kind: KindCPUs,
		Help: "CPUs for them",
		set:  cpusTo(func(j *Job) *[]int { return &j.Verify.AsyncCPUs }),
	},
	{
		Name: "verify_backlog", Kind: KindSize,
		Help: "check after this many blocks, not only at the end",
		set:  intTo(func(j *Job) *int64 { return &j.Verify.Backlog }),
	},
	{
		Name: "verify_backlog_batch", Kind: KindInt,
		Help: "how many to check then; verify_backlog by default",
		set:  intTo(func(j *Job) *int64 { return &j.Verify.BacklogBatch }),
	},
	{
		Name: "verify_state_load", Kind: KindBool,
		Help: "check only as far as an interrupted run came",
		set:  boolTo(func(j *Job) *bool { return &j.Verify.LoadState }),
	},
	{
		Name: "verify_state_save", Kind: KindBool, Default: "1",
		Help: "when interrupted, remember how far writing came",
		set:  boolTo(func(j *Job) *bool { return &j.Verify.SaveState }),
	},
	{
		Name: "verify_write_sequence", Kind: KindBool, Default: "1", Since: "3.39",
		Help: "check that a block is from the last time it was written",
		set:  boolTo(func(j *Job) *bool { return &j.Verify.CheckWrite }),
	},
	{
		Name: "verify_header_seed", Kind: KindBool, Default: "1", Since: "3.39",
		Help: "check that a block is from a job with this seed",
		set:  boolTo(func(j *Job) *bool { return &j.Verify.CheckSeed }),
	},
	{
		Name: "experimental_verify", Kind: KindBool, Status: Equivalent,
		Note: "the sequence of offsets is always computed again, not remembered",
		Help: "verify without a list of what was written",
	},
	{
		Name: "verifysort", Kind: KindString, Status: Equivalent,
		Note: "fio accepts it and does not use it either",
		Help: "verify in order of offsets",
	},
	{
		Name: "verifysort_nr", Kind: KindString, Status: Equivalent,
		Note: "fio accepts it and does not use it either",
		Help: "how many blocks to sort",
	},
	{
		Name: "trim_percentage", Kind: KindInt, Max: 100, Default: "0", Status: Refused, Note: trimVerifyReason,
		Help: "percentage of verified blocks to trim",
	},
	{
		Name: "trim_verify_zero", Kind: KindBool, Default: "1", Status: Refused, Note: trimVerifyReason,
		Help: "check that trimmed blocks read as zeroes",
	},
	{
		Name: "trim_backlog", Kind: KindSize, Status: Refused, Note: trimVerifyReason,
		Help: "trim after this many blocks",
	},
	{
		Name: "trim_backlog_batch", Kind: KindInt, Status: Refused, Note: trimVerifyReason,
		Help: "how many to trim then",
	},
}

const mergeReason = "traces are not merged: merge them with fio --merge-blktrace-only first"

var replayOptions = []Option{
	{
		Name: "read_iolog", Kind: KindList,
		Help: "play this trace (fio's log, version 2 or 3); of several, clones take them in turn",
		set:  listTo(func(j *Job) *[]string { return &j.Replay.Logs }),
	},
	{
		Name: "read_iolog_chunked", Kind: KindBool, Default: "0", Status: Equivalent,
		Note: "a trace is never read as a whole",
		Help: "read the trace in pieces",
	},
	{
		Name: "replay_no_stall", Kind: KindBool, Default: "0",
		Help: "as fast as possible, not at the recorded times",
		set:  boolTo(func(j *Job) *bool { return &j.Replay.NoStall }),
	},
	{
		Name: "replay_redirect", Kind: KindString,
		Help: "play onto this device, whatever the trace names",
		set:  stringTo(func(j *Job) *string { return &j.Replay.Redirect }),
	},
	{
		Name: "replay_scale", Kind: KindInt, Min: 1, Default: "1",
		Help: "divide offsets by this",
		set:  intTo(func(j *Job) *int64 { return &j.Replay.Scale }),
	},
	{
		Name: "replay_align", Kind: KindInt, Min: 1, Pow2: true,
		Help: "round offsets to this",
		set:  intTo(func(j *Job) *int64 { return &j.Replay.Align }),
	},
	{
		Name: "replay_time_scale", Kind: KindInt, Min: 1, Default: "100",
		Help: "percentage of the recorded pace",
		set:  intTo(func(j *Job) *int { return &j.Replay.TimeScale }),
	},
	{
		Name: "replay_skip", Kind: KindSplit,
		Help: "kinds of I/O to leave out: read,write,trim,sync",
		set:  setReplaySkip,
	},
	{
		Name: "write_iolog", Kind: KindString, Status: Refused,
		Note: "traces are not recorded yet",
		Help: "write a trace of what the job does",
	},
	{
		Name: "merge_blktrace_file", Kind: KindString, Status: Refused, Note: mergeReason,
		Help: "merge the traces into this file",
	},
	{
		Name: "merge_blktrace_scalars", Kind: KindString, Status: Refused, Note: mergeReason,
		Help: "pace of each trace in percent",
	},
	{
		Name: "merge_blktrace_iters", Kind: KindString, Status: Refused, Note: mergeReason,
		Help: "rounds of each trace",
	},
}

const zbdReason = "zoned devices are not driven yet: zones are neither reported nor reset"

var zoneOptions = []Option{
	{
		Name: "zonemode", Kind: KindEnum, Default: "none",
		Help: "what the other zone keys mean",
		Values: []Value{
			{Name: "none", Code: int(ZoneNone), Help: "nothing"},
			{Name: "strided", Code: int(ZoneStrided), Help: "zonesize bytes of I/O in each zone, then on to the next"},
			{Name: "zbd", Code: int(ZoneZBD), Help: "zones of a zoned block device", Status: Refused, Note: zbdReason},
		},
		set: enumTo(func(j *Job) *ZoneMode { return &j.Zone.Mode }),
	},
	{
		Name: "zonesize", Kind: KindSize, Default: "0",
		Help: "bytes of I/O in a zone",
		set:  intTo(func(j *Job) *int64 { return &j.Zone.Size }),
	},
	{
		Name: "zonerange", Kind: KindSize, Default: "0",
		Help: "bytes a zone is long; zonesize by default",
		set:  intTo(func(j *Job) *int64 { return &j.Zone.Range }),
	},
	{
		Name: "zoneskip", Kind: KindAmount, Default: "0",
		Help: "bytes between zones",
		set:  amountTo(func(j *Job) *Amount { return &j.Zone.Skip }),
	},
	{
		Name: "zonecapacity", Kind: KindSize, Default: "0", Status: Refused, Note: zbdReason,
		Help: "bytes of a zone that can be written",
	},
	{
		Name: "read_beyond_wp", Kind: KindBool, Default: "0", Status: Refused, Note: zbdReason,
		Help: "read where nothing has been written",
	},
	{
		Name: "max_open_zones", Kind: KindInt, Max: 4096, Default: "0", Status: Refused, Note: zbdReason,
		Help: "zones that are written at once, by all jobs",
	},
	{
		Name: "job_max_open_zones", Kind: KindInt, Max: 4096, Default: "0", Status: Refused, Note: zbdReason,
		Help: "zones that are written at once, by one job",
	},
	{
		Name: "ignore_zone_limits", Kind: KindBool, Default: "0", Status: Refused, Note: zbdReason,
		Help: "go beyond what the device says it can",
	},
	{
		Name: "zone_reset_threshold", Kind: KindFloats, MaxLen: 1, FMax: 1, Status: Refused, Note: zbdReason,
		Help: "share of written blocks from which on zones are reset",
	},
	{
		Name: "zone_reset_frequency", Kind: KindFloats, MaxLen: 1, FMax: 1, Status: Refused, Note: zbdReason,
		Help: "resets for each write then",
	},
	{
		Name: "write_zone_remainder", Kind: KindBool, Default: "0", Since: "3.37", Status: Refused, Note: zbdReason,
		Help: "write the rest of a zone that is smaller than a block",
	},
	{
		Name: "recover_zbd_write_error", Kind: KindBool, Default: "0", Since: "3.40", Status: Refused, Note: zbdReason,
		Help: "go on behind the write pointer after an error",
	},
}
