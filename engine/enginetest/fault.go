package enginetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// Fault is what a fault device does wrong. It is made from a list of rules, separated by semicolons:
//
//	OP[#K][@OFF+LEN]=ACTION[ once]
//
// OP is read, write, flush, discard, zero or any. #K lets the rule fire at the K-th operation that it fits (from 1; without it, at
// each). @OFF+LEN fits operations that touch the range. ACTION is an errno (EIO, ENOSPC, …), lost (a write or flush that says it
// happened and did not), slow:DURATION (by the engine's clock in the polled plane) or short:BYTES (polled plane only: the transfer stops
// there). once: the rule fires one time at most.
//
//	write#3=EIO; read@0x1000+4096=ENODATA once; flush=lost
type Fault struct {
	mu    sync.Mutex
	rules []*faultRule
	fired int
	ops   int
}

type faultRule struct {
	ops      [engine.OpNop + 1]bool
	k        int // 0: each
	off, end int64
	act      faultAct
	once     bool
	seen     int
	done     bool
}

type faultAct struct {
	errno unix.Errno
	lost  bool
	slow  time.Duration
	short uint32
	cut   bool // short is meant
}

var faultOps = map[string][]engine.Op{
	"read": {engine.OpRead}, "write": {engine.OpWrite}, "flush": {engine.OpFlush}, "discard": {engine.OpDiscard}, "zero": {engine.OpZero},
	"any": {engine.OpRead, engine.OpWrite, engine.OpFlush, engine.OpDiscard, engine.OpZero},
}

// ParseFault reads rules; an empty text is a device without faults.
func ParseFault(text string) (*Fault, error) {
	f := &Fault{}
	for part := range strings.SplitSeq(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		r, err := parseFaultRule(part)
		if err != nil {
			return nil, fmt.Errorf("fault %q: %w", part, err)
		}
		f.rules = append(f.rules, r)
	}
	return f, nil
}

func parseFaultRule(s string) (*faultRule, error) {
	where, what, ok := strings.Cut(s, "=")
	if !ok {
		return nil, errors.New("want OP=ACTION")
	}
	r := &faultRule{end: math.MaxInt64}
	if what, r.once = strings.CutSuffix(strings.TrimSpace(what), " once"); r.once {
		what = strings.TrimSpace(what)
	}
	where = strings.TrimSpace(where)
	if head, rng, ok := strings.Cut(where, "@"); ok {
		where = head
		off, n, ok := strings.Cut(rng, "+")
		a, err1 := strconv.ParseInt(off, 0, 64)
		b, err2 := strconv.ParseInt(n, 0, 64)
		if !ok || err1 != nil || err2 != nil || a < 0 || b <= 0 || a > math.MaxInt64-b {
			return nil, fmt.Errorf("range %q: want OFFSET+LENGTH", rng)
		}
		r.off, r.end = a, a+b
	}
	if head, k, ok := strings.Cut(where, "#"); ok {
		where = head
		n, err := strconv.Atoi(k)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("count %q: want a number from 1", k)
		}
		r.k = n
	}
	ops, ok := faultOps[where]
	if !ok {
		return nil, fmt.Errorf("operation %q: want read, write, flush, discard, zero or any", where)
	}
	for _, op := range ops {
		r.ops[op] = true
	}
	var err error
	r.act, err = parseFaultAct(what)
	return r, err
}

func parseFaultAct(s string) (a faultAct, err error) {
	word, arg, _ := strings.Cut(s, ":")
	switch word {
	case "lost":
		a.lost = true
	case "slow":
		if a.slow, err = time.ParseDuration(arg); err != nil || a.slow <= 0 {
			return a, fmt.Errorf("duration %q", arg)
		}
	case "short":
		n, err := strconv.ParseUint(arg, 0, 31)
		if err != nil {
			return a, fmt.Errorf("length %q", arg)
		}
		a.short, a.cut = uint32(n), true
	default:
		for e := unix.Errno(1); e < 134; e++ {
			if unix.ErrnoName(e) == word {
				a.errno = e
				return a, nil
			}
		}
		return a, fmt.Errorf("action %q: want an errno, lost, slow:DURATION or short:BYTES", s)
	}
	return a, nil
}

// Fired is how often a rule has fired.
func (f *Fault) Fired() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// Operations is how many operations have arrived.
func (f *Fault) Operations() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// hit counts an operation and says what is to go wrong with it.
func (f *Fault) hit(op engine.Op, off, n int64) (act faultAct, fires bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops++
	for _, r := range f.rules {
		if r.done || !r.ops[op] || (op != engine.OpFlush && (off >= r.end || off+n <= r.off)) {
			continue
		}
		if r.seen++; r.k != 0 && r.seen != r.k {
			continue
		}
		if !fires {
			f.fired++
			act, fires = r.act, true
			r.done = r.once
		}
	}
	return act, fires
}

// NewFaulty puts a fault device over a node. Its reference is the caller's to close; it closes the one below with it.
func NewFaulty(below *engine.Ref, f *Fault) *engine.Ref {
	return engine.NewRef(&faulty{below: below, f: f}, below.Flags())
}

// faulty is the device. It is no Stager: nothing goes around it.
type faulty struct {
	below *engine.Ref
	f     *Fault
}

func (d *faulty) Info() engine.Info {
	i := d.below.Info()
	i.Driver = "fault"
	return i
}

func (d *faulty) Size() int64 { return d.below.Size() }

// wrong does what a rule says in the blocking plane; skip says that the operation must not happen.
func (d *faulty) wrong(ctx context.Context, op engine.Op, off, n int64) (skip bool, err error) {
	act, fires := d.f.hit(op, off, n)
	switch {
	case !fires:
		return false, nil
	case act.errno != 0:
		return true, act.errno
	case act.slow > 0:
		t := time.NewTimer(act.slow)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
	return act.lost && op != engine.OpRead, nil
}

func (d *faulty) ReadAt(ctx context.Context, p []byte, off int64) error {
	if _, err := d.wrong(ctx, engine.OpRead, off, int64(len(p))); err != nil {
		return err
	}
	return d.below.ReadAt(ctx, p, off)
}

func (d *faulty) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	if skip, err := d.wrong(ctx, engine.OpWrite, off, int64(len(p))); skip || err != nil {
		return err
	}
	return d.below.WriteAt(ctx, p, off, flags)
}

func (d *faulty) Flush(ctx context.Context) error {
	if skip, err := d.wrong(ctx, engine.OpFlush, 0, 0); skip || err != nil {
		return err
	}
	return d.below.Flush(ctx)
}

func (d *faulty) Discard(ctx context.Context, off, n int64) error {
	if skip, err := d.wrong(ctx, engine.OpDiscard, off, n); skip || err != nil {
		return err
	}
	return d.below.Discard(ctx, off, n)
}

func (d *faulty) WriteZeroes(ctx context.Context, off, n int64, flags engine.WriteFlags) error {
	if skip, err := d.wrong(ctx, engine.OpZero, off, n); skip || err != nil {
		return err
	}
	return d.below.WriteZeroes(ctx, off, n, flags)
}

func (d *faulty) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	return d.below.Resize(ctx, size, o)
}

func (d *faulty) Extents(ctx context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	return d.below.Extents(ctx, off, n, dst)
}

func (d *faulty) Close() error { return d.below.Close() }

// OpenQueue gives the polled plane the same faults.
func (d *faulty) OpenQueue(ctx context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	n, ok := d.below.Node().(engine.QueueOpener)
	if !ok {
		return nil, engine.Errf(engine.ErrUnsupported, "the node below has no polled plane")
	}
	q, err := n.OpenQueue(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &faultyQueue{Queue: q, f: d.f, depth: cfg.Depth}, nil
}

// EachFault runs body with a device that fails its k-th operation with errno, for k = 1, 2, 3 … until body ends without the fault having
// fired. op is an operation of [ParseFault].
func EachFault(t *testing.T, op string, errno unix.Errno, body func(t *testing.T, k int, f *Fault)) {
	t.Helper()
	const most = 20000
	for k := 1; k <= most; k++ {
		f, err := ParseFault(fmt.Sprintf("%s#%d=%s", op, k, unix.ErrnoName(errno)))
		if err != nil {
			t.Fatal(err)
		}
		body(t, k, f)
		if t.Failed() {
			t.Fatalf("with %s failing at operation %d", op, k)
		}
		if f.Fired() == 0 {
			return
		}
	}
	t.Fatalf("still failing at operation %d: the history has no end", most)
}
