// Package log records every request that goes through a node to a trace ([trace]), which `blkbench replay` plays again: operation, place,
// time of issue, latency and result; never the data. Nodes that name one file share the trace.
//
// In the polled plane it watches ([engine.Observer]) and costs a few dozen nanoseconds a request; it never waits: a trace that cannot be
// written as fast as requests come misses some, and says so on close. Below a format it is opaque, and its blocking methods record.
package log

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/internal/pass"
	"github.com/blkbench/blkbench/engine/opts"
	"github.com/blkbench/blkbench/engine/trace"
)

// OpenOptions are the options of a log node.
type OpenOptions struct {
	Trace string `opt:"trace" required:"true" help:"the file that requests are recorded to; it is overwritten"`
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[OpenOptions, engine.NoOptions](engine.Driver{
		Name: "log", Kind: engine.KindFilter, Help: "records every request to a trace that can be replayed",
	}, open, nil)
}

func open(ctx context.Context, r *engine.OpenRequest, o *OpenOptions) (engine.Node, error) {
	child, err := r.MustChild(ctx, "file", engine.RoleFiltered)
	if err != nil {
		return nil, err
	}
	v, err := r.Env.Live("trace", o.Trace, func(opts.Object, bool) (any, error) { return &Recorder{name: o.Trace}, nil })
	if err != nil {
		return nil, errors.Join(err, child.Close())
	}
	n, err := New(child, v.(*Recorder))
	if err != nil {
		return nil, errors.Join(err, child.Close())
	}
	return n, nil
}

// Recorder is a trace that nodes share. It is open while one of them is.
type Recorder struct {
	name  string
	mu    sync.Mutex
	users int
	used  bool // it was written before: more goes behind what is there
	f     *os.File
	w     *trace.Writer
	start atomic.Int64 // engine's clock at the first request, plus one; 0: there was none
}

// NewRecorder makes the trace of a file, which is written as soon as a node uses it.
func NewRecorder(name string) *Recorder { return &Recorder{name: name} }

// Hold opens the trace and keeps it open until Release, whatever nodes come and go.
func (r *Recorder) Hold() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return err
	}
	r.users++
	return nil
}

// Release undoes Hold.
func (r *Recorder) Release() error { return r.leave() }

// open opens the file for its first user. mu is held.
func (r *Recorder) open() error {
	switch {
	case r.users > 0:
		return nil
	case r.used:
		return fmt.Errorf("the trace %s is complete: its nodes were closed", r.name)
	}
	f, err := os.OpenFile(r.name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	r.f, r.w, r.used = f, trace.NewWriter(io.Writer(f)), true
	return nil
}

// join gives a node a number in the trace.
func (r *Recorder) join(node string) (*trace.Writer, uint16, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(); err != nil {
		return nil, 0, err
	}
	r.users++
	n, err := r.w.Name(node)
	if err != nil {
		r.users-- // somebody else closes it, or nobody wrote to it
		return nil, 0, err
	}
	return r.w, n, nil
}

func (r *Recorder) leave() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users--; r.users > 0 {
		return nil
	}
	return errors.Join(r.w.Close(), r.f.Close())
}

// Node records.
type Node struct {
	pass.Node
	rec *Recorder
	w   *trace.Writer
	no  uint16
}

// New puts a node over child, which it owns from then on.
func New(child *engine.Ref, rec *Recorder) (*Node, error) {
	n := &Node{Node: pass.Over(child, "log"), rec: rec}
	var err error
	if n.w, n.no, err = rec.join(n.Says.Filename); err != nil {
		return nil, err
	}
	return n, nil
}

// Stage implements engine.Stager.
func (n *Node) Stage() engine.Stage { return engine.Stage{Child: n.File, Observe: n} }

// opOf turns the engine's operations into the trace's; false for those that are not recorded.
func opOf(op engine.Op) (trace.Op, bool) {
	switch op {
	case engine.OpRead:
		return trace.Read, true
	case engine.OpWrite:
		return trace.Write, true
	case engine.OpFlush:
		return trace.Flush, true
	case engine.OpDiscard:
		return trace.Discard, true
	case engine.OpZero:
		return trace.Zero, true
	default:
		return 0, false
	}
}

// Observe implements engine.Observer.
func (n *Node) Observe(op engine.Op, off, count, issued, done int64, err error) {
	n.record(op, off, count, 0, issued, done, err)
}

// record adds an entry; a length that does not fit makes several.
func (n *Node) record(op engine.Op, off, count int64, flags engine.WriteFlags, issued, done int64, err error) {
	t, ok := opOf(op)
	if !ok {
		return
	}
	start := n.rec.start.Load()
	if start == 0 {
		n.rec.start.CompareAndSwap(0, issued+1)
		start = n.rec.start.Load()
	}
	e := trace.Entry{
		Op: t, Flags: uint8(flags & (engine.FUA | engine.MayUnmap | engine.NoFallback | engine.Compressed)), Node: n.no,
		Off: off, At: max(0, issued+1-start), Latency: uint32(min(max(0, done-issued), 1<<32-1)),
	}
	if err != nil {
		e.Errno = uint16(engine.Errno(err))
	}
	const most = 1 << 31
	for ; count > most; count -= most {
		e.Len = most
		n.w.Add(&e)
		e.Off += most
	}
	e.Len = uint32(count)
	n.w.Add(&e)
}

// ReadAt implements engine.Node.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	issued := engine.Now()
	err := n.Node.ReadAt(ctx, p, off)
	n.record(engine.OpRead, off, int64(len(p)), 0, issued, engine.Now(), err)
	return err
}

// WriteAt implements engine.Node.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	issued := engine.Now()
	err := n.Node.WriteAt(ctx, p, off, flags)
	n.record(engine.OpWrite, off, int64(len(p)), flags, issued, engine.Now(), err)
	return err
}

// WriteCompressed implements engine.CompressedWriter.
func (n *Node) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	issued := engine.Now()
	err := n.Node.WriteCompressed(ctx, p, off)
	n.record(engine.OpWrite, off, int64(len(p)), engine.Compressed, issued, engine.Now(), err)
	return err
}

// WriteZeroes implements engine.ZeroWriter.
func (n *Node) WriteZeroes(ctx context.Context, off, count int64, flags engine.WriteFlags) error {
	issued := engine.Now()
	err := n.Node.WriteZeroes(ctx, off, count, flags)
	n.record(engine.OpZero, off, count, flags, issued, engine.Now(), err)
	return err
}

// Discard implements engine.Discarder.
func (n *Node) Discard(ctx context.Context, off, count int64) error {
	issued := engine.Now()
	err := n.Node.Discard(ctx, off, count)
	n.record(engine.OpDiscard, off, count, 0, issued, engine.Now(), err)
	return err
}

// Flush implements engine.Node.
func (n *Node) Flush(ctx context.Context) error {
	issued := engine.Now()
	err := n.Node.Flush(ctx)
	n.record(engine.OpFlush, 0, 0, 0, issued, engine.Now(), err)
	return err
}

// Close closes the child, and the trace with its last node.
func (n *Node) Close() error { return errors.Join(n.Node.Close(), n.rec.leave()) }
