package uring

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	abi "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// New makes a ring that belongs to the calling OS thread, disabled where the kernel has that: register,
// then Enable. It takes the best set of abilities that this kernel has, see [Ring.Features].
//
// The error is of kind ErrUnavailable if this process cannot have io_uring at all, and of kind
// ErrUnsupported if it can, but not with what cfg requires.
func New(cfg Config) (*Ring, error) {
	cfg, err := cfg.normalise()
	if err != nil {
		return nil, err
	}
	r := &Ring{fd: -1, ringIdx: -1, tid: unix.Gettid()}
	p, err := r.setup(cfg)
	if err != nil {
		return nil, err
	}
	if err := r.mapRings(p); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.allocArgs(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.feats |= r.extras(cfg, p)
	r.enabled = !r.feats.Has(FeatDisabledStart)
	return r, nil
}

// setup walks down the ladder until the kernel takes a rung.
func (r *Ring) setup(cfg Config) (*abi.IOURingParams, error) {
	want := cfg.required()
	for _, rung := range cfg.ladder() {
		p := &abi.IOURingParams{
			CQEntries:    cfg.CQEntries,
			Flags:        (want | rung).flags() | abi.IORING_SETUP_CQSIZE | abi.IORING_SETUP_CLAMP,
			SQThreadIdle: uint32(cfg.SQThreadIdle / time.Millisecond),
		}
		if cfg.SQThreadPin {
			p.Flags |= abi.IORING_SETUP_SQ_AFF
			p.SQThreadCPU = cfg.SQThreadCPU
		}
		fd, err := abi.IOURingSetup(uint(cfg.Entries), p)
		if err == nil {
			r.fd, r.feats, r.kfeats = fd, want|rung, p.Features
			r.sqPoll = want.Has(FeatSQPoll)
			r.ioPoll = want.Has(FeatIOPoll) && !r.sqPoll
			return p, nil
		}
		if !errors.Is(err, unix.EINVAL) {
			return nil, setupError(err)
		}
	}
	if want == 0 {
		return nil, setupError(unix.EINVAL)
	}
	return nil, fmt.Errorf("io_uring_setup: %w: %s", ErrUnsupported, want)
}

// mapRings maps the two rings, which share one mapping, and the entries.
//
// Source: io_uring_setup(2), "mmap offsets".
func (r *Ring) mapRings(p *abi.IOURingParams) error {
	if p.Features&minimumFeatures != minimumFeatures {
		return setupError(unix.EINVAL)
	}
	r.enterFD = uintptr(r.fd)
	r.sqEntries, r.sqMask = p.SQEntries, p.SQEntries-1
	r.cqEntries, r.cq.mask = p.CQEntries, p.CQEntries-1
	r.sqeShift, r.cq.shift = 6, 4
	if r.feats.Has(FeatBigSQE) {
		r.sqeShift = 7
	}
	if r.feats.Has(FeatBigCQE) {
		r.cq.shift = 5
	}
	size := uintptr(p.CQOffset.Cqes) + uintptr(p.CQEntries)<<r.cq.shift
	if !r.feats.Has(FeatNoSQArray) {
		size = max(size, uintptr(p.SQOffset.Array)+4*uintptr(p.SQEntries))
	}
	var err error
	if r.rings, err = mapFD(r.fd, abi.IORING_OFF_SQ_RING, size); err != nil {
		return err
	}
	if r.sqeMem, err = mapFD(r.fd, abi.IORING_OFF_SQES, uintptr(p.SQEntries)<<r.sqeShift); err != nil {
		return err
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Add(r.rings.addr, off)) }
	r.sqes = r.sqeMem.addr
	r.kSQHead, r.kSQTail, r.kSQFlags = at(p.SQOffset.Head), at(p.SQOffset.Tail), at(p.SQOffset.Flags)
	r.cq.kHead, r.cq.kTail = at(p.CQOffset.Head), at(p.CQOffset.Tail)
	r.kCQFlags = nil
	if p.CQOffset.Flags != 0 {
		r.kCQFlags = at(p.CQOffset.Flags)
	}
	r.cq.cqes = unsafe.Add(r.rings.addr, p.CQOffset.Cqes)
	r.sqTail, r.cq.head = *r.kSQTail, *r.cq.kHead
	if !r.feats.Has(FeatNoSQArray) {
		for i := range p.SQEntries { // slot i is always entry i
			*at(p.SQOffset.Array + 4*i) = i
		}
	}
	return nil
}

// allocArgs makes the memory of those system call arguments that are named by address.
func (r *Ring) allocArgs() error {
	type args struct {
		arg getEventsArg
		ts  kernelTimespec
		iov Iovec
	}
	p, err := r.scratch.alloc(unsafe.Sizeof(args{}))
	if err != nil {
		return err
	}
	a := (*args)(p)
	r.arg, r.ts, r.iov = &a.arg, &a.ts, &a.iov
	return nil
}

// extras are the abilities that no set-up flag says.
func (r *Ring) extras(cfg Config, p *abi.IOURingParams) Feature {
	var f Feature
	if p.Features&featExtArg != 0 {
		f |= FeatExtArg
	}
	return f &^ cfg.Without
}

// Enable lets the ring run: from here on entries can be submitted.
func (r *Ring) Enable() error {
	if r.enabled {
		return nil
	}
	if err := r.register(abi.IORING_REGISTER_ENABLE_RINGS, nil, 0); err != nil {
		return err
	}
	r.enabled = true
	return nil
}

// Resize makes room for more of both queues while the ring is in use; the number of entries never
// shrinks. It is of kind ErrUnsupported before Linux 6.13 and without DEFER_TASKRUN.
//
// Source: io_uring_register(2) "IORING_REGISTER_RESIZE_RINGS".
func (r *Ring) Resize(entries, cqEntries uint32) error {
	cfg, err := Config{Entries: max(entries, r.sqEntries), CQEntries: max(cqEntries, r.cqEntries)}.normalise()
	if err != nil {
		return err
	}
	if !r.feats.Has(FeatDeferTaskrun) || !r.enabled {
		return fmt.Errorf("resize of a ring: %w", ErrUnsupported)
	}
	if err := r.Kick(); err != nil {
		return err
	}
	if r.sqTail != *r.kSQHead {
		return ErrBusy
	}
	p := &abi.IOURingParams{
		SQEntries: cfg.Entries,
		CQEntries: cfg.CQEntries,
		Flags:     abi.IORING_SETUP_CQSIZE | abi.IORING_SETUP_CLAMP,
	}
	if err := r.register(registerResizeRings, unsafe.Pointer(p), 1); err != nil {
		if errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("resize of a ring: %w", ErrUnsupported)
		}
		return err
	}
	p.Features = r.kfeats
	oldRings, oldSQEs := r.rings, r.sqeMem
	enterFD := r.enterFD
	if err := r.mapRings(p); err != nil {
		return err
	}
	r.enterFD = enterFD
	r.feats |= FeatResize
	return errors.Join(oldRings.unmap(), oldSQEs.unmap())
}

// Close gives the ring back. Whatever is still in flight is cancelled first and waited for, as long as
// that takes: memory that the kernel or a device may still write to must not be used for anything else.
// Completions that nobody fetched are dropped.
func (r *Ring) Close() error {
	if r.fd < 0 {
		return nil
	}
	if r.tid != unix.Gettid() {
		return fmt.Errorf("close of a ring: %w", ErrWrongThread)
	}
	err := r.quiesce()
	if r.ringIdx >= 0 {
		err = errors.Join(err, r.unregisterRing())
	}
	err = errors.Join(err, r.rings.unmap(), r.sqeMem.unmap(), r.scratch.free(), unix.Close(r.fd))
	r.fd = -1
	return err
}

// quiesce cancels everything and drops completions until nothing is in flight.
func (r *Ring) quiesce() error {
	if r.kSQHead == nil || !r.enabled {
		return nil
	}
	r.dropReady()
	if r.Inflight() == 0 {
		return nil
	}
	if err := r.Kick(); err != nil {
		return err
	}
	for !r.feats.Has(FeatIOPoll) && r.Inflight() != 0 { // cancelling needs a slot; polled I/O cannot be cancelled
		if s := r.SQE(); s != nil {
			s.PrepCancelAny()
			break
		}
		if err := r.Wait(time.Millisecond); err != nil {
			return err
		}
		r.dropReady()
	}
	for r.Inflight() != 0 {
		if err := r.Wait(time.Second); err != nil {
			return err
		}
		r.dropReady()
	}
	return nil
}

func (r *Ring) dropReady() {
	n := r.cq.Ready()
	for i := range n {
		if r.cq.At(i).Flags&CQEMore != 0 {
			r.More()
		}
	}
	r.cq.Release(n)
}
