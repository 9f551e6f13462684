package uring

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"unsafe"

	abi "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// Probe is what this kernel offers this process.
type Probe struct {
	// Kernel is the release, as uname says it.
	Kernel string
	// Err is why there is no io_uring, of kind ErrUnavailable; nil if there is.
	Err error
	// Features are the abilities that a ring can have here, each on its own.
	Features Feature
	// Default is what a ring with the zero Config gets.
	Default Feature
	// KernelFeatures are the bits of io_uring_params.features.
	KernelFeatures uint32

	ops [256]bool
}

// Offers reports whether the kernel knows an operation.
func (p *Probe) Offers(op Op) bool { return p.ops[op] }

// Ops lists the operations that the kernel knows.
func (p *Probe) Ops() []Op {
	var ops []Op
	for i, ok := range p.ops {
		if ok {
			ops = append(ops, Op(i))
		}
	}
	return ops
}

// ProbeKernel asks the kernel. It makes and drops a few small rings.
func ProbeKernel() *Probe {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := &Probe{Kernel: kernelRelease()}
	r, err := New(Config{Entries: 8, CQEntries: 16})
	if err != nil {
		p.Err = err
		return p
	}
	p.KernelFeatures = r.kfeats
	p.probeOps(r.fd)
	p.Default = r.feats
	p.probeRegister(r)
	p.probeSetup()
	if err := r.Close(); err != nil {
		p.Err = err
	}
	return p
}

// probeOps fills in the operations.
//
// Source: io_uring_register(2) "IORING_REGISTER_PROBE".
func (p *Probe) probeOps(fd int) {
	var arg struct {
		lastOp, opsLen uint8
		_              [14]byte
		ops            [256]struct {
			op, _ uint8
			flags uint16
			_     uint32
		}
	}
	if err := abi.IOURingRegister(fd, abi.IORING_REGISTER_PROBE, unsafe.Pointer(&arg), uint32(len(arg.ops))); err != nil {
		return
	}
	for i := range int(arg.opsLen) {
		if arg.ops[i].flags&1 != 0 { // IO_URING_OP_SUPPORTED
			p.ops[arg.ops[i].op] = true
		}
	}
}

// probeSetup tries each set-up flag with those that it depends on.
func (p *Probe) probeSetup() {
	needs := map[Feature]Feature{
		FeatDeferTaskrun: FeatSingleIssuer,
		FeatTaskrunFlag:  FeatCoopTaskrun,
		FeatHybridPoll:   FeatIOPoll,
	}
	for _, s := range setupFlags {
		params := &abi.IOURingParams{Flags: (s.feat | needs[s.feat]).flags()}
		if fd, err := abi.IOURingSetup(2, params); err == nil {
			unix.Close(fd)
			p.Features |= s.feat
		}
	}
	if p.KernelFeatures&featExtArg != 0 {
		p.Features |= FeatExtArg
	}
}

// probeRegister tries what only a registration tells.
func (p *Probe) probeRegister(r *Ring) {
	if r.RegisterBufferTable(1) == nil && r.registerTable(registerFiles2, 1) == nil {
		p.Features |= FeatSparseTables
	}
	if r.RegisterRing() == nil {
		p.Features |= FeatRegisteredRing
		p.Default |= FeatRegisteredRing
	}
	if r.Enable() == nil && r.Resize(16, 32) == nil {
		p.Features |= FeatResize
	}
}

// String is one line: what rings are like here, or why there are none.
func (p *Probe) String() string {
	if p.Err != nil {
		return p.Err.Error()
	}
	return fmt.Sprintf("io_uring: Linux %s, %d operations, %s", p.Kernel, len(p.Ops()), p.Default)
}

// WriteTable writes everything, for people.
func (p *Probe) WriteTable(w io.Writer) error {
	var b strings.Builder
	row := func(name, value string) { fmt.Fprintf(&b, "%-18s %s\n", name, value) }
	row("kernel", p.Kernel)
	if p.Err != nil {
		row("io_uring", p.Err.Error())
		_, err := io.WriteString(w, b.String())
		return err
	}
	row("io_uring", "yes")
	for i, name := range featureNames {
		f, state := Feature(1)<<i, "no"
		switch {
		case p.Default.Has(f):
			state = "yes, used"
		case p.Features.Has(f):
			state = "yes"
		}
		row(name, state)
	}
	var names []string
	for i, name := range kernelFeatures {
		if p.KernelFeatures&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	row("kernel features", strings.Join(names, " "))
	names = names[:0]
	for _, op := range p.Ops() {
		names = append(names, op.String())
	}
	row("operations", strings.Join(names, " "))
	_, err := io.WriteString(w, b.String())
	return err
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// circumstances are what decides between the reasons for one errno.
type circumstances struct {
	release  string
	disabled string // of kernel.io_uring_disabled; empty if there is none
	seccomp  bool   // a filter is installed in this process
}

// setupError names the reason for a failed io_uring_setup.
func setupError(err error) error {
	c := circumstances{release: kernelRelease()}
	if b, e := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); e == nil {
		c.disabled = strings.TrimSpace(string(b))
	}
	if b, e := os.ReadFile("/proc/thread-self/status"); e == nil {
		c.seccomp = strings.Contains(string(b), "\nSeccomp:\t2")
	}
	return c.reason(bare(err))
}

// reason is pure.
func (c circumstances) reason(err error) error {
	filter := ""
	if c.seccomp {
		filter = " by this process's seccomp filter"
	}
	switch {
	case errors.Is(err, unix.EPERM) && c.disabled == "2":
		return fmt.Errorf("%w: switched off by sysctl kernel.io_uring_disabled=2", ErrUnavailable)
	case errors.Is(err, unix.EPERM) && c.disabled == "1":
		return fmt.Errorf("%w: sysctl kernel.io_uring_disabled=1 and neither CAP_SYS_ADMIN nor a member of kernel.io_uring_group",
			ErrUnavailable)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		if filter == "" {
			filter = " by a security module"
		}
		return fmt.Errorf("%w: refused%s (%w)", ErrUnavailable, filter, err)
	case errors.Is(err, unix.ENOSYS):
		if filter == "" {
			filter = ": not in Linux " + c.release
			if !olderThan(c.release, 5, 1) {
				filter += " as it was built"
			}
		} else {
			filter = ": hidden" + filter
		}
		return fmt.Errorf("%w%s", ErrUnavailable, filter)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: Linux %s is too old, 5.6 is needed", ErrUnavailable, c.release)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w: no memory for a ring, or RLIMIT_MEMLOCK too low", ErrUnavailable)
	}
	return fmt.Errorf("io_uring_setup: %w", err)
}

// olderThan compares the first two numbers of a release; one that has none is not older.
func olderThan(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a < major || (a == major && b < minor)
}
