package enginetest

import (
	"context"
	"sync/atomic"

	"github.com/blkbench/blkbench/engine"
)

// pass hands everything to the child: what filters have in common.
type pass struct {
	child *engine.Ref
	name  string
	shift int64
	size  int64 // 0: the child's
}

func (f *pass) Info() engine.Info {
	i := f.child.Info()
	i.Driver, i.Filename, i.Notes, i.Detail = f.name, "toy", nil, nil
	i.Caps &^= engine.CapGrowable
	i.Limits = engine.Limits{}
	return i
}

func (f *pass) Size() int64 {
	if f.size != 0 {
		return f.size
	}
	return f.child.Size()
}

func (f *pass) ReadAt(ctx context.Context, p []byte, off int64) error {
	return f.child.ReadAt(ctx, p, off+f.shift)
}

func (f *pass) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	return f.child.WriteAt(ctx, p, off+f.shift, flags)
}
func (f *pass) Flush(ctx context.Context) error { return f.child.Flush(ctx) }
func (f *pass) Discard(ctx context.Context, off, n int64) error {
	return f.child.Discard(ctx, off+f.shift, n)
}
func (f *pass) Close() error             { return f.child.Close() }
func (f *pass) Children() []engine.Child { return []engine.Child{{Name: "file", Ref: f.child}} }
func (f *pass) WriteZeroes(ctx context.Context, off, n int64, flags engine.WriteFlags) error {
	return f.child.WriteZeroes(ctx, off+f.shift, n, flags)
}

func (f *pass) Extents(ctx context.Context, off, n int64, dst []engine.Extent) ([]engine.Extent, error) {
	out, err := f.child.Extents(ctx, off+f.shift, n, dst)
	for i := len(dst); i < len(out); i++ {
		out[i].Off -= f.shift
		if out[i].File == nil {
			out[i].File = f.child
		}
	}
	return out, err
}

// Shift is a window into its child.
type Shift struct{ pass }

// NewShift makes the window of size bytes that starts at shift.
func NewShift(child *engine.Ref, shift, size int64) *Shift {
	return &Shift{pass{child: child, name: "toy-shift", shift: shift, size: size}}
}

// Stage implements engine.Stager.
func (f *Shift) Stage() engine.Stage { return engine.Stage{Child: f.child, Shift: f.shift} }

// Opaque does nothing, and says nothing about it: everything goes through its blocking methods.
type Opaque struct{ pass }

// NewOpaque puts an opaque layer over child.
func NewOpaque(child *engine.Ref) *Opaque { return &Opaque{pass{child: child, name: "toy-opaque"}} }

// Delay holds requests back by a time that their turn decides, and counts what it lets through. Its blocking methods count, but do not
// wait.
type Delay struct {
	pass
	most  int64 // nanoseconds
	seed  uint64
	turn  atomic.Uint64
	bytes atomic.Int64
	seen  atomic.Int64
}

// NewDelay makes a filter that delays by less than most nanoseconds of the engine's clock.
func NewDelay(child *engine.Ref, most int64, seed uint64) *Delay {
	return &Delay{pass: pass{child: child, name: "toy-delay"}, most: most, seed: seed}
}

// Charged returns how many bytes were let through.
func (f *Delay) Charged() int64 { return f.bytes.Load() }

// Observed returns how many requests were seen to the end by the polled plane.
func (f *Delay) Observed() int64 { return f.seen.Load() }

// Stage implements engine.Stager.
func (f *Delay) Stage() engine.Stage { return engine.Stage{Child: f.child, Admit: f} }

// Admit implements engine.Admitter.
func (f *Delay) Admit(_ engine.Op, n, now int64) int64 {
	f.bytes.Add(n)
	if f.most == 0 {
		return now
	}
	return now + int64(mix(f.turn.Add(1)^f.seed)%uint64(f.most))
}

// ReadAt implements engine.Node.
func (f *Delay) ReadAt(ctx context.Context, p []byte, off int64) error {
	f.bytes.Add(int64(len(p)))
	return f.pass.ReadAt(ctx, p, off)
}

// WriteAt implements engine.Node.
func (f *Delay) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	f.bytes.Add(int64(len(p)))
	return f.pass.WriteAt(ctx, p, off, flags)
}
