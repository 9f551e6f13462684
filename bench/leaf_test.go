package bench

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/blkbench/blkbench/bench/fiojob"
	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/dma"
)

// leaf is a target with a polled plane that lives on the job's own thread: what arrives at Submit is what the loop does, in the batches
// it does it in. It completes each request at once unless a test says otherwise.
type leaf struct {
	size int64
	sync.Mutex
	configs []engine.QueueConfig
	flags   []engine.OpenFlags
	submits []int // sizes of the batches
	ops     []recorded
	waits   int
	polls   int    // how often somebody looked
	most    int    // completions handed out at once
	opened  func() // on the job's thread
	answer  func(r *engine.Request) int32
	quiet   bool // notes nothing
	content func(p []byte, off int64)
	write   func(p []byte, off int64)
	hold    func(r *engine.Request) bool // true: not yet complete
}

type leafQueue struct {
	*leaf
	ready []*engine.Request
}

func (l *leaf) Info() engine.Info {
	return engine.Info{Driver: "leaf", Filename: "leaf", Caps: engine.CapWritable | engine.CapDiscard | engine.CapFUA | engine.CapVolatile}
}
func (l *leaf) Size() int64                                                     { return l.size }
func (l *leaf) ReadAt(context.Context, []byte, int64) error                     { return nil }
func (l *leaf) WriteAt(context.Context, []byte, int64, engine.WriteFlags) error { return nil }
func (l *leaf) Flush(context.Context) error                                     { return nil }
func (l *leaf) Discard(context.Context, int64, int64) error                     { return nil }
func (l *leaf) Close() error                                                    { return nil }
func (l *leaf) Extents(_ context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	return append(dst, engine.Extent{Off: off, Len: n, Flags: engine.ExtentData}), nil
}

func (l *leaf) OpenQueue(_ context.Context, cfg engine.QueueConfig) (engine.Queue, error) {
	l.Lock()
	l.configs = append(l.configs, cfg)
	l.Unlock()
	if l.opened != nil {
		l.opened()
	}
	return &leafQueue{leaf: l, ready: make([]*engine.Request, 0, cfg.Depth)}, nil
}

func (q *leafQueue) Supports(engine.Op) bool { return true }

func (q *leafQueue) Submit(reqs []*engine.Request) int {
	q.ready = append(q.ready, reqs...)
	if !q.quiet {
		q.submits = append(q.submits, len(reqs))
		now := time.Now()
		for _, r := range reqs {
			q.ops = append(q.ops, recorded{op: r.Op, off: r.Off, n: int64(r.Len), flags: r.Flags, at: now, depth: len(q.ready)})
		}
	}
	return len(reqs)
}

func (q *leafQueue) Kick() error { return nil }

func (q *leafQueue) Poll(done []*engine.Request) int {
	if q.quiet {
		n := copy(done, q.ready)
		for _, r := range done[:n] {
			if r.Op <= engine.OpWrite {
				r.Res = int32(r.Len)
			}
		}
		q.ready = q.ready[:copy(q.ready, q.ready[n:])]
		return n
	}
	q.polls++
	n := 0
	kept := q.ready[:0]
	for i, r := range q.ready {
		if n == len(done) || (q.hold != nil && q.hold(r)) {
			kept = append(kept, q.ready[i])
			continue
		}
		r.Res = 0
		if r.Op <= engine.OpWrite {
			r.Res = int32(r.Len)
			p := dma.Bytes(r.Buf, int(r.Len))
			if r.Op == engine.OpRead && q.content != nil {
				q.content(p, r.Off)
			}
			if r.Op == engine.OpWrite && q.write != nil {
				q.write(p, r.Off)
			}
		}
		if q.answer != nil {
			if res := q.answer(r); res != 0 {
				r.Res = res
			}
		}
		done[n] = r
		n++
	}
	q.ready = kept
	q.most = max(q.most, n)
	return n
}

func (q *leafQueue) Wait(time.Duration) error {
	q.waits++
	return nil
}
func (q *leafQueue) Close() error { return nil }

// leafRegistry has one driver, leaf, that opens l.
func leafRegistry(l *leaf) *engine.Registry {
	type options struct {
		Size int64 `opt:"size" kind:"size" default:"1M" help:"bytes"`
	}
	return engine.NewRegistry(engine.Define(engine.Driver{Name: "leaf", Kind: engine.KindProtocol, Help: "completes at once"},
		func(_ context.Context, req *engine.OpenRequest, o *options) (engine.Node, error) {
			l.Lock()
			l.size = o.Size
			l.flags = append(l.flags, req.Flags)
			l.Unlock()
			return l, nil
		}, func(context.Context, *engine.CreateRequest, *engine.NoOptions) error { return nil }))
}

// runLeaf runs a command line against a leaf.
func runLeaf(tb testing.TB, l *leaf, args ...string) *outcome {
	tb.Helper()
	plan, err := fiojob.ParseArgs(append([]string{"--name=j", "--filename=driver=leaf,size=1G", "--bs=4k"}, args...), fiojob.SystemEnv())
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 60*time.Second)
	defer cancel()
	res, err := Run(ctx, Config{Env: &engine.Env{Registry: leafRegistry(l)}, Plan: plan, Version: "test"})
	return &outcome{Run: res, err: err}
}

// count is how many requests of an operation arrived.
func (l *leaf) count(op engine.Op) int {
	n := 0
	for i := range l.ops {
		if l.ops[i].op == op {
			n++
		}
	}
	return n
}

// quietly tries something that goes by real time until it holds, at most for half a minute: on a busy machine a thread may not get to run
// when it should.
func quietly(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		if err = try(); err == nil {
			return
		}
	}
	t.Error(err)
}

func BenchmarkLoop(b *testing.B) {
	for _, c := range []struct {
		name string
		args []string
	}{
		{"depth=1", []string{"--rw=randread", "--iodepth=1"}},
		{"depth=32", []string{"--rw=randread", "--iodepth=32"}},
		{"depth=32,reduced", []string{"--rw=randread", "--iodepth=32", "--gtod_reduce=1"}},
		{"depth=32,randrw", []string{"--rw=randrw", "--iodepth=32"}},
		{"depth=32,write", []string{"--rw=randwrite", "--iodepth=32"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			o := runLeaf(b, &leaf{quiet: true}, append(c.args, "--time_based", "--runtime=1")...)
			if o.err != nil {
				b.Fatal(o.err)
			}
			n := o.Jobs[0].Dir[0].IOs + o.Jobs[0].Dir[1].IOs
			cpu := o.Jobs[0].CPUUser + o.Jobs[0].CPUSys
			b.ReportMetric(float64(cpu)/float64(n), "cpu-ns/io")
			b.ReportMetric(0, "ns/op")
		})
	}
}
