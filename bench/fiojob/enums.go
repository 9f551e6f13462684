package fiojob

// Dir is a direction of I/O.
type Dir uint8

// The directions, in fio's order.
const (
	Read Dir = iota
	Write
	Trim
)

func (d Dir) String() string { return [...]string{"read", "write", "trim"}[d] }

// RWKind is the value of rw: what a job does, as bits.
type RWKind uint8

// The bits of RWKind.
const (
	reads RWKind = 1 << iota
	writes
	trims
	random
	trimFirst // trims each block, then writes it
)

// The kinds of I/O.
const (
	SeqRead       = reads
	SeqWrite      = writes
	SeqTrim       = trims
	RandRead      = reads | random
	RandWrite     = writes | random
	RandTrim      = trims | random
	SeqMixed      = reads | writes
	RandMixed     = reads | writes | random
	TrimWrite     = trims | writes | trimFirst
	RandTrimWrite = trims | writes | trimFirst | random
)

// Reads reports whether the job reads.
func (k RWKind) Reads() bool { return k&reads != 0 }

// Writes reports whether the job writes.
func (k RWKind) Writes() bool { return k&writes != 0 }

// Trims reports whether the job trims.
func (k RWKind) Trims() bool { return k&trims != 0 }

// Random reports whether offsets are random.
func (k RWKind) Random() bool { return k&random != 0 }

// TrimsFirst reports whether each block is trimmed and then written.
func (k RWKind) TrimsFirst() bool { return k&trimFirst != 0 }

// Mixed reports whether reads and writes are mixed.
func (k RWKind) Mixed() bool { return k.Reads() && k.Writes() }

// Uses reports whether the job does I/O in a direction.
func (k RWKind) Uses(d Dir) bool { return k&(1<<d) != 0 }

// String is fio's name of the kind.
func (k RWKind) String() string {
	for _, v := range rwValues {
		if v.Code == int(k) {
			return v.Name
		}
	}
	return "none"
}

// Sequencer is rw_sequencer: what rw=…:n does.
type Sequencer uint8

// The sequencers: go on from the last offset, or use it again.
const (
	SequencerSequential Sequencer = iota
	SequencerIdentical
)

// SyncIO is the value of sync.
type SyncIO uint8

// How writes are opened: no flag, O_SYNC, O_DSYNC.
const (
	SyncNone SyncIO = iota
	SyncFull
	SyncData
)

// ExitWhat is what exitall ends.
type ExitWhat uint8

// The values of exit_what.
const (
	ExitGroup ExitWhat = iota
	ExitStonewall
	ExitEverything
)

// FileServiceKind is the value of file_service_type.
type FileServiceKind uint8

// The ways of choosing the next file.
const (
	ServiceRoundRobin FileServiceKind = iota
	ServiceRandom
	ServiceSequential
	ServiceZipf
	ServicePareto
	ServiceNormal
)

// Fallocate is how space is reserved when files are laid out.
type Fallocate uint8

// The values of fallocate.
const (
	FallocateNone Fallocate = iota
	FallocateNative
	FallocatePosix
	FallocateKeep
	FallocateTruncate
)

// Advice is the value of fadvise_hint.
type Advice uint8

// What is told the kernel about the offsets to come.
const (
	AdviceNone    Advice = iota
	AdvicePattern        // random or sequential, as the job is
	AdviceRandom
	AdviceSequential
)

// WriteHint is a life time for written data: the numbers of F_SET_RW_HINT.
type WriteHint uint8

// The values of write_hint.
const (
	HintNotSet WriteHint = iota
	HintNone
	HintShort
	HintMedium
	HintLong
	HintExtreme
)

// Generator is the value of random_generator.
type Generator uint8

// The generators of fio. Here all have one implementation; see the option's note.
const (
	GeneratorTausworthe Generator = iota
	GeneratorLFSR
	GeneratorTausworthe64
)

// DistributionKind is the value of random_distribution.
type DistributionKind uint8

// The distributions.
const (
	DistRandom DistributionKind = iota
	DistZipf
	DistPareto
	DistNormal
	DistZoned
	DistZonedAbs
)

// Memory is what buffers are made of.
type Memory uint8

// Ordinary pages or huge pages.
const (
	MemoryPages Memory = iota
	MemoryHuge
)

// EngineKind is how this program issues I/O.
type EngineKind uint8

// The engines. EngineAuto is chosen where the job names none: the best the
// target and the kernel offer.
const (
	EngineAuto EngineKind = iota
	EngineUring
	EngineUringCmd
	EngineThreads // one blocking call at a time
	EngineNull
	EngineNBD
	EngineNVMe   // vfio
	EngineTarget // whatever the file name's scheme says
)

func (k EngineKind) String() string {
	return [...]string{"auto", "io_uring", "io_uring_cmd", "threads", "null", "nbd", "nvme", "target"}[k]
}

// Synchronous reports whether the engine has one request in flight at most.
func (k EngineKind) Synchronous() bool { return k == EngineThreads }

// CmdType is the value of cmd_type.
type CmdType uint8

// CmdNVMe is the only command type there is.
const CmdNVMe CmdType = 0

// WriteMode is the NVMe command that carries writes.
type WriteMode uint8

// The values of write_mode.
const (
	WriteModeWrite WriteMode = iota
	WriteModeUncorrectable
	WriteModeZeroes
	WriteModeVerify
)

// PlacementKind is the value of dataplacement.
type PlacementKind uint8

// The kinds of data placement.
const (
	PlacementNone PlacementKind = iota
	PlacementFDP
	PlacementStreams
)

// PlacementSelect is the value of plid_select.
type PlacementSelect uint8

// How the next placement identifier is chosen.
const (
	SelectRoundRobin PlacementSelect = iota
	SelectRandom
)

// RateProcess is the value of rate_process.
type RateProcess uint8

// Even gaps, or those of a Poisson process.
const (
	RateLinear RateProcess = iota
	RatePoisson
)

// VerifyKind is the value of verify.
type VerifyKind uint8

// The checks.
const (
	VerifyNone VerifyKind = iota
	VerifyMD5
	VerifyCRC64
	VerifyCRC32
	VerifyCRC32C
	VerifyCRC16
	VerifyCRC7
	VerifySHA1
	VerifySHA256
	VerifySHA512
	VerifySHA3x224
	VerifySHA3x256
	VerifySHA3x384
	VerifySHA3x512
	VerifyXXHash
	VerifyMeta    // the header only
	VerifyPattern // the pattern only, no header
	VerifyNull    // nothing is compared
)

// Header reports whether blocks carry a verification header.
func (k VerifyKind) Header() bool { return k != VerifyNone && k != VerifyPattern && k != VerifyNull }

// ZoneMode is the value of zonemode.
type ZoneMode uint8

// The zone modes.
const (
	ZoneNone ZoneMode = iota
	ZoneStrided
	ZoneZBD
)

// MemMode is the mode of numa_mem_policy: the numbers of set_mempolicy(2).
type MemMode uint8

// The modes.
const (
	MemDefault MemMode = iota
	MemPrefer
	MemBind
	MemInterleave
	MemLocal
)

// Unified is the value of unified_rw_reporting.
type Unified uint8

// Directions apart, as one, or both ways.
const (
	UnifiedNone Unified = iota
	UnifiedMixed
	UnifiedBoth
)

// LogWindow is what an entry of an averaged log holds.
type LogWindow uint8

// Mean, largest, or both.
const (
	WindowAverage LogWindow = iota
	WindowMax
	WindowBoth
)

// SteadyMetric is what steady state is judged by.
type SteadyMetric uint8

// The metrics.
const (
	SteadyIOPS SteadyMetric = iota
	SteadyBW
	SteadyLat
)
