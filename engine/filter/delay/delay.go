// Package delay makes requests wait, by a distribution of latencies, before they go to the child: for seeing what a slow device does to
// what is above it. Requests wait side by side, however many there are; each waits its own time, which a seed decides together with its
// turn, so that a run can be had again.
//
// Both planes wait: the polled one by [engine.Admitter], without blocking or allocating. Flushes go at once.
package delay

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/filter/internal/pass"
)

// OpenOptions are the options of a delay node.
type OpenOptions struct {
	Distribution string        `opt:"distribution" enum:"fixed,uniform,normal,exponential" default:"fixed" help:"how latencies are distributed"`
	Latency      time.Duration `opt:"latency" kind:"us" min:"0" help:"the mean latency; a bare number is microseconds"`
	Spread       time.Duration `opt:"spread" kind:"us" min:"0" help:"uniform: half the width; normal: the standard deviation"`
	Ops          string        `opt:"ops" enum:"all,read,write" default:"all" help:"which requests wait; zeroes and discards are writes"`
	Seed         uint64        `opt:"seed" default:"1" help:"makes the latencies"`
}

// Driver is the registry's entry.
func Driver() engine.Driver {
	return engine.Define[OpenOptions, engine.NoOptions](engine.Driver{
		Name: "delay", Kind: engine.KindFilter, Help: "makes requests wait, by a distribution of latencies",
	}, func(ctx context.Context, r *engine.OpenRequest, o *OpenOptions) (engine.Node, error) {
		if err := o.check(); err != nil {
			return nil, err
		}
		child, err := r.MustChild(ctx, "file", engine.RoleFiltered)
		if err != nil {
			return nil, err
		}
		return New(child, *o), nil
	}, nil)
}

func (o *OpenOptions) check() error {
	needs := o.Distribution == "uniform" || o.Distribution == "normal"
	switch {
	case !needs && o.Spread != 0:
		return engine.Errf(engine.ErrOption, "spread goes with distribution=uniform and normal, not %s", o.Distribution)
	case o.Distribution == "uniform" && o.Spread > o.Latency:
		return engine.Errf(engine.ErrOption, "spread %v is more than the latency %v: some would be negative", o.Spread, o.Latency)
	}
	return nil
}

// Node delays.
type Node struct {
	pass.Node
	o    OpenOptions
	turn atomic.Uint64
}

// New puts a node over child, which it owns from then on.
func New(child *engine.Ref, o OpenOptions) *Node {
	return &Node{Node: pass.Over(child, "delay"), o: o}
}

// Stage implements engine.Stager.
func (n *Node) Stage() engine.Stage { return engine.Stage{Child: n.File, Admit: n} }

// Admit implements engine.Admitter.
func (n *Node) Admit(op engine.Op, _, now int64) int64 {
	reads := op == engine.OpRead || op == engine.OpNop
	if (n.o.Ops == "read" && !reads) || (n.o.Ops == "write" && reads) {
		return now
	}
	return now + n.latency(n.turn.Add(1))
}

// latency returns the nanoseconds that the request of a turn waits.
func (n *Node) latency(turn uint64) int64 {
	mean, spread := float64(n.o.Latency), float64(n.o.Spread)
	u := unit(mix(2*turn ^ mix(n.o.Seed)))
	switch n.o.Distribution {
	case "uniform":
		mean += spread * (2*u - 1)
	case "normal":
		v := unit(mix(2*turn + 1 ^ mix(n.o.Seed)))
		mean += spread * math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
	case "exponential":
		mean *= -math.Log(u)
	}
	return max(0, int64(mean))
}

// unit turns bits into a number above 0 and at most 1.
func unit(v uint64) float64 { return float64(v>>11+1) / (1 << 53) }

// mix is the finaliser of splitmix64.
func mix(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

func (n *Node) wait(ctx context.Context, op engine.Op) error {
	now := engine.Now()
	at := n.Admit(op, 0, now)
	if at <= now {
		return nil
	}
	t := time.NewTimer(time.Duration(at - now))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// ReadAt implements engine.Node.
func (n *Node) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := n.wait(ctx, engine.OpRead); err != nil {
		return err
	}
	return n.Node.ReadAt(ctx, p, off)
}

// WriteAt implements engine.Node.
func (n *Node) WriteAt(ctx context.Context, p []byte, off int64, flags engine.WriteFlags) error {
	if err := n.wait(ctx, engine.OpWrite); err != nil {
		return err
	}
	return n.Node.WriteAt(ctx, p, off, flags)
}

// WriteCompressed implements engine.CompressedWriter.
func (n *Node) WriteCompressed(ctx context.Context, p []byte, off int64) error {
	if err := n.wait(ctx, engine.OpWrite); err != nil {
		return err
	}
	return n.Node.WriteCompressed(ctx, p, off)
}

// Discard implements engine.Discarder.
func (n *Node) Discard(ctx context.Context, off, count int64) error {
	if err := n.wait(ctx, engine.OpDiscard); err != nil {
		return err
	}
	return n.Node.Discard(ctx, off, count)
}

// WriteZeroes implements engine.ZeroWriter.
func (n *Node) WriteZeroes(ctx context.Context, off, count int64, flags engine.WriteFlags) error {
	if err := n.wait(ctx, engine.OpZero); err != nil {
		return err
	}
	return n.Node.WriteZeroes(ctx, off, count, flags)
}
