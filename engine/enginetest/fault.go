package enginetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine"
)

// Faults makes the operations of the nodes that it is put over go wrong, by rules. Its methods may be called from many goroutines at once.
type Faults struct {
	mu    sync.Mutex
	rules []ruleState
	ops   uint64
	fired uint64
}

type ruleState struct {
	Rule
	seen, fired uint64
}

// NewFaults makes faults of the text of rules, see [Rule].
func NewFaults(t testing.TB, rules string) *Faults {
	t.Helper()
	list, err := ParseRules(rules)
	if err != nil {
		t.Fatal(err)
	}
	f := &Faults{}
	f.Set(list...)
	return f
}

// Set exchanges the rules; their counts start anew.
func (f *Faults) Set(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = f.rules[:0]
	for _, r := range rules {
		f.rules = append(f.rules, ruleState{Rule: r})
	}
}

// Fired returns how many operations have gone wrong.
func (f *Faults) Fired() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fired
}

// Ops returns how many operations there were.
func (f *Faults) Ops() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// decide counts an operation and returns the rule that it goes wrong by: the first that applies.
func (f *Faults) decide(op FaultOp, off, n int64) (Rule, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops++
	hit := -1
	for i := range f.rules {
		r := &f.rules[i]
		if !r.fits(op, off, n) {
			continue
		}
		r.seen++
		on := r.seen%max(1, r.Every) == 0
		if r.Nth > 0 {
			on = r.seen == r.Nth
		}
		if on && hit < 0 && (!r.Once || r.fired == 0) {
			hit = i
		}
	}
	if hit < 0 {
		return Rule{}, false
	}
	f.rules[hit].fired++
	f.fired++
	return f.rules[hit].Rule, true
}

// Over puts the faults between a node and its user. The reference is closed with the one that is returned. A node with a queue has one
// above the faults as well.
func (f *Faults) Over(ref *engine.Ref) *engine.Ref {
	return engine.NewRef(&faulty{pass{child: ref, name: "faults"}, f}, ref.Flags())
}

// faulty is a node above which things go wrong.
type faulty struct {
	pass
	f *Faults
}

// Info is the child's but for the name: a fault can not be told from the child's own.
func (n *faulty) Info() engine.Info {
	i := n.child.Info()
	i.Driver = "faults"
	return i
}

// before decides about an operation: an error, or how many bytes to move and whether to move them.
func (n *faulty) before(ctx context.Context, op FaultOp, off, length int64) (move int64, err error) {
	r, hit := n.f.decide(op, off, length)
	if !hit {
		return length, nil
	}
	switch r.Effect {
	case FaultShort:
		unit := int64(max(1, n.child.Info().Limits.RequestAlign))
		return min(length, r.N/unit*unit), nil
	case FaultSlow:
		return length, sleepUntil(ctx, engine.Now()+int64(r.Delay))
	case FaultLost:
		return -1, nil
	default:
		return 0, r.Errno
	}
}

// sleepUntil waits for a moment of the engine's clock, which somebody may move by hand.
func sleepUntil(ctx context.Context, at int64) error {
	for {
		left := time.Duration(at - engine.Now())
		if left <= 0 {
			return nil
		}
		t := time.NewTimer(min(left, time.Millisecond))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// ReadAt implements engine.Node.
func (n *faulty) ReadAt(ctx context.Context, p []byte, off int64) error {
	k, err := n.before(ctx, FaultRead, off, int64(len(p)))
	if err == nil && k > 0 {
		err = n.tail(off, k, func(k int64) error { return n.child.ReadAt(ctx, p[:k], off) })
		clear(p[min(int64(len(p)), max(0, n.Size()-off)):])
	}
	return n.whole(k, len(p), err)
}

// tail cuts a range off at the child's end: the last block is asked for whole, which a Ref is not.
func (n *faulty) tail(off, k int64, f func(k int64) error) error {
	if k = min(k, max(0, n.Size()-off)); k == 0 {
		return nil
	}
	return f(k)
}

// whole fails what moved less than it was to.
func (n *faulty) whole(k int64, want int, err error) error {
	if err == nil && k >= 0 && k < int64(want) {
		return fmt.Errorf("%d of %d bytes moved: %w", k, want, unix.EIO)
	}
	return err
}

// WriteAt implements engine.Node.
func (n *faulty) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	k, err := n.before(ctx, FaultWrite, off, int64(len(p)))
	if err == nil && k > 0 {
		if n.child.Info().Caps.Has(engine.CapGrowable) {
			err = n.child.WriteAt(ctx, p[:k], off, flags)
		} else {
			err = n.tail(off, k, func(k int64) error { return n.child.WriteAt(ctx, p[:k], off, flags) })
		}
	}
	return n.whole(k, len(p), err)
}

// WriteZeroes implements engine.ZeroWriter.
func (n *faulty) WriteZeroes(ctx context.Context, off, length int64, flags engine.WriteFlags) error {
	k, err := n.before(ctx, FaultZero, off, length)
	if err != nil || k < 0 {
		return err
	}
	return n.child.WriteZeroes(ctx, off, length, flags)
}

// Discard implements engine.Discarder.
func (n *faulty) Discard(ctx context.Context, off, length int64) error {
	k, err := n.before(ctx, FaultDiscard, off, length)
	if err != nil || k < 0 {
		return err
	}
	return n.child.Discard(ctx, off, length)
}

// Flush implements engine.Node.
func (n *faulty) Flush(ctx context.Context) error {
	k, err := n.before(ctx, FaultFlush, 0, 0)
	if err != nil || k < 0 {
		return err
	}
	return n.child.Flush(ctx)
}

// Resize implements engine.Resizer.
func (n *faulty) Resize(ctx context.Context, size int64, o engine.ResizeOptions) error {
	k, err := n.before(ctx, FaultResize, 0, 0)
	if err != nil || k < 0 {
		return err
	}
	return n.child.Resize(ctx, size, o)
}

// Extents implements engine.Node. Nothing goes wrong here.
func (n *faulty) Extents(ctx context.Context, off, length int64, dst []engine.Extent) ([]engine.Extent, error) {
	return n.child.Extents(ctx, off, length, dst)
}

// maxFaults is how many operations a test may have that EachFault goes through.
const maxFaults = 100_000

// EachFault runs a test over and over: in the first run the first operation fails, in the second the second, until a run has none that
// fails. A rule says which operations are meant and how they fail, with neither number; without rules any fails with EIO. The test puts f
// over its nodes, and wants errors to be handled: reported, and nothing else broken.
func EachFault(t *testing.T, test func(t *testing.T, f *Faults), rules ...string) {
	t.Helper()
	Long(t)
	if len(rules) == 0 {
		rules = []string{"any=EIO"}
	}
	for _, text := range rules {
		t.Run(text, func(t *testing.T) { eachFault(t, text, test) })
	}
}

func eachFault(t *testing.T, text string, test func(t *testing.T, f *Faults)) {
	t.Helper()
	list, err := ParseRules(text)
	if err != nil || len(list) != 1 || list[0].Nth != 0 || list[0].Every != 0 {
		t.Fatalf("rule %q: want one without a number: %v", text, err)
	}
	for k := uint64(1); k <= maxFaults; k++ {
		r := list[0]
		r.Nth = k
		f := &Faults{}
		f.Set(r)
		if !t.Run(r.String(), func(t *testing.T) { test(t, f) }) {
			t.Fatalf("stopped at the %d. fault", k)
		}
		if f.Fired() == 0 {
			if k == 1 {
				t.Fatal("nothing that could fail")
			}
			return
		}
	}
	t.Fatalf("%d operations fail, and there are more", maxFaults)
}
