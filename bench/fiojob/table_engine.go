package fiojob

// Engines by what has their options.
var (
	uringEngines  = []string{"io_uring", "io_uring_cmd"}
	cmdEngines    = []string{"io_uring_cmd", "xnvme"}
	nowaitEngines = []string{"io_uring", "io_uring_cmd", "libaio", "pvsync2"}
	prioEngines   = []string{"io_uring", "io_uring_cmd", "libaio"}
)

const (
	asUring   = "done by io_uring"
	asThreads = "done with pread(2) and pwrite(2), one at a time"
	noEngine  = "not a way to measure storage, or one without a driver here"
)

// engineValues are the I/O engines of fio, and of ours those it has not.
var engineValues = []Value{
	{Name: "io_uring", Code: int(EngineUring), Help: "io_uring(7)"},
	{Name: "io_uring_cmd", Code: int(EngineUringCmd), Help: "NVMe commands through io_uring, on /dev/ng*"},
	{Name: "libaio", Code: int(EngineUring), Status: Equivalent, Note: asUring, Help: "the kernel's older asynchronous I/O"},
	{Name: "posixaio", Code: int(EngineUring), Status: Equivalent, Note: asUring, Help: "aio_read(3)"},
	{Name: "psync", Code: int(EngineThreads), Help: "pread(2) and pwrite(2)"},
	{Name: "sync", Code: int(EngineThreads), Status: Equivalent, Note: asThreads, Help: "lseek(2), read(2), write(2)"},
	{Name: "vsync", Code: int(EngineThreads), Status: Equivalent, Note: asThreads, Help: "readv(2), writev(2)"},
	{Name: "pvsync", Code: int(EngineThreads), Status: Equivalent, Note: asThreads, Help: "preadv(2), pwritev(2)"},
	{Name: "pvsync2", Code: int(EngineThreads), Help: "preadv2(2), pwritev2(2)"},
	{Name: "null", Code: int(EngineNull), Help: "nothing is done: the cost of the program itself"},
	{Name: "cpp_null", Code: int(EngineNull), Status: Equivalent, Note: "same as null", Help: "fio's example of an engine in C++"},
	{Name: "nbd", Code: int(EngineNBD), Help: "the server of uri="},
	{Name: "nvme", Code: int(EngineNVMe), Help: "NVMe from userspace, by vfio (not in fio)"},
	{Name: "spdk", Code: int(EngineNVMe), Status: Equivalent, Note: "done by our own NVMe driver", Help: "SPDK's engine for NVMe"},
	{Name: "spdk_nvme", Code: int(EngineNVMe), Status: Equivalent, Note: "done by our own NVMe driver", Help: "SPDK's engine for NVMe"},
	{Name: "libiscsi", Code: int(EngineTarget), Status: Equivalent, Note: "done by our own driver for iscsi://", Help: "iSCSI"},
	{Name: "external", Status: Refused, Note: "engines are not loaded from files", Help: "engine from a shared object"},
	{Name: "xnvme", Status: Refused, Note: "say ioengine=nvme, io_uring_cmd or io_uring", Help: "xNVMe"},
	{Name: "libblkio", Status: Refused, Note: "name the target: a path, nvme://, nbd://", Help: "libblkio"},
	{Name: "mmap", Status: Refused, Note: "page faults are not I/O requests: they cannot be timed or queued here", Help: "memory mapped files"},
	{Name: "splice", Status: Refused, Note: noEngine, Help: "splice(2)"},
	{Name: "sg", Status: Refused, Note: "SCSI generic devices are not driven: use the block device", Help: "SG_IO"},
	{Name: "net", Status: Refused, Note: noEngine, Help: "sockets"},
	{Name: "netsplice", Status: Refused, Note: noEngine, Help: "sockets and splice(2)"},
	{Name: "cpuio", Status: Refused, Note: noEngine, Help: "burns CPU time"},
	{Name: "rdma", Status: Refused, Note: noEngine, Help: "RDMA"},
	{Name: "librpma_apm_client", Status: Refused, Note: noEngine, Help: "persistent memory by RDMA"},
	{Name: "librpma_apm_server", Status: Refused, Note: noEngine, Help: "persistent memory by RDMA"},
	{Name: "librpma_gpspm_client", Status: Refused, Note: noEngine, Help: "persistent memory by RDMA"},
	{Name: "librpma_gpspm_server", Status: Refused, Note: noEngine, Help: "persistent memory by RDMA"},
	{Name: "falloc", Status: Refused, Note: noEngine, Help: "fallocate(2) for I/O"},
	{Name: "ftruncate", Status: Refused, Note: noEngine, Help: "ftruncate(2) for I/O"},
	{Name: "filecreate", Status: Refused, Note: noEngine, Help: "creates files"},
	{Name: "filestat", Status: Refused, Note: noEngine, Help: "stat(2)"},
	{Name: "filedelete", Status: Refused, Note: noEngine, Help: "unlink(2)"},
	{Name: "dircreate", Status: Refused, Note: noEngine, Help: "mkdir(2)"},
	{Name: "dirstat", Status: Refused, Note: noEngine, Help: "stat(2) of folders"},
	{Name: "dirdelete", Status: Refused, Note: noEngine, Help: "rmdir(2)"},
	{Name: "e4defrag", Status: Refused, Note: noEngine, Help: "moves ext4 extents"},
	{Name: "exec", Status: Refused, Note: "programs are not run: start it beside the run", Help: "runs a program"},
	{Name: "gfapi", Status: Refused, Note: "name the target: filename=gluster://HOST/VOLUME/PATH", Help: "GlusterFS"},
	{Name: "gfapi_async", Status: Refused, Note: "name the target: filename=gluster://HOST/VOLUME/PATH", Help: "GlusterFS"},
	{Name: "rados", Status: Refused, Note: noEngine, Help: "Ceph objects"},
	{Name: "rbd", Status: Refused, Note: noEngine, Help: "Ceph block device"},
	{Name: "http", Status: Refused, Note: noEngine, Help: "WebDAV, S3, Swift"},
	{Name: "nfs", Status: Refused, Note: noEngine, Help: "libnfs"},
	{Name: "dfs", Status: Refused, Note: noEngine, Help: "DAOS"},
	{Name: "libhdfs", Status: Refused, Note: noEngine, Help: "HDFS"},
	{Name: "libcufile", Status: Refused, Note: noEngine, Help: "GPUDirect Storage"},
	{Name: "libzbc", Status: Refused, Note: zbdReason, Help: "libzbc"},
	{Name: "mtd", Status: Refused, Note: noEngine, Help: "raw flash"},
	{Name: "pmemblk", Status: Refused, Note: noEngine, Help: "persistent memory"},
	{Name: "libpmem", Status: Refused, Note: noEngine, Help: "persistent memory"},
	{Name: "dev-dax", Status: Refused, Note: noEngine, Help: "persistent memory"},
	{Name: "ime_psync", Status: Refused, Note: noEngine, Help: "Infinite Memory Engine"},
	{Name: "ime_psyncv", Status: Refused, Note: noEngine, Help: "Infinite Memory Engine"},
	{Name: "ime_aio", Status: Refused, Note: noEngine, Help: "Infinite Memory Engine"},
	{Name: "guasi", Status: Refused, Note: "fio has dropped it, too"},
	{Name: "solarisaio", Status: Refused, Note: "not on Linux"},
	{Name: "windowsaio", Status: Refused, Note: "not on Linux"},
}

const (
	fdpReason  = "data placement is not passed to the device yet"
	piReason   = "metadata and protection information are not passed to the device yet"
	prioReason = "requests of a job all have one priority: say prio and prioclass"
	nvmeReason = "writes are ordinary NVMe writes"
)

var engineOptions = []Option{
	{
		Name: "hipri", Kind: KindFlag, Engines: []string{"io_uring", "io_uring_cmd", "pvsync2"},
		Help: "poll the device for completions instead of interrupts",
		set:  boolTo(func(j *Job) *bool { return &j.Engine.HiPri }),
	},
	{
		Name: "hipri_percentage", Kind: KindInt, Max: 100, Default: "100", Engines: []string{"pvsync2"}, Status: Refused,
		Note: "a job polls for all its requests or for none",
		Help: "for this percentage of requests",
	},
	{
		Name: "fixedbufs", Kind: KindFlag, Engines: uringEngines,
		Help: "register buffers with the kernel",
		set:  boolTo(func(j *Job) *bool { return &j.Engine.FixedBufs }),
	},
	{
		Name: "registerfiles", Kind: KindFlag, Engines: uringEngines,
		Help: "register files with the kernel",
		set:  boolTo(func(j *Job) *bool { return &j.Engine.RegisterFiles }),
	},
	{
		Name: "sqthread_poll", Kind: KindFlag, Engines: uringEngines,
		Help: "a kernel thread takes requests, without a system call",
		set:  boolTo(func(j *Job) *bool { return &j.Engine.SQPoll }),
	},
	{
		Name: "sqthread_poll_cpu", Kind: KindInt, Max: maxCPU, Engines: uringEngines,
		Help: "CPU for that thread",
		set:  intTo(func(j *Job) *int { return &j.Engine.SQPollCPU }),
	},
	{
		Name: "nonvectored", Kind: KindInt, Min: -1, Max: 1, Default: "-1", Engines: uringEngines, Status: Equivalent,
		Note: "requests are never vectored",
		Help: "plain reads and writes, not vectored ones",
	},
	{
		Name: "uncached", Kind: KindInt, Max: 1, Engines: []string{"io_uring", "io_uring_cmd", "pvsync2"},
		Help: "drop what is read or written from the page cache at once (RWF_DONTCACHE)",
		set:  boolTo(func(j *Job) *bool { return &j.Engine.Uncached }),
	},
	{
		Name: "nowait", Kind: KindBool, Engines: nowaitEngines,
		Help: "RWF_NOWAIT: fail rather than wait; use with ignore_error=EAGAIN",
		set:  boolTo(func(j *Job) *bool { return &j.Engine.NoWait }),
	},
	{
		Name: "force_async", Kind: KindInt, Engines: uringEngines,
		Help: "hand every n-th request to a kernel worker",
		set:  intTo(func(j *Job) *int { return &j.Engine.ForceAsync }),
	},
	{
		Name: "cmd_type", Kind: KindEnum, Default: "nvme", Engines: uringEngines,
		Status: Equivalent, Note: "pass-through commands are NVMe ones",
		Help:   "kind of pass-through command",
		Values: []Value{{Name: "nvme", Code: int(CmdNVMe), Help: "NVMe"}},
		set:    enumTo(func(j *Job) *CmdType { return &j.Engine.CmdType }),
	},
	{
		Name: "userspace_reap", Kind: KindFlag, Engines: []string{"libaio"}, Status: Equivalent,
		Note: "completions are read from a ring in memory anyway",
		Help: "take completions without a system call",
	},
	{
		Name: "uri", Kind: KindString, Engines: []string{"nbd"},
		Help: "server and export: nbd://host/export, nbd+unix:///?socket=/path",
		set:  stringTo(func(j *Job) *string { return &j.Engine.URI }),
	},
	{
		Name: "initiator", Kind: KindString, Engines: []string{"libiscsi"}, Status: Refused,
		Note: "put it into the target: driver=iscsi,…,initiator-name=IQN",
		Help: "initiator name",
	},
	{
		Name: "readfua", Kind: KindBool, Default: "0", Engines: cmdEngines, Since: "3.35", Status: Refused, Note: nvmeReason,
		Help: "reads with force unit access",
		set:  boolTo(func(j *Job) *bool { return &j.Engine.ReadFUA }),
	},
	{
		Name: "writefua", Kind: KindBool, Default: "0", Engines: cmdEngines, Since: "3.35", Status: Refused, Note: nvmeReason,
		Help: "writes with force unit access",
		set:  boolTo(func(j *Job) *bool { return &j.Engine.WriteFUA }),
	},
	{
		Name: "write_mode", Kind: KindEnum, Default: "write", Engines: cmdEngines, Since: "3.36", Status: Refused, Note: nvmeReason,
		Help: "NVMe command for writes",
		Values: []Value{
			{Name: "write", Code: int(WriteModeWrite), Help: "Write"},
			{Name: "uncor", Code: int(WriteModeUncorrectable), Help: "Write Uncorrectable"},
			{Name: "zeroes", Code: int(WriteModeZeroes), Help: "Write Zeroes"},
			{Name: "verify", Code: int(WriteModeVerify), Help: "Verify"},
		},
		set: enumTo(func(j *Job) *WriteMode { return &j.Engine.WriteMode }),
	},
	{
		Name: "deac", Kind: KindBool, Default: "0", Engines: cmdEngines, Since: "3.39", Status: Refused, Note: nvmeReason,
		Help: "Write Zeroes may deallocate",
		set:  boolTo(func(j *Job) *bool { return &j.Engine.Deallocate }),
	},
	{
		Name: "verify_mode", Kind: KindEnum, Default: "read", Engines: cmdEngines, Since: "3.36", Status: Refused,
		Note:   "blocks are read back and compared here, which tells what is wrong with them",
		Help:   "who compares blocks",
		Values: []Value{{Name: "read", Code: 0, Help: "this program"}, {Name: "compare", Code: 1, Help: "the device"}},
		set: func(d *draft, v value) error {
			d.Verify.CompareMode = v.choice.Code == 1
			return nil
		},
	},
	{
		Name: "md_per_io_size", Kind: KindInt, Default: "0", Engines: cmdEngines, Since: "3.36", Status: Refused, Note: piReason,
		Help: "bytes of separate metadata with a request",
		set:  intTo(func(j *Job) *int64 { return &j.Engine.Metadata.Bytes }),
	},
	{
		Name: "pi_act", Kind: KindBool, Default: "1", Engines: cmdEngines, Since: "3.36", Status: Refused, Note: piReason,
		Help: "let the controller make and strip protection information",
		set:  boolTo(func(j *Job) *bool { return &j.Engine.Metadata.PIAct }),
	},
	{
		Name: "pi_chk", Kind: KindSplit, Engines: cmdEngines, Since: "3.36", Status: Refused, Note: piReason,
		Help: "what the controller checks: GUARD,REFTAG,APPTAG",
		set:  setPIChecks,
	},
	{
		Name: "apptag", Kind: KindInt, Max: 0xffff, Default: "0x1234", Engines: cmdEngines, Since: "3.36", Status: Refused, Note: piReason,
		Help: "application tag",
		set: func(d *draft, v value) error {
			d.Engine.Metadata.AppTag = uint16(v.ints[0])
			return nil
		},
	},
	{
		Name: "apptag_mask", Kind: KindInt, Max: 0xffff, Default: "0xffff", Engines: cmdEngines, Since: "3.36", Status: Refused, Note: piReason,
		Help: "which of its bits count",
		set: func(d *draft, v value) error {
			d.Engine.Metadata.AppMask = uint16(v.ints[0])
			return nil
		},
	},
	{
		Name: "fdp", Kind: KindBool, Default: "0", Since: "3.34", Status: Refused, Note: fdpReason,
		Help: "place data by placement identifiers (FDP)",
		set:  setFDP,
	},
	{
		Name: "dataplacement", Kind: KindEnum, Default: "none", Since: "3.38", Status: Refused, Note: fdpReason,
		Help: "how data is placed",
		Values: []Value{
			{Name: "none", Code: int(PlacementNone), Help: "not at all"},
			{Name: "fdp", Code: int(PlacementFDP), Help: "FDP"},
			{Name: "streams", Code: int(PlacementStreams), Help: "streams"},
		},
		set: enumTo(func(j *Job) *PlacementKind { return &j.Engine.Placement.Kind }),
	},
	{
		Name: "plids", Aliases: []string{"fdp_pli"}, Kind: KindSplit, Since: "3.34", Status: Refused, Note: fdpReason,
		Help: "placement or stream identifiers: 0,2-4",
		set:  setPlacementIDs,
	},
	{
		Name: "plid_select", Aliases: []string{"fdp_pli_select"}, Kind: KindEnum, Default: "roundrobin", Since: "3.36", Status: Refused, Note: fdpReason,
		Help: "which one is next",
		Values: []Value{
			{Name: "roundrobin", Code: int(SelectRoundRobin), Help: "each in turn"}, {Name: "random", Code: int(SelectRandom), Help: "any"},
		},
		set: enumTo(func(j *Job) *PlacementSelect { return &j.Engine.Placement.Select }),
	},
	{
		Name: "dp_scheme", Kind: KindString, Since: "3.38", Status: Refused, Note: fdpReason,
		Help: "file that says which identifier goes with which offsets",
	},
	{
		Name: "cmdprio_percentage", Kind: KindInt, Dirs: 2, Max: 100, Engines: prioEngines, Status: Refused, Note: prioReason,
		Help: "percentage of requests with a priority of their own; of reads,writes",
		set:  intsTo(func(j *Job) *PerDir[int] { return &j.Engine.CmdPrio.Percent }),
	},
	{
		Name: "cmdprio_class", Kind: KindInt, Dirs: 2, Min: 1, Max: maxPrioClass, Engines: prioEngines, Status: Refused, Note: prioReason,
		Help: "their priority class",
		set:  intsTo(func(j *Job) *PerDir[int] { return &j.Engine.CmdPrio.Class }),
	},
	{
		Name: "cmdprio", Kind: KindInt, Dirs: 2, Max: maxPrioLevel, Engines: prioEngines, Status: Refused, Note: prioReason,
		Help: "their priority",
		set:  intsTo(func(j *Job) *PerDir[int] { return &j.Engine.CmdPrio.Level }),
	},
	{
		Name: "cmdprio_hint", Kind: KindInt, Dirs: 2, Engines: prioEngines, Since: "3.36", Status: Refused, Note: prioReason,
		Help: "their priority hint",
	},
	{
		Name: "cmdprio_bssplit", Kind: KindSplit, Engines: prioEngines, Status: Refused, Note: prioReason,
		Help: "percentages by block size: 4k/10:64k/50/1/0",
		set:  setCmdPrioSplit,
	},
}
