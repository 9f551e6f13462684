package fiojob

import (
	"syscall"
	"time"
)

// Job is one job, resolved: every key that this program honours as a Go value.
// A Job owns no resource and is copied freely; its slices are shared between
// copies and never written to.
type Job struct {
	Name        string
	Description string
	// Section is the place of the job in its Plan, from 0. Clones of NumJobs share it.
	Section int
	// Group is the reporting group: it counts up at each stonewall and new_group.
	Group int
	// Clone is the number of the job among its numjobs, from 0; Thread its
	// number in the whole plan, from 1. Expand and Plan.Expand set them.
	Clone, Thread int
	// Options are the keys of the job's own section and Globals those in force
	// from global sections, as "job options" and "global options" report them.
	Options, Globals []KV

	NumJobs int
	Order   Order
	Time    Timing
	Files   Files
	RW      RW
	Block   Blocks
	Random  Random
	Buffer  Buffers
	Engine  Engine
	Depth   Depth
	Sync    Syncing
	Rate    Rate
	Think   Think
	Latency LatencyTarget
	Flow    Flow
	Verify  Verify
	Replay  Replay
	Zone    Zones
	CPU     CPU
	Errors  Errors
	Report  Report
	Log     Logs
	Steady  SteadyState
}

// KV is a key as given: its canonical name, and the value after environment
// variables and keywords were put in. Bare keys have no value.
type KV struct {
	Key, Value string
	Bare       bool
}

// Order says when a job starts and what its end ends.
type Order struct {
	Stonewall      bool
	NewGroup       bool
	WaitFor        string // name of an earlier job, or empty
	ExitAll        bool
	ExitWhat       ExitWhat
	ExitAllOnError bool
	PreRun         string // command, run by a shell; only with --allow-exec
	PostRun        string
}

// Timing holds durations of a job; zero means not limited or not used.
type Timing struct {
	Runtime    time.Duration
	TimeBased  bool
	Ramp       time.Duration
	StartDelay Span // each clone draws its own delay from it
	Loops      int
}

// Span is an interval of durations; Min equals Max for a single value.
type Span struct{ Min, Max time.Duration }

// Bytes is an interval of sizes; Min equals Max for a single value.
type Bytes struct{ Min, Max int64 }

// Amount is a number of bytes, a percentage of the file or a number of zones.
// At most one field is non-zero.
type Amount struct {
	Bytes   int64
	Percent int
	Zones   int
}

// IsZero reports whether the amount was not given or is nothing.
func (a Amount) IsZero() bool { return a == Amount{} }

// Files says which files or devices a job uses, and how it comes by them.
type Files struct {
	Names       []string // as given; empty: names are made (FileNames)
	Directories []string
	Format      string // filename_format
	OpenDir     string // every file below it is used too
	Count       int    // nrfiles; the number of Names where those are given
	Open        int    // how many to keep open at once; never more than Count
	Service     FileService
	Size        Amount // of all files together
	IOSize      Amount
	Offset      Amount
	OffsetStep  Amount // offset_increment, times Clone
	OffsetAlign int64  // of an offset given in percent; 0: the smallest block
	FileSize    Bytes  // of each file; zero where not given
	FillDevice  bool
	Append      bool
	NumberIOs   int64

	Fallocate      Fallocate
	Advice         Advice
	WriteHint      WriteHint
	Overwrite      bool
	AllowCreate    bool
	CreateOnOpen   bool
	CreateOnly     bool
	CreateFsync    bool
	PreRead        bool
	Invalidate     bool
	Unlink         bool
	UnlinkEachLoop bool
}

// FileService says how the next file is chosen.
type FileService struct {
	Kind  FileServiceKind
	Every int // I/Os before switching: random, roundrobin, sequential
	// Shape and Center are as in Distribution: zipf, pareto, normal.
	Shape, Center float64
}

// RW is the kind of I/O.
type RW struct {
	Kind RWKind
	// Every is how many I/Os share one random offset (rw=randread:8); at least 1.
	Every int
	// Stride is added to each sequential offset (rw=write:4k); may be negative.
	Stride    int64
	Sequencer Sequencer
	// ReadPercent is the share of reads in a mix.
	ReadPercent int
	Direct      bool
	Sync        SyncIO
}

// PerDir holds a value for reads, writes and trims; index it with Dir.
type PerDir[T any] [3]T

// Blocks describes block sizes.
type Blocks struct {
	Size PerDir[BlockSize]
	// Align is the boundary of random offsets; the smallest block by default.
	Align     PerDir[int64]
	Unaligned bool // any size in a range, not only multiples of the smallest
	SeqRand   bool // Size[Read] is for sequential I/O and Size[Write] for random
}

// BlockSize is the sizes of one direction: from Min to Max in multiples of Min
// or, where Split is not empty, one of its entries.
type BlockSize struct {
	Min, Max int64
	Split    []Weighted
}

// Fixed reports whether there is only one size.
func (b BlockSize) Fixed() bool { return b.Min == b.Max }

// Weighted is a block size and the percentage of I/Os that have it. The
// percentages of a direction add up to 100.
type Weighted struct {
	Size    int64
	Percent int
}

// Random says how random numbers become offsets.
type Random struct {
	Repeat       bool // the same offsets each run
	AllRepeat    bool // everything else random, too
	Seed         uint64
	SeedGiven    bool // then Repeat is of no interest
	NoMap        bool // blocks may repeat before all have had their turn
	Generator    Generator
	Distribution PerDir[Distribution]
	Percent      PerDir[int] // of a random job's I/Os that are random
}

// Distribution is the density of offsets.
type Distribution struct {
	Kind DistributionKind
	// Shape is the theta of zipf, the power of pareto, the deviation of normal
	// in percent of the range.
	Shape float64
	// Center, from 0 to 1, is where the most likely offset lies; -1 where the
	// default is meant: anywhere (by seed) for zipf and pareto, the middle for normal.
	Center float64
	// Zones, of zoned and zoned_abs: the file from its start on.
	Zones []AccessZone
}

// AccessZone is a part of the file and the percentage of I/Os that fall into it.
// The part is Percent of the file (zoned) or Bytes long (zoned_abs; 0: the rest).
type AccessZone struct {
	Access  int
	Percent int
	Bytes   int64
}

// Buffers says what is written.
type Buffers struct {
	Zero     bool
	Refill   bool
	Scramble bool
	Pattern  Pattern
	// Compress is the percentage each buffer shrinks by; 0 is not asked for.
	Compress      int
	CompressChunk int64 // 0: the whole block
	Dedupe        int   // percentage of buffers that repeat an earlier one
	Memory        Memory
	Align         int64
	HugePage      int64
}

// Engine is how I/O is issued.
type Engine struct {
	Kind  EngineKind
	Given string // the name as given; empty if it was not

	// io_uring and io_uring_cmd
	HiPri         bool
	HiPriPercent  int // pvsync2 only
	FixedBufs     bool
	RegisterFiles bool
	SQPoll        bool
	SQPollCPU     int // -1: any
	NonVectored   int // -1: as the engine likes
	Uncached      bool
	NoWait        bool
	ForceAsync    int // every n-th request; 0: none
	CmdType       CmdType
	ReadFUA       bool
	WriteFUA      bool
	Deallocate    bool // deac: of write zeroes
	WriteMode     WriteMode
	Metadata      Metadata
	Placement     Placement
	CmdPrio       CmdPrio

	URI string // nbd
}

// Metadata is end-to-end protection, of io_uring_cmd and NVMe.
type Metadata struct {
	Bytes      int64 // md_per_io_size
	PIAct      bool
	CheckGuard bool
	CheckRef   bool
	CheckApp   bool
	AppTag     uint16
	AppMask    uint16
}

// Placement is data placement by streams or FDP.
type Placement struct {
	Kind   PlacementKind
	IDs    []int
	Select PlacementSelect
}

// CmdPrio gives some of the requests an I/O priority of their own.
// Only reads and writes are considered.
type CmdPrio struct {
	Percent PerDir[int]
	Class   PerDir[int]
	Level   PerDir[int]
	Split   PerDir[[]PrioSplit]
}

// PrioSplit is the share of the I/Os of one size that have a priority.
// Class is -1 where that of CmdPrio applies.
type PrioSplit struct {
	Size         int64
	Percent      int
	Class, Level int
}

// Depth is the queue.
type Depth struct {
	IODepth     int
	Batch       int // submitted at once; from 1 to IODepth
	CompleteMin int // waited for; 0: poll
	CompleteMax int // reaped at once
	Low         int // refill when the depth falls to this; IODepth: always full
	Serialize   bool
}

// Syncing says when written data is made durable.
type Syncing struct {
	Fsync        int // after so many writes; 0: never
	Fdatasync    int
	Range        SyncFileRange
	EndFsync     bool
	FsyncOnClose bool
}

// SyncFileRange is sync_file_range(2) after so many writes; 0: never.
type SyncFileRange struct {
	Every                        int
	WaitBefore, Write, WaitAfter bool
}

// Rate limits a job; zero is no limit. Bytes are per second.
type Rate struct {
	Bytes, MinBytes PerDir[int64]
	IOPS, MinIOPS   PerDir[int]
	Process         RateProcess
	Cycle           time.Duration
	IgnoreThink     bool
}

// Limited reports whether any direction has a rate.
func (r Rate) Limited() bool { return r.Bytes != PerDir[int64]{} || r.IOPS != PerDir[int]{} }

// Think is idle time between I/Os.
type Think struct {
	Time   time.Duration
	Spin   time.Duration // at most Time
	Blocks int           // I/Os before each; 0 only with IOTime
	AtEnd  bool          // count completions, not submissions
	IOTime time.Duration
}

// LatencyTarget is a search for the depth that keeps a latency.
type LatencyTarget struct {
	Target     time.Duration
	Window     time.Duration
	Percentile float64
	Run        bool
	Max        PerDir[time.Duration] // one I/O beyond it ends the job
}

// Flow balances jobs that share an ID by weight; Weight 0 is no flow.
type Flow struct {
	ID, Weight int
	Sleep      time.Duration
}

// Verify says how written data is checked.
type Verify struct {
	Kind         VerifyKind
	Do           bool // read back after writing
	Only         bool // do not write: check what an earlier run wrote
	Interval     int64
	Offset       int64
	Pattern      Pattern
	Fatal        bool
	Dump         bool
	Async        int
	AsyncCPUs    []int
	Backlog      int64
	BacklogBatch int64
	LoadState    bool
	SaveState    bool
	CompareMode  bool // verify_mode=compare: the device compares
	CheckWrite   bool // verify_write_sequence
	CheckSeed    bool // verify_header_seed
}

// Replay plays a trace.
type Replay struct {
	Logs      []string // read_iolog; assigned to clones in turn
	NoStall   bool
	Redirect  string
	Scale     int64
	Align     int64
	TimeScale int // percent of the recorded pace; 100: as recorded
	Skip      ReplaySkip
}

// ReplaySkip names kinds of I/O that are left out.
type ReplaySkip struct{ Read, Write, Trim, Sync bool }

// Zones is zonemode.
type Zones struct {
	Mode       ZoneMode
	Size       int64
	Range      int64
	Skip       Amount
	Capacity   int64
	MaxOpen    int
	JobMaxOpen int
}

// CPU is where a job runs.
type CPU struct {
	Allowed   []int // nil: anywhere
	Split     bool  // one CPU to a job; Plan.Expand leaves just that one in Allowed
	NUMANodes []int
	MemPolicy MemPolicy
	Nice      int
	PrioClass int // 0: none
	Prio      int
	PrioGiven bool
}

// MemPolicy is a NUMA memory policy.
type MemPolicy struct {
	Mode  MemMode
	Nodes []int // nil: all
}

// Errors says which errors end a job.
type Errors struct {
	ContinueRead, ContinueWrite, ContinueVerify bool
	// Ignore lists errors of reads, writes and verification that do not count.
	Ignore [3][]syscall.Errno
	Dump   bool
}

// Report is what is measured and printed.
type Report struct {
	Group               bool
	Stats               bool
	Percentiles         []float64
	PercentilePrecision int  // digits after the point of the longest one given
	Clat, Lat, Slat     bool // percentiles of
	Unified             Unified
	SignificantFigures  int
	DiskUtil            bool
	GTODReduce          bool
	DisableLat          bool
	DisableClat         bool
	DisableSlat         bool
	DisableBW           bool
	KBBase              int
	UnitBase            int // 0: by itself, 8: bytes, 1: bits
	BWInterval          time.Duration
	IOPSInterval        time.Duration
}

// Logs is what is logged, and how.
type Logs struct {
	BW, Lat, IOPS, Hist LogFile
	PerJob              bool          // the file name has the job's Thread in it
	Interval            time.Duration // log_avg_msec; 0: each I/O
	HistInterval        time.Duration
	HistCoarseness      int
	Window              LogWindow
	Offset              bool
	Prio                bool
	IssueTime           bool
	AltEpoch            bool // time stamps of Clock, not from the start of the run
	Clock               int
}

// LogFile is one kind of log. Name is its prefix; empty: the job's name.
type LogFile struct {
	On   bool
	Name string
}

// SteadyState ends a job once it is steady; Duration 0: not looked for.
type SteadyState struct {
	Metric   SteadyMetric
	Slope    bool // else: largest deviation from the mean
	SNIA     bool // five rounds: range within 20 %, slope within 10 % of the mean
	Limit    float64
	Percent  bool
	Duration time.Duration
	Ramp     time.Duration
	Interval time.Duration
}
