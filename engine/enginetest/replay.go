package enginetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// Graph is what a history runs over.
type Graph struct {
	Root    *engine.Ref
	Content []byte // at the start; nil: zeroes
	// Disturb changes the graph, or where things are, under traffic. It is called on a goroutine of its own.
	Disturb func(seed uint64)
	// Clock is advanced when nothing else moves.
	Clock *Clock
	// MayFail says which errors are injected on purpose; nil: none.
	MayFail func(error) bool
	// After is called when the history is over and the Path closed, and may say what is wrong.
	After func() error
}

// ReplayConfig says what is replayed, over which graphs.
type ReplayConfig struct {
	HistoryConfig
	// Build makes a graph. It is given a seed of its own for what is random in it; t.Cleanup runs when the history is over.
	Build func(t testing.TB, seed uint64) *Graph
	Seed  uint64
	Runs  int // histories; 0 means 1
	// Polled skips nothing when nil; it is told what the Path has done, to assert that the ways that matter were taken.
	Polled func(s engine.PathStats)
	Arena  dma.Config // what buffers are in; Size is filled in
}

// Plane is one of the two ways into a graph.
type Plane string

// The planes that a history runs over.
const (
	Blocking Plane = "blocking"
	Polled   Plane = "polled"
)

// Replay runs random histories against a byte slice on one side, and the blocking and the polled plane of a graph on the other. What
// fails is made shorter as long as it fails, and printed with its seed.
func Replay(t *testing.T, cfg ReplayConfig) {
	t.Helper()
	Long(t)
	for run := range max(1, cfg.Runs) {
		seed := cfg.Seed + uint64(run)
		h := cfg.Random(seed)
		for _, plane := range []Plane{Blocking, Polled} {
			err := cfg.try(t, h, seed, plane)
			if err == nil {
				continue
			}
			short, err := Shorten(h, err, func(h History) error { return cfg.try(t, h, seed, plane) })
			t.Fatalf("%s plane, seed %d: %v\nafter\n%s", plane, seed, err, short)
		}
	}
}

// stuckAfter is how long a history may take: far more than any needs.
const stuckAfter = 60 * time.Second

// try runs a history over a new graph.
func (c *ReplayConfig) try(t testing.TB, h History, seed uint64, plane Plane) error {
	tr := &trial{TB: t}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- tr.run(func() error { return c.replay(tr, h, seed, plane) })
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(stuckAfter):
		buf := make([]byte, 1<<20)
		buf = buf[:runtime.Stack(buf, true)]
		panic(fmt.Sprintf("%s plane, seed %d: stuck after %v in\n%s\n%s", plane, seed, stuckAfter, h, buf))
	}
}

func (c *ReplayConfig) replay(t testing.TB, h History, seed uint64, plane Plane) error {
	g := c.Build(t, seed)
	content := make([]byte, g.Root.Size())
	copy(content, g.Content)
	r := &replayer{g: g, cfg: c, model: newModel(content)}
	run := r.blockingBatch
	if plane == Polled {
		if err := r.openPath(t); err != nil {
			return err
		}
		run = r.polledBatch
	}
	err := r.batches(h, run)
	if err == nil {
		err = r.whole(run)
	}
	if r.path != nil {
		if c.Polled != nil {
			c.Polled(r.path.Stats())
		}
		if g.Clock != nil {
			g.Clock.Advance(time.Hour) // what an error has left among the timers
		}
		err = errors.Join(err, r.path.Close())
	}
	if err == nil && plane == Polled {
		err = r.whole(r.blockingBatch)
	}
	if err == nil && g.After != nil {
		err = g.After()
	}
	return err
}

// replayer is one run of a history over one graph.
type replayer struct {
	g     *Graph
	cfg   *ReplayConfig
	model *model
	path  *engine.Path
	reqs  []engine.Request
	list  []*engine.Request
	done  []*engine.Request
}

func (r *replayer) batches(h History, run func([]Step) ([]outcome, error)) error {
	for i, batch := range h {
		var others sync.WaitGroup
		var data []Step
		for _, s := range batch {
			switch s.Kind {
			case StepDisturb:
				if r.g.Disturb != nil {
					others.Go(func() { r.g.Disturb(s.Fill) })
				}
			case StepResize:
				if err := r.g.Root.Resize(context.Background(), s.Off, engine.ResizeOptions{Exact: true}); err != nil {
					return fmt.Errorf("batch %d: %w", i, err)
				}
				r.model.resize(s.Off)
			default:
				// A history that was shortened may have lost the resize that made room.
				if s.Off+s.Len <= int64(len(r.model.now)) {
					data = append(data, s)
				}
			}
		}
		out, err := run(data)
		others.Wait()
		if err == nil {
			err = r.model.check(out, r.g.MayFail)
		}
		if err != nil {
			return fmt.Errorf("batch %d: %w", i, err)
		}
	}
	return nil
}

// whole reads everything once more.
func (r *replayer) whole(run func([]Step) ([]outcome, error)) error {
	size := int64(len(r.model.now))
	if r.g.Root.Size() != size {
		return fmt.Errorf("the size is %d, want %d", r.g.Root.Size(), size)
	}
	for off := int64(0); off < size; off += r.cfg.MaxLen {
		out, err := run([]Step{{Kind: StepRead, Off: off, Len: min(r.cfg.MaxLen, size-off)}})
		if err == nil {
			err = r.model.check(out, r.g.MayFail)
		}
		if err != nil {
			return fmt.Errorf("at the end: %w", err)
		}
	}
	return nil
}

func (r *replayer) blockingBatch(batch []Step) ([]outcome, error) {
	ctx, out := context.Background(), make([]outcome, len(batch))
	var wg sync.WaitGroup
	for i, s := range batch {
		o := &out[i]
		o.step = s
		wg.Go(func() {
			p := make([]byte, s.Len)
			switch s.Kind {
			case StepRead:
				o.err = r.g.Root.ReadAt(ctx, p, s.Off)
				o.data = p
			case StepWrite:
				s.fill(p, s.Off)
				o.err = r.g.Root.WriteAt(ctx, p, s.Off, s.Flags)
			case StepFlush:
				o.err = r.g.Root.Flush(ctx)
			case StepDiscard:
				o.err = r.g.Root.Discard(ctx, s.Off, s.Len)
			case StepZero:
				o.err = r.g.Root.WriteZeroes(ctx, s.Off, s.Len, s.Flags)
			case StepResize, StepDisturb:
			}
		})
	}
	wg.Wait()
	return out, nil
}

var stepOps = [...]engine.Op{
	StepRead: engine.OpRead, StepWrite: engine.OpWrite, StepFlush: engine.OpFlush, StepDiscard: engine.OpDiscard, StepZero: engine.OpZero,
}

func (r *replayer) openPath(t testing.TB) error {
	depth := max(1, r.cfg.Depth/2) // less than a batch, so that Submit takes fewer at times
	slot := int(r.cfg.MaxLen+4095) &^ 4095
	ac := r.cfg.Arena
	ac.Size, ac.NoHuge = r.cfg.Depth*(slot+4096), true
	a, err := dma.New(ac)
	if err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	r.reqs = make([]engine.Request, r.cfg.Depth)
	r.done = make([]*engine.Request, 3)
	for i := range r.reqs {
		h, err := a.Alloc(slot + 4096)
		if err != nil {
			return err
		}
		r.reqs[i].Buf = h
		r.reqs[i].Slot = uint32(i)
		r.list = append(r.list, &r.reqs[i])
	}
	r.path, err = engine.OpenPath(context.Background(), r.g.Root, engine.PathConfig{
		Poller: engine.NewPoller(), Depth: depth, Arenas: []*dma.Arena{a}, Workers: 3,
	})
	return err
}

func (r *replayer) polledBatch(batch []Step) ([]outcome, error) {
	out := make([]outcome, len(batch))
	want := make([]engine.Request, len(batch))
	for i, s := range batch {
		q := r.list[i]
		base := q.Buf
		q.Off, q.Len, q.Op, q.Flags, q.User = s.Off, uint32(s.Len), stepOps[s.Kind], s.Flags, uint64(i)+1
		if s.Kind == StepWrite {
			q.Buf = base.Add(uint32(s.Fill % 3 * 256)) // memory that does not fit everywhere
			s.fill(dma.Bytes(q.Buf, int(s.Len)), s.Off)
		}
		out[i].step, want[i] = s, *q
		defer func() { q.Buf = base }()
	}
	if err := r.drive(batch, out, want); err != nil {
		return nil, err
	}
	return out, nil
}

// drive submits a batch and polls until all of it is complete.
func (r *replayer) drive(batch []Step, out []outcome, want []engine.Request) error {
	sent, got := 0, 0
	complete := make([]bool, len(batch))
	for got < len(batch) {
		sent += r.path.Submit(r.list[sent:len(batch)])
		if err := r.path.Kick(); err != nil {
			return err
		}
		n := r.path.Poll(r.done)
		for _, q := range r.done[:n] {
			i := int(q.Slot)
			w := &want[i]
			switch {
			case i >= sent || complete[i]:
				return fmt.Errorf("request %d (%s) completes twice", i, batch[i])
			case q.Off != w.Off || q.Len != w.Len || q.Buf != w.Buf || q.Op != w.Op || q.Flags != w.Flags || q.User != w.User:
				return fmt.Errorf("request %d (%s) comes back changed: %+v", i, batch[i], q)
			case q.Err() == nil && q.Op <= engine.OpWrite && q.Res != int32(q.Len):
				return fmt.Errorf("request %d (%s): %d bytes", i, batch[i], q.Res)
			}
			complete[i] = true
			if out[i].err = q.Err(); batch[i].Kind == StepRead {
				out[i].data = append([]byte(nil), dma.Bytes(q.Buf, int(q.Len))...)
			}
			got++
		}
		if n > 0 || got == len(batch) {
			continue
		}
		limit := time.Duration(-1)
		if r.g.Clock != nil {
			r.g.Clock.Advance(time.Microsecond)
			limit = 20 * time.Microsecond
		}
		if err := r.path.Wait(limit); err != nil {
			return err
		}
	}
	if n := r.path.InFlight(); n != 0 {
		return fmt.Errorf("%d requests in flight after all have completed", n)
	}
	return nil
}

// trial is a testing.TB for one run of many: it keeps errors, and runs clean-ups at the end of the run.
type trial struct {
	testing.TB
	mu       sync.Mutex
	errs     []error
	cleanups []func()
}

type trialEnds struct{}

func (t *trial) run(f func() error) (err error) {
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		err = errors.Join(append(t.errs, err)...)
	}()
	defer func() {
		for _, v := range slices.Backward(t.cleanups) {
			v()
		}
	}()
	defer func() {
		switch p := recover(); p.(type) {
		case nil, trialEnds:
		default:
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

func (t *trial) add(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.errs) < 5 {
		t.errs = append(t.errs, err)
	}
}

func (t *trial) Helper()                   {}
func (t *trial) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *trial) Error(args ...any)         { t.add(errors.New(fmt.Sprint(args...))) }
func (t *trial) Errorf(f string, a ...any) { t.add(fmt.Errorf(f, a...)) }
func (t *trial) Fatal(args ...any)         { t.Error(args...); panic(trialEnds{}) }
func (t *trial) FailNow()                  { panic(trialEnds{}) }
func (t *trial) Failed() bool              { t.mu.Lock(); defer t.mu.Unlock(); return len(t.errs) > 0 }
func (t *trial) Fatalf(f string, a ...any) { t.Errorf(f, a...); panic(trialEnds{}) }
func (t *trial) Logf(string, ...any)       {}
func (t *trial) Log(...any)                {}
