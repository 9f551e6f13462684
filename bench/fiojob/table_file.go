package fiojob

var fileOptions = []Option{
	{
		Name: "filename", Kind: KindList, Rank: late,
		Help: "files, devices or targets, joined by ':'; \"\\:\" is a colon in a name",
		set:  setFilename,
	},
	{
		Name: "directory", Kind: KindList,
		Help: "folder for the files; of several, clones take them in turn",
		set:  listTo(func(j *Job) *[]string { return &j.Files.Directories }),
	},
	{
		Name: "filename_format", Kind: KindString, Rank: late, Default: "$jobname.$jobnum.$filenum",
		Help: "how to make names where none are given: $jobname $jobnum $filenum $clientuid",
		set:  stringTo(func(j *Job) *string { return &j.Files.Format }),
	},
	{
		Name: "unique_filename", Kind: KindBool, Default: "1", Status: Equivalent,
		Note: "it is about clients of a server, which there are none of",
		Help: "put the client's address into made-up names",
	},
	{
		Name: "opendir", Kind: KindString,
		Help: "use every file below this folder",
		set:  stringTo(func(j *Job) *string { return &j.Files.OpenDir }),
	},
	{
		Name: "lockfile", Kind: KindEnum, Rank: early, Default: "none", Status: Refused,
		Note: "files are not locked between jobs: requests run free",
		Help: "lock a file while doing I/O to it",
		Values: []Value{
			{Name: "none", Help: "no locks"}, {Name: "exclusive", Help: "one at a time"}, {Name: "readwrite", Help: "many readers or one writer"},
		},
	},
	{
		Name: "nrfiles", Aliases: []string{"nr_files"}, Kind: KindInt, Min: 1, Max: 1 << 20, Default: "1",
		Help: "how many files to spread the job over",
		set:  intTo(func(j *Job) *int { return &j.Files.Count }),
	},
	{
		Name: "openfiles", Kind: KindInt,
		Help: "how many files to have open at once; all by default",
		set:  intTo(func(j *Job) *int { return &j.Files.Open }),
	},
	{
		Name: "file_service_type", Kind: KindEnum, Tail: true, Default: "roundrobin",
		Help: "which file is next; \":n\" stays for n I/Os, \":shape\" bends a distribution",
		Values: []Value{
			{Name: "random", Code: int(ServiceRandom), Help: "any, evenly"},
			{Name: "roundrobin", Code: int(ServiceRoundRobin), Help: "each in turn"},
			{Name: "sequential", Code: int(ServiceSequential), Help: "one until it is done"},
			{Name: "zipf", Code: int(ServiceZipf), Help: "by Zipf's law"},
			{Name: "pareto", Code: int(ServicePareto), Help: "by Pareto's"},
			{Name: "normal", Code: int(ServiceNormal), Help: "by a bell curve"},
			{Name: "gauss", Code: int(ServiceNormal), Help: "same as normal"},
		},
		set: setFileService,
	},
	{
		Name: "size", Kind: KindAmount,
		Help: "bytes of all files together, and of I/O unless io_size says otherwise; % of what is there, or z zones",
		set:  amountTo(func(j *Job) *Amount { return &j.Files.Size }),
	},
	{
		Name: "io_size", Aliases: []string{"io_limit"}, Kind: KindAmount,
		Help: "bytes of I/O to do within size, more or less than it",
		set:  amountTo(func(j *Job) *Amount { return &j.Files.IOSize }),
	},
	{
		Name: "filesize", Kind: KindSizeRange, Min: 1,
		Help: "size of each file; of a range each takes a random one",
		set:  setFileSize,
	},
	{
		Name: "fill_device", Aliases: []string{"fill_fs"}, Kind: KindBool, Default: "0",
		Help: "write until there is no space left",
		set:  boolTo(func(j *Job) *bool { return &j.Files.FillDevice }),
	},
	{
		Name: "file_append", Kind: KindBool, Default: "0",
		Help: "do I/O behind the end of the files",
		set:  boolTo(func(j *Job) *bool { return &j.Files.Append }),
	},
	{
		Name: "offset", Aliases: []string{"fileoffset"}, Kind: KindAmount, Default: "0",
		Help: "where in a file the job begins; bytes, %, or z zones",
		set:  amountTo(func(j *Job) *Amount { return &j.Files.Offset }),
	},
	{
		Name: "offset_align", Kind: KindInt, Default: "0",
		Help: "round an offset in % up to this; 0: to the smallest block",
		set:  intTo(func(j *Job) *int64 { return &j.Files.OffsetAlign }),
	},
	{
		Name: "offset_increment", Kind: KindAmount, Default: "0",
		Help: "move the offset of each clone on by this",
		set:  amountTo(func(j *Job) *Amount { return &j.Files.OffsetStep }),
	},
	{
		Name: "number_ios", Kind: KindSize, Default: "0",
		Help: "end after so many I/Os; 0: no limit",
		set:  intTo(func(j *Job) *int64 { return &j.Files.NumberIOs }),
	},
	{
		Name: "fallocate", Kind: KindEnum, Default: "native",
		Help: "how space is reserved when files are laid out",
		Values: []Value{
			{Name: "none", Code: int(FallocateNone), Help: "not at all"},
			{Name: "native", Code: int(FallocateNative), Help: "fallocate(2), or not at all where that fails"},
			{Name: "posix", Code: int(FallocatePosix), Help: "posix_fallocate(3)"},
			{Name: "keep", Code: int(FallocateKeep), Help: "fallocate(2) without growing the file"},
			{Name: "truncate", Code: int(FallocateTruncate), Help: "ftruncate(2): a hole"},
			{Name: "0", Code: int(FallocateNone), Help: "same as none"},
			{Name: "1", Code: int(FallocatePosix), Help: "same as posix"},
		},
		set: enumTo(func(j *Job) *Fallocate { return &j.Files.Fallocate }),
	},
	{
		Name: "fadvise_hint", Kind: KindEnum, Default: "1",
		Help: "what posix_fadvise(2) tells the kernel",
		Values: []Value{
			{Name: "0", Code: int(AdviceNone), Help: "nothing"},
			{Name: "1", Code: int(AdvicePattern), Help: "random or sequential, as the job is"},
			{Name: "random", Code: int(AdviceRandom), Help: "random"},
			{Name: "sequential", Code: int(AdviceSequential), Help: "sequential"},
		},
		set: enumTo(func(j *Job) *Advice { return &j.Files.Advice }),
	},
	{
		Name: "write_hint", Kind: KindEnum,
		Help: "how long written data is expected to live",
		Values: []Value{
			{Name: "none", Code: int(HintNone)},
			{Name: "short", Code: int(HintShort)},
			{Name: "medium", Code: int(HintMedium)},
			{Name: "long", Code: int(HintLong)},
			{Name: "extreme", Code: int(HintExtreme)},
		},
		set: enumTo(func(j *Job) *WriteHint { return &j.Files.WriteHint }),
	},
	{
		Name: "overwrite", Kind: KindBool, Default: "0",
		Help: "lay out the whole file before writing to it",
		set:  boolTo(func(j *Job) *bool { return &j.Files.Overwrite }),
	},
	{
		Name: "create_serialize", Kind: KindBool, Default: "1",
		Status: Equivalent,
		Help:   "lay out the files of jobs one after another",
		Note:   "they are always laid out one after another",
	},
	{
		Name: "create_fsync", Kind: KindBool, Default: "1",
		Help: "fsync(2) a file once it is laid out",
		set:  boolTo(func(j *Job) *bool { return &j.Files.CreateFsync }),
	},
	{
		Name: "create_on_open", Kind: KindBool, Default: "0",
		Help: "do not lay out files: create them when they are opened",
		set:  boolTo(func(j *Job) *bool { return &j.Files.CreateOnOpen }),
	},
	{
		Name: "create_only", Kind: KindBool, Default: "0",
		Help: "lay out the files and do nothing else",
		set:  boolTo(func(j *Job) *bool { return &j.Files.CreateOnly }),
	},
	{
		Name: "allow_file_create", Kind: KindBool, Default: "1",
		Help: "create files that are not there; 0: that is an error",
		set:  boolTo(func(j *Job) *bool { return &j.Files.AllowCreate }),
	},
	{
		Name: "allow_mounted_write", Kind: KindBool, Default: "0", Status: Refused,
		Note: "a mounted device is never written to",
		Help: "write to a device although it is mounted",
	},
	{
		Name: "pre_read", Kind: KindBool, Default: "0",
		Help: "read the files into the page cache first; switches invalidate off",
		set:  boolTo(func(j *Job) *bool { return &j.Files.PreRead }),
	},
	{
		Name: "invalidate", Kind: KindBool, Default: "1",
		Help: "drop the files from the page cache first",
		set:  boolTo(func(j *Job) *bool { return &j.Files.Invalidate }),
	},
	{
		Name: "unlink", Kind: KindBool, Default: "0",
		Help: "delete the files at the end",
		set:  boolTo(func(j *Job) *bool { return &j.Files.Unlink }),
	},
	{
		Name: "unlink_each_loop", Kind: KindBool, Default: "0",
		Help: "delete the files after each loop",
		set:  boolTo(func(j *Job) *bool { return &j.Files.UnlinkEachLoop }),
	},
	{
		Name: "ioscheduler", Kind: KindString, Status: Refused,
		Note: "a run does not reconfigure the machine: write to /sys/block/*/queue/scheduler before it",
		Help: "switch the device to this I/O scheduler",
	},
}
