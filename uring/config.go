package uring

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	abi "github.com/iceber/iouring-go/syscall"
)

// Limits of a ring. Source: io_uring_setup(2).
const (
	maxEntries   = 32768
	maxCQEntries = 2 * maxEntries

	defaultEntries   = 128
	defaultCQEntries = 1024
)

// Feature is a set of abilities of a ring: what was asked for, what a kernel lacks, what a ring has got.
type Feature uint32

// Abilities of a ring.
const (
	// FeatSingleIssuer: only the owner's thread submits (Linux 6.0).
	FeatSingleIssuer Feature = 1 << iota
	// FeatDeferTaskrun: completions are worked on only when the owner enters for them (6.1).
	FeatDeferTaskrun
	// FeatCoopTaskrun: completions do not interrupt the owner (5.19).
	FeatCoopTaskrun
	// FeatTaskrunFlag: the ring says when there are completions to work on (5.19).
	FeatTaskrunFlag
	// FeatSubmitAll: a bad entry does not stop those behind it (5.18).
	FeatSubmitAll
	// FeatNoSQArray: no indirection between ring and entries (6.6).
	FeatNoSQArray
	// FeatDisabledStart: nothing runs before Enable (5.10).
	FeatDisabledStart
	// FeatExtArg: a wait takes its time limit along (5.11).
	FeatExtArg
	// FeatRegisteredRing: the ring is entered by a registered index (5.18).
	FeatRegisteredRing
	// FeatSparseTables: tables of files and buffers are made empty and filled by index (5.19).
	FeatSparseTables
	// FeatResize: a ring can grow while in use (6.13).
	FeatResize
	// FeatIOPoll: completions are polled from the device.
	FeatIOPoll
	// FeatHybridPoll: the device is polled after a sleep of half the expected time (6.13).
	FeatHybridPoll
	// FeatSQPoll: a kernel thread submits.
	FeatSQPoll
	// FeatBigSQE: 128-byte entries (5.19).
	FeatBigSQE
	// FeatBigCQE: 32-byte completions (5.19).
	FeatBigCQE
)

var featureNames = [...]string{
	"single-issuer", "defer-taskrun", "coop-taskrun", "taskrun-flag", "submit-all", "no-sqarray",
	"disabled-start", "ext-arg", "registered-ring", "sparse-tables", "resize", "iopoll", "hybrid-poll", "sqpoll",
	"big-sqe", "big-cqe",
}

// Has reports whether all of other are in the set.
func (f Feature) Has(other Feature) bool { return f&other == other }

// String lists the names, separated by spaces.
func (f Feature) String() string {
	var names []string
	for rest := f; rest != 0; rest &= rest - 1 {
		if i := bits.TrailingZeros32(uint32(rest)); i < len(featureNames) {
			names = append(names, featureNames[i])
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, " ")
}

// setupFlags maps those abilities that are flags of io_uring_setup.
var setupFlags = [...]struct {
	feat Feature
	flag uint32
}{
	{FeatSingleIssuer, setupSingleIssuer},
	{FeatDeferTaskrun, setupDeferTaskrun},
	{FeatCoopTaskrun, abi.IORING_SETUP_COOP_TASKRUN},
	{FeatTaskrunFlag, abi.IORING_SETUP_TASKRUN_FLAG},
	{FeatSubmitAll, abi.IORING_SETUP_SUBMIT_ALL},
	{FeatNoSQArray, setupNoSQArray},
	{FeatDisabledStart, abi.IORING_SETUP_R_DISABLED},
	{FeatIOPoll, abi.IORING_SETUP_IOPOLL},
	{FeatHybridPoll, setupHybridIOPoll},
	{FeatSQPoll, abi.IORING_SETUP_SQPOLL},
	{FeatBigSQE, abi.IORING_SETUP_SQE128},
	{FeatBigCQE, abi.IORING_SETUP_CQE32},
}

// flags is the set as flags of io_uring_setup.
func (f Feature) flags() uint32 {
	var flags uint32
	for _, s := range setupFlags {
		if f.Has(s.feat) {
			flags |= s.flag
		}
	}
	return flags
}

// Config says what ring is wanted. Its zero value is a good ring.
type Config struct {
	// Entries is the number of submission slots: the largest batch between two Kicks. Rounded up to a
	// power of two; 0 is 128.
	Entries uint32
	// CQEntries is the number of completion slots: the most that is in flight without overflow.
	// Rounded up to a power of two, at least Entries; 0 is 1024 or twice Entries.
	CQEntries uint32
	// IOPoll polls the device for completions; reads and writes with O_DIRECT on devices that can.
	IOPoll bool
	// HybridPoll is IOPoll with a sleep before it.
	HybridPoll bool
	// SQPoll lets a kernel thread submit.
	SQPoll bool
	// SQThreadPin binds that thread to processor SQThreadCPU.
	SQThreadPin bool
	SQThreadCPU uint32
	// SQThreadIdle is how long that thread spins without work before it sleeps; 0 is the kernel's default (1 s).
	SQThreadIdle time.Duration
	// BigSQE makes 128-byte entries, as commands of drivers (URING_CMD) need.
	BigSQE bool
	// BigCQE makes 32-byte completions, as NVMe commands need.
	BigCQE bool
	// Without are abilities to do without although the kernel may have them.
	Without Feature
}

// normalise fills in defaults and checks what is left.
func (c Config) normalise() (Config, error) {
	if c.Entries == 0 {
		c.Entries = defaultEntries
	}
	if c.Entries > maxEntries {
		return c, fmt.Errorf("io_uring: %d entries are more than %d", c.Entries, maxEntries)
	}
	c.Entries = powerOfTwo(c.Entries)
	if c.CQEntries == 0 {
		c.CQEntries = max(defaultCQEntries, 2*c.Entries)
	}
	if c.CQEntries > maxCQEntries {
		return c, fmt.Errorf("io_uring: %d completion entries are more than %d", c.CQEntries, maxCQEntries)
	}
	c.CQEntries = powerOfTwo(max(c.CQEntries, c.Entries))
	if c.HybridPoll {
		c.IOPoll = true
	}
	if c.Without.Has(FeatExtArg) {
		// Waits go through the ring's descriptor then, which does not hear of deferred completions.
		c.Without |= FeatDeferTaskrun
	}
	if !c.SQPoll && (c.SQThreadPin || c.SQThreadIdle != 0) {
		return c, fmt.Errorf("io_uring: thread settings without a submission thread")
	}
	return c, nil
}

func powerOfTwo(n uint32) uint32 { return 1 << bits.Len32(n-1) }

// required are the abilities without which the configuration is not met.
func (c Config) required() Feature {
	var f Feature
	for _, r := range [...]struct {
		on   bool
		feat Feature
	}{
		{c.IOPoll, FeatIOPoll},
		{c.HybridPoll, FeatHybridPoll},
		{c.SQPoll, FeatSQPoll},
		{c.BigSQE, FeatBigSQE},
		{c.BigCQE, FeatBigCQE},
	} {
		if r.on {
			f |= r.feat
		}
	}
	return f
}

// ladder lists sets of optional set-up abilities to try, best first: each rung drops what the next older
// kernel lacks. Rungs that do not differ for this configuration are left out.
func (c Config) ladder() []Feature {
	const taskrun = FeatDeferTaskrun | FeatCoopTaskrun | FeatTaskrunFlag
	steps := [...]Feature{
		FeatNoSQArray,                     // Linux 6.6
		FeatDeferTaskrun,                  // 6.1
		FeatSingleIssuer,                  // 6.0
		FeatCoopTaskrun | FeatTaskrunFlag, // 5.19
		FeatSubmitAll,                     // 5.18
		FeatDisabledStart,                 // 5.10
	}
	var all Feature
	for _, s := range steps {
		all |= s
	}
	all &^= c.Without
	if c.SQPoll {
		all &^= taskrun // io_uring_setup(2): these are about interrupting a submitter that there is not
	}
	rungs := []Feature{dependencies(all)}
	for _, s := range steps {
		all &^= s
		if next := dependencies(all); next != rungs[len(rungs)-1] {
			rungs = append(rungs, next)
		}
	}
	return rungs
}

// dependencies drops abilities that the kernel refuses without others.
func dependencies(f Feature) Feature {
	if !f.Has(FeatSingleIssuer) {
		f &^= FeatDeferTaskrun
	}
	if f&(FeatDeferTaskrun|FeatCoopTaskrun) == 0 {
		f &^= FeatTaskrunFlag
	}
	return f
}
