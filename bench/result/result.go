package result

import "time"

// KV is an option as the user gave it; bare keys have an empty value.
type KV struct{ Key, Value string }

// Direction indexes per-direction results.
type Direction int

// The directions; Sync counts fsync and its kin.
const (
	Read Direction = iota
	Write
	Trim
	Sync
	Directions
)

func (d Direction) String() string { return [...]string{"read", "write", "trim", "sync"}[d] }

// Latency is a distribution of nanoseconds. Any percentile can be asked for; bounds of buckets are inclusive.
type Latency interface {
	Count() uint64
	Min() uint64
	Max() uint64
	Mean() float64
	StdDev() float64
	Percentile(p float64) uint64
	Buckets(yield func(lo, hi, count uint64) bool)
}

// Samples summarises an interval series, as fio's bw_* and iops_* keys do.
type Samples struct {
	Min, Max, Mean, StdDev float64
	N                      int
}

// Run is one whole measurement.
type Run struct {
	Version     string // of the program
	Start       time.Time
	Elapsed     time.Duration
	Globals     []KV
	Jobs        []Job // one per reported job: with group_reporting, one per group
	Disks       []DiskUtil
	Host        Host
	Hints       []Hint
	Interrupted bool // Ctrl-C or a signal ended the measurement: what is here is complete up to then
	Warnings    []string
	Command     []string      // how to run it again
	Left        time.Duration // of a report in the middle of a run (--status-interval): what is still to come
}

// Job is the result of one job, or of a group.
type Job struct {
	Name        string
	Description string
	Group       int
	Members     int // threads merged into it
	Error       int // errno of the first error, 0 when all went well
	FirstError  string
	Errors      []IOError // the first few, in order
	TotalErrors uint64
	Elapsed     time.Duration
	Started     time.Time
	Runtime     time.Duration // of all members added up, so that CPU time over it is a share of one thread
	Options     []KV
	PID         int

	ContinueOnError bool // errors were to be counted, not to end the job
	Dir             [Directions]Dir
	Mixed           *Dir // unified_rw_reporting: all directions together

	CPUUser, CPUSys  time.Duration // of the job's threads
	CPUKernelThreads time.Duration // SQPOLL and workers, where known
	CtxSwitches      uint64
	MajorFaults      uint64
	MinorFaults      uint64
	Mallocs          uint64 // heap allocations inside the measured window, whole process
	MallocsKnown     bool   // false where several jobs overlap

	// Shares of I/Os by queue depth at issue (1, 2, 4, … >=64), by batch of submission and of completion (0, 4, 8, … >=64), each in
	// counts, in fio's classes.
	DepthHist    [7]uint64
	SubmitHist   [7]uint64
	CompleteHist [7]uint64
	Submits      uint64
	Completes    uint64

	Percentiles      []float64 // to print
	PercentDigits    int
	ClatPercentiles  bool
	LatPercentiles   bool
	SlatPercentiles  bool
	Depth            int
	LatencyTarget    *LatencyTarget
	Steady           *SteadyState
	Verify           *Verify
	Series           []Interval
	IntervalLength   time.Duration
	Engine           string   // which way the I/O went: io_uring (fixed buffers, …), threads, null
	Targets          []Target // what was measured
	BlockSizes       string   // for the header line
	RW               string
	Unified          bool
	MeasuredFromPlan bool   // open loop: latency counts from the intended start
	LimitedBy        string // what limited it, in words
	Path             PathCounts
}

// PathCounts say which way requests went through the layers.
type PathCounts struct{ Direct, Pieces, Zeroed, Slow, Resent, Waited uint64 }

// Dir is one direction of a job.
type Dir struct {
	Bytes    uint64
	IOs      uint64
	Short    uint64
	Dropped  uint64
	Runtime  time.Duration
	Slat     Latency // submission; nil when not measured
	Clat     Latency // completion
	Lat      Latency // both
	BW       Samples // KiB/s
	IOPS     Samples
	BWAgg    float64 // this job's share of the group's bandwidth, percent
	BWBytes  float64 // bytes/s over Runtime
	IOPSMean float64 // IOs/s over Runtime
}

// IOError is one failed request.
type IOError struct {
	Target string
	Op     string
	Off    int64
	Len    int64
	Text   string
}

// LatencyTarget is the outcome of a latency_target search.
type LatencyTarget struct {
	Target, Window time.Duration
	Percentile     float64
	Depth          int
	Met            bool
}

// SteadyState is the outcome of ss=.
type SteadyState struct {
	Expr      string // as given
	Duration  time.Duration
	Attained  bool
	Criterion float64
	Percent   bool
	MaxDev    float64
	Slope     float64
	BW, IOPS  []float64
	Lat       []float64
	BWMean    float64
	IOPSMean  float64
	LatMean   float64
	Rule      string // fio or snia
	Interval  time.Duration
}

// Verify is the outcome of verification.
type Verify struct {
	Kind     string
	Blocks   uint64
	Failures uint64
	First    string
}

// Interval is one step of the time series: what completed in it.
type Interval struct {
	Start time.Duration // from the start of the measured window
	Len   time.Duration
	Dir   [3]IntervalDir
}

// IntervalDir is one direction of an interval.
type IntervalDir struct {
	IOs, Bytes uint64
	Lat        Latency // nil when not measured
}

// Target describes what was measured.
type Target struct {
	Name     string
	Driver   string
	Layers   []string // the flattened graph, top first
	Size     int64
	Facts    []KV // firmware, queue limits and what else the driver knows
	InMemory bool // tmpfs, null, mem

	Path      string // of the file or device node beneath, empty where there is none
	FS        string // file system type; empty for a device
	Mount     string // where that file system is mounted
	MountOpts string
	Allocated int64  // bytes of the file that have blocks; -1 where unknown
	Unwritten int64  // bytes that are allocated but read as zeroes without I/O; -1 where unknown
	Signature string // file system, partition table, RAID or LVM found on a device
	Block     *BlockDevice
}

// BlockDevice is what the kernel says of the device under a target.
type BlockDevice struct {
	Name       string // nvme0n1, dm-0
	Model      string
	Serial     string
	Size       int64
	Rotational bool
	Scheduler  string
	NRRequests int
	WriteCache string // write back, write through
	Logical    int    // block sizes
	Physical   int
	MaxKB      int    // largest request
	Zoned      string // empty when not
	NUMANode   int    // -1 when there is none
	Polling    bool   // poll queues exist
	Layers     []string
}

// DiskUtil is one line of disk_util.
type DiskUtil struct {
	Name                      string
	ReadIOs, WriteIOs         uint64
	ReadMerges, WriteMerges   uint64
	ReadSectors, WriteSectors uint64
	ReadTicks, WriteTicks     uint64 // ms
	InQueue                   uint64 // ms
	Util                      float64
	Aggregate                 *DiskUtil // mean of the devices beneath, with their highest Util; nil when there are none
}

// Host is what the reader of a report needs to know of the machine.
type Host struct {
	Hostname, OS, Kernel, Arch string
	CPU                        string
	Cores                      int
	Governor                   string
	Mitigations                []KV
	Memory                     uint64
	Facts                      []KV
	URing                      string // one line of the probe

	MemAvailable uint64  // when the run started
	Virtual      string  // hypervisor, or container; empty on bare metal
	Turbo        string  // on, off, or empty where the CPU does not say
	NUMANodes    int     // 0 where unknown
	Load         float64 // one-minute load average when the run started
	Steal        float64 // percent of CPU time that the hypervisor took during the run
	Busy         float64 // percent of CPU time that everybody used during the run
}

// Hint says what would make the result misleading, or what could be done better.
type Hint struct {
	Severity string // warn, note
	Key      string // a stable word, for scripts
	Text     string
}

// Live is the state of a running measurement, sent to the live display and to --status-interval.
type Live struct {
	Elapsed, Left time.Duration // Left is negative when unknown
	Done          float64       // 0 to 1; negative when unknown
	Running       int
	Jobs          int
	State         string // ramp, running, verify, laying out, …
	Dir           [3]LiveDir
	OpenDepth     int
	Letters       string // one letter a job, as in fio's status line: R r W w M m D d for the running, P pending, / ramp, V verify, _ done, …
	Files         int    // open
}

// LiveDir is one direction of Live.
type LiveDir struct {
	IOPS, BW float64 // per second, of the last interval
	P50, P99 uint64  // ns of the last interval
}
