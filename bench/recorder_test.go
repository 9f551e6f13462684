package bench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/bench/result"
	"github.com/blkbench/blkbench/engine"
)

// recorder is a target that notes every request: what a key does is seen in what arrives here.
type recorder struct {
	mu       sync.Mutex
	size     int64
	data     []byte
	ops      []recorded
	inFlight int
	deepest  int
	delay    func(op engine.Op, off int64, seq int) time.Duration
	fail     func(op engine.Op, off int64, seq int) error
	grows    bool
	// intercept sees each request before it is carried out, with the lock held; drop loses a write.
	intercept func(op engine.Op, off int64, p []byte)
	drop      func(off int64) bool
	opens     int
	closes    int
	open      int
	moved     func(delta int) // opened and closed
}

type recorded struct {
	op     engine.Op
	off, n int64
	flags  engine.WriteFlags
	at     time.Time
	done   time.Time
	depth  int
	data   []byte
}

type recorderOptions struct {
	Name string `opt:"name" help:"which recorder of the test"`
	Size int64  `opt:"size" kind:"size" default:"1M" help:"bytes"`
}

// recorders opens a registry whose driver rec records; the map has one recorder a name.
func recorders(t *testing.T, prepare func(name string, r *recorder)) (*engine.Registry, map[string]*recorder) {
	t.Helper()
	var mu sync.Mutex
	all := map[string]*recorder{}
	d := engine.Define(engine.Driver{Name: "rec", Kind: engine.KindProtocol, Help: "records requests"},
		func(_ context.Context, _ *engine.OpenRequest, o *recorderOptions) (engine.Node, error) {
			mu.Lock()
			defer mu.Unlock()
			r := all[o.Name]
			if r == nil {
				r = &recorder{size: o.Size, data: make([]byte, o.Size)}
				if prepare != nil {
					prepare(o.Name, r)
				}
				all[o.Name] = r
			}
			r.opens++
			r.open++
			if r.moved != nil {
				r.moved(1)
			}
			return r, nil
		}, func(context.Context, *engine.CreateRequest, *engine.NoOptions) error { return nil })
	return engine.NewRegistry(d), all
}

func (r *recorder) begin(op engine.Op, off, n int64, flags engine.WriteFlags, p []byte) (int, error) {
	r.mu.Lock()
	r.inFlight++
	r.deepest = max(r.deepest, r.inFlight)
	i := len(r.ops)
	rec := recorded{op: op, off: off, n: n, flags: flags, at: time.Now(), depth: r.inFlight}
	if op == engine.OpWrite {
		rec.data = append([]byte(nil), p...)
	}
	r.ops = append(r.ops, rec)
	if r.intercept != nil {
		r.intercept(op, off, p)
	}
	delay, fail := r.delay, r.fail
	r.mu.Unlock()
	if delay != nil {
		time.Sleep(delay(op, off, i))
	}
	if fail != nil {
		if err := fail(op, off, i); err != nil {
			r.end(i)
			return i, err
		}
	}
	return i, nil
}

func (r *recorder) end(i int) {
	r.mu.Lock()
	r.inFlight--
	r.ops[i].done = time.Now()
	r.mu.Unlock()
}

func (r *recorder) Info() engine.Info {
	caps := engine.CapWritable | engine.CapDiscard | engine.CapFUA
	if r.grows {
		caps |= engine.CapGrowable
	}
	return engine.Info{Driver: "rec", Filename: "rec", Caps: caps}
}

func (r *recorder) Size() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.size
}

func (r *recorder) ReadAt(_ context.Context, p []byte, off int64) error {
	i, err := r.begin(engine.OpRead, off, int64(len(p)), 0, nil)
	if err != nil {
		return err
	}
	r.mu.Lock()
	copy(p, r.data[off:])
	r.mu.Unlock()
	r.end(i)
	return nil
}

func (r *recorder) WriteAt(_ context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	i, err := r.begin(engine.OpWrite, off, int64(len(p)), flags, p)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.grows && off+int64(len(p)) > r.size {
		r.size = off + int64(len(p))
		r.data = append(r.data, make([]byte, r.size-int64(len(r.data)))...)
	}
	if r.drop == nil || !r.drop(off) {
		copy(r.data[off:], p)
	}
	r.mu.Unlock()
	r.end(i)
	return nil
}

func (r *recorder) Flush(context.Context) error {
	i, err := r.begin(engine.OpFlush, 0, 0, 0, nil)
	if err == nil {
		r.end(i)
	}
	return err
}

func (r *recorder) Discard(_ context.Context, off, n int64) error {
	i, err := r.begin(engine.OpDiscard, off, n, 0, nil)
	if err == nil {
		r.end(i)
	}
	return err
}

func (r *recorder) Extents(_ context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	return append(dst, engine.Extent{Off: off, Len: n, Flags: engine.ExtentData | engine.ExtentAllocated}), nil
}

func (r *recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closes++
	r.open--
	if r.moved != nil {
		r.moved(-1)
	}
	return nil
}

// count is how many requests of an operation arrived.
func (r *recorder) count(op engine.Op) int {
	n := 0
	for i := range r.ops {
		if r.ops[i].op == op {
			n++
		}
	}
	return n
}

// of returns the requests of an operation in order of arrival.
func (r *recorder) of(op engine.Op) []recorded {
	var out []recorded
	for i := range r.ops {
		if r.ops[i].op == op {
			out = append(out, r.ops[i])
		}
	}
	return out
}

// outcome is what a test run came to.
type outcome struct {
	*result.Run
	err  error
	recs map[string]*recorder
}

// rec is the only recorder, or the one called "a".
func (o *outcome) rec() *recorder { return o.recs["a"] }

// runArgs runs a command line against recorders: targets are written as driver=rec,name=a.
func runArgs(t *testing.T, prepare func(name string, r *recorder), args ...string) *outcome {
	t.Helper()
	plan, err := fiojob.ParseArgs(args, fiojob.SystemEnv())
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	reg, recs := recorders(t, prepare)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	res, err := Run(ctx, Config{Env: &engine.Env{Registry: reg}, Plan: plan, Version: "test"})
	return &outcome{res, err, recs}
}

// job is the usual beginning of a command line: one recorder of 1 MiB, depth 1.
func job(extra ...string) []string { return on("driver=rec,name=a", extra...) }

// on is job for another target.
func on(target string, extra ...string) []string {
	return append([]string{"--name=j", "--filename=" + target, "--bs=4k", "--iodepth=1"}, extra...)
}

func (o *outcome) must(t *testing.T) *outcome {
	t.Helper()
	if o.err != nil {
		t.Fatal(o.err)
	}
	return o
}

func (o *outcome) String() string {
	return fmt.Sprintf("%d requests, error %v", len(o.rec().ops), o.err)
}
