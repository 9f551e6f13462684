package fiojob

import "golang.org/x/sys/unix"

var rwValues = []Value{
	{Name: "read", Code: int(SeqRead), Help: "read in order"},
	{Name: "write", Code: int(SeqWrite), Help: "write in order"},
	{Name: "trim", Code: int(SeqTrim), Help: "trim in order"},
	{Name: "randread", Code: int(RandRead), Help: "read at random"},
	{Name: "randwrite", Code: int(RandWrite), Help: "write at random"},
	{Name: "randtrim", Code: int(RandTrim), Help: "trim at random"},
	{Name: "rw", Code: int(SeqMixed), Help: "read and write in order"},
	{Name: "readwrite", Code: int(SeqMixed), Help: "same as rw"},
	{Name: "randrw", Code: int(RandMixed), Help: "read and write at random"},
	{Name: "trimwrite", Code: int(TrimWrite), Help: "trim, then write, each block in order"},
	{Name: "randtrimwrite", Code: int(RandTrimWrite), Help: "trim, then write, each block at random"},
}

var ioOptions = []Option{
	{
		Name: "rw", Aliases: []string{"readwrite"}, Kind: KindEnum, Tail: true, Default: "read", Values: rwValues,
		Help: "kind of I/O; \":n\" is I/Os to one offset if random, a step between them if not",
		set:  setRW,
	},
	{
		Name: "rw_sequencer", Kind: KindEnum, Default: "sequential",
		Help: "what rw=rand…:n does until the next random offset",
		Values: []Value{
			{Name: "sequential", Code: int(SequencerSequential), Help: "go on in order"},
			{Name: "identical", Code: int(SequencerIdentical), Help: "stay"},
		},
		set: enumTo(func(j *Job) *Sequencer { return &j.RW.Sequencer }),
	},
	{
		Name: "rwmixread", Kind: KindInt, Max: 100, Default: "50",
		Help: "percentage of reads in a mix",
		set:  setMixRead,
	},
	{
		Name: "rwmixwrite", Kind: KindInt, Max: 100, Default: "50",
		Help: "percentage of writes in a mix; the later of the two keys counts",
		set:  setMixWrite,
	},
	{
		Name: "rwmixcycle", Kind: KindString, Status: Refused,
		Note: "fio has dropped it, too",
		Help: "time between switches in a mix",
	},
	{
		Name: "ioengine", Kind: KindEnum, Tail: true, Values: engineValues,
		Help: "how I/O is issued; without it, the best way there is for the target",
		set:  setEngine,
	},
	{
		Name: "direct", Kind: KindBool, Default: "0",
		Help: "O_DIRECT: past the page cache",
		set:  boolTo(func(j *Job) *bool { return &j.RW.Direct }),
	},
	{
		Name: "buffered", Kind: KindBool,
		Help: "the opposite of direct; the later of the two keys counts",
		set:  setBuffered,
	},
	{
		Name: "atomic", Kind: KindBool, Default: "0", Status: Refused,
		Note: "O_ATOMIC never became part of Linux",
		Help: "atomic direct writes",
	},
	{
		Name: "sync", Kind: KindEnum, Default: "none",
		Help: "open files for synchronous writes",
		Values: []Value{
			{Name: "none", Code: int(SyncNone), Help: "no"},
			{Name: "0", Code: int(SyncNone), Help: "same as none"},
			{Name: "sync", Code: int(SyncFull), Help: "O_SYNC"},
			{Name: "1", Code: int(SyncFull), Help: "same as sync"},
			{Name: "dsync", Code: int(SyncData), Help: "O_DSYNC"},
		},
		set: enumTo(func(j *Job) *SyncIO { return &j.RW.Sync }),
	},
	{
		Name: "fsync", Kind: KindInt, Default: "0",
		Help: "fsync(2) after so many writes; 0: never",
		set:  intTo(func(j *Job) *int { return &j.Sync.Fsync }),
	},
	{
		Name: "fdatasync", Kind: KindInt, Default: "0",
		Help: "fdatasync(2) after so many writes; 0: never",
		set:  intTo(func(j *Job) *int { return &j.Sync.Fdatasync }),
	},
	{
		Name: "sync_file_range", Kind: KindSet,
		Help: "sync_file_range(2) with these flags after \":n\" writes",
		Values: []Value{
			{Name: "wait_before", Code: unix.SYNC_FILE_RANGE_WAIT_BEFORE, Help: "wait for what is being written"},
			{Name: "write", Code: unix.SYNC_FILE_RANGE_WRITE, Help: "start writing"},
			{Name: "wait_after", Code: unix.SYNC_FILE_RANGE_WAIT_AFTER, Help: "wait for that"},
		},
		set: setSyncRange,
	},
	{
		Name: "end_fsync", Kind: KindBool, Default: "0",
		Help: "fsync(2) at the end of the job",
		set:  boolTo(func(j *Job) *bool { return &j.Sync.EndFsync }),
	},
	{
		Name: "fsync_on_close", Kind: KindBool, Default: "0",
		Help: "fsync(2) whenever a file is closed",
		set:  boolTo(func(j *Job) *bool { return &j.Sync.FsyncOnClose }),
	},
	{
		Name: "write_barrier", Kind: KindInt, Default: "0", Status: Refused,
		Note: "Linux has had no write barriers since 2.6.37",
		Help: "make every n-th write a barrier",
	},
	{
		Name: "randrepeat", Kind: KindBool, Default: "1",
		Help: "the same offsets in every run",
		set:  boolTo(func(j *Job) *bool { return &j.Random.Repeat }),
	},
	{
		Name: "allrandrepeat", Kind: KindBool, Default: "0",
		Help: "the same of everything random in every run",
		set:  boolTo(func(j *Job) *bool { return &j.Random.AllRepeat }),
	},
	{
		Name: "randseed", Kind: KindString, Default: "0x89",
		Help: "number that all that is random starts from; overrides randrepeat",
		set:  setSeed,
	},
	{
		Name: "norandommap", Kind: KindFlag,
		Help: "random offsets may repeat before all blocks have had their turn",
		set:  boolTo(func(j *Job) *bool { return &j.Random.NoMap }),
	},
	{
		Name: "softrandommap", Kind: KindBool, Default: "0", Status: Equivalent,
		Note: "covering every block takes no memory here, so there is nothing to fall back from",
		Help: "go on without a map of blocks if there is no memory for it",
	},
	{
		Name: "random_generator", Kind: KindEnum, Default: "tausworthe", Status: Equivalent,
		Note: "there is one generator: a permutation with constant memory and 64-bit range",
		Help: "where random offsets come from",
		Values: []Value{
			{Name: "tausworthe", Code: int(GeneratorTausworthe), Help: "32 bits"},
			{Name: "lfsr", Code: int(GeneratorLFSR), Help: "shift register: each block once"},
			{Name: "tausworthe64", Code: int(GeneratorTausworthe64), Help: "64 bits"},
		},
		set: enumTo(func(j *Job) *Generator { return &j.Random.Generator }),
	},
	{
		Name: "random_distribution", Kind: KindEnum, Tail: true, Default: "random",
		Help: "how random offsets are spread: zipf:theta[:centre], zoned:access/size:…",
		Values: []Value{
			{Name: "random", Code: int(DistRandom), Help: "evenly"},
			{Name: "zipf", Code: int(DistZipf), Help: "by Zipf's law, theta 1.1 unless given"},
			{Name: "pareto", Code: int(DistPareto), Help: "by Pareto's, power 0.2 unless given"},
			{Name: "normal", Code: int(DistNormal), Help: "by a bell curve, deviation in %"},
			{Name: "zoned", Code: int(DistZoned), Help: "% of accesses into % of the file"},
			{Name: "zoned_abs", Code: int(DistZonedAbs), Help: "% of accesses into so many bytes"},
		},
		set: setDistribution,
	},
	{
		Name: "percentage_random", Kind: KindInt, Dirs: 3, Max: 100, Default: "100,100,100",
		Help: "percentage of a random job's I/Os that are random",
		set:  intsTo(func(j *Job) *PerDir[int] { return &j.Random.Percent }),
	},
	{
		Name: "percentage_sequential", Kind: KindString, Status: Refused,
		Note: "fio has dropped it, too: say percentage_random",
		Help: "percentage of a random job's I/Os that are sequential",
	},
	{
		Name: "sprandom", Kind: KindBool, Default: "0", Since: "3.41", Status: Refused,
		Note: "not implemented: precondition with a random write over the whole device",
		Help: "reach a drive's steady state in one pass",
	},
	{
		Name: "num_range", Kind: KindInt, Min: 1, Default: "1", Since: "3.37", Status: Refused,
		Note: "a trim carries one range",
		Help: "ranges in one trim",
	},
}

var blockOptions = []Option{
	{
		Name: "bs", Aliases: []string{"blocksize"}, Kind: KindSize, Dirs: 3, Min: 1, Default: "4096",
		Help: "block size; of reads,writes,trims",
		set:  setBlockSize,
	},
	{
		Name: "bsrange", Aliases: []string{"blocksize_range"}, Kind: KindRange, Dirs: 3, Min: 1,
		Help: "smallest and largest block",
		set:  setBlockRange,
	},
	{
		Name: "bssplit", Kind: KindSplit,
		Help: "block sizes and their percentages: 4k/70:64k/30; of reads,writes,trims",
		set:  setBSSplit,
	},
	{
		Name: "bs_unaligned", Aliases: []string{"blocksize_unaligned"}, Kind: KindFlag,
		Help: "any size in bsrange, not only multiples of the smallest",
		set:  boolTo(func(j *Job) *bool { return &j.Block.Unaligned }),
	},
	{
		Name: "bs_is_seq_rand", Kind: KindBool, Default: "0",
		Help: "the first block size is for sequential I/O, the second for random",
		set:  boolTo(func(j *Job) *bool { return &j.Block.SeqRand }),
	},
	{
		Name: "ba", Aliases: []string{"blockalign"}, Kind: KindSize, Dirs: 3, Min: 1,
		Help: "boundary of random offsets; the smallest block by default",
		set:  intsTo(func(j *Job) *PerDir[int64] { return &j.Block.Align }),
	},
}

var bufferOptions = []Option{
	{
		Name: "zero_buffers", Kind: KindFlag,
		Help: "write zeroes",
		set:  boolTo(func(j *Job) *bool { return &j.Buffer.Zero }),
	},
	{
		Name: "refill_buffers", Kind: KindFlag,
		Help: "new content for every write",
		set:  boolTo(func(j *Job) *bool { return &j.Buffer.Refill }),
	},
	{
		Name: "scramble_buffers", Kind: KindBool, Default: "1",
		Help: "change a little of the content at every write",
		set:  boolTo(func(j *Job) *bool { return &j.Buffer.Scramble }),
	},
	{
		Name: "buffer_pattern", Kind: KindPattern,
		Help: "what to write: 0x…, \"text\", 'file', a decimal number, one after another",
		set:  setBufferPattern,
	},
	{
		Name: "buffer_compress_percentage", Kind: KindInt, Max: 100,
		Help: "how much smaller a compressor would make the content",
		set:  setCompress,
	},
	{
		Name: "buffer_compress_chunk", Kind: KindInt, Default: "512",
		Help: "in pieces of this size; 0: of the block",
		set:  intTo(func(j *Job) *int64 { return &j.Buffer.CompressChunk }),
	},
	{
		Name: "dedupe_percentage", Kind: KindInt, Max: 100,
		Help: "percentage of blocks that repeat an earlier one",
		set:  setDedupe,
	},
	{
		Name: "dedupe_mode", Kind: KindEnum, Default: "repeat",
		Status: Equivalent, Note: "duplicates repeat the last block",
		Help: "which earlier one",
		Values: []Value{
			{Name: "repeat", Help: "the last"},
			{Name: "working_set", Help: "any of a set", Status: Refused, Note: "blocks repeat the last one only"},
		},
		set: func(*draft, value) error { return nil },
	},
	{
		Name: "dedupe_working_set_percentage", Kind: KindInt, Max: 100, Default: "5", Status: Refused,
		Note: "it belongs to dedupe_mode=working_set",
		Help: "size of that set",
	},
	{
		Name: "dedupe_global", Kind: KindBool, Default: "0", Status: Refused,
		Note: "jobs do not share content",
		Help: "jobs repeat each other's blocks",
	},
	{
		Name: "mem", Aliases: []string{"iomem"}, Kind: KindEnum, Tail: true, Default: "malloc",
		Help: "memory that buffers are in",
		Values: []Value{
			{Name: "malloc", Code: int(MemoryPages), Status: Equivalent, Note: memNote},
			{Name: "shm", Code: int(MemoryPages), Status: Equivalent, Note: memNote},
			{Name: "shmhuge", Code: int(MemoryHuge), Help: "huge pages"},
			{Name: "mmap", Code: int(MemoryPages), Status: Equivalent, Note: memNote},
			{Name: "mmapshared", Code: int(MemoryPages), Status: Equivalent, Note: memNote},
			{Name: "mmaphuge", Code: int(MemoryHuge), Help: "huge pages"},
			{Name: "cudamalloc", Status: Refused, Note: "there is no GPU memory here"},
		},
		set: setMemory,
	},
	{
		Name: "iomem_align", Aliases: []string{"mem_align"}, Kind: KindInt, Max: 4096, Pow2: true, Default: "0", Status: Equivalent,
		Note: "every buffer starts at a page",
		Help: "alignment of buffers",
	},
	{
		Name: "hugepage-size", Kind: KindInt, Default: "2097152", Status: Equivalent,
		Note: "the size the kernel has is used",
		Help: "size of a huge page",
	},
	{
		Name: "lockmem", Kind: KindSize, Default: "0", Status: Refused,
		Note: "limit memory with a control group instead: systemd-run --scope -p MemoryMax=…",
		Help: "take so much memory away from the machine",
	},
}

const memNote = "buffers are always anonymous mappings, in huge pages where there are any"
